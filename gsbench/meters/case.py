"""A case ready to be measured: the model, one minibatch on the device, and plain calls to be timed."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from gsbench.backends.base import Backend
from gsbench.data import Dataset, Split, split
from gsbench.models import MODELS, Model
from gsbench.settings.case import Settings
from gsbench.settings.recipe import Recipe
from gsbench.training.minibatches import FIXED_NOISE, PARAMETERS, Batch, Batches, stream_seed
from gsbench.training.objective import count_calls, loss, unlabelled_bound
from gsbench.training.trainer import Trainer, Training, papers_alpha


def random_batch(settings: Settings) -> Batch:
    """A minibatch of random pixels and labels, on the host. Memory does not depend on their values."""
    rng = np.random.default_rng(settings.seed)
    x = (rng.random((2, settings.batch, settings.make_config().n_pixels)) < 0.2).astype(np.float32)
    return Batch(x[0], rng.integers(settings.n_classes, size=settings.batch), x[1])


def to_device(bk: Backend, batch: Batch) -> Batch:
    """A minibatch of NumPy arrays on the backend's device, in its dtype."""
    return Batch(bk.array(batch.x_labelled), bk.integers(batch.y), bk.array(batch.x_unlabelled))


def check_inputs(model: str, dataset: Dataset) -> None:
    """Raises ValueError if the examples are not what p(x|…) of the model is for."""
    if not MODELS[model].x_is_binary or dataset.is_pixels:
        return
    low, high = float(dataset.images.min()), float(dataset.images.max())
    if low < 0 or high > 1:
        raise ValueError(
            f"model {model!r} needs x in [0, 1], because its p(x|…) is Bernoulli; data set {dataset.name!r} has "
            f"{low:.3g} to {high:.3g}. Name another data set, or a model of your own"
        )


def make_batches(bk: Backend, settings: Settings, dataset: Dataset) -> Batches:
    """The minibatches of a run with these settings on `dataset`."""
    check_inputs(settings.model, dataset)
    parts = split(dataset, settings.labelled_per_class, seed=settings.seed)
    return Batches(bk, dataset, parts, settings.batch, settings.seed, settings.binarize)


def make_model(bk: Backend, settings: Settings) -> Model:
    """The model of a case, whose parameters depend on the seed, the model's settings and K alone."""
    return MODELS[settings.model](bk, settings.make_config(), stream_seed(settings.seed, PARAMETERS))


def make_training(
    settings: Settings, recipe: Recipe, dataset: Dataset, parts: Split, labels_only: bool = False
) -> Training:
    """A run of the case at its first step. If the recipe has no α, it gets the papers' value.

    labels_only   trains q(y|a,x) alone, on the labels alone
    """
    check_inputs(settings.model, dataset)
    bk = settings.make_backend()
    if recipe.alpha is None:
        recipe = dataclasses.replace(recipe, alpha=papers_alpha(parts))
    estimator = None if labels_only else settings.make_estimator()
    examples = len(parts.labelled) + len(parts.unlabelled)
    trainer = Trainer(make_model(bk, settings), estimator, recipe, settings.n_mc, settings.seed, examples)
    batches = Batches(
        bk, dataset, parts, settings.batch, settings.seed, settings.binarize, recipe.labelled_batch, recipe.shift,
        recipe.distortion if recipe.pseudo_labels and estimator else 0.0,
    )  # fmt: skip
    return Training(trainer, batches, settings.seed)


class Case:
    """`bound` is the unlabelled bound's forward and backward pass, `unlabelled_step` that and Adam's update, `step` the
    full training step with its update.

    `dataset` None: random pixels. All estimators start from the same parameters.
    """

    def __init__(self, settings: Settings, dataset: Dataset | None = None) -> None:
        self.settings = settings
        self.bk = settings.make_backend()
        self.model = make_model(self.bk, settings)
        self.estimator = settings.make_estimator()
        self.trainer = Trainer(self.model, self.estimator, n_mc=settings.n_mc, seed=settings.seed)
        self._batches = None if dataset is None else make_batches(self.bk, settings, dataset)
        self._next = itertools.count(1)
        if self._batches is None:
            self.batch = to_device(self.bk, random_batch(settings))
        else:
            self.batch = self._batches.at(0)

    def bound(self) -> None:
        """The unlabelled bound, forward and backward, on the minibatch."""
        self._bound()
        self.bk.synchronize()

    def unlabelled_step(self) -> None:
        """`bound`, and Adam's update of all parameters: a training step on unlabelled examples alone."""
        self._bound()
        self.trainer.optimizer.update()
        self.bk.synchronize()

    def _bound(self) -> None:
        self.trainer.optimizer.clear_gradients()
        u = unlabelled_bound(self.model, self.batch.x_unlabelled, self.estimator, self.trainer.rng, self.settings.n_mc)
        self.bk.backward(loss(self.model, u))

    @property
    def has_minibatches(self) -> bool:
        return self._batches is not None

    def minibatch(self) -> None:
        """Makes the data set's next minibatch, which no step takes. Only where `has_minibatches`."""
        assert self._batches is not None
        self._batches.at(next(self._next))
        self.bk.synchronize()

    def calls_of_f(self) -> float:
        """Calls of f per example and draw of a in one bound, counted with the current parameters."""
        x, rng = self.batch.x_unlabelled, self.bk.generator(stream_seed(self.settings.seed, FIXED_NOISE))
        noise = self.model.draw_noise(rng, x.shape[0], self.settings.n_mc)
        return count_calls(self.model, x, self.estimator, rng, noise)

    def step(self) -> None:
        """One full training step on the minibatch: labelled and unlabelled bound, classifier, Adam."""
        self.trainer.step(self.batch)
        self.bk.synchronize()
