"""Accuracy against speed, and accuracy as training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gsbench.report import text
from gsbench.report.accuracy import BASELINE, pareto_front, speed_and_accuracy
from gsbench.report.axes import plain_log
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.style import Look, Plot, make_sheet

SUBJECT = ["model", "task", "n_classes"]  # what has a panel of its own
MOST_PANELS = 12
MOST_ROWS = 6
COLUMNS = 3
FRONT = "Pareto front"  # the label of the line


def pareto(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Validation accuracy against training steps per second, a panel for each (model, task, K)."""
    rows = speed_and_accuracy(frame)
    if rows.empty:
        return None
    subjects, left_out = spread(_subjects(rows), MOST_PANELS)
    lines = _lines_of_panels(subjects)
    title = "Accuracy against speed"
    caption = (
        "Up and to the right is better; the grey line is the Pareto front. Last validation accuracy of each "
        f"training run, and its steps per second without the evaluations.{left_out} {text.conditions(rows)}"
    )
    handles = look.handles(rows["estimator"], rows["series"], lines=False)
    columns = max(map(len, lines))
    sheet = make_sheet(
        len(lines), columns, title=title, handles=handles, caption=caption, panel=(2.7, 2.3), gaps=(0.6, 0.95)
    )
    for axes, line in zip(sheet.axes, lines, strict=True):
        axes[0].set_ylabel("validation accuracy (%) → better")
        for ax in axes[len(line) :]:
            ax.set_visible(False)
        for ax, subject in zip(axes, line, strict=False):
            _pareto_panel(ax, _of_subject(rows, subject), look)
            ax.set_title(_subject_title(subject))
    return Plot(title, caption, sheet.figure)


def _lines_of_panels(subjects: Sequence[Any]) -> list[list[Any]]:
    """The subjects in lines of at most COLUMNS; each (model, task) begins a new line."""
    lines = []
    for _, of_task in groupby(subjects, key=lambda subject: subject[:2]):
        line = list(of_task)
        lines += [line[i : i + COLUMNS] for i in range(0, len(line), COLUMNS)]
    return lines


def _pareto_panel(ax: Axes, rows: pd.DataFrame, look: Look) -> None:
    rows = rows.assign(percent=100 * rows["validation_accuracy"])
    speed = "training_steps_per_second"
    ax.set(xscale="log", xlabel="training steps per second → faster")
    for name, series, x, y in zip(rows["estimator"], rows["series"], rows[speed], rows["percent"], strict=True):
        ax.plot([x], [y], linestyle="", markersize=8, **look.marker(name, series))
    widen(ax, rows[speed], rows["percent"])
    for series, own in rows.groupby("series"):
        draw_front(ax, own[speed].tolist(), own["percent"].tolist(), look.series[series][0])
    plain_log(ax.xaxis)


def draw_front(ax: Axes, speeds: Sequence[float], percents: Sequence[float], line: str) -> None:
    """The edge of the region that the points dominate, as stairs from the left edge to the bottom."""
    front = pareto_front(speeds, percents)
    xs = [ax.get_xlim()[0], *(speeds[i] for i in front), speeds[front[-1]]]
    ys = [percents[front[0]], *(percents[i] for i in front), ax.get_ylim()[0]]
    ax.plot(xs, ys, color="#999999", linestyle=line, linewidth=1.2, drawstyle="steps-pre", zorder=1, label=FRONT)


def widen(ax: Axes, speeds: pd.Series, percents: pd.Series) -> None:
    """Limits with room around the points: a factor in speed, some percent in accuracy."""
    room = max(1.0, 0.15 * (percents.max() - percents.min()))
    factor = max(1.3, (speeds.max() / speeds.min()) ** 0.15)
    ax.set_xlim(speeds.min() / factor, speeds.max() * factor)
    ax.set_ylim(percents.min() - room, percents.max() + room)


def accuracy_curves(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Validation accuracy by epoch (left) and by second (right), a row for each (model, task, K)."""
    curves = curves[curves["group"] == "accuracy"].dropna(subset=[*SUBJECT, "estimator", "accuracy"])
    if curves.empty:
        return None
    subjects, left_out = spread(_subjects(curves), MOST_ROWS)
    title = "Validation accuracy as training goes on"
    cases = frame[frame["case"].isin(curves["case"]) & (frame["group"] == "accuracy")]
    beyond = " By epoch, labels-only may go on beyond the panel." if BASELINE in set(curves["estimator"]) else ""
    caption = f"Seconds of training, without the evaluations.{beyond}{left_out} {text.conditions(cases)}"
    handles = look.handles(curves["estimator"], curves["series"])
    sheet = make_sheet(
        len(subjects), 2, title=title, handles=handles, caption=caption, panel=(3.5, 2.2), gaps=(0.35, 0.95),
        share={"sharey": "row"},
    )  # fmt: skip
    for (by_epoch, by_second), subject in zip(sheet.axes, subjects, strict=True):
        own = _of_subject(curves, subject)
        by_epoch.set(title=_subject_title(subject), xlabel="epoch", ylabel="validation accuracy (%)")
        by_second.set(title=_subject_title(subject), xlabel="training time (s)", xscale="log")
        _draw_curves(by_epoch, own.dropna(subset=["epoch"]), "epoch", look)
        end_with_competitors(by_epoch, own)
        _draw_curves(by_second, own[own["seconds"] > 0], "seconds", look)
        by_epoch.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        plain_log(by_second.xaxis)
    return Plot(title, caption, sheet.figure)


def end_with_competitors(ax: Axes, curves: pd.DataFrame) -> None:
    """Lets the axis of epochs end soon after the estimators' runs: labels-only, in as many seconds, goes far beyond."""
    last = curves[curves["estimator"] != BASELINE]["epoch"].max()
    if last > 0 and curves["epoch"].max() > 1.5 * last:
        ax.set_xlim(-0.05 * last, 1.5 * last)


def _draw_curves(ax: Axes, curves: pd.DataFrame, column: str, look: Look) -> None:
    """A line for each training run; markers at some evaluations only, so that the lines stay legible."""
    names = by_estimator(curves["estimator"])
    for rank, name in enumerate(names):
        for (series, *_), run in curves[curves["estimator"] == name].groupby(["series", "run_id", "case"]):
            every = max(1, len(run) // 8)
            first = rank * every // len(names)
            ax.plot(run[column], 100 * run["accuracy"], markevery=(first, every), **look.line(name, series))


def _subjects(rows: pd.DataFrame) -> list[Any]:
    return sorted(rows[SUBJECT].drop_duplicates().itertuples(index=False, name=None))


def _of_subject(rows: pd.DataFrame, subject: tuple[str, str, float]) -> pd.DataFrame:
    model, task, k = subject
    return rows[(rows["model"] == model) & (rows["task"] == task) & (rows["n_classes"] == k)]


def _subject_title(subject: tuple[str, str, float]) -> str:
    model, task, k = subject
    return f"{text.model_name(model)}, K = {k:,.0f}\n{task}"


def spread(items: Sequence[Any], most: int) -> tuple[list[Any], str]:
    """At most `most` of the items, spread from the first to the last; and a sentence on those left out."""
    if len(items) <= most:
        return list(items), ""
    kept = [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
    return kept, f" {len(items) - most} of {len(items)} panels are left out; see the CSV files."
