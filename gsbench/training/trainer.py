"""Training steps, evaluation, and a run of many steps that can stop after any step and resume."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gsbench.backends.base import Array, Parameter, Tensor
from gsbench.data import Dataset, Split
from gsbench.estimators import Estimator
from gsbench.models import Model
from gsbench.settings.recipe import Recipe
from gsbench.settings.run import ROWS
from gsbench.training.consistency import adversarial_divergence, constant_log_q, pseudo_label_loss
from gsbench.training.minibatches import EVALUATION, NOISE, Batch, Batches, pixels, stream_seed
from gsbench.training.objective import classifier_log_likelihood, count_calls, loss, training_loss


def papers_alpha(parts: Split) -> float:
    """α of the papers: 0.1·(training examples)/(labelled ones)."""
    return 0.1 * (len(parts.labelled) + len(parts.unlabelled)) / len(parts.labelled)


class Trainer:
    """A model, its training loss, and Adam.

    estimator   takes the expectation in the unlabelled bound; None: only the classifier q(y|a,x) is trained, on the
                labelled examples
    recipe      the training recipe; its α must be a number, see `papers_alpha`
    examples    the number of training examples, for a recipe with a prior of the weights

    Raises ValueError if a number is missing that the recipe needs.
    """

    def __init__(
        self,
        model: Model,
        estimator: Estimator | None,
        recipe: Recipe = Recipe(alpha=1.0),  # noqa: B008 (it is frozen)
        n_mc: int = 1,
        seed: int = 0,
        examples: int | None = None,
    ) -> None:
        if recipe.alpha is None:
            raise ValueError("the recipe of a Trainer needs a number for alpha, got None")
        self.model, self.estimator, self.recipe, self.n_mc = model, estimator, recipe, n_mc
        self.alpha = recipe.alpha
        self.rng = model.bk.generator(stream_seed(seed, NOISE))
        parameters = model.classifier_parameters if estimator is None else model.parameters
        self.optimizer = model.bk.adam(parameters, recipe.learning_rate, recipe.beta1)
        self.optimizer.constrain(self._weight_decay(examples), recipe.clip_norm, recipe.clip_element)

    def _weight_decay(self, examples: int | None) -> float:
        """The gradient of −log N(W; 0, I)/examples is W/examples."""
        if not self.recipe.weight_prior:
            return 0.0
        if not examples:
            raise ValueError("a recipe with weight_prior needs the number of training examples")
        return 1 / examples

    def loss(self, batch: Batch) -> Tensor:
        if self.estimator is None:
            log_q_y = classifier_log_likelihood(self.model, batch.x_labelled, batch.y, self.rng, self.n_mc)
            return loss(self.model, log_q_y)
        of_bound = training_loss(
            self.model,
            batch.x_labelled,
            batch.y,
            batch.x_unlabelled,
            self.estimator,
            self.alpha,
            self.rng,
            self.n_mc,
            self.recipe.labelled_weight,
            self.recipe.balance,
        )
        return of_bound + self._consistency(batch) if self.recipe.consistent else of_bound

    def _consistency(self, batch: Batch) -> Tensor:
        """The recipe's loss terms for q(y|a,x) at changed images."""
        model, recipe, x, loss = self.model, self.recipe, batch.x_unlabelled, 0.0
        noise = model.draw_noise(self.rng, x.shape[0], self.n_mc)
        log_q_y = constant_log_q(model, x, noise)
        if recipe.adversarial:
            divergence = adversarial_divergence(model, x, log_q_y, noise, self.rng, recipe.adversarial_radius)
            loss += recipe.adversarial * divergence
        if recipe.pseudo_labels:
            if batch.x_distorted is None:
                raise ValueError("a recipe with pseudo_labels needs minibatches with a distortion > 0, got none")
            of_labels = pseudo_label_loss(model, batch.x_distorted, log_q_y, noise, recipe.pseudo_threshold)
            loss += recipe.pseudo_labels * of_labels
        return loss

    def step(self, batch: Batch) -> Tensor:
        """Forward, backward and update; returns the loss, on the device."""
        self.optimizer.clear_gradients()
        value = self.loss(batch)
        self.model.bk.backward(value)
        self.optimizer.update()
        return value


class Training:
    """A run: a trainer, its minibatches, and its progress.

    Every draw of a step comes from generators that are seeded by the run's seed and the step's number. An interrupted
    run therefore resumes from `state` with identical results. `state` holds the parameters, the optimiser's moments,
    batch norm's running averages, Polyak's averages of both, and the number of steps.

    steps           the number of steps so far
    train_seconds   the time of minibatches and steps, without evaluations and the like between them
    """

    def __init__(self, trainer: Trainer, batches: Batches, seed: int = 0) -> None:
        self.trainer, self.batches = trainer, batches
        self.model, self.recipe = trainer.model, trainer.recipe
        self.steps_per_epoch = self.recipe.steps_per_epoch or batches.steps_per_epoch
        self.steps, self.train_seconds = 0, 0.0
        self._seed, self._estimator = seed, trainer.estimator
        self._averages: dict[str, Parameter] = {}  # of parameters
        self._statistics: dict[str, Array] = {}  # of batch norm's running averages
        if self.recipe.polyak:
            bk, model = self.model.bk, self.model
            self._averages = {key: bk.parameter(bk.to_numpy(p).copy()) for key, p in model.parameters.items()}
            self._statistics = {key: bk.array(bk.to_numpy(a).copy()) for key, a in model.statistics.items()}

    @property
    def epoch(self) -> float:
        return self.steps / self.steps_per_epoch

    @property
    def evaluated(self) -> Model:
        """The model that is evaluated: with Polyak's averages if the recipe has them.

        Averaged parameters take averaged batch-norm statistics, because running statistics belong to the parameters
        with which they were measured.
        """
        return self.model.with_parameters(self._averages, self._statistics) if self._averages else self.model

    def advance(self) -> float:
        """Takes one step and returns its loss, which may be infinite or NaN."""
        bk = self.model.bk
        bk.synchronize()
        start = time.perf_counter()
        self.trainer.rng = bk.generator(stream_seed(self._seed, NOISE, self.steps))
        self.trainer.optimizer.set_learning_rate(self.recipe.learning_rate_at(self.epoch))
        if self._estimator is not None:
            self.trainer.estimator = self.recipe.estimator_at(self._estimator, self.epoch)
        value = self.trainer.step(self.batches.at(self.steps))
        self.steps += 1
        self._average()
        value = float(bk.to_numpy(value))  # waits for the device
        bk.synchronize()
        self.train_seconds += time.perf_counter() - start
        return value

    def calls_of_f(self) -> float | None:
        """Calls of f for an example and draw of a in the next step, if they follow the logits; else None."""
        estimator = self.trainer.estimator
        if estimator is None or not estimator.calls_follow_logits:
            return None
        rng = self.model.bk.generator(stream_seed(self._seed, NOISE, self.steps))
        x = self.batches.at(self.steps).x_unlabelled
        return count_calls(self.model, x, estimator, rng, self.model.draw_noise(rng, len(x), self.trainer.n_mc))

    def _average(self) -> None:
        """W̄ += (1 − d)·(W − W̄). Early steps use a smaller d, so that the initial parameters are soon forgotten.

        W stands for the parameters and for the running statistics of batch norm.
        """
        if not self.recipe.polyak:
            return
        decay = min(self.recipe.polyak, self.steps / (self.steps + 10))
        model = self.model
        for averages, values in ((self._averages, model.parameters), (self._statistics, model.statistics)):
            for key, average in averages.items():
                model.bk.move_towards(average, values[key], 1 - decay)

    def _arrays(self) -> dict[str, Parameter | Array]:
        """Parameters, running averages and Polyak's averages by name, on the device."""
        return {
            **{f"parameters/{key}": p for key, p in self.model.parameters.items()},
            **{f"running/{key}": a for key, a in self.model.statistics.items()},
            **{f"polyak/{key}": p for key, p in self._averages.items()},
            **{f"polyak_running/{key}": a for key, a in self._statistics.items()},
        }

    def state(self) -> dict[str, np.ndarray]:
        """All that `restore` needs, as copies in NumPy arrays."""
        bk = self.model.bk
        adam = {f"adam/{key}": value for key, value in self.trainer.optimizer.state().items()}
        state = {key: np.array(bk.to_numpy(value)) for key, value in {**self._arrays(), **adam}.items()}
        return {**state, "steps": np.asarray(self.steps), "train_seconds": np.asarray(self.train_seconds)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Resumes from the `state` of a run with the same settings.

        Raises ValueError, and restores nothing, if an array is missing, unknown, or of another shape or dtype.
        """
        self._check_state(state)
        for key, value in self._arrays().items():
            self.model.bk.set_values(value, state[key])
        prefix = "adam/"
        adam = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        self.trainer.optimizer.restore(adam)
        self.steps, self.train_seconds = int(state["steps"]), float(state["train_seconds"])


    def _check_state(self, state: Mapping[str, np.ndarray]) -> None:
        arrays = {key: self.model.bk.to_numpy(value) for key, value in self._arrays().items()}
        forms = {key: (array.shape, array.dtype) for key, array in arrays.items()}
        forms.update({f"adam/{key}": form for key, form in self.trainer.optimizer.state_forms().items()})
        forms.update(steps=((), np.dtype(int)), train_seconds=((), np.dtype(float)))
        for key, (shape, dtype) in forms.items():
            if key not in state:
                raise ValueError(f"it has no array {key!r}")
            found = state[key]
            if (found.shape, found.dtype.kind, found.itemsize) != (shape, dtype.kind, dtype.itemsize):
                raise ValueError(f"its array {key!r} is {found.dtype} {found.shape}, and should be {dtype} {shape}")
        if unknown := sorted(set(state) - set(forms)):
            raise ValueError(f"it has an array {unknown[0]!r}, and the run has none")
        steps, updates, seconds = (state[key] for key in ("steps", "adam/updates", "train_seconds"))
        if not steps == updates >= 1 or not 0 <= seconds < np.inf:
            raise ValueError(f"it is of step {steps}, after {updates} updates and {seconds} seconds")


@dataclass(frozen=True)
class Evaluation:
    """Held-out examples, binarised once with a fixed seed, and the accuracy of q(y|x) on them."""

    x: np.ndarray  # float32 [n, D_x]
    labels: np.ndarray  # int [n]
    seed: int

    @classmethod
    def of(cls, dataset: Dataset, index: np.ndarray, seed: int = 0, binarize: str = "dynamic") -> Evaluation:
        rng = np.random.default_rng(stream_seed(seed, EVALUATION))
        return cls(pixels(dataset.images[index], binarize, rng), dataset.labels[index], stream_seed(seed, EVALUATION))

    def accuracy(
        self, model: Model, n_a: int = 1, rows: int = ROWS, estimator: Estimator | None = None
    ) -> float:
        """Share of examples where the argmax of q(y|a,x), averaged over `n_a` draws of a, is the label.

        `rows` bounds the rows (draws × examples) that are computed at once. The estimator's distribution replaces q; it
        differs from q for sparsemax.
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

    `train_seconds` covers minibatches and steps, including allocations in the first step, without evaluations. `epoch`
    counts passes over the unlabelled examples, or units of the recipe's `steps_per_epoch`. A run on labelled examples
    alone counts epochs in the same way.
    """

    step: int
    epoch: float
    train_seconds: float
    validation_accuracy: float
    loss: float | None  # of the last step's minibatch; None before the first
    calls_of_f: float | None = None  # for an example, if the estimator's calls follow the logits


def evaluation_steps() -> Iterator[int]:
    """The steps after which a short run is evaluated, about a quarter apart: 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 19, …"""
    step = 1
    while True:
        yield step
        step = max(step + 1, round(step * 1.25))


def training_progress(training: Training, validation: Evaluation, loss_value: float | None, n_a: int = 1) -> Progress:
    """The progress of a run, with its validation accuracy over `n_a` draws of a."""
    accuracy = validation.accuracy(training.evaluated, n_a, estimator=training.trainer.estimator)
    return Progress(
        training.steps, training.epoch, training.train_seconds, accuracy, loss_value, training.calls_of_f()
    )
