"""Conditions under which a comparison fails, such as `step_seconds>1.2x`."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from gsbench.report.regression_intervals import METRICS
from gsbench.values import NUMBER, did_you_mean, number, shown

FORM = "METRIC>NUMBERx or METRIC<NUMBERx for the ratio new/base, without the x for the new figure itself"
_PATTERN = re.compile(rf"\s*(\w+)\s*([<>])\s*((?![+-]){NUMBER})\s*([x×]?)\s*")
BEYOND = {">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Condition:
    """`metric` of the new run, or where `is_ratio` its ratio to the base, is beyond `limit`."""

    metric: str
    sign: str
    limit: float
    is_ratio: bool

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.limit:g}{'x' if self.is_ratio else ''}"

    def holds_in(self, table: pd.DataFrame, runs: Iterable[str], strict: bool = False) -> pd.DataFrame:
        """The rows of a regression table of which it is true: of the whole interval, or of the figure itself where
        `strict` or where there is no interval. ValueError where one of `runs` does not have the metric in common
        with the base: what was not measured passes nothing.
        """
        rows = table[table["metric"] == self.metric]
        for run in sorted(set(runs) - set(rows["run"])):
            there = set(table.loc[table["run"] == run, "metric"])
            found = ", ".join(name for name in METRICS if name in there) or "nothing"
            raise ValueError(f"{self}: no case has {self.metric} in both the base and {run}; they share: {found}")
        figure = "ratio" if self.is_ratio else "new"
        nearest = rows[f"{figure}_low" if self.sign == ">" else f"{figure}_high"]
        compared = rows[figure] if strict else nearest.fillna(rows[figure])
        return rows[BEYOND[self.sign](compared.astype(float), self.limit)]


def parse_condition(text: str) -> Condition:
    """`step_seconds>1.2x` or `validation_accuracy<0.9`. ValueError says what is allowed."""
    match = _PATTERN.fullmatch(text)
    if not match:
        raise ValueError(f"a condition is {FORM}, such as 'step_seconds>1.2x', got {shown(text)}")
    metric, sign, limit, times = match.groups()
    if metric not in METRICS:
        close = did_you_mean(metric, METRICS)
        raise ValueError(f"unknown metric {shown(metric)} in {shown(text)}; known: {', '.join(METRICS)}{close}")
    try:
        value = number(limit)
    except ValueError as error:
        raise ValueError(f"the limit in {shown(text)} {error}") from None
    if times and value <= 0:
        raise ValueError(f"the limit of a ratio must be > 0, got {shown(text)}")
    return Condition(metric, sign, value, bool(times))
