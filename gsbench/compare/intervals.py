"""The metrics in comparisons of runs, and the interval that a record supports for each of them.

Records keep no raw samples. A time is a median with its quartiles and the number of rounds; a speed-up is a median with
its bootstrap interval; an accuracy is a share of a number of examples. Each interval here belongs to one side of a
comparison; `ratio_interval` combines two of them.

The scatter within a session does not predict the next session. On one quiet virtual machine (reports/reference and
reports/plan: 85 pairs of sessions that timed the same case), the logarithms of times differed by 0.10 to 0.14 in root
mean square, and by 0.36 at most. Intervals from the rounds alone, at 99 %, found a difference in 2 of 30 and in 6 of 15
pairs. So the interval of a time includes the spread between sessions: the larger of 10 % (OF_TIMES) and the spread of
the sessions themselves, if there are several. With it, none of these 45 pairs shows a difference.

If other programs take cores, the spread has no bound. In 28 sessions of one commit under such load, times differed by
up to a factor of 50, and 31 to 72 % of the pairs showed a difference. So such times get no verdict. Speed-ups, which
are measured in pairs, showed a difference in only 1 to 6 % of the same pairs of sessions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

CONFIDENCE = 0.99
LEAST_ROUNDS = 4  # fewer give no useful quartiles
COUNTED = 0.001  # relative difference of counted bytes between two equal runs, such as from Python's own objects
NONE = "one reading: none"
TOLD_NOTHING = "not told apart"
CANNOT_TELL = "cannot tell: other programs computed"


@dataclass(frozen=True)
class Metric:
    """The words for a larger and for a smaller ratio, and properties of the figure.

    meters    the fields that name its meter, if it has one
    between   standard deviation of the logarithm between sessions of one machine, beyond the scatter within a session
    in_turn   whether it is valid under load by other programs, because it was measured in pairs or counted
    unit      the figure's unit: a key of `gsbench.compare.conditions.UNITS`
    """

    larger: str
    smaller: str
    meters: tuple[str, ...] = ()
    between: float = 0.0
    in_turn: bool = True
    unit: str = "share"


OF_TIMES = 0.1  # `between` of times: see above
KNOWN = 10  # degrees of freedom of OF_TIMES: about the number of sessions behind it

METRICS: dict[str, Metric] = {
    "step_seconds": Metric("slower", "faster", between=OF_TIMES, in_turn=False, unit="seconds"),
    "bound_seconds": Metric("slower", "faster", between=OF_TIMES, in_turn=False, unit="seconds"),
    "steps_per_second": Metric("faster", "slower", between=OF_TIMES, in_turn=False, unit="rate"),
    "train_seconds": Metric("slower", "faster", between=OF_TIMES, in_turn=False, unit="seconds"),
    "speedup": Metric("faster", "slower", unit="number"),
    "fraction_of_peak": Metric("more", "less", between=OF_TIMES, in_turn=False),
    "peak_bytes": Metric("more", "less", ("device_meter", "live_meter", "process_meter"), unit="bytes"),
    "process_peak_bytes": Metric("more", "less", ("process_meter",), unit="bytes"),
    "validation_accuracy": Metric("better", "worse"),
    "test_accuracy": Metric("better", "worse"),
}
EXAMPLES = {"validation_accuracy": "validation_examples", "test_accuracy": "test_examples"}


@dataclass(frozen=True)
class Measured:
    """A figure, its interval (nan if none), the source of the interval, and the meter of the figure.

    session   the run_id of its record
    disturbed whether other programs took cores that it depends on
    """

    value: float
    low: float
    high: float
    source: str
    meter: str = ""
    session: str = ""
    disturbed: bool = False


def measured_in(row: Mapping[str, Any], metric: str, confidence: float = CONFIDENCE) -> Measured | None:
    """A metric of one record; None if it is missing or not positive (an accuracy may be 0). Steps per second also give
    None if the record has the median step time, because one is the inverse of the other.
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
    """`live: tracemalloc`. Figures of different meters are not compared."""
    for meter in METRICS[metric].meters:
        kind = meter.removesuffix("_meter")
        if _there(row, f"{kind}_peak_bytes"):
            return f"{kind}: {row.get(meter)}"
    return ""


def _around(value: float, half: float, source: str) -> Measured:
    """The interval ln(value) ± `half`, in logarithms."""
    return Measured(value, value * math.exp(-half), value * math.exp(half), source)


def student(confidence: float, degrees: float) -> float:
    """Half the width of the interval of a mean by Student's t, in standard errors."""
    return float(stdtrit(degrees, 0.5 + confidence / 2))


def _median(value: float, q1: float, q3: float, rounds: float, confidence: float) -> Measured:
    """The interval of a median whose logarithms are about normal: the standard error is sqrt(π/2) σ/√n, with
    σ = (ln q₃ − ln q₁)/1.349, and Student's t has n − 1 degrees of freedom.
    """
    sigma = (math.log(q3) - math.log(q1)) / (2 * NormalDist().inv_cdf(0.75))
    error = math.sqrt(math.pi / 2 / rounds) * sigma
    return _around(value, student(confidence, rounds - 1) * error, "quartiles")


def _stored(value: float, low: float, high: float, level: float, confidence: float) -> Measured:
    """The stored interval, rescaled to the level `confidence`: in logarithms, each side separately."""
    if not 0 < low <= value <= high:
        return Measured(value, math.nan, math.nan, NONE)
    factor = NormalDist().inv_cdf(0.5 + confidence / 2) / NormalDist().inv_cdf(0.5 + level / 2)
    return Measured(value, value * (low / value) ** factor, value * (high / value) ** factor, "stored interval")


def _share(value: float, examples: float, confidence: float) -> Measured:
    """Wilson's interval of a share of n examples. It does not cover changes between seeds."""
    from scipy.stats import binomtest  # a second, which a report without shares of examples does not need

    found = binomtest(round(value * examples), int(examples)).proportion_ci(confidence, method="wilson")
    return Measured(value, min(found.low, value), max(found.high, value), "examples (Wilson)")


def of_repeats(repeats: Sequence[Measured], confidence: float = CONFIDENCE) -> Measured:
    """The mean of the repeats of a case, such as several seeds or sessions, with Student's interval from their spread.

    It is never narrower than the mean's interval from the repeats' own intervals: two seeds may agree by chance.
    """
    if len(repeats) == 1:
        return repeats[0]
    values = pd.Series([repeat.value for repeat in repeats], dtype=float)
    mean, n = float(values.mean()), len(values)
    down, up = (math.hypot(*(getattr(one, end) - one.value for one in repeats)) / n for end in ("low", "high"))
    if mean == 0:
        return _merged(repeats, mean, 0.0 if up >= 0 else math.nan, up, f"spread of {n}")
    if values.nunique() == 1 and math.isnan(up):
        return _merged(repeats, mean, math.nan, math.nan, NONE)
    around = _around(mean, student(confidence, n - 1) * float(values.sem()) / mean, f"spread of {n}")
    low, high = float(np.fmin(around.low, mean - down)), float(np.fmax(around.high, mean + up))
    return _merged(repeats, mean, max(low, 0.0), high, around.source)


def _merged(repeats: Sequence[Measured], value: float, low: float, high: float, source: str) -> Measured:
    first = repeats[0]
    return Measured(value, low, high, source, first.meter, first.session, any(one.disturbed for one in repeats))


def of_sessions(repeats: Sequence[Measured], metric: str, confidence: float = CONFIDENCE) -> Measured:
    """The figure of a case from all its repeats in one run. If the metric's `between` is 0, see `of_repeats`. Else it
    is the mean of n sessions, with √(w² + (t s/√n)²) to each side in logarithms: w is from the sessions' own intervals,
    s is the larger of `between` and their standard deviation, t is Student's with n − 1 + KNOWN degrees of freedom.

    Simulations at 99 % found false differences between equal times in 0.2 % of cases if sessions truly vary by 10 %; in
    1 to 2 % for 14 %; for 30 %, in 29 % (one session a side), 3 % (three) and 2 % (five).
    """
    sessions = dict.fromkeys(repeat.session for repeat in repeats)
    each = [of_repeats([r for r in repeats if r.session == session], confidence) for session in sessions]
    n, between = len(each), METRICS[metric].between
    if between == 0 or (n == 1 and math.isnan(each[0].low)):
        return of_repeats(each, confidence)
    spread = max(between, float(np.log([one.value for one in each]).std(ddof=1)) if n > 1 else 0.0)
    more = student(confidence, n - 1 + KNOWN) * spread / n**0.5
    ends = [[math.log(end / one.value) for end in (one.low, one.high)] for one in each if one.low > 0]
    down, up = (math.hypot(more, math.hypot(*side) / n) for side in zip(*ends, strict=True)) if ends else (more, more)
    value = sum(one.value for one in each) / n
    source = f"{each[0].source}, sessions ± {between:.0%}" if n == 1 else f"{n} sessions ± {spread:.0%}"
    return _merged(each, value, value * math.exp(-down), value * math.exp(up), source)


def ratio_interval(base: Measured, new: Measured) -> tuple[float, float]:
    """The interval of new/base from the intervals of two independent figures; nan if one has none.

    In logarithms, d = n − b: [d − √((n − n_low)² + (b_high − b)²), d + √((n_high − n)² + (b − b_low)²)] (MOVER: Zou and
    Donner 2008, Statistics in Medicine 27:1693). It keeps their level and their asymmetry. If `new` is 0, the interval
    is [0, new_high/base_low].
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


def is_disturbed(row: Mapping[str, Any], metric: str, crowded: bool) -> bool:
    """Whether other programs took cores that the figure depends on. Times depend on them, and so do accuracies of
    training within a time budget.
    """
    return crowded and (not METRICS[metric].in_turn or (metric in EXAMPLES and _there(row, "budget_seconds")))


def verdict(metric: str, low: float, high: float, disturbed: bool = False) -> str:
    """The word for the ratio if its whole interval lies on one side of 1; else, or without an interval, TOLD_NOTHING. A
    disturbed figure gives CANNOT_TELL.
    """
    if disturbed:
        return CANNOT_TELL
    if low > 1:
        return METRICS[metric].larger
    return METRICS[metric].smaller if high < 1 else TOLD_NOTHING
