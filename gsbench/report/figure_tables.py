"""The tables and the section that accompany figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from gsbench.report import text
from gsbench.report.accuracy import PANEL, equal_readouts
from gsbench.report.blocks import Block, Columns, Paragraph, Section, Table
from gsbench.report.drawing.styles import by_estimator, in_order
from gsbench.report.figures.speedup import HELD_AGAINST_JANG, JANG, jang
from gsbench.report.frame import measured
from gsbench.report.regression import case_label, of_benchmarks
from gsbench.report.roofline import roofline_rows

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
    "group": text.cell("group"),
    "case": case_label,
    "metric": lambda row: f"{row['metric']} ({row['timed']})" if row["metric"] == "speedup" else row["metric"],
    "run": text.cell("run"),
    "base": lambda row: f"{row['base']:.4g}",
    "new": lambda row: f"{row['new']:.4g}",
    "ratio": lambda row: f"{row['ratio']:.3g} ×",
    "interval": _reach,
    "verdict": text.cell("verdict"),
}


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
    "": text.cell("series"),
    "model": text.cell("model", text.model_name),
    "K": text.cell("n_classes"),
    "estimator": text.cell("estimator"),
    "timed": text.cell("timed"),
    "operations": _giga("operations", "GFLOP"),
    "time": text.cell("seconds", text.seconds, text.NOT_MEASURED),
    "per class": text.cell("per_class", text.seconds, text.NOT_MEASURED),
    "machine's peak": lambda row: (
        _giga("peak_operations_per_second", "GFLOP/s")(row) + text.cell("peak_product", " ({})".format)(row)
    ),
    "share of peak": _share,
}


def readouts_section(curves: pd.DataFrame) -> Section | None:
    """The accuracies at equal steps and at equal seconds; None without curves."""
    readouts = equal_readouts(curves)
    if readouts.empty:
        return None
    blocks: list[Block] = []
    for equal, write in (("step", text.plain), ("second", text.seconds)):
        blocks.append(Paragraph(f"At the largest {equal} that all estimators reached:"))
        blocks.append(_readout_table(readouts[readouts["equal"] == equal], write))
    note = "Labels-only is not counted: if it ended earlier, its last accuracy is shown. Several seeds: their mean."
    return Section("Accuracy at equal steps and at equal seconds", [*blocks, Paragraph(note)], "accurate")


def _readout_table(readouts: pd.DataFrame, write: Callable[[float], str]) -> Table:
    estimators = by_estimator(readouts["estimator"])
    rows = []
    for (series, model, task, k, at), own in readouts.groupby([*PANEL, "at"], sort=True, dropna=False):
        accuracies = dict(zip(own["estimator"], own["accuracy"], strict=True))
        cells = [text.measure(accuracies.get(name, float("nan")), text.percent) for name in estimators]
        rows.append([series, text.model_name(model), task, k, write(at), *cells])
    return Table(["", "model", "data", "K", "at", *estimators], rows).used()
