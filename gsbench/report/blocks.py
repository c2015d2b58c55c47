"""What a section of a report is made of: blocks of plain text, of which `gsbench.report.writers` makes files.

Nothing in a block is escaped: each writer escapes it in its own way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd

from gsbench.report.drawing.sheet import Plot


@dataclass(frozen=True)
class Code:
    """A piece of a text that is printed as code."""

    text: str


@dataclass(frozen=True)
class Link:
    """A piece of a text that is a link to a file of the report: the name of the file is its text."""

    file: str


Text = str | Sequence[str | Code | Link]
Cell = Any  # a plain value, or a tuple of lines
Columns = Mapping[str, Callable[[dict[Any, Any]], Cell]]  # by its header how a column writes its cell of a row


@dataclass(frozen=True)
class Heading:
    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Paragraph:
    text: Text
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Notice:
    text: str
    kind: ClassVar[str] = "notice"


@dataclass(frozen=True)
class Items:
    items: Sequence[Text]
    kind: ClassVar[str] = "items"


@dataclass(frozen=True)
class Table:
    """Every row has as many cells as there are headers. Headers of several lines are for a terminal alone."""

    headers: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    kind: ClassVar[str] = "table"

    @classmethod
    def of(cls, columns: Columns, rows: pd.DataFrame, title: str = "") -> Table:
        """A row for each of `rows`, a column for each header, without those in which nothing stands."""
        cells = [[write(row) for write in columns.values()] for row in rows.to_dict("records")]
        return cls([*columns], cells, title).used()

    def used(self) -> Table:
        """The table without the columns in which every cell is ""."""
        used = [i for i in range(len(self.headers)) if any(row[i] != "" for row in self.rows)]
        rows = [[row[i] for i in used] for row in self.rows]
        return dataclasses.replace(self, headers=[self.headers[i] for i in used], rows=rows)

    def row_a_line(self) -> list[list[Cell]]:
        """The rows, where a row of cells of several lines becomes a row a line; a cell of one line stands in each."""
        rows = []
        for row in self.rows:
            cells = [cell if isinstance(cell, tuple) else (cell,) for cell in row]
            for i in range(max(map(len, cells))):
                rows.append([cell[0] if len(cell) == 1 else cell[i] if i < len(cell) else "" for cell in cells])
        return rows


@dataclass(frozen=True)
class Figure:
    """`name` is the name of its files, without the ending."""

    name: str
    plot: Plot
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Fold:
    """Blocks that are folded away under their summary."""

    summary: str
    blocks: Sequence[Block]
    kind: ClassVar[str] = "fold"


Block = Heading | Paragraph | Notice | Items | Table | Figure | Fold


@dataclass(frozen=True)
class Section:
    """What stands under one heading of the page. `question` is a key of `page.QUESTIONS`."""

    title: str
    blocks: Sequence[Block]
    question: str

    @property
    def figure(self) -> Figure | None:
        return next((block for block in self.blocks if isinstance(block, Figure)), None)


@dataclass(frozen=True)
class Page:
    """A whole report.

    answer     its paragraphs
    head       the runs that were read, and the notices
    short      what the summary has beside the answer
    records    all the records, which the HTML page alone has
    """

    name: str
    answer: Sequence[str]
    head: Sequence[Block]
    sections: Sequence[Section]
    short: Sequence[Block]
    records: Table


def titled(blocks: Iterable[Block], title: str) -> list[Block]:
    """The blocks with a title for each table: that of the heading or of the fold above it, else the one given."""
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
