"""The result of a plan as plain data. `table.py` writes it and `figure.py` draws it."""

from __future__ import annotations

import dataclasses
from typing import Any

from gsbench.planner.curve import Curve, HeldOut, Prediction
from gsbench.planner.questions import Crossover, Largest
from gsbench.planner.work import Shape


@dataclasses.dataclass(frozen=True)
class Training:
    """The seconds of a whole training run: the number of steps times the time of one, without evaluations."""

    estimator: str
    n_classes: int
    steps: int
    seconds: float
    low: float
    high: float
    extrapolates: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """The predictions for `shape` from the records of one setup. All intervals are 95 % intervals.

    setup       the machine and the conditions, in words
    conditions  the same, by the names of the records' fields
    measured    measured class counts by (metric, estimator)
    remarks     sentences: which records were left out, what was not measured, which predictions extrapolate
    """

    setup: str
    conditions: dict[str, Any]
    shape: Shape
    measured: dict[tuple[str, str], tuple[int, ...]]
    predictions: tuple[Prediction, ...]
    crossovers: tuple[Crossover, ...]
    largest: tuple[Largest, ...]
    training: tuple[Training, ...]
    held_out: tuple[HeldOut, ...]
    remarks: tuple[str, ...]
    curves: tuple[Curve, ...] = dataclasses.field(repr=False, compare=False)
