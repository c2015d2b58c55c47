"""A training run that keeps its record in a store. It can stop at any step and resume there."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import Timeout
from threadpoolctl import threadpool_limits

from gsbench.data import DataFileError, Dataset, find_dataset, load_dataset
from gsbench.meters.allocator import keep_memory
from gsbench.meters.machine import machine_fields
from gsbench.meters.measure import Fit, memory_limit
from gsbench.records.record import Record, new_run_id
from gsbench.runs.store import BEGIN_ANEW, CHECKPOINT, IMAGES, Store
from gsbench.runs.training_run import Diverged, TrainingRun, Watcher, run_step_bytes
from gsbench.settings.run import RunSettings
from gsbench.training.images import image_grids, write_images
from gsbench.training.trainer import Progress
from gsbench.values import LONGEST_SECONDS, Range

CHECKPOINT_SECONDS = Range(least=0, most=LONGEST_SECONDS)


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
    """Makes a run, or resumes it from its checkpoint. Writes its flat record into the store and returns it.

    A run that the store holds as finished is not made again. If `stop()` is true after a step, the run writes its
    checkpoint and returns its record with status "unfinished". A loss that is not finite ends the run as "diverged".
    Too little memory ends it as "too-large" or "out-of-memory". Any other error is recorded as "failed" and raised.
    A run that fails before its first evaluation keeps the figures of the record that it replaces. A checkpoint that is
    damaged or belongs to other data raises DataFileError, which names the file and says what to do.

    stop                  called after every step
    checkpoint_seconds    wall-clock time between checkpoints
    wait                  if another process makes the same run: wait for it (True) or raise TimeoutError (False)
    """
    CHECKPOINT_SECONDS.check("checkpoint_seconds", checkpoint_seconds)
    key = settings.key
    try:
        with store.lock(key, wait):
            if store.finished(key):
                store.drop_checkpoint(key)  # a process killed right after its last record leaves one
                return store.record(key) or {}
            keep_memory()
            with threadpool_limits(settings.case.threads):
                run = _StoredRun(settings, store, run_id or new_run_id(), data_dir, watcher)
                return run.make(stop, checkpoint_seconds)
    except Timeout:
        raise TimeoutError(f"another process is making the run {key} in {store.folder}") from None


class _StoredRun(TrainingRun):
    """A run whose record, checkpoint and images are in a store. A checkpoint holds arrays and, as `meta`, all other
    data.
    """

    def __init__(
        self,
        settings: RunSettings,
        store: Store,
        run_id: str,
        data_dir: str | Path | None,
        watcher: Watcher | None = None,
    ) -> None:
        super().__init__(settings, watcher)
        self.store, self.key, self.run_id, self.data_dir = store, settings.key, run_id, data_dir

    def make(self, stop: Callable[[], bool], checkpoint_seconds: float) -> dict[str, Any]:
        fit = Fit(run_step_bytes(self.settings), memory_limit(self.bk))
        self.figures.update(fit.figures)
        if fit.problem:
            return self._write("too-large", f"a step {fit.problem}")
        try:
            return self._make(stop, checkpoint_seconds)
        except Diverged as error:
            record = self._write("diverged", str(error))
            self.store.drop_checkpoint(self.key)
            return record
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if self.bk.is_out_of_memory(error):
                return self._write("out-of-memory", reason)
            self._write("failed", reason)
            raise

    def _make(self, stop: Callable[[], bool], checkpoint_seconds: float) -> dict[str, Any]:
        self._begin_or_go_on(self._data())
        written = time.perf_counter()
        for _ in self.steps():
            stopping = stop()
            if stopping or time.perf_counter() - written >= checkpoint_seconds:
                self._checkpoint()
                written = time.perf_counter()
            if stopping and not self.spent:
                return self._write("unfinished", "stopped")
        return self._finish()

    def _data(self) -> Dataset:
        case = self.settings.case
        try:
            return load_dataset(case.dataset, case.n_classes, data_dir=self.data_dir, seed=case.seed)
        except DataFileError as error:
            checkpoint = self.store.run(self.key) / CHECKPOINT
            if not checkpoint.exists():
                raise
            advice = f"put the former file back, and the same command goes on from {checkpoint}"
            raise DataFileError(f"{error}; {advice}") from error

    def _begin_or_go_on(self, dataset: Dataset) -> None:
        """Puts the run before its first step, or at its checkpoint."""
        found = self.store.checkpoint(self.key)
        if found is None:
            self.begin(dataset)
            return
        arrays, meta = found
        if isinstance(meta.get("log"), list):  # a checkpoint from before curves had the calls of f
            meta["log"] = [{"calls_of_f": None, **point} if isinstance(point, dict) else point for point in meta["log"]]
        self._check_meta(meta, dataset)
        self.begin(dataset, measured=True)
        try:
            self.training.restore(arrays)
        except ValueError as error:
            raise self.store.refusal(self.key, str(error)) from error
        if self.last_step is not None and self.training.steps > self.last_step:
            raise self.store.refusal(
                self.key, f"it is of step {self.training.steps}, and the run has {self.last_step}"
            )
        self.log, self.loss = meta["log"], meta["loss"]
        self.run_id, self.wall_before, self.resumed = meta["run_id"], meta["wall_seconds"], meta["resumed"] + 1
        self.figures.update(meta["figures"])

    def _check_meta(self, meta: dict[str, Any], dataset: Dataset) -> None:
        """Raises DataFileError if the run cannot resume from a checkpoint with these meta data."""
        if "dataset_checksum" not in meta:
            raise self.store.refusal(self.key, "an older gsbench wrote it, without the checksum of its data")
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

    def _checkpoint(self) -> None:
        """Writes the checkpoint, and a record of the run so far."""
        meta = {
            "run_id": self.run_id,
            "log": self.log,
            "loss": self.loss,
            "wall_seconds": self.wall_seconds,
            "resumed": self.resumed,
            "figures": self.figures,
            "dataset_checksum": self.dataset.checksum,
        }
        self.store.write_checkpoint(self.key, self.training.state(), meta)
        self._write("unfinished", "not at its end yet")

    def _finish(self) -> dict[str, Any]:
        """Evaluates the test part once, and writes the images and the record."""
        settings = self.settings
        if len(self.parts.test):
            test = self.evaluation(self.parts.test)
            self.figures.update(
                test_accuracy=self.accuracy(test, settings.test_draws), test_examples=len(test.labels)
            )
        if not settings.labels_only and self.training.model.draws_images and self.dataset.is_square:
            held_out = self.evaluation(self.parts.validation)
            grids = image_grids(self.training.evaluated, held_out.x, held_out.labels, settings.case.seed)
            write_images(self.store.run(self.key) / IMAGES, grids)
        self.figures["parameters_checksum"] = self.checksum()
        record = self._write("ok")
        self.store.drop_checkpoint(self.key)
        return record

    def _write(self, status: str, reason: str = "") -> dict[str, Any]:
        """Replaces the run's record."""
        figures, machine = {**self.figures, **self.progress()}, machine_fields(self.bk)
        record = Record(self.run_id, "training", self.key, self.fields, machine, figures, status, reason).flat()
        if not self.log:
            record = self.store.with_figures_kept(self.key, record)
        self.store.write_record(self.key, record)
        return record


_OF_A_POINT = {*(field.name for field in dataclasses.fields(Progress)), "wall_seconds"}
_MAY_BE_NONE = ("loss", "calls_of_f")
_META: dict[str, tuple[type, ...]] = {
    "run_id": (str,), "log": (list,), "loss": (int, float), "wall_seconds": (int, float), "resumed": (int,),
    "figures": (dict,), "dataset_checksum": (str,),
}  # fmt: skip


def _is_point(point: Any) -> bool:
    """Whether this is an entry of a log: it has the fields of `Progress` and the wall-clock seconds. All are numbers,
    except that the loss before the first step and the calls of f may be None."""
    if not isinstance(point, dict) or set(point) != _OF_A_POINT:
        return False
    numbers = [value for name, value in point.items() if name not in _MAY_BE_NONE or value is not None]
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in numbers)
