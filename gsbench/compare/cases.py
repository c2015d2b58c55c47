"""Matches the records of runs by their cases, and names the runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gsbench.fields import about, settings_of
from gsbench.records.frame import SETTINGS
from gsbench.records.reading import TRAINING
from gsbench.records.sessions import short_machine
from gsbench.records.telling_apart import distinguishing
from gsbench.records.text import listed, plain
from gsbench.records.training_tasks import BUDGETS, OTHERS
from gsbench.settings.case import Settings

HEAD = ("group", "estimator", "model", "n_classes", "timed")  # columns of their own in the table
# Settings in which whole runs may differ. If each run has one value of a setting, the case does not include it.
OF_RUNS = about(settings_of(Settings), "session")
# Repeats of one case may differ in these.
OF_REPEATS = ("seed", "chunk")
# Accuracies depend on the content of the data; times do not.
OF_ACCURACIES = ("dataset_version", "dataset_checksum")
MORE = ("baseline", "labelled_per_class", "estimator_class_noise", *BUDGETS)
# Names of runs consist of the fewest of these that tell the runs apart, in this order.
OF_NAMES = ("machine", "gsbench_commit", *OF_RUNS, "gsbench_version", "date")


def case_fields(frame: pd.DataFrame, runs: pd.Series) -> list[str]:
    """The fields in which two records must agree to be of one case.

    A setting of OF_RUNS that has one value in each run belongs to the runs. A field that an older run does not know is
    left out if the other fields tell the cases apart as well.
    """
    wanted = dict.fromkeys((*HEAD, *SETTINGS, *MORE, *OTHERS))
    there = [field for field in wanted if field in frame and field not in OF_REPEATS]
    own = [f for f in OF_RUNS if frame[f].groupby(runs).nunique().max() <= 1]
    fields = [field for field in there if field not in own]
    of_run, *codes = (pd.factorize(column.to_numpy())[0] for column in (runs, *(frame[field] for field in fields)))
    by_field = dict(zip(fields, codes, strict=True))
    known = frame[fields].notna().groupby(runs).any().all()
    for field in fields[:]:
        if known[field] or field in HEAD:
            continue
        without = [other for other in fields if other != field]
        if _kinds(of_run, by_field, fields) == _kinds(of_run, by_field, without):
            fields = without
    return fields


def _kinds(of_run: np.ndarray, codes: Mapping[str, np.ndarray], fields: Sequence[str]) -> int:
    """The number of cases that the fields tell apart, added up over the runs. Equal values have equal codes."""
    return np.unique(np.stack([of_run, *(codes[field] for field in fields)]), axis=1).shape[1]


def case_keys(rows: pd.DataFrame, fields: Sequence[str]) -> list[tuple[str, ...]]:
    """The key of each row's case: rows with equal keys are of one case."""
    columns = {field: rows[field].map(plain) for field in fields}
    timed_only = rows["group"] != TRAINING
    for field in set(OF_ACCURACIES) & set(fields):
        columns[field] = columns[field].mask(timed_only, "")
    return list(zip(*(columns[field] for field in fields), strict=True))


def case_settings(keys: Sequence[tuple[str, ...]], fields: Sequence[str]) -> dict[tuple[str, ...], str]:
    """The fields that tell apart cases with equal HEAD, as text: `dataset glyphs, state trained`."""
    table = pd.DataFrame(dict.fromkeys(keys).keys(), columns=[*fields], dtype=object)
    labels: dict[tuple[str, ...], str] = {}
    for _, own in table.groupby([field for field in HEAD if field in fields], sort=False):
        told = distinguishing(own, [field for field in fields if field not in HEAD])
        for row in own.to_dict("records"):
            labels[tuple(row[f] for f in fields)] = ", ".join(f"{f} {row[f]}" for f in told)
    return labels


def name_runs(frames: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """A name for each run, from fields that tell the runs apart: machine, commit, …, date. Without any, its key."""
    facts = pd.DataFrame([_facts(frame) for frame in frames.values()], index=list(frames))
    told = distinguishing(facts, OF_NAMES)
    names = {key: ", ".join(_said(field, facts.loc[key, field]) for field in told) for key in frames}
    taken = list(names.values())
    return {key: key if not name else name if taken.count(name) == 1 else f"{name} ({key})"
            for key, name in names.items()}  # fmt: skip


def _said(field: str, value: str) -> str:
    """The value with the field's name before it. The machine and the date need no name."""
    shown = {"machine": "", "date": "", "gsbench_commit": "commit ", "gsbench_version": "gsbench "}
    return f"{shown.get(field, f'{field} ')}{value}"


def _facts(frame: pd.DataFrame) -> dict[str, Any]:
    machines = frame["machine_gpu"].fillna(frame["machine_cpu"]).dropna().map(short_machine)
    facts = {"machine": machines, "date": frame["recorded_at"].dropna().map(_minute).sort_values().iloc[:1]}
    facts |= {field: frame[field].dropna() for field in OF_NAMES if field not in facts}
    return {field: listed(found.unique()) if len(found) else "unknown" for field, found in facts.items()}


def _minute(recorded_at: str) -> str:
    return recorded_at[:16].replace("T", " ")
