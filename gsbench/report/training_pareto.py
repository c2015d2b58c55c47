"""The final accuracy of training runs against their speed."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gsbench.report import text
from gsbench.report.accuracy import BASELINE
from gsbench.report.accuracy_figures import draw_front, spread, widen
from gsbench.report.axes import plain_log
from gsbench.report.style import Look, Plot, make_sheet
from gsbench.report.training_figures import name_baseline
from gsbench.report.training_runs import (
    finished_runs,
    of_subject,
    over_seeds,
    seeds_sentence,
    subject_title,
    subjects_of,
)

MOST_PANELS = 12
COLUMNS = 3


def training_pareto(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Final validation accuracy against training steps per second, a panel for each (model, task, K)."""
    rows = finished_runs(frame, "steps_per_second")
    rows = rows[rows["steps_per_second"] > 0]
    if (rows["estimator"] == BASELINE).all():
        return None
    rows = rows.assign(percent=100 * rows["validation_accuracy"])
    subjects, left_out = spread(sorted(subjects_of(rows[rows["estimator"] != BASELINE])), MOST_PANELS)
    title = "Training runs: accuracy against speed"
    caption = (
        "Up and to the right is better; the grey line is the Pareto front of the means. Final validation accuracy, and "
        f"steps per second without the evaluations. {seeds_sentence(rows)}{_about_baseline(rows)}{left_out} "
        f"{text.conditions(rows)}"
    )
    handles = look.handles(rows["estimator"][rows["estimator"] != BASELINE], [], lines=False)
    columns = min(COLUMNS, len(subjects))
    sheet = make_sheet(
        -(-len(subjects) // columns), columns, title=title, handles=handles, caption=caption, panel=(2.7, 2.3),
        gaps=(0.6, 0.95),
    )  # fmt: skip
    for ax in sheet.axes[:, 0]:
        ax.set_ylabel("validation accuracy (%) → better")
    for ax in sheet.axes.flat[len(subjects) :]:
        ax.set_visible(False)
    for ax, subject in zip(sheet.axes.flat, subjects, strict=False):
        ax.set_title(textwrap.fill(subject_title(of_subject(rows, subject).iloc[0]), 38))
        _pareto_panel(ax, of_subject(rows, subject), look)
    return Plot(title, caption, sheet.figure)


def _about_baseline(rows: pd.DataFrame) -> str:
    return f" What {BASELINE} came to is written at the bottom." if BASELINE in set(rows["estimator"]) else ""


def _pareto_panel(ax: Axes, rows: pd.DataFrame, look: Look) -> None:
    """The estimators; labels-only, far below and far to the right of them, in words."""
    name_baseline(ax, rows, np.inf)
    rows = rows[rows["estimator"] != BASELINE]
    points = over_seeds(rows, ["estimator"], ["steps_per_second", "percent"])
    ax.set(xscale="log", xlabel="training steps per second → faster")
    for point in points.to_dict("records"):
        style = {**look.plain_line(point["estimator"]), "linestyle": "", "markersize": 7}
        if point["runs"] > 1:
            style |= {"xerr": _reach(point, "steps_per_second"), "yerr": _reach(point, "percent")}
        ax.errorbar([point["steps_per_second"]], [point["percent"]], **style)
    widen(ax, rows["steps_per_second"], rows["percent"])
    draw_front(ax, points["steps_per_second"].tolist(), points["percent"].tolist(), "-")
    plain_log(ax.xaxis)


def _reach(point: dict[str, Any], figure: str) -> list[list[float]]:
    """How far the bar of a point reaches down and up."""
    value = point[figure]
    return [[max(0.0, value - point[f"{figure}_low"])], [max(0.0, point[f"{figure}_high"] - value)]]
