"""How much of the machine's own matrix-product peak each case reaches: the table."""

from __future__ import annotations

import pandas as pd

from gsbench.report import text
from gsbench.report.drawing.styles import by_estimator
from gsbench.report.frame import measured

PANELS = {"bound": "unlabelled bound", "step": "full training step"}
HEADERS = ("", "model", "K", "estimator", "timed", "operations", "time", "per class", "machine's peak", "share of it")
NOTE = (
    "Operations: the floating-point operations of the matrix products that must be done, reckoned from the shapes of "
    "the split model. The machine's peak: the best matrix product measured in turn with the case, and its shape."
)


def roofline_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of group "roofline" that have a share, with `seconds`, the time of what each timed."""
    rows = measured(frame, "roofline", "fraction_of_peak", "timed")
    rows = rows[(rows["fraction_of_peak"] > 0) & rows["timed"].isin(PANELS)]
    return rows.assign(seconds=rows["bound_seconds"].where(rows["timed"] == "bound", rows["step_seconds"]))


def roofline_table(frame: pd.DataFrame) -> str:
    """The figure's values and what they are made of, a line for each (model, K, estimator, thing timed)."""
    rows = roofline_rows(frame)
    order = {name: i for i, name in enumerate(by_estimator(rows["estimator"]))}
    rows = rows.assign(order=rows["estimator"].map(order)).sort_values(
        ["series", "model", "n_classes", "order", "timed"], kind="stable"
    )
    cells = [
        (
            row.series, text.model_name(row.model), text.plain(row.n_classes), row.estimator, row.timed,
            _giga(row.operations, "GFLOP"), text.measure(row.seconds, text.seconds),
            text.measure(row.seconds / row.n_classes, text.seconds), _peak(row),
            text.percent(row.fraction_of_peak)
            + text.interval(row.fraction_of_peak_low, row.fraction_of_peak_high, lambda share: f"{100 * share:.1f}"),
        )
        for row in rows.itertuples()
    ]  # fmt: skip
    return f"{text.table_of_used(HEADERS, cells)}\n\n{NOTE}" if cells else ""


def _giga(value: float, unit: str) -> str:
    return text.measure(value, lambda number: f"{text.three_digits(number / 1e9)} {unit}")


def _peak(row: pd.Series) -> str:
    product = "" if pd.isna(row.peak_product) else f" ({row.peak_product})"
    return f"{_giga(row.peak_operations_per_second, 'GFLOP/s')}{product}"
