"""Validation accuracy of training runs as training goes on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from gsbench.report import text
from gsbench.report.accuracy import BASELINE
from gsbench.report.accuracy_figures import end_with_competitors, spread
from gsbench.report.axes import plain_log
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.reading import TRAINING
from gsbench.report.style import Look, Plot, make_sheet
from gsbench.report.training_runs import (
    SUBJECT,
    Points,
    mean_curve,
    of_subject,
    seeds_sentence,
    subject_title,
    subjects_of,
    training_rows,
)

MOST_ROWS = 12
WIDEST_LINEAR = 30  # latest over earliest evaluation that still reads well on an axis from 0
WENT_ON = 1.15  # how far beyond the end of the others a run must go to be shown by itself
LEAST_SHOWN = 4.0  # percentage points of the axis below the lowest end
DIVERGED: dict[str, Any] = {"marker": "x", "linestyle": "", "markersize": 7, "markeredgewidth": 2, "zorder": 4}


def training_curves(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Validation accuracy of training runs by epoch (left) and by second (right), a row for each (model, task, K)."""
    rows = training_rows(frame)
    points = curves[(curves["group"] == TRAINING) & curves["case"].isin(rows["case"])].dropna(subset=["accuracy"])
    points = points.merge(rows[["case", "status"]], on="case")
    rows = rows[rows["case"].isin(points["case"])]
    if rows.empty:
        return None
    subjects, left_out = spread(sorted(subjects_of(rows)), MOST_ROWS)
    title = "Training runs: validation accuracy as training goes on"
    caption = " ".join(
        [seeds_sentence(rows, "lines: mean", "bands"), *_notes(rows), f"Seconds of training, without the "
         f"evaluations.{left_out}", text.conditions(rows)]
    )  # fmt: skip
    sheet = make_sheet(
        len(subjects), 2, title=title, caption=caption, panel=(3.5, 1.9), gaps=(0.3, 0.9), share={"sharey": "row"},
        handles=[*look.handles(_in_sight(points, rows), []), *_handle_of_diverged(rows)],
    )  # fmt: skip
    for (by_epoch, by_second), subject in zip(sheet.axes, subjects, strict=True):
        own = of_subject(points, subject)
        by_epoch.set_title(subject_title(of_subject(rows, subject).iloc[0]), loc="left")
        by_epoch.set(xlabel="epoch", ylabel="validation accuracy (%)")
        by_second.set_xlabel("training time (s)")
        _draw_curves(by_epoch, own.dropna(subset=["epoch"]), "epoch", look)
        end_with_competitors(by_epoch, own)
        by_epoch.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
        _draw_by_second(by_second, own.dropna(subset=["seconds"]), look)
        _show_the_end((by_epoch, by_second), own, of_subject(rows, subject))
    return Plot(title, caption, sheet.figure)


def _show_the_end(axes: tuple[Axes, Axes], points: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Lets the axis of accuracies begin not far below where the estimators end, for there they differ; and that of
    seconds, where it is logarithmic, where the first of them comes into sight.
    """
    low = _lowest_shown(rows)
    percents = 100 * points["accuracy"]
    if not percents.min() < low:  # nor where it is nan
        return
    by_epoch, by_second = axes
    by_epoch.set_ylim(low, percents.max() + 0.06 * (percents.max() - low))
    name_baseline(by_epoch, rows, low)
    seconds = points["seconds"][(percents >= low) & (points["seconds"] > 0)]
    if by_second.get_xscale() == "log" and len(seconds):
        by_second.set_xlim(left=seconds.min() / 2)
        plain_log(by_second.xaxis)


def _lowest_shown(rows: pd.DataFrame) -> float:
    """The lower limit of the accuracies of one subject, in percent."""
    rivals = rows[rows["estimator"] != BASELINE]
    rivals = rivals if len(rivals) else rows
    ended = rivals[rivals["status"] == "ok"]
    ends = 100 * (ended if len(ended) else rivals)["validation_accuracy"]
    return float(ends.min() - max(LEAST_SHOWN, 2 * (ends.max() - ends.min())))


def _in_sight(points: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """The estimators, without labels-only where it lies below all panels."""
    lows = {subject: _lowest_shown(of_subject(rows, subject)) for subject in subjects_of(rows)}
    own = points[points["estimator"] == BASELINE]
    subjects = own[SUBJECT].itertuples(index=False, name=None)
    seen = any(100 * accuracy >= lows[subject] for subject, accuracy in zip(subjects, own["accuracy"], strict=True))
    return [name for name in by_estimator(rows["estimator"]) if name != BASELINE or seen]


def name_baseline(ax: Axes, rows: pd.DataFrame, low: float) -> None:
    """Writes down what labels-only came to, where that lies below the panel."""
    ends = 100 * rows.loc[rows["estimator"] == BASELINE, "validation_accuracy"]
    if len(ends) and ends.mean() < low:
        label = f"{BASELINE}: {ends.mean():.1f} %"
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        ax.text(0.98, 0.05, label, transform=ax.transAxes, ha="right", fontsize=8, bbox=paper)


def _draw_by_second(ax: Axes, points: pd.DataFrame, look: Look) -> None:
    """From 0 on, or logarithmic from the first evaluation after 0 where the range is wide."""
    after_start = points.loc[points["seconds"] > 0, "seconds"]
    if after_start.empty or after_start.max() <= WIDEST_LINEAR * after_start.min():
        _draw_curves(ax, points, "seconds", look)
    else:
        ax.set_xscale("log")
        _draw_curves(ax, points, "seconds", look, after_start.min())
        plain_log(ax.xaxis)


def _notes(rows: pd.DataFrame) -> list[str]:
    """What became of the runs that did not come to their end."""
    notes = ["The axis of accuracies begins not far below where the estimators end."]
    if (rows.groupby([*SUBJECT, "estimator"]).size() > 1).any():
        notes.append("Where a seed ended before the others the mean ends too, and thin lines are those that went on.")
    if (rows["status"] == "diverged").any():
        notes.append("×: diverged.")
    if (rows["status"] == "unfinished").any():
        notes.append("Some runs are unfinished: see the table.")
    return notes


def _handle_of_diverged(rows: pd.DataFrame) -> list[Line2D]:
    return [Line2D([], [], label="diverged", color="#555555", **DIVERGED)] if "diverged" in set(rows["status"]) else []


def _draw_curves(ax: Axes, points: pd.DataFrame, column: str, look: Look, least: float = -np.inf) -> None:
    """For each estimator the mean of its runs, the band between them, and what single runs have beyond it, from the x
    `least` on.
    """
    names = by_estimator(points["estimator"])
    for rank, name in enumerate(names):
        own = points[points["estimator"] == name]
        runs = _runs(own, column)
        mean = mean_curve(runs)
        end = mean["x"].max()
        mean = mean[mean["x"] >= least]
        style = look.plain_line(name)
        every = max(1, len(mean) // 8)
        first = min(rank * every // len(names), max(0, len(mean) - 1))
        ax.plot(mean["x"], mean["mean"], markevery=(first, every), **style)
        if len(runs) > 1:
            between = f"{name}: from the least to the greatest"
            band = {"color": style["color"], "alpha": 0.18, "linewidth": 0, "label": between}
            ax.fill_between(mean["x"], mean["low"], mean["high"], **band)
        for x, y in runs:
            if x[-1] > WENT_ON * end:
                beyond = (x >= end) & (x >= least)
                thin = {"color": style["color"], "linewidth": 0.8, "alpha": 0.7, "label": f"{name}: one seed"}
                ax.plot(x[beyond], y[beyond], **thin)
        for x, y in _runs(own[(own["status"] == "diverged") & (own[column] >= least)], column):
            ax.plot(x[-1:], y[-1:], color=style["color"], label=f"{name}: diverged", **DIVERGED)


def _runs(points: pd.DataFrame, column: str) -> Points:
    """x and percents of each run; those that were evaluated but once, at their start, only where no others are."""
    runs = [
        (own[column].to_numpy(), 100 * own["accuracy"].to_numpy())
        for _, own in points.sort_values(column, kind="stable").groupby("case")
    ]
    return [run for run in runs if len(run[0]) > 1] or runs
