"""Draws time and memory against K: the measurements, the fitted curve with its band, and the held-out errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gsbench.planner.curve import Curve
from gsbench.planner.result import Plan
from gsbench.planner.table import heading
from gsbench.planner.work import METRICS
from gsbench.records.text import three_digits
from gsbench.report.drawing.axes import class_axis, plain_log
from gsbench.report.drawing.sheet import figure_settings, make_sheet, write_figure
from gsbench.report.drawing.styles import Look, make_look

FORMATS = (".png", ".svg")
LABELS = {
    "step": ("training step", "seconds", 1.0),
    "bound": ("unlabelled bound", "seconds", 1.0),
    "memory": ("peak of live arrays", "MiB", 2.0**20),
    "process": ("peak of a fresh process", "MiB", 2.0**20),
}
GREY = "#555555"
POINTS = 60


def save_figure(plan: Plan, path: str | Path) -> Path:
    """Draws time and memory against K to a file, which is written whole or not at all.

    Raises ValueError for a name that ends in neither .png nor .svg, OSError if the file cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"a figure's name ends in {' or '.join(FORMATS)}, got {str(path)!r}")
    with figure_settings():
        write_figure(draw(plan), path)
    return path


def draw(plan: Plan) -> Figure:
    """One panel for the time of a step (else of the bound), one for memory. Call it within `figure_settings`."""
    drawn = [m for m in METRICS if any(curve.metric == m for curve in plan.curves)]
    times = [m for m in drawn if m in ("step", "bound")][:1]
    metrics = [*times, *[m for m in drawn if m in ("memory", "process")][:1]]
    curves = [curve for curve in plan.curves if curve.metric in metrics]
    names = list(dict.fromkeys(curve.estimator for curve in curves))
    look = make_look(names, [""])
    least = min([*_counts(plan), *(k for curve in curves for k in curve.counts)])
    most = max([*_counts(plan), *(k for curve in curves for k in curve.counts)])
    figure, axes = make_sheet(
        1, len(metrics), title="What a training step will take, by number of classes",
        handles=[*look.handles(names, [""]), *_legend(plan, metrics)], caption=_caption(plan),
        panel=(4.4, 3.2), gaps=(0.85, 0.5),
    )  # fmt: skip
    for ax, metric in zip(axes[0], metrics, strict=True):
        title, unit, scale = LABELS[metric]
        ax.set(title=title, xlabel="number of classes K", ylabel=unit)
        ax.set_yscale("log")
        own = [curve for curve in curves if curve.metric == metric]
        for curve in own:
            _draw_curve(ax, curve, look, (least, most), scale)
        _shade(ax, own, least, most)
        _mark_crossovers(ax, plan, metric, look, (least, most))
        class_axis(ax, [least, most, *(k for curve in own for k in curve.counts), *_counts(plan)])
        plain_log(ax.yaxis)
    return figure


def _counts(plan: Plan) -> list[int]:
    return [p.n_classes for p in plan.predictions]


def _draw_curve(ax: Axes, curve: Curve, look: Look, ends: tuple[int, int], scale: float) -> None:
    """The line is solid within the measured class counts and dashed beyond them and at other sizes."""
    grid = np.unique([*np.geomspace(*ends, POINTS).round().astype(int), *curve.counts]).tolist()
    value, low, high = np.array([curve.bounds(k) for k in grid]).T / scale
    colour, marker = look.estimators[curve.estimator]
    ax.fill_between(grid, low, high, color=colour, alpha=0.14, linewidth=0)
    measured = np.array([not curve.extrapolates(k) for k in grid])
    ax.plot(grid, value, color=colour, linestyle="--", linewidth=1.1)
    ax.plot(np.array(grid)[measured], value[measured], color=colour)
    if curve.shape != curve.measured_shape:
        return  # the measurements are of other sizes
    points = curve.points
    ax.plot(points["n_classes"], points["value"] / scale, marker, color=colour, markersize=4.5, alpha=0.8)
    for found in curve.held_out:
        if found.way == "left out":
            ax.plot(found.n_classes, found.predicted / scale, "x", color=colour, markersize=6, markeredgewidth=1.1)


def _shade(ax: Axes, curves: list[Curve], least: int, most: int) -> None:
    """Shades the class counts beyond the measurements of all curves of the panel."""
    first, last = min(c.counts[0] for c in curves), max(c.counts[-1] for c in curves)
    for low, high in ((least / 1.25, first), (last, most * 1.25)):
        if low < first <= high or (low >= last and most > last):
            ax.axvspan(low, high, color=GREY, alpha=0.08, linewidth=0, zorder=0)


def _mark_crossovers(ax: Axes, plan: Plan, metric: str, look: Look, ends: tuple[int, int]) -> None:
    """The labels stand below one another, so that they are readable at nearly the same K."""
    own = [c for c in plan.crossovers if c.metric == metric and c.verdict == "from"]
    shown = [(c, c.n_classes) for c in own if c.n_classes and ends[0] <= c.n_classes <= ends[1]]
    for row, (c, k) in enumerate(shown):
        colour = look.estimators[c.estimator][0]
        ax.axvline(k, color=colour, linestyle=":", linewidth=1.2)
        label = f"K = {k:,}: {three_digits(c.ratio)} \N{MULTIPLICATION SIGN} cheaper"
        right = k**2 < ends[0] * ends[1]  # the label stands on the side of its line with more room
        place: dict[str, Any] = {"xycoords": ax.get_xaxis_transform(), "textcoords": "offset points"}
        place |= {"xytext": (4 if right else -4, -11 * row), "ha": "left" if right else "right", "va": "top"}
        ax.annotate(label, (k, 0.98), fontsize=7, color=colour, **place)


def _legend(plan: Plan, metrics: list[str]) -> list[Any]:
    entries: list[Any] = [
        Line2D([], [], color=GREY, linestyle="--", label="extrapolated"),
        Patch(color=GREY, alpha=0.2, label="95 % interval"),
    ]
    if any(h.way == "left out" and h.metric in metrics for h in plan.held_out):
        entries.append(Line2D([], [], color=GREY, marker="x", linestyle="", label="predicted without that K"))
    if any(c.verdict == "from" and c.metric in metrics for c in plan.crossovers):
        entries.append(Line2D([], [], color=GREY, linestyle=":", label="crossover"))
    return entries


def _caption(plan: Plan) -> str:
    return (
        f"{heading(plan).replace(chr(10), ', ')}. Markers: measurements. Lines: a sum of costs with fitted factors (a "
        "constant, operations of matrix products, parameters; for memory, the estimated bytes). Bands: 95 % prediction "
        "intervals of a new measurement; they widen with the distance from the measured class counts. Shaded: class "
        "counts outside the measured range."
    )
