"""Training runs against the number of classes K: how far they get, how soon, and in how much memory."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import MaxNLocator

from gsbench.report import text
from gsbench.report.accuracy import BASELINE
from gsbench.report.accuracy_figures import spread
from gsbench.report.axes import class_axis, draw_by_classes, plain_log, side_by_side
from gsbench.report.style import Look, Plot, make_sheet
from gsbench.report.training_runs import (
    SHARE_OF_WORST,
    SUBJECT,
    finished_runs,
    over_seeds,
    seeds_sentence,
    times_to_target,
)

MOST_PANELS = 12
COLUMNS = 2
TITLE_WIDTH = 56  # characters


def accuracy_by_classes(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Validation accuracy at the end of training against K, a panel for each (model, task)."""
    rows = finished_runs(frame)
    rows = rows.assign(value=100 * rows["validation_accuracy"])
    text_of = (
        "Training runs: final accuracy against the number of classes",
        "validation accuracy (%)",
        "Last validation accuracy of the training runs that came to their end.",
    )
    return _by_classes(rows, look, *text_of, _percent_axis)


def time_to_accuracy(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Seconds of training until an accuracy that all runs of one panel and K reach, against K."""
    rows = times_to_target(finished_runs(frame), curves)
    text_of = (
        "Training runs: time until an accuracy that all reach",
        "training time (s) → slower",
        f"Until the validation accuracy first is {100 * SHARE_OF_WORST:.0f} % of the lowest final one of all runs of a "
        f"panel and K, {BASELINE} not counted; between two evaluations on the straight line. Seconds of training, "
        "without the evaluations.",
    )
    return _by_classes(rows.assign(value=rows["seconds"]), look, *text_of, plain_log)


def training_memory(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Peak memory of one training step of the training runs, against K."""
    rows = finished_runs(frame, "peak_bytes")
    rows = rows.assign(value=rows["peak_bytes"] / 2**20)
    text_of = (
        "Training runs: peak memory against the number of classes",
        "peak memory (MiB)",
        "Of one full training step with the settings of the runs: of the device, or on the CPU of the live arrays.",
    )
    return _by_classes(rows, look, *text_of, plain_log)


def _by_classes(
    rows: pd.DataFrame, look: Look, title: str, y_label: str, caption: str, y_axis: Callable[[Axis], Any]
) -> Plot | None:
    """A panel for each (model, task), in each a line for each estimator, of the column `value`."""
    rows = rows[rows["value"] > 0]
    panels, left_out = spread(_panels(rows), MOST_PANELS)
    if not panels:
        return None
    rows = rows[[panel in panels for panel in zip(rows["model"], rows["task"], strict=True)]]
    series = next(iter(look.series))  # one only: what else differs between training runs is another task
    points = over_seeds(rows, [*SUBJECT, "estimator"], ["value"]).assign(series=series)
    apart = " Markers of one K stand side by side." if points["estimator"].nunique() > 1 else ""
    caption = f"{caption} {seeds_sentence(rows)}{apart}{left_out} {text.conditions(rows)}"
    columns = min(COLUMNS, len(panels))
    sheet = make_sheet(
        math.ceil(len(panels) / columns), columns, title=title, caption=caption, panel=(3.5, 2.6), gaps=(0.7, 1.0),
        handles=look.handles(points["estimator"], [series]),
    )  # fmt: skip
    axes = list(sheet.axes.flat)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax, (model, task) in zip(axes, panels, strict=False):
        own = points[(points["model"] == model) & (points["task"] == task)]
        ax.set_title(textwrap.fill(f"{text.model_name(model)} on {task}", TITLE_WIDTH))
        _draw_panel(ax, own, look, y_axis)
        ax.set(xlabel="number of classes K", ylabel=y_label)
    return Plot(title, caption, sheet.figure)


def _panels(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The (model, task) of two K and more; after them those of one K that share a model and a preset with one."""
    counts = rows.groupby(["model", "preset", "task"])["n_classes"].nunique()
    kinds = {key[:2] for key, count in counts.items() if count > 1}
    shown = sorted((count == 1, key) for key, count in counts.items() if key[:2] in kinds)
    return [(model, task) for _, (model, _, task) in shown]


def _draw_panel(ax: Axes, points: pd.DataFrame, look: Look, y_axis: Callable[[Axis], Any]) -> None:
    if y_axis is plain_log:
        ax.set_yscale("log")
    ks = points["n_classes"]
    class_axis(ax, ks, margin=1.5)
    draw_by_classes(ax, points, look, "value", "value_low", "value_high", side_by_side(points["estimator"], ks))
    y_axis(ax.yaxis)


def _percent_axis(axis: Axis) -> None:
    """Ticks of plain numbers, over two percentage points at least."""
    low, high = axis.get_view_interval()
    room = max(0.0, 2 - (high - low)) / 2
    axis.axes.set_ylim(low - room, high + room)
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
