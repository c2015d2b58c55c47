"""Loss terms that ask the classifier to predict the same class for a changed image. A recipe adds them to the bound.

None of them is part of the published models. q is softmax(logits) for every estimator. With batch norm, each pass uses
its own minibatch's statistics and leaves the running averages unchanged, because these describe unchanged images
(Miyato et al.'s published code does the same).
"""

from __future__ import annotations

import dataclasses

from array_api_compat import array_namespace

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import log_q_at
from gsbench.models import Model, Noise

# The step length with which the direction of the fastest change is found.
PROBE = 1e-2


def undisturbed(noise: Noise) -> Noise:
    """The same draws without dropout."""
    return dataclasses.replace(noise, keep_x=None, keep_hidden=())


def _logits(model: Model, x: Tensor, noise: Noise) -> Tensor:
    """The logits of q(y|a,x). x [B, D_x] → [N, B, K]"""
    with model.leaving_statistics():
        return model.class_logits(x, noise)


def constant_log_q(model: Model, x: Array, noise: Noise) -> Array:
    """log q(y|a,x) as a constant, without dropout. x [B, D_x] → [N, B, K]"""
    bk = model.bk
    with bk.no_gradient():
        return bk.stop_gradient(bk.log_softmax(_logits(model, x, undisturbed(noise))))


def adversarial_divergence(
    model: Model, x: Array, log_q_y: Array, noise: Noise, rng: Generator, radius: float
) -> Tensor:
    """mean over draws and examples of KL( q(y|a,x) ‖ q(y|a,x + r) ): virtual adversarial training.

    r [B, D_x] has the length `radius` for each example. One step of the power method from a random direction
    approximates the direction of fastest growth. a is drawn from q(a|x + r) with the same ε_a.

    log_q_y   [N, B, K], from `constant_log_q`
    Source: Miyato et al. 2018 (arXiv 1704.03976), equations 5 to 8 and 12 to 14. → []
    """
    bk, plain = model.bk, undisturbed(noise)

    def divergence(r: Tensor) -> Tensor:
        return _divergence(bk, log_q_y, _logits(model, x + r, plain))

    d = bk.leaf(PROBE * _unit(bk.normal(rng, x.shape)))
    (gradient,) = bk.gradients_by(bk.sum(divergence(d)), [d])
    return bk.mean(divergence(bk.array(radius * _unit(gradient))))


def _divergence(bk: Backend, log_p: Array, logits: Tensor) -> Tensor:
    """KL(p ‖ softmax(logits)) for a constant p. [N, B, K], [N, B, K] → [N, B]"""
    return bk.sum(bk.xp.exp(log_p) * (log_p - bk.log_softmax(logits)), axis=-1)


def _unit(d: Array) -> Array:
    """Each row divided by its length; a row of zeros stays unchanged. [B, D] → [B, D]"""
    squares = array_namespace(d).sum(d * d, axis=-1, keepdims=True)
    return d / (squares + (squares == 0)) ** 0.5


def pseudo_label_loss(model: Model, x_distorted: Array, log_q_y: Array, noise: Noise, threshold: float) -> Tensor:
    """−mean over draws and examples of 1[q(ŷ|a,x) ≥ threshold] log q(ŷ|a,x'), ŷ = argmax_y q(y|a,x).

    x' [B, D_x] are the distorted examples, under the dropout of `noise`. a is drawn from q(a|x') with the same ε_a.

    log_q_y   [N, B, K], from `constant_log_q`
    Source: Sohn et al. 2020 (arXiv 2001.07685), equation 4. → []
    """
    bk, xp = model.bk, model.bk.xp
    logits = _logits(model, x_distorted, noise)
    log_q_y = xp.reshape(log_q_y, (-1, logits.shape[-1]))  # [N·B, K]
    sure = xp.max(xp.exp(log_q_y), axis=-1) >= threshold  # [N·B]
    labels = bk.integers(xp.argmax(log_q_y, axis=-1))
    log_q = log_q_at(bk, bk.reshape(logits, (1, *log_q_y.shape)), labels)  # [1, N·B]
    return -bk.mean(bk.reshape(log_q, (-1,)) * xp.astype(sure, bk.wide_dtype))
