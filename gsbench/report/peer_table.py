"""gsbench beside the formulations that people use today, as tables: whole on the page, short in the terminal."""

from __future__ import annotations

from typing import Any

import pandas as pd
from tabulate import tabulate

from gsbench.report import text
from gsbench.report.drawing.styles import by_estimator
from gsbench.report.frame import LOST
from gsbench.shown import visible

TITLE = "Beside other formulations"
TIMED = {"unlabelled-step": "unlabelled step", "step": "full step", "bound": "bound"}
TIMED_NOTES = {
    "unlabelled-step": "the unlabelled bound, forward and backward, and the optimiser's update",
    "step": "the full training step",
    "bound": "the unlabelled bound, forward and backward",
}
HEADERS = (
    "", "K", "gsbench", "peer", "timed", "times as fast", "peer's time", "gsbench's time", "peer's memory",
    "gsbench's memory",
)  # fmt: skip
MEMORY_NOTE = (
    "Memory: the peak of a fresh process, in parentheses what of it came on top of libraries and model, once the first "
    "step began."
)


def peer_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The ratios, and the cases that did not fit in memory, in the order of the page."""
    rows = frame[(frame["group"] == "peer") & frame["status"].isin(["ok", *LOST])]
    rows = rows.dropna(subset=["estimator", "baseline", "model", "n_classes"])
    rows = rows[(rows["speedup"] > 0) | (rows["status"] != "ok")]
    order = {name: i for i, name in enumerate([*by_estimator(rows["estimator"]), *TIMED])}
    rows = rows.assign(order=rows["estimator"].map(order), place=rows["timed"].map(order))
    rows = rows.assign(timed=rows["timed"].fillna(""))
    return rows.sort_values(["series", "model", "n_classes", "order", "place", "baseline"], kind="stable")


def timed_note(rows: pd.DataFrame) -> str:
    """What was timed: `Unlabelled step: the unlabelled bound, …. Full step: ….`"""
    notes = [
        f"{name[0].upper()}{name[1:]}: {TIMED_NOTES[key]}." for key, name in TIMED.items() if key in set(rows["timed"])
    ]
    return " ".join(notes)


def versions(rows: pd.DataFrame) -> str:
    """`Chainer 7.8.1, PyTorch 2.13.0, Pyro 1.9.1.` and what computes their products, as far as the records say."""
    fields = {"chainer_version": "Chainer", "torch_version": "PyTorch", "pyro_version": "Pyro"}
    found = {name: text.values(rows, field) for field, name in fields.items()}
    named = ", ".join(f"{name} {text.listed(versions)}" for name, versions in found.items() if versions)
    return " ".join(f"{sentence}." for sentence in (named, _products(rows)) if sentence)


def _products(rows: pd.DataFrame) -> str:
    """`Matrix products: openblas 0.3.21, 2 threads (gsbench, Chainer); mkl 2024.2, 2 threads (PyTorch)`.

    "" where no peer says what computes its own; on a GPU none of these libraries does.
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


def peer_table(frame: pd.DataFrame) -> str:
    """The whole table in Markdown, with what its columns mean."""
    rows = peer_rows(frame)
    if rows.empty:
        return ""
    memory = MEMORY_NOTE if rows["baseline_process_peak_bytes"].notna().any() else ""
    notes = [timed_note(rows), memory, versions(rows)]
    note = text.markdown_cell(" ".join(note for note in notes if note))
    cells = [[*_head(row), *_seconds(row), *_memories(row)] for row in rows.itertuples()]
    return f"{text.table_of_used(HEADERS, cells)}\n\n{note}"


def peer_text(frame: pd.DataFrame) -> str:
    """The ratios alone as plain text for a terminal, a column for each peer; "" where no peer was timed."""
    rows = peer_rows(frame)
    if rows.empty:
        return ""
    peers = sorted(set(rows["baseline"]))
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows.itertuples():
        series, k, estimator, peer, timed, ratio = _head(row)
        lines.setdefault((series, k, estimator, timed), {})[peer] = ratio
    cells = [[*key, *(ratios.get(peer, text.NOT_MEASURED) for peer in peers)] for key, ratios in lines.items()]
    headers, cells = text.used_columns(["", "K", "gsbench", "timed", *peers], cells)
    written = [[visible(cell) for cell in row] for row in [headers, *cells]]
    table = tabulate(written[1:], headers=written[0], tablefmt="simple", disable_numparse=True)
    return f"{TITLE}: how many times as fast as each of them\n{table}"


def lost_name(row: Any) -> str:
    """What became of a pair without a ratio: `out of memory`, or `gsbench: out of memory` where gsbench's half did."""
    ours = str(row.reason).startswith(("gsbench", row.estimator))
    return f"{'gsbench: ' if ours else ''}{text.status_name(row.status)}"


def _head(row: Any) -> list[str]:
    ratio = f"{text.measure(row.speedup, text.times)}{text.interval(row.speedup_low, row.speedup_high)}"
    told = ratio if row.status == "ok" else lost_name(row)
    return [row.series, text.plain(row.n_classes), row.estimator, row.baseline, TIMED.get(row.timed, row.timed), told]


def _seconds(row: Any) -> list[str]:
    both = (row.baseline_seconds, row.candidate_seconds)
    return ["" if pd.isna(seconds) else text.seconds(seconds) for seconds in both]


def _memories(row: Any) -> list[str]:
    return [
        _memory(row.baseline_process_peak_bytes, row.baseline_process_start_bytes),
        _memory(row.process_peak_bytes, row.process_start_bytes),
    ]


def _memory(peak: float, start: float) -> str:
    """`931 MiB (520 MiB)`: the peak, and what of it is above the start."""
    if pd.isna(peak):
        return ""
    return text.size(peak) if pd.isna(start) else f"{text.size(peak)} ({text.size(max(0.0, peak - start))})"
