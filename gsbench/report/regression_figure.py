"""The ratios of a comparison with their intervals, by case: a forest plot."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gsbench.report import text
from gsbench.report.axes import plain_log
from gsbench.report.reading import TRAINING
from gsbench.report.regression import regression_table
from gsbench.report.regression_intervals import CANNOT_TELL, METRICS
from gsbench.report.style import Look, Plot, make_sheet
from gsbench.shown import printable

SHOWN = ("step_seconds", "bound_seconds", "speedup", "peak_bytes", "test_accuracy", "validation_accuracy")
GROUPS = ("step", "bound", "speedup", "memory", "accuracy", "training")
MOST = 40  # cases that one can still read
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
PALE = 0.3
MARKERS = ("o", "s", "^", "D", "v")


def regression(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """The figure of a page: every run held against the first; None where there is one run or nothing in common."""
    return draw_regression(of_benchmarks(frame))


def of_benchmarks(frame: pd.DataFrame) -> pd.DataFrame:
    """The ratios between runs of the benchmark. Training runs are runs of their own each: no one of them is a base."""
    return regression_table(frame[frame["group"] != TRAINING])


def draw_regression(table: pd.DataFrame) -> Plot | None:
    """A panel for each metric and what is timed, a row a case, a point with its interval for each run."""
    drawn = (table["ratio"] > 0) & (table["ratio"] < np.inf)  # the axis is logarithmic
    rows = table[table["metric"].isin(SHOWN) & table["group"].isin(GROUPS) & drawn]
    if rows.empty:
        return None
    rows = rows.assign(name=[case_label(row) for row in rows.to_dict("records")], panel=_panels(rows))
    names, left_out = _cases(rows)
    panels = sorted(set(rows["panel"]), key=lambda panel: (SHOWN.index(panel[0]), panel[1]))
    runs = list(dict.fromkeys(rows["run"]))
    base = rows["base_run"].iloc[0]
    title = f"Ratio to {base}, by case"
    caption = (
        "New figure over that of the base, with the interval that follows from what the records keep; a bare point "
        "has one reading and no interval. Runs are not paired: intervals of times have the spread between sessions in "
        "them. The speed-up was measured in pairs in each run, and is the figure that survives other programs."
    )
    if (rows["verdict"] == CANNOT_TELL).any():
        caption += " Pale: other programs took cores in one of the two runs, and nothing can be told."
    caption += f" The {MOST} cases furthest from 1 of {MOST + left_out}." if left_out else ""
    handles = [Line2D([], [], label=run, linestyle="", **_marker(i)) for i, run in enumerate(runs)]
    longest = max(map(len, names))
    sheet = make_sheet(
        1, len(panels), title="\n".join(textwrap.wrap(title, 110)), handles=handles, caption=caption,
        panel=(2.1, max(1.2, 0.21 * len(names) * max(1, 0.6 * len(runs)))), gaps=(0.25, 0.5),
        share={"sharey": True}, at_left=0.3 + 0.068 * longest,
    )  # fmt: skip
    for ax, panel in zip(sheet.axes[0], panels, strict=True):
        _draw(ax, rows[rows["panel"] == panel], names, runs)
        _finish(ax, panel)
    sheet.axes[0, 0].set_yticks(range(len(names)), [*map(printable, names)], fontsize=8)
    sheet.axes[0, 0].set_ylim(len(names) - 0.4, -0.6)
    return Plot(title, caption, sheet.figure)


def case_label(row: dict) -> str:
    """`gumbel-softmax, ADGM, K = 10`: without the group, so that its time and its memory stand in one line."""
    k = "" if pd.isna(row["n_classes"]) else f"K = {text.plain(row['n_classes'])}"
    return ", ".join(filter(None, [row["estimator"], text.model_name(row["model"]), k, row["settings"]]))


def _panels(rows: pd.DataFrame) -> list[tuple[str, str]]:
    own = zip(rows["metric"], rows["timed"], strict=True)
    return [(metric, timed if metric == "speedup" else "") for metric, timed in own]


def _cases(rows: pd.DataFrame) -> tuple[list[str], int]:
    """The cases in the table's order, the furthest from 1 where there are too many, and how many are left out."""
    furthest = np.log(rows["ratio"].astype(float)).abs().groupby(rows["name"]).max()
    kept = set(furthest.sort_values(kind="stable").index[-MOST:])
    return [name for name in dict.fromkeys(rows["name"]) if name in kept], len(furthest) - len(kept)


def _marker(number: int) -> dict:
    return {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}


def _draw(ax: Axes, rows: pd.DataFrame, names: Sequence[str], runs: Sequence[str]) -> None:
    ax.axvline(1, color="#777777", linewidth=1)
    for number, run in enumerate(runs):
        shift = 0.5 * (number - (len(runs) - 1) / 2) / len(runs)
        of_run = rows[(rows["run"] == run) & rows["name"].isin(names)]
        for untold, own in of_run.groupby(of_run["verdict"] == CANNOT_TELL):
            ratio = own["ratio"].to_numpy(dtype=float)
            reach = [ratio - own["ratio_low"].to_numpy(dtype=float), own["ratio_high"].to_numpy(dtype=float) - ratio]
            at = [names.index(name) + shift for name in own["name"]]
            bars = np.clip(np.nan_to_num(np.array(reach)), 0, None)
            style = {**_marker(number), "alpha": PALE if untold else 1.0}
            ax.errorbar(ratio, at, xerr=bars, linestyle="", label=run, markersize=4, **style)


def _finish(ax: Axes, panel: tuple[str, str]) -> None:
    metric, timed = panel
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    # 1 stands in the middle of a panel, which is never so narrow that noise looks like news.
    reach = min(max(1.15, high, 1 / low), 20.0)
    ax.set_xlim(1 / reach, reach)
    plain_log(ax.xaxis)
    words = METRICS[metric]
    ax.set_title(f"{metric}{f' ({timed})' if timed else ''}")
    ax.set_xlabel(f"← {words.smaller}   ratio   {words.larger} →")
