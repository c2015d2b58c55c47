"""The points of a figure: what is drawn, and what the page publishes of it as CSV and in words.

A figure declares a function that gives points. Each row of them has

    panel               the title of the panel
    row, column         where the panel stands (any values that sort); not needed where panels follow one another
    estimator, series   what is drawn, from which colour, marker and line follow
    kind                "" for what was measured; else the name of what stands beside it: see `Shape.kinds`
    x, x_low, x_high    the value and the ends of its interval, nan where there is none
    y, low, high        the same for the other axis; in a forest y is the name of the line
    x_axis, y_axis      a Metric, where it is not the one of the figure's shape

and may have `line` (points with one are joined to those of the same one alone), `work` (estimators with the same one do
the same work, so that their times differ by noise alone), `note` (words beside the point), `floor` and `x_end` (below
and beyond which a panel of curves shows nothing), `heading` (above lines of a forest) and `pale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from gsbench.report.text import csv_text

TOLD = "told"  # the kind of what is told in words at the bottom of a panel, and not drawn
PUBLISHED = ("panel", "name", "x_axis", "x", "x_low", "x_high", "y_axis", "y", "low", "high")
ENDS = ("x_low", "x_high", "low", "high")
# What a column has that a figure's points have not.
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("x", "y", *ENDS, "floor", "x_end"), np.nan),
    **dict.fromkeys(("panel", "row", "column", "estimator", "series", "kind", "line", "note", "heading"), ""),
    "pale": False,
}


def name_of(estimator: str, series: str, kind: str) -> str:
    """`gumbel-softmax · preset small`, `gumbel-softmax: diverged`."""
    return ": ".join(filter(None, [" · ".join(filter(None, [estimator, series])), "" if kind == TOLD else kind]))


def published(points: pd.DataFrame) -> pd.DataFrame:
    """A row a point: PUBLISHED, without the ends of intervals where no point has any."""
    names = [name_of(*row) for row in points[["estimator", "series", "kind"]].itertuples(index=False, name=None)]
    panels = [_one_line(panel) for panel in points["panel"]]
    labels = {axis: [_one_line(metric.label) for metric in points[axis]] for axis in ("x_axis", "y_axis")}
    if (points["heading"] != "").any():  # the name of a line of a forest is whole with its heading
        points = points.assign(y=points["y"] + ", " + points["heading"])
    table = points.assign(name=names, panel=panels, **labels)[[*PUBLISHED]]
    return table.drop(columns=[name for name in ENDS if table[name].isna().all()])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def csv(points: pd.DataFrame) -> str:
    """With a name for each axis that is the same in all panels in place of x and y."""
    for axis in ("x", "y"):
        labels = set(points[f"{axis}_axis"])
        label = next(iter(labels), "")
        if len(labels) == 1 and label and label not in points:
            ends = ("x_low", "x_high") if axis == "x" else ("low", "high")
            names = {axis: label, ends[0]: f"{label} low", ends[1]: f"{label} high"}
            points = points.drop(columns=f"{axis}_axis").rename(columns=names)
    return csv_text(points)


def alt_text(title: str, points: pd.DataFrame) -> str:
    """What the figure shows, for who does not see it: its panels, what is drawn in them, and from where to where."""
    if points.empty:
        return f"{title}. Images; what they are is said in the caption."
    panels, names = ([*dict.fromkeys(filter(None, points[column]))] for column in ("panel", "name"))
    axes = {axis: [*dict.fromkeys(filter(None, points[f"{axis}_axis"]))] for axis in ("x", "y")}
    ranges = ". ".join(_range(points, axis, label) for axis, labels in axes.items() for label in labels[:2])
    many = f"{len(panels)} panels: {_few(panels)}" if len(panels) > 1 else ": ".join(["One panel", *panels])
    of = f" Drawn are {_few(names)}." if names else ""
    return f"{title}. {many}.{of} {ranges}.{_courses(points)} The numbers are in the CSV."


def _courses(points: pd.DataFrame, most: int = 8) -> str:
    """From where to where the lines of the last panel go."""
    if not is_numeric_dtype(points["y"]):
        return ""
    panel = points["panel"].iloc[-1]
    own = points[points["panel"] == panel].dropna(subset=["x", "y"])
    lines = [(name, line) for name, line in own.groupby("name", sort=False) if name and line["x"].nunique() > 1]
    told = [
        f"{name} from {line['y'].iloc[0]:.3g} at {line['x'].iloc[0]:.4g} to {line['y'].iloc[-1]:.3g} at "
        f"{line['x'].iloc[-1]:.4g}"
        for name, line in lines[:most]
    ]
    return f" In {panel or 'it'}: {', '.join(told)}." if told else ""


def _few(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _range(points: pd.DataFrame, axis: str, label: str) -> str:
    own: Any = points.loc[points[f"{axis}_axis"] == label, axis].dropna()
    return f"{label}: from {own.min():.3g} to {own.max():.3g}" if len(own) and is_numeric_dtype(own) else label
