"""Bias, variance and price of the estimators' gradients against the number of classes K."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gsbench.report import text
from gsbench.report.axes import MEASURED_AT, OPEN_ENDED, class_axis, draw_by_classes, from_zero, plain_log, side_by_side
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.gradients import (
    PARTS,
    caption_end,
    gradient_rows,
    held_against,
    intervals,
    of_part,
    of_total,
    repetitions,
    state_title,
    states_of,
)
from gsbench.report.style import Look, Plot, Sheet, make_sheet

YARDSTICK: dict[str, Any] = {"color": "#777777", "linestyle": "--", "linewidth": 1.6}
MARGIN = 1.5  # beyond the ends of the K, for points that stand side by side
AT_LEFT = 1.1
PALE: dict[str, Any] = {"elinewidth": 0.8, "capsize": 1.5}
SIDE_BY_SIDE = "Points of one K stand side by side."
NOTHING: dict[str, Any] = {"ha": "center", "va": "center", "color": "#555555"}


def gradient_bias(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """The relative bias against K: a row of panels for each part, a column for each state."""
    rows = gradient_rows(frame)
    points = {part: of_part(rows, part) for part in PARTS}
    if not any(map(len, points.values())):
        return None
    title = "Bias of the gradients"
    caption = (
        "How far the mean gradient is from the exact one, over the exact one's norm: ‖E g − g*‖ / ‖g*‖, of the loss "
        f"with all fixed but the draws of y; {repetitions(rows)}, bars: {intervals(rows)}. The points on the line at 0 "
        "show no bias: their interval reaches to 0 or below, and their bar up to its end, so far as a bias may have "
        f"been missed. {caption_end(rows, held_against(rows), SIDE_BY_SIDE)}"
    )
    at_zero = Line2D([], [], label="on the line at 0: interval reaches 0", color="#999999", linewidth=1)
    handles = [*look.handles(rows["estimator"], rows["series"]), at_zero]
    sheet = _sheet(rows, list(PARTS), "relative bias", title, handles, caption)
    places = side_by_side(rows["estimator"], rows["n_classes"])
    for ax, part, own in _panels(sheet, rows, points):
        biased = own[own["bias"] > 0]
        draw_by_classes(ax, biased, look, "bias", "bias_low", "bias_high", places)
        _draw_unbiased(ax, own[own["bias"] == 0], look, places)
        from_zero(ax, points[part][["bias", "bias_high"]])
    return Plot(title, caption, sheet.figure)


def gradient_variance(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """The relative variance against K, in the same grid, beside that of the exact sum with a and z drawn anew."""
    rows = gradient_rows(frame)
    points = {part: of_part(rows, part) for part in PARTS}
    if not any((own["variance"] > 0).any() for own in points.values()):
        return None
    title = "Variance of the gradients by the draws of y"
    drawn = {name for own in points.values() for name in own["estimator"][own["variance"] > 0]}
    caption = (
        "tr cov(g) / ‖g*‖² of the gradient of the loss with all fixed but the draws of y; at 1 the noise is as large "
        f"as the exact gradient. {repetitions(rows)[0].upper()}{repetitions(rows)[1:]}, bars: "
        f"{intervals(rows)}. What draws no y has no variance and no point"
        f"{_named_without(rows, drawn)}. The dashed line is the variance that the exact sum has when a and ε_z are "
        f"drawn anew, {of_total(rows)}: an estimator well below it adds little to the noise that there is "
        f"anyway. {caption_end(rows, SIDE_BY_SIDE)}"
    )
    handles = [*look.handles(drawn, rows["series"]), Line2D([], [], label="exact sum, a and z drawn anew", **YARDSTICK)]
    sheet = _sheet(rows, list(PARTS), "relative variance", title, handles, caption)
    places = side_by_side(drawn, rows["n_classes"])
    for ax, _, own in _panels(sheet, rows, points):
        _draw_beside_the_sum(ax, own, look, places, "variance", "total_variance")
    _log_rows(sheet)
    return Plot(title, caption, sheet.figure)


def gradient_price(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Relative variance × milliseconds of the bound against K, for the logits and θ, beside the exact sum's time."""
    rows = gradient_rows(frame)
    points = {part: _priced(of_part(rows, part)) for part in ("logits", "theta")}
    if not any((own["price"] > 0).any() for own in points.values()):
        return None
    title = "The price of a good gradient"
    drawn = {name for own in points.values() for name in own["estimator"][own["price"] > 0]}
    caption = (
        "Relative variance × milliseconds of the unlabelled bound, forward and backward: how many milliseconds of "
        "independent draws it takes until the noise of their mean is as large as the exact gradient (relative "
        "variance 1); ten times the milliseconds, a tenth of the variance. Lower is better. The dashed line is the "
        "time of one exact sum, the faster one: spent on draws, it leaves a relative variance of price / time, so that "
        "on the line it is 1, and a tenth of the line 0.1. Averaging takes away no bias, which is not in the price. "
        "Each draw is priced as a bound of its own; several draws in one step (draws=…) share part of the cost. "
        f"{caption_end(rows, SIDE_BY_SIDE)}"
    )
    handles = [*look.handles(drawn, rows["series"]), Line2D([], [], label="time of the exact sum", **YARDSTICK)]
    sheet = _sheet(rows, list(points), "variance × time (ms)", title, handles, caption)
    places = side_by_side(drawn, rows["n_classes"])
    for ax, _, own in _panels(sheet, rows, points):
        _draw_beside_the_sum(ax, own, look, places, "price", "milliseconds")
    _log_rows(sheet)
    return Plot(title, caption, sheet.figure)


def _priced(points: pd.DataFrame) -> pd.DataFrame:
    prices = {f"price{end}": points[f"variance{end}"] * points["milliseconds"] for end in ("", "_low", "_high")}
    return points.assign(**prices)


def _named_without(rows: pd.DataFrame, drawn: set[str]) -> str:
    """`: marginalize and sparsemax`."""
    names = by_estimator(set(rows["estimator"][~rows["draws_y"]]) - drawn)
    return f": {text.listed(names)}" if names else ""


def _sheet(
    rows: pd.DataFrame, parts: Sequence[str], what: str, title: str, handles: Sequence[Line2D], caption: str
) -> Sheet:
    """For each subject a row of panels for each part, a column for each state."""
    subjects, states = sorted(set(rows["subject"])), states_of(rows)
    sheet = make_sheet(
        len(subjects) * len(parts), len(states), title=title, handles=handles, caption=caption, panel=(3.6, 2.2),
        gaps=(0.35, 0.3 if len(subjects) == 1 else 0.6), share={"sharex": True, "sharey": "row"}, at_left=AT_LEFT,
    )  # fmt: skip
    for (i, (subject, part)), line in zip(enumerate(product(subjects, parts)), sheet.axes, strict=True):
        line[0].set_ylabel(f"{PARTS[part]}:\n{what}")
        for ax, state in zip(line, states, strict=True):
            ax.set_title(state_title(rows, subject, state) if i % len(parts) == 0 else "")
    for ax in sheet.axes[-1]:
        ax.set_xlabel("number of classes K")
    return sheet


def _panels(
    sheet: Sheet, rows: pd.DataFrame, points: dict[str, pd.DataFrame]
) -> Iterator[tuple[Axes, str, pd.DataFrame]]:
    """Each panel with its part and its points; its axis of K is set when the caller has drawn them."""
    for line, (subject, part) in zip(sheet.axes, product(sorted(set(rows["subject"])), points), strict=True):
        for ax, state in zip(line, states_of(rows), strict=True):
            own = points[part]
            own = own[(own["subject"] == subject) & (own["state"] == state)]
            if own.empty:
                ax.text(0.5, 0.5, "not measured in these records", transform=ax.transAxes, **NOTHING)
            yield ax, part, own
            class_axis(ax, rows["n_classes"], MARGIN)


def _draw_unbiased(ax: Axes, rows: pd.DataFrame, look: Look, places: dict[str, float]) -> None:
    """Markers at 0, each with a bar up to the end of its interval, if it has one."""
    ax.axhline(0, color="#999999", linewidth=1)
    for (estimator, series), own in rows.groupby(["estimator", "series"]):
        bars = np.stack([np.zeros(len(own)), own["bias_high"].fillna(0)])
        style = {**look.line(estimator, series), "linestyle": "none"}
        drawn = ax.errorbar(own["n_classes"] * places[estimator], np.zeros(len(own)), yerr=bars, **style, **PALE)
        vars(drawn.lines[0])[MEASURED_AT] = list(own["n_classes"])
        vars(drawn.lines[0])[OPEN_ENDED] = list(own["bias_high"].isna())
        for bar in (*drawn.lines[1], *drawn.lines[2]):
            bar.set_alpha(0.5)  # what is not there is not to be the first thing seen


def _draw_beside_the_sum(
    ax: Axes, points: pd.DataFrame, look: Look, places: dict[str, float], figure: str, yardstick: str
) -> None:
    """A figure of what draws y, with its interval, beside the `yardstick` figure of the exact sums."""
    draw_by_classes(ax, points[points[figure] > 0], look, figure, f"{figure}_low", f"{figure}_high", places)
    _draw_yardstick(ax, points[points["exact_sum"] == 1], yardstick)


def _draw_yardstick(ax: Axes, rows: pd.DataFrame, figure: str) -> None:
    """The smallest figure of the exact sums at each K, a line for each series."""
    for _, own in rows[rows[figure] > 0].groupby("series"):
        smallest = own.groupby("n_classes")[figure].min()
        ends = [smallest.index[0] / 1.2, smallest.index[0] * 1.2]  # one K alone is a line too
        xs = smallest.index if len(smallest) > 1 else ends
        ax.plot(xs, smallest if len(smallest) > 1 else [smallest.iloc[0]] * 2, label="exact sum", **YARDSTICK)


def _log_rows(sheet: Sheet) -> None:
    for line in sheet.axes:
        line[0].set_yscale("log")
        plain_log(line[0].yaxis)
