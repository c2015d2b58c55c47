"""Benchmark files → one tidy frame → figures, tables and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gsbench.matplotlib_import  # noqa: F401 (before matplotlib)

# isort: split
import pandas as pd

from gsbench.files import folder_written_whole
from gsbench.records.busy import busy_notice
from gsbench.records.frame import make_curves, make_frame, without_unknown
from gsbench.records.reading import IMAGES, TRAINING, Reading, ReportError, read_files, read_newest, recorded_at
from gsbench.records.text import csv_text, plain
from gsbench.report.blocks import Figure
from gsbench.report.drawing.sheet import Plot, figure_settings, save_figure
from gsbench.report.drawing.styles import make_look
from gsbench.report.figures import FIGURES
from gsbench.report.figures.images import without_damaged_images
from gsbench.report.glance import glance_text
from gsbench.report.page import MORE, make_page
from gsbench.report.writers import html, latex, markdown
from gsbench.values import shown

__all__ = [
    "FIGURES",
    "ReportError",
    "glance_text",
    "make_frame",
    "make_report",
    "read_runs",
    "write_report",
]

PAGE, MARKDOWN, SUMMARY, TABLES = "report.html", "report.md", "summary.md", "tables.tex"
RECORDS, PARQUET, CURVES = "records.csv", "records.parquet", "curves.csv"
FORMATS = ("png", "svg")


def make_report(
    paths: Sequence[str | Path] = (),
    *,
    storage: str | Path = ".benchmarks",
    name: str | None = None,
    output: str | Path = "reports",
) -> Path:
    """Reads benchmark files and writes the report to `<output>/<name>/`: see `write_report`.

    Without paths, it reads the newest run under `storage`. Without a name, the name is the start of the newest run.
    Returns the path of the HTML page. The same records give the same files. Raises ReportError if a file is missing or
    is no benchmark file.
    """
    return write_report(read_runs(paths, storage), name=name, output=output)


def read_runs(paths: Sequence[str | Path] = (), storage: str | Path = ".benchmarks") -> Reading:
    """The records of the given files, or of the newest run under `storage`. Raises ReportError."""
    reading = read_files([Path(path) for path in paths]) if paths else read_newest(Path(storage))
    return without_damaged_images(reading)


def write_report(reading: Reading, *, name: str | None = None, output: str | Path = "reports") -> Path:
    """Writes the report of the records, and returns the path of its HTML page.

    `report.html` needs no other file. Beside it lie the report in Markdown with its figures as PNG and SVG, a summary,
    the tables in LaTeX, and the records and curves as data (CSV; records as Parquet too). The folder holds either the
    old report or the new one, never a mixture. Unrelated files in it stay. Raises OSError if it cannot be written.
    """
    folder = Path(output) / check_name(default_name(reading) if name is None else name)
    notices = [*reading.notices, *filter(None, [busy_notice(reading.records)])]
    frame = make_frame(reading.records)
    curves = make_curves(reading.records, frame)
    drawings = [f"{figure}.{suffix}" for figure in (*FIGURES, *MORE) for suffix in FORMATS]
    ours = (PAGE, MARKDOWN, SUMMARY, TABLES, RECORDS, PARQUET, CURVES, *drawings)
    with folder_written_whole(folder, ours) as temporary:
        _write_data(frame, curves, temporary)
        frame = without_unknown(frame)
        with figure_settings():
            page = make_page(folder.name, notices, frame, curves, _draw(frame, curves))
            figures = [section.figure for section in page.sections if section.figure]
            svgs = {figure.name: _save(figure, temporary) for figure in figures}
        _write(temporary / MARKDOWN, markdown.whole(page))
        _write(temporary / SUMMARY, markdown.summary(page))
        _write(temporary / TABLES, latex.tables(page))
        _write(temporary / PAGE, html.whole(page, svgs))
    return folder / PAGE


def check_name(name: str) -> str:
    """Returns the name if a folder can have it; else raises ReportError."""
    # The limit leaves room for a temporary folder's longer name. Files of a report are UTF-8.
    size = len(name.encode("utf-8", "replace"))
    text = name.encode("utf-8", "ignore").decode() == name
    if name in ("", ".", "..") or any(character in name for character in '/\\:*?"<>|\0') or size > 200 or not text:
        allowed = "that of one folder, text of at most 200 bytes"
        raise ReportError(f"the report's name (--name) must be {allowed}, got {shown(name)}")
    return name


def _write_data(frame: pd.DataFrame, curves: pd.DataFrame, folder: Path) -> None:
    published = frame.drop(columns=[IMAGES], errors="ignore")
    _write(folder / RECORDS, csv_text(published))
    # A Parquet column has one type, so everything but numbers becomes text.
    texts = {field: published[field].map(plain, na_action="ignore") for field in published.select_dtypes("object")}
    with open(folder / PARQUET, "wb") as file:  # pyarrow cannot open paths that are not UTF-8
        published.assign(**texts).to_parquet(file, index=False)
    if len(curves):
        _write(folder / CURVES, csv_text(curves))


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8", newline="\n")


def default_name(reading: Reading) -> str:
    """The start of the newest run, such as 2026-11-22-161500; if unknown, a name made from the run's id."""
    starts: dict[str, list[str]] = {}
    for record in reading.records:
        time = recorded_at(record)
        starts.setdefault(record["run_id"], []).extend([f"{time:%Y-%m-%d-%H%M%S}"] if time else [])
    newest = max(starts, key=lambda run_id: (min(starts[run_id], default=""), run_id))
    plain = "".join(character if character.isascii() and character.isalnum() else "-" for character in newest)
    return min(starts[newest], default=plain)


def _draw(frame: pd.DataFrame, curves: pd.DataFrame) -> dict[str, Plot | None]:
    """Every figure; None for a figure without records."""
    # The chunk sizes of the streamed sum are not separate estimators: their own figure tells them apart.
    named = frame.loc[frame["group"] != "chunk", "estimator"].dropna()
    look = make_look(named, frame.loc[frame["group"] != TRAINING, "series"])
    figures = sorted(FIGURES.values(), key=lambda figure: figure.place)
    return {figure.name: figure.draw(frame, curves, look) for figure in figures}


def _save(figure: Figure, folder: Path) -> str:
    """Saves the figure as PNG and as SVG, and returns the SVG."""
    for form in FORMATS:
        with open(folder / f"{figure.name}.{form}", "wb") as file:
            save_figure(figure.plot.figure, file, form)
    return (folder / f"{figure.name}.svg").read_text(encoding="utf-8")
