"""The layers' nodes, each with a hand-written forward and backward pass.

Each of Chainer's own nodes costs tens of microseconds in Python and a temporary array for each elementwise pass. In a
step of a hundred rows this takes as long as the matrix products. Gradients can be taken once (no double
backpropagation).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np

from gsbench.backends.base import Array, Tensor
from gsbench.backends.chainer.importing import chainer

Arrays: TypeAlias = "tuple[Array, ...]"  # arguments and results of a node's forward pass
Tensors: TypeAlias = "tuple[Tensor, ...]"  # the same of its backward pass


def dot(a: Array, b: Array) -> Array:
    """The product of two matrices. The backend makes all its products here, so that they can be counted."""
    return a.dot(b)


def _array(variable: Tensor) -> Array:
    return variable.array


def rows(x: Array) -> Array:
    """[..., D] as a matrix [rows, D]."""
    return x.reshape(-1, x.shape[-1])


def sum_to(g: Array, shape: tuple[int, ...]) -> Array:
    """The sum of g over the axes along which an array of `shape` was broadcast to g's: g's shape → `shape`."""
    while g.ndim > len(shape):
        g = g.sum(axis=0) if g.ndim - len(shape) < 2 else g.reshape(-1, *g.shape[2:])
    axes = tuple(i for i, (n, m) in enumerate(zip(g.shape, shape, strict=True)) if m == 1 < n)
    return g.sum(axis=axes, keepdims=True) if axes else g


def _first_layer(x: Array, W: Array, terms: Arrays) -> Array:
    """x Wᵀ + Σ terms as a new array, or Σ terms where x is None."""
    if x is not None:
        y, further = dot(rows(x), W.T).reshape(*x.shape[:-1], W.shape[0]), terms
    elif len(terms) > 1:
        y, further = terms[0] + terms[1], terms[2:]
    else:
        y, further = terms[0].copy(), ()
    for term in further:
        y = _plus(y, term)
    return y


def _plus(y: Array, term: Array) -> Array:
    """y + term, in place if y is large enough. The caller must own y."""
    if np.broadcast_shapes(y.shape, term.shape) != y.shape:
        return y + term
    y += term
    return y


def _first_layer_gradients(
    g: Array, x: Array | None, W: Array, shapes: list[tuple[int, ...]], indexes: Iterable[int]
) -> dict[int, Array]:
    """Gradients of `_first_layer` by input number in `indexes`: x and W unless x is None, then terms of `shapes`."""
    found = {}
    n_product = 0 if x is None else 2
    for i in indexes:
        if x is None or i >= n_product:
            found[i] = sum_to(g, shapes[i - n_product])
            continue
        product_g = rows(sum_to(g, (*x.shape[:-1], W.shape[0])))
        found[i] = dot(product_g, W).reshape(x.shape) if i == 0 else dot(product_g.T, rows(x))
    return found


class Elu(chainer.FunctionNode):
    """max(x, 0) + exp(min(x, 0)) − 1, on a CPU. Chainer's node selects negative entries by a mask and costs thrice."""

    def forward(self, inputs: Arrays) -> Arrays:
        (x,) = inputs
        y = np.minimum(x, 0)
        np.exp(y, out=y)
        y -= 1
        y += np.maximum(x, 0)
        self.retain_outputs((0,))
        return (y,)

    def backward(self, indexes: tuple[int, ...], gradients: Tensors) -> Tensors:
        """The derivative is 1, or exp(x) = y + 1 where x < 0."""
        (y,) = map(_array, self.get_retained_outputs())
        gx = np.minimum(y, 0)
        gx += 1
        gx *= gradients[0].array
        return (chainer.as_variable(gx),)


class Affine(chainer.FunctionNode):
    """x Wᵀ + Σ terms. `inputs` are x and W if there is an x, then the terms."""

    def __init__(self, product: bool) -> None:
        super().__init__()
        self._product = product

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs((0, 1) if self._product else ())
        x, W, *terms = inputs if self._product else (None, None, *inputs)
        self._shapes = [term.shape for term in terms]
        return (_first_layer(x, W, tuple(terms)),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        x, W = map(_array, self.get_retained_inputs()) if self._product else (None, None)
        found = _first_layer_gradients(grad_outputs[0].array, x, W, self._shapes, indexes)
        return tuple(chainer.as_variable(found[i]) for i in indexes)


class Perceptron(chainer.FunctionNode):
    """A whole multilayer perceptron with rectifiers, whose first layer may take terms that broadcast.

    `inputs` are x and W if there is an x, the terms, and W_2, b_2, …, W_n, b_n. The node owns the gradients of its
    hidden layers, so that it applies the rectifier's mask in place while they are in the cache. With one node per
    layer, which cannot know who owns a gradient, the streamed sum took 6 % longer.
    """

    def __init__(self, product: bool, n_terms: int) -> None:
        super().__init__()
        self._product, self._n_terms = product, n_terms

    def _parts(self, arrays: Arrays) -> tuple[Array | None, Array | None, Arrays, list[tuple[Array, Array]]]:
        """x, W, the terms, and the further layers (W_i, b_i)."""
        x, W, *rest = arrays if self._product else (None, None, *arrays)
        terms, layers = rest[: self._n_terms], rest[self._n_terms :]
        return x, W, tuple(terms), list(zip(layers[::2], layers[1::2], strict=True))

    def forward(self, inputs: Arrays) -> Arrays:
        x, W, terms, layers = self._parts(inputs)
        self.retain_inputs(tuple(i for i in range(len(inputs)) if not self._is_term(i)))
        self._shapes = [term.shape for term in terms]
        h = _first_layer(x, W, terms)
        self._shape = h.shape
        h = rows(h)
        self._hidden = []
        for W_i, b_i in layers:
            # A row of zeros instead of the number 0, because NumPy's loop over two arrays is three times as fast.
            xp = chainer.backend.get_array_module(h)
            self._hidden.append(xp.maximum(h, xp.zeros(h.shape[-1], h.dtype), out=h))
            h = dot(h, W_i.T)
            h += b_i
        return (h.reshape(*self._shape[:-1], h.shape[-1]),)

    def _is_term(self, i: int) -> bool:
        n_product = 2 if self._product else 0
        return n_product <= i < n_product + self._n_terms

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        retained = iter(self.get_retained_inputs())
        n_first = (2 if self._product else 0) + self._n_terms
        n_inputs = n_first + 2 * len(self._hidden)
        arrays = tuple(None if self._is_term(i) else _array(next(retained)) for i in range(n_inputs))
        x, W, _, layers = self._parts(arrays)
        g = rows(grad_outputs[0].array)
        found = {}
        for i in reversed(range(len(layers))):
            h = self._hidden.pop()
            found[n_first + 2 * i] = dot(g.T, h)
            found[n_first + 2 * i + 1] = g.sum(axis=0)
            g = dot(g, layers[i][0])
            g *= h > 0
        firsts = [i for i in indexes if i < n_first]
        found.update(_first_layer_gradients(g.reshape(self._shape), x, W, self._shapes, firsts))
        return tuple(chainer.as_variable(found[i]) for i in indexes)


class Product(chainer.FunctionNode):
    """x W over the last axis: x [..., K], W [K, H] → [..., H]."""

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs((0, 1))
        x, W = inputs
        return (dot(rows(x), W).reshape(*x.shape[:-1], W.shape[1]),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        x, W = (variable.array for variable in self.get_retained_inputs())
        g = rows(grad_outputs[0].array)
        gradients = {0: lambda: dot(g, W.T).reshape(x.shape), 1: lambda: dot(rows(x).T, g)}
        return tuple(chainer.as_variable(gradients[i]()) for i in indexes)


def _scatter_rows(index: Array, g: Array, W: Array) -> Array:
    """The gradient of W [K, H] from the gradient g [n, H] of its rows `index` [n]."""
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

    def __init__(self, index: Array) -> None:
        super().__init__()
        self._index = index

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs((0,))
        return (inputs[0][self._index],)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        W = self.get_retained_inputs()[0].array
        return (chainer.as_variable(_scatter_rows(self._index.ravel(), rows(grad_outputs[0].array), W)),)


class LookUp(chainer.FunctionNode):
    """y W for one-hot rows y [..., K] that carry a gradient: rows of W [K, H] forward, g Wᵀ backward."""

    def __init__(self, index: Array) -> None:
        super().__init__()
        self._index = index

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs((1,))
        return (inputs[1][self._index],)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        W = self.get_retained_inputs()[0].array
        g = rows(grad_outputs[0].array)
        gradients = {
            0: lambda: dot(g, W.T).reshape(*self._index.shape, W.shape[0]),
            1: lambda: _scatter_rows(self._index.ravel(), g, W),
        }
        return tuple(chainer.as_variable(gradients[i]()) for i in indexes)


class HardPoint(chainer.FunctionNode):
    """Forward the constant D [..., K]; backward Σ_m c_m J(p_m) g = Σ_m c_m (p_m g − p_m ⟨p_m, g⟩)."""

    def __init__(self, hard: Array, points: Sequence[Array], weights: tuple[float, ...]) -> None:
        super().__init__()
        self._hard, self._points, self._weights = hard, points, weights

    def forward(self, inputs: Arrays) -> Arrays:
        self._shape, self._dtype = inputs[0].shape, inputs[0].dtype
        return (self._hard,)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        g = grad_outputs[0].array.astype(self._dtype, copy=False)
        total: Array = None
        for p, weight in zip(self._points, self._weights, strict=True):
            by_point = p * g
            by_point -= p * by_point.sum(axis=-1, keepdims=True)
            by_point *= self._dtype.type(weight)
            total = by_point if total is None else total + by_point
        return (chainer.as_variable(sum_to(total, self._shape)),)


class Pick(chainer.FunctionNode):
    """Entries of the last axis: x [..., K], index int [..., S] → [..., S]. An entry may be picked several times."""

    def __init__(self, index: Array) -> None:
        super().__init__()
        self._index = rows(index)
        self._shape = index.shape

    def _entries(self) -> tuple[Array, Array]:
        xp = chainer.backend.get_array_module(self._index)
        return xp.arange(len(self._index))[:, None], self._index

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs((0,))
        return (rows(inputs[0])[self._entries()].reshape(self._shape),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        x = self.get_retained_inputs()[0].array
        xp = chainer.backend.get_array_module(x)
        gradient = xp.zeros(x.shape, x.dtype)  # always in C order, so that `rows` returns a view
        xp.add.at(rows(gradient), self._entries(), rows(grad_outputs[0].array))
        return (chainer.as_variable(gradient),)


class TakeGroups(TakeRows):
    """Rows of x [n, ...] by their numbers, where equal numbers are adjacent: index int [R] → [R, ...]."""

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        x, g, index = self.get_retained_inputs()[0].array, grad_outputs[0].array, self._index
        xp = chainer.backend.get_array_module(x)
        gradient = xp.zeros_like(x)
        if xp is not np:
            xp.add.at(gradient, index, g)
        else:
            starts = np.flatnonzero(np.append(True, index[1:] != index[:-1]))
            gradient[index[starts]] = np.add.reduceat(g, starts, axis=0)
        return (chainer.as_variable(gradient),)


class Sparsemax(chainer.FunctionNode):
    """w_k = max(0, x_k − t) with Σ_k w_k = 1, over the last axis.

    Its Jacobian is diag(s) − s sᵀ/|S|, with s the indicator of the support S (Martins & Astudillo 2016, arXiv
    1602.02068, prop. 1 and eq. 14).
    """

    def forward(self, inputs: Arrays) -> Arrays:
        x = inputs[0]
        xp = chainer.backend.get_array_module(x)
        # An entry 1 or more below the largest is not in the support. Clipping it to −1 keeps the sums precise.
        x = xp.maximum(x - x.max(axis=-1, keepdims=True), x.dtype.type(-1))
        descending = -xp.sort(-x, axis=-1)
        total = xp.cumsum(descending, axis=-1, dtype=np.float64)
        count = xp.arange(1, x.shape[-1] + 1)
        size = (1 + count * descending > total).sum(axis=-1, keepdims=True)
        threshold = (xp.take_along_axis(total, size - 1, axis=-1) - 1) / size
        w = xp.maximum(x - threshold.astype(x.dtype), x.dtype.type(0))
        self.retain_outputs((0,))
        return (w,)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        support = self.get_retained_outputs()[0].array > 0
        g = grad_outputs[0].array * support
        g -= support * (g.sum(axis=-1, keepdims=True) / support.sum(axis=-1, keepdims=True).astype(g.dtype))
        return (chainer.as_variable(g),)


class Entropy(chainer.FunctionNode):
    """−Σ_k q_k log q_k over the last axis, as a function of log q; the gradient is −q (log q + 1).

    With separate nodes for exp, product and sum, the backward pass would hold three more arrays of log q's size, and
    this pass is the memory peak of a sampler's step.
    """

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs((0,))
        (log_q,) = inputs
        terms = chainer.backend.get_array_module(log_q).exp(log_q)
        terms *= log_q
        return (-terms.sum(axis=-1),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        log_q = self.get_retained_inputs()[0].array
        gradient = log_q + 1
        gradient *= chainer.backend.get_array_module(log_q).exp(log_q)
        gradient *= -grad_outputs[0].array[..., None]
        return (chainer.as_variable(gradient),)


class PointEntropy(chainer.FunctionNode):
    """−Σ_k w_k log w_k over the last axis for points w of the simplex that may have zeros, with 0 log 0 = 0.

    The gradient −(log w + 1) is taken on the support alone, because the function that makes w has no gradient off it.
    """

    def forward(self, inputs: Arrays) -> Arrays:
        xp = chainer.backend.get_array_module(inputs[0])
        w = inputs[0]
        self._support = w > 0
        self._log_w = xp.log(xp.where(self._support, w, w.dtype.type(1)))
        return (-(w * self._log_w).sum(axis=-1),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        g = grad_outputs[0].array[..., None]
        return (chainer.as_variable(-g * (self._log_w + 1) * self._support),)


class WeightedSum(chainer.FunctionNode):
    """Σ_k w_k f_k over the last axis. Inputs are w and the variables of f, whose gradients are given."""

    def __init__(self, f: Array, gradients: list[Array]) -> None:
        super().__init__()
        self._f, self._gradients = f, gradients

    def forward(self, inputs: Arrays) -> Arrays:
        self.retain_inputs(())
        self._dtypes = [x.dtype for x in inputs[1:]]
        return ((inputs[0] * self._f).sum(axis=-1),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: Tensors) -> Tensors:
        g = grad_outputs[0].array
        xp = chainer.backend.get_array_module(g)
        scale, alike = g.ravel()[0], (g == g.ravel()[0]).all()
        if xp is not np:
            scale = xp.where(alike, scale, xp.nan)
        elif not alike:
            raise ValueError(
                "a streamed sum takes its gradients while it is formed, for a loss that weights all examples "
                f"and draws alike; got weights from {g.min()} to {g.max()}"
            )
        found = []
        gradients, self._gradients = self._gradients, []  # from here on only the parameters hold them
        for i in indexes:
            if i == 0:
                found.append(g[..., None] * self._f)
            else:
                gradient = gradients[i - 1]
                gradient *= scale.astype(gradient.dtype)
                found.append(gradient.astype(self._dtypes[i - 1], copy=False))
        return tuple(map(chainer.as_variable, found))
