"""Two questions about curves: from which K one estimator is so many times cheaper than another, and which K fits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gsbench.planner.curve import Curve

FEWEST_CLASSES, MOST_CLASSES = 2, 1_000_000


@dataclass(frozen=True)
class Crossover:
    """The smallest K in the range at which `estimator` is `ratio` times cheaper than `baseline`, and its interval.

    verdict                  "from" (from `n_classes` on), "always" or "never" within the range
    n_classes, low, high     None: not within the range
    least, most              the range of K
    """

    metric: str
    estimator: str
    baseline: str
    ratio: float
    verdict: str
    n_classes: int | None
    low: int | None
    high: int | None
    least: int
    most: int
    extrapolates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Largest:
    """The largest K whose step fits `memory_bytes`, and its interval. 0: not even K = 2 fits. None: K = 1,000,000 fits,
    and larger K are not tried.

    metric   "process", the peak of a fresh process, if it was measured on a CPU; else "memory", the live arrays
    """

    metric: str
    estimator: str
    memory_bytes: int
    n_classes: int | None
    low: int | None
    high: int | None
    extrapolates: tuple[str, ...] = ()


def first_class_count(is_so: Callable[[int], bool], least: int, most: int, steps: int = 60) -> int | None:
    """The first K from `least` to `most` at which `is_so` holds: on a grid of about `steps` points, then by bisection
    between two of them. None if it holds nowhere."""
    grid = np.unique(np.geomspace(least, most, steps).round().astype(int)).tolist()
    found = next((i for i, k in enumerate(grid) if is_so(k)), None)
    if not found:
        return None if found is None else least
    not_yet, so = grid[found - 1], grid[found]
    while so - not_yet > 1:
        middle = (not_yet + so) // 2
        not_yet, so = (not_yet, middle) if is_so(middle) else (middle, so)
    return so


def crossover(baseline: Curve, candidate: Curve, ratio: float, most: int) -> Crossover:
    """The smallest K up to `most` at which baseline / candidate ≥ ratio.

    Its interval comes from the interval of the ratio. The errors of the two curves are taken as independent:
    h² = h_baseline² + h_candidate².
    """

    def ratio_at(n_classes: int, side: int) -> float:
        (of, *_), (than, *_) = (curve.bounds(n_classes, new=False) for curve in (baseline, candidate))
        h = math.hypot(*(math.log1p(c.half_width(n_classes, new=False)) for c in (baseline, candidate)))
        return of / than * math.exp(side * h)

    def first(side: int) -> int | None:
        return first_class_count(lambda k: ratio_at(k, side) >= ratio, FEWEST_CLASSES, most)

    low, at, high = (first(side) for side in (1, 0, -1))
    verdict = "never" if at is None else "always" if at == FEWEST_CLASSES else "from"
    where = most if at is None else at
    beyond = tuple(dict.fromkeys([*baseline.extrapolates(where), *candidate.extrapolates(where)]))
    names = (candidate.metric, candidate.estimator, baseline.estimator)
    return Crossover(*names, ratio, verdict, at, low, high, FEWEST_CLASSES, most, beyond)


def largest(curve: Curve, memory_bytes: int) -> Largest:
    """The last K before the first that does not fit."""

    def last(which: int) -> int | None:
        first = first_class_count(lambda k: curve.bounds(k)[which] > memory_bytes, FEWEST_CLASSES, MOST_CLASSES)
        return None if first is None else 0 if first == FEWEST_CLASSES else first - 1

    at, high, low = (last(which) for which in range(3))
    beyond = curve.extrapolates(MOST_CLASSES if at is None else max(at, FEWEST_CLASSES))
    return Largest(curve.metric, curve.estimator, memory_bytes, at, low, high, beyond)
