"""The speed-up over the sum over all classes, held against the two points that were published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gsbench.report import text
from gsbench.report.axes import class_axis, draw_by_classes, plain_log
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.frame import measured, names_with
from gsbench.report.style import Look, Plot, make_sheet

# Jang et al. 2017 (arXiv 1611.01144), fig. 5: how many times as fast sampling is as marginalizing, by K.
JANG = {10: 2.0, 100: 9.9}
JANG_NAME = "Jang et al. 2017, fig. 5 (GTX Titan X)"
JANG_STYLE: dict[str, Any] = {
    "color": "#000000", "marker": "D", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.6,
    "linestyle": "", "zorder": 5,
}  # fmt: skip
HELD_AGAINST_JANG = ("m2", "synthetic")  # the model and the data they come nearest to
TIMED = {"step": "full training step", "bound": "unlabelled bound"}


def jang(k: int) -> str:
    """Their figure at K as they give it: `9.9 ×`."""
    return f"{JANG[k]:g} \N{MULTIPLICATION SIGN}"


def speedup(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """The speed-up against K: a row of panels for each thing timed, a column for each (model, data set)."""
    rows = measured(frame, "speedup", "speedup", "dataset")
    rows = rows[(rows["speedup"] > 0) & rows["timed"].isin(TIMED)]
    if rows.empty:
        return None
    timed = [what for what in TIMED if what == "step" or what in set(rows["timed"])]
    subjects = sorted({HELD_AGAINST_JANG, *zip(rows["model"], rows["dataset"], strict=True)})
    title = "Speed-up over the sum over all classes"
    caption = (
        f"Timed in pairs, {_baselines(rows)} and the other in turn, in one process: median of the pairs' ratios, "
        f"bars: {text.interval_name(rows)} interval. The bound: forward and backward. {JANG_NAME}: steps per "
        "second of an M2-like model on MNIST with random labels, arXiv 1611.01144; M2 on synthetic (random "
        f"labels) is the curve to be held against it.{_other_bound(rows)} {text.conditions(rows)}"
    )
    handles = [
        *look.handles(rows["estimator"], rows["series"]),
        Line2D([], [], label=JANG_NAME, **JANG_STYLE),
    ]
    sheet = make_sheet(
        len(timed), len(subjects), title=title, handles=handles, caption=caption,
        share={"sharey": True, "sharex": "col"},
    )  # fmt: skip
    sheet.axes[0, 0].set_yscale("log")
    for line, what in zip(sheet.axes, timed, strict=True):
        for ax, subject in zip(line, subjects, strict=True):
            held = what == "step" and subject == HELD_AGAINST_JANG
            own = rows[(rows["timed"] == what) & (rows["model"] == subject[0]) & (rows["dataset"] == subject[1])]
            ax.set_visible(held or not own.empty)
            ax.set_title(_panel_title(what, *subject, held=held))
            _draw_panel(ax, own, look, held)
            class_axis(ax, [*rows["n_classes"], *JANG])
    _label_outer(sheet.axes, text.baseline_name(rows))
    plain_log(sheet.axes[0, 0].yaxis)
    return Plot(title, caption, sheet.figure)


def _baselines(rows: pd.DataFrame) -> str:
    """`marginalize-streamed (the exact sum)`; several where the runs or the models have several."""
    names = by_estimator(text.values(rows, "baseline"))
    return f"{' or '.join(names)} (the exact sum)" if names else text.EXACT_SUM


def _other_bound(rows: pd.DataFrame) -> str:
    names = names_with(rows, "own_bound")
    return f" {text.listed(names)}: a sum of a bound of its own, whose cost follows the logits." if names else ""


def _label_outer(axes: np.ndarray, baseline: str) -> None:
    """Labels the first visible panel of each row on its left, and the last visible one of each column below."""
    for line in axes:
        first = next(ax for ax in line if ax.get_visible())
        first.set_ylabel(f"times as fast as {baseline}")
        first.tick_params(labelleft=True)
    for column in axes.T:
        last = [ax for ax in column if ax.get_visible()][-1]
        last.set_xlabel("number of classes K")
        last.tick_params(labelbottom=True)


def _draw_panel(ax: Axes, rows: pd.DataFrame, look: Look, held: bool) -> None:
    ax.axhline(1, color="#777777", linewidth=1)
    draw_by_classes(ax, rows, look, "speedup", "speedup_low", "speedup_high")
    ground: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
    if held:
        ax.plot(list(JANG), list(JANG.values()), label=JANG_NAME, **JANG_STYLE)
        for k, theirs in JANG.items():
            ax.annotate(
                jang(k), (k, theirs), xytext=(9, -9), textcoords="offset points", va="top", fontsize=8, bbox=ground
            )
    if rows.empty:
        told: dict[str, Any] = {"ha": "center", "va": "center", "color": "#555555", "bbox": ground}
        ax.text(0.5, 0.5, "not measured in these records", transform=ax.transAxes, **told)


def _panel_title(what: str, model: str, dataset: str, held: bool) -> str:
    against = "\nto be held against Jang et al." if held else ""
    return f"{text.model_name(model)} on {dataset}: {TIMED[what]}{against}"
