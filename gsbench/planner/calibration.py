"""A calibration for a plan, about a minute long. It measures bound, step and memory at a few small class counts.

`gsbench report` reads its records too.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from gsbench.backends import default_backend
from gsbench.data import load_dataset
from gsbench.estimators import baseline_fields, parse_estimator
from gsbench.limits import available_cores
from gsbench.meters.allocator import keep_memory
from gsbench.meters.case import Case
from gsbench.meters.child import run_in_child
from gsbench.meters.estimate import estimate_step_bytes
from gsbench.meters.machine import machine_fields
from gsbench.meters.measure import Fit, memory_limit, pair_figures, step_peak, time_figures
from gsbench.meters.seconds import seconds_of
from gsbench.planner.work import Shape, columns
from gsbench.records.record import Record, RecordFile, new_run_id
from gsbench.settings.case import Settings

CLASSES = (10, 20, 50, 100)
TIMED = ("bound", "step")
LEAST_ROUNDS, MOST_ROUNDS, SECONDS = 9, 30, 30.0  # of all cases in turn


def calibrate(
    shape: Shape | None = None,
    estimators: Sequence[str] | None = None,
    classes: Sequence[int] = CLASSES,
    *,
    storage: str | Path = ".benchmarks",
    backend: str | None = None,
    threads: int | None = None,
    quiet: bool = False,
) -> Path:
    """Measures the cases and returns the file of the records, `storage`/records/RUN.jsonl.

    estimators    None: an exact sum and `gumbel-softmax`

    Each round times every case once, in order of cost. `_levels` then corrects the medians for the machine's speed in
    each round, so that a machine that slows down for some minutes does not distort the curves over K. The uncorrected
    medians are `step_seconds_as_timed` and `bound_seconds_as_timed`. The baseline of speed-ups is the first exact sum
    among the estimators, else `marginalize-streamed`, or `marginalize` with batch norm. Images are random, which does
    not change the cost. A case that does not fit in memory gets a record that says so. From this call on, the process
    does not return freed memory to the system. Raises ValueError for unknown settings, before it measures anything;
    raises OSError, whose message holds the records, if the file cannot be written.
    """
    shape, threads = shape or Shape(), threads or available_cores()
    asked = ["gumbel-softmax"] if estimators is None else estimators
    batch_norm = shape.settings("gumbel-softmax", 2).make_config().norm == "batch"
    exact = [name for name in asked if parse_estimator(name).exact] or [
        "marginalize" if batch_norm else "marginalize-streamed"
    ]
    names = list(dict.fromkeys([exact[0], *asked]))
    backend = backend or default_backend()
    more: dict[str, Any] = {"backend": backend, "threads": threads, "dataset": "synthetic", "labelled_per_class": 1}
    # Cheap cases are neighbours: a machine keeps its speed for seconds, but perhaps not through a costly case.
    asked_for = [(name, k) for k in sorted(set(classes)) for name in names]
    by_work = sorted(asked_for, key=lambda case: float(columns("step", shape, *case)[1]))
    cases = [shape.settings(name, k, **more) for name, k in by_work]
    keep_memory()
    bk = cases[0].make_backend()
    bar = tqdm(total=2 * len(cases), desc="calibrating", unit="case", disable=quiet, dynamic_ncols=True)
    with threadpool_limits(threads), bar:
        run = _Calibration(bk, RecordFile(Path(storage) / "records" / f"{new_run_id()}.jsonl"), bar)
        try:
            run.measure(cases, baseline=names[0])
        finally:
            run.file.write_waiting()
            if run.file.waiting:
                raise OSError(run.file.unwritten())
    return run.file.path


class _Calibration:
    def __init__(self, bk: Any, file: RecordFile, bar: Any) -> None:
        self.bk, self.file, self.bar = bk, file, bar
        self.machine = machine_fields(bk)
        self.limit = memory_limit(bk)

    def measure(self, cases: Sequence[Settings], baseline: str) -> None:
        """The times of all cases, then their memory one by one."""
        fitting = [case for case in cases if self._fits(case)]
        datasets = {k: load_dataset("synthetic", k, seed=cases[0].seed) for k in {case.n_classes for case in fitting}}
        if fitting:
            self._times(fitting, datasets, baseline)
        for case in fitting:
            self.bar.set_postfix_str(f"memory, K={case.n_classes} {case.estimator}")
            self._memory(case, datasets[case.n_classes])
            self.bar.update()

    def _fits(self, case: Settings) -> bool:
        fit = Fit(estimate_step_bytes(case), self.limit)
        if not fit.problem:
            return True
        for group in (*TIMED, "memory"):
            self._write(group, case, fit.figures, {}, "too-large", fit.problem)
        self.bar.update(2)
        return False

    def _times(self, cases: Sequence[Settings], datasets: dict[int, Any], baseline: str) -> None:
        seconds = self._in_turn({case: Case(case, datasets[case.n_classes]) for case in cases})
        levels = _levels(seconds)
        for (case, timed), own in seconds.items():
            fields = datasets[case.n_classes].record_fields
            self._write(timed, case, _figures(timed, own, levels[case, timed], case.batch), fields)
            other = dataclasses.replace(case, estimator=baseline), timed
            if other in seconds and case.estimator != baseline:
                medians = {"baseline_seconds": levels[other], "candidate_seconds": levels[case, timed]}
                figures = {**pair_figures(seconds[other], own, case.seed), **medians}
                self._write("speedup", case, figures, {**fields, "timed": timed, **baseline_fields(baseline)})

    def _in_turn(self, made: dict[Settings, Case]) -> dict[tuple[Settings, str], list[float]]:
        """The seconds of each case's bound and step, one value per round. Consecutive calls of one case would share the
        machine's state at that moment. Every second round runs in reverse order.
        """
        seconds: dict[tuple[Settings, str], list[float]] = {(case, timed): [] for case in made for timed in TIMED}
        begun, before, rounds, share = time.perf_counter(), self.bar.n, 0, 0.0
        while share < 1:
            self.bar.set_postfix_str(f"times, round {rounds + 1}")
            for case in made if rounds % 2 == 0 else reversed(made):
                for timed in TIMED:
                    call = getattr(made[case], timed)
                    call()  # untimed: the first call after another case is slow, unlike the steps of a training run
                    seconds[case, timed].append(seconds_of(call))
            rounds += 1
            elapsed = time.perf_counter() - begun
            share = min(rounds / LEAST_ROUNDS, max(elapsed / SECONDS, rounds / MOST_ROUNDS), 1.0)
            self.bar.update(before + int(share * len(made)) - self.bar.n)
        return seconds

    def _memory(self, case: Settings, dataset: Any) -> None:
        figures = Fit(estimate_step_bytes(case), self.limit).figures
        figures |= step_peak(self.bk, lambda: Case(case, dataset).step)
        figures |= run_in_child(case, None).figures
        self._write("memory", case, figures, dataset.record_fields)

    def _write(
        self, group: str, case: Settings, figures: Any, fields: Any, status: str = "ok", reason: str = ""
    ) -> None:
        more = f"-{fields['timed']}" if "timed" in fields else ""
        name = f"calibrate_{group}[{case.model}-{case.n_classes}-{case.estimator}{more}]"
        settings = {**case.record_fields(), **fields}
        self.file.append(Record(self.file.path.stem, group, name, settings, self.machine, figures, status, reason))


def _levels(seconds: Mapping[Any, Sequence[float]]) -> dict[Any, float]:
    """Each case's level: its median over rounds, after each round's times are divided by the round's slowness.

    The slowness of a round is the median over all cases of time / level. The two are computed in alternation (median
    polish, Tukey 1977). A virtual machine's speed may change by half for half a minute, at random rounds of each case.
    """
    times = np.array(list(seconds.values()))
    levels = np.median(times, axis=1)
    for _ in range(10):
        slow = np.median(times / levels[:, None], axis=0)
        levels = np.median(times / (slow / np.median(slow)), axis=1)
    return dict(zip(seconds, levels.tolist(), strict=True))


def _figures(timed: str, seconds: Sequence[float], level: float, batch: int) -> dict[str, Any]:
    """The quartiles, rescaled to the level. Their relative spread stays, because later measurements vary as much."""
    quartiles = np.percentile(seconds, (0, 25, 50, 75))
    levelled = (quartiles / quartiles[2] * level).tolist()
    return {
        **time_figures(timed, batch, len(seconds), levelled),
        f"{timed}_seconds_as_timed": float(quartiles[2]),
    }
