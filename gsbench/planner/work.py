"""What the code must do in a case, from its shapes alone: what measured times and bytes are explained with."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from gsbench.fields import about, settings_of
from gsbench.meters.estimate import estimate_step_bytes, model_of_shapes, parameter_bytes
from gsbench.meters.operations import operations
from gsbench.settings import NETWORKS, Settings

METRICS = ("step", "bound", "memory", "process")
# What a step's cost depends on, as it is asked for by name; the estimator and K besides.
OF_CASE = about(settings_of(Settings), "work")
OF_NETWORKS = about(NETWORKS, "work")


@dataclasses.dataclass(frozen=True)
class Shape(Settings):
    """All but the estimator and K that a step's cost depends on: a case, of which `settings` makes one at a K.

    Raises ValueError that says what is allowed.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        # Every setting of the networks by its value, so that one that is named and one that is the preset's are equal.
        config = self.make_config()
        object.__setattr__(self, "networks", tuple((name, getattr(config, name)) for name in sorted(NETWORKS)))

    def __lt__(self, other: Shape) -> bool:
        return repr(self) < repr(other)  # pandas sorts what it groups by

    def settings(self, estimator: str, n_classes: int, **more: Any) -> Settings:
        """The case at a class count."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Settings(**{**own, "estimator": estimator, "n_classes": n_classes, **more})

    def to_dict(self) -> dict[str, Any]:
        """What the cost depends on, by name."""
        own = {name: getattr(self, name) for name in (*OF_CASE, "dtype", "device")}
        return {**own, **{name: value for name, value in self.networks if name in OF_NETWORKS}}

    def differences(self, other: Shape) -> list[str]:
        """What of `other` is not as here: `batch 200 (measured: 100)`."""
        own, theirs = self.to_dict(), other.to_dict()
        return [f"{name} {theirs[name]} (measured: {own[name]})" for name in own if own[name] != theirs[name]]


@functools.lru_cache(maxsize=100_000)
def columns(metric: str, shape: Shape, estimator: str, n_classes: int) -> np.ndarray:
    """What a figure is a sum of, each with a factor ≥ 0 that is measured:

        step             1, operations of the matrix products, parameters (Adam), numbers beside f
        bound            1, operations of the matrix products, numbers beside f
        memory, process  1, the estimate of a step's bytes

    Numbers beside f are those that the estimator itself makes where they are many (`Estimator.floats_besides`).
    """
    settings = shape.settings(estimator, n_classes)
    if metric in ("memory", "process"):
        return np.array([1.0, estimate_step_bytes(settings)])
    config, made = settings.make_config(), settings.make_estimator()
    model = model_of_shapes(shape.model, config, shape.device, shape.dtype)
    products = operations(shape.model, config, shape.batch, shape.n_mc, made, metric)
    besides = made.floats_besides(model, shape.n_mc * shape.batch)
    of_adam = [parameter_bytes(settings, model)] if metric == "step" else []
    return np.array([1.0, products, *of_adam, besides])
