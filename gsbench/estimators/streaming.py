"""Sums that are linear in f, with weights known before f is: each part's backward pass right after its forward pass.

The gradient of Σ_k w_k f(e_k) by what f is computed from is Σ_k sg(w_k) ∇f(e_k), and can be added up while the sum is.
Then a part's activations are freed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from gsbench.models import AllClasses, ClassBound, Labels, ModelConfig


class Part(Protocol):
    """Some entries of the values of f, [N, K, B]."""

    @property
    def entries(self) -> Any:
        """What picks them from an array [N, K, B]."""

    @property
    def class_rows(self) -> Any:
        """What picks, from what has a row for each class, the rows that they need."""

    def f(self, f: ClassBound) -> Any:
        """f at them, where of what has a row for each class it has the rows picked."""


@dataclass(frozen=True)
class ClassRange:
    """Classes that follow one another, of all draws and examples."""

    start: int
    stop: int

    @property
    def entries(self) -> Any:
        return slice(None), slice(self.start, self.stop)

    @property
    def class_rows(self) -> Any:
        return slice(self.start, self.stop)

    def f(self, f: ClassBound) -> Any:
        return f(AllClasses())  # [N, C, B]


@dataclass(frozen=True)
class Rows:
    """Single entries, by draw, class and example: int [R] each, equal pairs of draw and example together.

    classes   the classes that occur, each once
    label     an entry's class by its place in `classes`
    """

    draw: Any
    example: Any
    classes: Any
    label: Any

    @property
    def entries(self) -> Any:
        return self.draw, self.classes[self.label], self.example

    @property
    def class_rows(self) -> Any:
        return self.classes

    def f(self, f: ClassBound) -> Any:
        return f.at(self.draw, self.example)(Labels(self.label))[0, 0]  # [R]


def check_rows_are_independent(name: str, config: ModelConfig) -> None:
    """Raises ValueError for a model with batch norm, whose statistics would depend on the parts."""
    if config.norm == "batch":
        raise ValueError(
            f"{name} needs rows that do not interact, and norm='batch' takes its statistics over all of them; use "
            "marginalize, or norm='none'"
        )


def streamed_sum(f: ClassBound, w: Any, parts: Iterable[Part]) -> Any:
    """Σ_k w_k f(e_k) over the entries of all parts, for weights w [N, B, K] that may carry a gradient → [N, B]

    The loss must weight all examples and draws alike, as −mean(U) does; another raises ValueError in its backward
    pass.
    """
    bk, inputs, class_rows = f.bk, f.inputs, f.class_rows
    n, batch, n_classes = w.shape
    weights = bk.stop_gradient(w).swapaxes(1, 2)  # [N, K, B]
    f_y = bk.xp.zeros((n, n_classes, batch), bk.wide_dtype)
    totals: dict[str, Any] = {}
    for part in parts:
        leaves = {
            name: bk.leaf(bk.stop_gradient(x)[part.class_rows] if name in class_rows else x)
            for name, x in inputs.items()
        }
        f_part = part.f(f.with_inputs(leaves))
        f_y[part.entries] = bk.stop_gradient(f_part)
        if not bk.keeps_graph:
            continue
        for name, gradient in bk.gradients(f_part, weights[part.entries], leaves).items():
            if name in class_rows:
                if name not in totals:
                    totals[name] = bk.xp.zeros(inputs[name].shape, bk.wide_dtype)
                totals[name][part.class_rows] += gradient
            elif name in totals:
                totals[name] += gradient
            else:
                totals[name] = gradient.astype(bk.wide_dtype, copy=False)
        del f_part, leaves, gradient  # before the next part makes its own
    return bk.weighted_sum(w, f_y.swapaxes(1, 2), {name: inputs[name] for name in totals}, totals)
