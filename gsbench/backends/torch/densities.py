"""The nodes of `Backend`'s log densities.

The forward pass of a node computes the log density and its derivative with respect to the inputs, and keeps what the
derivative needs. The backward pass multiplies it by the incoming gradient. Arrays are [..., D], log densities [...] in
float32 at least. Gradients can be taken once.
"""

from __future__ import annotations

import math

import torch
from torch.autograd import Function

from gsbench.backends.base import Array, Limits
from gsbench.backends.torch.functions import Context, sum_to, wide

LOG_2PI = math.log(2 * math.pi)


def _wide(x: Array) -> Array:
    return x.to(wide(x.dtype))


class BernoulliLogDensity(Function):
    """Σ_d [ x_d l_d − log(1 + exp l_d) ], ∂/∂l = x − σ(l), which is kept in the logits' dtype."""

    @staticmethod
    def forward(ctx: Context, x: Array, logits: Array) -> Array:
        wide_logits = _wide(logits)
        x = x.to(wide_logits.dtype)
        log_normaliser = torch.nn.functional.softplus(wide_logits, threshold=40).sum(-1)
        value = (x * wide_logits).sum(-1) - log_normaliser
        derivative = wide_logits.sigmoid()
        ctx.save_for_backward(torch.sub(x, derivative, out=derivative).to(logits.dtype))
        return value

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[None, Array]:
        (derivative,) = ctx.saved_tensors
        return None, derivative.mul_(g[..., None].to(derivative.dtype))


def _clipped(log_var: Array, limits: Limits) -> tuple[Array, Array | None]:
    """log σ² clipped to the limits, and a mask of where it was within them (None: everywhere)."""
    if limits is None:
        return log_var, None
    return log_var.clamp(*limits), (limits[0] <= log_var) & (log_var <= limits[1])


class GaussianDraw(Function):
    """z = μ + σ ε and log q(z). The gradient of log q(z) is −½ with respect to each log σ²_d and 0 for μ."""

    @staticmethod
    def forward(ctx: Context, head: Array, noise: Array, limits: Limits) -> tuple[Array, Array]:
        d = noise.shape[-1]
        mean, log_var = head.to(noise.dtype).split(d, dim=-1)
        log_var, inside = _clipped(log_var, limits)
        deviation = (log_var * 0.5).exp_().mul(noise)
        log_q = (log_var.sum(-1) + ((noise * noise).sum(-1) + d * LOG_2PI)).mul_(-0.5)
        ctx.save_for_backward(deviation, inside)
        ctx.shape = head.shape
        return mean + deviation, log_q

    @staticmethod
    def backward(ctx: Context, g_z: Array, g_log_q: Array) -> tuple[Array, None, None]:
        deviation, inside = ctx.saved_tensors
        d = deviation.shape[-1]
        g = torch.empty((*deviation.shape[:-1], 2 * d), dtype=deviation.dtype, device=deviation.device)
        g[..., :d] = g_z
        of_log_var = torch.mul(g_z, deviation, out=g[..., d:]).sub_(g_log_q[..., None]).mul_(0.5)
        if inside is not None:
            of_log_var.mul_(inside)
        return sum_to(g, ctx.shape), None, None


class StandardGaussianLogDensity(Function):
    """−½ Σ_d [ log 2π + z_d² ]"""

    @staticmethod
    def forward(ctx: Context, z: Array) -> Array:
        ctx.save_for_backward(z)
        return ((z * z).sum(-1) + z.shape[-1] * LOG_2PI).mul_(-0.5)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (z,) = ctx.saved_tensors
        return z * -g[..., None]


class GaussianLogDensity(Function):
    """With v = (x − μ)/σ²: ∂/∂μ = v = −∂/∂x, ∂/∂log σ² = ½ [ (x − μ) v − 1 ]."""

    @staticmethod
    def forward(ctx: Context, x: Array, head: Array, limits: Limits) -> Array:
        d = x.shape[-1]
        mean, log_var = _wide(head).split(d, dim=-1)
        log_var, inside = _clipped(log_var, limits)
        difference = x - mean
        derivative = torch.empty(
            (*difference.shape[:-1], 2 * d), dtype=difference.dtype, device=difference.device
        )
        v, squares = derivative.split(d, dim=-1)
        torch.mul(log_var.neg().exp_(), difference, out=v)
        torch.mul(v, difference, out=squares)
        value = (squares.sum(-1) + log_var.sum(-1)).add_(d * LOG_2PI).mul_(-0.5)
        squares.sub_(1).mul_(0.5)
        if inside is not None:
            squares.mul_(inside)
        ctx.save_for_backward(derivative)
        ctx.shapes = x.shape, head.shape
        return value

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, Array, None]:
        (derivative,) = ctx.saved_tensors
        x_shape, head_shape = ctx.shapes
        g = derivative.mul_(g[..., None])
        g_x = -sum_to(g[..., : x_shape[-1]], x_shape) if ctx.needs_input_grad[0] else None
        return g_x, sum_to(g, head_shape), None
