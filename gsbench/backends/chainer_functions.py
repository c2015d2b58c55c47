"""The layers' nodes, each with one hand-written pass forward and one back.

A node of Chainer's own costs tens of microseconds in Python and a temporary for each of its elementwise passes; in a
step of a hundred rows that is as much as the products. Gradients can be taken once (no double backpropagation).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gsbench.backends.chainer_import import chainer


def dot(a: Any, b: Any) -> Any:
    """The product of two matrices. All products of the backend are made here, so that they can be counted."""
    return a.dot(b)


def rows(x: Any) -> Any:
    """[..., D] as a matrix [rows, D]."""
    return x.reshape(-1, x.shape[-1])


def sum_to(g: Any, shape: tuple[int, ...]) -> Any:
    """The sum of g over the axes along which an array of `shape` was broadcast to g's: g's shape → `shape`."""
    while g.ndim > len(shape):
        g = g.sum(axis=0) if g.ndim - len(shape) < 2 else g.reshape(-1, *g.shape[2:])
    axes = tuple(i for i, (n, m) in enumerate(zip(g.shape, shape, strict=True)) if m == 1 < n)
    return g.sum(axis=axes, keepdims=True) if axes else g


def _plus(y: Any, term: Any, owned: bool) -> Any:
    """y + term, into y where y is ours and large enough."""
    xp = chainer.backend.get_array_module(y)
    in_place = owned and all(n == m or m == 1 for n, m in zip(y.shape[::-1], term.shape[::-1], strict=False))
    return xp.add(y, term, out=y) if in_place and y.ndim >= term.ndim else y + term


class Affine(chainer.FunctionNode):
    """y = φ(x Wᵀ + Σ_i t_i) over the last axis: x [..., D], W [H, D], terms t_i that broadcast → [..., H].

    φ is the rectifier max(·, 0) or the identity. Without `product`, y = φ(Σ_i t_i).
    """

    def __init__(self, product: bool, relu: bool) -> None:
        super().__init__()
        self._product, self._relu = product, relu

    def forward(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        xp = chainer.backend.get_array_module(inputs[0])
        if self._product:
            self.retain_inputs((0, 1))
            x, W, *terms = inputs
            y = dot(rows(x), W.T).reshape(*x.shape[:-1], W.shape[0])
        else:
            self.retain_inputs(())
            y, *terms = inputs
        self._term_shapes = [t.shape for t in inputs[2 if self._product else 0 :]]
        for i, term in enumerate(terms):
            y = _plus(y, term, owned=self._product or i > 0)
        if self._relu:
            # A row of zeros, not the number 0: NumPy's loop over two arrays is three times as fast.
            zeros = xp.zeros(y.shape[-1], y.dtype)
            y = xp.maximum(y, zeros, out=y if self._product or terms else None)
            self.retain_outputs((0,))
        return (y,)

    def backward(self, indexes: tuple[int, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        g = grad_outputs[0].array
        if self._relu:
            g = g * (self.get_retained_outputs()[0].array > 0)
        n_product = 2 if self._product else 0
        if self._product:
            x, W = (variable.array for variable in self.get_retained_inputs())
        gradients = []
        for i in indexes:
            if i >= n_product:
                gradients.append(sum_to(g, self._term_shapes[i - n_product]))
            elif i == 0:
                gradients.append(dot(rows(sum_to(g, (*x.shape[:-1], W.shape[0]))), W).reshape(x.shape))
            else:
                gradients.append(dot(rows(sum_to(g, (*x.shape[:-1], W.shape[0]))).T, rows(x)))
        return tuple(map(chainer.as_variable, gradients))


def affine(x: Any, W: Any, terms: tuple[Any, ...] = (), relu: bool = False) -> Any:
    """φ(x Wᵀ + Σ terms), or φ(Σ terms) where x is None."""
    inputs = terms if x is None else (x, W, *terms)
    return Affine(x is not None, relu).apply(inputs)[0]


class Product(chainer.FunctionNode):
    """x W over the last axis: x [..., K], W [K, H] → [..., H]."""

    def forward(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.retain_inputs((0, 1))
        x, W = inputs
        return (dot(rows(x), W).reshape(*x.shape[:-1], W.shape[1]),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x, W = (variable.array for variable in self.get_retained_inputs())
        g = rows(grad_outputs[0].array)
        gradients = {0: lambda: dot(g, W.T).reshape(x.shape), 1: lambda: dot(rows(x).T, g)}
        return tuple(chainer.as_variable(gradients[i]()) for i in indexes)


def product(x: Any, W: Any) -> Any:
    """x W over the last axis."""
    return Product().apply((x, W))[0]


def _scatter_rows(index: Any, g: Any, W: Any) -> Any:
    """The gradient of W [K, H] whose rows `index` [n] were taken, from theirs, g [n, H]."""
    xp = chainer.backend.get_array_module(W)
    gradient = xp.zeros_like(W)
    if xp is not np:
        xp.add.at(gradient, index, g)
        return gradient
    # NumPy's own add.at takes 7 times as long for a hundred rows of 500 (and 40 times with NumPy 1.23).
    for k, row in zip(index.tolist(), g, strict=True):
        gradient[k] += row
    return gradient


class TakeRows(chainer.FunctionNode):
    """Rows of W [K, H] by class numbers: index int [...] → [..., H]."""

    def __init__(self, index: Any) -> None:
        super().__init__()
        self._index = index

    def forward(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.retain_inputs((0,))
        return (inputs[0][self._index],)

    def backward(self, indexes: tuple[int, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        W = self.get_retained_inputs()[0].array
        return (chainer.as_variable(_scatter_rows(self._index.ravel(), rows(grad_outputs[0].array), W)),)


def take_rows(W: Any, index: Any) -> Any:
    """Rows of W."""
    return TakeRows(index).apply((W,))[0]


class LookUp(chainer.FunctionNode):
    """y W for one-hot rows y [..., K] that carry a gradient: rows of W [K, H] forward, g Wᵀ back to all K entries."""

    def __init__(self, index: Any) -> None:
        super().__init__()
        self._index = index

    def forward(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.retain_inputs((1,))
        return (inputs[1][self._index],)

    def backward(self, indexes: tuple[int, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        W = self.get_retained_inputs()[0].array
        g = rows(grad_outputs[0].array)
        gradients = {
            0: lambda: dot(g, W.T).reshape(*self._index.shape, W.shape[0]),
            1: lambda: _scatter_rows(self._index.ravel(), g, W),
        }
        return tuple(chainer.as_variable(gradients[i]()) for i in indexes)


def look_up(y: Any, W: Any) -> Any:
    """y W for one-hot y."""
    array: Any = y.array if isinstance(y, chainer.Variable) else y
    return LookUp(array.argmax(axis=-1)).apply((y, W))[0]


class StraightThrough(chainer.FunctionNode):
    """Forward a constant, backward the identity to `soft`. hard + soft − sg(soft) would round: it is not one-hot."""

    def __init__(self, hard: Any) -> None:
        super().__init__()
        self._hard = hard

    def forward(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._hard,)

    def backward(self, indexes: tuple[int, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return grad_outputs


def straight_through(hard: Any, soft: Any) -> Any:
    """`hard` with the gradient of `soft`; both of the same shape and dtype."""
    return StraightThrough(hard).apply((soft,))[0]


class WeightedSum(chainer.FunctionNode):
    """Σ_k w_k f_k over the last axis, where f's gradients are known: w, f [..., K] → [...].

    Inputs are w and what f was computed from; `gradients` are those of the sum of all entries of the result by the
    latter. They are exact for every loss that weights the entries alike, such as a mean, and for no other: a gradient
    that differs between entries raises ValueError (on a CUDA device, where to look would stall the queue, all
    gradients become NaN).
    """

    def __init__(self, f: Any, gradients: list[Any]) -> None:
        super().__init__()
        self._f, self._gradients = f, gradients

    def forward(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.retain_inputs(())
        return ((inputs[0] * self._f).sum(axis=-1),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        g = grad_outputs[0].array
        xp = chainer.backend.get_array_module(g)
        scale, alike = g.ravel()[0], (g == g.ravel()[0]).all()
        if xp is not np:
            scale = xp.where(alike, scale, xp.nan)
        elif not alike:
            raise ValueError(
                "the gradients of a streamed sum are taken while it is formed, for a loss that weights all examples "
                f"and draws alike; got weights from {g.min()} to {g.max()}"
            )
        found = []
        for i in indexes:
            if i == 0:
                found.append(g[..., None] * self._f)
            else:
                gradient = self._gradients[i - 1]
                gradient *= scale.astype(gradient.dtype)
                found.append(gradient)
        return tuple(map(chainer.as_variable, found))


def weighted_sum(w: Any, f: Any, inputs: list[Any], gradients: list[Any]) -> Any:
    """Σ_k w_k f_k with f's gradients by `inputs` as given."""
    return WeightedSum(f, gradients).apply((w, *inputs))[0]
