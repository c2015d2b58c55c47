"""Images by trained models: originals, reconstructions, analogies and samples of finished training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gsbench.data import DataFileError
from gsbench.records import text
from gsbench.records.reading import IMAGES, TRAINING, Reading
from gsbench.report.drawing.figure import Pictures
from gsbench.report.drawing.shapes import spread
from gsbench.report.drawing.sheet import Plot, make_sheet
from gsbench.report.drawing.styles import Look
from gsbench.training.images import read_images

MOST_RUNS = 4
MOST_ROWS = {"originals": 5, "reconstructions": 5, "analogies": 5, "samples": 4}
CELL = 0.36  # inches of an image with its margin
PAPER = 1 / 14  # margin on each side of an image, as a share of its width
GAP = 0.5  # gap between originals, reconstructions and analogies, and above samples, in image widths
HEAD = 0.8  # height of the columns' names, in image widths

Grids = dict[str, np.ndarray]


def image_grids(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """A block for the best run of each (task, K): originals, reconstructions and analogies, and samples below."""
    found, notes = _best_runs(frame)
    if not found:
        return None
    title = "Training runs: reconstructions, analogies and samples"
    rows = pd.DataFrame([row for row, _ in found])
    caption = (
        "Original: an image of the validation part. Reconstruction: decoded from its predicted class ŷ and its z. "
        "Analogies, to the right: decoded from its z and each class. Samples, below: each row has one z ~ N(0, I), "
        "each column one class, whose number is above it. Each task and K: the run with the best validation accuracy."
        f"{notes} {text.conditions(rows)}"
    )
    # The sizes of the largest block, with gaps, in image widths.
    columns = 2 + 2 * GAP + max(len(grids["classes"]) for _, grids in found)
    lines = HEAD + GAP + max(len(grids["originals"]) + len(grids["samples"]) for _, grids in found)
    figure, axes = make_sheet(
        len(found), 1, title=title, handles=(), caption=caption, panel=(CELL * columns, CELL * lines),
        gaps=(0.0, 0.6), at_left=0.25,
    )  # fmt: skip
    for ax, (row, grids) in zip(axes[:, 0], found, strict=True):
        _draw_block(ax, grids, columns, lines)
        ax.set_title(_block_title(row), loc="left")
    return Plot(title, caption, figure)


def _best_runs(frame: pd.DataFrame) -> tuple[list[tuple[pd.Series, Grids]], str]:
    """The best run of each (model, task, K) that has images; and a sentence on omitted runs."""
    if IMAGES not in frame:
        return [], ""
    rows = frame[(frame["group"] == TRAINING) & (frame["status"] == "ok") & frame[IMAGES].notna()]
    rows = rows.sort_values(["validation_accuracy", "case"], ascending=[False, True], kind="stable")
    best = [own.iloc[0] for _, own in rows.groupby(["model", "task", "n_classes"], sort=True)]
    note = f" {MOST_RUNS} of {len(best)} are shown." if len(best) > MOST_RUNS else ""
    return [(row, _read(row)) for row in spread(best, MOST_RUNS)], note


def without_damaged_images(reading: Reading) -> Reading:
    """The reading without unreadable images. A notice names each of their files."""
    records, notices = [], []
    for record in reading.records:
        if IMAGES in record:
            try:
                read_images(Path(record[IMAGES]))
            except (OSError, DataFileError) as error:
                path = Path(record[IMAGES])
                why = str(error).replace(str(path), f"{path.parent.name}/{path.name}")
                notices.append(
                    f"Left out: {why.rstrip('.')}. The record beside it counts; make the run again to have its images."
                )
                record = {field: value for field, value in record.items() if field != IMAGES}
        records.append(record)
    return Reading(tuple(records), (*reading.notices, *notices))


def _read(row: pd.Series) -> Grids:
    """The run's images, at most MOST_ROWS of each kind."""
    grids = read_images(Path(row[IMAGES]))
    classes = grids.pop("classes")
    return {"classes": classes} | {n: np.array(spread(images, MOST_ROWS[n])) for n, images in grids.items()}


def _draw_block(ax: Axes, grids: Grids, columns: float, lines: float) -> None:
    """Draws the images of one run. The unit of both axes is the width of an image; y points down."""
    ax.set(xlim=(0, columns), ylim=(lines - HEAD, -HEAD), aspect="equal", anchor="NW", xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[:].set_visible(False)
    places = [0.0, 1 + GAP, *(2 + 2 * GAP + i for i in range(len(grids["classes"])))]
    for i, (original, reconstruction, analogies) in enumerate(
        zip(grids["originals"], grids["reconstructions"], grids["analogies"], strict=True)
    ):
        for x, image in zip(places, [original, reconstruction, *analogies], strict=True):
            _draw_image(ax, image, x, i)
    below = len(grids["originals"]) + GAP
    for i, of_one_z in enumerate(grids["samples"]):
        for x, image in zip(places[2:], of_one_z, strict=True):
            _draw_image(ax, image, x, below + i)
    names = ["original", "recon-\nstruction", *map(str, grids["classes"])]
    for x, name in zip(places, names, strict=True):
        ax.text(x + 0.5, 0, name, ha="center", va="bottom", fontsize=7)
    ax.text(2, below + 0.2, "samples:\none z a row", ha="right", va="top", fontsize=7)


def _draw_image(ax: Axes, image: np.ndarray, x: float, y: float) -> None:
    """Draws an image with dark ink on light paper: 0 is paper, 255 is ink."""
    look: dict[str, Any] = {"cmap": "Greys", "vmin": 0, "vmax": 255, "aspect": "equal", "interpolation": "nearest"}
    ax.imshow(image, extent=(x + PAPER, x + 1 - PAPER, y + 1 - PAPER, y + PAPER), **look)


def _block_title(row: pd.Series) -> str:
    case = f"{text.model_name(row['model'])} on {row['task']}, K = {row['n_classes']:,.0f}"
    run = f"{row['estimator']}, seed {text.plain(row['seed'])}"
    return f"{case}\n{run}: {text.percent(row['validation_accuracy'])} on the validation part"


FIGURES = (Pictures(210, "image_grids", "accurate", TRAINING, image_grids, missed="never"),)
