"""One hard draw of the class with the gradient of a soft one: the straight-through Gumbel estimator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import straight_through
from gsbench.estimators.base import ClassNumbers
from gsbench.estimators.gumbel_softmax import GumbelSoftmax
from gsbench.models import HardPoints, Points


@dataclass(frozen=True)
class StraightThrough(GumbelSoftmax):
    """Forward f(D), D = one_hot argmax(log q + g); backward J(s)/τ (Jang et al. 2017, arXiv 1611.01144, section 2.2).

    s = softmax((log q + g)/τ) and J(s) = diag(s) − s sᵀ. The value is unbiased because D is an exact draw from q;
    the gradient is biased.

    tau     temperature τ >= 1e-10 of the soft draw s whose Jacobian the backward pass takes
    draws   independent draws of D over which f is averaged

    Cost: `draws` evaluations of f per example.
    """

    name: ClassVar[str] = "straight-through"
    biased: ClassVar[tuple[str, ...]] = ("gradient",)
    points: ClassVar[type[Points] | type[HardPoints]] = HardPoints
    y_enters: ClassVar[str] = "hard"

    def relax(self, bk: Backend, log_q_y: Tensor, g: Array, rng: Generator) -> Tensor:
        return straight_through(bk, log_q_y, g, self.tau)

    @property
    def class_numbers(self) -> ClassNumbers:
        # Drawing: the noise, log q + g, D, two steps of the softmax. Kept: D and s. Gradients: as `gumbel-softmax`
        return ClassNumbers(drawing=5 * self.draws, kept=2 * self.draws, gradients=3 * self.draws)
