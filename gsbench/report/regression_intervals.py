"""The metrics that runs are compared by, and the interval that a record supports for each of them.

Records keep no raw samples: a time is a median with its quartiles and the number of rounds, a speed-up a median with
its bootstrap interval, an accuracy a share of so many examples. All intervals here are of one side of a comparison;
`ratio_interval` puts two of them together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import pandas as pd
from scipy.special import stdtrit
from scipy.stats import binomtest

CONFIDENCE = 0.99
LEAST_ROUNDS = 4  # fewer have no quartiles to speak of
COUNTED = 0.001  # what counted bytes differ by between two runs of the same, as for Python's own objects
NONE = "one reading: none"
TOLD_NOTHING = "not told apart"


@dataclass(frozen=True)
class Metric:
    """What a larger ratio means and what a smaller one, and what counts the figure where something does."""

    larger: str
    smaller: str
    meters: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "step_seconds": Metric("slower", "faster"),
    "bound_seconds": Metric("slower", "faster"),
    "steps_per_second": Metric("faster", "slower"),
    "train_seconds": Metric("slower", "faster"),
    "speedup": Metric("faster", "slower"),
    "fraction_of_peak": Metric("more", "less"),
    "peak_bytes": Metric("more", "less", ("device_meter", "live_meter", "process_meter")),
    "process_peak_bytes": Metric("more", "less", ("process_meter",)),
    "validation_accuracy": Metric("better", "worse"),
    "test_accuracy": Metric("better", "worse"),
}
EXAMPLES = {"validation_accuracy": "validation_examples", "test_accuracy": "test_examples"}


@dataclass(frozen=True)
class Measured:
    """A figure, its interval (nan where there is none), where that comes from, and the meter that gave the figure."""

    value: float
    low: float
    high: float
    source: str
    meter: str = ""


def measured_in(row: Mapping[str, Any], metric: str, confidence: float = CONFIDENCE) -> Measured | None:
    """A metric of one record; None where it has none, where it is not positive (an accuracy may be 0), and for the
    steps per second beside the median time of which they are the inverse.
    """
    value = row.get(metric)
    if value is None or not (value > 0 or (value == 0 and metric in EXAMPLES)):
        return None
    if metric == "steps_per_second" and _there(row, "step_seconds"):
        return None
    meter = _meter(row, metric)
    if metric.endswith("_bytes") and meter and not meter.startswith("process"):
        counted = _around(value, COUNTED, f"counted, ± {COUNTED:.1%}")
        return Measured(counted.value, counted.low, counted.high, counted.source, meter)
    if metric in EXAMPLES and _there(row, EXAMPLES[metric]):
        return _share(value, row[EXAMPLES[metric]], confidence)
    if all(_there(row, f"{metric}_{end}") for end in ("low", "high")) and _there(row, "confidence"):
        ends = (row[f"{metric}_low"], row[f"{metric}_high"])
        return _stored(value, *ends, row["confidence"], confidence)
    if all(_there(row, f"{metric}_{end}") for end in ("q1", "q3")) and row.get("rounds", 0) >= LEAST_ROUNDS:
        return _median(value, row[f"{metric}_q1"], row[f"{metric}_q3"], row["rounds"], confidence)
    return Measured(value, math.nan, math.nan, NONE, meter)


def _there(row: Mapping[str, Any], field: str) -> bool:
    return row.get(field) is not None and not pd.isna(row[field])


def _meter(row: Mapping[str, Any], metric: str) -> str:
    """`live: tracemalloc`: figures of two meters are not compared."""
    for meter in METRICS[metric].meters:
        kind = meter.removesuffix("_meter")
        if _there(row, f"{kind}_peak_bytes"):
            return f"{kind}: {row.get(meter)}"
    return ""


def _around(value: float, half: float, source: str) -> Measured:
    """The interval that in logarithms reaches `half` to both sides."""
    return Measured(value, value * math.exp(-half), value * math.exp(half), source)


def _student(confidence: float, degrees: float) -> float:
    return float(stdtrit(degrees, 0.5 + confidence / 2))


def _median(value: float, q1: float, q3: float, rounds: float, confidence: float) -> Measured:
    """The median's standard error where the logarithms are about normal: sqrt(π/2) σ/√n, with σ = (ln q₃ − ln q₁)/1.349
    and Student's t of n − 1 degrees of freedom.
    """
    sigma = (math.log(q3) - math.log(q1)) / (2 * NormalDist().inv_cdf(0.75))
    error = math.sqrt(math.pi / 2 / rounds) * sigma
    return _around(value, _student(confidence, rounds - 1) * error, "quartiles")


def _stored(value: float, low: float, high: float, level: float, confidence: float) -> Measured:
    """The stored interval, widened or narrowed in logarithms, to each side by itself, where its level is another."""
    if not 0 < low <= value <= high:
        return Measured(value, math.nan, math.nan, NONE)
    factor = NormalDist().inv_cdf(0.5 + confidence / 2) / NormalDist().inv_cdf(0.5 + level / 2)
    return Measured(value, value * (low / value) ** factor, value * (high / value) ** factor, "stored interval")


def _share(value: float, examples: float, confidence: float) -> Measured:
    """Wilson's interval of a share of n examples. It knows nothing of how much another seed would change."""
    found = binomtest(round(value * examples), int(examples)).proportion_ci(confidence, method="wilson")
    return Measured(value, min(found.low, value), max(found.high, value), "examples (Wilson)")


def of_repeats(repeats: Sequence[Measured], confidence: float = CONFIDENCE) -> Measured:
    """One figure for a case that a run has several of, as of several seeds or sessions: their mean, with Student's
    interval from their spread, which holds all that differs between them.
    """
    if len(repeats) == 1:
        return repeats[0]
    values = pd.Series([repeat.value for repeat in repeats], dtype=float)
    if not values.any():
        return Measured(0.0, math.nan, math.nan, NONE, repeats[0].meter)
    error = float(values.sem()) / float(values.mean())
    half = _student(confidence, len(values) - 1) * error
    around = _around(float(values.mean()), half, f"spread of {len(values)}")
    return Measured(around.value, around.low, around.high, around.source, repeats[0].meter)


def ratio_interval(base: Measured, new: Measured) -> tuple[float, float]:
    """The interval of new/base for two that were measured apart from each other, from the intervals of both; nan where
    one has none. Where `new` is 0, from 0 to what its end makes of the base's.

    In logarithms, d = n − b: [d − √((n − n_low)² + (b_high − b)²), d + √((n_high − n)² + (b − b_low)²)] (MOVER: Zou and
    Donner 2008, Statistics in Medicine 27:1693). It keeps the level of the two, and their asymmetry.
    """
    if not all(end > 0 for end in (base.low, base.high, new.high)):
        return math.nan, math.nan
    if new.value == 0:
        return 0.0, new.high / base.low
    if not new.low > 0:
        return math.nan, math.nan
    ratio = new.value / base.value
    down = math.hypot(math.log(new.value / new.low), math.log(base.high / base.value))
    up = math.hypot(math.log(new.high / new.value), math.log(base.value / base.low))
    return ratio * math.exp(-down), ratio * math.exp(up)


def verdict(metric: str, low: float, high: float) -> str:
    """What the whole interval of the ratio says; without one nothing is told apart."""
    if low > 1:
        return METRICS[metric].larger
    return METRICS[metric].smaller if high < 1 else TOLD_NOTHING
