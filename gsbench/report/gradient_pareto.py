"""The error of a gradient against what it costs."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from gsbench.report import text
from gsbench.report.accuracy import pareto_front
from gsbench.report.accuracy_figures import spread
from gsbench.report.axes import from_zero, plain_log
from gsbench.report.gradient_figures import NOTHING
from gsbench.report.gradients import caption_end, gradient_rows, of_part, perplexity, repetitions, states_of
from gsbench.report.style import Look, Plot, make_sheet

MOST_K = 4
FRONT: dict[str, Any] = {"label": "Pareto front", "color": "#999999", "linewidth": 1.2, "zorder": 1}


def gradient_pareto(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """The relative RMS error of the logits' gradient against milliseconds: a row for each K, a column for each state.

    What is held against another exact sum than q's has no place here: its error is of another gradient.
    """
    rows = gradient_rows(frame)
    elsewhere = sorted(set(rows["estimator"][rows["elsewhere"]]))
    rows = rows[~rows["elsewhere"]]
    points = of_part(rows, "logits")
    points = points[(points["milliseconds"] > 0) & points["error"].notna()]
    if points.empty:
        return None
    ks = sorted(set(points["n_classes"]))
    shown, _ = spread(ks, MOST_K)
    lines = [(subject, k) for subject in sorted(set(points["subject"])) for k in shown]
    states = states_of(rows)
    title = "Error of the logits' gradient against its cost"
    caption = (
        "Down and to the left is better; the grey line is the Pareto front. Error: √(squared bias + variance) of one "
        f"gradient, relative to the exact one's norm, with all fixed but the draws of y; {repetitions(rows)}. That of "
        "the exact sums is 0. Time: the unlabelled bound, forward and backward, median."
        f"{_left_out(ks, shown, elsewhere)} {caption_end(rows)}"
    )
    sheet = make_sheet(
        len(lines), len(states), title=title, caption=caption, panel=(3.6, 2.2), gaps=(0.35, 0.85),
        handles=look.handles(points["estimator"], points["series"], lines=False), share={"sharey": "row"},
    )  # fmt: skip
    for axes, (subject, k) in zip(sheet.axes, lines, strict=True):
        of_line = points[(points["subject"] == subject) & (points["n_classes"] == k)]
        axes[0].set_ylabel("relative error (lower is better)")
        for ax, state in zip(axes, states, strict=True):
            where = (rows["subject"] == subject) & (rows["n_classes"] == k) & (rows["state"] == state)
            ax.set_title(_panel_title(rows[where], subject, k, state))
            from_zero(ax, of_line[["error"]])
            _draw_panel(ax, of_line[of_line["state"] == state], look)
    return Plot(title, caption, sheet.figure)


def _left_out(ks: list[float], shown: list[float], elsewhere: list[str]) -> str:
    notes = [f"{len(shown)} of {len(ks)} class counts are shown; see the tables."] if len(shown) < len(ks) else []
    if elsewhere:
        notes.append(f"Left out: {text.listed(elsewhere)}, whose exact gradient is that of another bound.")
    return "".join(f" {note}" for note in notes)


def _panel_title(rows: pd.DataFrame, subject: str, k: float, state: str) -> str:
    of_q = perplexity(rows)
    head = f"{subject}, K = {k:,.0f}, {state}"
    return f"{head}\nperplexity of q: {of_q}" if of_q else head


def _draw_panel(ax: Axes, points: pd.DataFrame, look: Look) -> None:
    ax.set(xscale="log", xlabel="time of the bound (ms) → slower")
    if points.empty:
        ax.text(0.5, 0.5, "not measured in these records", transform=ax.transAxes, **NOTHING)
        return
    for name, series, x, y in points[["estimator", "series", "milliseconds", "error"]].itertuples(index=False):
        ax.plot([x], [y], linestyle="", markersize=7, **look.marker(name, series))
    times = points["milliseconds"]
    factor = max(1.3, (times.max() / times.min()) ** 0.12)
    ax.set_xlim(times.min() / factor, times.max() * factor)
    for series, own in points.groupby("series"):
        _draw_front(ax, own["milliseconds"].tolist(), own["error"].tolist(), look.series[series][0])
    _name_the_exact(ax, points[(points["draws_y"] == 0) & (points["error"] == 0)])
    plain_log(ax.xaxis)


def _draw_front(ax: Axes, times: list[float], errors: list[float], line: str) -> None:
    """The edge of the region that the points dominate, as stairs from the top to the right edge."""
    front = pareto_front([-time for time in times], [-error for error in errors])[::-1]  # the fastest first
    xs = [times[front[0]], *(times[i] for i in front), ax.get_xlim()[1]]
    ys = [ax.get_ylim()[1], *(errors[i] for i in front), errors[front[-1]]]
    ax.plot(xs, ys, linestyle=line, drawstyle="steps-post", **FRONT)


def _name_the_exact(ax: Axes, exact: pd.DataFrame) -> None:
    """Left of the fastest one, under the front, where by its nature no point is."""
    if len(exact):
        at = (exact["milliseconds"].min(), 0.0)
        ax.annotate("exact: 0", at, xytext=(-7, 0), textcoords="offset points", ha="right", va="center", fontsize=8)
