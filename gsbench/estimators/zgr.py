"""One hard draw of the class; the gradient is half that of q and half DARN's: ZGR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend
from gsbench.estimators.base import ClassNumbers
from gsbench.estimators.softmax_straight_through import SoftmaxStraightThrough


@dataclass(frozen=True)
class Zgr(SoftmaxStraightThrough):
    """Forward f(D), D ~ q; backward ½ J(q)∇ + ½ (D − q)(D − q)ᵀ∇ (Shekhovtsov 2023, ICML, "Cold Analysis of
    Rao-Blackwellized Straight-Through Gumbel-Softmax Gradient Estimator").

    ∇ = ∂f/∂D and J(p) = diag(p) − p pᵀ. It is the limit τ → 0 of `gumbel-rao`. Because (D − q)(D − q)ᵀ =
    4 J((D + q)/2) − 2 J(q), it is 2 J((D + q)/2)∇ − ½ J(q)∇, which is `reinmax` at τ = 1. The value is unbiased. The
    gradient is biased: its mean is exact if f is quadratic in D.

    draws   independent draws of D over which f is averaged

    Cost: `draws` evaluations of f per example.
    """

    name: ClassVar[str] = "zgr"

    def jacobian(self, bk: Backend, hard: Array, log_q: Array) -> tuple[tuple[Array, ...], tuple[float, ...]]:
        q = bk.xp.exp(log_q)
        return ((hard + q) / 2, bk.xp.broadcast_to(q, hard.shape)), (2.0, -0.5)

    @property
    def class_numbers(self) -> ClassNumbers:
        # As `reinmax`, whose softmax(θ/τ) is q here
        return ClassNumbers(drawing=4 * self.draws + 1, kept=2 * self.draws + 1, gradients=4 * self.draws)
