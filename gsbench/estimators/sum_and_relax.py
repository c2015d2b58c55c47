"""An exact sum over the likeliest classes, plus one soft draw for all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import check_tau, gumbel, gumbel_softmax
from gsbench.estimators.base import ClassNumbers
from gsbench.estimators.likeliest import Likeliest, at
from gsbench.estimators.streaming import gathered_rows, streamed_sum
from gsbench.models import ClassBound, Draws, DrawsAndPoint, Points


@dataclass(frozen=True)
class SumAndRelax(Likeliest):
    """Σ_{k ∈ C} q_k f(e_k) + (1 − q_C) f(s'), C the likeliest classes, s' = softmax((log q + g)/τ) over the rest.

    g is Gumbel noise. Every factor is differentiated as it stands. Value and gradient are biased by (1 − q_C) times the
    bias of a soft draw over the rest, so that the bias vanishes as q becomes peaked, as τ → 0, and if the rest has one
    class. There is no score function, whose noise is large while q is flat. Our own; it joins `sum-and-sample` (Liu et
    al. 2019, arXiv 1810.04777) and `gumbel-softmax` (Jang et al. 2017, arXiv 1611.01144).

    m      classes summed exactly, at most K − 1: then the estimate is the exact sum
    mass   with mass > 0, C has so many classes as hold this probability, and m or more
    most   with mass > 0, the limit of their number; None: no limit
    tau    temperature τ >= 1e-10 of the soft draw

    Cost: |C| + 1 evaluations of f per example, and K numbers of noise.
    """

    name: ClassVar[str] = "sum-and-relax"
    biased: ClassVar[tuple[str, ...]] = ("value", "gradient")
    costless: ClassVar[tuple[str, ...]] = ("tau",)

    tau: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_tau(self.tau)
        object.__setattr__(self, "tau", float(self.tau))

    def in_one_batch(self, f: ClassBound, log_q_y: Tensor, rng: Generator) -> Tensor:
        bk, log_q = f.bk, f.bk.stop_gradient(log_q_y)
        top = bk.largest(log_q, self.calls(f.n_classes) - 1)  # [N, B, C]
        log_outside = bk.xp.zeros_like(log_q)  # log of 0 or 1: [N, B, K]
        log_outside[at(bk, top)] = -bk.xp.inf
        of_rest, point = self._rest(bk, log_q_y, log_outside, rng)
        weights = bk.concat([bk.exp(bk.pick(log_q_y, top)), bk.expand(of_rest, 2)], axis=2)  # [N, B, C + 1]
        f_y = f(DrawsAndPoint(Draws(bk.xp.matrix_transpose(top)), point))  # [N, C + 1, B]
        return bk.sum(weights * bk.swap(f_y, 1, 2), axis=-1)

    def gathered(self, f: ClassBound, log_q_y: Tensor, rng: Generator) -> Tensor:
        bk, xp, log_q = f.bk, f.bk.xp, f.bk.stop_gradient(log_q_y)
        inside, never = self.prefix(bk, log_q), xp.full_like(log_q, -xp.inf)  # [N, B, K], like the arrays below
        of_rest, point = self._rest(bk, log_q_y, xp.where(inside, never, 0), rng)
        log_inside = xp.where(inside, 0, never)
        summed = streamed_sum(f, bk.exp(log_q_y + log_inside), gathered_rows(f.model, inside))
        return summed + of_rest * bk.reshape(f(point), of_rest.shape)

    def _rest(self, bk: Backend, log_q_y: Tensor, log_outside: Array, rng: Generator) -> tuple[Tensor, Points]:
        """1 − q_C, [N, B], and s' as points [N, 1, B, K]. log_outside is 0 outside C and −∞ in it: [N, B, K]"""
        s = gumbel_softmax(bk, log_q_y, gumbel(bk, rng, log_q_y.shape) + log_outside, self.tau)
        return bk.sum(bk.exp(log_q_y + log_outside), axis=-1), Points(bk.expand(s, 1))

    def calls_by_entry(self, calls: float) -> dict[str, float]:
        return {"draws": calls - 1, "soft": 1}

    @property
    def class_numbers(self) -> ClassNumbers:
        if self.mass:
            return ClassNumbers(drawing=8, kept=8, gradients=4)
        return ClassNumbers(drawing=5, kept=4, gradients=4)
