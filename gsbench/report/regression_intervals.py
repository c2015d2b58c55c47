"""The metrics that runs are compared by, and the interval that a record supports for each of them.

Records keep no raw samples: a time is a median with its quartiles and the number of rounds, a speed-up a median with
its bootstrap interval, an accuracy a share of so many examples. All intervals here are of one side of a comparison;
`ratio_interval` puts two of them together.

A session's scatter does not say how far the next session lies. Of one machine, quiet and virtual (reports/reference
and reports/plan: 85 pairs of sessions that timed the same case), the logarithms of times differed by 0.10 to 0.14 in
the root of the mean square, and by 0.36 at most. The intervals of the rounds alone, at 99 %, told 2 of 30 and 6 of 15
of them apart. So the interval of a time has the spread between sessions in it: the larger of 10 % (OF_TIMES) and that
of the sessions themselves, where there are several. With it none of the 45 is told apart.

Where other programs take cores the spread has no bound. Of 28 sessions of one commit beside them times differed by up
to a factor of 50, and 31 to 72 % were told apart. There nothing is told. Speed-ups, which are measured in pairs, were
told apart in 1 to 6 % of the same pairs of sessions.
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
from scipy.stats import binomtest

CONFIDENCE = 0.99
LEAST_ROUNDS = 4  # fewer have no quartiles to speak of
COUNTED = 0.001  # what counted bytes differ by between two runs of the same, as for Python's own objects
NONE = "one reading: none"
TOLD_NOTHING = "not told apart"
CANNOT_TELL = "cannot tell: other programs computed"


@dataclass(frozen=True)
class Metric:
    """What a larger ratio means and what a smaller one.

    meters    what counts the figure, where something does
    between   standard deviation of the logarithm from session to session of one machine, beyond a session's own scatter
    in_turn   whether it survives that other programs compute, as what was measured in pairs and what was counted does
    unit      of the figure itself: a key of `regression_conditions.UNITS`
    """

    larger: str
    smaller: str
    meters: tuple[str, ...] = ()
    between: float = 0.0
    in_turn: bool = True
    unit: str = "share"


OF_TIMES = 0.1  # `between`, see above
KNOWN = 10  # degrees of freedom behind it: about the sessions from which it was taken

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
    """A figure, its interval (nan where there is none), where that comes from, and the meter that gave the figure.

    session   the run_id of its record
    disturbed whether other programs took what it depends on
    """

    value: float
    low: float
    high: float
    source: str
    meter: str = ""
    session: str = ""
    disturbed: bool = False


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
    interval from their spread, which holds all that differs between them. It is never narrower than what the repeats'
    own intervals make of the mean's: two seeds that agree by chance do not know it without error.
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
    around = _around(mean, _student(confidence, n - 1) * float(values.sem()) / mean, f"spread of {n}")
    low, high = float(np.fmin(around.low, mean - down)), float(np.fmax(around.high, mean + up))
    return _merged(repeats, mean, max(low, 0.0), high, around.source)


def _merged(repeats: Sequence[Measured], value: float, low: float, high: float, source: str) -> Measured:
    first = repeats[0]
    return Measured(value, low, high, source, first.meter, first.session, any(one.disturbed for one in repeats))


def of_sessions(repeats: Sequence[Measured], metric: str, confidence: float = CONFIDENCE) -> Measured:
    """The figure of a case from all its repeats in one run. Where `between` of its metric is not 0, the mean of n
    sessions, with √(w² + (t s/√n)²) to each side in logarithms: w from the sessions' own intervals, s the larger of
    `between` and their standard deviation, t Student's of n − 1 + KNOWN degrees of freedom.

    In simulations at 99 %, where sessions differ by 10 % in truth, 0.2 % of equal times are told apart; by 14 %, 1 to
    2 %; by 30 %, 29 % (one session a side), 3 % (three) and 2 % (five).
    """
    sessions = dict.fromkeys(repeat.session for repeat in repeats)
    each = [of_repeats([r for r in repeats if r.session == session], confidence) for session in sessions]
    n, between = len(each), METRICS[metric].between
    if between == 0 or (n == 1 and math.isnan(each[0].low)):
        return of_repeats(each, confidence)
    spread = max(between, float(np.log([one.value for one in each]).std(ddof=1)) if n > 1 else 0.0)
    more = _student(confidence, n - 1 + KNOWN) * spread / n**0.5
    ends = [[math.log(end / one.value) for end in (one.low, one.high)] for one in each if one.low > 0]
    down, up = (math.hypot(more, math.hypot(*side) / n) for side in zip(*ends, strict=True)) if ends else (more, more)
    value = sum(one.value for one in each) / n
    source = f"{each[0].source}, sessions ± {between:.0%}" if n == 1 else f"{n} sessions ± {spread:.0%}"
    return _merged(each, value, value * math.exp(-down), value * math.exp(up), source)


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


def is_disturbed(row: Mapping[str, Any], metric: str, crowded: bool) -> bool:
    """Whether a figure depends on the cores that other programs took, if they did: a time, and an accuracy that was
    reached within so many seconds.
    """
    return crowded and (not METRICS[metric].in_turn or (metric in EXAMPLES and _there(row, "budget_seconds")))


def verdict(metric: str, low: float, high: float, disturbed: bool = False) -> str:
    """What the whole interval of the ratio says; without one nothing is told apart, and of what was disturbed nothing
    at all.
    """
    if disturbed:
        return CANNOT_TELL
    if low > 1:
        return METRICS[metric].larger
    return METRICS[metric].smaller if high < 1 else TOLD_NOTHING
