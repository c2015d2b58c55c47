"""Tables as plain text, as wide as the terminal at most."""

from __future__ import annotations

import io
import itertools
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from rich.box import Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gsbench.records.text import plain
from gsbench.report.blocks import Table
from gsbench.shown import visible

LEAST_COLUMNS = 3  # in a table that is split: a wider column is wrapped
LEAST_WIDTH = 10  # of a column that is wrapped, if names in other columns are to stay whole
BETWEEN = 2  # spaces between two columns: a cell's padding, and the space that divides the columns
BOX = Box("    \n    \n -  \n    \n -  \n -  \n    \n    \n", ascii=True)  # hyphens under headers and sections


def written(table: Table, width: int | None = None) -> str:
    """The table under its title, if it has one.

    width   in characters; by default the terminal's, or COLUMNS in the environment, or 80

    If a table with keys is wider, some of its columns come under the others. Cells that still do not fit are wrapped.
    """
    width = width or shutil.get_terminal_size().columns
    title = f"{wrapped(visible(table.title), width)}\n" if table.title else ""
    return title + "\n\n".join(_drawn(part, width) for part in _split(table, width))


def wrapped(text: str, width: int | None = None, indent: int = 0) -> str:
    """A paragraph in lines of `width` characters at most, by default the terminal's.

    indent   spaces before the second line and the following ones
    """
    width = width or shutil.get_terminal_size().columns
    return textwrap.fill(text, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False)


def _split(table: Table, width: int) -> Iterator[Table]:
    widths = [min(one, width // LEAST_COLUMNS) for one in _widths(table)]
    keys = [*range(table.keys)]
    columns = [*range(table.keys, len(widths))]
    groups = [columns[i : i + table.together] for i in range(0, len(columns), table.together)]
    part: list[int] = []
    for group in groups if keys else [columns]:
        wider = [*keys, *part, *group]
        if part and sum(widths[i] + BETWEEN for i in wider) - BETWEEN > width:
            yield table.with_columns([*keys, *part])
            part = []
        part += group
    yield table.with_columns([*keys, *part])


def _drawn(table: Table, width: int) -> str:
    grid = Grid(box=BOX, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    columns = zip(table.headers, *table.rows, strict=True)
    words = [all(" " not in _line(line) for cell in column for line in _lines(cell)) for column in columns]
    of_words = sum(one + BETWEEN for one, is_word in zip(_widths(table), words, strict=True) if is_word)
    fits = width - of_words >= LEAST_WIDTH * words.count(False)
    for header, is_word in zip(table.headers, words, strict=True):
        grid.add_column(_text(header), overflow="fold", no_wrap=is_word and fits)
    for row, following in itertools.zip_longest(table.rows, table.rows[1:]):
        lines = replace(table, rows=[row]).row_a_line(repeated=False)
        for line in lines:
            grid.add_row(*map(_text, line))
        if following is not None and len(lines) > 1:
            grid.add_section()
    file = io.StringIO()
    # Plain text of the width that was asked for, whatever the environment says of colours, notebooks and widths.
    console = Console(
        file=file, width=width, color_system=None, force_terminal=False, force_jupyter=False, legacy_windows=False
    )
    console.print(grid)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _text(cell: Any) -> Text:
    return Text("\n".join(map(_line, _lines(cell))))


def _widths(table: Table) -> list[int]:
    columns = zip(table.headers, *table.rows, strict=True)
    return [max(cell_len(_line(line)) for cell in column for line in _lines(cell)) for column in columns]


def _lines(cell: Any) -> tuple[Any, ...]:
    return cell if isinstance(cell, tuple) else (cell,)


def _line(cell: Any) -> str:
    return visible(plain(cell))
