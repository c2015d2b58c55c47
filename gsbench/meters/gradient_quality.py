"""Compares an estimator's gradient with the exact one, with everything fixed except the draws of y.

The gradient belongs to the loss = −mean U over a minibatch. Its three parts are measured separately:

    logits   with respect to the logits of q(y|a,x), [N, B, K]
    phi      with respect to the parameters of the recognition networks except q(y|a,x), whose gradient follows from
             the part "logits"
    theta    with respect to the parameters of the generative networks

A part is left out if the model has no such parameters, or if the exact gradient is 0 but for rounding. With respect to
the logits it is 0 where q(y|a,x) is the exact posterior.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import numpy as np

from gsbench.backends.base import Array, Generator
from gsbench.estimators import Estimator
from gsbench.estimators.marginalize import Marginalize
from gsbench.estimators.marginalize_streamed import MarginalizeStreamed
from gsbench.meters.gradients import GradientMoments, TotalVariance
from gsbench.models import Model, Noise, Role
from gsbench.training.minibatches import DRAWS_OF_Y, FIXED_NOISE, stream_seed
from gsbench.training.objective import bound_given_noise, count_calls, loss

PARTS = ("logits", "phi", "theta")
OF_ROLE = {Role.OTHER_RECOGNITION: "phi", Role.GENERATIVE: "theta"}
TIMED_AT_LEAST = 9
LEAST_LOGITS = 1e-4  # of ‖g*‖ for the logits, relative to the norm of the gradient of the entropy alone

Gradient = dict[str, list[Array]]  # by part


class Point:
    """Where gradients are taken: a model with its parameters as they are, a minibatch, and draws of a and z.

    x            [B, D_x]
    total_draws  repetitions, each with draws of a and z of its own, for the total variance

    The exact gradients are computed once for all estimators, so that the parameters must not change.
    """

    def __init__(self, model: Model, x: Array, n_mc: int = 1, seed: int = 0, total_draws: int = 20) -> None:
        self.model, self.x, self.n_mc, self.seed, self.total_draws = model, x, n_mc, seed, total_draws
        self.noise, *self.further_noise = self._draw_noise(1 + total_draws)
        self._exact: dict[Estimator, Gradient] = {}
        self._exact_total: dict[str, float] = {}

    def _draw_noise(self, draws: int) -> list[Noise]:
        rng = self.model.bk.generator(stream_seed(self.seed, FIXED_NOISE))
        return [self.model.draw_noise(rng, self.x.shape[0], self.n_mc) for _ in range(draws)]

    def rng(self) -> Generator:
        """The generator from which an estimator draws y: the same for all estimators, to correlate their errors."""
        return self.model.bk.generator(stream_seed(self.seed, DRAWS_OF_Y))

    def gradient(self, estimator: Estimator, rng: Generator, noise: Noise) -> Gradient:
        """The estimator's gradient of −mean U, with draws from `rng`."""
        model, bk = self.model, self.model.bk
        f = model.class_bound(self.x, noise)
        value = loss(model, bound_given_noise(f, estimator, rng))
        logits, *found = bk.gradients_by(value, [f.logits_y, *model.parameters.values()])
        parts: Gradient = {"logits": [logits], "phi": [], "theta": []}
        for role, gradient in zip(model.roles.values(), found, strict=True):
            if part := OF_ROLE.get(role):
                parts[part].append(gradient)
        bk.synchronize()
        return parts

    def exact(self, estimator: Estimator) -> tuple[Gradient, Estimator]:
        """The gradient of the exact sum with which the estimator is compared, and this sum."""
        reference = estimator.reference() or MarginalizeStreamed()
        if reference not in self._exact:
            self._exact[reference] = self.gradient(reference, None, self.noise)
        return self._exact[reference], reference

    @functools.cached_property
    def parts(self) -> tuple[str, ...]:
        """The parts that have an exact gradient to compare with."""
        exact, _ = self.exact(MarginalizeStreamed() if self.model.config.norm == "none" else Marginalize())
        least = {"logits": LEAST_LOGITS * self._norm([self._entropy_gradient()])}
        return tuple(part for part in PARTS if self._norm(exact[part]) > least.get(part, 0.0))

    def _norm(self, arrays: list[Array]) -> float:
        return float(np.sqrt(sum(np.square(self.model.bk.to_numpy(a).astype(float)).sum() for a in arrays)))

    def _entropy_gradient(self) -> Array:
        """Of −mean H(q(y|a,x)) with respect to the logits: q (log q + H)/(N·B)"""
        bk = self.model.bk
        logits = bk.leaf(bk.stop_gradient(self.model.class_logits(self.x, self.noise)))
        entropy = bk.entropy(bk.log_softmax(logits))
        return bk.gradients_by(-bk.mean(bk.mean(entropy, axis=0)), [logits])[0]

    def total_variance(
        self, estimator: Estimator, exact_norms: dict[str, float], seconds: list[float]
    ) -> dict[str, float]:
        """The variance of each part with a, ε_z and y drawn anew, relative to ‖g*‖². Adds to the `seconds` of a bound.

        All estimators see the same draws of a and ε_z. The exact sums over q share one variance, computed once.
        """
        if estimator.exact and self._exact_total:
            return self._exact_total
        totals, rng = {part: TotalVariance() for part in self.parts}, self.rng()
        for noise in self.further_noise:
            gradient = self.timed_gradient(estimator, rng, noise, seconds)
            for part in self.parts:
                totals[part].add(gradient[part])
        found = {part: totals[part].result(exact_norms[part]) for part in self.parts}
        if estimator.exact:
            self._exact_total = found
        return found

    def timed_gradient(self, estimator: Estimator, rng: Generator, noise: Noise, seconds: list[float]) -> Gradient:
        self.model.bk.synchronize()  # earlier work must not be timed
        start = time.perf_counter()
        gradient = self.gradient(estimator, rng, noise)
        seconds.append(time.perf_counter() - start)
        return gradient

    @property
    def q_perplexity(self) -> float:
        """exp of the mean entropy of q(y|a,x): 1 where q is peaked, K where it is flat."""
        bk = self.model.bk
        with bk.no_gradient():
            log_q = bk.stop_gradient(bk.log_softmax(self.model.class_logits(self.x, self.noise)))
        return float(np.exp(bk.to_numpy(-(bk.xp.exp(log_q) * log_q).sum(axis=-1)).mean()))


def gradient_quality(point: Point, estimator: Estimator, blocks: int = 20, per_block: int = 5) -> dict[str, Any]:
    """The figures of a record: squared bias, variance and cosine of each part with their intervals, total variance,
    calls of f and seconds of the bound.

    blocks, per_block   repetitions that differ in the draws of y alone, blocks · per_block of them; the interval of the
                        bias is from its spread between blocks. An estimator that draws no y has one repetition

    Raises ValueError for an estimator that is not defined for the model, or has noise of its own for z.
    """
    estimator.check(point.model.config)
    if not estimator.shares_noise:
        raise ValueError(f"{estimator} draws ε_z by itself, which is to be fixed here")
    if not estimator.draws_y:
        blocks = per_block = 1
    exact, reference = point.exact(estimator)
    rng = point.rng()
    seconds: list[float] = []
    calls = count_calls(point.model, point.x, estimator, point.rng(), point.noise)
    point.gradient(estimator, point.rng(), point.noise)  # to warm up
    moments = {part: GradientMoments(exact[part], blocks, per_block) for part in point.parts}
    for _ in range(blocks * per_block):
        gradient = point.timed_gradient(estimator, rng, point.noise, seconds)
        for part in point.parts:
            moments[part].add(gradient[part])
    total = point.total_variance(estimator, {part: moments[part].exact_norm for part in point.parts}, seconds)
    while len(seconds) < TIMED_AT_LEAST:
        point.timed_gradient(estimator, rng, point.noise, seconds)
    q1, median, q3 = np.quantile(seconds, (0.25, 0.5, 0.75))
    figures: dict[str, Any] = {
        "baseline": str(reference),
        "gradient_draws": blocks * per_block,
        "gradient_blocks": blocks,
        "total_draws": point.total_draws,
        "q_perplexity": point.q_perplexity,
        "calls_of_f": calls,
        "bound_seconds": float(median),
        "bound_seconds_q1": float(q1),
        "bound_seconds_q3": float(q3),
        "rounds": len(seconds),
    }
    for part in point.parts:
        found = moments[part].result(seed=point.seed)
        named = dataclasses.asdict(found)
        figures["confidence"] = named.pop("confidence")
        figures |= {f"{part}_{name}": value for name, value in named.items()}
        figures[f"{part}_total_variance"] = total[part]
    return figures
