"""The bounds and the training loss (Maaløe et al. 2016, arXiv 1602.05473).

Bounds are per example, in nats, and maximised.
"""

from __future__ import annotations

from typing import Any

from gsbench.estimators import Estimator
from gsbench.models import Labels, Model


def unlabelled_bound(model: Model, x: Any, estimator: Estimator, rng: Any, n_mc: int = 1) -> Any:
    """U(x) = 1/N Σ_l { E_{y ~ w(y|a_l,x)}[ f(y) ] + H(w(·|a_l,x)) }, the expectation by `estimator`.

    x [B, D_x] in [0, 1] → [B]. The entropy is in every estimator's bound. `rng` draws ε_a and ε_z first and what the
    estimator needs after them, so that at one seed every estimator sees the same a and f. Raises ValueError where the
    estimator is not defined for the model.
    """
    estimator.check(model.config)
    f = model.class_bound(x, model.draw_noise(rng, x.shape[0], n_mc))
    expectation, entropy = estimator(f, f.logits_y, rng)
    return model.bk.mean(expectation + entropy, axis=0)


def labelled_bound(model: Model, x: Any, y: Any, rng: Any, n_mc: int = 1) -> tuple[Any, Any]:
    """L(x, y) = 1/N Σ_l f(e_y) and log q(y|x) = 1/N Σ_l log q(y|a_l,x). x [B, D_x], y int [B] → [B], [B]"""
    bk = model.bk
    f = model.class_bound(x, model.draw_noise(rng, x.shape[0], n_mc))
    bound = bk.mean(f(Labels(y))[:, 0], axis=0)
    return bound, bk.mean(bk.select_last(bk.log_softmax(f.logits_y), y), axis=0)


def classifier_log_likelihood(model: Model, x: Any, y: Any, rng: Any, n_mc: int = 1) -> Any:
    """1/N Σ_l log q(y|a_l,x) alone: x [B, D_x], y int [B] → [B]"""
    bk = model.bk
    logits_y = model.class_logits(x, model.draw_noise(rng, x.shape[0], n_mc))
    return bk.mean(bk.select_last(bk.log_softmax(logits_y), y), axis=0)


def loss(model: Model, bound: Any) -> Any:
    """−mean over examples: the one place where a bound that is maximised becomes a loss that is minimised. [B] → []"""
    return -model.bk.mean(bound)


def training_loss(
    model: Model,
    x_labelled: Any,
    y: Any,
    x_unlabelled: Any,
    estimator: Estimator,
    alpha: float,
    rng: Any,
    n_mc: int = 1,
) -> Any:
    """−J, J = mean_labelled[ L(x, y) + α log q(y|a,x) ] + mean_unlabelled[ U(x) ]. → []"""
    bound, log_q_y = labelled_bound(model, x_labelled, y, rng, n_mc)
    unlabelled = unlabelled_bound(model, x_unlabelled, estimator, rng, n_mc)
    return loss(model, bound + alpha * log_q_y) + loss(model, unlabelled)
