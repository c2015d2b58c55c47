"""The straight-through Gumbel estimator, Rao-Blackwellised: the mean of its gradient given the hard draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import gumbel, gumbel_max, gumbel_softmax_given, one_hot
from gsbench.estimators.base import ClassNumbers, check_count
from gsbench.estimators.straight_through import StraightThrough
from gsbench.models import Model


@dataclass(frozen=True)
class GumbelRao(StraightThrough):
    """Forward f(D); backward mean of J(s_m)/τ over M draws of s given D (Paulus et al. 2021, arXiv 2010.04838).

    D = one_hot argmax(log q + g); s_m = softmax((log q + g_m)/τ) with g_m drawn such that its argmax is D's class. The
    value and the mean gradient equal `straight-through`'s; the gradient's variance is not larger and falls with M.

    tau                 temperature τ >= 1e-10 of the soft draws
    draws               independent draws of D over which f is averaged
    conditional_draws   M, the soft draws for each D

    Cost: `draws` evaluations of f per example; M · `draws` arrays [N, B, K] are kept for the backward pass.
    """

    name: ClassVar[str] = "gumbel-rao"

    conditional_draws: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("conditional_draws", self.conditional_draws)

    def relax(self, bk: Backend, log_q_y: Tensor, g: Array, rng: Generator) -> Tensor:
        y = gumbel_max(bk, log_q_y, g)  # [N, S, B]
        fresh = gumbel(bk, rng, (self.conditional_draws, *g.shape))  # [M, N, S, B, K]
        s = gumbel_softmax_given(bk, log_q_y, y, fresh, self.tau)
        weights = (1 / (self.tau * self.conditional_draws),) * self.conditional_draws
        return bk.hard_point(one_hot(bk, y, g.shape[-1]), log_q_y, s, weights)

    def floats_besides(self, model: Model, rows: int) -> int:
        return self.class_numbers.drawing * rows * model.config.n_classes

    @property
    def class_numbers(self) -> ClassNumbers:
        # Drawing: D's noise, noise of the s_m, two arrays made from it. Kept: D and the s_m. Gradients: as `reinmax`
        of_soft = self.conditional_draws * self.draws
        return ClassNumbers(self.draws + 3 * of_soft, kept=self.draws + of_soft, gradients=4 * self.draws)
