"""The curve of one metric of one estimator against K: its fit, its transfer to other sizes, its held-out errors."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gsbench.planner.fit import UNKNOWN, Fit, fit
from gsbench.planner.work import Shape, columns

LEAST_CLASS_COUNTS = 2  # the fewest class counts for a fit
ELSEWHERE = 0.2  # least relative half-width at sizes that were not measured: memory was seen to be off by 14 %
LEAST_WIDTH = 0.01  # least relative half-width: a sum of a few costs models no program better, however well it fits
# The exponent of the error of the law itself. At the logarithmic distance d from the measured class counts, the cost
# may be larger or smaller by the factor e^(d·exponent). For times this is 66 % at ten times the largest K: a factor
# log K, or a cache that overflows. Bytes follow from shapes and have no cache effects.
LAW_OF_TIMES, LAW_OF_BYTES = 0.22, 0.1


@dataclass(frozen=True)
class Prediction:
    """A predicted time or memory at K with its 95 % interval, in seconds or bytes. `extrapolates` lists the respects in
    which it goes beyond the measurements.
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
    """The error of a fit at a class count that was held out: predicted / median measured − 1.

    way   "left out" (fitted to all other class counts) or "larger" (the largest, predicted from the smaller half)
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
    """`rows` are observations of one shape, the measured one. Predictions are for `shape`.

    exact   the exact sum's curve of the same time. It gives the lower bound on a sampler's cost per operation: noise
            can hide a sampler's small slope, and its matrix products are smaller and so no faster.
    bound   for a step: the curve of the same estimator's bound. A step contains the bound, so it takes no less time.
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
        """The slope of the time over operations, fitted at these class counts; 0 if they are too few."""
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
        """Predicts each class count in turn from all others, and the largest from the smaller half of them."""
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
    def _worst_held_out(self) -> float:
        """The largest error of a held-out prediction, as a factor minus 1."""
        return max((math.exp(abs(math.log1p(found.error))) - 1 for found in self.held_out), default=0.0)

    def distance(self, n_classes: int) -> float:
        """The logarithmic distance d from the measured class counts: 1/d = 1/d₁ + 1/d₂, where d₁ and d₂ are the
        distances to the nearest one below and above. Beyond all of them, d is the distance to the nearest one.
        """
        if n_classes in self.counts:
            return 0.0
        below, above = (
            min((abs(math.log(n_classes / k)) for k in self.counts if (k < n_classes) == lower), default=math.inf)
            for lower in (True, False)
        )
        return 1 / (1 / below + 1 / above)

    def half_width(self, n_classes: int, new: bool = True) -> float:
        """`Fit.half_width`, but at least LEAST_WIDTH. For a new measurement it is at least the spread of the
        measurements. Beyond the measured class counts it is at least the worst held-out error, or UNKNOWN if too few
        class counts were measured to hold one out. The error of the law itself, which no residual shows, is added: it
        grows with the `distance`.
        """
        worst = self._worst_held_out if len(self.counts) > LEAST_CLASS_COUNTS else UNKNOWN
        least = max(LEAST_WIDTH, self.spread * new, worst * self.beyond(n_classes))
        own = max(self.fit.half_width(self._columns(n_classes), new=new), least)
        return (1 + own) * (1 + self._law_error(n_classes)) - 1

    def _law_error(self, n_classes: int) -> float:
        """The relative error of the law itself. Below the smallest measured K it applies only to the decrease of the
        cost from there: fewer classes never cost more.
        """
        exponent = LAW_OF_TIMES if self.metric in ("step", "bound") else LAW_OF_BYTES
        error = math.expm1(exponent * self.distance(n_classes))
        if n_classes >= self.counts[0]:
            return error
        at, nearest = (self.fit.at(self._columns(k)) for k in (n_classes, self.counts[0]))
        return error * min(1.0, (nearest - at) / at)

    def bounds(self, n_classes: int, new: bool = True) -> tuple[float, float, float]:
        """The value and the ends of its interval. For a step, none of them is below the same number of its bound."""
        own = self._own_bounds(n_classes, new)
        if self.bound is None:
            return own
        value, low, high = map(max, own, self.bound.bounds(n_classes, new))
        return value, low, high

    def _own_bounds(self, n_classes: int, new: bool) -> tuple[float, float, float]:
        """The value and its interval's ends from this curve alone.

        If the shape is not the measured one, the value is scaled with the work (operations of the matrix products, or
        estimated bytes). The interval also contains the prediction of the fitted factors, in which a part such as
        Python's own time stays constant. The memory of a whole process may be mostly Python and its libraries, so it
        grows by the increase of the estimated bytes, ± 50 %.
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
    """The curve from observations of the requested shape, or else of the shape of the same model whose work is nearest
    to it. None if no shape of the model was measured at two class counts.
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
