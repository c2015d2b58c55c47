"""Time per class against the number of classes K: level where the exact sum costs no more than its classes do."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gsbench.report import text
from gsbench.report.axes import class_axis, draw_by_classes, leave_room, mark_lost, plain_log
from gsbench.report.class_figures import handles, lost_cases
from gsbench.report.frame import measured
from gsbench.report.style import Look, Plot, make_sheet

UNITS = ((1.0, "s"), (1e-3, "ms"), (0.0, "µs"))  # from how many seconds on
WIDEST_LINEAR = 8  # largest over smallest value that still reads well on an axis from 0


def time_per_class(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Seconds of the unlabelled bound / K, of the exact sums, a panel for each model; bars are quartiles."""
    rows = _bounds(frame)
    if rows.empty:
        return None
    lost = lost_cases(frame, ["bound"])
    lost = lost[lost["exact_sum"] == 1]
    scale, unit = _unit(rows["bound_seconds"] / rows["n_classes"])
    per_class = {
        name: rows[field] / rows["n_classes"] * scale
        for name, field in (("time", "bound_seconds"), ("low", "bound_seconds_q1"), ("high", "bound_seconds_q3"))
    }
    rows = rows.assign(**per_class)
    title = "Time per class against the number of classes"
    bars = "; bars from quartile to quartile" if (rows["low"].notna() & rows["high"].notna()).any() else ""
    caption = (
        f"The unlabelled bound, forward and backward, over K: median{bars}. The exact sums "
        "alone: a sampling estimator takes a few calls of f whatever K is, so that its time per class falls as 1/K. "
        f"{text.conditions(rows)}"
    )
    models = sorted({*rows["model"], *lost["model"]})
    sheet = make_sheet(
        1, len(models), title=title, handles=handles(look, rows, lost), caption=caption, share={"sharey": "row"}
    )
    first = sheet.axes[0, 0]
    first.set_ylabel(f"time of the bound per class ({unit})")
    for ax, model in zip(sheet.axes[0], models, strict=True):
        ax.set(title=text.model_name(model), xlabel="number of classes K")
        draw_by_classes(ax, rows[rows["model"] == model], look, "time", "low", "high")
        class_axis(ax, [*rows["n_classes"], *lost["n_classes"]])
    _scale(first, rows["time"], lost["estimator"].nunique())
    for ax, model in zip(sheet.axes[0], models, strict=True):
        mark_lost(ax, lost[lost["model"] == model], look, top=False)
    return Plot(title, caption, sheet.figure)


def _bounds(frame: pd.DataFrame) -> pd.DataFrame:
    """The exact sums' rows of group "bound"; where there are none, those that "roofline" timed."""
    for group in ("bound", "roofline"):
        rows = measured(frame, group, "bound_seconds")
        rows = rows[(rows["exact_sum"] == 1) & (rows["bound_seconds"] > 0)]
        if len(rows):
            return rows
    return rows


def _unit(seconds: pd.Series) -> tuple[float, str]:
    """What to multiply seconds with for the unit that suits their largest, and its name."""
    unit = next(name for least, name in UNITS if seconds.max() >= least)
    return {"s": 1.0, "ms": 1e3, "µs": 1e6}[unit], unit


def _scale(ax: Axes, times: pd.Series, marks: int) -> None:
    """From 0 on, so that level looks level; logarithmic where the values lie too far apart for that."""
    if times.max() > WIDEST_LINEAR * times.min():
        ax.set_yscale("log")
        leave_room(ax, marks, top=False)
        plain_log(ax.yaxis)
    else:
        ax.set_ylim(0, 1.08 * ax.get_ylim()[1])
        ax.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
