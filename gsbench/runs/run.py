"""One training run, from its settings to its record: stops at any step, and goes on where it stopped."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from filelock import Timeout
from threadpoolctl import threadpool_limits

from gsbench.allocator import keep_memory
from gsbench.backends import load_backend
from gsbench.case import make_training
from gsbench.data import DataFileError, Dataset, Split, find_dataset, load_dataset, split
from gsbench.images import image_grids, write_images
from gsbench.machine import machine_fields
from gsbench.meters.estimate import estimate_step_bytes, wide_bytes
from gsbench.meters.measure import Fit, memory_limit, step_peak
from gsbench.records import Record, new_run_id
from gsbench.runs.settings import RunSettings
from gsbench.runs.store import BEGIN_ANEW, CHECKPOINT, IMAGES, Store
from gsbench.training import Evaluation, Progress, Training, training_progress
from gsbench.values import LONGEST_SECONDS, Range

CHECKPOINT_SECONDS = Range(least=0, most=LONGEST_SECONDS)


class Watcher(Protocol):
    """Who follows a run."""

    def start(self, settings: RunSettings, last_step: int | None, progress: Progress) -> None:
        """The run begins, or goes on, with `progress`."""

    def step(self, training: Training, loss: float) -> None:
        """A step was taken."""

    def evaluation(self, progress: Progress) -> None:
        """The run was evaluated."""


def never() -> bool:
    return False


def run_training(
    settings: RunSettings,
    store: Store,
    *,
    data_dir: str | Path | None = None,
    run_id: str | None = None,
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = never,
    checkpoint_seconds: float = 60.0,
    wait: bool = False,
) -> dict[str, Any]:
    """Makes a run, or goes on with it from its checkpoint, and returns its flat record, which is in the store too.

    A run that is in the store, finished, is not made again. Where `stop()` says so after a step, the run writes its
    checkpoint and returns its record with status "unfinished". A loss that is not finite ends it as "diverged", memory
    that does not suffice as "too-large" or "out-of-memory"; what fails otherwise is recorded as "failed" and raised.
    What fails before it has an evaluation of its own keeps the figures of the record that it replaces. A checkpoint
    that is damaged or of other data is such a failure: DataFileError, which names the file and says what to do.

    stop                  asked after every step
    checkpoint_seconds    of wall-clock time between checkpoints
    wait                  what to do where another process makes the same run: wait for it, or raise TimeoutError
    """
    CHECKPOINT_SECONDS.check("checkpoint_seconds", checkpoint_seconds)
    key = settings.key
    try:
        with store.lock(key, wait):
            if store.finished(key):
                store.drop_checkpoint(key)  # a process that is killed right after its last record leaves it
                return store.record(key) or {}
            keep_memory()
            with threadpool_limits(settings.case.threads):
                run = _Run(settings, store, run_id or new_run_id(), data_dir)
                return run.make(watcher, stop, checkpoint_seconds)
    except Timeout:
        raise TimeoutError(f"another process is making the run {key} in {store.folder}") from None


MAKING_BYTES, KEPT_BYTES = 10, 4  # of a pixel of a minibatch: while it is made, with its random number, and as x


def run_step_bytes(settings: RunSettings) -> int:
    """Estimated peak bytes of live arrays over one step of a run.

    That is `estimate_step_bytes` of its case, with the minibatch as it is made and kept in a run. A run on the labels
    alone has the classifier alone, all of it live at once. A minibatch itself takes most where the networks are small.
    tests/test_runs.py compares it with tracemalloc.
    """
    case, c = settings.case, settings.case.make_config()
    labelled = settings.recipe.labelled_batch or case.batch
    itemsize, of_logits = np.dtype(case.dtype).itemsize, c.n_classes * wide_bytes(case)
    hidden = c.layers * (c.units + (c.classifier_units or c.units))
    kept = KEPT_BYTES * c.n_pixels * (labelled + case.batch)
    making = (MAKING_BYTES - KEPT_BYTES) * c.n_pixels * max(labelled, case.batch)  # one part after the other
    if settings.labels_only:
        of_step = case.n_mc * labelled * (2 * hidden * itemsize + 4 * of_logits)
    else:
        of_step = estimate_step_bytes(case, labelled) - itemsize * c.n_pixels * (labelled + case.batch)
    return kept + max(making, of_step)


class _Run:
    """A run under way. `meta` is what its checkpoint holds beside the arrays; `log` its evaluations."""

    def __init__(self, settings: RunSettings, store: Store, run_id: str, data_dir: str | Path | None) -> None:
        self.settings, self.store, self.key = settings, store, settings.key
        self.run_id, self.data_dir = run_id, data_dir
        case = settings.case
        self.bk = load_backend(case.backend, case.device, case.dtype)
        self.fields = settings.record_fields()
        self.figures: dict[str, Any] = {}
        self.log: list[dict[str, Any]] = []
        self.loss: float | None = None
        self.resumed = 0
        self.wall_before, self.started = 0.0, time.perf_counter()
        self.training: Training | None = None

    @property
    def wall_seconds(self) -> float:
        return self.wall_before + time.perf_counter() - self.started

    def make(self, watcher: Watcher | None, stop: Callable[[], bool], checkpoint_seconds: float) -> dict[str, Any]:
        if problem := self._too_large():
            return self._write("too-large", problem)
        try:
            return self._make(watcher, stop, checkpoint_seconds)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if self.bk.is_out_of_memory(error):
                return self._write("out-of-memory", reason)
            self._write("failed", reason)
            raise

    def _too_large(self) -> str:
        """Why the run would not fit into memory, or ""."""
        fit = Fit(run_step_bytes(self.settings), memory_limit(self.bk))
        self.figures.update(fit.figures)
        return f"a step {fit.problem}" if fit.problem else ""

    def _make(self, watcher: Watcher | None, stop: Callable[[], bool], checkpoint_seconds: float) -> dict[str, Any]:
        settings = self.settings
        dataset, parts = self._data()
        training = self._begin(dataset, parts)
        validation = self._evaluation(dataset, parts.validation, settings.validation_images)
        last_step = settings.last_step(training.steps_per_epoch)
        every = settings.evaluate_every or max(1, round(training.steps_per_epoch))
        self.figures["validation_examples"] = len(validation.labels)
        evaluate = functools.partial(self._evaluate, validation, watcher)
        if not self.log:
            evaluate()
        if watcher:
            watcher.start(settings, last_step, Progress(**{k: self.log[-1][k] for k in _PROGRESS}))
        written = time.perf_counter()
        while not self._spent(last_step):
            self.loss = training.advance()
            if not math.isfinite(self.loss):
                return self._diverged()
            if watcher:
                watcher.step(training, self.loss)
            if training.steps % every == 0 or self._spent(last_step):
                evaluate()
            stopping = stop()
            if stopping or time.perf_counter() - written >= checkpoint_seconds:
                self._checkpoint(dataset.checksum)
                written = time.perf_counter()
            if stopping and not self._spent(last_step):
                return self._write("unfinished", "stopped")
        return self._finish(dataset, parts)

    def _spent(self, last_step: int | None) -> bool:
        assert self.training is not None
        seconds = self.settings.seconds
        return self.training.steps == last_step or (seconds is not None and self.training.train_seconds >= seconds)

    def _data(self) -> tuple[Dataset, Split]:
        case = self.settings.case
        try:
            dataset = load_dataset(case.dataset, case.n_classes, data_dir=self.data_dir, seed=case.seed)
        except DataFileError as error:
            checkpoint = self.store.run(self.key) / CHECKPOINT
            if not checkpoint.exists():
                raise
            advice = f"put the former file back, and the same command goes on from {checkpoint}"
            raise DataFileError(f"{error}; {advice}") from error
        self.fields.update(dataset.record_fields)
        return dataset, split(dataset, case.labelled_per_class, seed=case.seed)

    def _begin(self, dataset: Dataset, parts: Split) -> Training:
        """The run at its first step, with the memory that a step takes measured; or where its checkpoint was."""
        settings = self.settings
        make = functools.partial(
            make_training, settings.case, settings.recipe, dataset, parts, settings.labels_only
        )
        found = self.store.checkpoint(self.key)
        if found is None:
            self.figures.update(step_peak(self.bk, lambda: make().advance))
        else:
            self._check_meta(found[1], dataset)
        training = make()
        self.fields.update(
            alpha=training.trainer.alpha,
            steps_per_epoch=training.steps_per_epoch,
            **training.trainer.optimizer.settings,
        )
        if found is not None:
            arrays, meta = found
            try:
                training.restore(arrays)
            except ValueError as error:
                raise self.store.refusal(self.key, str(error)) from error
            last_step = self.settings.last_step(training.steps_per_epoch)
            if last_step is not None and training.steps > last_step:
                raise self.store.refusal(self.key, f"it is of step {training.steps}, and the run has {last_step}")
            self.log, self.loss = meta["log"], meta["loss"]
            self.run_id, self.wall_before, self.resumed = meta["run_id"], meta["wall_seconds"], meta["resumed"] + 1
            self.figures.update(meta["figures"])
        self.training = training
        return training

    def _check_meta(self, meta: dict[str, Any], dataset: Dataset) -> None:
        """Raises DataFileError where the run cannot go on from a checkpoint with these data beside its arrays."""
        if "dataset_checksum" not in meta:
            raise self.store.refusal(self.key, "an older gsbench wrote it, which did not note on what data")
        for name, kinds in _META.items():
            if not isinstance(meta.get(name), kinds) or isinstance(meta[name], bool):
                raise self.store.refusal(self.key, f"its {name} is a {type(meta.get(name)).__name__}")
        if not meta["log"] or not all(_is_point(point) for point in meta["log"]):
            raise self.store.refusal(self.key, "its log has no evaluation, or one with other fields")
        if meta["dataset_checksum"] != dataset.checksum:
            name, then, now = self.settings.case.dataset, meta["dataset_checksum"], dataset.checksum
            raise DataFileError(
                f"{self.store.run(self.key) / CHECKPOINT} is of other data: {name} "
                f"({find_dataset(name, self.data_dir).text}) has the checksum {now} now, and had {then} when the run "
                f"began; put the former data back, and the same command goes on; or {BEGIN_ANEW}"
            )

    def _evaluation(self, dataset: Dataset, index: np.ndarray, most: int | None = None) -> Evaluation:
        case = self.settings.case
        if most is not None and most < len(index):
            index = np.sort(np.random.default_rng(case.seed).permutation(index)[:most])
        return Evaluation.of(dataset, index, case.seed, case.binarize)

    def _evaluate(self, validation: Evaluation, watcher: Watcher | None) -> None:
        assert self.training is not None
        draws = self.settings.validation_draws
        progress = training_progress(self.training, validation, self.loss, draws)
        self.log.append({**dataclasses.asdict(progress), "wall_seconds": self.wall_seconds})
        if watcher:
            watcher.evaluation(progress)

    def _checkpoint(self, dataset_checksum: str) -> None:
        """The checkpoint, and a record of what there is so far."""
        assert self.training is not None
        meta = {
            "run_id": self.run_id,
            "log": self.log,
            "loss": self.loss,
            "wall_seconds": self.wall_seconds,
            "resumed": self.resumed,
            "figures": self.figures,
            "dataset_checksum": dataset_checksum,
        }
        self.store.write_checkpoint(self.key, self.training.state(), meta)
        self._write("unfinished", "not at its end yet")

    def _diverged(self) -> dict[str, Any]:
        assert self.training is not None
        record = self._write("diverged", f"the loss is {self.loss} at step {self.training.steps}")
        self.store.drop_checkpoint(self.key)
        return record

    def _finish(self, dataset: Dataset, parts: Split) -> dict[str, Any]:
        """The test part, once; the images; the record."""
        assert self.training is not None
        training, settings = self.training, self.settings
        if len(parts.test):
            test = self._evaluation(dataset, parts.test)
            accuracy = test.accuracy(training.evaluated, settings.test_draws, estimator=training.trainer.estimator)
            self.figures.update(test_accuracy=accuracy, test_examples=len(test.labels))
        if not settings.labels_only:
            held_out = self._evaluation(dataset, parts.validation)
            grids = image_grids(training.evaluated, held_out.x, held_out.labels, settings.case.seed)
            write_images(self.store.run(self.key) / IMAGES, grids)
        self.figures["parameters_checksum"] = checksum(training)
        record = self._write("ok")
        self.store.drop_checkpoint(self.key)
        return record

    def _write(self, status: str, reason: str = "") -> dict[str, Any]:
        """Replaces the run's record."""
        figures = {**self.figures, **self._progress()}
        record = Record(
            self.run_id, "training", self.key, self.fields, machine_fields(self.bk), figures, status, reason
        ).flat()
        if not self.log:
            record = self.store.with_figures_kept(self.key, record)
        self.store.write_record(self.key, record)
        return record

    def _progress(self) -> dict[str, Any]:
        if self.training is None or not self.log:
            return {}
        seconds = self.training.train_seconds
        curves = {f"curve_{name}": [point[key] for point in self.log] for name, key in _CURVES.items()}
        return {
            "step": self.training.steps,
            "epoch": self.training.epoch,
            "train_seconds": seconds,
            "wall_seconds": self.wall_seconds,
            "steps_per_second": self.training.steps / seconds if seconds else None,
            "validation_accuracy": self.log[-1]["validation_accuracy"],
            "resumed": self.resumed,
            **curves,
        }


def checksum(training: Training) -> str:
    """First 16 hex digits of the SHA-256 over all parameters: runs that agree in it agree in every number."""
    digest = hashlib.sha256()
    for key, parameter in sorted(training.evaluated.parameters.items()):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(training.model.bk.to_numpy(parameter)).data)
    return digest.hexdigest()[:16]


_PROGRESS = tuple(field.name for field in dataclasses.fields(Progress))
_META: dict[str, tuple[type, ...]] = {
    "run_id": (str,), "log": (list,), "loss": (int, float), "wall_seconds": (int, float), "resumed": (int,),
    "figures": (dict,), "dataset_checksum": (str,),
}  # fmt: skip


def _is_point(point: Any) -> bool:
    """Whether this is an entry of a log: the fields of a `Progress` and the wall-clock seconds, all of them numbers,
    but for the loss before the first step."""
    if not isinstance(point, dict) or set(point) != {*_PROGRESS, "wall_seconds"}:
        return False
    numbers = [value for name, value in point.items() if name != "loss" or value is not None]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in numbers)


_CURVES = {
    "step": "step",
    "epoch": "epoch",
    "seconds": "train_seconds",
    "wall_seconds": "wall_seconds",
    "accuracy": "validation_accuracy",
    "loss": "loss",
}
