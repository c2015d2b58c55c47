"""Selects the records that a plan is made from: one machine, device and number type, each case once."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gsbench.estimators import parse_estimator
from gsbench.fields import about, settings_of
from gsbench.meters.machine import machine_fields_of_driver
from gsbench.models import MODELS
from gsbench.planner.work import OF_CASE, OF_NETWORKS, Shape
from gsbench.records.text import plain, size
from gsbench.settings.case import NETWORKS, Settings
from gsbench.shown import visible

# Records that are used together agree in these columns.
MACHINE = ("machine_cpu", "machine_cores", "machine_memory_bytes", "machine_gpu", "machine_blas", "freed_memory")
SETUP = about(settings_of(Settings), "session")
CONDITIONS = (*MACHINE, *SETUP)

# group → (column, metric). `_figures` decides which records of "gradient" count.
TIMES = {
    "bound": [("bound_seconds", "bound")],
    "step": [("step_seconds", "step")],
    "roofline": [("bound_seconds", "bound"), ("step_seconds", "step")],
    "gradient": [("bound_seconds", "bound")],
}
MEMORY = [("device_peak_bytes", "memory"), ("live_peak_bytes", "memory"), ("process_peak_bytes", "process")]
GROUPS = (*TIMES, "memory", "speedup")


@dataclass(frozen=True)
class Used:
    """The observations of one setup, one row each: metric, estimator, n_classes, value, spread (half of the relative
    interquartile range), shape, derived (see `_derived_steps`). `setup` has the conditions. `remarks` are sentences for
    the user, such as which records were left out.
    """

    rows: pd.DataFrame
    setup: dict[str, Any]
    remarks: tuple[str, ...] = ()

    def describe(self) -> str:
        """`AMD EPYC (2 cores, 15.6 GiB), cpu, chainer, float32, 2 threads`"""
        s = self.setup
        memory = f", {size(s['machine_memory_bytes'])}" if s.get("machine_memory_bytes") else ""
        name = plain(s["machine_gpu"] or s["machine_cpu"])
        threads = f"{plain(s['threads'])} thread{'' if s['threads'] == 1 else 's'}"
        how = f"{s['device']}, {s['backend']}, {s['dtype']}, {threads}"
        return visible(f"{name} ({plain(s['machine_cores'])} cores{memory}), {how}")


def is_here(setup: dict[str, Any]) -> bool:
    """Whether the processor, cores and memory of a setup are those of this machine."""
    return all(setup[name] == value for name, value in _here().items())


@functools.cache
def _here() -> dict[str, Any]:
    fields = machine_fields_of_driver()
    here = {name: fields[name] for name in ("machine_cpu", "machine_cores")}
    return {**here, "machine_memory_bytes": round(fields["machine_memory_bytes"] / 2**30) * 2**30}


def observe(frame: pd.DataFrame, wanted: dict[str, Any], only_here: bool) -> Used | None:
    """The observations of one setup that fits: this machine's setups come first, then the newest.

    wanted      the required values of columns of `SETUP`
    only_here   use no record of another machine

    None if no record fits.
    """
    found = frame[frame["group"].isin(GROUPS) & (frame["status"] == "ok")]
    # Rounded, because the memory that the system reserves for itself changes from boot to boot.
    found = found.assign(machine_memory_bytes=(found["machine_memory_bytes"] / 2**30).round() * 2**30)
    setups: dict[tuple[Any, ...], pd.DataFrame] = {
        tuple(map(_plain, key)): rows for key, rows in found.groupby(list(CONDITIONS), dropna=False, sort=False)
    }
    fits = [key for key in setups if _fits(_named(key), wanted, only_here)]
    if not fits:
        return None
    chosen = max(fits, key=lambda key: (is_here(_named(key)), _newest(setups[key]["recorded_at"])))
    rows, unread = _observations(setups[chosen], _named(chosen))
    if rows.empty:
        return None
    used = Used(rows, _named(chosen))
    others = [
        f"Left out: {len(rows)} record{'' if len(rows) == 1 else 's'} of {Used(rows, _named(key)).describe()}"
        f"{_unseen_differences(_named(key), used.setup)}."
        for key, rows in setups.items()
        if key != chosen
    ]
    elsewhere = [] if is_here(used.setup) else ["These records come from another machine than this one."]
    return Used(rows, used.setup, (*elsewhere, *others, *unread))


def _unseen_differences(setup: dict[str, Any], chosen: dict[str, Any]) -> str:
    """The differences that `Used.describe` does not show."""
    names = [name for name in ("machine_blas", "freed_memory") if setup[name] != chosen[name]]
    return visible("".join(f", {name} {setup[name] or 'unknown'}" for name in names))


def _newest(times: pd.Series) -> str:
    """A record without a time counts as the oldest."""
    return max(times.dropna().astype(str), default="")


def _plain(value: Any) -> Any:
    """None for nan, whole numbers as int."""
    if pd.isna(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _named(key: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(CONDITIONS, key, strict=True))


def _fits(setup: dict[str, Any], wanted: dict[str, Any], only_here: bool) -> bool:
    return all(setup[name] == value for name, value in wanted.items()) and (is_here(setup) or not only_here)


def _observations(frame: pd.DataFrame, setup: dict[str, Any]) -> tuple[pd.DataFrame, list[str]]:
    """One row per measured value, the newest of each case, and a remark about unreadable records."""
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    unread = 0
    for record in frame.sort_values("recorded_at", kind="stable", na_position="first").to_dict("records"):
        try:
            shape = _shape(record, setup)
            for figure in _figures(record):
                parse_estimator(figure["estimator"])
                row = {"n_classes": int(record["n_classes"]), "shape": shape, **figure}
                where = (record["group"], record["state"], record["timed"], record["baseline"])
                key = (*where, row["metric"], row["estimator"], row["n_classes"], shape, record["estimator"])
                kept[key] = row
        except (ValueError, TypeError):
            unread += 1
    names = ["metric", "estimator", "n_classes", "value", "spread", "shape"]
    rows = pd.DataFrame(list(kept.values()), columns=names)
    remark = [f"Left out: {unread} records of a model, preset or estimator that this gsbench does not have."]
    # One measurement may be in two records: one with the time itself, one with its ratio to another time.
    rows = rows.drop_duplicates(["metric", "estimator", "n_classes", "value", "shape"]).assign(derived=False)
    derived = _derived_steps(rows)
    return pd.concat([rows, derived], ignore_index=True) if len(derived) else rows, remark if unread else []


def _derived_steps(rows: pd.DataFrame) -> pd.DataFrame:
    """Steps of estimators whose bound alone was timed: the bound plus the rest of a step.

    The rest (the labelled bound, the classifier, Adam) is the same for all estimators. It is step − bound of the
    estimator with the shortest bound at that K, because the difference of two long times is mostly noise.
    """
    timed = rows[rows["metric"].isin(("step", "bound"))]
    without = sorted(set(timed["estimator"]) - set(timed.loc[timed["metric"] == "step", "estimator"]))
    middle = (
        timed.groupby(["shape", "n_classes", "estimator", "metric"], sort=False)["value"].median().unstack("metric")
    )
    both = middle.dropna() if {"step", "bound"} <= set(middle.columns) else middle.iloc[:0]
    found: list[dict[str, Any]] = []
    for (shape, k), of_one in both.groupby(["shape", "n_classes"], sort=False):
        least = of_one.loc[of_one["bound"].idxmin()]
        besides = max(0.0, float(least["step"] - least["bound"]))
        own = (timed["shape"] == shape) & (timed["n_classes"] == k) & timed["estimator"].isin(without)
        more = {"metric": "step", "derived": True}
        found += [{**row, **more, "value": row["value"] + besides} for row in timed[own].to_dict("records")]
    return pd.DataFrame(found, columns=rows.columns)


def _shape(record: dict[str, Any], setup: dict[str, Any]) -> Shape:
    """A record that is older than a setting takes the preset's value."""
    there = {name: record[name] for name in OF_NETWORKS if not pd.isna(record.get(name))}
    networks = {n: json.loads(v) if NETWORKS[n].kind is tuple else _plain(v) for n, v in there.items()}
    own = {name: _plain(record[name]) for name in OF_CASE}
    model = MODELS.get(own["model"])
    # A user's: its operations and bytes are counted on examples of its data.
    if model is not None and not model.is_configured:
        own |= {"backend": model.backends[0], "dataset": record["dataset"]}
        networks = {}
    return Shape.of({**own, "dtype": setup["dtype"], "device": setup["device"], **networks})


def _figures(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The measured values of a record: of its estimator, and of its baseline if the two were timed in pairs."""
    group, name = record["group"], record["estimator"]
    if group == "speedup":
        times = {name: record["candidate_seconds"], record["baseline"]: record["baseline_seconds"]}
        pairs = [(of, record["timed"], value) for of, value in times.items() if record["timed"] in ("bound", "step")]
        return [{"estimator": of, "metric": metric, "value": v, "spread": None} for of, metric, v in pairs if v > 0]
    follows = parse_estimator(name).calls_follow_logits
    if group == "gradient" and follows and record["state"] != "initial":
        return []  # this cost depends on the logits, which are trained here and initial in all other records
    found: dict[str, dict[str, Any]] = {}
    for column, metric in (*TIMES.get(group, ()), *(MEMORY if group in ("memory", "gradient") else ())):
        if metric not in found and not pd.isna(record[column]) and record[column] > 0:
            spread = _spread(record, column)
            found[metric] = {"estimator": name, "metric": metric, "value": float(record[column]), "spread": spread}
    return list(found.values())


def _spread(record: dict[str, Any], column: str) -> float | None:
    low, high = (record.get(f"{column}_{quartile}", float("nan")) for quartile in ("q1", "q3"))
    return None if pd.isna(low) or pd.isna(high) else (high - low) / 2 / record[column]
