"""Estimates how much memory a full training step takes, before it is taken."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import cast

import numpy as np

from gsbench.backends import DTYPES, Format, chunk_bytes
from gsbench.backends.base import Backend
from gsbench.models import MODELS, Model, ModelConfig
from gsbench.settings.case import Settings

STATE_ARRAYS = 4  # of each parameter: its value, its gradient and Adam's two moments


class _Shapes:
    """Stands in for a backend. Its parameters are shapes without values, so that counting them takes no memory."""

    relu = elu = None

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.chunk_bytes = chunk_bytes(device)
        self.dtype: Format = DTYPES[dtype]

    def new_parameter(self, shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> tuple[int, ...]:
        return shape

    def array(self, values: np.ndarray) -> np.ndarray:
        return values


def model_of_shapes(name: str, config: ModelConfig, device: str = "cpu", dtype: str = "float32") -> Model:
    """The model `name` whose parameters are their shapes."""
    return MODELS[name].of_shapes(cast(Backend, _Shapes(device, dtype)), config)  # it needs no more of a backend


def _model_of(settings: Settings, more_classes: int = 0) -> Model:
    config = settings.make_config()
    config = dataclasses.replace(config, n_classes=config.n_classes + more_classes)
    return model_of_shapes(settings.model, config, settings.device, settings.dtype)


def parameter_bytes(settings: Settings, model: Model | None = None) -> int:
    """Bytes of the parameters' values."""
    return _bytes_of(settings, (model or _model_of(settings)).shapes.values())


def _bytes_of(settings: Settings, shapes: Iterable[tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes)) * DTYPES[settings.dtype].wide_itemsize


def _state_bytes(settings: Settings, model: Model) -> int:
    return STATE_ARRAYS * parameter_bytes(settings, model)


def classes_at_once(settings: Settings) -> int:
    """Values of y whose activations are live at once in the unlabelled bound."""
    return settings.make_estimator().classes_at_once(_model_of(settings), settings.n_mc * settings.batch)


def class_rows_bytes(settings: Settings) -> int:
    """Bytes of all per-class rows: of the parameters, of their gradients and of Adam's moments."""
    more = _state_bytes(settings, _model_of(settings, more_classes=1))
    return settings.n_classes * (more - _state_bytes(settings, _model_of(settings)))


def estimate_step_bytes(settings: Settings, labelled: int | None = None) -> int:
    """Estimated peak bytes of live arrays over one full training step.

    labelled    labelled examples in the minibatch; None: as many as unlabelled ones

    The estimate is the largest of five moments: the labelled pass, the estimator's draw, f at the values of y that are
    live at once, the estimator's backward pass, and the last gradients. The first four hold three arrays of each
    parameter and the gradients that are known by then. The last holds four arrays of each parameter, and two more of
    the largest. Each moment holds rows of f: the labelled pass has one for each draw of a and labelled example. Each
    also holds arrays with one number for each class, draw of a and example: the estimator's arrays
    (`Estimator.class_numbers`), log q of both passes, and the logits or the gradients of log q. The minibatch and the
    networks that do not take y are live all the time.

    Where calls of f follow the logits, the estimate assumes as many as there can be, as gathered rows.
    tests/test_meters.py compares it with tracemalloc.
    """
    model, estimator = _model_of(settings), settings.make_estimator()
    labelled = settings.batch if labelled is None else labelled
    # In half precision, log densities and the networks without y are wide: all numbers count as wide.
    wide, draws = DTYPES[settings.dtype].wide_itemsize, settings.n_mc * settings.batch
    of_labelled = settings.n_mc * labelled
    per_class, of_classes = draws * settings.n_classes * wide, estimator.class_numbers
    # log q and the logits of the labelled pass, as far as it has more or fewer examples
    more_labelled = 2 * (of_labelled - draws) * settings.n_classes * wide

    def live(parameters: int, floats: int, class_arrays: int) -> int:
        return parameters + floats * wide + class_arrays * per_class

    value = parameter_bytes(settings, model)
    shapes = model.shapes
    largest = _bytes_of(settings, [max(shapes.values(), key=math.prod)])
    with_y = _bytes_of(settings, (shapes[key] for key in model.parameters_of_f))
    class_rows = _bytes_of(settings, (shapes[key] for key in model.class_rows))
    rows = estimator.rows_at_once(model, draws)
    if estimator.frees_rows:
        left_rows, known = 0, with_y
        known_at_f = with_y if rows < draws * settings.n_classes else 0  # from the parts so far
    else:
        left_rows, known_at_f = rows, 0
        known = with_y - class_rows if estimator.y_enters == "draws" else with_y  # looked-up rows come last
    pixels, labelled_pixels = settings.batch * model.config.n_pixels, labelled * model.config.n_pixels
    waiting = of_labelled * model.floats_waiting_per_row
    at_f, left = rows * estimator.floats_per_row(model) + 2 * pixels, model.floats_left_per_row
    moments = (
        live(3 * value, of_labelled * model.floats_per_row + 2 * labelled_pixels, 3),
        live(3 * value, waiting, 3 + of_classes.drawing),
        live(3 * value + known_at_f, waiting + at_f, 3 + of_classes.kept),
        live(3 * value + known, waiting + left_rows * left, 2 + of_classes.kept + max(4, of_classes.gradients)),
        live(4 * value + 2 * largest, (of_labelled + left_rows) * left, 2 + of_classes.kept),
    )
    of_examples = sum(model.floats_of_examples(settings.n_mc, examples) for examples in (labelled, settings.batch))
    return live(more_labelled, pixels + labelled_pixels + of_examples, 0) + max(moments)
