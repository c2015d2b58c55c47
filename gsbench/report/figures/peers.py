"""The speed of gsbench relative to formulations in use today: the figure, its table, and a short one for a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import LOST
from gsbench.records.order import in_order
from gsbench.report.blocks import Block, Columns, Paragraph, Table
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.forest import Forest
from gsbench.report.drawing.points import INTERVALS, interval
from gsbench.report.drawing.shapes import Metric
from gsbench.report.figures.metrics import PEER_SPEED

TITLE = "Compared with other formulations"
USUAL = "unlabelled-step"  # the figure's lines do not name this usual case of `timed`
# `timed` → its name, and what was timed.
TIMED = {
    USUAL: ("unlabelled step", "the unlabelled bound, forward and backward, and the optimiser's update"),
    "step": ("full step", "the full training step"),
    "bound": ("bound", "the unlabelled bound, forward and backward"),
}
KINDS = {True: "the exact sum", False: "sampling"}
KEY = ["column", "panel", "heading", "y", "kind", "estimator", "series"]
MEMORY_NOTE = (
    "Memory: the peak of a fresh process; in parentheses, its rise since the first step began, after libraries and "
    "model were loaded."
)


def _rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with ratios, and the cases that did not fit in memory, in the page's order."""
    rows = frame[(frame["group"] == "peer") & frame["status"].isin(["ok", *LOST])]
    rows = rows.dropna(subset=["estimator", "baseline", "model", "n_classes"])
    rows = rows[(rows["speedup"] > 0) | (rows["status"] != "ok")]
    rows = in_order(rows, ["series", "model", "n_classes", "estimator", "timed", "baseline"], timed=[*TIMED])
    return rows.assign(timed=rows["timed"].fillna(""))


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A panel for the exact sums and one for sampling; each (model, K) has a heading and a line for each peer."""
    several = rows["model"].nunique() > 1
    is_sum = rows["exact_sum"] == 1
    points = rows.assign(
        panel="gsbench: " + is_sum.map(KINDS), column=(~is_sum).astype(int),
        heading=[f"{f'{text.model_name(m)}, ' if several else ''}K = {k:,.0f}"
                 for m, k in zip(rows["model"], rows["n_classes"], strict=True)],
        y=[_line(*row) for row in zip(rows["baseline"], rows["timed"], strict=True)],
        kind=["" if row["status"] == "ok" else _lost(row) for row in rows.to_dict("records")],
        **interval(rows, "speedup", "x"),
    )  # fmt: skip
    points = in_order(points, ["model", "n_classes", "timed", "baseline"], timed=[*TIMED])
    medians = points.groupby(KEY, sort=False, as_index=False)[[*INTERVALS["x"]]].median()
    return medians.assign(row=0, note=medians["kind"])


def _line(peer: str, timed: str) -> str:
    return peer if timed == USUAL else f"{peer}, {_timed(timed)}".rstrip(", ")


def _timed(timed: str) -> str:
    return TIMED[timed][0] if timed in TIMED else timed


def _lost(row: Any) -> str:
    """The status of a pair without a ratio: `out of memory`, or `gsbench: out of memory` if gsbench's half failed."""
    ours = str(row["reason"]).startswith(("gsbench", row["estimator"]))
    return f"{'gsbench: ' if ours else ''}{text.status_name(row['status'])}"


def _caption(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    ok = rows[rows["status"] == "ok"]
    return (
        "Timed in pairs, the peer and gsbench alternating in one process, from equal weights: median of the pairs' "
        f"ratios, bars: {text.interval_name(ok)} interval; right of the line gsbench is faster. {_timed_note(rows)} "
        f"{versions(ok)}"
    )


def _timed_note(rows: pd.DataFrame) -> str:
    """A note on what was timed: `Unlabelled step: the unlabelled bound, …. Full step: ….`"""
    told = [about for timed, about in TIMED.items() if timed in set(rows["timed"])]
    return " ".join(f"{name[0].upper()}{name[1:]}: {what}." for name, what in told)


def versions(rows: pd.DataFrame) -> str:
    """`Chainer 7.8.1, PyTorch 2.13.0, Pyro 1.9.1.` and their libraries for matrix products, if recorded."""
    fields = {"chainer_version": "Chainer", "torch_version": "PyTorch", "pyro_version": "Pyro", "jax_version": "JAX"}
    found = {name: text.values(rows, field) for field, name in fields.items()}
    named = ", ".join(f"{name} {text.listed(versions)}" for name, versions in found.items() if versions)
    return " ".join(f"{sentence}." for sentence in (named, _products(rows)) if sentence)


def _products(rows: pd.DataFrame) -> str:
    """`Matrix products: openblas 0.3.21, 2 threads (gsbench, Chainer); mkl 2024.2, 2 threads (PyTorch)`.

    "" if no peer records its library. Rows of a GPU do not count, because these libraries do not compute there.
    """
    rows = rows[rows["device"] == "cpu"]
    theirs = rows[rows["baseline_blas"].notna() | rows["torch_threads"].notna()]
    if theirs.empty:
        return ""
    ours = _library(rows, "machine_blas", "threads")
    return f"Matrix products: {ours} (gsbench, Chainer); {_library(theirs, 'baseline_blas', 'torch_threads')} (PyTorch)"


def _library(rows: pd.DataFrame, blas: str, threads: str) -> str:
    """`mkl 2024.2, 2 threads`."""
    counts = text.values(rows, threads)
    many = [f"{text.listed(counts)} thread{'' if counts == [1] else 's'}"] if counts else []
    return ", ".join([text.listed(text.values(rows, blas) or ["an unnamed library"]), *many])


def _table(frame: pd.DataFrame) -> list[Block]:
    """The whole table, and a note on its columns."""
    rows = _rows(frame)
    memory = MEMORY_NOTE if rows["baseline_process_peak_bytes"].notna().any() else ""
    note = " ".join(filter(None, [_timed_note(rows), memory, versions(rows)]))
    return [Table.of(COLUMNS, rows), Paragraph(note)]


def peer_ratios(frame: pd.DataFrame) -> list[Table]:
    """The ratios alone, for a terminal: one table with a column for each peer; none if no peer was timed."""
    rows = _rows(frame)
    if rows.empty:
        return []
    peers = sorted(set(rows["baseline"]))
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows.to_dict("records"):
        series, k, estimator, peer, timed, ratio = (write(row) for write in [*COLUMNS.values()][:6])
        lines.setdefault((series, k, estimator, timed), {})[peer] = ratio
    cells = [[*key, *(ratios.get(peer, text.NOT_MEASURED) for peer in peers)] for key, ratios in lines.items()]
    title = f"{TITLE}: how many times as fast as each of them"
    return [Table(["", "K", "gsbench", "timed", *peers], cells, title, keys=4).used()]


def _memory(side: str) -> Callable[[Any], str]:
    """`931 MiB (520 MiB)`: the peak of a side, and its rise since the start."""

    def write(row: Any) -> str:
        peak, start = row[f"{side}process_peak_bytes"], row[f"{side}process_start_bytes"]
        above = "" if pd.isna(start) else f" ({text.size(max(0.0, peak - start))})"
        return "" if pd.isna(peak) else f"{text.size(peak)}{above}"

    return write


COLUMNS: Columns = {
    "": text.cell("series"), "K": text.cell("n_classes"), "gsbench": text.cell("estimator"),
    "peer": text.cell("baseline"), "timed": lambda row: _timed(row["timed"]),
    "times as fast": lambda row: text.speedup(row) if row["status"] == "ok" else _lost(row),
    "peer's time": text.cell("baseline_seconds", text.seconds),
    "gsbench's time": text.cell("candidate_seconds", text.seconds), "peer's memory": _memory("baseline_"),
    "gsbench's memory": _memory(""),
}  # fmt: skip
FIGURES = (
    Figure(
        60, "peers", "whom", "peer", TITLE, rows=lambda frame, _: _rows(frame), points=_points,
        shape=Forest(PEER_SPEED.with_direction(), Metric("peer"), panel=(3.3, 0), share={"sharex": True}),
        caption=_caption, missed="if its group was measured", table=_table,
    ),
)  # fmt: skip
