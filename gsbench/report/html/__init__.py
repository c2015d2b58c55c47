"""A report as one HTML page that needs nothing beside itself: style, script and figures stand in it.

The text is that of the Markdown page: the same sections, arranged by question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from gsbench.report.drawing.points import alt_text, csv
from gsbench.report.html.records import TITLE as ALL_RECORDS
from gsbench.report.html.records import records_table
from gsbench.report.html.svg import colours_of, inline_svg
from gsbench.report.markup import Block, blocks_of, spans_of
from gsbench.report.page import GLANCE, QUESTIONS, Section
from gsbench.shown import visible
from gsbench.version import __version__

FIRST = ("pareto", "training_pareto")  # the figures that stand under the answer, as far as they were drawn
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Figure:
    """A figure as the template takes it."""

    key: str
    svg: Markup
    alt: str
    caption: str
    has_data: bool


@dataclass(frozen=True)
class Part:
    """A section as the template takes it; `id` is what the table of contents links to."""

    id: str
    title: str
    blocks: Sequence[Block]
    figure: Figure | None = None


@dataclass(frozen=True)
class Question:
    """A heading with the sections that answer it."""

    id: str
    title: str
    parts: list[Part] = field(default_factory=list)


def make_html(
    name: str,
    answer: Sequence[str],
    head: str,
    sections: Sequence[Section],
    frame: pd.DataFrame,
    svgs: Mapping[str, str],
) -> str:
    """The whole page. `head` is Markdown of `page.make_head`; `svgs` are the figures as matplotlib saved them, by name.

    The answer comes first, then the Pareto figure and the one-glance table, then the sections by question, and at the
    end all records.
    """
    tables = {section.figure: section.plot.points for section in sections if section.plot}
    figures = {
        section.figure: _figure(section, svgs[section.figure], tables[section.figure])
        for section in sections
        if section.plot
    }
    first, questions = _arranged(sections, figures)
    questions[-1].parts.insert(0, Part("runs", "Runs", blocks_of(head, "Runs")))
    records = records_table(frame)
    questions.append(Question("records", ALL_RECORDS, [Part("all-records", "", [records])]))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, finalize=_finalize,
    )  # fmt: skip
    environment.filters["inline"] = inline
    return environment.get_template("page.html.j2").render(
        name=name,
        version=__version__,
        answer=answer,
        first=first,
        questions=questions,
        colours=colours_of(figure.svg for figure in figures.values()),
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "script.js").read_text(encoding="utf-8")),
        data=_json({key: csv(table) for key, table in tables.items() if len(table)}),
    )


def _finalize(value: Any) -> Any:
    """Whatever the template prints: text in which nothing is hidden, which jinja2 escapes."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _json(content: Any) -> Markup:
    """JSON that cannot end the <script> in which it stands."""
    written = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def inline(text: str) -> Markup:
    """Markdown of a paragraph: see `markup.spans_of`. All text is escaped."""
    forms = {"text": "{0}", "code": "<code>{0}</code>", "link": '<a href="{0}">{0}</a>'}
    return Markup("").join(Markup(forms[span.kind]).format(visible(span.text)) for span in spans_of(text))


def _figure(section: Section, svg: str, table: pd.DataFrame) -> Figure:
    assert section.plot is not None
    inlined = Markup(inline_svg(section.figure, svg, section.plot))
    return Figure(section.figure, inlined, alt_text(section.plot.title, table), section.plot.caption, len(table) > 0)


def _arranged(sections: Sequence[Section], figures: Mapping[str, Figure]) -> tuple[list[Part], list[Question]]:
    """What stands under the answer, and the questions that have sections."""
    first: list[Part] = []
    questions = {key: Question(key, title) for key, title in QUESTIONS.items()}
    for number, section in enumerate(sections):
        blocks = blocks_of(section.body, section.title)
        part = Part(f"part-{number}", section.title, blocks, figures.get(section.figure))
        is_first = section.figure in FIRST or section.title == GLANCE
        (first if is_first else questions[section.question].parts).append(part)
    first.sort(key=lambda part: part.figure is None)
    return first, [question for question in questions.values() if question.parts]
