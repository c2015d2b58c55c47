"""The price of a training step where it changes during training: calls of f, and milliseconds."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd

from gsbench.records.reading import TRAINING
from gsbench.report.drawing.axes import linear
from gsbench.report.drawing.curves import Curves
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.shapes import Metric
from gsbench.report.training_runs import (
    RUN,
    SUBJECT,
    finished_runs,
    mean_curve,
    seeds_sentence,
    subject_title,
)
from gsbench.settings.run import LABELS_ONLY

STEP = Metric("training step", scale=linear)
CALLS = Metric("calls of f per example", better=-1)
STEP_TIME = Metric("time of a step (ms)", better=-1)


def _rows(frame: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Each evaluation of the finished runs: `step`, `calls` of f there, and `ms`, the mean time of a step since the
    evaluation before, nan for the first. Only subjects with an estimator whose calls of f change.
    """
    runs = finished_runs(frame)
    runs = runs[runs["estimator"] != LABELS_ONLY].rename(columns={"step": "last_step", "calls_of_f": "fixed_calls"})
    points = curves[curves["group"] == TRAINING][[*RUN, "step", "seconds", "calls_of_f"]]
    if runs.empty or points["calls_of_f"].isna().all():
        return pd.DataFrame()
    found = points.merge(runs, on=RUN)
    between = found.groupby(RUN)[["step", "seconds"]].diff()
    found = found.assign(
        ms=1000 * between["seconds"] / between["step"], changes=found["calls_of_f"].notna(),
        calls=found["calls_of_f"].fillna(found["fixed_calls"]),
    )  # fmt: skip
    found = found[found.groupby(SUBJECT)["changes"].transform("any")]
    return found.dropna(subset=["calls"])


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A row of panels for each (model, task, K): calls of f (left) and milliseconds of a step (right)."""
    found = []
    for i, (_, own) in enumerate(rows.groupby(SUBJECT, sort=True)):
        panel = textwrap.fill(subject_title(own.iloc[0]), 80)
        for (estimator, series), of in own.groupby(["estimator", "series"]):
            for column, (figure, metric) in enumerate((("calls", CALLS), ("ms", STEP_TIME))):
                known = of.dropna(subset=[figure]).groupby(RUN)
                runs = [(run["step"].to_numpy(float), run[figure].to_numpy(float)) for _, run in known]
                if not runs:  # a run with one evaluation has no time since another
                    continue
                line = mean_curve(runs)
                ends = {"low": line["low"], "high": line["high"]} if len(runs) > 1 else {"low": np.nan, "high": np.nan}
                found.append(pd.DataFrame({
                    "panel": panel, "row": i, "column": column, "y_axis": metric, "estimator": estimator,
                    "series": series, "x": line["x"], "y": line["mean"], **ends,
                }))  # fmt: skip
    return pd.concat(found, ignore_index=True)


def _caption(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    return (
        "The price of a training step, from the first step to the last. Left: calls of f, the bound of one class, for "
        "an example and a draw of a. Right: milliseconds of a step, the mean since the evaluation before. The calls of "
        f"an estimator with a mass fall as q(y|a,x) becomes peaked. {seeds_sentence(rows, 'lines: mean', 'bands')} A "
        "line ends where the first seed ended."
    )


FIGURES = (
    Figure(
        165, "price_by_step", "accurate", TRAINING, "The price of a training step", rows=_rows, points=_points,
        shape=Curves(STEP, CALLS, panel=(3.5, 2.0), gaps=(0.75, 0.9), most=12, title_at="left"), caption=_caption,
        missed="never",
    ),
)  # fmt: skip
