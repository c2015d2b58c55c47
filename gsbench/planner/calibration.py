"""A minute's measurement for a plan: the bound, the step and its memory at a few small class counts.

Its records are ordinary ones, which `gsbench report` reads as well.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from gsbench.backends import load_backend
from gsbench.case import Case
from gsbench.data import load_dataset
from gsbench.estimators import parse_estimator
from gsbench.machine import machine_fields
from gsbench.meters.child import run_in_child
from gsbench.meters.estimate import estimate_step_bytes
from gsbench.meters.memory import available_bytes, live_peak, peak_figures
from gsbench.meters.seconds import Pairs
from gsbench.planner.work import Shape, SizedSettings
from gsbench.records import Record, RecordFile, new_run_id
from gsbench.settings import Settings, available_cores

CLASSES = (10, 20, 50, 100)
TIMED = ("bound", "step")
LEAST_ROUNDS, MOST_ROUNDS, SECONDS = 7, 50, 1.5  # rounds of a pair


def calibrate(
    shape: Shape | None = None,
    estimators: Sequence[str] | None = None,
    classes: Sequence[int] = CLASSES,
    *,
    storage: str | Path = ".benchmarks",
    backend: str = "chainer",
    threads: int | None = None,
    quiet: bool = False,
) -> Path:
    """Measures and returns the file of the records, `storage`/records/RUN.jsonl.

    estimators    None: an exact sum and `gumbel-softmax`

    The first exact sum of the estimators, or `marginalize-streamed` (with batch norm, for which that is not defined,
    `marginalize`), is timed in pairs with each of the others. Images are random ones, which cost what others do. What
    does not fit in memory is recorded as such. Raises ValueError for settings that there are not, before anything is
    measured.
    """
    shape, threads = shape or Shape(), threads or available_cores()
    asked = ["gumbel-softmax"] if estimators is None else estimators
    batch_norm = shape.settings("gumbel-softmax", 2).make_config().norm == "batch"
    exact = [name for name in asked if parse_estimator(name).exact] or [
        "marginalize" if batch_norm else "marginalize-streamed"
    ]
    names = list(dict.fromkeys([exact[0], *asked]))
    more: dict[str, Any] = {"backend": backend, "threads": threads, "dataset": "synthetic", "labelled_per_class": 1}
    cases = [[shape.settings(name, k, **more) for name in names] for k in sorted(set(classes))]
    bk = load_backend(backend, shape.device, shape.dtype)
    bar = tqdm(total=len(cases) * len(names), desc="calibrating", unit="case", disable=quiet, dynamic_ncols=True)
    with threadpool_limits(threads), bar:
        run = _Run(bk, RecordFile(Path(storage) / "records" / f"{new_run_id()}.jsonl"), bar)
        for of_one_count in cases:
            run.measure(of_one_count)
    return run.file.path


class _Run:
    def __init__(self, bk: Any, file: RecordFile, bar: Any) -> None:
        self.bk, self.file, self.bar = bk, file, bar
        self.machine = machine_fields(bk)
        self.limit = int(0.8 * (bk.free_memory_bytes() or available_bytes()))

    def measure(self, cases: Sequence[SizedSettings]) -> None:
        """All that is measured at one class count; the first case is the baseline of the others."""
        first = cases[0]
        dataset = load_dataset(first.dataset, first.n_classes, seed=first.seed)
        fields = {"dataset_version": dataset.version, "dataset_checksum": dataset.checksum}
        fitting = [case for case in cases if self._fits(case)]
        made = {case: Case(case, dataset) for case in fitting}
        for case in fitting:
            self.bar.set_postfix_str(f"K={case.n_classes} {case.estimator}")
            self._time(made, first, case, fields)
            self.bar.update()
        del made
        for case in fitting:
            gc.collect()  # what earlier cases left is no part of this one
            self._memory(case, dataset, fields)

    def _fits(self, case: Settings) -> bool:
        needed = estimate_step_bytes(case)
        if needed <= self.limit:
            return True
        figures = {"estimate_bytes": needed, "memory_limit_bytes": self.limit}
        reason = f"needs about {needed:.3g} bytes, the limit is {self.limit:.3g}"
        for group in (*TIMED, "memory"):
            self._write(group, case, figures, {}, "too-large", reason)
        self.bar.update()
        return False

    def _time(self, made: dict[Any, Case], first: Any, case: Any, fields: dict[str, Any]) -> None:
        """The bound and the step: by themselves, or in pairs with those of the first case."""
        if case == first and len(made) > 1:
            return  # its times are those of the first pair
        for timed in TIMED:
            call = getattr(made[case], timed)
            if case == first or first not in made:
                self._write(timed, case, _figures(timed, _seconds_of(call), case.batch), fields)
                continue
            baseline = getattr(made[first], timed)
            Pairs(baseline, call)()  # warms up
            pairs = Pairs(baseline, call)
            _fill(pairs)
            if case == next(other for other in made if other != first):
                self._write(timed, first, _figures(timed, pairs.baseline_seconds, first.batch), fields)
            self._write(timed, case, _figures(timed, pairs.candidate_seconds, case.batch), fields)
            what = {**fields, "timed": timed, "baseline": first.estimator}
            self._write("speedup", case, _speedup(pairs, case.seed), what)

    def _memory(self, case: SizedSettings, dataset: Any, fields: dict[str, Any]) -> None:
        device_peak = self.bk.device_memory_peak()
        peak = live_peak(lambda: Case(case, dataset).step, device_peak)
        figures: dict[str, Any] = {"estimate_bytes": estimate_step_bytes(case), "memory_limit_bytes": self.limit}
        figures |= peak_figures(peak, on_device=device_peak is not None)
        if _is_preset(case):  # a fresh process knows the sizes of presets alone
            names = [field.name for field in dataclasses.fields(Settings)]
            child = run_in_child(Settings(**{name: getattr(case, name) for name in names}), None)
            figures |= {"process_peak_bytes": child.process_peak_bytes, "process_meter": child.process_meter}
        self._write("memory", case, figures, fields)

    def _write(
        self, group: str, case: Settings, figures: Any, fields: Any, status: str = "ok", reason: str = ""
    ) -> None:
        more = f"-{fields['timed']}" if "timed" in fields else ""
        name = f"calibrate_{group}[{case.model}-{case.n_classes}-{case.estimator}{more}]"
        settings = {**case.record_fields(), **fields}
        self.file.append(Record(self.file.path.stem, group, name, settings, self.machine, figures, status, reason))


def _is_preset(case: SizedSettings) -> bool:
    return case.make_config() == Settings.make_config(case)


def _fill(call: Callable[[], None]) -> int:
    """Takes the call as often as it fits the seconds of a pair. Gives the number of times."""
    start, rounds = time.perf_counter(), 0
    while rounds < LEAST_ROUNDS or (rounds < MOST_ROUNDS and time.perf_counter() - start < SECONDS):
        call()
        rounds += 1
    return rounds


def _seconds_of(call: Callable[[], None]) -> list[float]:
    found: list[float] = []

    def timed() -> None:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)

    call()  # the first warms up
    _fill(timed)
    return found


def _speedup(pairs: Pairs, seed: int) -> dict[str, Any]:
    ratio = pairs.ratio(seed=seed)
    return {
        "speedup": ratio.median,
        "speedup_low": ratio.low,
        "speedup_high": ratio.high,
        "confidence": ratio.confidence,
        "pairs": ratio.pairs,
        "baseline_seconds": float(np.median(pairs.baseline_seconds)),
        "candidate_seconds": float(np.median(pairs.candidate_seconds)),
    }


def _figures(timed: str, seconds: Sequence[float], batch: int) -> dict[str, Any]:
    q1, median, q3 = map(float, np.percentile(seconds, (25, 50, 75)))
    figures = {
        f"{timed}_seconds": median,
        f"{timed}_seconds_q1": q1,
        f"{timed}_seconds_q3": q3,
        f"{timed}_seconds_min": float(min(seconds)),
        "rounds": len(seconds),
        "examples_per_second": batch / median,
    }
    return {**figures, "steps_per_second": 1 / median} if timed == "step" else figures
