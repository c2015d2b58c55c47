"""Reference curves: accuracy by step of gsbench's own training runs, which come with the package.

Accuracy by step belongs to the algorithm: model, data, recipe, seed. Seconds a step belong to the machine. A report
multiplies these curves by the seconds a step that it measured.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gsbench.fields import about, settings_of
from gsbench.files import write_whole
from gsbench.records.reading import TRAINING, Record
from gsbench.settings.case import NETWORKS, Settings
from gsbench.settings.recipe import Recipe

FILE = Path(__file__).with_name("reference.json")
RUN = ("dataset", "n_classes", "estimator", "seed")
CURVE = {"step": "curve_step", "accuracy": "curve_accuracy", "calls_of_f": "curve_calls_of_f"}
# If a case equals the runs in these fields, its step is the same work, but for K and the estimator.
WORK = (*about(settings_of(Settings), "work"), *NETWORKS)
OF_DATA = {"alpha", "steps_per_epoch"}  # fields of a recipe that follow from the data
# All runs of the file share these.
CONDITIONS = (
    *WORK, *(setting.record for setting in settings_of(Recipe).values() if setting.record not in OF_DATA),
    "labelled_per_class", "budget_steps", "budget_patience", "evaluate_every_steps", "validation_images", "backend",
    "dtype",
)  # fmt: skip
MADE_WITH = ("machine_cpu", "torch_version", "gsbench_version")  # may differ between the runs
DIGITS = 4  # of an accuracy


@functools.cache
def reference() -> dict[str, Any]:
    """The file: `conditions`, `made_with`, and `runs` with the fields RUN and the lists CURVE."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


@functools.cache
def reference_curves() -> pd.DataFrame:
    """A row for each evaluation of each run: RUN, `step`, `accuracy`, `calls_of_f` (nan if it is fixed)."""
    points = [
        {**{name: run[name] for name in RUN}, **dict(zip(CURVE, point, strict=True))}
        for run in reference()["runs"]
        for point in zip(*(run[name] for name in CURVE), strict=True)
    ]
    return pd.DataFrame(points, columns=[*RUN, *CURVE]).astype({"calls_of_f": "float64"})


def takes_reference(row: Mapping[Any, Any]) -> bool:
    """Whether a step of the case is the work of a step of the reference's runs."""
    conditions = reference()["conditions"]
    return all(_plain(row.get(field)) == _plain(conditions[field]) for field in WORK)


def _plain(value: Any) -> Any:
    """The value as JSON has it; null for nan. A frame has lists as text."""
    if isinstance(value, str) and value.startswith("["):
        with contextlib.suppress(ValueError):  # text that only looks like a list
            return json.loads(value)
    return None if value is None or value != value else value


def write_reference(
    records: Iterable[Record], path: Path = FILE, earlier: Mapping[str, Any] | None = None
) -> None:
    """Writes the file from the finished training runs.

    earlier   the content of a reference whose runs are kept, but for those that were made anew

    Raises ValueError if there are none, if two have the same RUN, or if they differ in one of CONDITIONS.
    """
    runs = [record for record in records if record["group"] == TRAINING and record["status"] == "ok"]
    if not runs:
        raise ValueError("the reference needs finished training runs, got none")
    runs.sort(key=_named)
    if twice := [name for name, following in itertools.pairwise(map(_named, runs)) if name == following]:
        raise ValueError(f"the reference must have one run of each {', '.join(RUN)}, got several of {tuple(twice[0])}")
    conditions: dict[str, Any] = {}
    for field in CONDITIONS:
        first, *others = dict.fromkeys(json.dumps(run.get(field)) for run in runs)
        if others:
            raise ValueError(f"the runs of the reference must have one {field}, got {', '.join([first, *others])}")
        conditions[field] = json.loads(first)
    made_with = {field: {str(run[field]) for run in runs} for field in MADE_WITH}
    compact = list(map(_compact, runs))
    if earlier is not None:
        if differing := [field for field in CONDITIONS if earlier["conditions"].get(field) != conditions[field]]:
            values = " and ".join(f"{them.get(differing[0])!r}" for them in (earlier["conditions"], conditions))
            raise ValueError(f"the runs of the reference must have one {differing[0]}, got {values}")
        known = list(map(_named, compact))
        compact = sorted([*compact, *(run for run in earlier["runs"] if _named(run) not in known)], key=_named)
        made_with = {field: values | {*earlier["made_with"][field]} for field, values in made_with.items()}
    lines = ",\n".join(json.dumps(run, separators=(",", ":")) for run in compact)
    versions = {field: sorted(values) for field, values in made_with.items()}
    head = f'"conditions":{json.dumps(conditions)},\n"made_with":{json.dumps(versions)}'
    write_whole(path, lambda file: file.write(f'{{{head},\n"runs":[\n{lines}\n]}}\n'.encode()))


def _named(run: Mapping[str, Any]) -> list[Any]:
    return [run[name] for name in RUN]


def _compact(run: Record) -> dict[str, Any]:
    lists = {name: [v if v is None else round(v, DIGITS) for v in run[field]] for name, field in CURVE.items()}
    return {**{name: run[name] for name in RUN}, **lists}
