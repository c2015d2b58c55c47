"""The Gumbel-Softmax gallery: a categorical distribution, and relaxed draws and their mean at several temperatures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gsbench.gallery import Gallery
from gsbench.report.drawing.sheet import Plot, make_sheet
from gsbench.report.drawing.styles import KNOWN

ACROSS = 5
PANEL = (1.3, 1.05)  # inches
GAPS = (0.3, 0.78)
NAMED = 12  # up to so many classes, each class has a number and each bar its value
UPRIGHT = 6  # up to so many classes, the values over bars are horizontal
THIN = 40  # beyond so many classes, bars are lines of the least visible width
UNSEEN = 1e-3  # smaller values are lower than a line is thick: they are left out if bars are lines
LINES = 10  # most temperatures in the table beside the categorical; the titles name all
PI, DRAW = "#555555", KNOWN["gumbel-softmax"][0]


def draw_gallery(gallery: Gallery) -> Plot:
    """The categorical with a table beside it, one draw at each τ, several draws at the lowest τ, and the means.

    The y axis of all panels is from 0 to 1.
    """
    title = f"Gumbel-Softmax draws of one categorical over {gallery.n_classes:,} classes, by temperature"
    caption, parts = _caption(gallery), _parts(gallery)
    rows = [-(-len(panels) // ACROSS) for panels in parts.values()]
    figure, axes = make_sheet(
        sum(rows), ACROSS, title=title, handles=(), caption=caption, panel=PANEL, gaps=GAPS, at_left=0.5
    )
    points = []
    for ax in axes.flat:
        ax.set_visible(False)
    for number, (heading, panels) in enumerate(parts.items()):
        first, name = sum(rows[:number]), "draws" if number else "π"
        box = axes[first, 0].get_position()
        figure.text(box.x0, box.y1 + 0.22 / figure.get_figheight(), heading, fontsize=9, fontweight="bold", va="bottom")
        for i, (told, values) in enumerate(panels):
            ax = axes[first + i // ACROSS, i % ACROSS]
            ax.set_visible(True)
            ax.set_xlabel("class", fontsize=7, labelpad=1)
            _bars(ax, values, DRAW if number else PI, told)
            if number == len(parts) - 1:
                _beside(ax, gallery.probabilities)
            for k in np.flatnonzero(values >= (UNSEEN if len(values) > THIN else 0)):
                points.append((f"{heading}: {told}", name, "class", k, "share", values[k]))
    _table(figure, axes[0], gallery)
    for row in axes:
        row[0].set_ylabel("share", fontsize=7, labelpad=2)
    columns = ["panel", "name", "x_axis", "x", "y_axis", "y"]
    return Plot(title, caption, figure, pd.DataFrame(points, columns=columns))


def _parts(gallery: Gallery) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Heading of a part → the (title, values) of its panels."""
    pi, taus = gallery.probabilities, [f"τ = {tau:g}" for tau in gallery.taus]
    mark = "line is" if gallery.n_classes <= NAMED else "dots are"
    means = zip(taus, gallery.from_categorical, gallery.means, strict=True)
    return {
        "The categorical π": [(f"largest {pi.max():.2f}", pi)],
        "One draw at each τ, with the same noise": [
            (f"{tau}: largest {s.max():.2f}", s) for tau, s in zip(taus, gallery.first, strict=True)
        ],
        f"{len(gallery.shown)} draws at {taus[0]}": [(f"class {s.argmax()}: {s.max():.2f}", s) for s in gallery.shown],
        f"The mean of {gallery.draws:,} draws at each τ; the {mark} π": [
            (f"{tau}: off π by {off:.2f}", mean) for tau, off, mean in means
        ],
    }


def _caption(gallery: Gallery) -> str:
    unseen = f" Values below {UNSEEN:g} are not drawn." if gallery.n_classes > THIN else ""
    return (
        "As Jang et al. 2017 (arXiv 1611.01144) define it: s = softmax((log π + g)/τ), g = −log(−log u) with u "
        "uniform on (0, 1), one g per class. A draw is nearly one-hot at a low temperature τ, nearly uniform at a high "
        "one. The mean of draws is near π at a low τ and near the uniform distribution at a high one. Every panel has "
        "the classes 0 … K−1 from left to right and the y axis from 0 to 1. All temperatures have the same noise. Off "
        "by: total "
        f"variation, ½ Σ |mean − π|, from 0 to 1; part of it is due to the number of draws. Seed {gallery.seed}, "
        f"float64.{unseen}"
    )


def _bars(ax: Axes, values: np.ndarray, colour: str, title: str) -> None:
    """A bar from 0 for each class, with its value if there is room."""
    n_classes = len(values)
    ax.set_title(title, fontsize=7.5, pad=5)
    ax.set(xlim=(-0.6, n_classes - 0.4), ylim=(0, 1), yticks=[0, 0.5, 1])
    ax.tick_params(labelsize=6.5, length=2)
    ax.grid(False, axis="x")
    if n_classes > THIN:
        (seen,) = np.nonzero(values >= UNSEEN)
        width = max(0.9, 72 * PANEL[0] / n_classes)  # points
        ax.vlines(seen, 0, values[seen], color=colour, linewidth=width)
    else:
        ax.bar(np.arange(n_classes), values, width=0.8, color=colour)
    if n_classes > NAMED:
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        return
    ax.set_xticks(range(n_classes))
    upright = n_classes > UPRIGHT
    for k, value in enumerate(values):
        inside = value > (0.7 if upright else 0.85)  # over the bar, the number would leave the panel
        ax.text(
            k, value + (-0.02 if inside else 0.02), f"{value:.2f}", fontsize=4.8, ha="center",
            va="top" if inside else "bottom", rotation=90 if upright else 0, color="white" if inside else "#222222",
        )  # fmt: skip


def _beside(ax: Axes, probabilities: np.ndarray) -> None:
    """Draws π for comparison with the bars: an outline of its bars or, for many classes, a dot for each visible one."""
    if len(probabilities) <= NAMED:
        ax.stairs(probabilities, np.arange(len(probabilities) + 1) - 0.5, color=PI, linewidth=0.8)
        return
    (seen,) = np.nonzero(probabilities >= 10 * UNSEEN)
    ax.plot(seen, probabilities[seen], linestyle="", marker="o", markersize=1.8, color=PI, markeredgewidth=0)


def _table(figure: Figure, first: Sequence[Axes], gallery: Gallery) -> None:
    """Writes a table beside the categorical, a line for each temperature."""
    box, right = first[1].get_position(), first[ACROSS - 1].get_position().x1
    width, shown = right - box.x0, min(len(gallery.taus), LINES)
    inches = min(0.155, PANEL[1] / shown)
    line = inches / figure.get_figheight()
    names = ("τ", "mean largest\nentry of a draw", "mean of draws\noff π by", "mean of draws\noff uniform by")
    columns = (
        [f"{tau:g}" for tau in gallery.taus],
        *([f"{value:.3f}" for value in values]
          for values in (gallery.mean_largest, gallery.from_categorical, gallery.from_uniform)),
    )  # fmt: skip
    for name, cells, at in zip(names, columns, (0.1, 0.4, 0.7, 1.0), strict=True):
        place, top = box.x0 + at * width, box.y1 + 0.1 / figure.get_figheight()
        figure.text(place, top, name, fontsize=7.5, ha="right", va="top", color="#444444")
        below = top - 0.31 / figure.get_figheight()
        for i, cell in enumerate(cells[:shown]):
            figure.text(place, below - i * line, cell, fontsize=min(8, 60 * inches), ha="right", va="top")
