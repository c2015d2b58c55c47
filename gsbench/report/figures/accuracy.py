"""Accuracy as training goes on, and against speed: of the short runs of the benchmark, and of training runs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from gsbench.report import text
from gsbench.report.accuracy import BASELINE
from gsbench.report.drawing.curves import Curves
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.pareto import Pareto, about_front
from gsbench.report.drawing.points import TOLD
from gsbench.report.drawing.styles import without_temperature
from gsbench.report.figures.metrics import ACCURACY, EPOCH, STEPS_PER_SECOND, TRAINING_TIME
from gsbench.report.frame import measured
from gsbench.report.reading import TRAINING
from gsbench.report.training_runs import (
    SUBJECT,
    Points,
    finished_runs,
    mean_curve,
    over_seeds,
    seeds_sentence,
    subject_title,
    training_rows,
)

WENT_ON = 1.15  # how far beyond the end of the others a run must go to be shown by itself
LEAST_SHOWN = 4.0  # percentage points of the axis below the lowest end
ONE_SEED, DIVERGED = "one seed", "diverged"
KINDS: dict[str, dict[str, Any]] = {
    ONE_SEED: {"linewidth": 0.8, "alpha": 0.7, "color": "#555555"},
    DIVERGED: {"marker": "x", "linestyle": "", "markersize": 7, "markeredgewidth": 2, "zorder": 4, "color": "#555555"},
}
SPEEDS = Pareto(
    STEPS_PER_SECOND.with_direction(), ACCURACY.with_direction(), panel=(2.7, 2.3), gaps=(0.6, 0.95), columns=3, most=12
)
CURVES = Curves(
    EPOCH, ACCURACY, panel=(3.5, 2.0), gaps=(0.3, 0.9), most=12, share={"sharey": "row"}, kinds=KINDS, title_at="left"
)
UP = "Up and to the right"


def _by_subject(rows: pd.DataFrame) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    yield from rows.groupby(SUBJECT, sort=True)


def _case_title(row: pd.Series) -> str:
    return f"{text.model_name(row['model'])}, K = {row['n_classes']:,.0f}\n{row['task']}"


def _run_title(row: pd.Series) -> str:
    return textwrap.fill(subject_title(row), 38)


# Against speed.


def _accuracy_rows(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    """With both coordinates of the one training run, so that the baselines, which nothing else times, have a speed."""
    rows = measured(frame, "accuracy", "step", "train_seconds", "validation_accuracy")
    rows = rows[(rows["train_seconds"] > 0) & (rows["step"] > 0)]
    return rows.assign(steps_per_second=rows["step"] / rows["train_seconds"])


def _finished(frame: pd.DataFrame, _: pd.DataFrame) -> pd.DataFrame:
    rows = finished_runs(frame, "steps_per_second")
    return rows[rows["steps_per_second"] > 0]


def speeds(rows: pd.DataFrame, title: Callable[[pd.Series], str], told: str = "") -> pd.DataFrame:
    """A panel for each (model, task, K) with the mean over seeds and its ends; the estimator `told` in words alone."""
    rows = rows.assign(percent=100 * rows["validation_accuracy"])
    found = []
    for _, own in _by_subject(rows):
        points = over_seeds(own, ["series", "estimator"], ["steps_per_second", "percent"])
        found.append(points.assign(
            panel=title(own.iloc[0]), kind=(points["estimator"] == told).map({True: TOLD, False: ""}),
            work=points["estimator"].map(without_temperature),
            note=[_words(row) if row["estimator"] == told else "" for row in points.to_dict("records")],
            **_with_ends(points, "x", "steps_per_second"), **_with_ends(points, "y", "percent"),
        ))  # fmt: skip
    points = pd.concat(found)
    return points[points["panel"].isin(points.loc[points["kind"] == "", "panel"])]


def _words(point: dict[str, Any]) -> str:
    return f"{point['estimator']}: {point['percent']:.1f} %"


def _with_ends(points: pd.DataFrame, axis: str, figure: str) -> dict[str, pd.Series]:
    """The value; and where there are several runs, its ends."""
    names = ("x_low", "x_high") if axis == "x" else ("low", "high")
    several = points["runs"] > 1
    ends = {name: points[f"{figure}_{end}"].where(several) for name, end in zip(names, ("low", "high"), strict=True)}
    return {axis: points[figure], **ends}


# As training goes on.


def _accuracy_evaluations(frame: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    rows = frame[frame["group"] == "accuracy"].dropna(subset=[*SUBJECT, "estimator"])
    return _evaluations(rows, curves)


def _training_evaluations(frame: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    return _evaluations(training_rows(frame), curves)


def _evaluations(rows: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row an evaluation, with the fields of its run."""
    key = ["group", "run_id", "case"]
    points = curves.dropna(subset=["accuracy"])[[*key, "step", "epoch", "seconds", "accuracy"]]
    fields = rows.drop(columns=["step", "epoch"]).drop_duplicates(key)
    found = points.merge(fields, on=key).copy()  # in one piece
    return found.assign(percent=100 * found["accuracy"], run=found["run_id"] + " " + found["case"])


def curves_of(rows: pd.DataFrame, title: Callable[[pd.Series], str], from_end: bool) -> pd.DataFrame:
    """By epoch (left) and by second (right), a row for each (model, task, K): for each estimator the mean of its runs,
    the band between them, and what single runs have beyond it. `from_end`: accuracies begin not far below the ends.
    """
    found = []
    for i, (_, own) in enumerate(_by_subject(rows)):
        floor = _lowest_shown(own) if from_end else np.nan
        ends = own.loc[own["estimator"] == BASELINE].drop_duplicates("run")["validation_accuracy"]
        words = [{"kind": TOLD, "estimator": BASELINE, "y": 100 * ends.mean(), "column": 0, "x_axis": EPOCH}]
        words[0]["note"] = f"{BASELINE}: {100 * ends.mean():.1f} %"
        last = own.loc[own["estimator"] != BASELINE, "epoch"].max()
        points = [*_lines(own, "epoch"), *(words if 100 * ends.mean() < floor else []), *_lines(own, "seconds")]
        found += [{"panel": title(own.iloc[0]), "row": i, "floor": floor, "x_end": 1.5 * last, **p} for p in points]
    return pd.DataFrame(found)


def _lowest_shown(rows: pd.DataFrame) -> float:
    """The lower limit of the accuracies of one subject, in percent."""
    runs = rows.drop_duplicates("run")
    rivals = runs[runs["estimator"] != BASELINE] if (runs["estimator"] != BASELINE).any() else runs
    ended = rivals[rivals["status"] == "ok"]
    ends = 100 * (ended if len(ended) else rivals)["validation_accuracy"]
    return float(ends.min() - max(LEAST_SHOWN, 2 * (ends.max() - ends.min())))


def _lines(rows: pd.DataFrame, column: str) -> Iterator[dict[str, Any]]:
    """The points by one of the two, epoch or seconds."""
    axis = {"column": 0, "x_axis": EPOCH} if column == "epoch" else {"column": 1, "x_axis": TRAINING_TIME}
    for (estimator, series), own in rows.dropna(subset=[column]).groupby(["estimator", "series"]):
        runs = _runs(own, column)
        mean = mean_curve(runs)
        head = {"estimator": estimator, "series": series, "kind": "", **axis}
        ends = ("low", "high") if len(runs) > 1 else ()
        for point in mean.to_dict("records"):
            yield {**head, "x": point["x"], "y": point["mean"], **{end: point[end] for end in ends}}
        for i, (x, y) in enumerate(runs):
            if x[-1] > WENT_ON * mean["x"].max():
                beyond = x >= mean["x"].max()
                for at, percent in zip(x[beyond], y[beyond], strict=True):
                    yield {**head, "kind": ONE_SEED, "line": str(i), "x": at, "y": percent}
        for x, y in _runs(own[own["status"] == "diverged"], column):
            yield {**head, "kind": DIVERGED, "x": x[-1], "y": y[-1]}


def _runs(points: pd.DataFrame, column: str) -> Points:
    """x and percents of each run; those that were evaluated but once, at their start, only where no others are."""
    runs = [
        (own[column].to_numpy(), own["percent"].to_numpy())
        for _, own in points.sort_values(column, kind="stable").groupby("run")
    ]
    return [run for run in runs if len(run[0]) > 1] or runs


def _about_curves(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    beyond = " By epoch, labels-only may go on beyond the panel." if BASELINE in set(rows["estimator"]) else ""
    return f"Seconds of training, without the evaluations.{beyond}"


def _about_training_curves(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    """With what became of the runs that did not come to their end."""
    told = [seeds_sentence(rows, "lines: mean", "bands")]
    told.append("The axis of accuracies begins not far below where the estimators end.")
    if (rows.groupby([*SUBJECT, "estimator"])["run"].nunique() > 1).any():
        told.append("Where a seed ended before the others the mean ends too, and thin lines are those that went on.")
    told += ["×: diverged."] if (rows["status"] == "diverged").any() else []
    told += ["Some runs are unfinished: see the table."] if (rows["status"] == "unfinished").any() else []
    return " ".join([*told, "Seconds of training, without the evaluations."])


def _about_training_speeds(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    told = f" What {BASELINE} came to is written at the bottom." if BASELINE in set(rows["estimator"]) else ""
    return (
        f"{about_front(points, UP, ' of the means')} Final validation accuracy, and steps per second without the "
        f"evaluations. {seeds_sentence(rows)}{told}"
    )


FIGURES = (
    Figure(
        10, "pareto", "accurate", "accuracy", "Accuracy against speed", rows=_accuracy_rows,
        points=lambda rows: speeds(rows, _case_title), shape=SPEEDS,
        caption=lambda rows, points: f"{about_front(points, UP)} Last validation accuracy of each training run, and "
        "its steps per second without the evaluations.",
    ),
    Figure(
        150, "accuracy_curves", "accurate", "accuracy", "Validation accuracy as training goes on",
        rows=_accuracy_evaluations, points=lambda rows: curves_of(rows, _case_title, from_end=False),
        shape=replace(CURVES, most=6), caption=_about_curves,
    ),
    Figure(
        160, "training_curves", "accurate", TRAINING, "Training runs: validation accuracy as training goes on",
        rows=_training_evaluations, points=lambda rows: curves_of(rows, subject_title, from_end=True),
        shape=CURVES, caption=_about_training_curves, missed="if its group was measured",
    ),
    Figure(
        190, "training_pareto", "accurate", TRAINING, "Training runs: accuracy against speed", rows=_finished,
        points=lambda rows: speeds(rows, _run_title, told=BASELINE), shape=SPEEDS, caption=_about_training_speeds,
        missed="if its group was measured",
    ),
)  # fmt: skip
