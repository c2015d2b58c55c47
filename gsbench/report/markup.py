"""The Markdown of a section's body → its blocks, for what is no Markdown: the HTML page and the LaTeX tables.

Read is what the sections write, and no more of Markdown: headings of the third level, tables, lists, notices, what is
folded away in <details>, and paragraphs. The text of a heading, of a table and of a summary is plain: whoever prints it
escapes it. That of a paragraph, a notice and of items is Markdown, which `spans_of` reads.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

FOLD = re.compile(r"<details><summary>(.*?)</summary>\Z")
NOTICE = "> **Notice.** "


@dataclass(frozen=True)
class Heading:
    text: str
    kind: str = "heading"


@dataclass(frozen=True)
class Paragraph:
    text: str
    kind: str = "paragraph"


@dataclass(frozen=True)
class Notice:
    text: str
    kind: str = "notice"


@dataclass(frozen=True)
class Items:
    items: list[str]
    kind: str = "items"


@dataclass(frozen=True)
class Table:
    """Every row has as many cells as there are headers; a row of cells of several lines has become a row a line."""

    headers: list[str]
    rows: list[list[str]]
    title: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Fold:
    """Blocks that are folded away under their summary."""

    summary: str
    blocks: list[Block] = field(default_factory=list)
    kind: str = "fold"


Block = Heading | Paragraph | Notice | Items | Table | Fold


def blocks_of(body: str, title: str = "") -> list[Block]:
    """The blocks in their order; a table has the title of the heading or of the fold above it, else the one given."""
    found: list[Block] = []
    fold: Fold | None = None
    for chunk in filter(None, (chunk.strip("\n") for chunk in body.split("\n\n"))):
        begins = FOLD.match(chunk)
        if begins:
            fold = Fold(_plain(begins[1]))
            found.append(fold)
        elif chunk == "</details>":
            fold = None
        else:
            block = _block(chunk, fold.summary if fold else title)
            title = block.text if isinstance(block, Heading) else title
            (fold.blocks if fold else found).append(block)
    return found


def tables_of(body: str, title: str = "") -> Iterator[Table]:
    """The tables of a body, those that are folded away too."""
    for block in blocks_of(body, title):
        inner = block.blocks if isinstance(block, Fold) else [block]
        yield from (one for one in inner if isinstance(one, Table))


def _block(chunk: str, title: str) -> Block:
    lines = chunk.splitlines()
    if chunk.startswith("### "):
        return Heading(_plain(chunk[4:]))
    if chunk.startswith(NOTICE):
        return Notice(chunk.removeprefix(NOTICE))
    if all(line.startswith("- ") for line in lines):
        return Items([line[2:] for line in lines])
    if len(lines) > 1 and all(line.startswith("|") for line in lines):
        return _table(lines, title)
    return Paragraph(chunk)


def _table(lines: list[str], title: str) -> Table:
    headers, _, *rows = [_cells(line) for line in lines]
    n = len(headers)
    found = [single for row in rows for single in _row_a_line((row + [[""]] * n)[:n])]
    return Table([" ".join(header) for header in headers], found, title)


def _cells(line: str) -> list[list[str]]:
    """The lines of each cell."""
    cells = re.split(r"(?<!\\)\|", line.strip()[1:-1])
    return [[_plain(part) for part in cell.split("<br>")] for cell in cells]


def _row_a_line(cells: list[list[str]]) -> Iterator[list[str]]:
    """Cells of one line stand in every row."""
    for i in range(max(map(len, cells))):
        yield [cell[0] if len(cell) == 1 else cell[i] if i < len(cell) else "" for cell in cells]


SPAN = re.compile(r"(?<!\\)`([^`]+)`|\[([\w.-]+)\]\(\2\)")


@dataclass(frozen=True)
class Span:
    """A piece of a paragraph: "text", "code", or "link" to a file that has the text as its name."""

    text: str
    kind: str = "text"


def spans_of(markdown: str) -> Iterator[Span]:
    """The pieces of what is Markdown: `…` is code, [file](file) a link; all else is text."""
    at = 0
    for found in SPAN.finditer(markdown):
        yield Span(plain(markdown[at : found.start()]))
        yield Span(found[1], "code") if found[1] else Span(found[2], "link")
        at = found.end()
    yield Span(plain(markdown[at:]))


def plain(markdown: str) -> str:
    """Without what `text.markdown_cell` writes for what Markdown would take for markup."""
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown))


def _plain(text: str) -> str:
    return plain(text.strip())
