"""The ratios of a comparison, with their intervals, for each case."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd

from gsbench.compare.intervals import CANNOT_TELL, METRICS
from gsbench.compare.table import case_label, of_benchmarks
from gsbench.records import text
from gsbench.report.blocks import Block, Columns, Table
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.forest import Forest
from gsbench.report.drawing.shapes import Metric
from gsbench.report.drawing.styles import Look
from gsbench.report.figures.metrics import RATIO

SHOWN = ("step_seconds", "bound_seconds", "speedup", "peak_bytes", "test_accuracy", "validation_accuracy")
GROUPS = ("step", "bound", "speedup", "memory", "training")
MOST = 40  # most cases that are legible
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")
MARKERS = ("o", "s", "^", "D", "v")


def _drawn(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the figure shows. Ratios must be positive and finite, because the axis is logarithmic."""
    fits = (table["ratio"] > 0) & (table["ratio"] < np.inf)
    return table[table["metric"].isin(SHOWN) & table["group"].isin(GROUPS) & fits]


def _points(table: pd.DataFrame) -> pd.DataFrame:
    """A panel for each (metric, `timed`), a line for each case, a point for each run; the cases furthest from 1."""
    rows = _drawn(table).reset_index(drop=True)
    timed = rows["timed"].where(rows["metric"] == "speedup", "")
    axes = {m: RATIO.named(f"← {METRICS[m].smaller}   ratio   {METRICS[m].larger} →") for m in set(rows["metric"])}
    points = rows.assign(
        panel=rows["metric"] + timed.map(lambda what: f" ({what})" if what else ""), row=0,
        column=[(SHOWN.index(metric), what) for metric, what in zip(rows["metric"], timed, strict=True)],
        estimator=rows["run"], y=[case_label(row) for row in rows.to_dict("records")], x=rows["ratio"].astype(float),
        x_low=rows["ratio_low"].astype(float), x_high=rows["ratio_high"].astype(float),
        x_axis=rows["metric"].map(axes), pale=rows["verdict"] == CANNOT_TELL,
    )  # fmt: skip
    furthest = np.log(points["x"]).abs().groupby(points["y"]).max().sort_values(kind="stable")
    return points[points["y"].isin(furthest.index[-MOST:])]


def _look(points: pd.DataFrame, _: Look) -> Look:
    runs = dict.fromkeys(points["estimator"])
    return Look({run: (COLOURS[i % 5], MARKERS[i % 5]) for i, run in enumerate(runs)}, {"": ("-", "full")})


def _title(table: pd.DataFrame) -> str:
    return textwrap.fill(f"Ratio to {table['base_run'].iloc[0]}, by case", 110)


def _caption(table: pd.DataFrame, _: pd.DataFrame) -> str:
    rows = _drawn(table)
    caption = (
        "Ratio of the new figure to the base's, with the interval that the records support; a point without a bar "
        "has one reading and no interval. Runs are not paired, so intervals of times include the spread between "
        "sessions. Speed-ups were measured in pairs in each run, so that other programs hardly disturb them."
    )
    if (rows["verdict"] == CANNOT_TELL).any():
        caption += " Pale: other programs took cores in one of the two runs, so that no verdict is possible."
    cases = {case_label(row) for row in rows.to_dict("records")}
    return caption + (f" The {MOST} cases furthest from 1 of {len(cases)}." if len(cases) > MOST else "")


def _table(frame: pd.DataFrame) -> list[Block]:
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


REGRESSION = Figure(
    70, "regression", "whom", "", _title, rows=lambda frame, _: of_benchmarks(frame), points=_points,
    shape=Forest(RATIO, Metric("case"), panel=(2.1, 0), gaps=(0.25, 0.5), share={"sharey": True}),
    caption=_caption, look=_look, missed="never", table=_table,
)  # fmt: skip
FIGURES = (REGRESSION,)
