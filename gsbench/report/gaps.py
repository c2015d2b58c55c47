"""The gaps of a report: missing measurements, skipped and failed cases; the conditions; and all records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import FIELDS, MACHINE, SETTINGS
from gsbench.records.order import by_estimator
from gsbench.records.reading import MAKE_A_RUN, TRAINING, ends_at_a_step
from gsbench.records.training_tasks import BUDGETS, OTHERS
from gsbench.report.blocks import Block, Code, Columns, Items, Paragraph, Table, Text
from gsbench.report.drawing.sheet import Plot
from gsbench.report.figures import FIGURES
from gsbench.report.gradient_table import variance_text

GROUPS = {
    "bound": "time of the unlabelled bound",
    "step": "time of the full training step",
    "speedup": "speed-up, measured in pairs",
    "memory": "peak memory",
    TRAINING: "accuracy after some seconds of training",
    "roofline": "share of the machine's matrix-product peak",
    "gradient": "bias and variance of the gradients",
}
# Groups that measure the same cases: a case in one of them is expected in the others.
SAME_CASES = ("bound", "step", "memory", "roofline")
MOST_IDS = 3
SIZES = ("machine_memory_bytes", "memory_limit_bytes")
NOT_OK: Columns = {
    "run": text.cell("run"), **{name: text.cell(name, none=text.NOT_MEASURED) for name in ("group", "case")},
    "model": text.cell("model", text.model_name, text.NOT_MEASURED),
    "estimator": text.cell("estimator", none=text.NOT_MEASURED), "K": text.cell("n_classes", none=text.NOT_MEASURED),
    "status": text.cell("status", text.status_name), "reason": text.cell("reason", none=text.NOT_MEASURED),
    "needs": text.cell("estimate_bytes", text.size), "limit": text.cell("memory_limit_bytes", text.size),
}  # fmt: skip


def missing(frame: pd.DataFrame, plots: Mapping[str, Plot | None]) -> list[Block]:
    """A list of missing groups, cases and figures. Nothing is expected of records of training runs alone."""
    bench, of_sessions = frame[frame["group"] != TRAINING], frame[~ends_at_a_step(frame)]
    lines = [line for run in text.values(bench, "joint_run") for line in _missing_of_run(of_sessions, run)]
    measured = set(frame["group"])
    wanted = {"always": measured | set(GROUPS if len(bench) else ()), "if its group was measured": measured}
    undrawn = [n for n, plot in plots.items() if not plot and FIGURES[n].group in wanted.get(FIGURES[n].missed, ())]
    lines += [("figure ", Code(name), ": the records have nothing to draw it from") for name in undrawn]
    drawn = {figure.group for figure in FIGURES.values()}
    others = frame[~frame["group"].isin([*GROUPS, *drawn])]["group"].value_counts(sort=False)
    lines += [
        ("group ", Code(g), f": its {n} records stand in records.csv and in no figure") for g, n in others.items()
    ]
    if not lines:
        why = "these are training runs alone" if bench.empty else "every group was measured"
        return [Paragraph(f"Nothing: {why}.")]
    how = [] if bench.empty else [Paragraph(("All groups are measured by ", Code(MAKE_A_RUN), "."))]
    return [Items(lines), *how]


def _missing_of_run(frame: pd.DataFrame, run: str) -> Iterator[Text]:
    """The groups and cases that a joint run lacks."""
    rows = frame[frame["joint_run"] == run]
    of_run = f" in run {run}" if frame["joint_run"].nunique() > 1 else ""
    for group, what in GROUPS.items():
        own = rows[rows["group"] == group]
        if own.empty:
            yield "group ", Code(group), f" ({what}): no record{of_run}"
        elif not (own["status"] == "ok").any():
            yield "group ", Code(group), f" ({what}): none of its {len(own)} cases ended well{of_run}"
        for model, cases in _missing_cases(rows, group).items():
            yield "group ", Code(group), f", {text.model_name(model)}: no record of {'; '.join(cases)}{of_run}"


def _missing_cases(rows: pd.DataFrame, group: str) -> dict[str, list[str]]:
    """For each model, the missing (K, estimator) that other records of these groups have."""
    key = ["model", "n_classes", "estimator"]
    own = rows[rows["group"] == group].dropna(subset=key)
    if own.empty:
        return {}
    known = rows[rows["group"].isin(SAME_CASES if group in SAME_CASES else [group])].dropna(subset=key)
    states = text.values(own, "state") if group == "gradient" else []
    cases: dict[str, list[str]] = {}
    for state in states or [None]:
        there = set((own[own["state"] == state] if state else own)[key].itertuples(index=False, name=None))
        for model, of_model in known.groupby("model"):
            ks = sorted(set(of_model["n_classes"]))
            for estimator in by_estimator(of_model["estimator"]):
                lost = [k for k in ks if (model, k, estimator) not in there]
                if lost:
                    where = f" ({state})" if state else ""
                    cases.setdefault(model, []).append(f"{estimator} at K = {text.listed(lost)}{where}")
    return cases


def not_ok(frame: pd.DataFrame) -> Block:
    """A table of cases that were skipped, failed or did not fit, with reasons. It leaves out training runs."""
    lost = frame[frame["status"] != "ok"]
    rows = lost[lost["group"] != TRAINING]
    if rows.empty:
        beside = "" if lost.empty else ", except for training runs that did not finish"
        return Paragraph(f"None{beside}.")
    return Table.of(NOT_OK if frame["run"].nunique() > 1 else {**NOT_OK, "run": lambda _: ""}, rows)


def conditions(frame: pd.DataFrame) -> Table:
    """A table of the machine, the versions and the settings: a row for each field, a column for each run."""
    others = [f for f in frame if f not in FIELDS and (f.startswith("machine_") or f.endswith("_version"))]
    runs = {run: frame[frame["run"] == run] for run in text.values(frame, "run")}
    rows = [["run_id", *(_ids(rows) for rows in runs.values())]]
    rows.append(["recorded from", *(min(text.values(rows, "recorded_at"), default="") for rows in runs.values())])
    rows.append(["recorded until", *(max(text.values(rows, "recorded_at"), default="") for rows in runs.values())])
    settings = [field for field in (*SETTINGS, "labelled_per_class", "draws_of_a", *BUDGETS, *OTHERS) if field in frame]
    for field in dict.fromkeys((*MACHINE, *others, *settings)):
        cells = [_all_values(rows, field) for rows in runs.values()]
        rows += [[field, *cells]] if any(cells) else []
    return Table(["", *runs], rows)


def _ids(rows: pd.DataFrame) -> str:
    """The run ids of rows with one label; of many, the first and the last in time."""
    ids = text.in_order(text.values(rows, "run_id"))
    return text.listed(ids) if len(ids) <= MOST_IDS else f"{ids[0]} … {ids[-1]} ({len(ids)})"


def _all_values(rows: pd.DataFrame, field: str) -> str:
    found = text.in_order(value for value in text.values(rows, field) if value != "")
    return ", ".join(told(field, value) for value in found)


def told(field: str, value: Any) -> str:
    """A value of a field, written for a reader."""
    return text.size(value) if field in SIZES else text.plain(value)


def _time(row: dict[str, Any]) -> str:
    """The record's time: of a step, of the bound, or of a training run; "" if it has none."""
    fields = ("step_seconds", "bound_seconds", "train_seconds", "candidate_seconds")
    return next((text.seconds(row[field]) for field in fields if not pd.isna(row[field])), "")


def _variance(row: dict[str, Any]) -> str:
    """The variance of the logits' gradient. If draws of y show none, the cell says so: see `variance_text`."""
    return text.cell("logits_variance", lambda found: variance_text(found, row["gradient_draws"]))(row)


RECORDS: Columns = {
    "group": text.cell("group"), "model": text.cell("model", text.model_name), "K": text.cell("n_classes"),
    "estimator": text.cell("estimator"), "status": text.cell("status", text.status_name), "timed": text.cell("timed"),
    "against": text.cell("baseline"), "state": text.cell("state"),
    "time": _time, "speed-up": text.speedup, "peak memory": text.cell("peak_bytes", text.size),
    "steps": text.cell("step", "{:,.0f}".format),
    "accuracy": text.cell("validation_accuracy", text.percent),
    "bias² (logits)": text.cell("logits_squared_bias", text.three_digits), "variance (logits)": _variance,
    "data": text.cell("dataset"), "preset": text.cell("preset"), "batch": text.cell("batch"), "seed": text.cell("seed"),
    "run": text.cell("run"), "reason": text.cell("reason"),
}  # fmt: skip


def records_table(frame: pd.DataFrame) -> Table:
    """A table with a row for each record. Empty columns are left out."""
    return Table.of(RECORDS, frame, "All records")
