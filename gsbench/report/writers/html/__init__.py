"""A report as a single HTML page, which includes style, script and figures.

The page has the same sections as the Markdown page, arranged by question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import jinja2
from markupsafe import Markup, escape

from gsbench.records.text import one_line
from gsbench.report.blocks import Block, Code, Link, Page, Section, Table, Text, titled
from gsbench.report.drawing.points import alt_text, csv
from gsbench.report.page import GLANCE, QUESTIONS
from gsbench.report.writers.html.svg import colours_of, inline_svg
from gsbench.shown import visible
from gsbench.version import __version__

FIRST = ("accuracy_by_time", "pareto")  # the figure under the answer is the first of these that was drawn
LEADS = ("speedup",)  # stands before the other figures of its question
FOLDED = ("gradients", "more")  # questions of which every section is folded away; of the others all but the first
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A section for the template. The table of contents links to `id`."""

    id: str
    title: str
    blocks: Sequence[Block]
    heading: str  # the id of its heading


def whole(page: Page, svgs: Mapping[str, str]) -> str:
    """The whole page. `svgs` maps a figure's name to the SVG that matplotlib saved.

    The answer comes first, with its figure; then the sections by question, most of them folded; at the end all records.
    Without a verdict, the one-glance table stands under the answer.
    """
    plots = {section.figure.name: section.figure.plot for section in page.sections if section.figure}
    drawings = {name: Markup(inline_svg(name, svgs[name], plot)) for name, plot in plots.items()}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined, finalize=_finalize,
    )  # fmt: skip
    environment.filters |= {"inline": inline, "alt_text": alt_text}
    for kind in get_args(Block):
        environment.tests[kind.__name__.lower()] = lambda block, kind=kind: isinstance(block, kind)
    first, questions = _arranged(page)
    return environment.get_template("page.html.j2").render(
        page=page,
        version=__version__,
        first=first,
        questions=questions,
        drawings=drawings,
        colours=colours_of(drawings.values()),
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "script.js").read_text(encoding="utf-8")),
        data=_json({name: csv(plot.points) for name, plot in plots.items() if len(plot.points)}),
    )


def _finalize(value: Any) -> Any:
    """Prepares each value that the template prints: one line, hidden characters made visible. jinja2 escapes it."""
    return value if isinstance(value, Markup) else one_line(value)


def _json(content: Any) -> Markup:
    """JSON that cannot end the <script> around it."""
    written = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(written.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def inline(text: Text) -> Markup:
    """The escaped text of a paragraph."""
    if isinstance(text, str):
        return escape(one_line(text))
    return Markup("").join(map(_piece, text))


def _piece(piece: str | Code | Link) -> Markup:
    if isinstance(piece, Link):
        return Markup('<a href="{0}">{0}</a>').format(piece.file)
    return Markup("<code>{}</code>").format(visible(piece.text)) if isinstance(piece, Code) else escape(visible(piece))


@dataclass(frozen=True)
class Question:
    """A question, and the sections that answer it."""

    id: str
    title: str
    shown: list[Part]
    folded: list[Part]

    @property
    def parts(self) -> list[Part]:
        return [*self.shown, *self.folded]


def _arranged(page: Page) -> tuple[list[Part], list[Question]]:
    """The sections under the answer, and the questions with their sections; all records come last."""
    names = [section.figure.name if section.figure else "" for section in page.sections]
    under = next((name for name in FIRST if name in names), None)
    judged = any(isinstance(block, Table) for block in page.verdict)
    first: list[Part] = []
    parts: dict[str, list[tuple[bool, Part]]] = {question: [] for question in QUESTIONS}
    for number, (name, section) in enumerate(zip(names, page.sections, strict=True)):
        part = _part(f"part-{number}", section)
        if (name and name == under) or (section.title == GLANCE and not judged):
            first.append(part)
        else:
            parts[section.question].append((name not in LEADS, part))
    first.sort(key=lambda part: part.title == GLANCE)
    parts["machine"].insert(0, (False, _part("runs", Section("Runs", page.head, "machine"))))
    questions = []
    for question, title in QUESTIONS.items():
        own = [part for _, part in sorted(parts[question], key=lambda ranked: ranked[0])]
        shown = 0 if question in FOLDED else 1
        questions += [Question(question, title, own[:shown], own[shown:])] if own else []
    records = Part("all-records", "", [page.records], "")
    return first, [*questions, Question("records", page.records.title, [], [records])]


def _part(id: str, section: Section) -> Part:
    heading = section.figure.name if section.figure else id
    return Part(id, section.title, titled(section.blocks, section.title), f"{heading}-title")
