"""A training run, from its settings to the figures of its record. It does not depend on where these are kept."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import math
import time
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from gsbench.backends import DTYPES
from gsbench.data import Dataset, split
from gsbench.meters.case import make_training
from gsbench.meters.estimate import estimate_step_bytes, model_of_shapes
from gsbench.meters.measure import step_peak
from gsbench.models import MODELS
from gsbench.settings.run import RunSettings
from gsbench.training.trainer import Evaluation, Progress, Training, training_progress

MAKING_BYTES, KEPT_BYTES = 10, 4  # per pixel of a minibatch: while it is made, with its random number; as x
# A record's curves: each lists this entry of the log.
CURVES = {
    "curve_step": "step",
    "curve_epoch": "epoch",
    "curve_seconds": "train_seconds",
    "curve_wall_seconds": "wall_seconds",
    "curve_accuracy": "validation_accuracy",
    "curve_loss": "loss",
    "curve_calls_of_f": "calls_of_f",
}


class Watcher(Protocol):
    """Receives the progress of a run."""

    def start(self, settings: RunSettings, last_step: int | None, progress: Progress) -> None:
        """The run begins, or resumes, with `progress`."""

    def step(self, training: Training, loss: float) -> None:
        """A step was taken."""

    def evaluation(self, progress: Progress) -> None:
        """The run was evaluated."""


class Diverged(ArithmeticError):
    """The loss is no finite number."""


def run_step_bytes(settings: RunSettings) -> int:
    """Estimated peak bytes of live arrays over one step of a run.

    This is `estimate_step_bytes` of the case, with the minibatch as a run makes and keeps it. A run on the labels alone
    needs only the classifier, all of it live at once. With small networks, making the minibatch takes the most.
    tests/test_runs.py compares the estimate with tracemalloc.
    """
    case, c = settings.case, settings.case.make_config()
    labelled = settings.recipe.labelled_batch or case.batch
    itemsize, wide = DTYPES[case.dtype]
    of_logits = c.n_classes * wide
    hidden = c.layers * (c.units + (c.classifier_units or c.units))
    kept = KEPT_BYTES * c.n_pixels * (labelled + case.batch)
    making = (MAKING_BYTES - KEPT_BYTES) * c.n_pixels * max(labelled, case.batch)  # one part after the other
    if settings.labels_only and not MODELS[case.model].is_configured:
        of_examples = model_of_shapes(case.model, c).floats_of_examples(case.n_mc, labelled)
        of_step = of_examples * wide + case.n_mc * labelled * 4 * of_logits
    elif settings.labels_only:
        of_step = case.n_mc * labelled * (2 * hidden * itemsize + 4 * of_logits)
    else:
        of_step = estimate_step_bytes(case, labelled) - itemsize * c.n_pixels * (labelled + case.batch)
    return kept + max(making, of_step)


class TrainingRun:
    """A run under way.

    fields    the settings, as in its record
    figures   measurements other than `progress`
    log       its evaluations, each a `Progress` with the `wall_seconds`
    """

    training: Training
    dataset: Dataset

    def __init__(self, settings: RunSettings, watcher: Watcher | None = None) -> None:
        self.settings, self.watcher = settings, watcher
        case = settings.case
        self.bk = case.make_backend()
        self.fields = settings.record_fields()
        self.figures: dict[str, Any] = {}
        self.log: list[dict[str, Any]] = []
        self.loss: float | None = None
        self.resumed = 0
        self.wall_before, self.started = 0.0, time.perf_counter()

    @property
    def wall_seconds(self) -> float:
        return self.wall_before + time.perf_counter() - self.started

    def begin(self, dataset: Dataset, measured: bool = False) -> None:
        """Makes the run as it is before its first step.

        measured   whether the memory of a step is known already; it is measured otherwise
        """
        self.dataset, settings, case = dataset, self.settings, self.settings.case
        self.fields.update(dataset.record_fields)
        self.parts = parts = split(dataset, case.labelled_per_class, seed=case.seed)
        make = functools.partial(make_training, case, settings.recipe, dataset, parts, settings.labels_only)
        if not measured:
            self.figures.update(step_peak(self.bk, lambda: make().advance))
        self.training = make()
        trainer = self.training.trainer
        self.fields.update(
            alpha=trainer.alpha, steps_per_epoch=self.training.steps_per_epoch, **trainer.optimizer.settings
        )
        self.validation = self.evaluation(parts.validation, settings.validation_images)
        self.figures["validation_examples"] = len(self.validation.labels)

    def evaluation(self, index: np.ndarray, most: int | None = None) -> Evaluation:
        """The examples `index` of the data set. If there are more than `most`, a random draw of `most` of them."""
        case = self.settings.case
        if most is not None and most < len(index):
            index = np.sort(np.random.default_rng(case.seed).permutation(index)[:most])
        return Evaluation.of(self.dataset, index, case.seed, case.binarize)

    @property
    def last_step(self) -> int | None:
        return self.settings.last_step(self.training.steps_per_epoch)

    @property
    def spent(self) -> bool:
        """Whether one of the run's budgets is used up."""
        seconds, steps = self.settings.seconds, self.training.steps
        if steps == self.last_step or (seconds is not None and self.training.train_seconds >= seconds):
            return True
        if not self.log or self.log[-1]["step"] != steps:
            return False
        points = [(point["step"], point["validation_accuracy"]) for point in self.log]
        return self.settings.is_settled(*zip(*points, strict=True))

    def steps(self, planned: Iterator[int] | None = None) -> Iterator[None]:
        """Takes the steps that are left and yields after each. Evaluates before the first and after the last.

        planned   further steps after which the run is evaluated, ascending; None: as the settings say

        Raises Diverged if the loss is not finite.
        """
        every = self.settings.evaluate_every or max(1, round(self.training.steps_per_epoch))
        planned = planned or itertools.count(every, every)
        due = next(step for step in planned if step > self.training.steps)
        if not self.log:
            self._evaluate()
        if self.watcher:
            progress = Progress(**{field.name: self.log[-1][field.name] for field in dataclasses.fields(Progress)})
            self.watcher.start(self.settings, self.last_step, progress)
        while not self.spent:
            self.loss = self.training.advance()
            if not math.isfinite(self.loss):
                raise Diverged(f"the loss is {self.loss} at step {self.training.steps}")
            if self.watcher:
                self.watcher.step(self.training, self.loss)
            if self.training.steps == due or self.spent:
                self._evaluate()
            if self.training.steps == due:
                due = next(planned)
            yield

    def _evaluate(self) -> None:
        progress = training_progress(self.training, self.validation, self.loss, self.settings.validation_draws)
        self.log.append({**dataclasses.asdict(progress), "wall_seconds": self.wall_seconds})
        if self.watcher:
            self.watcher.evaluation(progress)

    def accuracy(self, evaluation: Evaluation, n_a: int) -> float:
        """Accuracy of the model as it is now, over `n_a` draws of a."""
        return evaluation.accuracy(self.training.evaluated, n_a, estimator=self.training.trainer.estimator)

    def progress(self) -> dict[str, Any]:
        """Figures of the run's progress, with its curves. Empty before the first evaluation."""
        if not self.log:
            return {}
        seconds = self.training.train_seconds
        return {
            "step": self.training.steps,
            "epoch": self.training.epoch,
            "train_seconds": seconds,
            "wall_seconds": self.wall_seconds,
            "steps_per_second": self.training.steps / seconds if seconds else None,
            "validation_accuracy": self.log[-1]["validation_accuracy"],
            "resumed": self.resumed,
            **{curve: [point[name] for point in self.log] for curve, name in CURVES.items()},
        }

    def checksum(self) -> str:
        """First 16 hex digits of the SHA-256 over all parameters: runs that agree in it agree in every number."""
        digest = hashlib.sha256()
        for key, parameter in sorted(self.training.evaluated.parameters.items()):
            digest.update(key.encode())
            digest.update(np.ascontiguousarray(self.bk.to_numpy(parameter)).data)
        return digest.hexdigest()[:16]
