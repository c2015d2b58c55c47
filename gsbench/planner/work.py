"""The work of a case, from its shapes alone. The fit explains measured times and bytes by it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from gsbench.fields import about, settings_of
from gsbench.meters.estimate import estimate_step_bytes, model_of_shapes, parameter_bytes
from gsbench.meters.operations import operations
from gsbench.models import MODELS
from gsbench.settings.case import NETWORKS, Settings

METRICS = ("step", "bound", "memory", "process")
# The named settings that determine the cost of a step, besides the estimator and K.
OF_CASE = about(settings_of(Settings), "work")
OF_NETWORKS = about(NETWORKS, "work")


@dataclasses.dataclass(frozen=True)
class Shape(Settings):
    """Everything except the estimator and K that determines the cost of a step. `settings` gives the case at a K.

    Raises ValueError, which says what is allowed.
    """

    threads: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        # Fill in the preset's values, so that a shape that names the same values compares as equal.
        if not MODELS[self.model].is_configured:
            return
        config = self.make_config()
        object.__setattr__(self, "networks", tuple((name, getattr(config, name)) for name in sorted(NETWORKS)))

    def __lt__(self, other: Shape) -> bool:
        return repr(self) < repr(other)  # pandas sorts the keys of a group-by

    def settings(self, estimator: str, n_classes: int, **more: Any) -> Settings:
        """The case at a class count."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return Settings(**{**own, "estimator": estimator, "n_classes": n_classes, **more})

    def to_dict(self) -> dict[str, Any]:
        """The fields that determine the cost, by name."""
        # Operations and bytes of a user's model are counted by its framework, on examples of its data.
        counted = () if MODELS[self.model].is_configured else ("backend", "dataset")
        own = {name: getattr(self, name) for name in (*OF_CASE, "dtype", "device", *counted)}
        return {**own, **{name: value for name, value in self.networks if name in OF_NETWORKS}}

    def differences(self, other: Shape) -> list[str]:
        """The fields in which `other` differs, such as `batch 200 (measured: 100)`."""
        own, theirs = self.to_dict(), other.to_dict()
        return [f"{name} {theirs.get(name)} (measured: {own[name]})" for name in own if own[name] != theirs.get(name)]


@functools.lru_cache(maxsize=100_000)
def columns(metric: str, shape: Shape, estimator: str, n_classes: int) -> np.ndarray:
    """The terms of the sum that explains a metric. The fit gives each term a factor ≥ 0:

        step             1, operations of the matrix products, parameters (Adam), numbers beside f
        bound            1, operations of the matrix products, numbers beside f
        memory, process  1, the estimate of a step's bytes

    The numbers beside f are large arrays that the estimator itself makes (`Estimator.floats_besides`).
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
