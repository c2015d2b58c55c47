"""REINFORCE with the leave-one-out baseline: hard draws of the class, each compared with the mean of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Generator, Tensor
from gsbench.categorical import draw_classes
from gsbench.estimators.base import ClassNumbers, Estimate, Estimator, check_count
from gsbench.models import ClassBound, Draws


@dataclass(frozen=True)
class ScoreFunction(Estimator):
    """The mean of f over S hard draws y_s ~ q (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!").

    Its gradient is mean_s [ ∇f(y_s) + sg(f(y_s) − mean_{t≠s} f(y_t)) ∇log q(y_s) ]. Value and gradient are unbiased; f
    needs no gradient with respect to y.

    draws   S ≥ 2, the draws of y

    Cost: S evaluations of f per example, and S·K numbers of noise.
    """

    name: ClassVar[str] = "score-function"
    y_enters: ClassVar[str] = "draws"

    draws: int = 2

    def __post_init__(self) -> None:
        check_count("draws", self.draws, least=2)

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk = f.bk
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        y = draw_classes(bk, rng, log_q_y, self.draws)  # [N, S, B]
        f_y = f(Draws(y))  # [N, S, B]
        values = bk.stop_gradient(f_y)
        # f(y_s) minus the mean of the others equals S/(S − 1) times (f(y_s) minus the mean of all).
        advantage = (values - bk.xp.mean(values, axis=1, keepdims=True)) / (self.draws - 1)
        log_q_at_y = bk.swap(bk.pick(log_q_y, bk.xp.matrix_transpose(y)), 1, 2)  # [N, S, B]
        score = advantage * (log_q_at_y - bk.stop_gradient(log_q_at_y))  # 0, with a gradient
        return Estimate(bk.mean(f_y, axis=1) + bk.sum(score, axis=1), bk.entropy(log_q_y))

    def calls(self, n_classes: int) -> int:
        return self.draws

    @property
    def class_numbers(self) -> ClassNumbers:
        return ClassNumbers(drawing=self.draws)  # the noise
