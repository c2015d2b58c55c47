"""A figure as a declaration: what it is called, which question it answers, its points, its shape and its caption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import pandas as pd

from gsbench.report import text
from gsbench.report.drawing.points import published
from gsbench.report.drawing.shapes import Shape
from gsbench.report.drawing.sheet import Plot
from gsbench.report.drawing.styles import Look
from gsbench.report.frame import LOST

# When a report says that a figure is missing from it.
Missed = Literal["always", "if its group was measured", "never"]


class Drawable(Protocol):
    """What the registry of figures holds: a Figure, or a sheet of pictures, which is a function."""

    place: int
    name: str
    question: str
    group: str
    missed: Missed

    def draw(self, frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None: ...


@dataclass(frozen=True)
class Figure:
    """A figure of a report.

    place     its rank on the page
    name      of its files, and in the registry
    question  which it helps to answer: a key of `page.QUESTIONS`
    group     of the records that it is drawn from
    title     or a function of the rows that gives it
    rows      (frame, curves) → the rows that it is drawn from, with all their fields
    points    rows → points: see `points`
    shape     how they are drawn
    caption   (rows, points) → what the figure shows; what was left out, and the conditions of the rows, follow by
              themselves
    look      (points, the report's look) → the figure's own, where its lines are no estimators
    missed    when a report says that the figure is missing
    """

    place: int
    name: str
    question: str
    group: str
    title: str | Callable[[pd.DataFrame], str]
    rows: Callable[[pd.DataFrame, pd.DataFrame], pd.DataFrame]
    points: Callable[[pd.DataFrame], pd.DataFrame]
    shape: Shape
    caption: Callable[[pd.DataFrame, pd.DataFrame], str]
    look: Callable[[pd.DataFrame, Look], Look] = lambda points, look: look
    missed: Missed = "always"

    def draw(self, frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
        """The figure, or None where the records have nothing to draw it from; call it within `figure_settings`."""
        return self.draw_rows(self.rows(frame, curves), look)

    def draw_rows(self, rows: pd.DataFrame, look: Look) -> Plot | None:
        if rows.empty:
            return None
        points = self.points(rows)
        if points.empty:
            return None
        look = self.look(points, look)
        points, left_out = self.shape.laid_out(points, look)
        if not (points["kind"] == "").any():
            return None
        title = self.title if isinstance(self.title, str) else self.title(rows)
        fitting = rows[~rows["status"].isin(LOST)] if "status" in rows else rows
        conditions = text.conditions(fitting) if "device" in rows else ""
        told = f"{self.caption(rows, points)}{self.shape.note(points)}{left_out}"
        caption = " ".join(filter(None, [told, conditions]))
        figure = self.shape.draw(points, look, title, caption)
        return Plot(title, caption, figure, published(points))


@dataclass(frozen=True)
class Pictures:
    """A sheet of pictures, which has no points: `draw` is (frame, curves, look) → Plot or None."""

    place: int
    name: str
    question: str
    group: str
    draw: Callable[[pd.DataFrame, pd.DataFrame, Look], Plot | None]
    missed: Missed = "always"
