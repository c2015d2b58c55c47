"""The tables that accompany figures, and the table of all records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from gsbench.compare.table import case_label, of_benchmarks
from gsbench.records import text
from gsbench.records.frame import measured
from gsbench.records.order import in_order
from gsbench.report.blocks import Block, Columns, Paragraph, Table
from gsbench.report.figures.classes import roofline_rows
from gsbench.report.figures.speedup import HELD_AGAINST_JANG, JANG, jang
from gsbench.report.gradient_table import variance_text

ROOFLINE_NOTE = (
    "Operations: floating-point operations of the necessary matrix products, computed from the shapes of the split "
    "model. The machine's peak: the fastest matrix product measured in alternation with the case, and its shape."
)


def jang_table(frame: pd.DataFrame) -> list[Block]:
    """Our speed-ups of M2 on `synthetic` at the two K that Jang et al. published, beside their numbers."""
    rows = measured(frame, "speedup", "speedup")
    model, dataset = HELD_AGAINST_JANG
    rows = rows[(rows["model"] == model) & (rows["dataset"] == dataset) & (rows["timed"] == "step")]
    rows = rows[rows["n_classes"].isin(JANG)]
    medians = rows.groupby(["series", "n_classes", "estimator"])["speedup"].median()
    cells = [(series, k, name, text.times(ours), jang(k)) for (series, k, name), ours in medians.items()]
    headers = ["", "K", "estimator", "M2 on synthetic, here", "Jang et al., fig. 5"]
    return [Table(headers, cells).used()] if cells else []


def ratio_table(frame: pd.DataFrame) -> list[Block]:
    """All ratios between the first run and every other run."""
    table = of_benchmarks(frame)
    one = {"run": lambda row: ""} if table["run"].nunique() == 1 else {}
    return [Table.of({**RATIOS, **one}, table)]


def _reach(row: Any) -> str:
    return text.cell("ratio_low", lambda low: f"{low:.3g} to {row['ratio_high']:.3g}", text.NOT_MEASURED)(row)


RATIOS: Columns = {
    "group": text.cell("group"), "case": case_label,
    "metric": lambda row: f"{row['metric']} ({row['timed']})" if row["metric"] == "speedup" else row["metric"],
    "run": text.cell("run"), "base": lambda row: f"{row['base']:.4g}", "new": lambda row: f"{row['new']:.4g}",
    "ratio": lambda row: f"{row['ratio']:.3g} ×", "interval": _reach, "verdict": text.cell("verdict"),
}  # fmt: skip


def roofline_table(frame: pd.DataFrame) -> list[Block]:
    """The share of the peak and the numbers behind it, a line for each (model, K, estimator, `timed`)."""
    rows = in_order(roofline_rows(frame), ["series", "model", "n_classes", "estimator", "timed"])
    rows = rows.assign(per_class=rows["seconds"] / rows["n_classes"])
    return [Table.of(ROOFLINE, rows), Paragraph(ROOFLINE_NOTE)]


def _giga(field: str, unit: str) -> Callable[[Any], str]:
    return text.cell(field, lambda number: f"{text.three_digits(number / 1e9)} {unit}", text.NOT_MEASURED)


def _share(row: Any) -> str:
    ends = row["fraction_of_peak_low"], row["fraction_of_peak_high"]
    return text.percent(row["fraction_of_peak"]) + text.interval(*ends, lambda share: f"{100 * share:.1f}")


ROOFLINE: Columns = {
    "": text.cell("series"), "model": text.cell("model", text.model_name), "K": text.cell("n_classes"),
    "estimator": text.cell("estimator"), "timed": text.cell("timed"), "operations": _giga("operations", "GFLOP"),
    "time": text.cell("seconds", text.seconds, text.NOT_MEASURED),
    "per class": text.cell("per_class", text.seconds, text.NOT_MEASURED),
    "machine's peak": lambda row: (
        _giga("peak_operations_per_second", "GFLOP/s")(row) + text.cell("peak_product", " ({})".format)(row)
    ),
    "share of peak": _share,
}  # fmt: skip


def _seconds(row: dict[str, Any]) -> float:
    """The record's time: of a step, of the bound, or of a training run."""
    fields = ("step_seconds", "bound_seconds", "train_seconds", "candidate_seconds")
    return next((row[field] for field in fields if not pd.isna(row[field])), float("nan"))


def _variance(row: dict[str, Any]) -> str:
    """The variance of the logits' gradient. If draws of y show none, the cell says so: see `variance_text`."""
    nan = float("nan")
    return text.cell("logits_variance", lambda found: variance_text(found, nan, nan, row["gradient_draws"]))(row)


RECORDS: Columns = {
    "group": text.cell("group"), "model": text.cell("model", text.model_name), "K": text.cell("n_classes"),
    "estimator": text.cell("estimator"), "status": text.cell("status", text.status_name), "timed": text.cell("timed"),
    "against": text.cell("baseline"), "state": text.cell("state"),
    "time": lambda row: "" if pd.isna(_seconds(row)) else text.seconds(_seconds(row)),
    "speed-up": text.speedup, "peak memory": text.cell("peak_bytes", text.size),
    "steps": text.cell("step", lambda steps: f"{steps:,.0f}"),
    "accuracy": text.cell("validation_accuracy", text.percent),
    "bias² (logits)": text.cell("logits_squared_bias", text.three_digits), "variance (logits)": _variance,
    "data": text.cell("dataset"), "preset": text.cell("preset"), "batch": text.cell("batch"), "seed": text.cell("seed"),
    "run": text.cell("run"), "reason": text.cell("reason"),
}  # fmt: skip


def records_table(frame: pd.DataFrame) -> Table:
    """A table with a row for each record. Empty columns are left out."""
    return Table.of(RECORDS, frame, "All records")
