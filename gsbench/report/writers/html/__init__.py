"""A report as one HTML page that needs nothing beside itself: style, script and figures stand in it.

The text is that of the Markdown page: the same sections, arranged by question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from gsbench.report.blocks import Block, Code, Link, Page, Section, Text, titled
from gsbench.report.drawn import drawn
from gsbench.report.page import GLANCE, QUESTIONS
from gsbench.report.text import csv_text, one_line
from gsbench.report.writers.html.svg import colours_of, inline_svg
from gsbench.shown import visible
from gsbench.version import __version__

FIRST = ("pareto", "training_pareto")  # the figures that stand under the answer, as far as they were drawn
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Drawing:
    """What the template prints of a figure, beside its title and its caption."""

    svg: Markup
    alt: str
    has_data: bool


@dataclass(frozen=True)
class Part:
    """A section as the template takes it; `id` is what the table of contents links to."""

    id: str
    title: str
    blocks: Sequence[Block]
    heading: str  # the id of its heading


def whole(page: Page, svgs: Mapping[str, str]) -> str:
    """The whole page; `svgs` are the figures as matplotlib saved them, by name.

    The answer comes first, then the Pareto figure and the one-glance table, then the sections by question, and at the
    end all records.
    """
    figures = [section.figure for section in page.sections if section.figure]
    tables = {figure.name: drawn(figure.plot.figure) for figure in figures}
    drawings = {
        figure.name: Drawing(
            Markup(inline_svg(figure.name, svgs[figure.name], figure.plot)),
            alt_text(figure.plot.title, tables[figure.name]),
            len(tables[figure.name]) > 0,
        )
        for figure in figures
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, finalize=_finalize,
    )  # fmt: skip
    environment.filters["inline"] = inline
    first, questions = _arranged(page)
    return environment.get_template("page.html.j2").render(
        page=page,
        version=__version__,
        first=first,
        questions=questions,
        drawings=drawings,
        colours=colours_of(drawing.svg for drawing in drawings.values()),
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "script.js").read_text(encoding="utf-8")),
        data=_json({key: csv(table) for key, table in tables.items() if len(table)}),
    )


def _finalize(value: Any) -> Any:
    """Whatever the template prints: text in one line in which nothing is hidden, which jinja2 escapes."""
    return value if isinstance(value, Markup) else one_line(value)


def csv(table: pd.DataFrame) -> str:
    """With a name for each axis that is the same in all panels in place of x and y."""
    for axis in ("x", "y"):
        labels = set(table[f"{axis}_axis"])
        label = next(iter(labels), "")
        if len(labels) == 1 and label and label not in table:
            names = {f"{axis}{end}": f"{label}{end.replace('_', ' ')}" for end in ("", "_low", "_high")}
            table = table.drop(columns=f"{axis}_axis").rename(columns=names)
    return csv_text(table)


def _json(content: Any) -> Markup:
    """JSON that cannot end the <script> in which it stands."""
    written = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def inline(text: Text) -> Markup:
    """The text of a paragraph, all of it escaped."""
    if isinstance(text, str):
        return escape(one_line(text))
    return Markup("").join(map(_piece, text))


def _piece(piece: str | Code | Link) -> Markup:
    if isinstance(piece, Link):
        return Markup('<a href="{0}">{0}</a>').format(piece.file)
    return Markup("<code>{}</code>").format(visible(piece.text)) if isinstance(piece, Code) else escape(visible(piece))


def alt_text(title: str, table: pd.DataFrame) -> str:
    """What the figure shows, for who does not see it: its panels, what is drawn in them, and from where to where."""
    if table.empty:
        return f"{title}. Images; what they are is said in the caption."
    panels = [panel for panel in dict.fromkeys(table["panel"]) if panel]
    names = [name for name in dict.fromkeys(table["name"]) if name not in ("", "Pareto front")]
    axes = {axis: [label for label in dict.fromkeys(table[f"{axis}_axis"]) if label] for axis in ("x", "y")}
    ranges = ". ".join(_range(table, axis, label) for axis, labels in axes.items() for label in labels[:2])
    many = f"{len(panels)} panels: {_few(panels)}" if len(panels) > 1 else ": ".join(["One panel", *panels])
    of = f" Drawn are {_few(names)}." if names else ""
    return f"{title}. {many}.{of} {ranges}.{_courses(table)} The numbers are in the CSV."


def _courses(table: pd.DataFrame, most: int = 8) -> str:
    """From where to where the lines of the last panel go."""
    panel = table["panel"].iloc[-1]
    own = table[(table["panel"] == panel)].dropna(subset=["x", "y"])
    lines = [(name, line) for name, line in own.groupby("name", sort=False) if line["x"].nunique() > 1]
    told = [
        f"{name} from {line['y'].iloc[0]:.3g} at {line['x'].iloc[0]:.4g} to {line['y'].iloc[-1]:.3g} at "
        f"{line['x'].iloc[-1]:.4g}"
        for name, line in lines[:most]
        if name not in ("", "Pareto front")
    ]
    return f" In {panel or 'it'}: {', '.join(told)}." if told else ""


def _few(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _range(table: pd.DataFrame, axis: str, label: str) -> str:
    own = table.loc[table[f"{axis}_axis"] == label, axis].dropna()
    return f"{label}: from {own.min():.3g} to {own.max():.3g}" if len(own) else label


Question = tuple[str, str, list[Part]]  # its id, its title, and the sections that answer it


def _arranged(page: Page) -> tuple[list[Part], list[Question]]:
    """What stands under the answer, and the questions that have sections, with all records at the end."""
    first: list[Part] = []
    parts: dict[str, list[Part]] = {question: [] for question in QUESTIONS}
    for number, section in enumerate(page.sections):
        is_first = section.title == GLANCE or (section.figure and section.figure.name in FIRST)
        (first if is_first else parts[section.question]).append(_part(f"part-{number}", section))
    first.sort(key=lambda part: part.title == GLANCE)
    parts["machine"].insert(0, _part("runs", Section("Runs", page.head, "machine")))
    records = Part("all-records", "", [page.records], "")
    questions = [(question, title, parts[question]) for question, title in QUESTIONS.items() if parts[question]]
    return first, [*questions, ("records", page.records.title, [records])]


def _part(id: str, section: Section) -> Part:
    heading = section.figure.name if section.figure else id
    return Part(id, section.title, titled(section.blocks, section.title), f"{heading}-title")
