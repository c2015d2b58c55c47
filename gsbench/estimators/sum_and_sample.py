"""An exact sum over the likeliest classes, plus one draw for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import gumbel, gumbel_max, one_hot
from gsbench.estimators.base import ClassNumbers
from gsbench.estimators.likeliest import Likeliest, at, log_sum
from gsbench.estimators.streaming import gathered_rows, rows_or_classes, streamed
from gsbench.models import ClassBound, Draws


@dataclass(frozen=True)
class SumAndSample(Likeliest):
    """Σ_{k ∈ C} q_k f(e_k) + (1 − q_C) f(y'), C the likeliest classes, y' ~ q restricted to the rest (Liu et al.
    2019, arXiv 1810.04777, "Rao-Blackwellized stochastic gradients").

    Its gradient is Σ_C [ ∇q_k (f_k − b) + q_k ∇f_k ] + sg(1 − q_C) [ (f(y') − b) ∇log q(y') + ∇f(y') ], with the
    baseline b = sg(Σ_C q_k f_k / q_C), and q(y') not renormalised. Value and gradient are unbiased for every C.

    m      classes summed exactly, at most K − 1: then the estimate is the exact sum
    mass   with mass > 0, C has so many classes as hold this probability, and m or more
    most   with mass > 0, the limit of their number; None: no limit

    Cost: |C| + 1 evaluations of f per example, or K where that is nearly K in the minibatch; and K numbers of noise.
    """

    name: ClassVar[str] = "sum-and-sample"
    y_enters: ClassVar[str] = "draws"

    def in_one_batch(self, f: ClassBound, log_q_y: Tensor, rng: Generator) -> Tensor:
        bk, xp = f.bk, f.bk.xp
        y, weights = self.classes(bk, bk.stop_gradient(log_q_y), rng)  # [N, B, C], like the arrays below
        log_q_at_y = bk.pick(log_q_y, y)
        f_y = bk.swap(f(Draws(xp.matrix_transpose(y))), 1, 2)
        values = bk.stop_gradient(f_y)
        weighted, q = weights[..., :-1] * values[..., :-1], weights[..., :-1]
        baseline = xp.sum(weighted, axis=-1, keepdims=True) / xp.sum(q, axis=-1, keepdims=True)
        # Because ∇q_k = q_k ∇log q_k, the summed classes and the drawn class have terms of the same form.
        score = (values - baseline) * (log_q_at_y - bk.stop_gradient(log_q_at_y))  # 0, with a gradient
        return bk.sum(weights * (f_y + score), axis=-1)

    def classes(self, bk: Backend, log_q_y: Array, rng: Generator) -> tuple[Array, Array]:
        """The evaluated classes and their weights, [N, B, min(m + 1, K)] each: q_k, and 1 − q_C for the last."""
        xp = bk.xp
        top = bk.largest(log_q_y, self.calls(log_q_y.shape[-1]) - 1)
        drawn, log_of_rest = _draw(bk, log_q_y, top, rng)
        weights = xp.exp(xp.concat([log_q_y[at(bk, top)], log_of_rest], axis=-1))
        return xp.concat([top, drawn[..., None]], axis=-1), weights

    def gathered(self, f: ClassBound, log_q_y: Tensor, rng: Generator) -> Tensor:
        bk, xp = f.bk, f.bk.xp
        log_q = bk.stop_gradient(log_q_y)  # [N, B, K], like the arrays below
        inside = self.prefix(bk, log_q)
        drawn, log_of_rest = _draw(bk, log_q, inside, rng)
        is_drawn = one_hot(bk, drawn, f.n_classes) > 0
        # w_k = q_k in C; at y' it is 1 − q_C with the gradient (1 − q_C) ∇log q(y'); elsewhere it is 0.
        w = bk.exp(log_q_y + xp.where(inside, 0, xp.where(is_drawn, log_of_rest - log_q, -xp.inf)))
        parts = rows_or_classes if self.calls(f.n_classes) == f.n_classes else gathered_rows  # never above `most`
        total, values = streamed(f, w, parts(f.model, inside | is_drawn))
        q = xp.where(inside, bk.stop_gradient(w), 0)
        baseline = xp.sum(q * values, axis=-1) / xp.sum(q, axis=-1)  # [N, B]
        sum_w = bk.sum(w, axis=-1)
        return total - baseline * (sum_w - bk.stop_gradient(sum_w))  # minus 0, with a gradient

    @property
    def class_numbers(self) -> ClassNumbers:
        if self.mass:
            return ClassNumbers(drawing=8, kept=8, gradients=4)
        return ClassNumbers(drawing=3)  # log q of the rest, noise and sum; or −log q and 64-bit positions


def _draw(bk: Backend, log_q_y: Array, summed: Array, rng: Generator) -> tuple[Array, Array]:
    """A class drawn from q restricted to the rest, int [N, B], and log(1 − q_C), [N, B, 1].

    summed   C, as class numbers or as a mask [N, B, K]

    1 − q_C is a sum over the rest: if q is peaked, the difference would consist of rounding errors.
    """
    rest = bk.xp.asarray(log_q_y, copy=True)
    rest[summed if summed.dtype == bk.xp.bool else at(bk, summed)] = -bk.xp.inf
    return gumbel_max(bk, rest, gumbel(bk, rng, rest.shape)), log_sum(bk, rest)
