"""The tables that follow figures, and what else stands at a figure's place."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from gsbench.report import text
from gsbench.report.accuracy import PANEL, equal_readouts
from gsbench.report.blocks import Block, Paragraph, Section, Table
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.frame import measured
from gsbench.report.regression_figure import case_label, of_benchmarks
from gsbench.report.roofline_figure import roofline_rows
from gsbench.report.speedup_figure import HELD_AGAINST_JANG, JANG, jang

ROOFLINE = ("", "model", "K", "estimator", "timed", "operations", "time", "per class", "machine's peak", "share of it")
ROOFLINE_NOTE = (
    "Operations: the floating-point operations of the matrix products that must be done, reckoned from the shapes of "
    "the split model. The machine's peak: the best matrix product measured in turn with the case, and its shape."
)
RATIOS = ("group", "case", "metric", "run", "base", "new", "ratio", "interval", "verdict")


def jang_table(frame: pd.DataFrame) -> list[Block]:
    """Our figures at the two K of Jang et al., where M2 on `synthetic` was measured there."""
    rows = measured(frame, "speedup", "speedup")
    model, dataset = HELD_AGAINST_JANG
    rows = rows[(rows["model"] == model) & (rows["dataset"] == dataset) & (rows["timed"] == "step")]
    rows = rows[rows["n_classes"].isin(JANG)]
    medians = rows.groupby(["series", "n_classes", "estimator"])["speedup"].median()
    cells = [(series, k, name, text.times(ours), jang(k)) for (series, k, name), ours in medians.items()]
    headers = ["", "K", "estimator", "M2 on synthetic, here", "Jang et al., fig. 5"]
    return [Table(headers, cells).used()] if cells else []


def ratio_table(frame: pd.DataFrame) -> list[Block]:
    """Every run held against the first: all of the ratios."""
    table = of_benchmarks(frame)
    several = table["run"].nunique() > 1
    rows = [
        [
            row["group"], case_label(row), f"{row['metric']} ({row['timed']})" if row["metric"] == "speedup" else
            row["metric"], row["run"] if several else "", f"{row['base']:.4g}", f"{row['new']:.4g}",
            f"{row['ratio']:.3g} ×",
            text.NOT_MEASURED if pd.isna(row["ratio_low"]) else f"{row['ratio_low']:.3g} to {row['ratio_high']:.3g}",
            row["verdict"],
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    return [Table(RATIOS, rows).used()]


def roofline_table(frame: pd.DataFrame) -> list[Block]:
    """The share of the peak and what it is made of, a line for each (model, K, estimator, thing timed)."""
    rows = roofline_rows(frame)
    order = {name: i for i, name in enumerate(by_estimator(rows["estimator"]))}
    rows = rows.assign(order=rows["estimator"].map(order)).sort_values(
        ["series", "model", "n_classes", "order", "timed"], kind="stable"
    )
    cells = [
        (
            row.series, text.model_name(row.model), row.n_classes, row.estimator, row.timed,
            _giga(row.operations, "GFLOP"), text.measure(row.seconds, text.seconds),
            text.measure(row.seconds / row.n_classes, text.seconds), _peak(row),
            text.percent(row.fraction_of_peak)
            + text.interval(row.fraction_of_peak_low, row.fraction_of_peak_high, lambda share: f"{100 * share:.1f}"),
        )
        for row in rows.itertuples()
    ]  # fmt: skip
    return [Table(ROOFLINE, cells).used(), Paragraph(ROOFLINE_NOTE)]


def _giga(value: float, unit: str) -> str:
    return text.measure(value, lambda number: f"{text.three_digits(number / 1e9)} {unit}")


def _peak(row: pd.Series) -> str:
    product = "" if pd.isna(row.peak_product) else f" ({row.peak_product})"
    return f"{_giga(row.peak_operations_per_second, 'GFLOP/s')}{product}"


def readouts_section(curves: pd.DataFrame) -> Section | None:
    """The accuracies at equal steps and at equal seconds; None where there are no curves."""
    readouts = equal_readouts(curves)
    if readouts.empty:
        return None
    blocks: list[Block] = []
    for equal, write in (("step", text.plain), ("second", text.seconds)):
        blocks.append(Paragraph(f"At the largest {equal} that all reached:"))
        blocks.append(_readout_table(readouts[readouts["equal"] == equal], write))
    note = "Labels-only bounds neither: where it ended sooner, its last stands. Several seeds: their mean."
    return Section("Accuracy at equal steps and at equal seconds", [*blocks, Paragraph(note)], "accurate")


def _readout_table(readouts: pd.DataFrame, write: Callable[[float], str]) -> Table:
    estimators = by_estimator(readouts["estimator"])
    rows = []
    for (series, model, task, k, at), own in readouts.groupby([*PANEL, "at"], sort=True, dropna=False):
        accuracies = dict(zip(own["estimator"], own["accuracy"], strict=True))
        cells = [text.measure(accuracies.get(name, float("nan")), text.percent) for name in estimators]
        rows.append([series, text.model_name(model), task, k, write(at), *cells])
    return Table(["", "model", "data", "K", "at", *estimators], rows).used()
