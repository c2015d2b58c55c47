"""The sections of a report, each written once, in Markdown: `make_page` joins them, and the HTML page arranges them by
question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from gsbench.gallery import make_gallery
from gsbench.report import gaps, text
from gsbench.report.accuracy import PANEL, equal_readouts
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.frame import measured
from gsbench.report.gallery_figure import draw_gallery
from gsbench.report.glance import glance_markdown
from gsbench.report.gradient_table import gradient_tables
from gsbench.report.peer_table import peer_table
from gsbench.report.reading import TRAINING
from gsbench.report.regression_figure import regression_markdown
from gsbench.report.roofline_figure import roofline_table
from gsbench.report.speedup_figure import HELD_AGAINST_JANG, JANG, jang
from gsbench.report.style import Plot
from gsbench.report.text import markdown_cell, markdown_table, table_of_used
from gsbench.report.training_table import training_section

GLANCE_NOTE = (
    "Step: median time of a full training step. Speed-up: how many times as fast as {baseline}, measured "
    "in pairs, in turn, in one process, with its interval. Examples/s: unlabelled examples per second. Peak "
    "memory: of the live arrays over one step; on a GPU, of the device. Accuracy: last validation accuracy. "
    f"{text.NOT_MEASURED}: not measured."
)  # to be formatted with the baseline's name

GLANCE = "At a glance"
NO_GLANCE = "No full step, paired speed-up, peak memory or accuracy was measured."


# The questions that a report answers, in the HTML page's order, by their ids.
QUESTIONS = {
    "fast": "How fast?",
    "memory": "How much memory?",
    "accurate": "How accurate?",
    "gradients": "How good are the gradients?",
    "whom": "Against whom?",
    "more": "What else?",
    "machine": "On what machine?",
}
# Which question a figure, and what follows it, helps to answer; else "more".
QUESTION_OF = {
    **dict.fromkeys(("steps_per_second", "speedup", "time_per_class", "fraction_of_peak", "chunk_sizes"), "fast"),
    **dict.fromkeys(("peak_memory", "training_memory"), "memory"),
    **dict.fromkeys(("pareto", "training_pareto", "accuracy_curves", "training_curves"), "accurate"),
    **dict.fromkeys(("accuracy_by_classes", "time_to_accuracy", "image_grids"), "accurate"),
    **dict.fromkeys(("gradient_bias", "gradient_variance", "gradient_price"), "gradients"),
    **dict.fromkeys(("gradient_pareto", "gradient_temperature"), "gradients"),
    **dict.fromkeys(("peers", "regression"), "whom"),
}


@dataclass(frozen=True)
class Section:
    """What stands under one heading of the page.

    `body` is Markdown as `text.markdown_cell` and `text.markdown_table` write it; `figure` is the name of the one that
    stands above it, drawn in `plot`; `question` is a key of QUESTIONS.
    """

    title: str
    body: str
    question: str
    figure: str = ""
    plot: Plot | None = None

    def markdown(self) -> str:
        image = _image(self.figure, self.plot) if self.plot else ""
        return "\n\n".join(filter(None, [f"## {markdown_cell(self.title)}", image, self.body]))


def make_page(
    name: str, answer: Sequence[str], notices: Sequence[str], frame: pd.DataFrame, sections: Sequence[Section]
) -> str:
    """The whole page in Markdown: the answer, the runs read, the notices, and the sections."""
    told = [f"**{markdown_cell(paragraph)}**" for paragraph in answer]
    parts = [f"# gsbench report: {markdown_cell(name)}", *told, make_head(notices, frame)]
    return "\n\n".join(filter(None, [*parts, *(section.markdown() for section in sections)])) + "\n"


def make_head(notices: Sequence[str], frame: pd.DataFrame) -> str:
    """The runs read, which of them are read as one, and the notices."""
    told = [f"> **Notice.** {markdown_cell(notice)}" for notice in notices]
    return "\n\n".join(filter(None, [_runs(frame), _joint_runs(frame), *told]))


def make_sections(frame: pd.DataFrame, curves: pd.DataFrame, plots: Mapping[str, Plot | None]) -> list[Section]:
    """The one-glance table, the figures (those of `plots` that are not None, in their order), the tables that go with
    them, MORE, what is missing, and the conditions. Of training runs alone there is no glance.
    """
    sections = [] if (frame["group"] == TRAINING).all() else [_glance(frame)]
    for key, plot in plots.items():
        question = QUESTION_OF.get(key, "more")
        if plot:
            body = TABLES[key](frame) if key in TABLES else ""
            sections.append(Section(plot.title, body, question, key, plot))
        written = [write(frame, curves) for write in SECTIONS.get(key, ())]
        sections += [_of_text(section, question) for section in written if section]
    more = [write(frame, curves) for write in MORE.values()]
    return [
        *sections,
        *(section for section in more if section),
        Section("Missing", gaps.missing(frame, plots), "machine"),
        Section("Skipped, failed and too large", gaps.not_ok(frame), "machine"),
        Section("Conditions", gaps.conditions(frame), "machine"),
        _files(curves),
    ]


def _of_text(written: str, question: str) -> Section:
    """The section that begins with its heading."""
    title, _, body = written.removeprefix("## ").partition("\n\n")
    return Section(title, body, question)


def _glance(frame: pd.DataFrame) -> Section:
    note = f"{_glance_note(frame)}{_timed_under(frame)}"
    body = f"{glance_markdown(frame) or NO_GLANCE}\n\n{markdown_cell(note)}"
    return Section(GLANCE, body, "fast")


def _glance_note(frame: pd.DataFrame) -> str:
    baselines = by_estimator(text.values(frame[frame["group"] == "speedup"], "baseline"))
    named = f"the baseline, {' or '.join(baselines)}" if baselines else "the baseline"
    return f"{GLANCE_NOTE.format(baseline=named)}{_bound_alone(frame)}"


def _bound_alone(frame: pd.DataFrame) -> str:
    """Whose speed-up is that of the bound and never of the step, so that the table has none."""
    pairs = measured(frame, "speedup", "speedup", "timed")
    names = [set(pairs[pairs["timed"] == timed]["estimator"]) for timed in ("bound", "step")]
    alone = by_estimator(names[0] - names[1])
    if not alone:
        return ""
    return f" {text.listed(alone)}: timed in pairs in the bound alone; see the figure of the speed-up."


def _timed_under(frame: pd.DataFrame) -> str:
    timed = frame[frame["group"].isin(["step", "speedup", "memory"]) & (frame["status"] == "ok")]
    return f" Time and memory: {text.conditions(timed)}" if len(timed) else ""


def _runs(frame: pd.DataFrame) -> str:
    counts = frame.groupby("run", sort=False)["status"].agg(["size", lambda status: (status == "ok").sum()])
    rows = [(run, size, ok) for run, size, ok in counts.itertuples()]
    return markdown_table(["run", "records", "of them ok"], rows)


def _joint_runs(frame: pd.DataFrame) -> str:
    """Which runs are read as one, whether they are of several commits, and what more than one of them measured."""
    notes = []
    for _, rows in frame.groupby("joint_run", sort=False):
        if rows["run"].nunique() < 2:
            continue
        ok = rows[rows["status"] == "ok"]
        repeated = (ok.groupby(["group", "case"])["run"].nunique() > 1).sum()
        commits = text.values(rows, "gsbench_commit")
        names = text.listed(f"'{run}'" for run in text.values(rows, "run"))
        notes.append(f"Read as one, being of one machine and the same versions: {names}.")
        notes += [f"They are of {len(commits)} commits: {text.listed(commits)}."] if len(commits) > 1 else []
        if repeated:
            are = "case was" if repeated == 1 else "cases were"
            notes.append(f"{repeated} {are} measured in more than one of them: figures show the median.")
    return markdown_cell(" ".join(notes))


def _image(key: str, plot: Plot) -> str:
    alt = markdown_cell(plot.title.replace("[", "(").replace("]", ")"))
    return f"![{alt}]({key}.png)\n\n*{markdown_cell(plot.caption)}* ([SVG]({key}.svg))"


def _held_against_jang(frame: pd.DataFrame) -> str:
    """Our figures at the two K of Jang et al., where M2 on `synthetic` was measured there."""
    rows = measured(frame, "speedup", "speedup")
    model, dataset = HELD_AGAINST_JANG
    rows = rows[(rows["model"] == model) & (rows["dataset"] == dataset) & (rows["timed"] == "step")]
    rows = rows[rows["n_classes"].isin(JANG)]
    if rows.empty:
        return ""
    medians = rows.groupby(["series", "n_classes", "estimator"])["speedup"].median()
    cells = [(series, k, name, text.times(ours), jang(k)) for (series, k, name), ours in medians.items()]
    return table_of_used(["", "K", "estimator", "M2 on synthetic, here", "Jang et al., fig. 5"], cells)


# The tables that follow figures.
TABLES: dict[str, Callable[[pd.DataFrame], str]] = {
    "speedup": _held_against_jang,
    "peers": peer_table,
    "regression": regression_markdown,
    "fraction_of_peak": roofline_table,
}


def _readouts(frame: pd.DataFrame, curves: pd.DataFrame) -> str:
    readouts = equal_readouts(curves)
    if readouts.empty:
        return ""
    tables = []
    for equal, title, write in (
        ("step", "the largest step that all reached", text.plain),
        ("second", "the largest second that all reached", text.seconds),
    ):
        own = readouts[readouts["equal"] == equal]
        tables.append(f"At {title}:\n\n{_readout_table(own, write)}")
    note = "Labels-only bounds neither: where it ended sooner, its last stands. Several seeds: their mean."
    return "## Accuracy at equal steps and at equal seconds\n\n" + "\n\n".join([*tables, note])


def _readout_table(readouts: pd.DataFrame, write: Callable[[float], str]) -> str:
    estimators = by_estimator(readouts["estimator"])
    rows = []
    for (series, model, task, k, at), own in readouts.groupby([*PANEL, "at"], sort=True, dropna=False):
        accuracies = dict(zip(own["estimator"], own["accuracy"], strict=True))
        cells = [_percent(accuracies.get(estimator)) for estimator in estimators]
        rows.append([series, text.model_name(model), task, k, write(at), *cells])
    return table_of_used(["", "model", "data", "K", "at", *estimators], rows)


def _percent(accuracy: float | None) -> str:
    return text.NOT_MEASURED if accuracy is None or pd.isna(accuracy) else text.percent(accuracy)


# The sections with a heading of their own, which follow a figure's place and stand without it too.
SECTIONS: dict[str, Sequence[Callable[[pd.DataFrame, pd.DataFrame], str]]] = {
    "gradient_pareto": (lambda frame, _: gradient_tables(frame),),
    "accuracy_curves": (_readouts, lambda frame, _: training_section(frame)),
}


# More sections before the last ones, by name: functions of (frame, curves) → a Section, or None where it has no place.
# Its figure, if it has one, is called as the section is: see `of_plot`. Adding one is a line here.
MORE: dict[str, Callable[[pd.DataFrame, pd.DataFrame], Section | None]] = {
    "gallery": lambda frame, curves: _gallery(frame),
}


def _gallery(frame: pd.DataFrame) -> Section | None:
    """What Gumbel-Softmax draws look like, where the records have an estimator that draws them."""
    if not (frame["gumbel_softmax"] == 1).any():
        return None
    return of_plot("gallery", draw_gallery(make_gallery()), "more")


def of_plot(name: str, plot: Plot | None, question: str, body: str = "") -> Section | None:
    """The section of a figure, with what stands under it."""
    return Section(plot.title, body, question, name, plot) if plot else None


def _files(curves: pd.DataFrame) -> Section:
    names = {
        "report.html": "this report as a page of its own, with tables that sort and figures that can be downloaded",
        "records.csv": "all the records, a row each, with all their fields",
        "records.parquet": "the same, for pandas and other readers of Parquet",
        **({"curves.csv": "the accuracy curves, a row an evaluation"} if len(curves) else {}),
        "tables.tex": "the tables in LaTeX",
        "summary.md": "the answer in short, to paste into an issue",
    }
    body = "\n".join(f"- [{name}]({name}): {what}" for name, what in names.items())
    return Section("Files", body, "machine")
