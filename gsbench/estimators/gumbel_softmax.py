"""One soft draw of the class: Gumbel-Softmax, the Concrete distribution."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import check_tau, gumbel, gumbel_softmax
from gsbench.estimators.base import ClassNumbers, Estimate, Estimator, check_count
from gsbench.models import ClassBound, HardPoints, Points


class DrawnPoint(Estimator):
    """f at points of the simplex that are drawn and carry a gradient, averaged over `draws` of them."""

    points: ClassVar[type[Points] | type[HardPoints]] = Points  # the form in which f takes the result of `draw`

    draws: int

    def draw(self, bk: Backend, log_q_y: Tensor, rng: Generator) -> Tensor:
        """The points of the simplex at which f is evaluated. They carry a gradient. log_q_y [N, B, K] → [N, S, B, K]"""
        n, batch, n_classes = log_q_y.shape
        g = gumbel(bk, rng, (n, self.draws, batch, n_classes))
        return self.relax(bk, bk.expand(log_q_y, 1), g, rng)

    @abc.abstractmethod
    def relax(self, bk: Backend, log_q_y: Tensor, g: Array, rng: Generator) -> Tensor:
        """The points for log q [N, 1, B, K] and noise g [N, S, B, K]. Subclasses may draw more noise from `rng`."""

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk = f.bk
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        f_y = f(self.points(self.draw(bk, log_q_y, rng)))  # [N, S, B]
        return Estimate(bk.mean(f_y, axis=1), bk.entropy(log_q_y))

    def calls(self, n_classes: int) -> int:
        return self.draws


@dataclass(frozen=True)
class GumbelSoftmax(DrawnPoint):
    """f(s) with s = softmax((log q + g)/τ), g = −log(−log u) (Jang et al. 2017, arXiv 1611.01144, eq. 2).

    tau     temperature τ >= 1e-10. The estimate is biased because s is not a class. As τ → 0 the bias vanishes and the
            variance of the gradient grows
    draws   independent draws of s over which f is averaged

    Cost: `draws` evaluations of f per example.
    """

    name: ClassVar[str] = "gumbel-softmax"
    biased: ClassVar[tuple[str, ...]] = ("value", "gradient")
    gumbel_softmax: ClassVar[bool] = True
    costless: ClassVar[tuple[str, ...]] = ("tau",)

    tau: float = 1.0
    draws: int = 1

    def __post_init__(self) -> None:
        check_tau(self.tau)
        check_count("draws", self.draws)
        object.__setattr__(self, "tau", float(self.tau))  # so that 2 and 2.0 have one spelling

    def relax(self, bk: Backend, log_q_y: Tensor, g: Array, rng: Generator) -> Tensor:
        return gumbel_softmax(bk, log_q_y, g, self.tau)

    @property
    def class_numbers(self) -> ClassNumbers:
        # Drawing: the noise, two steps of the softmax. Kept: s. Gradients: of s from two networks, and their sum
        return ClassNumbers(drawing=3 * self.draws, kept=self.draws, gradients=3 * self.draws)
