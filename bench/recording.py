"""A session of the benchmark and the records of its cases."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pytest
from options import TRAINING_ESTIMATOR, Options
from peers.child import command as peer_command

from gsbench.data import Dataset, load_dataset, split
from gsbench.meters.case import Case, make_training
from gsbench.meters.child import ChildResult, own_command, run_in_child
from gsbench.meters.estimate import classes_at_once, estimate_step_bytes
from gsbench.meters.gradient_quality import Point
from gsbench.meters.machine import machine_fields
from gsbench.meters.measure import Fit, step_peak
from gsbench.meters.others import OtherPrograms
from gsbench.records.record import Record, RecordFile, new_run_id
from gsbench.settings.case import Settings
from gsbench.settings.recipe import Recipe

# A case whose estimate is above this share of the limit runs first in a child, because the estimate may be off by half.
TRIAL_SHARE = 0.5


class Session:
    """One call of `pytest bench/`: its records, in the file at once and in memory, and objects that its cases share."""

    def __init__(self, options: Options, config: pytest.Config) -> None:
        self.options = options
        # pytest-benchmark's own options say how long a case is measured.
        self.max_time = float(config.getoption("benchmark_max_time"))
        self.min_rounds = int(config.getoption("benchmark_min_rounds"))
        warmup = config.getoption("benchmark_warmup")
        self.warmup_calls = int(config.getoption("benchmark_warmup_iterations")) if warmup else 0
        self.run_id = new_run_id()
        self.file = RecordFile(_records_folder(config) / f"{self.run_id}.jsonl")
        self.records: list[dict[str, Any]] = []
        base = options.base
        self.bk = base.make_backend()
        self.machine = machine_fields(self.bk)
        self.others = OtherPrograms()
        self.dataset = functools.lru_cache(maxsize=2)(self._dataset)
        self.trial = functools.cache(self._trial)
        # Both states of each model at the current K: all estimators are compared with the exact gradients there.
        self._cached_point = functools.lru_cache(maxsize=2 * len(options.models))(self._point)
        self.step_peak = functools.cache(self._step_peak)
        self.estimate = functools.cache(estimate_step_bytes)

    def _dataset(self, name: str, n_classes: int) -> Dataset:
        return load_dataset(name, n_classes, data_dir=self.options.data_dir, seed=self.options.base.seed)

    def _trial(self, settings: Settings, timed: str = "step", peer: str | None = None) -> ChildResult:
        """Two steps in a fresh process, of gsbench's own or of a peer."""
        on_host = settings.device == "cpu"  # the limit is the device's memory, which bounds no process on the host
        command = peer_command(peer, timed) if peer else own_command(timed)
        return run_in_child(settings, self.options.memory_limit if on_host else None, command=command)

    def point(self, settings: Settings, state: str) -> Point:
        """Where gradients are taken: the parameters and minibatch of the case, at first or after some training."""
        return self._cached_point(dataclasses.replace(settings, estimator=TRAINING_ESTIMATOR), state)

    def _point(self, settings: Settings, state: str) -> Point:
        dataset = self.dataset(settings.dataset, settings.n_classes)
        parts = split(dataset, settings.labelled_per_class, seed=settings.seed)
        training = make_training(settings, Recipe(), dataset, parts)
        for _ in range(self.options.training_of(state)["training_steps"]):
            training.advance()
        training.trainer.optimizer.clear_gradients()
        return Point(training.model, training.batches.at(0).x_unlabelled, settings.n_mc, settings.seed)

    def _step_peak(self, settings: Settings) -> dict[str, Any]:
        """The figures of peak memory of a full training step."""
        dataset = self.dataset(settings.dataset, settings.n_classes)
        return step_peak(self.bk, lambda: Case(settings, dataset).step)

    def add(self, record: Record) -> dict[str, Any]:
        self.records.append(record.flat())
        self.file.append(record)
        return self.records[-1]


class Recorder:
    """Writes the one record of a test; `benchmark.extra_info` gets the same flat dict."""

    def __init__(self, session: Session, case: str, group: str, settings: Settings, **changes: Any) -> None:
        self.session, self.case, self.group = session, case, group
        self.settings = settings
        self.fields = {**settings.record_fields(), **changes}
        if "chunk" in settings.make_estimator().settings:
            self.fields["chunk"] = classes_at_once(settings)
        self.written = False

    def dataset(self) -> Dataset:
        """The data set of the case, whose version and checksum go into the record."""
        dataset = self.session.dataset(self.settings.dataset, self.settings.n_classes)
        self.fields.update(dataset.record_fields)
        return dataset

    def write(self, figures: dict[str, Any], status: str = "ok", reason: str = "") -> dict[str, Any]:
        added = self.session.add(
            Record(
                self.session.run_id,
                self.group,
                self.case,
                self.fields,
                self.session.machine,
                {**figures, "other_cores": self.session.others.cores()},
                status,
                reason,
            )
        )
        self.written = True
        return added

    def skip(self, status: str, reason: str, **figures: Any) -> None:
        """Records that the case was not measured, and why, and skips the test."""
        self.write(figures, status, reason)
        pytest.skip(f"{status}: {reason}")

    def fit(self, estimate: int) -> Fit:
        return Fit(estimate, self.session.options.memory_limit)

    def require_bytes(self, learner: str, settings: Settings, estimate: int) -> dict[str, Any]:
        """Skips and records the case if its estimate exceeds the memory limit; else returns the two figures."""
        fit = self.fit(estimate)
        if fit.problem:
            self.skip("too-large", f"{learner} at K = {settings.n_classes} {fit.problem}", **fit.figures)
        return fit.figures

    def require_memory(self, *cases: Settings, besides: int = 0) -> None:
        """Skips and records the case if it exceeds the memory limit, by its estimate or in a trial in a child.

        besides   bytes that the measurement itself holds
        """
        limit = self.session.options.memory_limit
        for settings in cases:
            estimate = self.session.estimate(settings) + besides
            figures = self.require_bytes(settings.estimator, settings, estimate)
            what = f"{settings.estimator} at K = {settings.n_classes}"
            if estimate > TRIAL_SHARE * limit and settings.device == "cpu":
                trial = self.session.trial(settings)
                if trial.status == "failed":
                    raise RuntimeError(f"the trial of {what} in a fresh process failed: {trial.reason}")
                if trial.status != "ok":
                    self.skip(trial.status, f"{what}: {trial.reason}", **figures)


def _records_folder(config: pytest.Config) -> Path:
    """The records' folder: beside pytest-benchmark's own files, if it keeps files."""
    storage = str(config.getoption("benchmark_storage"))
    folder = ".benchmarks" if storage.startswith("elasticsearch+") else storage.removeprefix("file://")
    return Path(folder) / "records"
