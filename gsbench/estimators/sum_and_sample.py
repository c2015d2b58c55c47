"""An exact sum over the likeliest classes, plus one draw for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from array_api_compat import device

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import gumbel, gumbel_max
from gsbench.estimators.base import ClassNumbers, Estimate, Estimator, check_count
from gsbench.models import ClassBound, Draws


@dataclass(frozen=True)
class SumAndSample(Estimator):
    """Σ_{k ∈ C} q_k f(e_k) + (1 − q_C) f(y'), C the m likeliest classes, y' ~ q restricted to the rest (Liu et al.
    2019, arXiv 1810.04777, "Rao-Blackwellized stochastic gradients").

    Its gradient is Σ_C [ ∇q_k (f_k − b) + q_k ∇f_k ] + sg(1 − q_C) [ (f(y') − b) ∇log q(y') + ∇f(y') ], with the
    baseline b = sg(Σ_C q_k f_k / q_C), and q(y') not renormalised. Value and gradient are unbiased. For m ≥ K − 1
    the estimate is the exact sum.

    m   classes summed exactly

    Cost: m + 1 evaluations of f per example, at most K, and K numbers of noise.
    """

    name: ClassVar[str] = "sum-and-sample"
    y_enters: ClassVar[str] = "draws"

    m: int = 1

    def __post_init__(self) -> None:
        check_count("m", self.m)

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk, xp = f.bk, f.bk.xp
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        y, weights = self.classes(bk, bk.stop_gradient(log_q_y), rng)  # [N, B, C], like the arrays below
        f_y = bk.swap(f(Draws(xp.matrix_transpose(y))), 1, 2)
        values, summed = bk.stop_gradient(f_y), slice(min(self.m, f.n_classes))
        q = weights[..., summed]
        weighted = q * values[..., summed]
        baseline = xp.sum(weighted, axis=-1, keepdims=True) / xp.sum(q, axis=-1, keepdims=True)
        # Because ∇q_k = q_k ∇log q_k, the summed classes and the drawn class have terms of the same form.
        log_q_at_y = bk.pick(log_q_y, y)
        score = (values - baseline) * (log_q_at_y - bk.stop_gradient(log_q_at_y))  # 0, with a gradient
        return Estimate(bk.sum(weights * (f_y + score), axis=-1), bk.entropy(log_q_y))

    def classes(self, bk: Backend, log_q_y: Array, rng: Generator) -> tuple[Array, Array]:
        """The evaluated classes and their weights, [N, B, min(m + 1, K)] each: q_k, and 1 − q_C for the last.

        1 − q_C is a sum over the rest: if q is peaked, the difference would consist of rounding errors.
        """
        xp, here = bk.xp, device(log_q_y)
        n, batch, n_classes = log_q_y.shape
        if self.m >= n_classes:
            return xp.broadcast_to(xp.arange(n_classes, device=here), log_q_y.shape), xp.exp(log_q_y)
        top = bk.largest(log_q_y, self.m)
        at_top = (xp.arange(n, device=here)[:, None, None], xp.arange(batch, device=here)[:, None], top)
        rest = xp.asarray(log_q_y, copy=True)
        rest[at_top] = -xp.inf
        drawn = gumbel_max(bk, rest, gumbel(bk, rng, rest.shape))  # [N, B]
        of_rest = xp.sum(xp.exp(rest), axis=-1, keepdims=True)
        y = xp.concat([top, drawn[..., None]], axis=-1)
        return y, xp.concat([xp.exp(log_q_y[at_top]), of_rest], axis=-1)

    def calls(self, n_classes: int) -> int:
        return min(self.m + 1, n_classes)

    @property
    def class_numbers(self) -> ClassNumbers:
        return ClassNumbers(drawing=3)  # log q of the rest, noise and sum; or −log q and 64-bit positions
