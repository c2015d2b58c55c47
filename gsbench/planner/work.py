"""The work of a case, from its shapes alone. The fit explains measured times and bytes by it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from gsbench.meters.estimate import estimate_step_bytes, model_of_shapes, parameter_bytes
from gsbench.meters.operations import operations
from gsbench.models import ModelConfig
from gsbench.settings import Settings

SIZES = ("units", "layers", "class_layers", "d_a", "d_z")
METRICS = ("step", "bound", "memory", "process")


@dataclasses.dataclass(frozen=True)
class SizedSettings(Settings):
    """A case whose networks may have other sizes than the preset. None: the preset's size."""

    units: int | None = None
    layers: int | None = None
    class_layers: int | None = None
    d_a: int | None = None
    d_z: int | None = None

    def make_config(self) -> ModelConfig:
        given: dict[str, Any] = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        return dataclasses.replace(super().make_config(), **given)


@dataclasses.dataclass(frozen=True, order=True)  # ordered, because pandas sorts the keys of a group-by
class Shape:
    """Everything except the estimator and K that determines the cost of a step. A size of None is the preset's size.

    Raises ValueError, which says what is allowed.
    """

    model: str = "adgm"
    preset: str = "default"
    batch: int = 100
    n_mc: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    units: int | None = None
    layers: int | None = None
    class_layers: int | None = None
    d_a: int | None = None
    d_z: int | None = None

    def __post_init__(self) -> None:
        # Fill in the preset's sizes, so that a shape that names the same sizes compares as equal.
        config = SizedSettings(threads=1, **dataclasses.asdict(self)).make_config()
        for name in SIZES:
            object.__setattr__(self, name, getattr(config, name))

    def settings(self, estimator: str, n_classes: int, **more: Any) -> SizedSettings:
        """The case at a class count."""
        given: dict[str, Any] = {"threads": 1, **dataclasses.asdict(self), **more}
        return SizedSettings(estimator=estimator, n_classes=n_classes, **given)

    def differences(self, other: Shape) -> list[str]:
        """The fields in which `other` differs, such as `batch 200 (measured: 100)`."""
        names = [field.name for field in dataclasses.fields(self)]
        own, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [f"{name} {theirs[name]} (measured: {own[name]})" for name in names if own[name] != theirs[name]]


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
