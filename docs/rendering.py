"""The program's own words as reStructuredText: docstrings, and the help of all commands.

Both are written for a terminal, with formulas, tables of settings and examples set out by hand.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from gsbench.cli import make_parser
from gsbench.cli.completion import filled, subparsers
from gsbench.cli.parser import HEADS

# "q_y", "Σ_{k ∈ C}", "p^{D−s}": a letter with an index. Names as `log_q_y` and n_classes have more letters before it.
INDEX = re.compile(r"(?<![\w.])([^\W\d_]'?|[)\]}])([_^])(?:\{([^{}]*)\}|([^\W_]))(?!\w)")
ROLES = {"_": "sub", "^": "sup"}
ENTRY = re.compile(r"([\w.-]+(?:, [\w.-]+)*) {2,}(\S.*)")  # "name   text", a line of a table of settings


def whole_parser() -> argparse.ArgumentParser:
    """The parser of all commands with all options, for Sphinx."""
    parser = filled(make_parser())
    for each in (parser, *subparsers(parser).values()):
        each.usage = _short_usage(each)
        each.description, each.epilog = rendered(each.description), rendered(each.epilog)
        for action in each._actions:
            if action.help and action.help != argparse.SUPPRESS:
                action.help = _escaped(action.help)
    return parser


def _short_usage(parser: Any) -> str:
    """The usage without the options, which the page lists right below it."""
    formatter = parser._get_formatter()
    formatter.add_usage(None, [action for action in parser._actions if not action.option_strings], [], prefix="")
    return formatter.format_help().strip().replace(parser.prog, f"{parser.prog} [options]", 1)


def rendered(text: str | None) -> str:
    """The text with its paragraphs as paragraphs, its settings as definitions, and what is indented as it is."""
    return "\n".join(_lines(_apart((text or "").splitlines())))


def _apart(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield from ["", line] if line.startswith(HEADS) else [line]


def _lines(lines: Iterable[str]) -> Iterator[str]:
    for blank, group in groupby(lines, key=lambda line: not line.strip()):
        if not blank:
            yield from _paragraph([*group])


def _paragraph(lines: list[str]) -> Iterator[str]:
    if ENTRY.fullmatch(lines[0]) and all(line[0] == " " or ENTRY.fullmatch(line) for line in lines):
        for line in lines:
            entry = ENTRY.fullmatch(line)
            yield from [f"``{entry[1]}``", f"   {_escaped(entry[2])}"] if entry else [f"   {_escaped(line.strip())}"]
        yield ""
        return
    for indented, group in groupby(lines, key=lambda line: line[0] == " "):
        part = [*group]
        yield from ["::", "", *(f"   {line}" for line in part), ""] if indented else [_escaped(" ".join(part)), ""]


def _escaped(text: str) -> str:
    """The text with `code` as code. No other character of it is markup."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return _plain(text)
    return "".join(rf"\ ``{piece}``\ " if i % 2 else _plain(piece) for i, piece in enumerate(pieces))


def _plain(text: str) -> str:
    """The text with indices below and above the line. Markup has to stand apart, which the backslashes allow."""
    escaped = re.sub(r"([\\*|`])", r"\\\1", text)
    indexed = INDEX.sub(lambda m: rf"{m[1]}\ :{ROLES[m[2]]}:`{m[3] or m[4]}`\ ", escaped)
    return re.sub(r"_(?!`)", r"\_", indexed)


def docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A listener of autodoc, which shows the `lines` that this leaves."""
    lines[:] = _lines([*lines])
