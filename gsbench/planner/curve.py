"""One figure of one estimator against K: fitted, carried over to other sizes, held against what it was not shown."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gsbench.planner.fit import UNKNOWN, Fit, fit
from gsbench.planner.work import Shape, columns

LEAST_CLASS_COUNTS = 2  # from which a curve is fitted
ELSEWHERE = 0.2  # relative half-width at least at sizes where nothing was measured: of memory, 14 % were seen
LEAST_WIDTH = 0.01  # relative: no sum of a few costs is closer to a program, however well it fits at hand
# The exponent by which the law itself may be wrong: d from the class counts that were measured, in logarithms, the cost
# may be e^(d·exponent) times as large or small. For times that is 66 % at ten times the largest K: a factor log K, or a
# cache that overflows. Bytes are counted from shapes, and no cache is in them.
LAW_OF_TIMES, LAW_OF_BYTES = 0.22, 0.1


@dataclass(frozen=True)
class Prediction:
    """A figure at K with its 95 % interval, in seconds or bytes. `extrapolates` says in what it goes beyond what was
    measured; empty: in nothing.
    """

    metric: str
    estimator: str
    n_classes: int
    value: float
    low: float
    high: float
    extrapolates: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeldOut:
    """The error of a fit at a class count that it was not shown: predicted / measured − 1, measured the median.

    way   "left out" (fitted to all others) or "larger" (the largest, fitted to the smaller half)
    """

    metric: str
    estimator: str
    way: str
    fitted: tuple[int, ...]
    n_classes: int
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1


class Curve:
    """`rows` are observations of one shape, the measured one; predictions are for `shape`.

    exact   the exact sum's curve of the same metric, a time: an operation costs no less here than there. A sampler's
            products grow so little over the smaller K that noise may hide it, but are smaller and so no faster.
    bound   of a step: the same estimator's curve of its bound, which is a part of the step and so no longer
    """

    def __init__(
        self,
        metric: str,
        estimator: str,
        rows: pd.DataFrame,
        shape: Shape,
        exact: Curve | None = None,
        bound: Curve | None = None,
    ) -> None:
        self.metric, self.estimator, self.shape, self.exact, self.bound = metric, estimator, shape, exact, bound
        self.measured_shape: Shape = rows["shape"].iloc[0]
        self.points = rows[["n_classes", "value"]].reset_index(drop=True)
        self.counts: tuple[int, ...] = tuple(sorted({int(k) for k in rows["n_classes"]}))
        spreads = rows["spread"].astype(float).dropna()
        self.spread = float(spreads.median()) if len(spreads) else 0.0
        self.fit = self._fit(self.counts)

    def _fit(self, counts: Sequence[int]) -> Fit:
        shown = self.points[self.points["n_classes"].isin(counts)]
        x = np.array([self._columns(int(k)) for k in shown["n_classes"]])
        least = np.zeros(x.shape[1])
        if self.exact and self.exact.measured_shape == self.measured_shape:
            least[1] = self.exact.seconds_per_operation(counts)
        return fit(x, shown["value"].to_numpy(float), least)

    def seconds_per_operation(self, counts: Sequence[int]) -> float:
        """By what the time grows with the operations, as figures at these class counts tell; 0 where they are too
        few."""
        own = [k for k in counts if k in self.counts]
        if len(own) < LEAST_CLASS_COUNTS:
            return 0.0
        more = self._columns(max(own)) - self._columns(min(own))
        return self._fit(own).at(more) / float(more[1])

    def _columns(self, n_classes: int) -> np.ndarray:
        return columns(self.metric, self.measured_shape, self.estimator, n_classes)

    def beyond(self, n_classes: int) -> bool:
        return not self.counts[0] <= n_classes <= self.counts[-1]

    def extrapolates(self, n_classes: int) -> tuple[str, ...]:
        found = self.measured_shape.differences(self.shape)
        if self.beyond(n_classes):
            found = [f"K = {n_classes:,} (measured: {self.counts[0]:,} to {self.counts[-1]:,})", *found]
        return tuple(found)

    @functools.cached_property
    def held_out(self) -> tuple[HeldOut, ...]:
        """Each class count in turn predicted from all others, and the largest from the smaller half of them."""
        if len(self.counts) <= LEAST_CLASS_COUNTS:
            return ()
        half = self.counts[: max(LEAST_CLASS_COUNTS, math.ceil(len(self.counts) / 2))]
        ways = [("left out", tuple(o for o in self.counts if o != k), k) for k in self.counts]
        return tuple(self._held_out(*way) for way in [*ways, ("larger", half, self.counts[-1])])

    def _held_out(self, way: str, fitted: tuple[int, ...], n_classes: int) -> HeldOut:
        predicted = self._fit(fitted).at(self._columns(n_classes))
        measured = float(self.points.loc[self.points["n_classes"] == n_classes, "value"].median())
        return HeldOut(self.metric, self.estimator, way, fitted, n_classes, predicted, measured)

    @functools.cached_property
    def _worst(self) -> float:
        """The largest factor, less 1, by which a prediction was off."""
        return max((math.exp(abs(math.log1p(found.error))) - 1 for found in self.held_out), default=0.0)

    def distance(self, n_classes: int) -> float:
        """From the class counts that were measured, in logarithms: d, 1/d = 1/d₁ + 1/d₂, with those to the nearest
        below and above; beyond all of them that to the nearest.
        """
        if n_classes in self.counts:
            return 0.0
        below, above = (
            min((abs(math.log(n_classes / k)) for k in self.counts if (k < n_classes) == lower), default=math.inf)
            for lower in (True, False)
        )
        return 1 / (1 / below + 1 / above)

    def half_width(self, n_classes: int, new: bool = True) -> float:
        """As `Fit.half_width`, and 1 % at least; of a new measurement never below the spread of those at hand, and
        beyond the measured class counts never below the worst error on one that was held out, or below UNKNOWN where
        there were too few to hold one out. The error of the law itself, which no residual shows, comes on top: it grows
        with the `distance`.
        """
        worst = self._worst if len(self.counts) > LEAST_CLASS_COUNTS else UNKNOWN
        least = max(LEAST_WIDTH, self.spread * new, worst * self.beyond(n_classes))
        own = max(self.fit.half_width(self._columns(n_classes), new=new), least)
        return (1 + own) * (1 + self._of_law(n_classes)) - 1

    def _of_law(self, n_classes: int) -> float:
        """The relative error of the law itself. Below the least K measured it is one of what the cost falls by from
        there on: a cost does not rise where there are fewer classes.
        """
        exponent = LAW_OF_TIMES if self.metric in ("step", "bound") else LAW_OF_BYTES
        error = math.expm1(exponent * self.distance(n_classes))
        if n_classes >= self.counts[0]:
            return error
        at, nearest = (self.fit.at(self._columns(k)) for k in (n_classes, self.counts[0]))
        return error * min(1.0, (nearest - at) / at)

    def bounds(self, n_classes: int, new: bool = True) -> tuple[float, float, float]:
        """The value, its low and its high; of a step none of them below that of its bound."""
        own = self._own_bounds(n_classes, new)
        if self.bound is None:
            return own
        value, low, high = map(max, own, self.bound.bounds(n_classes, new))
        return value, low, high

    def _own_bounds(self, n_classes: int, new: bool) -> tuple[float, float, float]:
        """What this curve alone says.

        At another shape than the measured one the value grows as the work does (operations of the matrix products, or
        estimated bytes). The interval reaches from that to what the fitted factors give, in which a part may stay as it
        is, such as Python's own time. A whole process, most of which may be Python and its libraries, grows by what the
        estimated bytes grow, half of that more or less.
        """
        fitted, h = self.fit.at(self._columns(n_classes)), self.half_width(n_classes, new)
        if self.shape == self.measured_shape:
            return fitted, fitted / (1 + h), fitted * (1 + h)
        h = max(h, ELSEWHERE)
        other = columns(self.metric, self.shape, self.estimator, n_classes)
        if self.metric == "process":
            more = float(other[1] - self._columns(n_classes)[1])
            ends = (fitted + (1 - UNKNOWN) * more, fitted + (1 + UNKNOWN) * more)
            return max(fitted + more, 0.0), max(min(ends), 0.0) / (1 + h), max(ends) * (1 + h)
        scaled = fitted * float(other[1] / self._columns(n_classes)[1])
        carried = self.fit.at(other)
        return scaled, min(scaled, carried) / (1 + h), max(scaled, carried) * (1 + h)

    def predict(self, n_classes: int) -> Prediction:
        value, low, high = self.bounds(n_classes)
        return Prediction(self.metric, self.estimator, n_classes, value, low, high, self.extrapolates(n_classes))


def make_curve(
    rows: pd.DataFrame,
    metric: str,
    estimator: str,
    shape: Shape,
    exact: Curve | None = None,
    bound: Curve | None = None,
) -> Curve | None:
    """The curve from observations of the shape that is asked for, else of that which is nearest to it by its work;
    None where no shape of the model was measured at two class counts.
    """
    own = rows[(rows["metric"] == metric) & (rows["estimator"] == estimator)]
    found = {of: found for of, found in own.groupby("shape", sort=False) if of.model == shape.model}
    enough = [of for of, found in found.items() if found["n_classes"].nunique() >= LEAST_CLASS_COUNTS]
    if not enough:
        return None

    def distance(of: Shape) -> tuple[bool, float]:
        work, asked = (columns(metric, one, estimator, 10)[1] for one in (of, shape))
        return of != shape, abs(math.log(work / asked))

    return Curve(metric, estimator, found[min(enough, key=distance)], shape, exact, bound)
