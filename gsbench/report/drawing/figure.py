"""A figure as a declaration: its name, the question that it answers, its points, its shape and its caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import LOST
from gsbench.report.blocks import Block
from gsbench.report.drawing.points import published
from gsbench.report.drawing.shapes import Shape
from gsbench.report.drawing.sheet import Plot
from gsbench.report.drawing.styles import Look


@dataclass(frozen=True)
class Declared:
    """An entry of the registry of figures.

    place     the figure's rank on the page
    name      its name in the registry and of its files
    question  the question that it helps to answer: a key of `page.QUESTIONS`
    group     the group of its records
    missed    when a report calls the figure missing
    table     frame → the blocks under the figure
    """

    place: int
    name: str
    question: str
    group: str
    missed: Literal["always", "if its group was measured", "never"] = field(default="always", kw_only=True)
    table: Callable[[pd.DataFrame], list[Block]] = field(default=lambda frame: [], kw_only=True)


@dataclass(frozen=True)
class Pictures(Declared):
    """A sheet of pictures without points. `draw`: (frame, curves, look) → Plot or None."""

    draw: Callable[[pd.DataFrame, pd.DataFrame, Look], Plot | None]


@dataclass(frozen=True)
class Figure(Declared):
    """A figure of points.

    title     the title, or rows → title
    rows      (frame, curves) → the rows for the figure, with all their fields
    points    rows → points: see `drawing.points`
    shape     the way to draw the points
    caption   the caption, or (rows, points) → caption; notes on omissions and the conditions of the rows are appended
    look      (points, the report's look) → the figure's own look, if its lines are not estimators
    """

    title: str | Callable[[pd.DataFrame], str]
    rows: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
    points: Callable[[pd.DataFrame], pd.DataFrame]
    shape: Shape
    caption: str | Callable[[pd.DataFrame, pd.DataFrame], str]
    look: Callable[[pd.DataFrame, Look], Look] = lambda points, look: look

    def draw(self, frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
        """The figure, or None without records for it. To be called within `figure_settings`."""
        return self.draw_rows(self.rows(frame, curves), look)

    def draw_rows(self, rows: pd.DataFrame, look: Look) -> Plot | None:
        points = self.points(rows) if len(rows) else rows
        if points.empty:
            return None
        look = self.look(points, look)
        points, left_out = self.shape.laid_out(points, look)
        if not (points["kind"] == "").any():
            return None
        title = self.title if isinstance(self.title, str) else self.title(rows)
        told = self.caption if isinstance(self.caption, str) else self.caption(rows, points)
        caption = f"{told}{self.shape.note(points)}{left_out}"
        if "device" in rows:
            caption += f" {text.conditions(rows[~rows['status'].isin(LOST)])}"
        return Plot(title, caption, self.shape.draw(points, look, title, caption), published(points))
