"""The table of all records."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.report.blocks import Columns, Table
from gsbench.report.gradient_table import variance_text


def _seconds(row: dict[str, Any]) -> float:
    """The record's time: of a step, of the bound, or of a training run."""
    fields = ("step_seconds", "bound_seconds", "train_seconds", "candidate_seconds")
    return next((row[field] for field in fields if not pd.isna(row[field])), float("nan"))


def _variance(row: dict[str, Any]) -> str:
    """The variance of the logits' gradient. If draws of y show none, the cell says so: see `variance_text`."""
    return text.cell("logits_variance", lambda found: variance_text(found, row["gradient_draws"]))(row)


RECORDS: Columns = {
    "group": text.cell("group"), "model": text.cell("model", text.model_name), "K": text.cell("n_classes"),
    "estimator": text.cell("estimator"), "status": text.cell("status", text.status_name), "timed": text.cell("timed"),
    "against": text.cell("baseline"), "state": text.cell("state"),
    "time": lambda row: "" if pd.isna(_seconds(row)) else text.seconds(_seconds(row)),
    "speed-up": text.speedup, "peak memory": text.cell("peak_bytes", text.size),
    "steps": text.cell("step", "{:,.0f}".format),
    "accuracy": text.cell("validation_accuracy", text.percent),
    "bias² (logits)": text.cell("logits_squared_bias", text.three_digits), "variance (logits)": _variance,
    "data": text.cell("dataset"), "preset": text.cell("preset"), "batch": text.cell("batch"), "seed": text.cell("seed"),
    "run": text.cell("run"), "reason": text.cell("reason"),
}  # fmt: skip


def records_table(frame: pd.DataFrame) -> Table:
    """A table with a row for each record. Empty columns are left out."""
    return Table.of(RECORDS, frame, "All records")
