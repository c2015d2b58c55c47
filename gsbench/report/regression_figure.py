"""The ratios of a comparison with their intervals, by case, as a table."""

from __future__ import annotations

import pandas as pd

from gsbench.report import text
from gsbench.report.reading import TRAINING
from gsbench.report.regression import regression_table


def of_benchmarks(frame: pd.DataFrame) -> pd.DataFrame:
    """The ratios between runs of the benchmark. Training runs are runs of their own each: no one of them is a base."""
    return regression_table(frame[frame["group"] != TRAINING])


def regression_markdown(frame: pd.DataFrame) -> str:
    """All of them as a table."""
    table = of_benchmarks(frame)
    several = table["run"].nunique() > 1
    header = ["group", "case", "metric", *(["run"] if several else []), "base", "new", "ratio", "interval", "verdict"]
    rows = [
        [
            row["group"], case_label(row), _metric(row),
            *([row["run"]] if several else []), f"{row['base']:.4g}", f"{row['new']:.4g}", f"{row['ratio']:.3g} ×",
            text.NOT_MEASURED if pd.isna(row["ratio_low"]) else f"{row['ratio_low']:.3g} to {row['ratio_high']:.3g}",
            row["verdict"],
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    return text.markdown_table(header, rows)


def _metric(row: dict) -> str:
    return f"{row['metric']} ({row['timed']})" if row["metric"] == "speedup" else row["metric"]


def case_label(row: dict) -> str:
    """`gumbel-softmax, ADGM, K = 10`: without the group, so that its time and its memory stand in one line."""
    k = "" if pd.isna(row["n_classes"]) else f"K = {text.plain(row['n_classes'])}"
    return ", ".join(filter(None, [row["estimator"], text.model_name(row["model"]), k, row["settings"]]))
