"""Helpers for matplotlib axes: the scales of metrics, and room for marks and for several points at one K.

A scale is a function (axis, values). It is called after all drawing, with all values and interval ends on the axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis

from gsbench.records.order import by_estimator

DIGIT = 0.07  # inches: width of a digit in a tick's label
DEEPEST = 1e6  # largest ratio that the logarithmic part of `from_zero` covers
SPREAD = 0.5  # largest width used by `side_by_side`, in units of ln K
WIDEST_LINEAR = 8  # largest ratio of values that is readable on an axis from 0
FEW = [1, 2, 2.5, 5, 10]  # allowed tick steps


def plain_log(axis: Axis) -> None:
    """Sets ticks that suit the span of a logarithmic axis, as plain numbers. To be called after all drawing."""
    low, high = axis.get_view_interval()
    widest = 100 if isinstance(axis, XAxis) else 1000  # numbers side by side need more room
    if high / low < 6:
        axis.set_major_locator(ticker.MaxNLocator(5, steps=FEW))
    else:
        axis.set_major_locator(ticker.LogLocator(subs=(1.0,) if high / low > widest else (1.0, 2.0, 5.0)))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(plain_number))


def plain_number(value: float, _: object = None) -> str:
    """A tick's label without powers of ten: 0.00001, 0.25, 5,000."""
    if 0 < value < 1e-4:
        return f"{value:.12f}".rstrip("0")
    return f"{value:,.0f}" if value == round(value) else f"{value:,.6g}"


# The scales.


def linear(axis: Axis, values: np.ndarray) -> None:
    axis.set_major_locator(ticker.MaxNLocator(6, steps=FEW))


def log(axis: Axis, values: np.ndarray) -> None:
    _set(axis, scale="log")
    plain_log(axis)


def log_with_room(axis: Axis, values: np.ndarray) -> None:
    """Logarithmic, with a margin around the values."""
    factor = max(1.3, (values.max() / values.min()) ** 0.15)
    _set(axis, scale="log", lim=(values.min() / factor, values.max() * factor))
    plain_log(axis)


def log_around_one(axis: Axis, values: np.ndarray) -> None:
    """Logarithmic around 1, and never so narrow that noise looks like an effect."""
    reach = min(max(1.15, 1.05 * values.max(), 1.05 / values.min()), 20.0)
    _set(axis, scale="log", lim=(1 / reach, reach))
    plain_log(axis)


def from_zero(axis: Axis, values: np.ndarray) -> None:
    """From 0: linear up to the power of ten at or below the smallest value, then logarithmic."""
    found = values[values > 0]
    most = found.max() if found.size else 0.1
    least = max(found.min(), most / DEEPEST) if found.size else 0.01
    first = math.floor(math.log10(least))
    decades = [10.0**power for power in range(first, math.ceil(math.log10(most)) + 2)]
    axis.axes.set_yscale("symlog", linthresh=decades[0], linscale=0.5)
    _set(axis, lim=(-0.35 * decades[0], max(1.6 * most, 1.6 * decades[0])))
    axis.set_major_locator(ticker.FixedLocator([0.0, *decades]))
    axis.set_minor_locator(ticker.NullLocator())
    axis.set_major_formatter(ticker.FuncFormatter(plain_number))


def linear_from_zero(axis: Axis, values: np.ndarray) -> None:
    """Linear from 0, so that small values look small."""
    _set(axis, lim=(0.0, 1.08 * values.max()))
    axis.set_major_locator(ticker.MaxNLocator(6, steps=FEW))


def linear_or_log(axis: Axis, values: np.ndarray) -> None:
    """Linear from 0, so that equal values look equal; logarithmic if the values lie too far apart."""
    wide = values.max() > WIDEST_LINEAR * values.min()
    (log if wide else linear_from_zero)(axis, values)


def percents(axis: Axis, values: np.ndarray) -> None:
    """Linear over at least two percentage points, so that small differences look small."""
    span = values.max() - values.min()
    room = max(0.1 * span, 1 - span / 2)
    _set(axis, lim=(values.min() - room, values.max() + room))
    axis.set_major_locator(ticker.MaxNLocator(7, steps=FEW))


def shares(axis: Axis, values: np.ndarray) -> None:
    """From 0 to 1, written in percent."""
    _set(axis, lim=(0.0, max(1.0, 1.05 * values.max())))
    axis.set_major_locator(ticker.MultipleLocator(0.2))
    axis.set_major_formatter(ticker.PercentFormatter(1, decimals=0, symbol=" %"))


def _set(axis: Axis, **settings: object) -> None:
    """Calls `set_xlim`, `set_yscale` and so on, whichever axis it is."""
    for what, value in settings.items():
        getattr(axis.axes, f"set_{'x' if isinstance(axis, XAxis) else 'y'}{what}")(value)


# An axis of chosen numbers, such as class counts.


def class_axis(ax: Axes, counts: Iterable[float], margin: float = 1.25) -> None:
    """Makes x logarithmic, with as many ticks at measured numbers as are legible: the ends come first, then powers of
    ten, then the others. The axis extends beyond both ends by a factor of `margin`.
    """
    ks = sorted(set(counts))
    ax.set_xlim(ks[0] / margin, ks[-1] * margin)  # before the scale, which finds no limits if all points have one K
    ax.set_xscale("log")
    inches = ax.bbox.width / ax.figure.dpi / np.log(margin**2 * ks[-1] / ks[0])
    legible: list[float] = []
    for k in sorted(ks, key=lambda k: (k not in (ks[0], ks[-1]), np.log10(k) % 1 != 0, k)):
        needed = [0.08 + DIGIT * (len(plain_number(k)) + len(plain_number(other))) / 2 for other in legible]
        if all(abs(np.log(k / o)) * inches >= n for o, n in zip(legible, needed, strict=True)):
            legible.append(k)
    ax.xaxis.set_major_locator(ticker.FixedLocator(sorted(legible)))
    ax.xaxis.set_major_formatter(ticker.FuncFormatter(plain_number))
    ax.xaxis.set_minor_locator(ticker.NullLocator())


def side_by_side(estimators: Iterable[str], counts: Iterable[float]) -> dict[str, float]:
    """Factors that shift each estimator's points left or right of their K, so that bars do not overlap.

    Together the shifted points fit into the gap between the two nearest K.
    """
    names, ks = by_estimator(estimators), sorted(set(counts))
    nearest = min(np.diff(np.log(ks)), default=SPREAD)
    step = min(0.8 * nearest, SPREAD) / max(len(names), 6)
    return {name: float(np.exp(step * (i - (len(names) - 1) / 2))) for i, name in enumerate(names)}


def leave_room(ax: Axes, marks: int, *, top: bool) -> None:
    """Widens a logarithmic y axis so that `marks` lines of marks fit above (`top`) or below everything drawn."""
    if not marks or ax.get_yscale() != "log":
        return
    low, high = ax.get_ylim()
    share = 0.03 + 0.075 * marks
    more = (high / low) ** (share / (1 - share))
    ax.set_ylim(low if top else low / more, high * more if top else high)
