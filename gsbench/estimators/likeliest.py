"""The common part of the estimators that sum the likeliest classes exactly and draw one value of y for all others."""

from __future__ import annotations

import abc
from dataclasses import dataclass

from array_api_compat import device

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.estimators.base import Estimate, Estimator, check_count
from gsbench.estimators.streaming import check_rows_are_independent, rows_that_fit
from gsbench.models import ClassBound, Model, ModelConfig
from gsbench.values import Range

MASS = Range(least=0, most=1)


@dataclass(frozen=True)
class Likeliest(Estimator):
    """C, the classes that are summed: the shortest prefix of the classes by falling q that has m classes or more and
    holds the probability `mass`, but at most `most` classes. At most K − 1 classes, so that there always is a rest.

    If the rest has one class, the estimate is the exact sum. C depends on q, but has no part in the gradient.

    With mass 0, C has m classes in each example, and its rows are one batch. Otherwise |C| follows the entropy of q.
    Then f is computed for gathered rows or for whole classes. Both come in parts that fit `bk.chunk_bytes`. Each part
    has its backward pass right after its forward pass. The conditions of `streamed_sum` apply: no batch norm, and
    a loss that weights all examples alike. A CUDA device waits for the number of rows, and for the classes of each
    part.
    """

    m: int = 1
    mass: float = 0.0
    most: int | None = None

    def __post_init__(self) -> None:
        check_count("m", self.m)
        MASS.check("mass", self.mass)
        object.__setattr__(self, "mass", float(self.mass))
        if self.most is not None:
            check_count("most", self.most, least=self.m, or_else=", which is m, or None for no limit")
            if not self.mass:
                raise ValueError("most needs a mass above 0; with mass 0, m classes are summed")

    def check(self, config: ModelConfig) -> None:
        if self.mass:
            check_rows_are_independent(f"{self.name} with a mass", config)

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk = f.bk
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        expectation = self.gathered if self.mass else self.in_one_batch
        return Estimate(expectation(f, log_q_y, rng), bk.entropy(log_q_y))

    @abc.abstractmethod
    def in_one_batch(self, f: ClassBound, log_q_y: Tensor, rng: Generator) -> Tensor:
        """The estimate of E_q[f] if C has m classes in each example. log_q_y [N, B, K] → [N, B]"""

    @abc.abstractmethod
    def gathered(self, f: ClassBound, log_q_y: Tensor, rng: Generator) -> Tensor:
        """The same if |C| differs between examples."""

    def prefix(self, bk: Backend, log_q_y: Array) -> Array:
        """Whether a class is in C. [N, B, K] → bool [N, B, K]"""
        xp, here = bk.xp, device(log_q_y)
        top = bk.largest(log_q_y, self.calls(log_q_y.shape[-1]) - 1)
        q = xp.exp(log_q_y[at(bk, top)])
        order = xp.argsort(q, axis=-1, descending=True)
        q = xp.take_along_axis(q, order, axis=-1)
        before = xp.cumulative_sum(q, axis=-1) - q  # the mass of the likelier classes
        inside = xp.zeros(log_q_y.shape, dtype=xp.bool, device=here)
        inside[at(bk, xp.take_along_axis(top, order, axis=-1))] = (before < self.mass) | (
            xp.arange(top.shape[-1], device=here) < self.m
        )
        return inside

    def calls(self, n_classes: int) -> int:
        summed = (self.most or n_classes) if self.mass else self.m
        return min(summed + 1, n_classes)

    @property
    def calls_follow_logits(self) -> bool:
        return self.mass > 0

    @property
    def frees_rows(self) -> bool:
        return self.mass > 0

    def classes_at_once(self, model: Model, rows: int) -> int:
        return -(-self.rows_at_once(model, rows) // rows)

    def rows_at_once(self, model: Model, rows: int) -> int:
        all_rows = rows * self.calls(model.config.n_classes)
        return min(all_rows, max(rows, rows_that_fit(model))) if self.mass else all_rows

    def floats_per_row(self, model: Model) -> int:
        return model.floats_per_row + (model.floats_gathered if self.mass else 0)

    def floats_besides(self, model: Model, rows: int) -> int:
        return self.rows_at_once(model, rows) * model.floats_gathered if self.mass else 0


def at(bk: Backend, classes: Array) -> tuple[Array, Array, Array]:
    """The index of these classes in an array [N, B, K]. classes int [N, B, C]"""
    n, batch, _ = classes.shape
    xp, here = bk.xp, device(classes)
    return xp.arange(n, device=here)[:, None, None], xp.arange(batch, device=here)[:, None], classes


def log_sum(bk: Backend, log_x: Array) -> Array:
    """log Σ_k x_k, of which one is above 0: [..., K] → [..., 1]"""
    xp = bk.xp
    largest = xp.max(log_x, axis=-1, keepdims=True)
    return largest + xp.log(xp.sum(xp.exp(log_x - largest), axis=-1, keepdims=True))

