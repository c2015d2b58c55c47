"""Small helpers on matplotlib axes: plain logarithmic axes, lines by estimator, marks for what is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from gsbench.report import text
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.style import Look, as_label

DIGIT = 0.07  # inches of a digit of a tick's label
DEEPEST = 1e6  # how far below the largest value the axis of `from_zero` is logarithmic, at most
# The attribute of a line that has the x which were measured, where `side_by_side` moved those drawn: see `drawn`.
MEASURED_AT = "gsbench_measured_at"
# The attribute of a line that says, point by point, whether its interval has no upper end: see `drawn`.
OPEN_ENDED = "gsbench_open_ended"
SPREAD = 0.5  # the most that `side_by_side` takes, in units of log K


def plain_log(axis: Axis) -> None:
    """Ticks that suit the span of a logarithmic axis, written as plain numbers. Call it when all is drawn."""
    low, high = axis.get_view_interval()
    widest = 100 if isinstance(axis, XAxis) else 1000  # numbers side by side need more room
    if high / low < 6:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > widest else (1.0, 2.0, 5.0)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(plain_number))


def plain_number(value: float, _: object = None) -> str:
    """A tick's label without powers of ten: 0.00001, 0.25, 5,000."""
    return f"{value:.12f}".rstrip("0") if 0 < value < 1e-4 else f"{value:,.6g}"


def from_zero(ax: Axes, values: pd.DataFrame) -> None:
    """y from 0 on: linear up to the power of ten at or below the smallest value, logarithmic from there."""
    found = values.to_numpy(dtype=float)
    found = found[found > 0]
    most = found.max() if found.size else 0.1
    least = max(found.min(), most / DEEPEST) if found.size else 0.01
    first = math.floor(math.log10(least))
    decades = [10.0**power for power in range(first, math.ceil(math.log10(most)) + 2)]
    ax.set_yscale("symlog", linthresh=decades[0], linscale=0.5)
    ax.set_ylim(-0.35 * decades[0], max(1.6 * most, 1.6 * decades[0]))
    ax.yaxis.set_major_locator(FixedLocator([0.0, *decades]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FuncFormatter(plain_number))


def _number(k: float) -> str:
    return f"{k:,.0f}"


def class_axis(ax: Axes, counts: Iterable[float], margin: float = 1.25) -> None:
    """x is a number of classes, logarithmic, with ticks at those measured, as many of them as are legible: the ends
    first, then powers of ten, then the others. The axis ends a factor of `margin` beyond the ends.
    """
    ks = sorted(set(counts))
    ax.set_xlim(ks[0] / margin, ks[-1] * margin)  # before the scale, which would look for limits in points at one K
    ax.set_xscale("log")
    inches = ax.bbox.width / ax.figure.dpi / np.log(margin**2 * ks[-1] / ks[0])
    legible: list[float] = []
    for k in sorted(ks, key=lambda k: (k not in (ks[0], ks[-1]), np.log10(k) % 1 != 0, k)):
        needed = [0.08 + DIGIT * (len(_number(k)) + len(_number(other))) / 2 for other in legible]
        if all(abs(np.log(k / o)) * inches >= n for o, n in zip(legible, needed, strict=True)):
            legible.append(k)
    ax.xaxis.set_major_locator(FixedLocator(sorted(legible)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda k, _: _number(k)))
    ax.xaxis.set_minor_locator(NullLocator())


def draw_by_classes(
    ax: Axes, rows: pd.DataFrame, look: Look, value: str, low: str | None = None, high: str | None = None,
    places: Mapping[str, float] | None = None,
) -> None:  # fmt: skip
    """A line against K for each (estimator, series), with bars from `low` to `high` where they are given.

    Several rows of one K (data sets, seeds) give their median. `places`, of `side_by_side`, keeps bars apart. A point
    whose `high` is nan has no bar above it.
    """
    columns = [column for column in (value, low, high) if column]
    for estimator in by_estimator(rows["estimator"]):
        for series in look.series:
            own = rows[(rows["estimator"] == estimator) & (rows["series"] == series) & (rows[value] > 0)]
            if own.empty:
                continue
            points = own.groupby("n_classes")[columns].median()
            bars = None
            if low and high:
                reach = [points[value] - points[low], points[high] - points[value]]
                bars = np.clip(np.nan_to_num(np.array(reach)), 0, None)
            at = points.index * (places[estimator] if places else 1.0)
            drawn = ax.errorbar(at, points[value], yerr=bars, **look.line(estimator, series))
            vars(drawn.lines[0])[MEASURED_AT] = list(points.index)
            if high:
                vars(drawn.lines[0])[OPEN_ENDED] = list(points[high].isna())


def side_by_side(estimators: Iterable[str], counts: Iterable[float]) -> dict[str, float]:
    """Factors by which the points of each estimator stand left or right of their K, so that bars do not hide another.

    Together they take no more room than the two K that are nearest to one another leave.
    """
    names, ks = by_estimator(estimators), sorted(set(counts))
    nearest = min(np.diff(np.log(ks)), default=SPREAD)
    step = min(0.8 * nearest, SPREAD) / max(len(names), 6)
    return {name: float(np.exp(step * (i - (len(names) - 1) / 2))) for i, name in enumerate(names)}


def leave_room(ax: Axes, marks: int, *, top: bool) -> None:
    """Widens a logarithmic y axis so that `marks` lines of marks stand above, or below, all that is drawn."""
    if not marks:
        return
    low, high = ax.get_ylim()
    share = 0.03 + 0.075 * marks
    more = (high / low) ** (share / (1 - share))
    ax.set_ylim(low if top else low / more, high * more if top else high)


def mark_lost(ax: Axes, lost: pd.DataFrame, look: Look, *, top: bool) -> None:
    """An x at the edge of the panel for each case that does not fit in memory, by estimator and K.

    At the top edge the memory that the smallest K of them is reckoned to need stands beside it. The x axis must be
    set already.
    """
    place = ax.get_xaxis_transform()
    for rank, estimator in enumerate(by_estimator(lost["estimator"])):
        own = lost[lost["estimator"] == estimator].groupby("n_classes")["estimate_bytes"].max()
        height = 0.96 - 0.075 * rank if top else 0.04 + 0.075 * rank
        colour = look.estimators[estimator][0]
        for k in own.index:
            label = as_label(f"{estimator}: does not fit in memory")
            ax.plot([k], [height], "x", transform=place, color=colour, markeredgewidth=2, label=label)
        needed = own.iloc[0]
        if top and not np.isnan(needed):
            ax.annotate(
                f"needs {text.size(needed)}", (own.index[0], height), xycoords=place, xytext=(-6, 0),
                textcoords="offset points", ha="right", va="center", fontsize=7.5, color=colour,
            )  # fmt: skip
