"""Conditions under which a comparison fails, such as `step_seconds>1.2x`."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from gsbench.compare.intervals import CANNOT_TELL, METRICS
from gsbench.values import NUMBER, did_you_mean, number, shown

# Unit of a metric → the units that its limit may have, beside x for the ratio new/base. A limit needs a unit, because a
# bare number may be a ratio whose x was forgotten.
UNITS: dict[str, dict[str, float]] = {
    "seconds": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "min": 60.0, "h": 3600.0},
    "bytes": {
        "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
        "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40,
    },
    "rate": {"/s": 1.0},
    "share": {"%": 0.01, "new": 1.0},
    "number": {"new": 1.0},
}  # fmt: skip
EXAMPLE = {"seconds": "0.5s", "bytes": "500MB", "rate": "20/s", "share": "90% or 0.9new", "number": "3new"}
FORM = "METRIC>LIMIT or METRIC<LIMIT"
_PATTERN = re.compile(rf"\s*(\w+)\s*([<>])\s*((?![+-]){NUMBER})\s*([a-zA-Zµμ%/×]*)\s*", re.ASCII)
BEYOND = {">": operator.gt, "<": operator.lt}


@dataclass(frozen=True)
class Condition:
    """The condition that `metric` is beyond `limit`. It applies to the ratio new/base if `is_ratio`, else to the figure
    of the new run, in seconds, bytes or the like. `spelled` is the limit as the user wrote it.
    """

    metric: str
    sign: str
    limit: float
    is_ratio: bool
    spelled: str

    def __str__(self) -> str:
        return f"{self.metric}{self.sign}{self.spelled}"

    def holds_in(self, table: pd.DataFrame, runs: Iterable[str], strict: bool = False) -> pd.DataFrame:
        """The rows of a regression table that meet the condition. The whole interval must meet it; if `strict`, or
        without an interval, the figure itself. Rows of `untold_in` never meet it. Raises ValueError if one of `runs`
        shares no figure of the metric with the base, because an unmeasured metric must not pass a check.
        """
        rows = table[table["metric"] == self.metric]
        for run in sorted(set(runs) - set(rows["run"])):
            there = set(table.loc[table["run"] == run, "metric"])
            found = ", ".join(name for name in METRICS if name in there) or "nothing"
            raise ValueError(f"{self}: no case has {self.metric} in both the base and {run}; they share: {found}")
        figure = "ratio" if self.is_ratio else "new"
        nearest = rows[f"{figure}_low" if self.sign == ">" else f"{figure}_high"]
        compared = rows[figure] if strict else nearest.fillna(rows[figure])
        told = ~rows.index.isin(self.untold_in(table, strict).index)
        return rows[BEYOND[self.sign](compared.astype(float), self.limit) & told]

    def untold_in(self, table: pd.DataFrame, strict: bool = False) -> pd.DataFrame:
        """The rows that cannot be judged because other programs took cores; none if `strict`."""
        rows = table[table["metric"] == self.metric]
        return rows[(rows["verdict"] == CANNOT_TELL) & (not strict)]


def parse_condition(text: str) -> Condition:
    """`step_seconds>1.2x`, `step_seconds>300ms` or `validation_accuracy<90%`. The ValueError says what is allowed."""
    match = _PATTERN.fullmatch(text)
    if not match:
        raise ValueError(f"a condition is {FORM}, such as 'step_seconds>1.2x', got {shown(text)}")
    metric, sign, limit, unit = match.groups()
    unit = unit.replace("\N{GREEK SMALL LETTER MU}", "\N{MICRO SIGN}")  # they look alike
    if metric not in METRICS:
        close = did_you_mean(metric, METRICS)
        raise ValueError(f"unknown metric {shown(metric)} in {shown(text)}; known: {', '.join(METRICS)}{close}")
    try:
        value = number(limit)
    except ValueError as error:
        raise ValueError(f"the limit in {shown(text)} {error}") from None
    own, is_ratio = UNITS[METRICS[metric].unit], unit in ("x", "×")
    if not is_ratio and unit not in own:
        got = f"has the unit {unit!r}" if unit else "has no unit"
        raise ValueError(
            f"the limit of {shown(text)} {got}; allowed for {metric}: x for the ratio new/base, such as 1.2x, or for "
            f"the new figure itself {', '.join(own)}, such as {EXAMPLE[METRICS[metric].unit]}"
        )
    if is_ratio and value <= 0:
        raise ValueError(f"the limit of a ratio must be > 0, got {shown(text)}")
    return Condition(metric, sign, value * (1.0 if is_ratio else own[unit]), is_ratio, limit + unit)
