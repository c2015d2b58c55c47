"""A few different classes, drawn without replacement: the unordered set estimator."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

from array_api_compat import device

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import gumbel
from gsbench.estimators.base import ClassNumbers, Estimate, Estimator
from gsbench.estimators.likeliest import at, log_sum
from gsbench.models import ClassBound, Draws
from gsbench.values import whole

SIZES = whole(2, 4)  # the sum over subsets has 2^k terms


@dataclass(frozen=True)
class UnorderedSet(Estimator):
    """Σ_{s ∈ S} q_s R(S, s) f_s over a set S of k classes, drawn without replacement (Kool et al. 2020, arXiv
    2002.06043).

    R(S, s) = p^{D−s}(S−s) / p(S), where D are all classes and − takes classes out of a set. p^{D−C}(T) is the
    probability to draw the set T without replacement from the classes outside C. The gradient is
    Σ_S ∇q_s R(S, s) (f_s − Σ_{s'} q_{s'} R^{D−s}(S, s') f_{s'}) + Σ_S q_s R(S, s) ∇f_s, with R^{D−s}(S, s) = 1. Value
    and gradient are unbiased; f needs no gradient with respect to y. For k ≥ K the estimate is the exact sum.

    k   the size of S, 2 to 4

    Cost: k evaluations of f per example, at most K, and K numbers of noise.
    """

    name: ClassVar[str] = "unordered-set"
    y_enters: ClassVar[str] = "draws"

    k: int = 2

    def __post_init__(self) -> None:
        SIZES.check("k", self.k)

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk, xp = f.bk, f.bk.xp
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        y, log_of_rest = self._draw(bk, bk.stop_gradient(log_q_y), rng)  # [N, B, k], [N, B, 1]
        log_q_at_y = bk.pick(log_q_y, y)  # [N, B, k], like the arrays below
        log_q = bk.stop_gradient(log_q_at_y)
        log_R, log_R_without = _ratios(bk, log_q, log_of_rest)
        f_y = bk.swap(f(Draws(xp.matrix_transpose(y))), 1, 2)
        values, weights = bk.stop_gradient(f_y), xp.exp(log_q + log_R)
        # [N, B, s, s'] summed over s'
        baseline = xp.sum(xp.exp(log_q[..., None, :] + log_R_without) * values[..., None, :], axis=-1)
        score = (values - baseline) * (log_q_at_y - log_q)  # 0, with a gradient; ∇q_s = q_s ∇log q_s
        return Estimate(bk.sum(weights * (f_y + score), axis=-1), bk.entropy(log_q_y))

    def _draw(self, bk: Backend, log_q_y: Array, rng: Generator) -> tuple[Array, Array]:
        """S, int [N, B, min(k, K)], and the log probability of the classes outside it, [N, B, 1]."""
        xp, n_classes = bk.xp, log_q_y.shape[-1]
        if self.k >= n_classes:
            y = xp.broadcast_to(xp.arange(n_classes, device=device(log_q_y)), log_q_y.shape)
            return y, xp.full_like(log_q_y[..., :1], -xp.inf)
        y = bk.largest(log_q_y + gumbel(bk, rng, log_q_y.shape), self.k)
        rest = xp.asarray(log_q_y, copy=True)
        rest[at(bk, y)] = -xp.inf
        return y, log_sum(bk, rest)

    def calls(self, n_classes: int) -> int:
        return min(self.k, n_classes)

    @property
    def class_numbers(self) -> ClassNumbers:
        return ClassNumbers(drawing=3)  # the noise, log q + g, 64-bit positions


def _ratios(bk: Backend, log_q: Array, log_of_rest: Array) -> tuple[Array, Array]:
    """log R(S, s) [..., k] and log R^{D−s}(S, s') [..., s, s'], for log q of S [..., k] and the log probability of the
    rest [..., 1].

    p^{D−C}(T) = Σ_{t ∈ T} q_t / (1 − q_C) p^{D−C−t}(T−t), of which only the sets C = S−T are needed.
    """
    xp, k = bk.xp, log_q.shape[-1]
    of = [log_q[..., i] for i in range(k)]
    whole_set = frozenset(range(k))
    log_p = {frozenset[int](): xp.zeros_like(of[0])}  # by T
    for size in range(1, k + 1):
        for members in itertools.combinations(range(k), size):
            T = frozenset(members)
            # 1 − q_C is the mass of T and of the rest: no difference of numbers near 1
            log_left = reduce(xp.logaddexp, [of[t] for t in T], log_of_rest[..., 0])
            log_p[T] = reduce(xp.logaddexp, [of[t] - log_left + log_p[T - {t}] for t in members])
    log_R = [log_p[whole_set - {s}] - log_p[whole_set] for s in range(k)]
    without = [
        [log_p[whole_set - {s, t}] - log_p[whole_set - {s}] if s != t else xp.zeros_like(of[0]) for t in range(k)]
        for s in range(k)
    ]
    return xp.stack(log_R, axis=-1), xp.stack([xp.stack(row, axis=-1) for row in without], axis=-2)
