"""Streamed sums Σ_k w_k f(e_k): each part of the sum runs its backward pass right after its forward pass.

The weights are known before f. The gradient with respect to the inputs of f is Σ_k sg(w_k) ∇f(e_k), so that it can be
added up together with the sum. A part's activations are freed before the next part starts.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from array_api_compat import device

from gsbench.backends.base import Array, Tensor
from gsbench.models import AllClasses, ClassBound, Labels, Model, ModelConfig

Index: TypeAlias = "slice | Array"

# Where more than this share of the entries is wanted, whole classes take less time: a gathered row takes a tenth longer
# than a row of a whole class, because its pixels and context are copied.
DENSE = 0.9


class Part(Protocol):
    """Some entries of the values of f, [N, K, B]."""

    @property
    def entries(self) -> tuple[Index, ...]:
        """The index of these entries in an array [N, K, B]."""

    @property
    def class_rows(self) -> Index:
        """The index of the rows that these entries need in a per-class parameter [K, H]."""

    def f(self, f: ClassBound) -> Tensor:
        """Evaluates f on this part. Per-class parameters have already been reduced to `class_rows`."""


@dataclass(frozen=True)
class ClassRange:
    """Consecutive classes, for all draws and examples."""

    start: int
    stop: int

    @property
    def entries(self) -> tuple[Index, ...]:
        return slice(None), slice(self.start, self.stop)

    @property
    def class_rows(self) -> Index:
        return slice(self.start, self.stop)

    def f(self, f: ClassBound) -> Tensor:
        return f(AllClasses())  # [N, C, B]


@dataclass(frozen=True)
class Rows:
    """Single entries, given by draw, class and example: int [R] each. Equal pairs (draw, example) are adjacent.

    classes   the classes that occur, each once
    label     the position of each entry's class in `classes`
    """

    draw: Array
    example: Array
    classes: Array
    label: Array

    @property
    def entries(self) -> tuple[Index, ...]:
        return self.draw, self.classes[self.label], self.example

    @property
    def class_rows(self) -> Index:
        return self.classes

    def f(self, f: ClassBound) -> Tensor:
        return f.at(self.draw, self.example)(Labels(self.label))[0, 0]  # [R]


def check_rows_are_independent(name: str, config: ModelConfig) -> None:
    """Raises ValueError for a model with batch norm, whose statistics would depend on the parts."""
    if config.norm == "batch":
        raise ValueError(
            f"{name} needs rows that do not interact, and norm='batch' takes its statistics over all of them; use "
            "marginalize, or norm='none'"
        )


def rows_that_fit(model: Model) -> int:
    """How many gathered rows of f fit `bk.chunk_bytes`."""
    bk = model.bk
    return int(max(1, bk.chunk_bytes // ((model.floats_per_row + model.floats_gathered) * bk.dtype.itemsize)))


def gathered_rows(model: Model, wanted: Array) -> Iterator[Rows]:
    """The entries that are wanted, bool [N, B, K]: example by example and draw by draw, in parts that fit."""
    xp, rows = model.bk.xp, rows_that_fit(model)
    example, draw, label = xp.nonzero(xp.permute_dims(wanted, (1, 0, 2)))
    for start in range(0, len(label), rows):
        part = slice(start, start + rows)
        classes, place = xp.unique_inverse(label[part])
        yield Rows(draw[part], example[part], classes, place)


def rows_or_classes(model: Model, wanted: Array) -> Iterable[Part]:
    """Parts that fit and have all entries that are wanted, bool [N, B, K]: gathered rows, or whole classes where nearly
    all entries are wanted. All other entries must have the weight 0 and a finite f.
    """
    n, batch, n_classes = wanted.shape
    chunk = rows_that_fit(model) // (n * batch)
    if chunk and model.bk.xp.count_nonzero(wanted) > DENSE * n * batch * n_classes:
        return class_ranges(n_classes, chunk)
    return gathered_rows(model, wanted)


def class_ranges(n_classes: int, chunk: int) -> Iterator[ClassRange]:
    """All classes, `chunk` at a time."""
    return (ClassRange(k, min(k + chunk, n_classes)) for k in range(0, n_classes, chunk))


def streamed_sum(f: ClassBound, w: Tensor, parts: Iterable[Part]) -> Tensor:
    """The sum of `streamed`, with the same arguments."""
    return streamed(f, w, parts)[0]


def streamed(f: ClassBound, w: Tensor, parts: Iterable[Part]) -> tuple[Tensor, Array]:
    """Σ_k w_k f(e_k) over the entries of all parts, for weights w [N, B, K] that may carry a gradient → [N, B], and the
    values of f as constants [N, B, K], which are 0 in all other entries.

    The loss must weight all examples and draws alike, as −mean(U) does; any other loss raises ValueError in its
    backward pass.
    """
    bk, xp, inputs, class_rows = f.bk, f.bk.xp, f.inputs, f.class_rows
    n, batch, n_classes = w.shape
    weights = xp.matrix_transpose(bk.stop_gradient(w))  # [N, K, B]
    zeros = functools.partial(xp.zeros, dtype=bk.wide_dtype, device=device(weights))
    f_y = zeros((n, n_classes, batch))
    totals: dict[str, Array] = {}
    gradient = None  # where f depends on nothing
    for part in parts:
        leaves = {
            name: bk.leaf(bk.stop_gradient(x)[part.class_rows] if name in class_rows else x)
            for name, x in inputs.items()
        }
        f_part = part.f(f.with_inputs(leaves, part.class_rows))
        f_y[part.entries] = bk.stop_gradient(f_part)
        if not bk.keeps_graph:
            continue
        for name, gradient in bk.gradients(f_part, weights[part.entries], leaves).items():
            if name in class_rows:
                if name not in totals:
                    totals[name] = zeros(inputs[name].shape)
                totals[name][part.class_rows] += gradient
            elif name in totals:
                totals[name] += gradient
            else:
                totals[name] = xp.astype(gradient, bk.wide_dtype, copy=False)
        del f_part, leaves, gradient  # frees them before the next part
    values = xp.matrix_transpose(f_y)  # [N, B, K]
    return bk.weighted_sum(w, values, {name: inputs[name] for name in totals}, totals), values
