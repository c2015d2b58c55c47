"""A report in Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Any

from tabulate import tabulate

from gsbench.records.text import one_line
from gsbench.report.blocks import Block, Code, Figure, Fold, Heading, Items, Link, Notice, Page, Paragraph, Table, Text
from gsbench.shown import visible

ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# Markdown's markup: at the beginning of a line (a heading, a list, a rule), and anywhere. A bracket is escaped only if
# it could end the text of a link. Addresses with a protocol or www. are escaped, because they would become links.
_MARKUP = re.compile(
    r"^(?:\#{1,6}|[-+])(?=\s|$)|^[-=](?=[-=\s]*$)|^\d{1,9}[.)](?=\s|$)"
    r"|[\\`*&<>|$]|(?<![^\W_])_|_(?![^\W_])|(?<!\s)~|~(?!\s)|\](?=[(\[:])|:(?=//)|(?<=\bwww)\.",
    re.IGNORECASE,
)


def whole(page: Page) -> str:
    """The whole page: the answer, the runs, the notices, and the sections."""
    told = [f"**{escaped(paragraph)}**" for paragraph in page.answer]
    parts = [f"# gsbench report: {escaped(page.name)}", *told, written(page.verdict), written(page.head)]
    for section in page.sections:
        parts += [f"## {escaped(section.title)}", written(section.blocks)]
    return "\n\n".join(filter(None, parts)) + "\n"


def summary(page: Page) -> str:
    """A short form of the report, for an issue."""
    told = [escaped(paragraph) for paragraph in page.answer]
    return "\n\n".join([f"**gsbench report: {escaped(page.name)}**", *told, written(page.short)]) + "\n"


def written(blocks: Iterable[Block]) -> str:
    return "\n\n".join(map(_block, blocks))


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"### {escaped(text)}"
        case Paragraph(text):
            return _inline(text)
        case Notice(text):
            return f"> **Notice.** {escaped(text)}"
        case Items(items):
            return "\n".join(f"- {_inline(item)}" for item in items)
        case Table(headers, rows):
            head, *lines = [[_cell(cell) for cell in row] for row in (headers, *rows)]
            return tabulate(lines, headers=head, tablefmt="github", disable_numparse=True)
        case Figure(name, plot):
            alt = escaped(plot.title.replace("[", "(").replace("]", ")"))
            return f"![{alt}]({name}.png)\n\n*{escaped(plot.caption)}* ([SVG]({name}.svg))"
        case Fold(told, blocks):
            return f"<details><summary>{html.escape(told, quote=False)}</summary>\n\n{written(blocks)}\n\n</details>"


def _inline(text: Text) -> str:
    return escaped(text) if isinstance(text, str) else "".join(map(_piece, text))


def _piece(piece: str | Code | Link) -> str:
    """A piece of text. Code with characters that could end the code becomes plain text."""
    if isinstance(piece, Link):
        return f"[{piece.file}]({piece.file})"
    if isinstance(piece, Code):
        is_safe = re.fullmatch(r"[\w .()=,/-]+", piece.text)
        return f"`{piece.text}`" if is_safe else escaped(piece.text)
    return _MARKUP.sub(_escaped, visible(piece))


def _cell(cell: Any) -> str:
    return "<br>".join(map(escaped, cell if isinstance(cell, tuple) else (cell,)))


def escaped(text: Any) -> str:
    """The text in one line, escaped for Markdown, also within a table. Hidden characters become visible."""
    return _MARKUP.sub(_escaped, one_line(text))


def _escaped(found: re.Match[str]) -> str:
    markup = found[0]
    number = markup[:-1] if markup[0].isdigit() else ""
    return ENTITIES.get(markup) or f"{number}\\{markup.removeprefix(number)}"
