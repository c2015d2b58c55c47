"""How much memory a full training step will take, before it is taken."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from gsbench.backends import chunk_bytes
from gsbench.models import MODELS, Model, ModelConfig
from gsbench.settings import Settings

STATE_ARRAYS = 4  # of each parameter: its value, its gradient and Adam's two moments


class _Shapes:
    """Stands in for a backend: its parameters have a shape and no values, so that counting them takes no memory."""

    relu = elu = None

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.chunk_bytes = chunk_bytes(device)
        self.dtype = np.dtype(dtype)

    def new_parameter(self, shape: tuple[int, ...], draw: Any) -> tuple[int, ...]:
        return shape

    def array(self, values: np.ndarray) -> np.ndarray:
        return values


def model_of_shapes(name: str, config: ModelConfig, device: str = "cpu", dtype: str = "float32") -> Model:
    """The model `name` whose parameters are their shapes."""
    return MODELS[name](_Shapes(device, dtype), config)


def _model_of(settings: Settings, more_classes: int = 0) -> Model:
    config = settings.make_config()
    config = dataclasses.replace(config, n_classes=config.n_classes + more_classes)
    return model_of_shapes(settings.model, config, settings.device, settings.dtype)


def wide_bytes(settings: Settings) -> int:
    """Bytes of a number in the backend's wide dtype, in which noise and gradients' sums are."""
    return np.promote_types(settings.dtype, np.float32).itemsize


def parameter_bytes(settings: Settings, model: Model | None = None) -> int:
    """Bytes of the parameters' values."""
    shapes = (model or _model_of(settings)).parameters.values()
    return sum(map(math.prod, shapes)) * np.dtype(settings.dtype).itemsize


def _state_bytes(settings: Settings, model: Model) -> int:
    return STATE_ARRAYS * parameter_bytes(settings, model)


def classes_at_once(settings: Settings) -> int:
    """Values of y whose activations are live at once in the unlabelled bound."""
    return settings.make_estimator().classes_at_once(_model_of(settings), settings.n_mc * settings.batch)


def class_rows_bytes(settings: Settings) -> int:
    """Bytes of what has a row for each class: those rows of the parameters, their gradients and Adam's moments."""
    more = _state_bytes(settings, _model_of(settings, more_classes=1))
    return settings.n_classes * (more - _state_bytes(settings, _model_of(settings)))


def estimate_step_bytes(settings: Settings) -> int:
    """Estimated peak bytes of live arrays over one full training step.

    rows · `Model.floats_per_row` + 4 · parameters, in the bytes of the dtype, with N·B·(values of y at once + 1) rows:
    the unlabelled bound's and the labelled one's; and what the estimator has beside f.
    """
    model = _model_of(settings)
    examples = settings.n_mc * settings.batch
    of_f = examples * (classes_at_once(settings) + 1) * model.floats_per_row * np.dtype(settings.dtype).itemsize
    besides = settings.make_estimator().floats_besides(model, examples) * wide_bytes(settings)
    return of_f + besides + _state_bytes(settings, model)
