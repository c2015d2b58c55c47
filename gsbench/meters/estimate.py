"""How much memory a full training step will take, before it is taken."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gsbench.models import MODELS
from gsbench.settings import N_PIXELS, Settings

# Live arrays a row at the peak, which comes when the Bernoulli density of the pixels is formed: the logits, x·l, the
# softplus with its temporary, and their difference; one array for each hidden layer (two where batch norm keeps its
# input); means, log variances and draws of the latents. tests/test_meters.py holds the sum against tracemalloc.
ARRAYS_OF_PIXELS = 5
ARRAYS_OF_LATENTS = 4
STATE_ARRAYS = 4  # of each parameter: its value, its gradient and Adam's two moments


class _Shapes:
    """Stands in for a backend: its parameters have a shape and no values, so that counting them takes no memory."""

    relu = elu = None

    def new_parameter(self, shape: tuple[int, ...], draw: Any) -> tuple[int, ...]:
        return shape

    def array(self, values: np.ndarray) -> np.ndarray:
        return values


def estimate_step_bytes(settings: Settings) -> int:
    """Estimated peak bytes of live arrays over one full training step.

    rows · (5 D_x + (1 or 2) Σ hidden units + 4 (D_a + D_z)) + 4 · parameters, in the bytes of the dtype, with
    N·B·(calls of f + 1) rows: the unlabelled bound's and the labelled one's.
    """
    config = settings.make_config()
    model = MODELS[settings.model](_Shapes(), config)
    parameters = sum(math.prod(shape) for shape in model.parameters.values())
    class_networks = [network for network in model.networks if network.takes_y]
    hidden = len(class_networks) * config.class_layers * config.units * (2 if config.norm == "batch" else 1)
    a_row = ARRAYS_OF_PIXELS * N_PIXELS + hidden + ARRAYS_OF_LATENTS * (config.d_a + config.d_z)
    rows = settings.n_mc * settings.batch * (settings.make_estimator().calls(config.n_classes) + 1)
    return (rows * a_row + STATE_ARRAYS * parameters) * np.dtype(settings.dtype).itemsize
