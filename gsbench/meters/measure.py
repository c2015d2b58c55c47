"""Measurements that the benchmark, the planner's calibration and training runs share: memory fit, times and bytes.

Figures have their names in records.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gsbench.backends.base import Backend
from gsbench.limits import available_bytes
from gsbench.meters.memory import live_peak, peak_figures
from gsbench.meters.seconds import paired_ratio, seconds_of

MEMORY_SHARE = 0.8  # of what is free
MAX_ROUNDS = 200


def memory_limit(bk: Backend | None = None) -> int:
    """Bytes that a case may hold: four fifths of what is free on the backend's device, or else on the host."""
    return int(MEMORY_SHARE * ((bk.free_memory_bytes() if bk else None) or available_bytes()))


@dataclass(frozen=True)
class Fit:
    """The estimated bytes of a measurement, and the limit."""

    estimate_bytes: int
    memory_limit_bytes: int

    @property
    def problem(self) -> str:
        """Why it does not fit, as the end of a sentence about it; "" if it fits."""
        if self.estimate_bytes <= self.memory_limit_bytes:
            return ""
        return f"needs about {self.estimate_bytes:.3g} bytes, the limit is {self.memory_limit_bytes:.3g}"

    @property
    def figures(self) -> dict[str, Any]:
        return asdict(self)


def rounds_for(call: Callable[[], object], seconds: float, least: int, warmup_calls: int = 1) -> int:
    """Makes the call `warmup_calls` times to warm up (once at least), for no longer than `seconds`, and once to time
    it. Returns how many calls fill `seconds`: `least` of them at least.
    """
    begun = time.perf_counter()
    for _ in range(max(1, warmup_calls)):
        call()
        if time.perf_counter() - begun > seconds:
            break
    once = max(seconds_of(call), 1e-6)
    return max(least, min(MAX_ROUNDS, round(seconds / once)))


def time_figures(timed: str, batch: int, rounds: int, quartiles: Sequence[float]) -> dict[str, Any]:
    """The figures of what was timed.

    timed      "bound" or "step"
    batch      B, the unlabelled examples of a call
    rounds     calls that were timed
    quartiles  minimum, first quartile, median and third quartile of a call's seconds
    """
    low, q1, median, q3 = quartiles
    figures = {
        f"{timed}_seconds": median,
        f"{timed}_seconds_q1": q1,
        f"{timed}_seconds_q3": q3,
        f"{timed}_seconds_min": low,
        "rounds": rounds,
        "examples_per_second": batch / median,
    }
    return {**figures, "steps_per_second": 1 / median} if timed == "step" else figures


def pair_figures(
    baseline_seconds: Sequence[float], candidate_seconds: Sequence[float], seed: int = 0
) -> dict[str, Any]:
    """The figures of two calls that were timed in pairs: the ratio with its interval, and both medians."""
    ratio = paired_ratio(baseline_seconds, candidate_seconds, seed=seed)
    return {
        "speedup": ratio.median,
        "speedup_low": ratio.low,
        "speedup_high": ratio.high,
        "confidence": ratio.confidence,
        "pairs": ratio.pairs,
        "baseline_seconds": statistics.median(baseline_seconds),
        "candidate_seconds": statistics.median(candidate_seconds),
    }


def step_peak(bk: Backend, make_step: Callable[[], Callable[[], object]]) -> dict[str, Any]:
    """The figures of the peak memory of a step, on the backend's device or else on the host; see `live_peak`."""
    gc.collect()  # earlier measurements must not count
    return peak_figures(live_peak(make_step, bk.memory_peak()), on_device=bk.device != "cpu")
