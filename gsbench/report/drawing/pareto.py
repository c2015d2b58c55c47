"""Accuracy against speed, error against time: points and their Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gsbench.report.drawing.axes import log_with_room
from gsbench.report.drawing.points import TOLD
from gsbench.report.drawing.shapes import Panels, Shape, lines_of, numbers, reach, write_notes
from gsbench.report.drawing.styles import Look

FRONT: dict[str, Any] = {"color": "#999999", "linewidth": 1.2, "drawstyle": "steps-pre", "zorder": 1}
WORDS = 0.15  # of the range of y: room at the bottom for words, which would cover points


@dataclass(frozen=True)
class Pareto(Shape):
    """A point for each estimator, bars for its intervals, and the Pareto front: the points that no other beats in both.

    Points with the same `work` differ in x only by noise, so only the one with the best y counts for the front. A panel
    with a single `work` has no front.
    """

    joined: bool = False

    def note(self, points: pd.DataFrame) -> str:
        sizes = points[points["kind"] == ""].groupby(["row", "column", "series", "work"]).size()
        if not (sizes > 1).any():
            return ""
        return (
            " Estimators that differ in the temperature alone do the same work, and their times differ by noise: no "
            "front is drawn between them."
        )

    def draw_panel(self, ax: Axes, own: pd.DataFrame, points: pd.DataFrame, look: Look) -> None:
        for estimator, series, of_line in lines_of(own, look):
            ends = [reach(of_line, axis) for axis in ("x", "y")]
            xerr, yerr = (bars if bars is not None and bars.any() else None for bars in ends)
            style = {**look.marker(estimator, series), "markersize": 7}
            ax.errorbar(of_line["x"], of_line["y"], xerr=xerr, yerr=yerr, **style)

    def set_scales(self, panels: Panels, points: pd.DataFrame) -> None:
        super().set_scales(panels, points)
        for ax, own in panels.items():
            if (own["kind"] == TOLD).any():
                low, high = ax.get_ylim()
                ax.set_ylim(low - WORDS * (high - low), high)
            log_with_room(ax.xaxis, numbers(own, "x"))

    def finish(self, ax: Axes, own: pd.DataFrame, look: Look) -> None:
        super().finish(ax, own, look)
        x, y = own["x_axis"].iloc[0].better, own["y_axis"].iloc[0].better
        for series, of_series in own[own["kind"] == ""].groupby("series"):
            front = pareto_front(of_series, x, y)
            if len(front):
                worst_x, worst_y = ax.get_xlim()[x < 0], ax.get_ylim()[y < 0]
                xs, ys = [worst_x, *front["x"], front["x"].iloc[-1]], [front["y"].iloc[0], *front["y"], worst_y]
                ax.plot(xs, ys, linestyle=look.dash(series), **FRONT)
        write_notes(ax, own[own["kind"] != TOLD], xytext=(-7, 0), ha="right", va="center")


def about_front(points: pd.DataFrame, better: str, of: str = "") -> str:
    """`Up and to the right is better; the grey line is the Pareto front.`; without a front, the first part alone."""
    works = points[points["kind"] == ""].groupby(["row", "column", "series"])["work"].nunique()
    front = f"; the grey line is the Pareto front{of}" if (works > 1).any() else ""
    return f"{better} is better{front}."


def pareto_front(points: pd.DataFrame, better_x: int, better_y: int) -> pd.DataFrame:
    """The points that no other point beats in both x and y, from the best y to the best x. Of equal points, the first.

    `better_x` and `better_y` are 1 if higher is better, -1 if lower is better. Of points with the same `work`, only the
    one with the best y counts. If all points have the same `work`, there is no front, and the result has no rows.
    """
    keys = points.assign(x_key=-better_x * points["x"], y_key=-better_y * points["y"])
    rivals = keys.sort_values(["y_key", "x_key"], kind="stable").drop_duplicates("work")
    if len(rivals) < 2:
        return points.iloc[:0]
    ahead = rivals["x_key"] < rivals["x_key"].cummin().shift(fill_value=np.inf)
    return points.loc[rivals.index[ahead]]
