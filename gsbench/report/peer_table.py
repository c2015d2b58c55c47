"""Tables that compare gsbench with formulations in use today: complete on the page, short in the terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import LOST
from gsbench.records.order import in_order
from gsbench.report.blocks import Block, Columns, Paragraph, Table

TITLE = "Compared with other formulations"
TIMED = {"unlabelled-step": "unlabelled step", "step": "full step", "bound": "bound"}
TIMED_NOTES = {
    "unlabelled-step": "the unlabelled bound, forward and backward, and the optimiser's update",
    "step": "the full training step",
    "bound": "the unlabelled bound, forward and backward",
}
MEMORY_NOTE = (
    "Memory: the peak of a fresh process; in parentheses, its rise since the first step began, after libraries and "
    "model were loaded."
)


def peer_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with ratios, and the cases that did not fit in memory, in the page's order."""
    rows = frame[(frame["group"] == "peer") & frame["status"].isin(["ok", *LOST])]
    rows = rows.dropna(subset=["estimator", "baseline", "model", "n_classes"])
    rows = rows[(rows["speedup"] > 0) | (rows["status"] != "ok")]
    rows = in_order(rows, ["series", "model", "n_classes", "estimator", "timed", "baseline"], timed=[*TIMED])
    return rows.assign(timed=rows["timed"].fillna(""))


def timed_note(rows: pd.DataFrame) -> str:
    """A note on what was timed: `Unlabelled step: the unlabelled bound, …. Full step: ….`"""
    notes = [
        f"{name[0].upper()}{name[1:]}: {TIMED_NOTES[key]}." for key, name in TIMED.items() if key in set(rows["timed"])
    ]
    return " ".join(notes)


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


def peer_table(frame: pd.DataFrame) -> list[Block]:
    """The whole table, and a note on its columns."""
    rows = peer_rows(frame)
    memory = MEMORY_NOTE if rows["baseline_process_peak_bytes"].notna().any() else ""
    note = " ".join(filter(None, [timed_note(rows), memory, versions(rows)]))
    return [Table.of(PEER_COLUMNS, rows), Paragraph(note)]


def peer_ratios(frame: pd.DataFrame) -> list[Table]:
    """The ratios alone, for a terminal: one table with a column for each peer; none if no peer was timed."""
    rows = peer_rows(frame)
    if rows.empty:
        return []
    peers = sorted(set(rows["baseline"]))
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows.to_dict("records"):
        series, k, estimator, peer, timed, ratio = (write(row) for write in [*PEER_COLUMNS.values()][:6])
        lines.setdefault((series, k, estimator, timed), {})[peer] = ratio
    cells = [[*key, *(ratios.get(peer, text.NOT_MEASURED) for peer in peers)] for key, ratios in lines.items()]
    title = f"{TITLE}: how many times as fast as each of them"
    return [Table(["", "K", "gsbench", "timed", *peers], cells, title).used()]


def lost_name(row: Any) -> str:
    """The status of a pair without a ratio: `out of memory`, or `gsbench: out of memory` if gsbench's half failed."""
    ours = str(row.reason).startswith(("gsbench", row.estimator))
    return f"{'gsbench: ' if ours else ''}{text.status_name(row.status)}"


def _memory(side: str) -> Callable[[Any], str]:
    """`931 MiB (520 MiB)`: the peak of a side, and its rise since the start."""

    def write(row: Any) -> str:
        peak, start = row[f"{side}process_peak_bytes"], row[f"{side}process_start_bytes"]
        above = "" if pd.isna(start) else f" ({text.size(max(0.0, peak - start))})"
        return "" if pd.isna(peak) else f"{text.size(peak)}{above}"

    return write


PEER_COLUMNS: Columns = {
    "": text.cell("series"), "K": text.cell("n_classes"), "gsbench": text.cell("estimator"),
    "peer": text.cell("baseline"),
    "timed": lambda row: TIMED.get(row["timed"], row["timed"]),
    "times as fast": lambda row: text.speedup(row) if row["status"] == "ok" else lost_name(pd.Series(row)),
    "peer's time": text.cell("baseline_seconds", text.seconds),
    "gsbench's time": text.cell("candidate_seconds", text.seconds), "peer's memory": _memory("baseline_"),
    "gsbench's memory": _memory(""),
}  # fmt: skip
