"""Accuracy during training: means with bands, against epochs and against seconds."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gsbench.report.drawing.axes import FEW, log, plain_log
from gsbench.report.drawing.shapes import Panels, Shape, first_of_rows, lines_of
from gsbench.report.drawing.styles import Look

WIDEST_LINEAR = 30  # largest ratio of latest to earliest evaluation that is readable on an axis from 0
MARKERS = 8  # per line, so that lines stay legible


@dataclass(frozen=True)
class Curves(Shape):
    """A line for each estimator and series, and a band between `low` and `high`. Points of other kinds have a line for
    each `line`.

    x is linear from 0. If its metric has a logarithmic scale and its range is wide, it is logarithmic from the first
    evaluation after 0.
    """

    def set_scales(self, panels: Panels, points: pd.DataFrame) -> None:
        """Cuts the axis of accuracies at `floor` and the axis of epochs at `x_end` if points lie beyond them."""
        super().set_scales(panels, points)
        for ax, values in first_of_rows(panels, points):
            floor, most = values["floor"].max(), values[["y", "high"]].max().max()
            if values["y"].min() < floor:
                ax.set_ylim(floor, most + 0.06 * (most - floor))
        for ax, own in panels.items():
            if ax.get_xscale() == "log":
                in_sight = own.loc[(own["x"] > 0) & ~(own["y"] < own["floor"]), "x"]
                if (own["y"] < own["floor"]).any() and len(in_sight):
                    ax.set_xlim(left=in_sight.min() / 2)
                plain_log(ax.xaxis)
                continue
            ax.xaxis.set_major_locator(MaxNLocator(8, steps=FEW))
            end = own["x_end"].max()
            if own["x"].max() > end:
                ax.set_xlim(-end / 30, end)

    def draw_panel(self, ax: Axes, own: pd.DataFrame, points: pd.DataFrame, look: Look) -> None:
        after_start = own.loc[own["x"] > 0, "x"]
        wide = after_start.max() > WIDEST_LINEAR * after_start.min()
        if wide and own["x_axis"].iloc[0].scale is log:
            ax.set_xscale("log")
            own = own[own["x"] > 0]
        lines = list(lines_of(own, look))
        for rank, (estimator, series, line) in enumerate(lines):
            style = look.line(estimator, series)
            every = max(1, len(line) // MARKERS)
            first = min(rank * every // len(lines), len(line) - 1)
            ax.plot(line["x"], line["y"], markevery=(first, every), **style)
            if line["low"].notna().any():
                ax.fill_between(line["x"], line["low"], line["high"], color=style["color"], alpha=0.18, linewidth=0)
        for kind, style in self.kinds.items():
            for (estimator, _), line in own[own["kind"] == kind].groupby(["estimator", "line"], sort=False):
                ax.plot(line["x"], line["y"], **{**style, "color": look.estimators[estimator][0]})
