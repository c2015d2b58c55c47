"""Ratios with their intervals, a line for each case."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gsbench.records import text
from gsbench.report.drawing.shapes import LEVEL, Panels, Shape, lines_of, numbers, reach
from gsbench.report.drawing.styles import GREY, Look
from gsbench.shown import printable

LINE, MORE = 0.2, 0.07  # inches of height: of a panel's line, and of each point in a line beyond two
LETTER = 0.068  # inches: width of a letter in a line's name
PALE = 0.3


@dataclass(frozen=True)
class Forest(Shape):
    """A line for each (heading, y), in the order of the points. Points of several estimators and series stand one above
    the other within a line. A line without a measured point shows the `note` of its points instead.

    Lines determine the panel's height; their names determine the room to their left. `pale` points are drawn pale.
    """

    joined: bool = False

    def draw(self, points: pd.DataFrame, look: Look, title: str, caption: str) -> Figure:
        panels = self._panels(points)
        lines = [_lines(own) for own in panels]
        height = LINE + MORE * max(0, max(len(_slots(own, look)) for own in panels) - 2)
        room = 0.3 + LETTER * max(len(name or heading) for of_panel in lines for heading, name in of_panel)
        gaps = (self.gaps[0] if len(panels) == 1 else room, self.gaps[1])
        size = (self.panel[0], max(1.2, height * max(map(len, lines)) + 0.1))
        return Shape.draw(replace(self, panel=size, gaps=gaps, at_left=room), points, look, title, caption)

    def _panels(self, points: pd.DataFrame) -> list[pd.DataFrame]:
        """The points of each panel; all points together if the panels share their lines."""
        return [points] if self.share.get("sharey") else [own for _, own in points.groupby("column")]

    def ordered(self, points: pd.DataFrame, look: Look) -> pd.DataFrame:
        """The points unchanged, because their order is the order of the lines."""
        return points

    def draw_panel(self, ax: Axes, own: pd.DataFrame, points: pd.DataFrame, look: Look) -> None:
        of_lines = points if self.share.get("sharey") else own
        lines, slots = _lines(of_lines), _slots(of_lines, look)
        shifts = (np.arange(len(slots)) - (len(slots) - 1) / 2) * min(0.28, 0.8 / max(1, len(slots)))
        ax.axvline(own["x_axis"].iloc[0].level, **LEVEL)
        own = own.assign(at=[lines.index(line) for line in zip(own["heading"], own["y"], strict=True)])
        measured = own[own["kind"] == ""]
        for (estimator, series), shift in zip(slots, shifts, strict=True):
            of_slot = measured[(measured["estimator"] == estimator) & (measured["series"] == series)]
            for pale, part in of_slot.groupby("pale"):
                style: dict[str, Any] = {**look.marker(estimator, series), "alpha": PALE if pale else 1.0}
                ax.errorbar(part["x"], part["at"] + shift, xerr=reach(part, "x"), **style)
        for at, lost in own[~own["at"].isin(measured["at"])].groupby("at"):
            place: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
            ax.text(0.98, at, text.listed(dict.fromkeys(lost["note"])), fontsize=7.5, color=GREY, **place)
        ax.set_yticks(range(len(lines)), [printable(name or heading) for heading, name in lines], fontsize=8)
        for tick, (_, name) in zip(ax.yaxis.get_major_ticks(), lines, strict=True):
            tick.tick1line.set_visible(bool(name))
            tick.gridline.set_visible(bool(name))
            tick.label1.set_fontweight("normal" if name else "bold")

    def set_scales(self, panels: Panels, points: pd.DataFrame) -> None:
        most = max(len(_lines(own)) for own in self._panels(points))
        for ax in panels:
            ax.set_ylim(most - 0.5, -0.7)
        for ax, own in panels.items():
            values = points if self.share.get("sharex") else own
            metric = own["x_axis"].iloc[0]
            metric.scale(ax.xaxis, numbers(values, "x", metric.level))

    def label(self, axes: np.ndarray, panels: Panels) -> None:
        super().label(axes, panels)
        for ax in panels:
            ax.set_ylabel("")  # the lines have names

    def finish(self, ax: Axes, own: pd.DataFrame, look: Look) -> None:
        """Does nothing: a line shows by itself that nothing was measured."""


def _lines(points: pd.DataFrame) -> list[tuple[str, str]]:
    """(heading, name) of each line from the top. A heading has a line of its own, with an empty name."""
    lines: list[tuple[str, str]] = []
    for heading, name in dict.fromkeys(zip(points["heading"], points["y"], strict=True)):
        if heading and (heading, "") not in lines:
            lines.append((heading, ""))
        lines.append((heading, name))
    return lines


def _slots(points: pd.DataFrame, look: Look) -> list[tuple[str, str]]:
    """Each (estimator, series) that may have a point in a line."""
    return [(estimator, series) for estimator, series, _ in lines_of(points, look)]
