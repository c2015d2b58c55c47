"""The points of a figure, for drawing and for publication on the page, as CSV and in words.

A figure declares a function that gives points. Each row is a point and has

    panel               the title of the panel
    row, column         the panel's place (any sortable values); not needed if panels simply follow one another
    estimator, series   these determine colour, marker and line
    kind                "" for a measurement; else the name of another kind of point: see `Shape.kinds`
    x, x_low, x_high    the value and the ends of its interval, nan if there is none
    y, low, high        the same for the other axis; in a forest y is the name of the line
    x_axis, y_axis      a Metric, if it differs from the Metric of the figure's shape

and may have `line` (only points with the same value are joined), `work` (estimators with the same value do the same
work, so their times differ only by noise), `note` (words beside the point), `floor` and `x_end` (limits of a panel of
curves: nothing is shown below `floor` or beyond `x_end`), `heading` (above lines of a forest) and `pale`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from gsbench.records.text import csv_text

TOLD = "told"  # the kind of points that are not drawn, but written at the bottom of a panel
PUBLISHED = ("panel", "name", "x_axis", "x", "x_low", "x_high", "y_axis", "y", "low", "high")
INTERVALS = {"x": ("x", "x_low", "x_high"), "y": ("y", "low", "high")}  # axis → a value and the ends of its interval
ENDS = ("x_low", "x_high", "low", "high")
# The values of columns that a figure's points lack.
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(("x", "y", *ENDS, "floor", "x_end"), np.nan),
    **dict.fromkeys(("panel", "row", "column", "estimator", "series", "kind", "line", "note", "heading"), ""),
    "pale": False,
}


def interval(rows: pd.DataFrame, figure: str, axis: str = "y") -> dict[str, pd.Series]:
    """The columns of an axis from a figure of the rows, and from its `<figure>_low` and `<figure>_high`."""
    return {column: rows[f"{figure}{end}"] for column, end in zip(INTERVALS[axis], ("", "_low", "_high"), strict=True)}


def name_of(estimator: str, series: str, kind: str) -> str:
    """`gumbel-softmax · preset small`, `gumbel-softmax: diverged`."""
    return ": ".join(filter(None, [" · ".join(filter(None, [estimator, series])), "" if kind == TOLD else kind]))


def published(points: pd.DataFrame) -> pd.DataFrame:
    """A row for each point, with the columns PUBLISHED. Columns of interval ends are left out if they are empty."""
    names = [name_of(*row) for row in points[["estimator", "series", "kind"]].itertuples(index=False, name=None)]
    panels = [" ".join(panel.split()) for panel in points["panel"]]
    labels = {axis: [" ".join(metric.label.split()) for metric in points[axis]] for axis in ("x_axis", "y_axis")}
    if (points["heading"] != "").any():  # the full name of a forest's line includes its heading
        points = points.assign(y=points["y"] + ", " + points["heading"])
    table = points.assign(name=names, panel=panels, **labels)[[*PUBLISHED]]
    return table.drop(columns=[name for name in ENDS if table[name].isna().all()])


def csv(points: pd.DataFrame) -> str:
    """The points as CSV. If all panels share an axis, its name replaces x or y in the column names."""
    for axis, columns in INTERVALS.items():
        labels = set(points[f"{axis}_axis"])
        label = next(iter(labels), "")
        if len(labels) == 1 and label and label not in points:
            names = dict(zip(columns, (label, f"{label} low", f"{label} high"), strict=True))
            points = points.drop(columns=f"{axis}_axis").rename(columns=names)
    return csv_text(points)


def alt_text(title: str, points: pd.DataFrame) -> str:
    """A description for readers who cannot see the figure: its panels, the names drawn in them, and their ranges."""
    if points.empty:
        return f"{title}. Images; what they are is said in the caption."
    panels, names = ([*dict.fromkeys(filter(None, points[column]))] for column in ("panel", "name"))
    axes = {axis: [*dict.fromkeys(filter(None, points[f"{axis}_axis"]))] for axis in ("x", "y")}
    ranges = ". ".join(_range(points, axis, label) for axis, labels in axes.items() for label in labels[:2])
    many = f"{len(panels)} panels: {_few(panels)}" if len(panels) > 1 else ": ".join(["One panel", *panels])
    of = f" Drawn are {_few(names)}." if names else ""
    return f"{title}. {many}.{of} {ranges}.{_courses(points)} The numbers are in the CSV."


def _courses(points: pd.DataFrame, most: int = 8) -> str:
    """A sentence on the start and the end of each line of the last panel."""
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
