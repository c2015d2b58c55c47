"""Training runs: accuracy during training and against speed; accuracy, time to an accuracy and memory against K."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from gsbench.records import text
from gsbench.records.frame import works
from gsbench.records.reading import TRAINING
from gsbench.report.drawing.curves import Curves
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.pareto import Pareto, about_front
from gsbench.report.drawing.points import TOLD, interval
from gsbench.report.drawing.shapes import AgainstNumber, Metric
from gsbench.report.figures.metrics import ACCURACY, CLASSES, EPOCH, MEMORY, STEPS_PER_SECOND, TRAINING_TIME
from gsbench.report.training_runs import (
    SHARE_OF_WORST,
    SUBJECT,
    Points,
    finished_runs,
    mean_curve,
    over_seeds,
    seeds_sentence,
    subject_title,
    times_to_target,
    training_rows,
)
from gsbench.settings.run import LABELS_ONLY

WENT_ON = 1.15  # a run this many times as long as the mean curve is shown by itself
LEAST_SHOWN = 4.0  # percentage points that the axis shows below the lowest final accuracy, at least
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


def _speeds(rows: pd.DataFrame) -> pd.DataFrame:
    """A panel for each (model, task, K): means over seeds and their ranges. `labels-only` is written, not drawn."""
    found = []
    for _, own in rows.assign(percent=100 * rows["validation_accuracy"]).groupby(SUBJECT, sort=True):
        points = over_seeds(own, ["series", "estimator"], ["steps_per_second", "percent"])
        in_words, ends = points["estimator"] == LABELS_ONLY, points.where(points["runs"] > 1)
        if not in_words.all():
            found.append(points.assign(
                panel=textwrap.fill(subject_title(own.iloc[0]), 38), x=points["steps_per_second"],
                x_low=ends["steps_per_second_low"], x_high=ends["steps_per_second_high"], y=points["percent"],
                low=ends["percent_low"], high=ends["percent_high"], work=points["estimator"].map(works(own)),
                kind=in_words.map({True: TOLD, False: ""}),
                note=[f"{LABELS_ONLY}: {mean:.1f} %" if said else ""
                      for mean, said in zip(points["percent"], in_words, strict=True)],
            ))  # fmt: skip
    return pd.concat(found) if found else pd.DataFrame()


def _evaluations(rows: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row for each evaluation, with the fields of its run."""
    key = ["group", "run_id", "case"]
    points = curves.dropna(subset=["accuracy"])[[*key, "epoch", "seconds", "accuracy"]]
    found = points.merge(rows.drop(columns="epoch").drop_duplicates(key), on=key).copy()  # defragmented
    return found.assign(percent=100 * found["accuracy"], run=found["run_id"] + " " + found["case"])


def _curves(rows: pd.DataFrame) -> pd.DataFrame:
    """Accuracy against epochs (left) and seconds (right), a row of panels for each (model, task, K): each estimator's
    mean over runs, the band between runs, and single runs beyond it. The axis begins near the final values.
    """
    found = []
    for i, (_, own) in enumerate(rows.groupby(SUBJECT, sort=True)):
        is_baseline = own["estimator"] == LABELS_ONLY
        floor = _lowest_shown(own)
        end = 100 * own[is_baseline].drop_duplicates("run")["validation_accuracy"].mean()
        points = [*_lines(own, "epoch", 0, EPOCH), *_lines(own, "seconds", 1, TRAINING_TIME)]
        if end < floor:
            told = {"kind": TOLD, "note": f"{LABELS_ONLY}: {end:.1f} %", "x_axis": EPOCH}
            points.append({"estimator": LABELS_ONLY, "y": end, "column": 0, **told})
        x_end = 1.5 * own["epoch"][~is_baseline].max()
        head = {"panel": textwrap.fill(subject_title(own.iloc[0]), 80), "row": i, "floor": floor}
        found += [{**head, "x_end": x_end if point["column"] == 0 else np.nan, **point} for point in points]
    return pd.DataFrame(found)


def _lowest_shown(rows: pd.DataFrame) -> float:
    """The lower limit of the accuracies of one subject, in percent."""
    runs = rows.drop_duplicates("run")
    for preferred in (runs["estimator"] != LABELS_ONLY, runs["status"] == "ok"):
        runs = runs[preferred[runs.index]] if preferred[runs.index].any() else runs
    low, high = (100 * runs["validation_accuracy"].agg(end) for end in ("min", "max"))
    return float(low - max(LEAST_SHOWN, 2 * (high - low)))


def _lines(rows: pd.DataFrame, field: str, column: int, axis: Metric) -> Iterator[dict[str, Any]]:
    """The points of a column of panels: against epochs or against seconds."""
    for (estimator, series), own in rows.dropna(subset=[field]).groupby(["estimator", "series"]):
        runs = _runs(own, field)
        mean, ends = mean_curve(runs), ("low", "high") if len(runs) > 1 else ()
        end = mean["x"].max()
        head = {"estimator": estimator, "series": series, "column": column, "x_axis": axis}
        for point in mean.to_dict("records"):
            yield {**head, "kind": "", "x": point["x"], "y": point["mean"], **{name: point[name] for name in ends}}
        for i, (x, y) in enumerate(runs):
            if x[-1] > WENT_ON * end:
                beyond = zip(x[x >= end], y[x >= end], strict=True)
                yield from ({**head, "kind": ONE_SEED, "line": str(i), "x": at, "y": percent} for at, percent in beyond)
        for x, y in _runs(own[own["status"] == "diverged"], field):
            yield {**head, "kind": DIVERGED, "x": x[-1], "y": y[-1]}


def _runs(points: pd.DataFrame, field: str) -> Points:
    """x and percents of each run. Runs with a single evaluation, at their start, count only if there are no others."""
    runs = [
        (own[field].to_numpy(), own["percent"].to_numpy())
        for _, own in points.sort_values(field, kind="stable").groupby("run")
    ]
    return [run for run in runs if len(run[0]) > 1] or runs


def _about_curves(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    """The caption, with notes on runs that did not finish."""
    told = [seeds_sentence(rows, "lines: mean", "bands")]
    told.append("The axis of accuracies begins a little below the final accuracies of the estimators.")
    if (rows.groupby([*SUBJECT, "estimator"])["run"].nunique() > 1).any():
        told.append("The mean ends where the first seed ended; thin lines show the seeds that went on.")
    told += ["×: diverged."] if (rows["status"] == "diverged").any() else []
    told += ["Some runs are unfinished: see the table."] if (rows["status"] == "unfinished").any() else []
    return " ".join([*told, "Seconds of training, without the evaluations."])


def _about_speeds(rows: pd.DataFrame, points: pd.DataFrame) -> str:
    told = f" The accuracy of {LABELS_ONLY} is written at the bottom." if LABELS_ONLY in set(rows["estimator"]) else ""
    return (
        f"{about_front(points, 'Up and to the right', ' of the means')} Final validation accuracy, and steps per "
        f"second without the evaluations. {seeds_sentence(rows)}{told}"
    )


# Against the number of classes K.


def _by_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """A panel for each (model, task): the mean of the column `value` over seeds, and its range."""
    found, panels = over_seeds(rows, [*SUBJECT, "estimator"], ["value"]), _panels_by_classes(rows)
    pairs = [*zip(found["model"], found["task"], strict=True)]
    points = found.assign(
        panel=[textwrap.fill(f"{text.model_name(model)} on {task}", 56) for model, task in pairs],
        at=[*map(panels.index, pairs)], x=found["n_classes"], **interval(found, "value"),
    )  # fmt: skip
    return points.sort_values("at", kind="stable")


def _panels_by_classes(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Each (model, task) with several K; then each with one K whose model and preset appear among the former."""
    counts = rows.groupby(["model", "preset", "task"])["n_classes"].nunique()
    kinds = {key[:2] for key, count in counts.items() if count > 1}
    shown = sorted((count == 1, key) for key, count in counts.items() if key[:2] in kinds)
    return [(model, task) for _, (model, _, task) in shown]


def _with_value(rows: pd.DataFrame, field: str, scale: float = 1.0) -> pd.DataFrame:
    """The rows that belong to a panel, with their `value`."""
    rows = rows.assign(value=scale * rows[field])
    rows = rows[rows["value"] > 0]
    panels = _panels_by_classes(rows)
    return rows[[pair in panels for pair in zip(rows["model"], rows["task"], strict=True)]]


def _against_k(place: int, name: str, question: str, title: str, metric: Metric, told: str, **more: Any) -> Figure:
    shape = AgainstNumber(CLASSES, metric, (3.5, 2.6), (0.7, 1.0), columns=2, most=12, joined=more.pop("joined", True))
    return Figure(
        place, name, question, TRAINING, f"Training runs: {title}", points=_by_classes, shape=shape,
        caption=lambda rows, _: f"{told} {seeds_sentence(rows)}", missed="never", **more,
    )  # fmt: skip


FIGURES = (
    Figure(
        160, "training_curves", "accurate", TRAINING, "Validation accuracy as training goes on",
        rows=lambda frame, curves: _evaluations(training_rows(frame), curves),
        points=_curves, shape=CURVES, caption=_about_curves, missed="if its group was measured",
    ),
    Figure(
        10, "pareto", "accurate", TRAINING, "Accuracy against speed",
        rows=lambda frame, _: finished_runs(frame[frame["steps_per_second"] > 0]),
        points=_speeds, shape=SPEEDS, caption=_about_speeds, missed="if its group was measured",
    ),
    _against_k(
        170, "accuracy_by_classes", "accurate", "final accuracy against the number of classes", ACCURACY,
        "Last validation accuracy of the finished training runs.", joined=False,
        rows=lambda frame, _: _with_value(finished_runs(frame), "validation_accuracy", 100),
    ),
    _against_k(
        180, "time_to_accuracy", "accurate", "time until an accuracy that all reach", TRAINING_TIME,
        f"Time until the validation accuracy reaches {100 * SHARE_OF_WORST:.0f} % of the lowest final accuracy of all "
        f"runs of a panel and K without {LABELS_ONLY}, interpolated between evaluations. Seconds of training, without "
        "the evaluations.",
        rows=lambda frame, curves: _with_value(times_to_target(finished_runs(frame), curves), "seconds"),
    ),
    _against_k(
        200, "training_memory", "memory", "peak memory against the number of classes", MEMORY,
        "One full training step with the settings of the runs: memory of the device, or live arrays on the CPU.",
        rows=lambda frame, _: _with_value(finished_runs(frame, "peak_bytes"), "peak_bytes", 1 / 2**20),
    ),
)  # fmt: skip
