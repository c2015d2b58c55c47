"""What the code must do in a case, from its shapes alone: what measured times and bytes are explained with."""

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
    """A case whose networks may have other sizes than its preset's; None: the preset's."""

    units: int | None = None
    layers: int | None = None
    class_layers: int | None = None
    d_a: int | None = None
    d_z: int | None = None

    def make_config(self) -> ModelConfig:
        given: dict[str, Any] = {name: getattr(self, name) for name in SIZES if getattr(self, name) is not None}
        return dataclasses.replace(super().make_config(), **given)


@dataclasses.dataclass(frozen=True, order=True)  # pandas sorts what it groups by
class Shape:
    """All but the estimator and K that a step's cost depends on. None of the networks' sizes: the preset's.

    Raises ValueError that says what is allowed.
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
        # Every size by its number, so that a size that is named and one that is the preset's compare as equal.
        config = SizedSettings(threads=1, **dataclasses.asdict(self)).make_config()
        for name in SIZES:
            object.__setattr__(self, name, getattr(config, name))

    def settings(self, estimator: str, n_classes: int, **more: Any) -> SizedSettings:
        """The case at a class count."""
        given: dict[str, Any] = {"threads": 1, **dataclasses.asdict(self), **more}
        return SizedSettings(estimator=estimator, n_classes=n_classes, **given)

    def differences(self, other: Shape) -> list[str]:
        """What of `other` is not as here: `batch 200 (measured: 100)`."""
        names = [field.name for field in dataclasses.fields(self)]
        own, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [f"{name} {theirs[name]} (measured: {own[name]})" for name in names if own[name] != theirs[name]]


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
