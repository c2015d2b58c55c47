"""What the size of a chunk of classes does to the streamed sum: its time and its memory."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gsbench.report import text
from gsbench.report.axes import class_axis, plain_log
from gsbench.report.class_figures import METERS
from gsbench.report.frame import measured
from gsbench.report.style import Look, Plot, make_sheet

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
STATE: dict[str, Any] = {"color": "#555555", "linestyle": ":", "linewidth": 1.2}


def chunk_sizes(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Speed beside the default chunk (left) and peak memory (right) against the chunk, a line for each K."""
    rows = measured(frame, "chunk", "chunk")
    rows = rows.assign(memory_bytes=rows["live_peak_bytes"].fillna(rows["device_peak_bytes"]))
    rows = rows[(rows["speedup"] > 0) | (rows["memory_bytes"] > 0)]
    if rows.empty:
        return None
    styles = _styles(rows["n_classes"], look)
    models = sorted(set(rows["model"]))
    title = "The size of a chunk of classes"
    meters = _meters(rows)
    caption = (
        "The streamed sum takes its gradients chunk by chunk. Speed: timed in pairs with the chunk chosen from the "
        f"sizes, in turn, in one process; median of the pairs' ratios, bars: {text.interval_name(rows)} interval. "
        f"Memory: peak of {meters} over one step{_state_note(rows)}. {text.conditions(rows)}"
    )
    sheet = make_sheet(
        len(models), 2, title=title, handles=_handles(rows, styles, look), caption=caption, gaps=(0.75, 0.5),
        share={"sharex": True, "sharey": "col"},
    )  # fmt: skip
    for (by_time, by_memory), model in zip(sheet.axes, models, strict=True):
        own = rows[rows["model"] == model]
        by_time.set(title=f"{text.model_name(model)}: speed", ylabel="times as fast as the default chunk")
        by_memory.set(title=f"{text.model_name(model)}: memory", ylabel=f"peak of {meters} (MiB)")
        by_time.axhline(1, color="#777777", linewidth=1)
        _draw_lines(by_time, own, styles, "speedup")
        _draw_lines(by_memory, own, styles, "memory_bytes", 1 / 2**20)
        _draw_state(by_memory, own, styles)
        for ax in (by_time, by_memory):
            class_axis(ax, rows["chunk"])
    for ax in sheet.axes[-1]:
        ax.set_xlabel("classes in a chunk")
    _scale(sheet.axes[0, 0], sheet.axes[0, 1], rows)
    return Plot(title, caption, sheet.figure)


def _meters(rows: pd.DataFrame) -> str:
    """`live arrays`; `device` on a GPU, where they are not counted one by one."""
    live = rows["live_peak_bytes"].notna()
    used = {"live_peak_bytes": live.any(), "device_peak_bytes": (rows["device_peak_bytes"].notna() & ~live).any()}
    return " or ".join(METERS[meter] for meter, there in used.items() if there) or METERS["live_peak_bytes"]


def _styles(counts: pd.Series, look: Look) -> dict[Any, dict[str, Any]]:
    """(K, series) → a colour, from dark to light as K grows, a marker, and the series' line and fill."""
    ks = sorted(set(counts))
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(ks)))
    return {
        (k, series): {"color": shade, "marker": MARKERS[i % len(MARKERS)], "linestyle": line, "fillstyle": fill}
        for i, (k, shade) in enumerate(zip(ks, shades, strict=True))
        for series, (line, fill) in look.series.items()
    }


def _handles(rows: pd.DataFrame, styles: dict[Any, dict[str, Any]], look: Look) -> list[Line2D]:
    """An entry for each K, for each series where there are several, and for the state."""
    first = next(iter(look.series))
    entries = [Line2D([], [], label=f"K = {k:,.0f}", **styles[k, first]) for k in sorted(set(rows["n_classes"]))]
    entries += look.handles([], rows["series"])
    if _has_state(rows):
        entries.append(Line2D([], [], label="parameters, gradients and moments", **STATE))
    return entries


def _draw_lines(
    ax: Axes, rows: pd.DataFrame, styles: dict[Any, dict[str, Any]], figure: str, scale: float = 1.0
) -> None:
    for (k, series), style in styles.items():
        own = rows[(rows["n_classes"] == k) & (rows["series"] == series) & (rows[figure] > 0)]
        if own.empty:
            continue
        points = own.groupby("chunk")[[figure, "speedup_low", "speedup_high"]].median()
        bars = None
        if figure == "speedup":
            reach = [points[figure] - points["speedup_low"], points["speedup_high"] - points[figure]]
            bars = np.clip(np.nan_to_num(np.array(reach)), 0, None)
        label = " · ".join(filter(None, [f"K = {k:,.0f}", series]))
        ax.errorbar(points.index, points[figure] * scale, yerr=bars, label=label, **style)


def _has_state(rows: pd.DataFrame) -> bool:
    return bool(((rows["state_bytes"] > 0) & (rows["memory_bytes"] > 0)).any())


def _state_note(rows: pd.DataFrame) -> str:
    return (
        "; the dotted line is what parameters, gradients and the optimiser's moments have of it, whatever the chunk"
        if _has_state(rows)
        else ""
    )


def _draw_state(ax: Axes, rows: pd.DataFrame, styles: dict[Any, dict[str, Any]]) -> None:
    """A dotted line for each K, in its colour, over the chunks that were measured there."""
    for (k, series), style in styles.items():
        own = rows[(rows["n_classes"] == k) & (rows["series"] == series) & (rows["state_bytes"] > 0)]
        if len(own):
            height = own["state_bytes"].median() / 2**20
            ends = [own["chunk"].min() / 1.1, own["chunk"].max() * 1.1]
            label = f"K = {k:,.0f}: parameters, gradients and moments"
            ax.plot(ends, [height, height], label=label, **{**STATE, "color": style["color"]})


def _scale(by_time: Axes, by_memory: Axes, rows: pd.DataFrame) -> None:
    """Memory is logarithmic; the ratio begins at 0, so that what costs little looks little."""
    by_time.set_ylim(0, 1.08 * max(1.0, rows[["speedup", "speedup_high"]].max().max()))
    if (rows["memory_bytes"] > 0).any():
        by_memory.set_yscale("log")
        plain_log(by_memory.yaxis)
