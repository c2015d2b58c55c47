"""How many times as fast as the formulations that people use today gsbench is."""

from __future__ import annotations

from itertools import groupby
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gsbench.report import text
from gsbench.report.axes import plain_log
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.peer_table import TIMED, TITLE, lost_name, peer_rows, timed_note, versions
from gsbench.report.style import Look, Plot, make_sheet
from gsbench.shown import printable

KINDS = {True: "the exact sum", False: "sampling"}
USUAL = "unlabelled-step"  # what was timed goes without saying
LINE, MORE = 0.2, 0.07  # inches of a line of a panel, and of each point in it beyond two
AT_LEFT = 1.75  # inches for the peers' names


class Line(NamedTuple):
    """A line of a panel: a peer under the heading of its K; the heading itself has no peer."""

    model: str
    n_classes: float
    peer: str = ""
    timed: str = ""


def peers(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Points with intervals: a panel for the exact sum and one for sampling, a line for each (K, peer)."""
    rows = peer_rows(frame)
    if not (rows["status"] == "ok").any():
        return None
    exact = rows["exact_sum"] == 1
    kinds = [kind for kind in KINDS if (exact == kind).any()]
    panels = [(KINDS[kind], rows[exact == kind]) for kind in kinds]
    lines = [_lines(own) for _, own in panels]
    most = max(map(len, lines))
    ok = rows[rows["status"] == "ok"]
    height = LINE + MORE * max(0, max(len(_points(own)) for _, own in panels) - 2)
    caption = (
        "Timed in pairs, the peer and gsbench in turn, in one process, from the same weights: median of the pairs' "
        f"ratios, bars: {text.interval_name(ok)} interval; right of the line gsbench is the faster. {timed_note(rows)} "
        f"{versions(ok)} {text.conditions(ok)}"
    )
    sheet = make_sheet(
        1, len(panels), title=TITLE, handles=look.handles(ok["estimator"], ok["series"], lines=False), caption=caption,
        panel=(3.3, height * most + 0.1), gaps=(AT_LEFT, 0.5), at_left=AT_LEFT, share={"sharex": True},
    )  # fmt: skip
    for ax, (kind, own), of_panel in zip(sheet.axes[0], panels, lines, strict=True):
        ax.set(title=f"gsbench: {kind}", xlabel="times as fast as the peer → faster", xscale="log")
        ax.axvline(1, color="#777777", linewidth=1)
        _draw_panel(ax, own, of_panel, look)
        _label_lines(ax, of_panel, most, several_models=rows["model"].nunique() > 1)
    _widen(sheet.axes[0, 0], ok)
    return Plot(TITLE, caption, sheet.figure)


def _lines(rows: pd.DataFrame) -> list[Line]:
    """From the top: for each (model, K) its heading and its peers, what is timed usually before the rest."""
    found = rows[["model", "n_classes", "baseline", "timed"]].drop_duplicates().itertuples(index=False, name=None)
    place = {name: i for i, name in enumerate(TIMED)}
    sorted_lines = sorted(
        (Line(*line) for line in found), key=lambda line: (*line[:2], place.get(line.timed, 9), line.peer)
    )
    lines = []
    for head, of_head in groupby(sorted_lines, key=lambda line: line[:2]):
        lines += [Line(*head), *of_head]
    return lines


def _draw_panel(ax: Axes, rows: pd.DataFrame, lines: list[Line], look: Look) -> None:
    """The points of each line, those of several estimators and series side by side within it."""
    drawn = _points(rows)
    shifts = (np.arange(len(drawn)) - (len(drawn) - 1) / 2) * min(0.28, 0.8 / max(1, len(drawn)))
    for y, line in enumerate(lines):
        own = _of_line(rows, line)
        there = own[own["status"] == "ok"]
        for (name, series), shift in zip(drawn, shifts, strict=True):
            _draw_point(ax, there[(there["estimator"] == name) & (there["series"] == series)], y + shift, look)
        if len(own) and there.empty:
            told = text.listed(dict.fromkeys(lost_name(row) for row in own.itertuples()))
            ax.text(
                0.98,
                y,
                told,
                transform=ax.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=7.5,
                color="#555555",
            )


def _points(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """The (estimator, series) that a line may have a point of, in their order."""
    ok = rows[rows["status"] == "ok"]
    found = set(zip(ok["estimator"], ok["series"], strict=True))
    series = dict.fromkeys(ok["series"])
    return [(name, one) for name in by_estimator(ok["estimator"]) for one in series if (name, one) in found]


def _draw_point(ax: Axes, rows: pd.DataFrame, y: float, look: Look) -> None:
    if rows.empty:
        return
    ratio, low, high = rows[["speedup", "speedup_low", "speedup_high"]].median()
    reach = np.clip(np.nan_to_num([[ratio - low], [high - ratio]]), 0, None)
    style = look.marker(rows["estimator"].iloc[0], rows["series"].iloc[0])
    peer, timed, k = rows[["baseline", "timed", "n_classes"]].iloc[0]
    style["label"] = f"{style['label']} beside {peer}, K = {k:,.0f}, {TIMED.get(timed, timed)}"
    ax.errorbar([ratio], [y], xerr=reach, linestyle="", **style)


def _of_line(rows: pd.DataFrame, line: Line) -> pd.DataFrame:
    at = (rows["model"] == line.model) & (rows["n_classes"] == line.n_classes)
    return rows[at & (rows["baseline"] == line.peer) & (rows["timed"] == line.timed)]


def _label_lines(ax: Axes, lines: list[Line], most: int, several_models: bool) -> None:
    """Names on the left, headings in bold; all panels have room for as many lines, from the top."""
    ax.set_ylim(most - 0.5, -0.7)
    ax.set_yticks(range(len(lines)))
    ax.set_yticklabels([printable(_label(line, several_models)) for line in lines])
    for tick, line in zip(ax.yaxis.get_major_ticks(), lines, strict=True):
        tick.tick1line.set_visible(bool(line.peer))
        tick.gridline.set_visible(bool(line.peer))
        tick.label1.set_fontweight("normal" if line.peer else "bold")


def _label(line: Line, several_models: bool) -> str:
    if not line.peer:
        model = f"{text.model_name(line.model)}, " if several_models else ""
        return f"{model}K = {line.n_classes:,.0f}"
    return line.peer if line.timed == USUAL else f"{line.peer}, {TIMED.get(line.timed, line.timed)}".rstrip(", ")


def _widen(ax: Axes, rows: pd.DataFrame) -> None:
    """Limits with room around all points and the line at 1."""
    ends = rows[["speedup", "speedup_low", "speedup_high"]]
    low, high = min(1.0, ends.min().min()), max(1.0, ends.max().max())
    room = max(1.1, (high / low) ** 0.06)
    ax.set_xlim(low / room, high * room)
    plain_log(ax.xaxis)
