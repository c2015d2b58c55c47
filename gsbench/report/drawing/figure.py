"""A figure as a declaration: what it is called, which question it answers, its points, its shape and its caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from gsbench.report import text
from gsbench.report.drawing.points import published
from gsbench.report.drawing.shapes import Shape
from gsbench.report.drawing.sheet import Plot
from gsbench.report.drawing.styles import Look
from gsbench.report.frame import LOST


@dataclass(frozen=True)
class Declared:
    """What the registry of figures holds.

    place     its rank on the page
    name      of its files, and in the registry
    question  which it helps to answer: a key of `page.QUESTIONS`
    group     of the records that it is drawn from
    missed    when a report says that the figure is missing
    """

    place: int
    name: str
    question: str
    group: str
    missed: Literal["always", "if its group was measured", "never"] = field(default="always", kw_only=True)


@dataclass(frozen=True)
class Pictures(Declared):
    """A sheet of pictures, which has no points: `draw` is (frame, curves, look) → Plot or None."""

    draw: Callable[[pd.DataFrame, pd.DataFrame, Look], Plot | None]


@dataclass(frozen=True)
class Figure(Declared):
    """A figure of points.

    title     or a function of the rows that gives it
    rows      (frame, curves) → the rows that it is drawn from, with all their fields
    points    rows → points: see `points`
    shape     how they are drawn
    caption   what the figure shows, or (rows, points) → that; what was left out, and the conditions of the rows, follow
              by themselves
    look      (points, the report's look) → the figure's own, where its lines are no estimators
    """

    title: str | Callable[[pd.DataFrame], str]
    rows: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
    points: Callable[[pd.DataFrame], pd.DataFrame]
    shape: Shape
    caption: str | Callable[[pd.DataFrame, pd.DataFrame], str]
    look: Callable[[pd.DataFrame, Look], Look] = lambda points, look: look

    def draw(self, frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
        """The figure, or None where the records have nothing to draw it from; call it within `figure_settings`."""
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
