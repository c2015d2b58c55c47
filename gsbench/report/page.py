"""The page of a report: its ordered sections, grouped by the questions that they answer."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from gsbench.backends import installed_backends
from gsbench.gallery import make_gallery
from gsbench.records import text
from gsbench.records.frame import MACHINE, measured
from gsbench.records.order import by_estimator
from gsbench.records.reading import TRAINING
from gsbench.records.sessions import CASE
from gsbench.report import gaps
from gsbench.report.answer import answer
from gsbench.report.blocks import Block, Figure, Fold, Items, Link, Notice, Page, Paragraph, Section, Table
from gsbench.report.drawing.sheet import Plot, figure_settings
from gsbench.report.figures import FIGURES
from gsbench.report.figures.gallery import draw_gallery
from gsbench.report.glance import glance_blocks
from gsbench.report.gradient_table import gradient_section
from gsbench.report.training_table import training_section
from gsbench.report.verdict import verdict_blocks, verdict_sentence, verdicts

GLANCE = "At a glance"
NO_GLANCE = "No full step, paired speed-up, peak memory or accuracy was measured."

# Id → question. A report answers these, in the HTML page's order.
QUESTIONS = {
    "fast": "How fast?",
    "memory": "How much memory?",
    "accurate": "How accurate?",
    "gradients": "How good are the gradients?",
    "whom": "Against whom?",
    "more": "What else?",
    "machine": "On what machine?",
}
# Figure → the section after it. The section appears even if the figure is missing.
SECTIONS: dict[str, Callable[[pd.DataFrame], Section | None]] = {
    "gradient_pareto": gradient_section,
    "training_curves": training_section,
}
# Further sections, before the last ones: name → a function of the frame that gives a Section or None. A figure of the
# section has the same name: see `of_plot`. A new section is a new line here.
MORE: dict[str, Callable[[pd.DataFrame], Section | None]] = {"gallery": lambda frame: _gallery(frame)}


def make_page(
    name: str, notices: Sequence[str], frame: pd.DataFrame, curves: pd.DataFrame, plots: Mapping[str, Plot | None]
) -> Page:
    """The page of a frame. Its figures are the values of `plots` that are not None, in the same order."""
    trained = training_section(frame) if (frame["group"] == TRAINING).all() else None
    head = [_runs(frame), *_joint_runs(frame), *map(Notice, notices)]
    found = verdicts(frame, curves)
    verdict = verdict_blocks(frame, found)
    unfolded = [block for block in verdict if not isinstance(block, Fold)]
    short = [*unfolded, *(glance_blocks(frame) or (trained.blocks if trained else [])), _machine(frame)]
    told = [*filter(None, [verdict_sentence(found)]), *answer(frame, bool(found))]
    return Page(name, told, verdict, head, make_sections(frame, curves, plots), short, gaps.records_table(frame))


def make_sections(frame: pd.DataFrame, curves: pd.DataFrame, plots: Mapping[str, Plot | None]) -> list[Section]:
    """The sections: the one-glance table, the figures with their tables, MORE, what is missing, and the conditions.
    Training runs alone have no one-glance table.
    """
    sections: list[Section | None] = [] if (frame["group"] == TRAINING).all() else [_glance(frame)]
    for key, plot in plots.items():
        figure = FIGURES[key]
        sections.append(of_plot(key, plot, figure.question, figure.table(frame) if plot else []))
        sections += [SECTIONS[key](frame)] if key in SECTIONS else []
    sections += [write(frame) for write in MORE.values()]
    return [
        *filter(None, sections),
        Section("Missing", gaps.missing(frame, plots), "machine"),
        Section("Skipped, failed and too large", [gaps.not_ok(frame)], "machine"),
        Section("Conditions", [gaps.conditions(frame)], "machine"),
        _files(curves),
    ]


def of_plot(name: str, plot: Plot | None, question: str, body: Sequence[Block] = ()) -> Section | None:
    """The section of a figure; `body` stands under it."""
    return Section(plot.title, [Figure(name, plot), *body], question) if plot else None


def _glance(frame: pd.DataFrame) -> Section:
    baselines = by_estimator(text.values(frame[frame["group"] == "speedup"], "baseline"))
    named = f"the baseline, {' or '.join(baselines)}" if baselines else "the baseline"
    timed = frame[frame["group"].isin(["step", "speedup", "memory"]) & (frame["status"] == "ok")]
    under = f" Time and memory: {text.conditions(timed)}" if len(timed) else ""
    note = (
        f"Step: median time of a full training step. Speed-up: how many times as fast as {named}, timed in pairs, "
        "alternating in one process, with its interval. Examples/s: unlabelled examples per second. Peak memory: the "
        "peak of live arrays, or of a GPU's memory, over one step. Accuracy: last validation accuracy. "
        f"{text.NOT_MEASURED}: not measured.{_bound_alone(frame)}{under}"
    )
    return Section(GLANCE, [*(glance_blocks(frame) or [Paragraph(NO_GLANCE)]), Paragraph(note)], "fast")


def _bound_alone(frame: pd.DataFrame) -> str:
    """A sentence on estimators with paired times of the bound alone. The table has no speed-up for them."""
    pairs = measured(frame, "speedup", "speedup", "timed")
    names = [set(pairs[pairs["timed"] == timed]["estimator"]) for timed in ("bound", "step")]
    alone = by_estimator(names[0] - names[1])
    if not alone:
        return ""
    return f" {text.listed(alone)}: timed in pairs in the bound alone; see the figure of the speed-up."


def _runs(frame: pd.DataFrame) -> Table:
    counts = frame.groupby("run", sort=False)["status"].agg(["size", lambda status: (status == "ok").sum()])
    return Table(["run", "records", "of them ok"], list(counts.itertuples()), "Runs")


def _joint_runs(frame: pd.DataFrame) -> list[Block]:
    """Names the runs that are read as one, their commits if they differ, and counts the cases measured repeatedly."""
    notes = []
    for _, rows in frame.groupby("joint_run", sort=False):
        if rows["run"].nunique() < 2:
            continue
        ok = rows[rows["status"] == "ok"]
        repeated = (ok.groupby([*CASE], dropna=False)["run"].nunique() > 1).sum()
        commits = text.values(rows, "gsbench_commit")
        names = text.listed(f"'{run}'" for run in text.values(rows, "run"))
        notes.append(f"Read as one, because they have one machine and the same versions: {names}.")
        notes += [f"They come from {len(commits)} commits: {text.listed(commits)}."] if len(commits) > 1 else []
        if repeated:
            are = "case was" if repeated == 1 else "cases were"
            notes.append(f"{repeated} {are} measured in more than one of them: figures show the median.")
    return [Paragraph(" ".join(notes))] if notes else []


def _machine(frame: pd.DataFrame) -> Paragraph:
    """`cpu: AMD EPYC; cores: 2; …`. A field that differs between records lists all values."""
    found = {field: [gaps.told(field, value) for value in text.values(frame, field)] for field in MACHINE}
    told = [
        f"{field.removeprefix('machine_').removesuffix('_bytes').replace('_', ' ')}: {', '.join(values)}"
        for field, values in found.items()
        if values
    ]
    return Paragraph(f"Machine: {'; '.join(told)}.")


def _gallery(frame: pd.DataFrame) -> Section | None:
    """Examples of Gumbel-Softmax draws, if an estimator in the records draws them, and a backend can draw them here."""
    drawn = (frame["gumbel_softmax"] == 1).any() and installed_backends()
    return of_plot("gallery", _gallery_plot() if drawn else None, "more")


@functools.cache
def _gallery_plot() -> Plot:
    """The same in all reports."""
    with figure_settings():
        return draw_gallery(make_gallery())


def _files(curves: pd.DataFrame) -> Section:
    names = {
        "report.html": "this report as one page, with tables that sort and figures that can be downloaded",
        "records.csv": "all the records, a row for each, with all their fields",
        "records.parquet": "all the records, for pandas and other readers of Parquet",
        **({"curves.csv": "the accuracy curves, a row for each evaluation"} if len(curves) else {}),
        "tables.tex": "the tables in LaTeX",
        "summary.md": "the answer in short, to paste into an issue",
    }
    return Section("Files", [Items([(Link(name), f": {what}") for name, what in names.items()])], "machine")
