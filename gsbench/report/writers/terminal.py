"""Tables as plain text for a terminal."""

from __future__ import annotations

from typing import Any

from tabulate import tabulate

from gsbench.records.text import plain
from gsbench.report.blocks import Table
from gsbench.shown import visible


def written(table: Table) -> str:
    """The table under its title, if it has one. A table with cells of several lines has a grid."""
    head, *rows = [[_cell(cell) for cell in row] for row in (table.headers, *table.rows)]
    form = "grid" if any(isinstance(cell, tuple) for row in table.rows for cell in row) else "simple"
    title = f"{visible(table.title)}\n" if table.title else ""
    return title + tabulate(rows, headers=head, tablefmt=form, disable_numparse=True)


def _cell(cell: Any) -> str:
    return "\n".join(visible(plain(line)) for line in (cell if isinstance(cell, tuple) else (cell,)))
