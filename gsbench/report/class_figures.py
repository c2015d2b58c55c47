"""Speed and memory against the number of classes K."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.lines import Line2D

from gsbench.report import text
from gsbench.report.axes import class_axis, draw_by_classes, leave_room, mark_lost, plain_log
from gsbench.report.frame import measured
from gsbench.report.style import Look, Plot, make_sheet

LOST = ("too-large", "out-of-memory")
METERS = {
    "live_peak_bytes": "live arrays",
    "device_peak_bytes": "device",
    "process_peak_bytes": "whole process",
}


def steps_per_second(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Training steps a second against K, a panel for each model; bars are the quartiles of the step time."""
    rows = measured(frame, "step", "step_seconds")
    rows = rows[rows["step_seconds"] > 0]
    if rows.empty:
        return None
    rows = rows.assign(rate=1 / rows["step_seconds"], low=1 / rows["step_seconds_q3"], high=1 / rows["step_seconds_q1"])
    lost = lost_cases(frame, ["step"])
    title = "Training steps per second against the number of classes"
    caption = (
        "Full training step: labelled and unlabelled bound, forward and backward, and the optimiser's "
        f"update. Median; bars from quartile to quartile. {text.conditions(rows)}"
    )
    models = sorted({*rows["model"], *lost["model"]})
    sheet = make_sheet(
        1,
        len(models),
        title=title,
        handles=handles(look, rows, lost),
        caption=caption,
        share={"sharey": "row"},
    )
    sheet.axes[0, 0].set(ylabel="training steps per second", yscale="log")
    for ax, model in zip(sheet.axes[0], models, strict=True):
        ax.set(title=text.model_name(model), xlabel="number of classes K")
        draw_by_classes(ax, rows[rows["model"] == model], look, "rate", "low", "high")
        class_axis(ax, [*rows["n_classes"], *lost["n_classes"]])
        mark_lost(ax, lost[lost["model"] == model], look, top=False)
    leave_room(sheet.axes[0, 0], lost["estimator"].nunique(), top=False)
    plain_log(sheet.axes[0, 0].yaxis)
    return Plot(title, caption, sheet.figure)


def peak_memory(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Peak memory against K: a row of panels for each meter that was read, a column for each model."""
    rows = measured(frame, "memory")
    meters = [meter for meter in METERS if (rows[meter] > 0).any()]
    if not meters:
        return None
    rows = rows.assign(**{meter: rows[meter] / 2**20 for meter in meters})
    lost = lost_cases(frame, ["memory", "step", "bound"])
    title = "Peak memory against the number of classes"
    caption = f"Peak memory of one full training step{_meter_names(rows, meters)}. {text.conditions(rows)}"
    models = sorted({*rows["model"], *lost["model"]})
    sheet = make_sheet(
        len(meters), len(models), title=title, handles=handles(look, rows, lost), caption=caption,
        share={"sharey": "row", "sharex": "col"},
    )  # fmt: skip
    for line, meter in zip(sheet.axes, meters, strict=True):
        line[0].set(ylabel=f"peak memory, {METERS[meter]} (MiB)", yscale="log")
        for ax, model in zip(line, models, strict=True):
            ax.set_title(f"{text.model_name(model)}: {METERS[meter]}")
            draw_by_classes(ax, rows[rows["model"] == model], look, meter)
            class_axis(ax, [*rows["n_classes"], *lost["n_classes"]])
    leave_room(sheet.axes[0, 0], lost["estimator"].nunique(), top=True)
    for ax, model in zip(sheet.axes[0], models, strict=True):
        mark_lost(ax, lost[lost["model"] == model], look, top=True)
    for ax in sheet.axes[:, 0]:
        plain_log(ax.yaxis)
    for ax in sheet.axes[-1]:
        ax.set_xlabel("number of classes K")
    return Plot(title, caption, sheet.figure)


def lost_cases(frame: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """The cases of these groups that were too large or ran out of memory."""
    rows = frame[frame["group"].isin(groups) & frame["status"].isin(LOST)]
    return rows.dropna(subset=["estimator", "model", "n_classes"])


def _meter_names(rows: pd.DataFrame, meters: Sequence[str]) -> str:
    """`, by tracemalloc (live arrays) and VmHWM (whole process)`, or "" where the records do not say."""
    names = {meter: text.values(rows, meter.replace("peak_bytes", "meter")) for meter in meters}
    read = [f"{text.listed(found)} ({METERS[meter]})" for meter, found in names.items() if found]
    return f", by {text.listed(read)}" if read else ""


def handles(look: Look, rows: pd.DataFrame, lost: pd.DataFrame) -> list[Line2D]:
    """The legend of the estimators and the series, and of the marks of `axes.mark_lost` where there are any."""
    entries = look.handles([*rows["estimator"], *lost["estimator"]], rows["series"])
    if len(lost):
        style: dict[str, Any] = {"color": "#555555", "marker": "x", "markeredgewidth": 2, "linestyle": ""}
        entries.append(Line2D([], [], label="does not fit in memory", **style))
    return entries
