"""Accuracy against time on this machine: the first figure of a report."""

from __future__ import annotations

import pandas as pd

from gsbench.records import text
from gsbench.report.drawing.curves import Curves
from gsbench.report.drawing.figure import Figure
from gsbench.report.figures.metrics import ACCURACY, TRAINING_TIME
from gsbench.report.glance import KEY
from gsbench.report.predicted import OWN, REFERENCE, predictions

CURVES = Curves(TRAINING_TIME, ACCURACY, panel=(3.2, 2.5), gaps=(0.5, 0.95), columns=3, most=6, title_at="left")


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A panel for each (series, model, K). The axis of accuracies begins at half of the best final accuracy.

    The start is left out, because the axis of seconds is logarithmic.
    """
    rows = rows[rows["seconds"] > 0]
    many = rows["series"].nunique() > 1
    panels = [
        f"{text.model_name(model)}, K = {k:,.0f}" + (f"\n{series}" if many else "")
        for series, model, k in rows[KEY].itertuples(index=False, name=None)
    ]
    floors = rows.groupby(KEY)["final"].transform("max") / 2
    several = rows["seeds"] > 1
    return rows.assign(
        panel=panels, x=rows["seconds"], y=rows["percent"], low=rows["percent_low"].where(several),
        high=rows["percent_high"].where(several), floor=floors,
    ).sort_values("n_classes", kind="stable")[["panel", "estimator", "x", "y", "low", "high", "floor"]]  # fmt: skip


def _caption(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    told = {REFERENCE: "gsbench's reference curves", OWN: "the training runs in these records"}
    sources = text.listed(told[source] for source in told if source in set(rows["source"]))
    made = "with" if rows["minibatch_seconds"].notna().all() else "without"
    return (
        "Validation accuracy against seconds of training on this machine. The seconds of a step were measured here, "
        f"{made} the making of its minibatch. The accuracy by step is from {sources}; a line ends where they end. "
        "Lines: mean over seeds; bands: from the least to the greatest, where there are several."
    )


FIGURES = (
    Figure(
        5, "accuracy_by_time", "accurate", "step", "Accuracy against time on this machine",
        rows=predictions, points=_points, shape=CURVES, caption=_caption, missed="never",
    ),
)  # fmt: skip
