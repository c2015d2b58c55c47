"""The nodes of `Backend`'s log densities.

The forward pass of a node computes the log density and its derivative with respect to the inputs, and keeps only the
derivative. The backward pass multiplies it by the incoming gradient. Arrays are [..., D], log densities [...] in
float32 at least. Gradients can be taken once.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from gsbench.backends.base import Array, Limits
from gsbench.backends.chainer import cuda_kernels
from gsbench.backends.chainer.functions import Arrays, Tensors, sum_to
from gsbench.backends.chainer.importing import chainer

LOG_2PI = math.log(2 * math.pi)


def _sum(x: Array) -> Array:
    """Σ over the last axis, accumulated in float32 at least."""
    return x.sum(axis=-1, dtype=np.promote_types(x.dtype, np.float32))


def _squares(x: Array) -> Array:
    """Σ_d x_d², accumulated in float32 at least."""
    return _sum(x * x)


def _scaled(derivative: Array, g: Array) -> Array:
    """g · derivative, in place because the derivative is used once. derivative [..., D], g [...]"""
    derivative *= g[..., None].astype(derivative.dtype, copy=False)
    return derivative


class BernoulliLogDensity(chainer.FunctionNode):
    """∂/∂l = x − σ(l)"""

    def __init__(self, x: Array) -> None:
        super().__init__()
        self._x = x

    def forward(self, inputs: Arrays) -> Arrays:
        (logits,) = inputs
        xp = chainer.backend.get_array_module(logits)
        if xp is np:
            value, self._derivative = _bernoulli(self._x, logits)
        else:
            value, self._derivative = cuda_kernels.bernoulli(xp, self._x, logits)
        return (value,)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        return (chainer.as_variable(_scaled(self._derivative, grad_outputs[0].array)),)


def _bernoulli(x: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The Bernoulli log density of x and its derivative with respect to the logits, by in-place passes.

    With x' = x − ½: x l − log(1 + eˡ) = x' l − |l|/2 − log(1 + e^−|l|), and x − σ(l) = x' − tanh(l/2)/2. Nothing
    overflows, and for binary x the first two terms cancel exactly.
    """
    half = logits.dtype.type(0.5)
    centred = np.broadcast_to(np.asarray(x, logits.dtype) - half, logits.shape)
    derivative = np.empty_like(logits)
    value = np.empty(logits.shape[:-1], np.promote_types(logits.dtype, np.float32))
    # One index of the leading axes at a time, so that the passes over a minibatch's pixels stay in the cache.
    for at in np.ndindex(logits.shape[:-2]):
        l_at, x_at, d_at = logits[at], centred[at], derivative[at]
        absolute = np.abs(l_at, out=d_at)
        terms = x_at * l_at
        absolute *= half
        terms -= absolute
        absolute *= -2
        np.exp(absolute, out=absolute)
        np.log1p(absolute, out=absolute)
        terms -= absolute
        value[at] = _sum(terms)
        np.multiply(l_at, half, out=d_at)
        np.tanh(d_at, out=d_at)
        d_at *= -half
        d_at += x_at
    return value, derivative


class GaussianDraw(chainer.FunctionNode):
    """z = μ + σ ε and log q(z). The gradient of log q(z) is −½ with respect to each log σ²_d and 0 for μ."""

    def __init__(self, noise: Array, limits: Limits) -> None:
        super().__init__()
        self._noise, self._limits = noise, limits

    def forward(self, inputs: Arrays) -> Arrays:
        (head,) = inputs
        noise, d = self._noise, self._noise.shape[-1]
        xp = chainer.backend.get_array_module(head)
        self._shape = head.shape
        if xp is not np:
            z, self._deviation, inside, log_q = cuda_kernels.gaussian_draw(xp, head, noise, self._limits)
            self._inside = None if self._limits is None else inside
            return z, log_q
        log_var, self._inside = _clipped(xp, head[..., d:], self._limits)
        deviation = xp.exp(log_var * head.dtype.type(0.5))
        self._deviation = deviation * noise
        log_q = (_sum(log_var) + (_squares(noise) + d * LOG_2PI)) * -0.5
        return head[..., :d] + self._deviation, log_q.astype(np.promote_types(head.dtype, np.float32), copy=False)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        g_z, g_log_q = (None if g is None else g.array for g in grad_outputs)
        deviation, d = self._deviation, self._deviation.shape[-1]
        xp = chainer.backend.get_array_module(deviation)
        g = xp.empty((*deviation.shape[:-1], 2 * d), deviation.dtype)
        if g_z is None:
            g[...] = 0
        else:
            g[..., :d] = g_z
            xp.multiply(g_z, deviation, out=g[..., d:])
        if g_log_q is not None:
            g[..., d:] -= g_log_q[..., None].astype(g.dtype, copy=False)
        g[..., d:] *= g.dtype.type(0.5)
        if self._inside is not None:
            g[..., d:] *= self._inside
        return (chainer.as_variable(sum_to(g, self._shape)),)


def _clipped(xp: ModuleType, log_var: Array, limits: Limits) -> tuple[Array, Array | None]:
    """log σ² clipped to the limits, and a mask of where it was within them (None: everywhere)."""
    if limits is None:
        return log_var, None
    return xp.clip(log_var, *limits), (limits[0] <= log_var) & (log_var <= limits[1])


class StandardGaussianLogDensity(chainer.FunctionNode):
    """−½ Σ_d [ log 2π + z_d² ]"""

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs((0,))
        (z,) = inputs
        return ((_squares(z) + z.shape[-1] * LOG_2PI) * -0.5,)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        z = self.get_retained_inputs()[0].array
        return (chainer.as_variable(z * -grad_outputs[0].array[..., None].astype(z.dtype, copy=False)),)


class GaussianLogDensity(chainer.FunctionNode):
    """With v = (x − μ)/σ²: ∂/∂μ = v = −∂/∂x, ∂/∂log σ² = ½ [ (x − μ) v − 1 ]."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits

    def forward(self, inputs: Arrays) -> Arrays:
        x, head = inputs
        xp = chainer.backend.get_array_module(head)
        self._shapes = x.shape, head.shape
        if xp is not np:
            value, self._derivative = cuda_kernels.gaussian(xp, x, head, self._limits)
            self._inside = None  # the kernel has applied the mask
            return (value,)
        d = x.shape[-1]
        log_var, self._inside = _clipped(xp, head[..., d:], self._limits)
        difference = x - head[..., :d]
        derivative = xp.empty((*difference.shape[:-1], 2 * d), head.dtype)
        v, squares = derivative[..., :d], derivative[..., d:]
        xp.multiply(xp.exp(-log_var), difference, out=v)
        xp.multiply(v, difference, out=squares)
        value = (_sum(squares + log_var) + d * LOG_2PI) * -0.5
        squares -= 1
        squares *= head.dtype.type(0.5)
        self._derivative = derivative
        return (value,)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        x_shape, head_shape = self._shapes
        g = _scaled(self._derivative, grad_outputs[0].array)
        d = x_shape[-1]
        if self._inside is not None:
            g[..., d:] *= self._inside
        gradients = {0: lambda: -sum_to(g[..., :d], x_shape), 1: lambda: sum_to(g, head_shape)}
        return tuple(chainer.as_variable(gradients[i]()) for i in indexes)
