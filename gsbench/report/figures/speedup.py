"""The speed-up over the sum over all classes, compared with two published points."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import measured, names_with
from gsbench.records.order import by_estimator
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.shapes import AgainstNumber
from gsbench.report.figures.classes import medians
from gsbench.report.figures.metrics import CLASSES, SPEED_UP

# Jang et al. 2017 (arXiv 1611.01144), fig. 5: K → speed of sampling relative to marginalizing.
JANG = {10: 2.0, 100: 9.9}
JANG_NAME = "Jang et al. 2017, fig. 5 (GTX Titan X)"
JANG_STYLE: dict[str, Any] = {
    "color": "#000000", "marker": "D", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.6,
    "linestyle": "", "zorder": 5,
}  # fmt: skip
HELD_AGAINST_JANG = ("m2", "synthetic")  # the model and the data nearest to theirs
TIMED = {"step": "full training step", "bound": "unlabelled bound"}


def jang(k: int) -> str:
    """Jang et al.'s ratio at K, as they print it: `9.9 ×`."""
    return f"{JANG[k]:g} \N{MULTIPLICATION SIGN}"


def _pairs(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    rows = measured(frame, "speedup", "speedup", "dataset")
    return rows[(rows["speedup"] > 0) & rows["timed"].isin(TIMED)]


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A row of panels for each value of `timed`, a column for each (model, data set)."""
    ours = rows[["model", "dataset", "timed", "estimator", "series"]].assign(
        kind="", x=rows["n_classes"], y=rows["speedup"], low=rows["speedup_low"], high=rows["speedup_high"]
    )
    model, dataset = HELD_AGAINST_JANG
    theirs = pd.DataFrame({"x": [*JANG], "y": [*JANG.values()], "note": [*map(jang, JANG)]}).assign(
        model=model, dataset=dataset, timed="step", kind=JANG_NAME
    )
    points = pd.concat([ours, theirs]).fillna({"estimator": "", "series": "", "note": ""})
    held = (points["model"] == model) & (points["dataset"] == dataset) & (points["timed"] == "step")
    titles = points["model"].map(text.model_name) + " on " + points["dataset"] + ": " + points["timed"].map(TIMED)
    points = points.assign(
        row=[[*TIMED].index(timed) for timed in points["timed"]],
        column=[*zip(points["model"], points["dataset"], strict=True)],
        panel=titles + held.map({True: "\ncomparable with Jang et al.", False: ""}),
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


FIGURES = (
    Figure(
        30, "speedup", "fast", "speedup", "Speed-up over the sum over all classes", rows=_pairs, points=_points,
        shape=AgainstNumber(
            CLASSES, SPEED_UP, share={"sharey": True, "sharex": "col"}, kinds={JANG_NAME: JANG_STYLE}
        ),
        caption=_caption,
    ),
)  # fmt: skip
