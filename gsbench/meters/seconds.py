"""Ratios of times, measured in pairs because ratios survive a noisy machine."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


def seconds_of(call: Callable[[], object]) -> float:
    """Wall time of a call, which must wait for its device before it returns."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Ratio:
    """Baseline time over candidate time: the median over pairs and its bootstrap interval."""

    median: float
    low: float
    high: float
    confidence: float
    pairs: int


# With few values, the percentile bootstrap of a median covers less than its nominal share. At 95 %, it covers 87 % of
# the true ratios with 7 pairs and 89 % with 15 (an estimator compared with itself). At 99 %, it covers at least 95 %
# (tests/test_meters.py).
CONFIDENCE = 0.99


def bootstrap_median(values: np.ndarray, confidence: float = CONFIDENCE, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of the median of `values` [n], from 2,000 resamples."""
    from scipy import stats  # takes as long as many a measurement, and most processes need none

    with warnings.catch_warnings():
        # SciPy 1.15 renamed random_state to rng and will warn of the old name, the only one the oldest SciPy has.
        warnings.simplefilter("ignore", DeprecationWarning)
        interval = stats.bootstrap(
            (values,),
            np.median,
            n_resamples=2000,
            confidence_level=confidence,
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
    return float(interval.low), float(interval.high)


def paired_ratio(
    baseline_seconds: Sequence[float], candidate_seconds: Sequence[float], confidence: float = CONFIDENCE, seed: int = 0
) -> Ratio:
    """baseline / candidate, for times taken in pairs: above 1 if the candidate is faster."""
    log_ratio = np.log(baseline_seconds) - np.log(candidate_seconds)
    low, high = bootstrap_median(log_ratio, confidence, seed)
    median = float(np.exp(np.median(log_ratio)))
    return Ratio(median, float(np.exp(low)), float(np.exp(high)), confidence, len(log_ratio))


# OpenBLAS's threads wait for the next product in a loop, for 2²⁶ cycles of the processor, and take a core from another
# framework's step meanwhile. One draw in PyTorch took twice as long right after a step in NumPy.
REST_SECONDS = 0.05


class Pairs:
    """Times two calls in turn. Each call of the object is one pair; pairs alternate between A B and B A.

    Both calls must wait for their device before they return. `baseline_seconds` and `candidate_seconds` hold the
    times, one entry a pair.

    rest   seconds of sleep before each call, for calls of two frameworks: see `REST_SECONDS`
    """

    def __init__(
        self, baseline: Callable[[], object], candidate: Callable[[], object], rest: float = 0.0
    ) -> None:
        self._calls = (baseline, candidate)
        self._rest = rest
        self._seconds: tuple[list[float], list[float]] = ([], [])

    def __call__(self) -> None:
        order = (0, 1) if len(self._seconds[0]) % 2 == 0 else (1, 0)
        measured = [0.0, 0.0]
        for i in order:
            time.sleep(self._rest)
            measured[i] = seconds_of(self._calls[i])
        for seconds, value in zip(self._seconds, measured, strict=True):
            seconds.append(value)

    @property
    def baseline_seconds(self) -> list[float]:
        return self._seconds[0]

    @property
    def candidate_seconds(self) -> list[float]:
        return self._seconds[1]
