"""What tells training runs apart beside their estimators and seeds: the task that a run was trained for."""

from __future__ import annotations

from typing import Any

import pandas as pd

from gsbench.report import text
from gsbench.report.telling_apart import distinguishing, settings_labels

OF_TASK = ["model", "dataset", "preset", "labelled_per_class"]
BUDGETS = {"budget_epochs": "epochs", "budget_steps": "steps", "budget_seconds": "s"}
# Settings in which null is a value: one that is off, or its default.
NULL_IS_OFF = (
    "clip_norm", "clip_element", "labelled_batch", "output_std", "log_var_limits", "evaluate_every_steps",
    "validation_images", "classifier_units",
)  # fmt: skip
RECIPE = (
    "learning_rate", "learning_rate_decay", "learning_rate_every", "learning_rate_floor", "beta1", "alpha", "tau_decay",
    "tau_floor", "clip_norm", "clip_element", "weight_prior", "labelled_weight", "labelled_batch", "balance",
    "adversarial", "adversarial_radius", "pseudo_labels", "pseudo_threshold", "distortion", "shift", "polyak", "drop_x",
    "drop_hidden", "steps_per_epoch", "evaluate_every_steps", "validation_images",
)  # fmt: skip
# All that two runs of one task may differ in besides, what one looks for first in front.
OTHERS = (
    "budget", "threads", "device", "backend", "dtype", "batch", "n_mc", *RECIPE, "draws_of_a", "test_draws_of_a",
    "binarize", "dataset_version", "dataset_checksum", "n_pixels", "units", "classifier_units", "layers",
    "class_layers", "d_a", "d_z", "nonlinearity", "norm", "init", "init_std", "output_std", "log_var_limits",
)  # fmt: skip


def training_tasks(rows: pd.DataFrame) -> pd.Series:
    """Of each training run the data set, the labels and the preset, such as `MNIST, 10 labels a class, preset blog`,
    and whatever else differs between the runs of one of these and K.

    What a run came to know only when it began, such as the version of its data, is told by runs that were evaluated.
    """
    tasks = pd.Series([""] * len(rows), index=rows.index, dtype=object)
    known = {field: _values(rows, field) for field in OTHERS if field in rows or field == "budget"}
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


def _values(rows: pd.DataFrame, field: str) -> list[Any]:
    if field == "budget":
        return [budget(row) for _, row in rows.iterrows()]
    return ["none" if field in NULL_IS_OFF and pd.isna(value) else value for value in rows[field]]


def budget(row: Any) -> str:
    """`20 epochs`, `2,000 steps`, or the first that is spent of several: `20 epochs or 60 s`."""
    given = [(row[field], unit) for field, unit in BUDGETS.items() if not pd.isna(row[field])]
    return " or ".join(f"{value:,.15g} {unit}" for value, unit in given)
