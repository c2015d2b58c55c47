"""The ways in which y enters f(y). Each computes the term that y adds to a first layer: y W_y, with W_y [K, H].

The term broadcasts to [N, C, B, H], where C is the number of values of y at which f is evaluated at once. A one-hot
matrix of K·B rows is never built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gsbench.backends.base import Array, Backend, Tensor


class ClassValues(Protocol):
    """The values of y at which f is evaluated at once."""

    def first_layer(self, bk: Backend, W_y: Tensor) -> Tensor:
        """y W_y for W_y [K, H], in a shape that broadcasts to [N, C, B, H]."""


@dataclass(frozen=True)
class AllClasses:
    """y = e_k for every class at once: the rows of W_y, the same for every example. C = K."""

    def first_layer(self, bk: Backend, W_y: Tensor) -> Tensor:
        return bk.expand(W_y, 1)  # [K, 1, H]


@dataclass(frozen=True)
class Labels:
    """y = e_{index_b}, the known class of each example b: a row look-up. index int [B], C = 1."""

    index: Array

    def first_layer(self, bk: Backend, W_y: Tensor) -> Tensor:
        return bk.take_rows(W_y, self.index)  # [B, H]


@dataclass(frozen=True)
class Draws:
    """y = e_{index_ncb}, C constant classes for each draw of a and example: a row look-up. index int [N, C, B]."""

    index: Array

    def first_layer(self, bk: Backend, W_y: Tensor) -> Tensor:
        return bk.take_rows(W_y, self.index)  # [N, C, B, H]


@dataclass(frozen=True)
class Points:
    """y = points of the simplex [N, C, B, K] that may carry a gradient: a product forward and backward."""

    y: Tensor

    def first_layer(self, bk: Backend, W_y: Tensor) -> Tensor:
        return bk.product(self.y, W_y)  # [N, C, B, H]


@dataclass(frozen=True)
class DrawsAndPoint:
    """The values of `draws`, [N, C, B], and after them the one of `point`, [N, 1, B, K], as one batch of rows."""

    draws: Draws
    point: Points

    def first_layer(self, bk: Backend, W_y: Tensor) -> Tensor:
        return bk.concat([values.first_layer(bk, W_y) for values in (self.draws, self.point)], axis=1)  # [N, C+1, B, H]


@dataclass(frozen=True)
class HardPoints:
    """y = one-hot rows [N, C, B, K] that carry a gradient: a look-up forward, and a product backward because
    ∂f/∂y is needed for all K classes."""

    y: Tensor

    def first_layer(self, bk: Backend, W_y: Tensor) -> Tensor:
        return bk.look_up(self.y, W_y)  # [N, C, B, H]
