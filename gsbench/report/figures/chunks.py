"""The effect of the chunk size, in classes, on the streamed sum's time and memory."""

from __future__ import annotations

import itertools
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from gsbench.records import text
from gsbench.records.frame import measured
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.points import interval
from gsbench.report.drawing.shapes import AgainstNumber
from gsbench.report.drawing.styles import GREY, Look
from gsbench.report.figures.classes import METERS, medians
from gsbench.report.figures.metrics import CHUNK, CHUNK_SPEED, MEMORY

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
STATE = "parameters, gradients and moments"
STATE_STYLE: dict[str, Any] = {"color": GREY, "linestyle": ":", "linewidth": 1.2}


def _rows(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    rows = measured(frame, "chunk", "chunk")
    rows = rows.assign(memory_bytes=rows["live_peak_bytes"].fillna(rows["device_peak_bytes"]))
    return rows[(rows["speedup"] > 0) | (rows["memory_bytes"] > 0)]


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """Speed relative to the default chunk (left) and peak memory (right) against the chunk size, a line for each K."""
    names = rows["n_classes"].map(lambda k: f"K = {k:,.0f}")
    common = rows.assign(estimator=names, x=rows["chunk"], row=rows["model"], kind="")
    title = rows["model"].map(text.model_name)
    speed = common.assign(
        panel=title + ": speed", column=0, y_axis=CHUNK_SPEED, **interval(rows.where(rows["speedup"] > 0), "speedup")
    )
    peak_of = MEMORY.named(f"peak of {_meters(rows)} (MiB)")
    memory = common.assign(panel=title + ": memory", column=1, y_axis=peak_of, low=np.nan, high=np.nan)
    peak = memory.assign(y=(rows["memory_bytes"] / 2**20).where(rows["memory_bytes"] > 0))
    state = memory.assign(y=rows["state_bytes"] / 2**20, kind=STATE)[rows["state_bytes"] > 0]
    height = state.groupby(["row", "estimator", "series"])["y"].transform("median")
    return medians(pd.concat([speed.dropna(subset=["y"]), peak.dropna(subset=["y"]), state.assign(y=height)]))


def _meters(rows: pd.DataFrame) -> str:
    """`live arrays`, or `device` on a GPU, because live arrays are not counted there."""
    live = rows["live_peak_bytes"].notna()
    used = {"live_peak_bytes": live.any(), "device_peak_bytes": (rows["device_peak_bytes"].notna() & ~live).any()}
    return " or ".join(METERS[meter] for meter, there in used.items() if there) or METERS["live_peak_bytes"]


def _look(points: pd.DataFrame, look: Look) -> Look:
    """A colour and a marker for each K. Larger K are lighter."""
    names = sorted(set(points["estimator"]), key=lambda name: (len(name), name))
    shades = map(to_hex, matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(names))))
    return Look(dict(zip(names, zip(shades, itertools.cycle(MARKERS), strict=False), strict=True)), look.series)


def _caption(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    state = (
        "; the dotted line is the part of parameters, gradients and the optimiser's moments, equal for all chunks"
        if (points["kind"] == STATE).any()
        else ""
    )
    return (
        "The streamed sum takes its gradients chunk by chunk. Speed: timed in pairs with the default chunk size, "
        f"alternating in one process; median of the pairs' ratios, bars: {text.interval_name(rows)} interval. "
        f"Memory: peak of {_meters(rows)} over one step{state}."
    )


FIGURES = (
    Figure(
        90, "chunk_sizes", "fast", "chunk", "The size of a chunk of classes", rows=_rows, points=_points,
        shape=AgainstNumber(
            CHUNK, CHUNK_SPEED, gaps=(0.75, 0.5), share={"sharex": True}, kinds={STATE: STATE_STYLE}
        ),
        caption=_caption, look=_look, missed="if its group was measured",
    ),
)  # fmt: skip
