"""The bounds and the training loss (Maaløe et al. 2016, arXiv 1602.05473).

Bounds are per example, in nats, and maximised.
"""

from __future__ import annotations

import dataclasses

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import log_q_at
from gsbench.estimators import Estimator
from gsbench.models import ClassBound, Labels, Model, Noise


def unlabelled_bound(model: Model, x: Array, estimator: Estimator, rng: Generator, n_mc: int = 1) -> Tensor:
    """U(x) = 1/N Σ_l { E_{y ~ w(y|a_l,x)}[ f(y) ] + H(w(·|a_l,x)) }, with the expectation taken by `estimator`.

    x [B, D_x] in [0, 1] → [B]. Every estimator's bound contains the entropy. `rng` draws ε_a and ε_z first, then the
    estimator's noise, so that with one seed every estimator sees the same a and f. Raises ValueError if the estimator
    is not defined for the model.
    """
    estimator.check(model.config)
    return bound_given_noise(model.class_bound(x, model.draw_noise(rng, x.shape[0], n_mc)), estimator, rng)


def bound_given_noise(f: ClassBound, estimator: Estimator, rng: Generator) -> Tensor:
    """U(x) for the draws of a and the noise ε_z within f; `rng` draws the estimator's noise. → [B]"""
    expectation, entropy = estimator(f, f.logits_y, rng)
    return f.bk.mean(expectation + entropy, axis=0)


def count_calls(model: Model, x: Array, estimator: Estimator, rng: Generator, noise: Noise) -> float:
    """Calls of f for an example and draw of a in one unlabelled bound of x [B, D_x], without a backward pass."""
    with model.bk.no_gradient():
        counted: list[int] = []
        f = dataclasses.replace(model.class_bound(x, noise), counted=counted)
        estimator(f, f.logits_y, rng)
    n, batch, _ = f.logits_y.shape
    return float(sum(counted) / (n * batch))


def labelled_bound(
    model: Model, x: Array, y: Array, rng: Generator, n_mc: int = 1, estimator: Estimator | None = None
) -> tuple[Tensor, Tensor]:
    """L(x, y) = 1/N Σ_l f(e_y), and 1/N Σ_l log q(y|a_l,x), or the estimator's `log_likelihood` in place of log q.

    x [B, D_x], y int [B] → [B], [B]
    """
    bk = model.bk
    f = model.class_bound(x, model.draw_noise(rng, x.shape[0], n_mc))
    bound = bk.mean(f(Labels(y))[:, 0], axis=0)
    return bound, bk.mean(_log_likelihood(bk, f.logits_y, y, estimator), axis=0)


def classifier_log_likelihood(model: Model, x: Array, y: Array, rng: Generator, n_mc: int = 1) -> Tensor:
    """1/N Σ_l log q(y|a_l,x) alone: x [B, D_x], y int [B] → [B]"""
    bk = model.bk
    logits_y = model.class_logits(x, model.draw_noise(rng, x.shape[0], n_mc))
    return bk.mean(_log_likelihood(bk, logits_y, y, None), axis=0)


def _log_likelihood(bk: Backend, logits_y: Tensor, y: Array, estimator: Estimator | None) -> Tensor:
    """[N, B, K], int [B] → [N, B]"""
    return log_q_at(bk, logits_y, y) if estimator is None else estimator.log_likelihood(bk, logits_y, y)


def loss(model: Model, bound: Tensor) -> Tensor:
    """−mean over examples. Only here does a bound, to be maximised, become a loss, to be minimised. [B] → []"""
    return -model.bk.mean(bound)


def training_loss(
    model: Model,
    x_labelled: Array,
    y: Array,
    x_unlabelled: Array,
    estimator: Estimator,
    alpha: float,
    rng: Generator,
    n_mc: int = 1,
    labelled_weight: float = 1.0,
    balance: float = 0.0,
) -> Tensor:
    """−J, J = mean_labelled[ L(x, y) + α log q(y|a,x) ] + mean_unlabelled[ U(x) ]. → []

    `labelled_weight` multiplies L(x, y). `balance` weights H(q̄), where q̄ is q(y|a,x) averaged over the minibatch's
    unlabelled examples and draws of a; this term keeps classes from swallowing one another. J is a bound only with the
    defaults, 1 and 0.

    An estimator with a distribution other than q replaces log q by its `log_likelihood`.
    """
    bound, log_q_y = labelled_bound(model, x_labelled, y, rng, n_mc, estimator)
    estimator.check(model.config)
    f = model.class_bound(x_unlabelled, model.draw_noise(rng, x_unlabelled.shape[0], n_mc))
    unlabelled = bound_given_noise(f, estimator, rng)
    if labelled_weight != 1:
        bound = labelled_weight * bound
    negative = loss(model, bound + alpha * log_q_y) + loss(model, unlabelled)
    return negative - balance * _entropy_of_the_mean(model.bk, f.logits_y) if balance else negative


def _entropy_of_the_mean(bk: Backend, logits_y: Tensor) -> Tensor:
    """H(q̄), where q̄ is the mean of softmax(logits) over draws and examples. [N, B, K] → []"""
    q = bk.mean(bk.reshape(bk.softmax(logits_y), (-1, logits_y.shape[-1])), axis=0)  # [K]
    return bk.sum(bk.point_entropy(bk.expand(q, 0)))
