"""The speed-up over the sum over all classes, compared with two published points."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import measured, names_with
from gsbench.records.order import by_estimator
from gsbench.report.blocks import Block, Table
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.points import interval
from gsbench.report.drawing.shapes import AgainstNumber
from gsbench.report.figures.classes import PANELS, medians
from gsbench.report.figures.metrics import CLASSES, SPEED_UP

# Jang et al. 2017 (arXiv 1611.01144), fig. 5: K → speed of sampling relative to marginalizing.
JANG = {10: 2.0, 100: 9.9}
JANG_NAME = "Jang et al. 2017, fig. 5 (GTX Titan X)"
JANG_STYLE: dict[str, Any] = {
    "color": "#000000", "marker": "D", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.6,
    "linestyle": "", "zorder": 5,
}  # fmt: skip
NEAREST = {"model": "m2", "dataset": "synthetic", "timed": "step"}  # what is nearest to theirs


def jang(k: int) -> str:
    """Jang et al.'s ratio at K, as they print it: `9.9 ×`."""
    return f"{JANG[k]:g} \N{MULTIPLICATION SIGN}"


def _pairs(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    rows = measured(frame, "speedup", "speedup", "dataset")
    return rows[(rows["speedup"] > 0) & rows["timed"].isin(PANELS)]


def _is_nearest(rows: pd.DataFrame) -> pd.Series:
    """Whether each row can be compared with theirs."""
    return (rows[[*NEAREST]] == pd.Series(NEAREST)).all(axis=1)


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A row of panels for each value of `timed`, a column for each (model, data set)."""
    ours = rows[["model", "dataset", "timed", "estimator", "series"]].assign(
        kind="", x=rows["n_classes"], **interval(rows, "speedup")
    )
    theirs = pd.DataFrame({"x": [*JANG], "y": [*JANG.values()], "note": [*map(jang, JANG)]})
    theirs = theirs.assign(kind=JANG_NAME, **NEAREST)
    points = pd.concat([ours, theirs]).fillna({"estimator": "", "series": "", "note": ""})
    titles = points["model"].map(text.model_name) + " on " + points["dataset"] + ": " + points["timed"].map(PANELS)
    points = points.assign(
        row=points["timed"] == "bound",  # below the full step
        column=[*zip(points["model"], points["dataset"], strict=True)],
        panel=titles + _is_nearest(points).map({True: "\ncomparable with Jang et al.", False: ""}),
        y_axis=SPEED_UP.named(f"{SPEED_UP.label} as {text.baseline_name(rows)}"),
    )
    return medians(points)


def _caption(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    names = by_estimator(text.values(rows, "baseline"))
    baselines = f"{' or '.join(names)} (the exact sum)" if names else text.EXACT_SUM
    own = names_with(rows, "own_bound")
    other = f" {text.listed(own)}: the sum of its own bound, whose cost depends on the logits." if own else ""
    return (
        f"Timed in pairs, {baselines} and the other alternating in one process: median of the pairs' ratios, "
        f"bars: {text.interval_name(rows)} interval. The bound: forward and backward. {JANG_NAME}: steps per "
        "second of an M2-like model on MNIST with random labels, arXiv 1611.01144; M2 on synthetic (random "
        f"labels) is the curve to compare with it.{other}"
    )


def _table(frame: pd.DataFrame) -> list[Block]:
    """Our speed-ups of M2 on `synthetic` at the two K that Jang et al. published, beside their numbers."""
    rows = measured(frame, "speedup", "speedup")
    rows = rows[_is_nearest(rows) & rows["n_classes"].isin(JANG)]
    ours = rows.groupby(["series", "n_classes", "estimator"])["speedup"].median()
    cells = [(series, k, name, text.times(ratio), jang(k)) for (series, k, name), ratio in ours.items()]
    headers = ["", "K", "estimator", "M2 on synthetic, here", "Jang et al., fig. 5"]
    return [Table(headers, cells).used()] if cells else []


FIGURES = (
    Figure(
        30, "speedup", "fast", "speedup", "Speed-up over the sum over all classes", rows=_pairs, points=_points,
        shape=AgainstNumber(
            CLASSES, SPEED_UP, share={"sharey": True, "sharex": "col"}, kinds={JANG_NAME: JANG_STYLE}
        ),
        caption=_caption, table=_table,
    ),
)  # fmt: skip
