"""Speed and memory against the number of classes K."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import LOST, measured
from gsbench.records.order import in_order
from gsbench.report.blocks import Block, Columns, Paragraph, Table
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.points import interval
from gsbench.report.drawing.shapes import UNFIT, AgainstNumber
from gsbench.report.figures.metrics import CLASSES, MEMORY, SHARE_OF_PEAK, STEPS_PER_SECOND, TIME_PER_CLASS

METERS = {
    "live_peak_bytes": "live arrays",
    "device_peak_bytes": "device",
    "process_peak_bytes": "whole process",
}
PANELS = {"bound": "unlabelled bound", "step": "full training step"}
UNITS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6}
ROOFLINE_NOTE = (
    "Operations: floating-point operations of the necessary matrix products, computed from the shapes of the split "
    "model. The machine's peak: the fastest matrix product measured in alternation with the case, and its shape."
)
BESIDE = {"sharey": "row"}
GRID = {"sharey": "row", "sharex": "col"}


def with_lost(rows: pd.DataFrame, frame: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """The measured rows and the cases of these groups that did not fit in memory; nothing without measured rows."""
    lost = frame[frame["group"].isin(groups) & frame["status"].isin(LOST)]
    lost = lost.dropna(subset=["estimator", "model", "n_classes"])
    return frame[frame.index.isin([*rows.index, *lost.index])] if len(rows) else rows


def by_model(rows: pd.DataFrame) -> pd.DataFrame:
    """Points against K, a column of panels for each model. Cases that did not fit in memory have the kind UNFIT."""
    lost = rows["status"].isin(LOST)
    return rows.assign(
        x=rows["n_classes"], panel=rows["model"].map(text.model_name), column=rows["model"], row=0,
        kind=lost.map({True: UNFIT, False: ""}), series=rows["series"].mask(lost, ""),
    )  # fmt: skip


def medians(points: pd.DataFrame) -> pd.DataFrame:
    """The points in the order of x. Several rows of one point (data sets, seeds) give their median."""
    known = ("row", "column", "panel", "kind", "estimator", "series", "x", "y_axis", "note")
    values = [name for name in ("y", "low", "high") if name in points]
    groups = points.groupby([name for name in known if name in points], sort=False, as_index=False, dropna=False)
    return groups[values].median().sort_values("x", kind="stable")


def _rates(rows: pd.DataFrame) -> pd.DataFrame:
    rates = {"y": "step_seconds", "low": "step_seconds_q3", "high": "step_seconds_q1"}
    return medians(by_model(rows).assign(**{name: 1 / rows[field] for name, field in rates.items()}))


def _steps(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    return with_lost(measured(frame[frame["step_seconds"] > 0], "step"), frame, ["step"])


def _memories(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    rows = measured(frame[(frame[[*METERS]] > 0).any(axis=1)], "memory")
    return with_lost(rows, frame, ["memory", "step", "bound"])


def _meters(rows: pd.DataFrame) -> list[str]:
    return [meter for meter in METERS if (rows.loc[rows["status"] == "ok", meter] > 0).any()]


def _peaks(rows: pd.DataFrame) -> pd.DataFrame:
    """A row of panels for each meter. The first row also notes the estimated need of cases that do not fit."""
    parts = []
    for i, meter in enumerate(_meters(rows)):
        points = by_model(rows).assign(row=i, y=rows[meter] / 2**20, note="")
        points["panel"] += f": {METERS[meter]}"
        points["y_axis"] = MEMORY.named(f"peak memory, {METERS[meter]} (MiB)")
        parts.append(points[(points["y"] > 0) & (points["kind"] == "")])
        if i == 0:
            lost = points[points["kind"] == UNFIT]
            needs = lost.groupby(["model", "estimator", "x"])["estimate_bytes"].transform("max")
            notes = needs.map(lambda size: f"needs {text.size(size)}", na_action="ignore").fillna("")
            parts.append(lost.assign(note=notes))
    return medians(pd.concat(parts))


def _meter_names(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    """`…, by tracemalloc (live arrays) and VmHWM (whole process).`"""
    rows = rows[rows["status"] == "ok"]
    names = {meter: text.values(rows, meter.replace("peak_bytes", "meter")) for meter in _meters(rows)}
    read = [f"{text.listed(found)} ({METERS[meter]})" for meter, found in names.items() if found]
    return f"Peak memory of one full training step{f', by {text.listed(read)}' if read else ''}."


def _bounds(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    """The rows of exact sums in group "bound"; in group "roofline" if there are none."""
    sums = frame[frame["exact_sum"] == 1]
    bounds, shares = (measured(sums[sums["bound_seconds"] > 0], group) for group in ("bound", "roofline"))
    return with_lost(bounds if len(bounds) else shares, sums, ["bound"])


def _per_class(rows: pd.DataFrame) -> pd.DataFrame:
    """Times per class, in a unit that suits the largest."""
    fields = {"y": "bound_seconds", "low": "bound_seconds_q1", "high": "bound_seconds_q3"}
    most = (rows["bound_seconds"] / rows["n_classes"]).max()
    unit = next((unit for unit, seconds in UNITS.items() if most >= seconds), "µs")
    times = {name: rows[field] / rows["n_classes"] / UNITS[unit] for name, field in fields.items()}
    axis = TIME_PER_CLASS.named(f"time of the bound per class ({unit})")
    return medians(by_model(rows).assign(**times, y_axis=axis))


def _about_times(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    bars = "; bars from quartile to quartile" if points[["low", "high"]].notna().all(axis=1).any() else ""
    return (
        f"The unlabelled bound, forward and backward, over K: median{bars}. The exact sums "
        "alone: a sampling estimator takes a few calls of f at any K, so that its time per class falls as 1/K."
    )


def roofline_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of group "roofline" with a share of the peak. `seconds` is added: the time of the bound or the step."""
    rows = measured(frame, "roofline", "fraction_of_peak", "timed")
    rows = rows[(rows["fraction_of_peak"] > 0) & rows["timed"].isin(PANELS)]
    return rows.assign(seconds=rows["bound_seconds"].where(rows["timed"] == "bound", rows["step_seconds"]))


def _shares(rows: pd.DataFrame) -> pd.DataFrame:
    points = by_model(rows).assign(row=rows["model"], column=[[*PANELS].index(timed) for timed in rows["timed"]])
    points["panel"] += ": " + rows["timed"].map(PANELS)
    return medians(points.assign(**interval(rows, "fraction_of_peak")))


def _about_shares(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    products = sorted(text.values(rows, "peak_product"))
    named = f" ({text.listed(products)})" if 0 < len(products) <= 3 else ""
    return (
        "Operations of the necessary matrix products / (median time × peak). The peak is the speed of the fastest "
        f"matrix product{named}, measured in alternation with the case. Bars: {text.interval_name(rows)} "
        "interval."
    )


def _roofline(frame: pd.DataFrame) -> list[Block]:
    """The share of the peak and the numbers behind it, a line for each (model, K, estimator, `timed`)."""
    rows = in_order(roofline_rows(frame), ["series", "model", "n_classes", "estimator", "timed"])
    rows = rows.assign(per_class=rows["seconds"] / rows["n_classes"])
    return [Table.of(ROOFLINE, rows), Paragraph(ROOFLINE_NOTE)]


def _giga(field: str, unit: str) -> Callable[[Any], str]:
    return text.cell(field, lambda number: f"{text.three_digits(number / 1e9)} {unit}", text.NOT_MEASURED)


def _share(row: Any) -> str:
    ends = row["fraction_of_peak_low"], row["fraction_of_peak_high"]
    return text.percent(row["fraction_of_peak"]) + text.interval(*ends, lambda share: f"{100 * share:.1f}")


ROOFLINE: Columns = {
    "": text.cell("series"), "model": text.cell("model", text.model_name), "K": text.cell("n_classes"),
    "estimator": text.cell("estimator"), "timed": text.cell("timed"), "operations": _giga("operations", "GFLOP"),
    "time": text.cell("seconds", text.seconds, text.NOT_MEASURED),
    "per class": text.cell("per_class", text.seconds, text.NOT_MEASURED),
    "machine's peak": lambda row: (
        _giga("peak_operations_per_second", "GFLOP/s")(row) + text.cell("peak_product", " ({})".format)(row)
    ),
    "share of peak": _share,
}  # fmt: skip


FIGURES = (
    Figure(
        20, "steps_per_second", "fast", "step", "Training steps per second against the number of classes",
        rows=_steps, points=_rates, shape=AgainstNumber(CLASSES, STEPS_PER_SECOND, share=BESIDE),
        caption="Full training step: labelled and unlabelled bound, forward and backward, and the optimiser's update. "
        "Median; bars from quartile to quartile.",
    ),
    Figure(
        40, "time_per_class", "fast", "bound", "Time per class against the number of classes",
        rows=_bounds, points=_per_class, shape=AgainstNumber(CLASSES, TIME_PER_CLASS, share=BESIDE),
        caption=_about_times,
    ),
    Figure(
        50, "peak_memory", "memory", "memory", "Peak memory against the number of classes",
        rows=_memories, points=_peaks, shape=AgainstNumber(CLASSES, MEMORY, share=GRID, lost_at_top=True),
        caption=_meter_names,
    ),
    Figure(
        80, "fraction_of_peak", "fast", "roofline", "Share of the machine's own matrix-product peak",
        rows=lambda frame, _: roofline_rows(frame), points=_shares,
        shape=AgainstNumber(CLASSES, SHARE_OF_PEAK, share={"sharey": True, "sharex": "col"}), caption=_about_shares,
        table=_roofline,
    ),
)  # fmt: skip
