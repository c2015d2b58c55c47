"""Comparison of two or more runs: a row for each case and metric, and a list of figures without a counterpart.

Runs are measured one after the other, so changes of the machine between them affect every ratio. The intervals include
the spread between quiet sessions. If other programs took cores, times get no verdict. Speed-ups still get one, because
they were measured in pairs within a session.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gsbench.compare.cases import HEAD, case_fields, case_keys, case_settings, name_runs
from gsbench.compare.intervals import (
    CONFIDENCE,
    METRICS,
    Measured,
    is_disturbed,
    measured_in,
    of_sessions,
    ratio_interval,
    verdict,
)
from gsbench.records.busy import crowded_rows
from gsbench.records.reading import ends_at_a_step
from gsbench.records.text import NOT_MEASURED, model_name, plain, status_name

TABLE_COLUMNS = (
    *HEAD, "settings", "metric", "base_run", "run", "base", "new", "new_low", "new_high", "ratio", "ratio_low",
    "ratio_high", "interval_from", "verdict",
)  # fmt: skip

Case = tuple[str, ...]
Key = tuple[Case, str, str]  # the case, the metric and its meter


@dataclass(frozen=True)
class Comparison:
    """`table` is the result of `regression_table`. `missing` has a line for each case or figure that only one run has.
    `runs` are the runs compared with the base.
    """

    table: pd.DataFrame
    missing: tuple[str, ...]
    runs: tuple[str, ...]


@dataclass(frozen=True)
class _Side:
    """The figures of one run, in the order of first appearance, and the statuses of its cases."""

    name: str
    found: dict[Key, Measured]
    statuses: dict[Case, str]


def regression_table(frame: pd.DataFrame, runs: str = "joint_run", confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Compares every other run of the tidy frame with the first: a row for each case, metric and run.

    runs         the column with the run of each row; its first value is the base
    confidence   of the intervals

    Returns TABLE_COLUMNS: the case (HEAD, and `settings` for other differences between cases), the names of the two
    sessions, both figures in the unit that the metric's name gives, their ratio new/base (infinite or nan if the base
    is 0) with its interval (nan if a record supports none), the source of the interval, and the verdict. If other
    programs took cores in one of the two sessions, the verdict is CANNOT_TELL for times and for accuracies within a
    time budget. The table has no rows if there is one session, or if sessions have nothing in common.
    """
    return compare({str(name): frame[frame[runs] == name] for name in frame[runs].dropna().unique()}, confidence).table


def compare(runs: Mapping[str, pd.DataFrame], confidence: float = CONFIDENCE) -> Comparison:
    """Compares runs with the first of them: see `regression_table`. `runs` maps a key to each run's tidy frame."""
    if len(runs) < 2:
        return Comparison(pd.DataFrame(columns=[*TABLE_COLUMNS]), (), ())
    names = name_runs(runs)
    frame = pd.concat([own.astype(object) for own in runs.values()], ignore_index=True)
    of_run = pd.Series([key for key, own in runs.items() for _ in range(len(own))], dtype=object)
    fields = case_fields(frame, of_run)
    keys = case_keys(frame, fields)
    cases = pd.Series(keys, dtype=object)
    base, *others = [_measure(names[key], frame[of_run == key], list(cases[of_run == key]), confidence) for key in runs]
    settings = case_settings(keys, fields)
    heads = {case: {**_head(case, fields), "settings": settings[case]} for case in dict.fromkeys(keys)}
    rows = [
        {**heads[key[0]], "base_run": base.name, "run": new.name, **_row(key[1], base.found[key], new.found[key])}
        for new in others
        for key in base.found
        if key in new.found
    ]
    missing = [line for new in others for pair in ((base, new), (new, base)) for line in _missing(*pair, heads)]
    table = pd.DataFrame(rows, columns=[*TABLE_COLUMNS])
    return Comparison(table, tuple(dict.fromkeys(missing)), tuple(new.name for new in others))


def _measure(name: str, rows: pd.DataFrame, cases: Sequence[Case], confidence: float) -> _Side:
    """Measures one run. Repeats of a case become one figure."""
    repeats: dict[Key, list[Measured]] = {}
    statuses: dict[Case, str] = {}
    for row, case, crowded in zip(rows.to_dict("records"), cases, crowded_rows(rows), strict=True):
        statuses[case] = row["status"]
        for metric in METRICS if row["status"] == "ok" else ():
            one = measured_in(row, metric, confidence)
            if one:
                disturbed = is_disturbed(row, metric, crowded)
                one = dataclasses.replace(one, session=str(row["run_id"]), disturbed=disturbed)
                repeats.setdefault((case, metric, one.meter), []).append(one)
    found = {key: of_sessions(several, key[1], confidence) for key, several in repeats.items()}
    return _Side(name, found, statuses)


def _head(case: Case, fields: Sequence[str]) -> dict[str, object]:
    told = dict(zip(fields, case, strict=True))
    head: dict[str, object] = {field: told[field] if told[field] != NOT_MEASURED else "" for field in HEAD}
    head["n_classes"] = int(told["n_classes"]) if head["n_classes"] else None
    if head["group"] in ("bound", "step"):
        head["timed"] = head["group"]
    return head


def _row(metric: str, base: Measured, new: Measured) -> dict[str, object]:
    low, high = ratio_interval(base, new)
    return {
        "metric": metric, "base": base.value, "new": new.value, "new_low": new.low, "new_high": new.high,
        "ratio": _ratio(base.value, new.value), "ratio_low": low, "ratio_high": high,
        "interval_from": " and ".join(dict.fromkeys((base.source, new.source))),
        "verdict": verdict(metric, low, high, base.disturbed or new.disturbed),
    }  # fmt: skip


def _ratio(base: float, new: float) -> float:
    if base == 0:
        return math.inf if new > 0 else math.nan
    return new / base


def _missing(one: _Side, other: _Side, heads: Mapping[Case, Mapping[str, object]]) -> Iterator[str]:
    """`step: marginalize, adgm, K = 500: only in BASE, too large in NEW`: a line for each missing case or metric."""
    cases = {case for case, _, _ in other.found}
    for case, metric, meter in one.found:
        if (case, metric, meter) in other.found:
            continue
        what = case_name(heads[case])
        if case in cases:
            yield f"{what}: {metric}{f' ({meter})' if meter else ''} only in {one.name}, not in {other.name}"
        else:
            ended = f"{status_name(other.statuses[case])} in" if case in other.statuses else "not in"
            yield f"{what}: only in {one.name}, {ended} {other.name}"


def case_name(row: Mapping[str, object]) -> str:
    """`step: marginalize, adgm, K = 500, dataset glyphs`."""
    k = "" if pd.isna(row["n_classes"]) else f"K = {row['n_classes']:.0f}"
    timed = "" if row["timed"] == row["group"] else row["timed"]
    parts = [row["estimator"], row["model"], k, timed, row["settings"]]
    return f"{row['group']}: {', '.join(str(part) for part in parts if part)}"


def of_benchmarks(frame: pd.DataFrame) -> pd.DataFrame:
    """The ratios between runs of the benchmark. Training runs that end at a step are left out: none is a base."""
    return regression_table(frame[~ends_at_a_step(frame)])


def case_label(row: dict) -> str:
    """`gumbel-softmax, ADGM, K = 10`. It leaves out the group, so that time and memory share a line."""
    k = "" if pd.isna(row["n_classes"]) else f"K = {plain(row['n_classes'])}"
    return ", ".join(filter(None, [row["estimator"], model_name(row["model"]), k, row["settings"]]))
