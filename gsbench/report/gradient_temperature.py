"""What the temperature does to the gradients of relaxed draws."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from gsbench.report.axes import OPEN_ENDED, from_zero, plain_log, plain_number
from gsbench.report.estimator_styles import by_estimator, estimator_styles
from gsbench.report.gradient_figures import AT_LEFT
from gsbench.report.gradients import caption_end, gradient_rows, intervals, of_part, repetitions, state_title, states_of
from gsbench.report.style import LINES, Look, Plot, make_sheet

LEAST_TEMPERATURES = 3  # of one estimator at one K: fewer make no line worth a figure
LINE = ["subject", "series", "relaxation", "n_classes"]  # what has a line of its own in each panel
HEIGHTS = {"bias": "relative bias", "deviation": "relative standard deviation"}


def gradient_temperature(frame: pd.DataFrame, curves: pd.DataFrame, look: Look) -> Plot | None:
    """Bias and standard deviation of the logits' gradient against τ: a row each, a column for each state."""
    rows = gradient_rows(frame)
    points = _by_temperature(rows)
    if points.empty:
        return None
    rows = rows[rows["estimator"].isin(points["estimator"]) & rows["n_classes"].isin(points["n_classes"])]
    title = "The temperature of relaxed draws"
    caption = (
        "Of the gradient by the logits of q(y|a,x), with all fixed but the draws of y, over the exact one's norm: "
        f"above the bias ‖E g − g*‖, below the standard deviation √tr cov(g) of one draw; {repetitions(rows)}, bars: "
        f"{intervals(rows)}. Where the interval of the bias reaches to 0 or below, its point is on the line at 0 and "
        f"its bar reaches up to its end, so far as a bias may have been missed. {caption_end(rows)}"
    )
    subjects, states = sorted(set(points["subject"])), states_of(rows[rows["state"].isin(points["state"])])
    sheet = make_sheet(
        2 * len(subjects), len(states), title=title, handles=_handles(points, look), caption=caption,
        panel=(3.6, 2.2), gaps=(0.35, 0.3 if len(subjects) == 1 else 0.6), at_left=AT_LEFT,
        share={"sharex": True, "sharey": "row"},
    )  # fmt: skip
    for (subject, height), axes in zip([(s, h) for s in subjects for h in HEIGHTS], sheet.axes, strict=True):
        axes[0].set_ylabel(HEIGHTS[height])
        for ax, state in zip(axes, states, strict=True):
            ax.set_title(state_title(rows, subject, state) if height == "bias" else "")
            own = points[(points["subject"] == subject) & (points["state"] == state)]
            _draw(ax, own, _styles(points, look), height)
            _temperature_axis(ax, points["tau"])
        if height == "bias":
            from_zero(axes[0], points[["bias", "bias_high"]])
        else:
            axes[0].set_yscale("log")
            plain_log(axes[0].yaxis)
    for ax in sheet.axes[-1]:
        ax.set_xlabel("temperature τ")
    return Plot(title, caption, sheet.figure)


def _by_temperature(rows: pd.DataFrame) -> pd.DataFrame:
    """The points of the logits with `tau`, `relaxation` (the estimator but for τ) and `deviation`, as far as an
    estimator was measured at some temperatures."""
    taus = rows.assign(tau=pd.to_numeric(rows["estimator_tau"], errors="coerce")).groupby("estimator")["tau"].first()
    points = of_part(rows, "logits")
    points = points.assign(
        tau=points["estimator"].map(taus),
        relaxation=points["estimator"].map(_without_tau),
        **{f"deviation{end}": np.sqrt(points[f"variance{end}"]) for end in ("", "_low", "_high")},
    ).dropna(subset=["tau"])
    if points.empty:
        return points
    return points[points.groupby([*LINE, "state"])["tau"].transform("nunique") >= LEAST_TEMPERATURES]


def _without_tau(estimator: str) -> str:
    """`gumbel-softmax(tau=0.5,draws=2)` → `gumbel-softmax(draws=2)`"""
    return re.sub(r"\(\)$", "", re.sub(r"(?<=\()tau=[^,)]*,?", "", estimator))  # τ is the first of the settings


def _styles(points: pd.DataFrame, look: Look) -> dict[tuple[Any, ...], dict[str, Any]]:
    """(relaxation, K, series) → the relaxation's colour and marker, a line for K, a fill for the series."""
    own = estimator_styles(points["relaxation"])
    ks = sorted(set(points["n_classes"]))
    return {
        (name, k, series): {
            "color": own[name][0], "marker": own[name][1], "linestyle": LINES[i % len(LINES)],
            "fillstyle": look.series[series][1],
        }
        for name in set(points["relaxation"])
        for i, k in enumerate(ks)
        for series in set(points["series"])
    }  # fmt: skip


def _handles(points: pd.DataFrame, look: Look) -> list[Line2D]:
    """An entry for each relaxation, for each K, and for each series where there are several."""
    styles, series = _styles(points, look), next(iter(points["series"]))
    ks = sorted(set(points["n_classes"]))
    names = by_estimator(points["relaxation"])
    entries = [Line2D([], [], label=name, **{**styles[name, ks[0], series], "linestyle": "none"}) for name in names]
    lines = [{"color": "#555555", "linestyle": styles[names[0], k, series]["linestyle"]} for k in ks]
    entries += [Line2D([], [], label=f"K = {k:,.0f}", **line) for k, line in zip(ks, lines, strict=True)]
    return [*entries, *look.handles([], points["series"])]


def _draw(ax: Axes, points: pd.DataFrame, styles: dict[tuple[Any, ...], dict[str, Any]], height: str) -> None:
    for (name, k, series), line in points.sort_values("tau").groupby(["relaxation", "n_classes", "series"]):
        for seen, own in line.groupby(line[height] > 0):  # no line to where no bias was seen: it need not be 0
            reach = [own[height] - own[f"{height}_low"], own[f"{height}_high"] - own[height]]
            bars = np.clip(np.nan_to_num(np.array(reach)), 0, None)
            style = styles[name, k, series] if seen else {**styles[name, k, series], "linestyle": "none", "alpha": 0.6}
            label = " · ".join(filter(None, [name, f"K = {k:,.0f}", series]))
            drawn = ax.errorbar(own["tau"], own[height], yerr=bars, elinewidth=0.8, label=label, **style)
            vars(drawn.lines[0])[OPEN_ENDED] = list(own[f"{height}_high"].isna())
    if height == "bias":
        ax.axhline(0, color="#999999", linewidth=1)


def _temperature_axis(ax: Axes, taus: pd.Series) -> None:
    """Logarithmic, with a tick at each temperature that was measured."""
    found = sorted(set(taus))
    ax.set_xscale("log")
    ax.set_xlim(found[0] / 1.25, found[-1] * 1.25)
    ax.xaxis.set_major_locator(FixedLocator(found))
    ax.xaxis.set_major_formatter(FuncFormatter(plain_number))
    ax.xaxis.set_minor_locator(NullLocator())
