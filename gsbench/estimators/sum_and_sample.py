"""The likeliest classes exactly, and one draw for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gsbench.categorical import entropy, gumbel, gumbel_max
from gsbench.estimators.base import ClassNumbers, Estimate, Estimator, check_count
from gsbench.models import ClassBound, Draws


@dataclass(frozen=True)
class SumAndSample(Estimator):
    """Σ_{k ∈ C} q_k f(e_k) + (1 − q_C) f(y'), C the m likeliest classes, y' ~ q restricted to the rest (Liu et al.
    2019, arXiv 1810.04777, "Rao-Blackwellized stochastic gradients").

    Its gradient is Σ_C [ ∇q_k (f_k − b) + q_k ∇f_k ] + sg(1 − q_C) [ (f(y') − b) ∇log q(y') + ∇f(y') ], with the
    baseline b = sg(Σ_C q_k f_k / q_C), and q(y') not renormalised. Value and gradient are unbiased; with m ≥ K, and
    with m = K − 1, it is the exact sum.

    m   classes summed exactly

    Cost: m + 1 calls of f an example, K at most, and K numbers of noise.
    """

    name: ClassVar[str] = "sum-and-sample"
    y_enters: ClassVar[str] = "draws"

    m: int = 1

    def __post_init__(self) -> None:
        check_count("m", self.m)

    def __call__(self, f: ClassBound, logits_y: Any, rng: Any) -> Estimate:
        bk = f.bk
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        y, weights = self.classes(bk, bk.stop_gradient(log_q_y), rng)  # [N, B, C], as the rest below
        f_y = bk.swap(f(Draws(y.swapaxes(1, 2))), 1, 2)
        values, summed = bk.stop_gradient(f_y), slice(min(self.m, f.n_classes))
        q = weights[..., summed]
        baseline = (q * values[..., summed]).sum(axis=-1, keepdims=True) / q.sum(axis=-1, keepdims=True)
        # ∇q_k = q_k ∇log q_k, so that the classes of the sum and the one drawn for the rest have terms of one form.
        log_q_at_y = bk.pick(log_q_y, y)
        score = (values - baseline) * (log_q_at_y - bk.stop_gradient(log_q_at_y))  # 0, with a gradient
        return Estimate(bk.sum(weights * (f_y + score), axis=-1), entropy(bk, log_q_y))

    def classes(self, bk: Any, log_q_y: Any, rng: Any) -> tuple[Any, Any]:
        """The classes at which f is taken and their weights, [N, B, min(m + 1, K)] each: q_k, and 1 − q_C for the last.

        1 − q_C is summed over the rest, for as a difference it would be rounding alone where q is peaked.
        """
        n, batch, n_classes = log_q_y.shape
        if self.m >= n_classes:
            y = bk.xp.broadcast_to(bk.xp.arange(n_classes), log_q_y.shape)
            return y, bk.xp.exp(log_q_y)
        # A copy: a view would keep K integers an example.
        top = bk.xp.argpartition(-log_q_y, self.m - 1, axis=-1)[..., : self.m].copy()
        at_top = (bk.xp.arange(n)[:, None, None], bk.xp.arange(batch)[:, None], top)
        rest = log_q_y.copy()
        rest[at_top] = -bk.xp.inf
        drawn = gumbel_max(bk, rest, gumbel(bk, rng, rest.shape))  # [N, B]
        of_rest = bk.xp.exp(rest).sum(axis=-1, keepdims=True)
        y = bk.xp.concatenate([top, drawn[..., None]], axis=-1)
        return y, bk.xp.concatenate([bk.xp.exp(log_q_y[at_top]), of_rest], axis=-1)

    def calls(self, n_classes: int) -> int:
        return min(self.m + 1, n_classes)

    @property
    def class_numbers(self) -> ClassNumbers:
        return ClassNumbers(drawing=3)  # log q of the rest, the noise and their sum; or −log q and places, of 64 bits
