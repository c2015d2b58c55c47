"""Bias, variance, price and error of the estimators' gradients, against K, cost and temperature."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gsbench.records import text
from gsbench.records.frame import works
from gsbench.records.order import by_estimator
from gsbench.report import gradients as told
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.pareto import Pareto, about_front
from gsbench.report.drawing.points import interval
from gsbench.report.drawing.shapes import AgainstNumber, Metric, spread
from gsbench.report.drawing.styles import Look, make_look
from gsbench.report.figures.metrics import BIAS, BOUND_TIME, CLASSES, DEVIATION, ERROR, PRICE, TEMPERATURE, VARIANCE
from gsbench.report.gradients import PARTS, gradient_rows, of_part, state_title, states_of

YARDSTICK: dict[str, Any] = {"color": "#777777", "linestyle": "--", "linewidth": 1.6}
ANEW, TIME_OF_SUM = "exact sum, new draws of a and z", "time of the exact sum"
GRID: dict[str, Any] = {
    "panel": (3.6, 2.2), "gaps": (0.35, 0.6), "at_left": 1.1, "share": {"sharex": True, "sharey": "row"},
}  # fmt: skip
MOST_K = 4
LEAST_TEMPERATURES = 3  # for one estimator at one K: fewer give no useful line
LINE = ["subject", "series", "relaxation", "n_classes", "state"]  # fields that identify a line


def _in_grid(rows: pd.DataFrame, points: pd.DataFrame, place: int, of: int) -> pd.DataFrame:
    """Places points in a grid: each subject has `of` rows of panels, `place` is the row; each state has a column."""
    subjects, states = sorted(set(rows["subject"])), states_of(rows)
    titles = {(subject, state): state_title(rows, subject, state) for subject in subjects for state in states}
    return points.assign(
        row=points["subject"].map(lambda subject: of * subjects.index(subject) + place),
        column=points["state"].map(states.index),
        panel=[titles[key] for key in zip(points["subject"], points["state"], strict=True)],
    )


def _by_part(
    rows: pd.DataFrame, parts: Sequence[str], metric: Metric, name: str, beside: tuple[str, str] = ("", "")
) -> pd.DataFrame:
    """The figure `name` of each part against K. `beside` is (kind, figure): points of this kind show the least value of
    that figure among the exact sums.
    """
    found = []
    for i, part in enumerate(parts):
        points = of_part(rows, part)
        prices = {f"price{end}": points[f"variance{end}"] * points["milliseconds"] for end in ("", "_low", "_high")}
        points = _in_grid(rows, points.assign(**prices), i, len(parts))
        points = points.assign(x=points["n_classes"], y_axis=metric.named(f"{PARTS[part]}:\n{metric.label}"))
        own = points.assign(kind="", **interval(points, name))
        found.append(own if metric is BIAS else own[own["y"] > 0])
        if beside[0]:
            sums = points[(points["exact_sum"] == 1) & (points[beside[1]] > 0)].assign(kind=beside[0], estimator="")
            key = ["subject", "state", "series", "x"]
            least = sums.assign(y=sums.groupby(key)[beside[1]].transform("min"), low=np.nan, high=np.nan)
            found.append(least.drop_duplicates(key))
    return pd.concat(found)


def _about(rows: pd.DataFrame, *sentences: str) -> str:
    return " ".join(filter(None, [*sentences, told.open_ends(rows), told.medians(rows)]))


def _about_bias(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    return _about(
        rows,
        "Distance of the mean gradient g of the loss from the exact one g*: ‖E g − g*‖ / ‖g*‖, with all fixed but the "
        f"draws of y; {told.repetitions(rows)}, bars: {told.intervals(rows)}. A point on the line at 0 shows no bias, "
        "because its interval reaches to 0 or below. Its bar ends at the largest bias that the interval allows.",
        told.compared(rows),
    )


def _about_variance(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    without = by_estimator(set(rows["estimator"][~rows["draws_y"]]) - set(points["estimator"]))
    repeated = told.repetitions(rows)
    return _about(
        rows,
        "tr cov(g) / ‖g*‖² of the gradient of the loss with all fixed but the draws of y; at 1 the noise is as large "
        f"as the exact gradient. {repeated[0].upper()}{repeated[1:]}, bars: {told.intervals(rows)}. Estimators "
        f"that draw no y have no variance and no point{f': {text.listed(without)}' if without else ''}.",
        f"The dashed line is the exact sum's variance over new draws of a and ε_z, {told.of_total(rows)}. An estimator "
        "well below this line adds little to the noise that every estimator has."
        if (points["kind"] == ANEW).any() else "",
    )  # fmt: skip


def _about_price(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    return _about(
        rows,
        "Relative variance × milliseconds of the unlabelled bound, forward and backward: the milliseconds of "
        "independent draws after which the noise of their mean is as large as the exact gradient (relative variance "
        "1). Ten times as many give a tenth of the variance. Lower is better.",
        "The dashed line is the time of the fastest exact sum. Draws that take this "
        "time have a mean with relative variance price / time: 1 on the line, 0.1 at a tenth of it."
        if (points["kind"] == TIME_OF_SUM).any() else "",
        "The price leaves out the bias, which averaging does not reduce. "
        "It counts a whole bound for each draw; several draws in one step (draws=…) share part of the cost.",
    )  # fmt: skip


# Error against cost.


def _timed_errors(rows: pd.DataFrame) -> pd.DataFrame:
    points = of_part(rows[~rows["elsewhere"]], "logits")
    return points[(points["milliseconds"] > 0) & points["error"].notna()]


def _errors(rows: pd.DataFrame) -> pd.DataFrame:
    """A row of panels for each K, a column for each state.

    Estimators of another bound than q's are left out, because their error refers to another gradient.
    """
    rows = rows[~rows["elsewhere"]]
    points = _timed_errors(rows)
    points = points[points["n_classes"].isin(spread(sorted(set(points["n_classes"])), MOST_K))]
    panel = ["subject", "n_classes", "state"]
    titles = {}
    for key, own in rows.groupby(panel):
        of_q = told.perplexity(own)
        titles[key] = f"{key[0]}, K = {key[1]:,.0f}, {key[2]}" + (f"\nperplexity of q: {of_q}" if of_q else "")
    exact = points[(points["draws_y"] == 0) & (points["error"] == 0)].groupby(panel)["milliseconds"].idxmin()
    return points.assign(
        row=[*zip(points["subject"], points["n_classes"], strict=True)],
        column=points["state"].map(states_of(rows).index),
        panel=[titles[key] for key in points[panel].itertuples(index=False, name=None)],
        x=points["milliseconds"], y=points["error"], work=points["estimator"].map(works(rows)),
        note=["exact: 0" if i in set(exact) else "" for i in points.index],
    )  # fmt: skip


def _about_errors(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    elsewhere = sorted(set(rows["estimator"][rows["elsewhere"]]))
    rows = rows[~rows["elsewhere"]]
    known, shown = _timed_errors(rows)["n_classes"].nunique(), points["n_classes"].nunique()
    return _about(
        rows,
        about_front(points, "Down and to the left"),
        "Error: √(squared bias + variance) of one gradient, relative to the exact one's norm, with all fixed but the "
        f"draws of y; {told.repetitions(rows)}. Exact sums have error 0. Time: the unlabelled bound, forward and "
        "backward, median.",
        f"{shown} of {known} class counts are shown; see the tables." if shown < known else "",
        f"Left out: {text.listed(elsewhere)}, whose exact gradient belongs to another bound." if elsewhere else "",
    )


# The effect of the temperature.


def _tempered(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    """The rows of estimators and K that were measured at several temperatures."""
    rows = gradient_rows(frame)
    points = _by_temperature(rows)
    return rows[rows["estimator"].isin(points["estimator"]) & rows["n_classes"].isin(points["n_classes"])]


def _by_temperature(rows: pd.DataFrame) -> pd.DataFrame:
    """The points of the logits with enough τ. Added: `tau`, and `relaxation`, the estimator's name without τ."""
    taus = rows.assign(tau=pd.to_numeric(rows["estimator_tau"], errors="coerce")).groupby("estimator")["tau"].first()
    points = of_part(rows, "logits")
    points = points.assign(
        tau=points["estimator"].map(taus), relaxation=points["estimator"].map(works(rows))
    ).dropna(subset=["tau"])
    return points[points.groupby(LINE)["tau"].transform("nunique") >= LEAST_TEMPERATURES]


def _temperatures(rows: pd.DataFrame) -> pd.DataFrame:
    """The bias (top) and the standard deviation (bottom), a line for each relaxation and K."""
    points = _by_temperature(rows)
    labels = [" · ".join(filter(None, [f"K = {k:,.0f}", series]))
              for k, series in zip(points["n_classes"], points["series"], strict=True)]  # fmt: skip
    points = points.assign(x=points["tau"], estimator=points["relaxation"], series=labels).sort_values("n_classes")
    deviation = {name: np.sqrt(variance) for name, variance in interval(points, "variance").items()}
    both = ({**interval(points, "bias"), "y_axis": BIAS}, {**deviation, "y_axis": DEVIATION})
    placed = [_in_grid(rows, points.assign(**values), i, 2) for i, values in enumerate(both)]
    drawn = pd.concat([placed[0], placed[1][placed[1]["y"] > 0]])
    return drawn.sort_values("tau", kind="stable")


def _look_of_temperatures(points: pd.DataFrame, _: Look) -> Look:
    return make_look(points["estimator"], sorted(set(points["series"]), key=lambda label: (len(label), label)))


def _about_temperatures(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    return _about(
        rows,
        "Gradient with respect to the logits of q(y|a,x), with all fixed but the draws of y, over the exact one's "
        "norm: above the bias ‖E g − g*‖, below the standard deviation √tr cov(g) of one draw; "
        f"{told.repetitions(rows)}, bars: {told.intervals(rows)}. Where the interval of the bias reaches to 0 or "
        "below, its point is on the line at 0 and its bar ends at the largest bias that the interval allows.",
    )


def _figure(place: int, name: str, title: str, **declared: Any) -> Figure:
    declared = {"rows": lambda frame, _: gradient_rows(frame), **declared}
    return Figure(place, name, "gradients", "gradient", title, **declared)


FIGURES = (
    _figure(
        100, "gradient_bias", "Bias of the gradients", caption=_about_bias,
        points=lambda rows: _by_part(rows, [*PARTS], BIAS, "bias"),
        shape=AgainstNumber(CLASSES, BIAS, joined=False, **GRID),
    ),
    _figure(
        110, "gradient_variance", "Variance of the gradients over draws of y", caption=_about_variance,
        points=lambda rows: _by_part(rows, [*PARTS], VARIANCE, "variance", (ANEW, "total_variance")),
        shape=AgainstNumber(CLASSES, VARIANCE, kinds={ANEW: YARDSTICK}, **GRID),
    ),
    _figure(
        120, "gradient_price", "The price of a good gradient", caption=_about_price,
        points=lambda rows: _by_part(rows, ["logits", "theta"], PRICE, "price", (TIME_OF_SUM, "milliseconds")),
        shape=AgainstNumber(CLASSES, PRICE, kinds={TIME_OF_SUM: YARDSTICK}, **GRID),
    ),
    _figure(
        130, "gradient_pareto", "Error of the logits' gradient against its cost", caption=_about_errors, points=_errors,
        shape=Pareto(
            BOUND_TIME.with_direction(), ERROR, panel=(3.6, 2.2), gaps=(0.35, 0.85), share={"sharey": "row"}
        ),
    ),
    _figure(
        140, "gradient_temperature", "The temperature of relaxed draws", caption=_about_temperatures, rows=_tempered,
        points=_temperatures, shape=AgainstNumber(TEMPERATURE, BIAS, **GRID), look=_look_of_temperatures,
        missed="never",
    ),
)  # fmt: skip
