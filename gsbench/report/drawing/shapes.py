"""The base of all shapes of figures: panels on a sheet, legends, axes; and the shape of figures against K."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gsbench.report.drawing.axes import class_axis, leave_room, log, side_by_side
from gsbench.report.drawing.points import DEFAULTS, INTERVALS, TOLD
from gsbench.report.drawing.sheet import LEFT, make_sheet
from gsbench.report.drawing.styles import GREY, Look

UNFIT = "does not fit in memory"  # a kind of points
UNFIT_STYLE: dict[str, Any] = {"color": GREY, "marker": "x", "markeredgewidth": 2, "linestyle": ""}
LEVEL: dict[str, Any] = {"color": "#777777", "linewidth": 1}
UNTITLED = 0.3  # inches between rows of panels if only the first row has titles
PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}

Panels = Mapping[Axes, pd.DataFrame]


@dataclass(frozen=True)
class Metric:
    """The quantity on an axis. No other place says whether a higher value is better.

    more    the word for a higher value, such as "faster"; `with_direction` adds it to the label
    better  1 if higher is better, -1 if lower is better
    scale   sets up the axis: see `axes`
    level   a neutral value, such as a ratio of 1 or a bias of 0; a line marks it
    """

    label: str
    more: str = ""
    better: int = 0
    scale: Callable[[Axis, np.ndarray], None] = log
    level: float | None = None

    def named(self, label: str) -> Metric:
        return replace(self, label=label)

    def with_direction(self) -> Metric:
        """`training time (s) → slower`."""
        return self.named(f"{self.label} → {self.more}")


@dataclass(frozen=True)
class Shape:
    """The way from points to panels on a sheet.

    x, y      the axes, unless the points have their own
    panel     size of a panel in inches; for `gaps` and `at_left` see `make_sheet`
    columns   number of panels side by side, with separate axes; 0: points have `row` and `column`, panels `share` axes
    most      largest number of panels, chosen evenly from the first to the last; 0: all
    kinds     `kind` of points → style, for all kinds besides measurements
    joined    whether lines join the points; the entries of the legend have lines too
    """

    x: Metric
    y: Metric
    panel: tuple[float, float] = (3.5, 2.7)
    gaps: tuple[float, float] = (0.35, 0.5)
    at_left: float = LEFT
    columns: int = 0
    most: int = 0
    share: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    title_at: Literal["left", "center"] = "center"
    joined: bool = True

    def note(self, points: pd.DataFrame) -> str:
        """A sentence for the caption on how this shape draws the points."""
        return ""

    def draw_panel(self, ax: Axes, own: pd.DataFrame, points: pd.DataFrame, look: Look) -> None:
        raise NotImplementedError

    def laid_out(self, points: pd.DataFrame, look: Look) -> tuple[pd.DataFrame, str]:
        """The points with all columns of `drawing.points`, in the order of panels and of the legend, and a sentence on
        omitted panels. Measured points without x or y are left out.
        """
        points = points.reset_index(drop=True)
        known = {**DEFAULTS, "x_axis": self.x, "y_axis": self.y, "work": points["estimator"]}
        points = points.assign(**{name: value for name, value in known.items() if name not in points})
        texts = points[[name for name, value in DEFAULTS.items() if value == ""]].astype(object)
        points = points.assign(**texts.where(texts.notna(), ""))
        points = points[(points["kind"] != "") | points[["x", "y"]].notna().all(axis=1)]
        names, left_out = list(dict.fromkeys(points["panel"])), ""
        if self.most and len(names) > self.most:
            left_out = f" {len(names) - self.most} of {len(names)} panels are left out; see the CSV files."
            names = spread(names, self.most)
            points = points[points["panel"].isin(names)]
        if self.columns:
            place = points["panel"].map(names.index)
            points = points.assign(row=place // self.columns, column=place % self.columns)
        ranks = {axis: points[axis].map(sorted(set(points[axis])).index) for axis in ("row", "column")}
        return self.ordered(points.assign(**ranks), look), left_out

    def ordered(self, points: pd.DataFrame, look: Look) -> pd.DataFrame:
        ranks = {name: i for i, name in enumerate(look.estimators)}
        rank = points["estimator"].map(ranks).fillna(len(ranks))
        return points.assign(rank=rank).sort_values(["row", "column", "rank", "series"], kind="stable")

    def draw(self, points: pd.DataFrame, look: Look, title: str, caption: str) -> Figure:
        """The sheet for points from `laid_out`. To be called within `figure_settings`."""
        gaps = self.gaps
        if self.share.get("sharex") and points.groupby("column")["panel"].nunique().max() == 1:
            gaps = (gaps[0], UNTITLED)
        figure, axes = make_sheet(
            points["row"].max() + 1, points["column"].max() + 1, title=title, caption=caption,
            handles=self.handles(points, look), panel=self.panel, gaps=gaps, at_left=self.at_left,
            share=dict(self.share),
        )  # fmt: skip
        panels = {axes[place]: own for place, own in points.groupby(["row", "column"])}
        for ax in axes.flat:
            ax.set_visible(ax in panels)
        for ax, own in panels.items():
            self.draw_panel(ax, own, points, look)
            level = own["y_axis"].iloc[0].level
            if level is not None:
                ax.axhline(level, **LEVEL)
        self.set_scales(panels, points)
        for ax, own in panels.items():
            self.finish(ax, own, look)
        self.label(axes, panels)
        return figure

    def handles(self, points: pd.DataFrame, look: Look) -> list[Artist]:
        """The legend's entries: visible estimators, series and kinds."""
        shown = points[points["kind"].isin(["", UNFIT])]
        if shown["floor"].notna().any():
            shown = shown[~(shown["y"] < shown["floor"])]
        kinds = {**self.kinds, UNFIT: UNFIT_STYLE}
        beside = [Line2D([], [], label=kind, **kinds[kind]) for kind in kinds if kind in set(points["kind"])]
        return [*look.handles(shown["estimator"], shown["series"], self.joined), *beside]

    def set_scales(self, panels: Panels, points: pd.DataFrame) -> None:
        """Sets the scale of y; once for each row of panels if they share y."""
        for ax, own in panels.items() if not self.share.get("sharey") else first_of_rows(panels, points):
            self.scale_y(ax, own)

    def scale_y(self, ax: Axes, own: pd.DataFrame) -> None:
        metric = own["y_axis"].iloc[0]
        metric.scale(ax.yaxis, numbers(own, "y", metric.level))

    def finish(self, ax: Axes, own: pd.DataFrame, look: Look) -> None:
        """Draws what needs the final limits of the axes: notes, or the words that nothing was measured."""
        for words in own.loc[own["kind"] == TOLD, "note"]:
            ax.text(0.98, 0.05, words, transform=ax.transAxes, ha="right", fontsize=8, bbox={**PAPER, "alpha": 1})
        if not (own["kind"] == "").any():
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": GREY, "bbox": PAPER}
            ax.text(0.5, 0.5, "not measured in these records", transform=ax.transAxes, **style)

    def label(self, axes: np.ndarray, panels: Panels) -> None:
        """Sets titles and axis labels. Neighbouring panels do not repeat equal ones."""
        told = {ax: [own[column].iloc[0] for column in ("panel", "x_axis", "y_axis")] for ax, own in panels.items()}
        for (i, j), ax in np.ndenumerate(axes):
            if ax not in panels:
                continue
            title, x, y = told[ax]
            parts = (axes[:i, j], axes[i, :j], axes[i + 1 :, j])
            above, left, below = ([told[other] for other in part if other in panels] for part in parts)
            if title not in [other[-1][0] for other in (above, left) if other]:
                ax.set_title(title, loc=self.title_at)
            if not (below and self.share.get("sharex")):
                ax.set_xlabel(x.label)
                ax.tick_params(labelbottom=True)
            if not left or left[-1][2] != y:
                ax.set_ylabel(y.label)
                ax.tick_params(labelleft=True)


def spread(items: Sequence[Any] | np.ndarray, most: int) -> list[Any]:
    """At most `most` of the items, chosen evenly from the first to the last."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)]


def first_of_rows(panels: Panels, points: pd.DataFrame) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """The first panel of each row, with the points of the whole row."""
    firsts = {own["row"].iloc[0]: ax for ax, own in reversed(list(panels.items()))}
    yield from ((ax, points[points["row"] == row]) for row, ax in firsts.items())


def numbers(points: pd.DataFrame, axis: str, level: float | None = None) -> np.ndarray:
    """All finite values and ends of intervals on an axis, and the level, if there is one."""
    found = points.loc[points["kind"] != TOLD, [*INTERVALS[axis]]].to_numpy(dtype=float).ravel()
    found = np.append(found, [] if level is None else level)
    return found[np.isfinite(found)]


def lines_of(points: pd.DataFrame, look: Look) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(estimator, series, measured points) of each line, in the order of the legend."""
    found = dict(list(points[points["kind"] == ""].groupby(["estimator", "series"])))
    series = dict.fromkeys([*look.series, *points["series"]])
    yield from ((name, one, found[name, one]) for name in look.estimators for one in series if (name, one) in found)


def reach(points: pd.DataFrame, axis: str) -> np.ndarray | None:
    """The lengths of the bars along an axis, down and up: [2, n]; None if no point has an interval."""
    value, low, high = INTERVALS[axis]
    both = [points[value] - points[low], points[high] - points[value]]
    bars = np.clip(np.nan_to_num(np.array(both, dtype=float)), 0, None)
    return bars if points[[low, high]].notna().any(axis=None) else None


def write_notes(ax: Axes, points: pd.DataFrame, **how: Any) -> None:
    """Writes each point's note beside it."""
    for x, y, note in points.loc[points["note"] != "", ["x", "y", "note"]].itertuples(index=False):
        ax.annotate(note, (x, y), textcoords="offset points", fontsize=8, **how)


@dataclass(frozen=True)
class AgainstNumber(Shape):
    """A line with bars for each estimator and series against a chosen number, such as K.

    A point at 0 is not joined to others, because a measurement of 0 does not prove that the value is 0.

    If points are not `joined`, those with the same x stand side by side, so that their bars do not overlap. Lines
    between shifted points may cross although the values do not.

    lost_at_top  whether cases that did not fit in memory are marked at the top; else at the bottom
    """

    lost_at_top: bool = False

    def note(self, points: pd.DataFrame) -> str:
        several = points.loc[points["kind"] == "", "estimator"].nunique() > 1
        return " Points of one K stand side by side." if several and not self.joined else ""

    def draw_panel(self, ax: Axes, own: pd.DataFrame, points: pd.DataFrame, look: Look) -> None:
        of = own if self.columns else points
        measured = of[of["kind"] == ""]
        places = {} if self.joined else side_by_side(measured["estimator"], measured["x"])
        for estimator, series, line in lines_of(own, look):
            for seen, part in line.sort_values("x").groupby(line["y"] != 0):
                style = look.line(estimator, series) if seen and self.joined else look.marker(estimator, series)
                thin: dict[str, Any] = {} if seen else {"elinewidth": 0.8, "capsize": 1.5}
                at = part["x"] * places.get(estimator, 1.0)
                drawn = ax.errorbar(at, part["y"], yerr=reach(part, "y"), **style, **thin)
                for bar in (*drawn.lines[1], *drawn.lines[2]):
                    bar.set_alpha(1.0 if seen else 0.5)  # points at 0 must not draw the eye
        for (kind, estimator, _), line in own[own["kind"].isin(self.kinds)].groupby(["kind", "estimator", "series"]):
            style = {**self.kinds[kind], **_colour(look, estimator)}
            write_notes(ax, line, xytext=(9, -9), va="top", bbox=PAPER)
            if len(line) == 1 and style["linestyle"]:  # so that a single point becomes a short line
                line = pd.concat([line.assign(x=line["x"] / 1.2), line.assign(x=line["x"] * 1.2)])
            ax.plot(line["x"], line["y"], **style)

    def set_scales(self, panels: Panels, points: pd.DataFrame) -> None:
        for ax, own in panels.items():
            class_axis(ax, (own if self.columns else points)["x"], 1.25 if self.joined else 1.5)
        super().set_scales(panels, points)

    def scale_y(self, ax: Axes, own: pd.DataFrame) -> None:
        super().scale_y(ax, own)
        leave_room(ax, own.loc[own["kind"] == UNFIT, "estimator"].nunique(), top=self.lost_at_top)

    def finish(self, ax: Axes, own: pd.DataFrame, look: Look) -> None:
        """Marks each case that does not fit in memory with a × at the panel's edge, in a line for each estimator."""
        super().finish(ax, own, look)
        place = ax.get_xaxis_transform()
        lost = dict(list(own[own["kind"] == UNFIT].sort_values("x").groupby("estimator")))
        for rank, name in enumerate(name for name in look.estimators if name in lost):
            height = 0.96 - 0.075 * rank if self.lost_at_top else 0.04 + 0.075 * rank
            colour, xs = _colour(look, name), lost[name]["x"]
            ax.plot(xs, [height] * len(xs), **{**UNFIT_STYLE, **colour}, transform=place)
            ax.annotate(
                lost[name]["note"].iloc[0], (xs.iloc[0], height), xycoords=place, xytext=(-6, 0),
                textcoords="offset points", ha="right", va="center", fontsize=7.5, **colour,
            )  # fmt: skip


def _colour(look: Look, estimator: str) -> dict[str, Any]:
    return {"color": look.estimators[estimator][0]} if estimator in look.estimators else {}
