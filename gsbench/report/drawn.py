"""What a figure shows, as a table: read from the figure itself, so that it is what is drawn and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gsbench.report.axes import MEASURED_AT, OPEN_ENDED

COLUMNS = ("panel", "name", "x_axis", "x", "x_low", "x_high", "y_axis", "y", "y_low", "y_high")
OPTIONAL = ("x_low", "x_high", "y_low", "y_high")


def drawn(figure: Figure) -> pd.DataFrame:
    """A row a point: the panel, what is drawn, the axes' labels, x and y and the ends of the bars or of the band.

    Lines without a name, which are there for the eye alone, are left out; so are columns in which nothing stands. What
    is at the edge of a panel whatever the axis says has no y. Empty where the figure has no lines, as of images.
    """
    rows = [row for ax in figure.axes if ax.get_visible() for row in _of_panel(ax)]
    table = pd.DataFrame(rows, columns=[*COLUMNS])
    return table.drop(columns=[name for name in OPTIONAL if table[name].isna().all()])


def _of_panel(ax: Axes) -> Iterator[dict[str, Any]]:
    head = {"panel": _one_line(_title(ax)), "x_axis": _label(ax, "x"), "y_axis": _label(ax, "y")}
    with_bars = [container for container in ax.containers if isinstance(container, ErrorbarContainer)]
    parts = {part for bars in with_bars for part in (bars.lines[0], *bars.lines[1], *bars.lines[2])}
    for bars in with_bars:
        for point in _with_bars(bars):
            yield {**head, "name": str(bars.get_label()), **point}
    for container in ax.containers:
        if isinstance(container, BarContainer):
            for bar in container.patches:
                yield {**head, "name": _name(container), "x": bar.get_x() + bar.get_width() / 2, "y": bar.get_height()}
    for upright in ax.collections:
        if isinstance(upright, LineCollection) and upright not in parts:
            for _, (x, y) in upright.get_segments():
                yield {**head, "name": _name(upright), "x": float(x), "y": float(y)}
    for line in ax.lines:
        if line not in parts and _is_named(line):
            for point in _of_line(ax, line):
                yield {**head, "name": str(line.get_label()), **point}
    for band in ax.collections:
        if isinstance(band, PolyCollection) and _is_named(band):
            for point in _of_band(band):
                yield {**head, "name": str(band.get_label()), **point}


def _is_named(artist: Any) -> bool:
    return not str(artist.get_label()).startswith("_")  # matplotlib's own names begin so


def _name(artist: Any) -> str:
    return str(artist.get_label()) if _is_named(artist) else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _title(ax: Axes) -> str:
    """Its own; else that of the nearest panel above it, for a column of panels has its title at the top."""
    titles = [_own_title(other) for other in _in_line(ax, "x") if _row(other) <= _row(ax)]
    return next((title for title in reversed(titles) if title), "")


def _own_title(ax: Axes) -> str:
    return next((title for side in ("center", "left") if (title := ax.get_title(loc=side))), "")


def _label(ax: Axes, axis: str) -> str:
    """Its own label; else that of another panel of its column (x) or of its row (y), which stand there but once."""
    own = [getattr(other, f"get_{axis}label")() for other in [ax, *_in_line(ax, axis)]]
    return _one_line(next(filter(None, own), ""))


def _in_line(ax: Axes, axis: str) -> list[Axes]:
    """The panels of one column (x), from the top, or of one row (y), from the left, this one among them."""
    spec = ax.get_subplotspec()
    others = [other for other in ax.figure.axes if other.get_subplotspec() is not None]
    if spec is None:
        return [ax]
    span = "colspan" if axis == "x" else "rowspan"
    own = [o for o in others if getattr(o.get_subplotspec(), span).start == getattr(spec, span).start]
    return sorted(own, key=lambda other: other.get_subplotspec().num1)  # type: ignore[union-attr]


def _row(ax: Axes) -> int:
    spec = ax.get_subplotspec()
    return spec.rowspan.start if spec is not None else 0


def _with_bars(container: ErrorbarContainer) -> Iterator[dict[str, float]]:
    """The points of an errorbar(), each with the ends of its bars; without a high end where the interval has none."""
    line, _, bars = container.lines
    names = [name for name, there in (("x", container.has_xerr), ("y", container.has_yerr)) if there]
    ends = {name: np.array(bar.get_segments()) for name, bar in zip(names, bars, strict=True)}  # [points, 2, 2]
    xs = getattr(line, MEASURED_AT, np.asarray(line.get_xdata()))
    open_ended = getattr(line, OPEN_ENDED, [])
    for i, (x, y) in enumerate(zip(xs, np.asarray(line.get_ydata()), strict=True)):
        point = {"x": float(x), "y": float(y)}
        for name, segments in ends.items():
            of_axis = segments[i, :, 0 if name == "x" else 1]
            point |= {f"{name}_low": float(of_axis.min()), f"{name}_high": float(of_axis.max())}
        if i < len(open_ended) and open_ended[i]:
            point.pop("y_high", None)
        yield point


def _of_line(ax: Axes, line: Line2D) -> Iterator[dict[str, float]]:
    in_data = line.get_transform() == ax.transData
    for x, y in zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True):
        yield {"x": float(x), **({"y": float(y)} if in_data else {})}


def _of_band(band: PolyCollection) -> Iterator[dict[str, float]]:
    """What fill_between() filled: its outline begins at the first upper point, then goes along the lower ones, over
    the last upper point and back along the upper ones."""
    for path in band.get_paths():
        corners = np.asarray(path.vertices)
        n = (len(corners) - 3) // 2
        one, other = corners[1 : n + 1], corners[n + 2 : 2 * n + 2][::-1]
        for (x, first), (_, second) in zip(one, other, strict=True):
            yield {"x": float(x), "y_low": float(min(first, second)), "y_high": float(max(first, second))}
