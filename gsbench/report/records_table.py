"""All the records as one table of the columns that a reader wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from gsbench.report import text
from gsbench.report.blocks import Table
from gsbench.report.gradient_table import variance_text

TITLE = "All records"


def _seconds(row: dict[str, Any]) -> float:
    """Of what the record is about: of a step, of the bound, of a training run."""
    fields = ("step_seconds", "bound_seconds", "train_seconds", "candidate_seconds")
    return next((row[field] for field in fields if not pd.isna(row[field])), float("nan"))


def _speedup(row: dict[str, Any]) -> str:
    if pd.isna(row["speedup"]):
        return ""
    return f"{text.times(row['speedup'])}{text.interval(row['speedup_low'], row['speedup_high'])}"


def _written(field: str, write: Callable[[Any], str]) -> Callable[[dict[str, Any]], str]:
    return lambda row: "" if row[field] is None or pd.isna(row[field]) else write(row[field])


def _variance(row: dict[str, Any]) -> str:
    """Of what draws y, no variance is one that was not seen."""
    found = row["logits_variance"]
    nan = float("nan")
    return "" if found is None or pd.isna(found) else variance_text(found, nan, nan, row["gradient_draws"])


# The columns: (header, how the cell of a record is written); "" where it has nothing there.
COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "group": _written("group", str),
    "model": _written("model", text.model_name),
    "K": _written("n_classes", text.plain),
    "estimator": _written("estimator", str),
    "status": _written("status", text.status_name),
    "timed": _written("timed", str),
    "against": _written("baseline", str),
    "state": _written("state", str),
    "time": lambda row: "" if pd.isna(_seconds(row)) else text.seconds(_seconds(row)),
    "speed-up": _speedup,
    "peak memory": _written("peak_bytes", text.size),
    "steps": _written("step", lambda steps: f"{steps:,.0f}"),
    "accuracy": _written("validation_accuracy", text.percent),
    "bias² (logits)": _written("logits_squared_bias", text.three_digits),
    "variance (logits)": _variance,
    "data": _written("dataset", str),
    "preset": _written("preset", str),
    "batch": _written("batch", text.plain),
    "seed": _written("seed", text.plain),
    "run": _written("run", str),
    "reason": _written("reason", str),
}


def records_table(frame: pd.DataFrame) -> Table:
    """A row a record, without the columns in which no record has anything."""
    rows = [[write(row) for write in COLUMNS.values()] for row in frame.to_dict("records")]
    return Table([*COLUMNS], rows, TITLE).used()
