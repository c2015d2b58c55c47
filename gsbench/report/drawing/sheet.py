"""The common base of all figures: matplotlib's settings, and a sheet of panels."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from gsbench.files import write_whole
from gsbench.shown import printable

SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "gsbench",  # equal data give equal files
    "svg.fonttype": "none",  # text stays text, which can be searched and read aloud
    "text.parse_math": False,  # so that a name with two dollar signs is not a formula
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.markersize": 5.5,
    "lines.linewidth": 1.4,
    "errorbar.capsize": 2.5,
    "legend.frameon": False,
}


@contextmanager
def figure_settings() -> Iterator[None]:
    """A context with exactly our matplotlib settings. The user's own matplotlibrc has no effect."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def save_figure(figure: Figure, file: BinaryIO, form: str) -> None:
    """Writes the figure as "png" or "svg", within `figure_settings`. Equal figures give equal bytes."""
    FigureCanvasAgg(figure)
    figure.savefig(file, format=form, metadata={"Date": None} if form == "svg" else None)


def write_figure(figure: Figure, path: Path) -> None:
    """Writes the figure as .png or .svg, according to the path's suffix, whole or not at all. Raises WriteError."""
    write_whole(path, lambda file: save_figure(figure, file, path.suffix[1:]))


class SheetFigure(Figure):
    """A figure that is saved without hidden characters, so that its SVG is well-formed whatever names records have.

    A character that the font lacks is drawn as a box in a PNG, and is kept in an SVG.
    """

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        for text in self.findobj(Text):
            if (written := printable(text.get_text())) != text.get_text():
                text.set_text(written)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing|Matplotlib currently does not support")
            super().savefig(*args, **kwargs)


# Inches around and between the panels.
LEFT, RIGHT, GAP_X, GAP_Y, X_LABEL = 0.8, 0.25, 0.35, 0.5, 0.55
TITLE, LEGEND_LINE, CAPTION_LINE, PANEL_TITLE = 0.42, 0.22, 0.155, 0.42
NARROWEST = 7.2
# The ids of title and caption in a figure's SVG. A page that prints them itself leaves them out.
TITLE_ID, CAPTION_ID = "sheet-title", "sheet-caption"
CAPTION_SIZE = 7.5


@dataclass(frozen=True)
class Plot:
    """A drawn figure, its title and caption, which also stand on the page, and its `points`: see `points.published`. A
    sheet of images has no points.
    """

    title: str
    caption: str
    figure: Figure
    points: pd.DataFrame = field(default_factory=pd.DataFrame)


def _legend_lines(lengths: Sequence[int], width: float) -> int:
    """The fewest lines for labels of these lengths, set column by column, within `width` inches."""
    for lines in range(1, len(lengths) + 1):
        columns = [max(lengths[i : i + lines]) for i in range(0, len(lengths), lines)]
        if sum(0.72 + 0.078 * length for length in columns) <= width:
            return lines
    return max(1, len(lengths))


def make_sheet(
    rows: int,
    columns: int,
    *,
    title: str,
    handles: Sequence[Artist],
    caption: str,
    panel: tuple[float, float] = (3.5, 2.7),
    gaps: tuple[float, float] = (GAP_X, GAP_Y),
    share: dict[str, Any] | None = None,
    at_left: float = LEFT,
) -> tuple[Figure, np.ndarray]:
    """A figure and its panels: a title, the legend under it, rows × columns panels of `panel` inches, and the caption
    at the bottom. The panels have shape [rows, columns].

    `gaps` is the space between the panels in inches; `at_left` is the space to their left, for labels of the y axis.

    Sizes are computed in inches beforehand, so that nothing overlaps or is cut off, for any number of panels.
    """
    gap_x, gap_y = gaps
    width_of_gaps = at_left + RIGHT + (columns - 1) * gap_x
    width = max(NARROWEST, columns * panel[0] + width_of_gaps)
    panel_width = (width - width_of_gaps) / columns
    lines = textwrap.wrap(caption, int(width * 17))
    legend_lines = _legend_lines([len(str(handle.get_label())) for handle in handles], width)
    above = TITLE + legend_lines * LEGEND_LINE + PANEL_TITLE
    below = X_LABEL + len(lines) * CAPTION_LINE + 0.1
    height = above + rows * panel[1] + (rows - 1) * gap_y + below

    figure = SheetFigure(figsize=(width, height), dpi=160)
    grid = figure.add_gridspec(
        rows, columns,
        left=at_left / width, right=1 - RIGHT / width, top=1 - above / height, bottom=below / height,
        wspace=gap_x / panel_width, hspace=gap_y / panel[1],
    )  # fmt: skip
    axes = grid.subplots(squeeze=False, **(share or {}))
    left = 0.12 / width
    figure.text(left, 1 - 0.12 / height, title, fontsize=11.5, fontweight="bold", va="top", gid=TITLE_ID)
    for handle in handles:
        label = str(handle.get_label())  # with a space before an underscore, because matplotlib omits such labels
        handle.set_label(f" {label}" if label.startswith("_") else label)
    if handles:
        place = (left, 1 - (TITLE - 0.06) / height)
        figure.legend(
            handles=list(handles), loc="upper left", bbox_to_anchor=place, borderaxespad=0, borderpad=0,
            ncol=math.ceil(len(handles) / legend_lines), handlelength=2.6, columnspacing=1.8,
        )  # fmt: skip
    told: dict[str, Any] = {"fontsize": CAPTION_SIZE, "color": "#444444", "va": "bottom", "gid": CAPTION_ID}
    figure.text(left, 0.1 / height, "\n".join(lines), **told)
    return figure, axes
