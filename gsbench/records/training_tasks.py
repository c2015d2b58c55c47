"""The task of a training run: all settings in which runs may differ, except estimator, seed and K."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gsbench.fields import about, settings_of
from gsbench.records import text
from gsbench.records.reading import TRAINING, ends_at_a_step
from gsbench.records.telling_apart import distinguishing, settings_labels
from gsbench.settings.case import NETWORKS, Settings
from gsbench.settings.recipe import Recipe
from gsbench.settings.run import SETTINGS, RunSettings

OF_TASK = ["model", "dataset", "preset", "labelled_per_class"]
_CASE, _RUN = settings_of(Settings), settings_of(RunSettings)
BUDGETS = {s.record: s.caption for s in _RUN.values() if s.about == "budget"}
# Settings for which null is a value: off, or the default.
NULL_IS_OFF = {s.record for s in SETTINGS.values() if s.or_none and not s.filled}
# Further settings that may tell tasks apart, the most important first.
OTHERS = tuple(
    field
    for field in (
        *("budget", *about(_CASE, "session", "work"), *settings_of(Recipe), *about(_RUN, "evaluation")),
        *(*about(_CASE, "task"), "dataset_version", "dataset_checksum", "n_pixels", *NETWORKS),
    )
    if field not in OF_TASK
)


def training_tasks(frame: pd.DataFrame) -> pd.Series:
    """The task of each training run, "" for other rows: data set, labels and preset, such as `MNIST, 10 labels a class,
    preset blog`, and all settings that differ between runs that share these and K. The joint run counts as a setting of
    runs that end by the clock.

    Only evaluated runs decide which settings differ: others may lack values known after a start, such as data versions.
    """
    tasks, rows = pd.Series([""] * len(frame), index=frame.index, dtype=object), frame[frame["group"] == TRAINING]
    known = {field: known_values(rows, field) for field in ("run", *OTHERS) if field in rows or field == "budget"}
    others = pd.DataFrame(known, index=rows.index).assign(n_classes=rows["n_classes"])
    for _, own in rows.groupby(OF_TASK, dropna=False, sort=False):
        evaluated = own.index[own["validation_accuracy"].notna()]
        told = [f for f in distinguishing(others.loc[evaluated], ["n_classes", *known]) if f != "n_classes"]
        tasks[own.index] = settings_labels(others.loc[own.index], told, [task_head(row) for _, row in own.iterrows()])
    return tasks


def task_head(row: Any) -> str:
    """The part of a task that every run has: `MNIST, 10 labels a class, preset blog`."""
    dataset, labels, preset = (text.plain(row[field]) for field in ("dataset", "labelled_per_class", "preset"))
    return f"{text.dataset_name(dataset)}, {labels} labels a class, preset {preset}"


def known_values(rows: pd.DataFrame, field: str) -> list[Any]:
    """The values of a setting. A null that is a value becomes "none"."""
    if field == "budget":
        return [budget(row) for _, row in rows.iterrows()]
    if field == "run":
        return list(rows["joint_run"].mask(ends_at_a_step(rows)))
    return ["none" if field in NULL_IS_OFF and pd.isna(value) else value for value in rows[field]]


def budget(row: Any) -> str:
    """`20 epochs`, `2,000 steps`, or several, of which the first to be reached ends the run: `20 epochs or 60 s`. Old
    records of the benchmark's short runs lack their seconds.
    """
    given = [(row[field], caption) for field, caption in BUDGETS.items() if not pd.isna(row[field])]
    return " or ".join(caption.format(f"{value:,.15g}") for value, caption in given) or "some seconds"
