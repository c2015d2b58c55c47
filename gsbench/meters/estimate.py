"""How much memory a full training step will take, before it is taken."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gsbench.backends import chunk_bytes
from gsbench.models import MODELS, Model, ModelConfig
from gsbench.settings import Settings

STATE_ARRAYS = 4  # of each parameter: its value, its gradient and Adam's two moments


class _Shapes:
    """Stands in for a backend: its parameters have a shape and no values, so that counting them takes no memory."""

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


def estimate_step_bytes(settings: Settings) -> int:
    """Estimated peak bytes of live arrays over one full training step.

    rows · `Model.floats_per_row` + 4 · parameters, in the bytes of the dtype, with N·B·(values of y at once + 1) rows:
    the unlabelled bound's and the labelled one's.
    """
    model = model_of_shapes(settings.model, settings.make_config(), settings.device, settings.dtype)
    parameters = sum(math.prod(shape) for shape in model.parameters.values())
    draws = settings.n_mc * settings.batch
    rows = draws * (settings.make_estimator().classes_at_once(model, draws) + 1)
    return (rows * model.floats_per_row + STATE_ARRAYS * parameters) * np.dtype(settings.dtype).itemsize
