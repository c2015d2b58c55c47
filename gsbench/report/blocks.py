"""The blocks of plain text that make up a section of a report. `gsbench.report.writers` turns them into files.

Nothing in a block is escaped: each writer escapes it in its own way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gsbench.report.drawing.sheet import Plot


@dataclass(frozen=True)
class Code:
    """A piece of a text, printed as code."""

    text: str


@dataclass(frozen=True)
class Link:
    """A link to a file of the report, within a text. The link shows the file's name."""

    file: str


Text = str | Sequence[str | Code | Link]
Cell = Any  # a plain value, or a tuple of lines
Columns = Mapping[str, Callable[[dict[Any, Any]], Cell]]  # header → the function that writes a row's cell


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: Text


@dataclass(frozen=True)
class Notice:
    text: str


@dataclass(frozen=True)
class Items:
    items: Sequence[Text]


@dataclass(frozen=True)
class Table:
    """Every row has as many cells as there are headers. Only a terminal can show headers of several lines.

    keys       the number of columns, from the left, that name a row; a table that is too wide is split after them
    together   the columns after the keys come in groups of so many, which are not parted
    """

    headers: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    keys: int = 0
    together: int = 1

    @classmethod
    def of(cls, columns: Columns, rows: pd.DataFrame, title: str = "") -> Table:
        """A table with a row for each of `rows` and a column for each header. Empty columns are left out."""
        cells = [[write(row) for write in columns.values()] for row in rows.to_dict("records")]
        return cls([*columns], cells, title).used()

    def used(self) -> Table:
        """The table without the columns in which every cell is ""."""
        used = [i for i in range(len(self.headers)) if any(row[i] != "" for row in self.rows)]
        return dataclasses.replace(self.with_columns(used), keys=sum(i < self.keys for i in used))

    def with_columns(self, columns: Sequence[int]) -> Table:
        """The table with these of its columns."""
        rows = [[row[i] for i in columns] for row in self.rows]
        return dataclasses.replace(self, headers=[self.headers[i] for i in columns], rows=rows)

    def row_a_line(self, repeated: bool = True) -> list[list[Cell]]:
        """The rows, with each row of n lines split into n rows.

        repeated   whether a cell of one line stands in all of them, or only in the first
        """
        rows = []
        for row in self.rows:
            cells = [cell if isinstance(cell, tuple) else (cell,) for cell in row]
            for i in range(max(map(len, cells), default=1)):
                first = [cell[0] if len(cell) == 1 and (repeated or not i) else "" for cell in cells]
                rows.append([cell[i] if i < len(cell) else one for cell, one in zip(cells, first, strict=True)])
        return rows


@dataclass(frozen=True)
class Figure:
    """A figure of a report. `name` is the name of its files without the suffix."""

    name: str
    plot: Plot


@dataclass(frozen=True)
class Fold:
    """Blocks folded away under a summary."""

    summary: str
    blocks: Sequence[Block]


Block = Heading | Paragraph | Notice | Items | Table | Figure | Fold


@dataclass(frozen=True)
class Section:
    """One heading of the page and its blocks. `question` is a key of `page.QUESTIONS`."""

    title: str
    blocks: Sequence[Block]
    question: str

    @property
    def figure(self) -> Figure | None:
        return next((block for block in self.blocks if isinstance(block, Figure)), None)


@dataclass(frozen=True)
class Page:
    """A whole report.

    answer     the paragraphs of the answer
    verdict    the table under it, with its notes
    head       the runs that were read, and the notices
    short      the other blocks of the summary
    records    all the records; only the HTML page shows them
    """

    name: str
    answer: Sequence[str]
    verdict: Sequence[Block]
    head: Sequence[Block]
    sections: Sequence[Section]
    short: Sequence[Block]
    records: Table


def titled(blocks: Iterable[Block], title: str) -> list[Block]:
    """The blocks, with each table titled after the heading or the fold above it; `title` is for tables before any."""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Heading):
            title = block.text
        elif isinstance(block, Table):
            block = dataclasses.replace(block, title=title)
        elif isinstance(block, Fold):
            block = dataclasses.replace(block, blocks=titled(block.blocks, block.summary))
        found.append(block)
    return found
