"""Benchmark files → one tidy frame → figures, tables and a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gsbench.report.figures import FIGURES
from gsbench.report.folder import check_name, written_whole
from gsbench.report.frame import make_curves, make_frame
from gsbench.report.glance import glance_table, glance_text
from gsbench.report.page import make_page
from gsbench.report.reading import IMAGES, TRAINING, Reading, ReportError, read_files, read_newest, recorded_at
from gsbench.report.style import Plot, figure_settings, make_look

__all__ = [
    "FIGURES",
    "ReportError",
    "glance_table",
    "glance_text",
    "make_frame",
    "make_report",
    "read_runs",
    "write_report",
]

PAGE, RECORDS, CURVES = "report.md", "records.csv", "curves.csv"
FORMATS = ("png", "svg")
OURS = (PAGE, RECORDS, CURVES, *(f"{name}.{suffix}" for name in FIGURES for suffix in FORMATS))


def make_report(
    paths: Sequence[str | Path] = (),
    *,
    storage: str | Path = ".benchmarks",
    name: str | None = None,
    output: str | Path = "reports",
) -> Path:
    """Reads benchmark files and writes the page, the CSV files and the figures to `<output>/<name>/`.

    No paths: the newest run under `storage`. No name: the time at which the newest run began. Returns the
    page's path. The same records give the same files. Raises ReportError when a file is missing or is no
    benchmark file.
    """
    reading = read_runs(paths, storage)
    return write_report(reading, name=name, output=output)


def read_runs(paths: Sequence[str | Path] = (), storage: str | Path = ".benchmarks") -> Reading:
    """The records of the files named, or of the newest run under `storage`. Raises ReportError."""
    return read_files([Path(path) for path in paths]) if paths else read_newest(Path(storage))


def write_report(reading: Reading, *, name: str | None = None, output: str | Path = "reports") -> Path:
    """Writes the page, the CSV files and the figures of what was read, and returns the page's path."""
    folder = Path(output) / check_name(default_name(reading) if name is None else name)
    frame = make_frame(reading.records)
    curves = make_curves(reading.records, frame)
    with written_whole(folder, PAGE, OURS) as temporary:
        # 15 digits are what a float64 is sure to keep; whole numbers come without a point.
        published = frame.drop(columns=[IMAGES], errors="ignore")
        published.to_csv(temporary / RECORDS, index=False, float_format="%.15g")
        if len(curves):
            curves.to_csv(temporary / CURVES, index=False, float_format="%.15g")
        plots = _draw(frame, curves, temporary)
        page = make_page(folder.name, reading.notices, frame, curves, plots)
        (temporary / PAGE).write_text(page, encoding="utf-8", newline="\n")
    return folder / PAGE


def default_name(reading: Reading) -> str:
    """The time at which the newest run began, such as 2026-11-22-161500; else a name made of the run's id."""
    starts: dict[str, list[str]] = {}
    for record in reading.records:
        time = recorded_at(record)
        starts.setdefault(record["run_id"], []).extend([f"{time:%Y-%m-%d-%H%M%S}"] if time else [])
    newest = max(starts, key=lambda run_id: (min(starts[run_id], default=""), run_id))
    plain = "".join(character if character.isalnum() else "-" for character in newest)
    return min(starts[newest], default=plain)


def _draw(frame: pd.DataFrame, curves: pd.DataFrame, folder: Path) -> dict[str, Plot | None]:
    """Draws and saves every figure; None for those that the records have nothing for."""
    # The streamed sum with each of its chunks is no estimator of its own: their figure tells them apart.
    named = frame.loc[frame["group"] != "chunk", "estimator"].dropna()
    look = make_look(named, frame.loc[frame["group"] != TRAINING, "series"])
    plots = {}
    with figure_settings():
        for name, draw in FIGURES.items():
            plots[name] = plot = draw(frame, curves, look)
            if plot:
                FigureCanvasAgg(plot.figure)
                plot.figure.savefig(folder / f"{name}.png")
                plot.figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return plots
