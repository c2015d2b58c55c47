"""One hard draw of the class with the Jacobian of q itself: the first straight-through estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import gumbel_max, one_hot
from gsbench.estimators.base import ClassNumbers, check_count
from gsbench.estimators.gumbel_softmax import DrawnPoint
from gsbench.models import HardPoints, Points


@dataclass(frozen=True)
class SoftmaxStraightThrough(DrawnPoint):
    """Forward f(D), D ~ q; backward J(q) (Bengio et al. 2013, arXiv 1308.3432, section 4).

    J(q) = diag(q) − q qᵀ. The value is unbiased. The gradient is biased: its mean is exact if f is linear in D.

    draws   independent draws of D over which f is averaged

    Cost: `draws` evaluations of f per example.
    """

    name: ClassVar[str] = "softmax-straight-through"
    biased: ClassVar[tuple[str, ...]] = ("gradient",)
    points: ClassVar[type[Points] | type[HardPoints]] = HardPoints
    y_enters: ClassVar[str] = "hard"

    draws: int = 1

    def __post_init__(self) -> None:
        check_count("draws", self.draws)

    def relax(self, bk: Backend, log_q_y: Tensor, g: Array, rng: Generator) -> Tensor:
        hard = one_hot(bk, gumbel_max(bk, log_q_y, g), g.shape[-1])
        return bk.hard_point(hard, log_q_y, *self.jacobian(bk, hard, bk.stop_gradient(log_q_y)))

    def jacobian(self, bk: Backend, hard: Array, log_q: Array) -> tuple[tuple[Array, ...], tuple[float, ...]]:
        """Points p_m and weights c_m. The backward pass multiplies by Σ_m c_m J(p_m). hard [N, S, B, K], log_q
        [N, 1, B, K]
        """
        return (bk.xp.broadcast_to(bk.xp.exp(log_q), hard.shape),), (1.0,)

    @property
    def class_numbers(self) -> ClassNumbers:
        # Drawing: the noise, log q + g, D, q. Kept: D and q. Gradients: of D, and its product with J(q)
        return ClassNumbers(drawing=4 * self.draws, kept=self.draws + 1, gradients=3 * self.draws)
