"""One training step, the minibatches that feed it, evaluation, and a run of many steps with its log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gsbench.data import Dataset, Split
from gsbench.estimators import Estimator
from gsbench.models import Model
from gsbench.objective import classifier_log_likelihood, loss, training_loss

# Streams of one run's seed: what one draws never shifts what another does.
PARAMETERS, NOISE, LABELLED, UNLABELLED, BINARIZATION, EVALUATION, FIXED_NOISE, DRAWS_OF_Y = range(8)


def stream_seed(seed: int, stream: int) -> int:
    """The seed of one of a run's streams."""
    return int(np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0])


def pixels(images: np.ndarray, binarize: str, rng: np.random.Generator) -> np.ndarray:
    """Images uint8 [n, H, W] as float32 [n, H·W]: pixels/255 with "none", Bernoulli draws of them with "dynamic"."""
    x = images.reshape(len(images), -1).astype(np.float32) / 255
    return x if binarize == "none" else (rng.random(x.shape, dtype=np.float32) < x).astype(np.float32)


def minibatches(index: np.ndarray, batch: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Minibatches of `batch` entries of `index`, for ever: one shuffled pass follows another, with no gap between."""
    if len(index) == 0:
        raise ValueError("there are no examples to make minibatches of")
    left = index[:0]
    while True:
        while len(left) < batch:
            left = np.concatenate([left, rng.permutation(index)])
        yield left[:batch]
        left = left[batch:]


@dataclass(frozen=True)
class Batch:
    """What a step sees, on the device: x [B, D_x] labelled with y int [B], and x [B, D_x] unlabelled."""

    x_labelled: Any
    y: Any
    x_unlabelled: Any


class Batches:
    """The minibatches of a run: `batch` labelled and `batch` unlabelled examples each, binarised anew each time."""

    def __init__(
        self, bk: Any, dataset: Dataset, split: Split, batch: int, seed: int = 0, binarize: str = "dynamic"
    ) -> None:
        self._bk, self._dataset, self._binarize = bk, dataset, binarize
        labelled, unlabelled, binarization = (
            np.random.default_rng(stream_seed(seed, stream)) for stream in (LABELLED, UNLABELLED, BINARIZATION)
        )
        self._labelled = minibatches(split.labelled, batch, labelled)
        self._unlabelled = minibatches(split.unlabelled, batch, unlabelled)
        self._rng = binarization
        self.steps_per_epoch = len(split.unlabelled) / batch

    def _pixels(self, index: np.ndarray) -> Any:
        return self._bk.array(pixels(self._dataset.images[index], self._binarize, self._rng))

    def next(self) -> Batch:
        labelled, unlabelled = next(self._labelled), next(self._unlabelled)
        y = self._bk.integers(self._dataset.labels[labelled])
        return Batch(self._pixels(labelled), y, self._pixels(unlabelled))


def papers_alpha(parts: Split) -> float:
    """α of the papers: 0.1·(training examples)/(labelled ones)."""
    return 0.1 * (len(parts.labelled) + len(parts.unlabelled)) / len(parts.labelled)


class Trainer:
    """A model, what it is trained on, and Adam (learning rate 3e-4, β1 0.9).

    estimator   how the unlabelled bound takes its expectation, or None: the classifier q(y|a,x) alone, on the labels
                alone
    alpha       weight of the classifier's term; see `papers_alpha`
    """

    def __init__(
        self,
        model: Model,
        estimator: Estimator | None,
        alpha: float = 1.0,
        n_mc: int = 1,
        seed: int = 0,
        learning_rate: float = 3e-4,
    ) -> None:
        self.model, self.estimator, self.alpha, self.n_mc = model, estimator, alpha, n_mc
        self.rng = model.bk.generator(stream_seed(seed, NOISE))
        parameters = model.parameters
        if estimator is None:
            parameters = {k: p for k, p in parameters.items() if k.startswith(("q_a_x/", "q_y_"))}
        self.optimizer = model.bk.adam(parameters, learning_rate)

    def loss(self, batch: Batch) -> Any:
        if self.estimator is None:
            log_q_y = classifier_log_likelihood(self.model, batch.x_labelled, batch.y, self.rng, self.n_mc)
            return loss(self.model, log_q_y)
        return training_loss(
            self.model,
            batch.x_labelled,
            batch.y,
            batch.x_unlabelled,
            self.estimator,
            self.alpha,
            self.rng,
            self.n_mc,
        )

    def step(self, batch: Batch) -> Any:
        """Forward, backward and update; returns the loss, on the device."""
        self.optimizer.clear_gradients()
        value = self.loss(batch)
        self.model.bk.backward(value)
        self.optimizer.update()
        return value


@dataclass(frozen=True)
class Evaluation:
    """Held-out examples, binarised once with a fixed seed, and how q(y|x) is taken on them."""

    x: np.ndarray  # float32 [n, D_x]
    labels: np.ndarray  # int [n]
    seed: int

    @classmethod
    def of(cls, dataset: Dataset, index: np.ndarray, seed: int = 0, binarize: str = "dynamic") -> Evaluation:
        rng = np.random.default_rng(stream_seed(seed, EVALUATION))
        return cls(pixels(dataset.images[index], binarize, rng), dataset.labels[index], stream_seed(seed, EVALUATION))

    def accuracy(
        self, model: Model, n_a: int = 1, rows: int = 20_000, estimator: Estimator | None = None
    ) -> float:
        """Share of examples where the argmax of q(y|a,x), averaged over `n_a` draws of a, is the label.

        `rows` bounds the rows (draws × examples) that are computed at once. In place of q stands the estimator's
        distribution, which is another for sparsemax.
        """
        distribution = None if estimator is None else estimator.distribution
        bk = model.bk
        rng = bk.generator(self.seed)
        chunk = max(1, rows // n_a)
        right = 0
        for start in range(0, len(self.labels), chunk):
            q_y = bk.to_numpy(model.q_y(bk.array(self.x[start : start + chunk]), rng, n_a, distribution))
            right += int(np.sum(q_y.argmax(axis=1) == self.labels[start : start + chunk]))
        return right / len(self.labels)


@dataclass(frozen=True)
class Progress:
    """One line of a run's log.

    `train_seconds` is without evaluation and data; the first step's part of it includes what it allocates.
    `epoch` counts passes over the unlabelled examples, also of a run on the labels alone, whose steps are as many.
    """

    step: int
    epoch: float
    train_seconds: float
    validation_accuracy: float
    loss: float | None  # of the last step's minibatch; None before the first


def evaluation_steps() -> Iterator[int]:
    """The steps after which every run is evaluated, about a quarter apart: 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19, …"""
    step = 1
    while True:
        yield step
        step = max(step + 1, round(step * 1.25))


def train(
    trainer: Trainer, batches: Batches, validation: Evaluation, seconds: float, max_steps: int
) -> Iterator[Progress]:
    """Trains for `seconds` of training time or `max_steps`, whichever comes first (one step at least).

    Yields the log: before the first step, at `evaluation_steps`, and after the last step.
    Raises FloatingPointError where the loss is not finite.
    """
    bk = trainer.model.bk
    spent: float = 0
    value: float | None = None

    def progress(step: int) -> Progress:
        accuracy = validation.accuracy(trainer.model, estimator=trainer.estimator)
        return Progress(step, step / batches.steps_per_epoch, spent, accuracy, value)

    yield progress(0)
    planned = evaluation_steps()
    next_evaluation = next(planned)
    for step in range(1, max_steps + 1):
        batch = batches.next()
        bk.synchronize()
        start = time.perf_counter()
        loss_value = trainer.step(batch)
        bk.synchronize()
        spent += time.perf_counter() - start
        value = float(bk.to_numpy(loss_value))
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss is {value} at step {step}: the run diverged")
        last = spent >= seconds or step == max_steps
        if last or step == next_evaluation:
            yield progress(step)
        if last:
            return
        if step == next_evaluation:
            next_evaluation = next(planned)
