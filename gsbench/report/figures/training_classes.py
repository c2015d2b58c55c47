"""Training runs against the number of classes K: final accuracy, time to an accuracy, and memory."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.reading import TRAINING
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.points import interval
from gsbench.report.drawing.shapes import AgainstNumber, Metric
from gsbench.report.figures.metrics import ACCURACY, CLASSES, MEMORY, TRAINING_TIME
from gsbench.report.training_runs import (
    SHARE_OF_WORST,
    SUBJECT,
    finished_runs,
    over_seeds,
    seeds_sentence,
    times_to_target,
)
from gsbench.settings.run import LABELS_ONLY

TITLE_WIDTH = 56  # characters


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A panel for each (model, task): the mean of the column `value` over seeds, and its range."""
    found, panels = over_seeds(rows, [*SUBJECT, "estimator"], ["value"]), _panels(rows)
    pairs = [*zip(found["model"], found["task"], strict=True)]
    points = found.assign(
        panel=[textwrap.fill(f"{text.model_name(model)} on {task}", TITLE_WIDTH) for model, task in pairs],
        at=[*map(panels.index, pairs)], x=found["n_classes"], **interval(found, "value"),
    )  # fmt: skip
    return points.sort_values("at", kind="stable")


def _panels(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Each (model, task) with several K; then each with one K whose model and preset appear among the former."""
    counts = rows.groupby(["model", "preset", "task"])["n_classes"].nunique()
    kinds = {key[:2] for key, count in counts.items() if count > 1}
    shown = sorted((count == 1, key) for key, count in counts.items() if key[:2] in kinds)
    return [(model, task) for _, (model, _, task) in shown]


def _rows(rows: pd.DataFrame, field: str, scale: float = 1.0) -> pd.DataFrame:
    """The rows that belong to a panel, with their `value`."""
    rows = rows.assign(value=scale * rows[field])
    rows = rows[rows["value"] > 0]
    panels = _panels(rows)
    return rows[[pair in panels for pair in zip(rows["model"], rows["task"], strict=True)]]


def _figure(place: int, name: str, question: str, title: str, metric: Metric, told: str, **more: Any) -> Figure:
    shape = AgainstNumber(CLASSES, metric, (3.5, 2.6), (0.7, 1.0), columns=2, most=12, joined=more.pop("joined", True))
    return Figure(
        place, name, question, TRAINING, f"Training runs: {title}", points=_points, shape=shape,
        caption=lambda rows, _: f"{told} {seeds_sentence(rows)}", missed="never", **more,
    )  # fmt: skip


FIGURES = (
    _figure(
        170, "accuracy_by_classes", "accurate", "final accuracy against the number of classes", ACCURACY,
        "Last validation accuracy of the finished training runs.", joined=False,
        rows=lambda frame, _: _rows(finished_runs(frame), "validation_accuracy", 100),
    ),
    _figure(
        180, "time_to_accuracy", "accurate", "time until an accuracy that all reach", TRAINING_TIME,
        f"Time until the validation accuracy reaches {100 * SHARE_OF_WORST:.0f} % of the lowest final accuracy of all "
        f"runs of a panel and K without {LABELS_ONLY}, interpolated between evaluations. Seconds of training, without "
        "the evaluations.",
        rows=lambda frame, curves: _rows(times_to_target(finished_runs(frame), curves), "seconds"),
    ),
    _figure(
        200, "training_memory", "memory", "peak memory against the number of classes", MEMORY,
        "One full training step with the settings of the runs: memory of the device, or live arrays on the CPU.",
        rows=lambda frame, _: _rows(finished_runs(frame, "peak_bytes"), "peak_bytes", 1 / 2**20),
    ),
)  # fmt: skip
