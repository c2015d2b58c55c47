"""The one-glance table: a row for each K, a column for each estimator, for each model and way of running."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tabulate import tabulate

from gsbench.report import text
from gsbench.report.drawing.styles import by_estimator
from gsbench.report.frame import make_frame, measured
from gsbench.report.gradient_table import gradient_text
from gsbench.report.peer_table import peer_text
from gsbench.report.reading import Record
from gsbench.shown import visible

NEW_LINE = "\n"
Cells = dict[tuple[int, str, str], float]  # (K, estimator, figure) → value
Statuses = dict[tuple[int, str, str], str]

KEY = ["series", "model", "n_classes"]
# The figures of a cell: where each comes from (group, field).
SOURCES = {
    "step_seconds": ("step", "step_seconds"),
    "speedup": ("speedup", "speedup"),
    "speedup_low": ("speedup", "speedup_low"),
    "speedup_high": ("speedup", "speedup_high"),
    "examples_per_second": ("step", "examples_per_second"),
    "peak_bytes": ("memory", "peak_bytes"),
}
# The lines of a cell: (name, figure, how it is written). The accuracies join them.
LINES = (
    ("step", "step_seconds", text.seconds),
    ("speed-up", "speedup", text.times),
    ("examples/s", "examples_per_second", text.three_digits),
    ("peak memory", "peak_bytes", text.size),
)
ACCURACY = "accuracy on "


def glance_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The figures of the full training step, from a frame of `make_frame`.

    Index: (series, model, n_classes). Columns: (estimator, figure), figures being `step_seconds`, `speedup`
    over the baseline with `speedup_low` and `speedup_high`, `examples_per_second`, `peak_bytes` and
    `accuracy on <task>`. Time and memory do not depend on what the images show, so data sets are not told
    apart there; `synthetic` counts where no other was measured. Several measurements of one cell (data sets,
    seeds) give their median. nan where nothing was measured.
    """
    cells = glance_cells(frame)
    table = cells.unstack(["estimator", "figure"])
    figures = [*SOURCES, *sorted(set(cells.index.unique("figure")) - set(SOURCES))]
    estimators = by_estimator(cells.index.unique("estimator"))
    order = [(e, f) for e in estimators for f in figures if (e, f) in table.columns]
    return table[order]


def glance_cells(frame: pd.DataFrame, timed: str = "step") -> pd.Series:
    """The median of each figure, by (series, model, n_classes, estimator, figure); `timed` is what speed-ups are of."""
    parts = [_long(rows_of(frame, group, field, timed), field, figure) for figure, (group, field) in SOURCES.items()]
    trained = rows_of(frame, "accuracy", "validation_accuracy")
    accuracies = _long(trained, "validation_accuracy", ACCURACY + trained["task"])
    rows = pd.concat([*parts, accuracies])
    return rows.groupby([*KEY, "estimator", "figure"])["value"].median()


def rows_of(frame: pd.DataFrame, group: str, field: str, timed: str = "step") -> pd.DataFrame:
    """The rows that a figure of the table is the median of: of made-up data only where there are no others."""
    rows = measured(frame, group, field)
    if group == "speedup":
        rows = rows[rows["timed"] == timed]
    is_real = rows["dataset"] != "synthetic"
    has_real = is_real.groupby([rows[name] for name in [*KEY, "estimator"]]).transform("any")
    return rows[is_real | ~has_real]


def _long(rows: pd.DataFrame, field: str, figure: str | pd.Series) -> pd.DataFrame:
    long = rows[[*KEY, "estimator"]].assign(figure=figure, value=rows[field])
    return long.astype({"n_classes": "int64"})


@dataclass(frozen=True)
class Block:
    """One table to be printed: its cells are lists of lines."""

    title: str
    headers: list[str]
    rows: list[list[list[str]]]


def glance_text(records: Sequence[Record]) -> str:
    """The one-glance tables of the records as plain text for a terminal, and under them the ratios to peers and the
    gradients; "" when there is nothing to show.
    """
    frame = make_frame(records)
    blocks = [_written(block, visible) for block in glance_blocks(frame)]
    tables = [f"{block.title}\n{_tabulated(block, 'grid', NEW_LINE)}" for block in blocks]
    return "\n\n".join(filter(None, [*tables, peer_text(frame), gradient_text(frame)]))


def glance_markdown(frame: pd.DataFrame) -> str:
    """The same in Markdown, each table under its heading."""
    blocks = [_written(block, text.markdown_cell) for block in glance_blocks(frame)]
    return "\n\n".join(f"### {block.title}\n\n{_tabulated(block, 'github', '<br>')}" for block in blocks)


def _written(block: Block, write: Callable[[str], str]) -> Block:
    """With the title, every header and every line as `write` writes them."""
    rows = [[[write(line) for line in lines] for lines in row] for row in block.rows]
    return Block(write(block.title), [write(header) for header in block.headers], rows)


def _tabulated(block: Block, tablefmt: str, new_line: str) -> str:
    rows = [[new_line.join(lines) for lines in row] for row in block.rows]
    return tabulate(rows, headers=block.headers, tablefmt=tablefmt, disable_numparse=True)


def glance_blocks(frame: pd.DataFrame) -> list[Block]:
    """A block for each model and series with a figure, or with a case that did not end well."""
    cells = glance_cells(frame).to_dict()
    statuses = _statuses(frame)
    speedups = frame[frame["group"] == "speedup"]
    blocks = []
    for model, series in sorted({(model, series) for series, model, *_ in [*cells, *statuses]}):
        of_block = {key[2:]: value for key, value in cells.items() if key[:2] == (series, model)}
        lost = {key[2:]: status for key, status in statuses.items() if key[:2] == (series, model)}
        own = speedups[(speedups["model"] == model) & (speedups["series"] == series)]
        baselines = set(text.values(own, "baseline"))
        title = " · ".join(filter(None, [text.model_name(model), series]))
        blocks.append(_block(title, of_block, lost, baselines))
    return blocks


# Which line of a cell says that the case of a group did not end well; an accuracy's own line does.
TOLD_BY = {"step": "step_seconds", "speedup": "speedup", "memory": "peak_bytes"}


def _statuses(frame: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """What became of the cases without a figure, by (series, model, n_classes, estimator, figure)."""
    rows = frame[(frame["status"] != "ok") & frame["group"].isin([*TOLD_BY, "accuracy"])]
    rows = rows[(rows["group"] != "speedup") | (rows["timed"] == "step")]
    rows = rows.dropna(subset=["model", "n_classes", "estimator"])
    statuses = {}
    for row in rows.to_dict("records"):
        figure = TOLD_BY.get(row["group"], ACCURACY + row["task"])
        key = (row["series"], row["model"], int(row["n_classes"]), row["estimator"], figure)
        needs = "" if pd.isna(row["estimate_bytes"]) else f" ({text.size(row['estimate_bytes'])})"
        statuses[key] = f"{text.status_name(row['status'])}{needs}"
    return statuses


def _block(title: str, cells: Cells, statuses: Statuses, baselines: set[str]) -> Block:
    keys = [*cells, *statuses]
    estimators = by_estimator(estimator for _, estimator, _ in keys)
    accuracies = sorted({figure for *_, figure in keys if figure.startswith(ACCURACY)})
    lines = [*LINES, *((figure, figure, text.percent) for figure in accuracies)]
    rows = []
    for k in sorted({k for k, *_ in keys}):
        there = {figure for at, _, figure in keys if at == k}
        own = [line for line in lines if line[1] in there]
        entries = [
            [_entry(cells, statuses, baselines, (k, estimator, figure), write) for _, figure, write in own]
            for estimator in estimators
        ]
        rows.append([[str(k)], [name for name, *_ in own], *entries])
    return Block(title, ["K", "", *estimators], rows)


def _entry(
    cells: Cells,
    statuses: Statuses,
    baselines: set[str],
    key: tuple[int, str, str],
    write: Callable[[float], str],
) -> str:
    """One line of a cell: the figure, or what became of its case."""
    k, estimator, figure = key
    if key not in cells:
        is_baseline = figure == "speedup" and estimator in baselines
        return "1 (baseline)" if is_baseline else statuses.get(key, text.NOT_MEASURED)
    low, high = (cells.get((k, estimator, f"{figure}_{end}"), float("nan")) for end in ("low", "high"))
    return f"{write(cells[key])}{text.interval(low, high)}"
