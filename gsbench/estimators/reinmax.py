"""One hard draw of the class with a second-order gradient: ReinMax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import gumbel_max, one_hot
from gsbench.estimators.base import ClassNumbers
from gsbench.estimators.straight_through import StraightThrough


@dataclass(frozen=True)
class ReinMax(StraightThrough):
    """Forward f(D), D ~ q; backward 2 J(p)∇ − ½ J(q)∇ (Liu et al. 2023, arXiv 2304.08612, algorithm 2).

    ∇ = ∂f/∂D, p = (softmax(θ/τ) + D)/2, q = softmax(θ), J(p) = diag(p) − p pᵀ; θ are the logits. The value is unbiased.
    The gradient is a second-order approximation (Heun's method): at τ = 1 its mean is exact if f is quadratic in D.

    tau     temperature τ >= 1e-10 of the softmax within p
    draws   independent draws of D over which f is averaged

    Cost: `draws` evaluations of f per example.
    """

    name: ClassVar[str] = "reinmax"
    gumbel_softmax: ClassVar[bool] = False

    def relax(self, bk: Backend, log_q_y: Tensor, g: Array, rng: Generator) -> Tensor:
        log_q = bk.stop_gradient(log_q_y)
        hard = one_hot(bk, gumbel_max(bk, log_q, g), g.shape[-1])
        p = (bk.stop_gradient(bk.softmax(log_q / self.tau)) + hard) / 2  # [N, S, B, K]
        q = bk.xp.broadcast_to(bk.xp.exp(log_q), p.shape)
        return bk.hard_point(hard, log_q_y, (p, q), (2.0, -0.5))

    @property
    def class_numbers(self) -> ClassNumbers:
        # Drawing: the noise, D, p, 2p, softmax(θ/τ). Kept: D, p, q. Gradients: of D, and its products with J(p), J(q)
        return ClassNumbers(drawing=4 * self.draws + 1, kept=2 * self.draws + 1, gradients=4 * self.draws)
