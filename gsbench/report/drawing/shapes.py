"""What every shape of a figure does: panels on a sheet, legends, axes; and the shape that figures against K have."""

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
from gsbench.report.drawing.points import DEFAULTS, TOLD
from gsbench.report.drawing.sheet import LEFT, make_sheet
from gsbench.report.drawing.styles import GREY, Look

UNFIT = "does not fit in memory"  # the kind of such points
UNFIT_STYLE: dict[str, Any] = {"color": GREY, "marker": "x", "markeredgewidth": 2, "linestyle": ""}
LEVEL: dict[str, Any] = {"color": "#777777", "linewidth": 1}
UNTITLED = 0.3  # inches between rows of panels of which only the first has titles
PAPER: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}

Panels = Mapping[Axes, pd.DataFrame]


@dataclass(frozen=True)
class Metric:
    """What an axis shows. This is the one place that says whether more of it is better.

    more    what more of it means, such as "faster"; where a figure is about better and worse, the label says so
    better  1 where higher is better, -1 where lower is
    scale   draws the axis: see `axes`
    level   where nothing is won or lost, or nothing is there at all: a line is drawn there
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
    """How points become panels on a sheet.

    x, y      the axes, where the points do not bring their own
    panel     inches of a panel; `gaps` and `at_left` are those of `make_sheet`
    columns   panels side by side, each by itself; 0: points say their `row` and `column`, and panels `share` axes
    most      panels that are shown, spread from the first to the last; 0: all
    kinds     the styles of what stands beside that which was measured, by the `kind` of points
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

    @property
    def lines(self) -> bool:
        """Whether the legend's entries are lines with markers, or markers alone."""
        return True

    def note(self, points: pd.DataFrame) -> str:
        """What the caption has to say of how this shape draws these points."""
        return ""

    def draw_panel(self, ax: Axes, own: pd.DataFrame, points: pd.DataFrame, look: Look) -> None:
        raise NotImplementedError

    def laid_out(self, points: pd.DataFrame, look: Look) -> tuple[pd.DataFrame, str]:
        """The points with all columns of `points`, those that were measured but have no place left out, in the order of
        panels and of the legend; and a sentence on the panels that are left out.
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
        """The sheet; call it within `figure_settings`. The points are those of `laid_out`."""
        gaps = self.gaps
        if self.share.get("sharex") and points.groupby("column")["panel"].nunique().max() == 1:
            gaps = (gaps[0], UNTITLED)
        sheet = make_sheet(
            points["row"].max() + 1, points["column"].max() + 1, title=title, caption=caption,
            handles=self.handles(points, look), panel=self.panel, gaps=gaps, at_left=self.at_left,
            share=dict(self.share),
        )  # fmt: skip
        panels = {sheet.axes[place]: own for place, own in points.groupby(["row", "column"])}
        for ax in sheet.axes.flat:
            ax.set_visible(ax in panels)
        for ax, own in panels.items():
            self.draw_panel(ax, own, points, look)
            level = own["y_axis"].iloc[0].level
            if level is not None:
                ax.axhline(level, **LEVEL)
        self.set_scales(panels, points)
        for ax, own in panels.items():
            self.finish(ax, own, look)
        self.label(sheet.axes, panels)
        return sheet.figure

    def handles(self, points: pd.DataFrame, look: Look) -> list[Artist]:
        """The legend: the estimators in sight, series and kinds."""
        shown = points[points["kind"].isin(["", UNFIT])]
        if shown["floor"].notna().any():
            shown = shown[~(shown["y"] < shown["floor"])]
        kinds = {**self.kinds, UNFIT: UNFIT_STYLE}
        beside = [Line2D([], [], label=kind, **kinds[kind]) for kind in kinds if kind in set(points["kind"])]
        return [*look.handles(shown["estimator"], shown["series"], self.lines), *beside]

    def set_scales(self, panels: Panels, points: pd.DataFrame) -> None:
        """Of y; once for a row of panels that share it."""
        for ax, own in panels.items() if not self.share.get("sharey") else first_of_rows(panels, points):
            self.scale_y(ax, own)

    def scale_y(self, ax: Axes, own: pd.DataFrame) -> None:
        metric = own["y_axis"].iloc[0]
        metric.scale(ax.yaxis, numbers(own, "y", "low", "high", level=metric.level))

    def finish(self, ax: Axes, own: pd.DataFrame, look: Look) -> None:
        """What needs the limits of the axes: what is told in words, and where nothing was measured, that."""
        for words in own.loc[own["kind"] == TOLD, "note"]:
            ax.text(0.98, 0.05, words, transform=ax.transAxes, ha="right", fontsize=8, bbox={**PAPER, "alpha": 1})
        if not (own["kind"] == "").any():
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": GREY, "bbox": PAPER}
            ax.text(0.5, 0.5, "not measured in these records", transform=ax.transAxes, **style)

    def label(self, axes: np.ndarray, panels: Panels) -> None:
        """Titles, and labels of axes, each but once where panels beside one another have the same."""
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
    """At most `most` of the items, from the first to the last."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)]


def first_of_rows(panels: Panels, points: pd.DataFrame) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """The first panel of each row, with the points of the whole row."""
    firsts = {own["row"].iloc[0]: ax for ax, own in reversed(list(panels.items()))}
    yield from ((ax, points[points["row"] == row]) for row, ax in firsts.items())


def numbers(points: pd.DataFrame, *columns: str, level: float | None = None) -> np.ndarray:
    """All that is finite in these columns, and the level, if there is one."""
    found = points.loc[points["kind"] != TOLD, [*columns]].to_numpy(dtype=float).ravel()
    found = np.append(found, [] if level is None else level)
    return found[np.isfinite(found)]


def lines_of(points: pd.DataFrame, look: Look) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """What was measured, by estimator and series, in the order of the legend."""
    found = dict(list(points[points["kind"] == ""].groupby(["estimator", "series"])))
    series = dict.fromkeys([*look.series, *points["series"]])
    yield from ((name, one, found[name, one]) for name in look.estimators for one in series if (name, one) in found)


def reach(points: pd.DataFrame, value: str, low: str, high: str) -> np.ndarray | None:
    """How far the bars reach down and up, [2, n]; None where no point has an interval."""
    both = [points[value] - points[low], points[high] - points[value]]
    bars = np.clip(np.nan_to_num(np.array(both, dtype=float)), 0, None)
    return bars if points[[low, high]].notna().any(axis=None) else None


def write_notes(ax: Axes, points: pd.DataFrame, **how: Any) -> None:
    """Beside each of the points its note, if it has one."""
    for x, y, note in points.loc[points["note"] != "", ["x", "y", "note"]].itertuples(index=False):
        ax.annotate(note, (x, y), textcoords="offset points", fontsize=8, **how)


@dataclass(frozen=True)
class AgainstNumber(Shape):
    """A line for each estimator and series against a number that was chosen, such as K, with bars.

    A point at 0 is joined to none: that nothing was seen does not say that nothing is there.

    apart        points of one number stand side by side, so that their bars can be told apart, and no line joins them:
                 lines between moved points would cross where the values do not
    lost_at_top  where what did not fit in memory is marked, with what it needs
    """

    apart: bool = False
    lost_at_top: bool = False

    @property
    def lines(self) -> bool:
        return not self.apart

    def note(self, points: pd.DataFrame) -> str:
        several = points.loc[points["kind"] == "", "estimator"].nunique() > 1
        return " Points of one K stand side by side." if self.apart and several else ""

    def draw_panel(self, ax: Axes, own: pd.DataFrame, points: pd.DataFrame, look: Look) -> None:
        of = own if self.columns else points
        measured = of[of["kind"] == ""]
        places = side_by_side(measured["estimator"], measured["x"]) if self.apart else {}
        for estimator, series, line in lines_of(own, look):
            for seen, part in line.sort_values("x").groupby(line["y"] != 0):
                style = look.line(estimator, series) if seen and not self.apart else look.marker(estimator, series)
                thin: dict[str, Any] = {} if seen else {"elinewidth": 0.8, "capsize": 1.5}
                at = part["x"] * places.get(estimator, 1.0)
                drawn = ax.errorbar(at, part["y"], yerr=reach(part, "y", "low", "high"), **style, **thin)
                for bar in (*drawn.lines[1], *drawn.lines[2]):
                    bar.set_alpha(1.0 if seen else 0.5)  # what is not there is not to be the first thing seen
        for (kind, estimator, _), line in own[own["kind"].isin(self.kinds)].groupby(["kind", "estimator", "series"]):
            style = {**self.kinds[kind], **_colour(look, estimator)}
            write_notes(ax, line, xytext=(9, -9), va="top", bbox=PAPER)
            if len(line) == 1 and style["linestyle"]:  # it has a width too
                line = pd.concat([line.assign(x=line["x"] / 1.2), line.assign(x=line["x"] * 1.2)])
            ax.plot(line["x"], line["y"], **style)

    def set_scales(self, panels: Panels, points: pd.DataFrame) -> None:
        for ax, own in panels.items():
            class_axis(ax, (own if self.columns else points)["x"], 1.5 if self.apart else 1.25)
        super().set_scales(panels, points)

    def scale_y(self, ax: Axes, own: pd.DataFrame) -> None:
        super().scale_y(ax, own)
        leave_room(ax, own.loc[own["kind"] == UNFIT, "estimator"].nunique(), top=self.lost_at_top)

    def finish(self, ax: Axes, own: pd.DataFrame, look: Look) -> None:
        """An x at the edge of the panel for each case that does not fit in memory, by estimator and number."""
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
