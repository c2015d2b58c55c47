"""The one-glance table: a row for each K, a column for each estimator, for each model and way of running."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import make_frame, measured
from gsbench.records.order import by_estimator
from gsbench.records.reading import TRAINING, Record, ends_at_a_step
from gsbench.report.blocks import Block, Heading, Table
from gsbench.report.figures.peers import peer_ratios
from gsbench.report.gradient_table import short_gradients
from gsbench.report.writers.terminal import written

Key = tuple[Any, ...]  # (series, model, K, estimator, figure)

KEY = ["series", "model", "n_classes"]
# The lines of a cell: for each figure, the group of its records, its name and how it is written. Accuracies follow.
LINES: dict[str, tuple[str, str, Callable[[float], str]]] = {
    "step_seconds": ("step", "step", text.seconds),
    "speedup": ("speedup", "speed-up", text.times),
    "examples_per_second": ("step", "examples/s", text.three_digits),
    "peak_bytes": ("memory", "peak memory", text.size),
}
SOURCES = {figure: group for figure, (group, *_) in LINES.items()}
SOURCES |= dict.fromkeys(("speedup_low", "speedup_high"), "speedup")
ACCURACY = "accuracy on "


def glance_cells(frame: pd.DataFrame, timed: str = "step") -> pd.Series:
    """The median of each figure, indexed by (series, model, n_classes, estimator, figure).

    The figures are the keys of SOURCES, and `accuracy on <task>` of training runs that end by the clock. `timed` says
    which speed-ups: step or bound. Time and memory do not depend on image content, so data sets are pooled; `synthetic`
    counts only if there is no other.
    """
    parts = [_long(rows_of(frame, group, figure, timed), figure, figure) for figure, group in SOURCES.items()]
    trained = rows_of(frame[~ends_at_a_step(frame)], TRAINING, "validation_accuracy")
    accuracies = _long(trained, "validation_accuracy", ACCURACY + trained["task"])
    rows = pd.concat([*parts, accuracies])
    return rows.groupby([*KEY, "estimator", "figure"])["value"].median()


def rows_of(frame: pd.DataFrame, group: str, field: str, timed: str = "step") -> pd.DataFrame:
    """The rows behind a figure of the table. Rows of synthetic data count only if there are no others."""
    rows = measured(frame, group, field)
    if group == "speedup":
        rows = rows[rows["timed"] == timed]
    is_real = rows["dataset"] != "synthetic"
    has_real = is_real.groupby([rows[name] for name in [*KEY, "estimator"]]).transform("any")
    return rows[is_real | ~has_real]


def _long(rows: pd.DataFrame, field: str, figure: str | pd.Series) -> pd.DataFrame:
    return rows[[*KEY, "estimator"]].assign(figure=figure, value=rows[field]).astype({"n_classes": "int64"})


def glance_text(records: Sequence[Record]) -> str:
    """The one-glance tables as plain text for a terminal, then the ratios to peers and the gradients; "" if there is
    nothing to show.
    """
    frame = make_frame(records)
    return "\n\n".join(map(written, [*glance_tables(frame), *peer_ratios(frame), *short_gradients(frame)]))


def glance_blocks(frame: pd.DataFrame) -> list[Block]:
    """Each table under its title."""
    return [block for table in glance_tables(frame) for block in (Heading(table.title), table)]


def glance_tables(frame: pd.DataFrame) -> list[Table]:
    """A table for each model and series with a figure, or with a case that did not end well."""
    cells = glance_cells(frame).to_dict()
    told = {**_statuses(frame), **{key: _told(cells, key) for key in cells}}
    tables = []
    for model, series in sorted({(model, series) for series, model, *_ in told}):
        own = {key[2:]: cell for key, cell in told.items() if key[:2] == (series, model)}
        pairs = frame[(frame["group"] == "speedup") & (frame["model"] == model) & (frame["series"] == series)]
        title = " · ".join(filter(None, [text.model_name(model), series]))
        tables.append(_table(title, own, set(text.values(pairs, "baseline"))))
    return tables


def _told(cells: dict[Key, float], key: Key) -> str:
    *place, figure = key
    write = LINES[figure][2] if figure in LINES else text.percent
    low, high = (cells.get((*place, f"{figure}_{end}"), float("nan")) for end in ("low", "high"))
    return f"{write(cells[key])}{text.interval(low, high)}"


# Group → the line of a cell that shows a failed case. An accuracy has a line of its own.
TOLD_BY = {"step": "step_seconds", "speedup": "speedup", "memory": "peak_bytes"}


def _statuses(frame: pd.DataFrame) -> dict[Key, str]:
    """The statuses of cases that did not end well."""
    lost = frame[(frame["status"] != "ok") & ~ends_at_a_step(frame)]
    rows = lost[lost["group"].isin([*TOLD_BY, TRAINING])]
    rows = rows[(rows["group"] != "speedup") | (rows["timed"] == "step")]
    statuses = {}
    for row in rows.dropna(subset=["model", "n_classes", "estimator"]).to_dict("records"):
        figure = TOLD_BY.get(row["group"], ACCURACY + row["task"])
        needs = "" if pd.isna(row["estimate_bytes"]) else f" ({text.size(row['estimate_bytes'])})"
        key = (row["series"], row["model"], int(row["n_classes"]), row["estimator"], figure)
        statuses[key] = f"{text.status_name(row['status'])}{needs}"
    return statuses


def _table(title: str, told: dict[tuple[int, str, str], str], baselines: set[str]) -> Table:
    """`told` maps (n_classes, estimator, figure) to text. A baseline's speed-up reads `1 (baseline)`."""
    estimators = by_estimator(estimator for _, estimator, _ in told)
    figures = [*LINES, *sorted({figure for *_, figure in told if figure.startswith(ACCURACY)})]
    rows = []
    for k in sorted({k for k, *_ in told}):
        there = {figure for at, _, figure in told if at == k}
        own = [figure for figure in figures if figure in there]
        names = tuple(LINES[figure][1] if figure in LINES else figure for figure in own)
        without = {(k, name, "speedup"): "1 (baseline)" for name in baselines}
        cells = [[(k, name, figure) for figure in own] for name in estimators]
        columns = [tuple(told.get(key, without.get(key, text.NOT_MEASURED)) for key in cell) for cell in cells]
        rows.append([(str(k),), names, *columns])
    return Table(["K", "", *estimators], rows, title, keys=2)
