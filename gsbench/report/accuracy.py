"""Accuracy read at equal steps and at equal seconds."""

from __future__ import annotations

import pandas as pd

from gsbench.runs.settings import LABELS_ONLY

BASELINE = LABELS_ONLY
PANEL = ["series", "model", "task", "n_classes"]
READOUT = [*PANEL, "equal", "at", "estimator", "accuracy", "seeds"]


def equal_readouts(curves: pd.DataFrame) -> pd.DataFrame:
    """Accuracies of runs trained side by side, compared after equal steps and after equal seconds.

    A panel is a (series, model, task, n_classes). Its two common points are the largest step and the largest second
    that all its runs reached. An accuracy is the last evaluation at or before the common point, nan if there is none.
    `labels-only` is a reference, not a competitor, so it does not limit the common points: if it ended sooner, its
    last accuracy counts. Several seeds of an estimator give their mean.

    Returns a row for each (panel, `equal`: "step" or "second", estimator), with the common point `at`.
    """
    rows = []
    curves = curves[curves["group"] == "accuracy"]
    for panel, of_panel in curves.groupby(PANEL, sort=True):
        for equal, column in (("step", "step"), ("second", "seconds")):
            at = _common_point(of_panel, column)
            for estimator, of_estimator in of_panel.groupby("estimator", sort=True):
                read = [_last_until(run, column, at) for _, run in of_estimator.groupby(["run_id", "case"])]
                rows.append((*panel, equal, at, estimator, pd.Series(read).mean(), len(read)))
    return pd.DataFrame(rows, columns=READOUT)


def _common_point(curves: pd.DataFrame, column: str) -> float:
    rivals = curves[curves["estimator"] != BASELINE]
    return (rivals if len(rivals) else curves).groupby(["run_id", "case"])[column].max().min()


def _last_until(run: pd.DataFrame, column: str, at: float) -> float:
    reached = run[run[column] <= at]
    return reached.loc[reached[column].idxmax(), "accuracy"] if len(reached) else float("nan")
