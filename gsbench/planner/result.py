"""What a plan says: plain data. `table.py` and `figure.py` say and draw it."""

from __future__ import annotations

import dataclasses
from typing import Any

from gsbench.planner.curve import Curve, HeldOut, Prediction
from gsbench.planner.questions import Crossover, Largest
from gsbench.planner.work import Shape


@dataclasses.dataclass(frozen=True)
class Training:
    """The seconds of a whole training run: its steps, each like the others, without its evaluations."""

    estimator: str
    n_classes: int
    steps: int
    seconds: float
    low: float
    high: float
    extrapolates: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was predicted, for `shape`, from the records of one setup. Intervals are of 95 %.

    setup       the machine and the conditions, in words
    conditions  the same by the records' names
    measured    class counts by (metric, estimator)
    remarks     what was left out, what was not measured, and that something extrapolates
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
