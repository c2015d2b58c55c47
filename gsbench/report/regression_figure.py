"""The ratios of a comparison with their intervals, by case, as a table."""

from __future__ import annotations

import pandas as pd

from gsbench.report import text
from gsbench.report.reading import TRAINING
from gsbench.report.regression import regression_table


def of_benchmarks(frame: pd.DataFrame) -> pd.DataFrame:
    """The ratios between runs of the benchmark. Training runs are left out, because none of them is a base."""
    return regression_table(frame[frame["group"] != TRAINING])




def case_label(row: dict) -> str:
    """`gumbel-softmax, ADGM, K = 10`. It leaves out the group, so that time and memory share a line."""
    k = "" if pd.isna(row["n_classes"]) else f"K = {text.plain(row['n_classes'])}"
    return ", ".join(filter(None, [row["estimator"], text.model_name(row["model"]), k, row["settings"]]))
