"""The layers' nodes, each with a hand-written forward and backward pass.

PyTorch's own nodes would keep more arrays and pass over each of them more often: a rectifier would be a node between
two products, and a first layer of several terms one node for each sum. Gradients can be taken once (no double
backpropagation). Products take the compute dtype, weights' gradients among them. Sums over rows and over parts of a sum
take the wide dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch.autograd import Function

from gsbench.backends.base import Array, Tensor

Context: TypeAlias = Any  # a node keeps in it the arrays for its backward pass


def rows(x: Array) -> Array:
    """[..., D] as a matrix [rows, D]."""
    return x.reshape(-1, x.shape[-1])


def wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def sum_to(g: Array, shape: Sequence[int]) -> Array:
    """The sum of g over the axes along which an array of `shape` was broadcast to g's shape, in the wide dtype."""
    lead = g.dim() - len(shape)
    axes = [*range(lead), *(i for i, n in enumerate(shape, start=lead) if n == 1 < g.shape[i])]
    return g.sum(axes, dtype=wide(g.dtype)).reshape(shape) if axes else g


def dot(a: Array, b: Array, bias: Array | None = None) -> Array:
    """a b + bias for matrices of one dtype. The backend makes all its products here, so that they can be counted."""
    return torch.mm(a, b) if bias is None else torch.addmm(bias, a, b)


def _broadcasts_to(shape: Sequence[int], larger: Sequence[int]) -> bool:
    """`torch.broadcast_shapes` also finds this, but takes 90 µs."""
    pairs = zip(reversed(shape), reversed(larger), strict=False)
    return len(shape) <= len(larger) and all(n in (1, m) for n, m in pairs)


def _first_layer(x: Array | None, W: Array | None, terms: Sequence[Array], dtype: torch.dtype) -> Array:
    """x Wᵀ + Σ terms as a new array in `dtype`, or Σ terms if x is None."""
    terms = [term.to(dtype) for term in terms]
    if x is None or W is None:
        y, further = (terms[0] + terms[1], terms[2:]) if len(terms) > 1 else (terms[0].clone(), [])
    elif terms and terms[0].dim() == 1:  # a bias, which the product adds
        y, further = dot(rows(x.to(dtype)), W.to(dtype).T, terms[0]), terms[1:]
        y = y.reshape(*x.shape[:-1], W.shape[0])
    else:
        y, further = dot(rows(x.to(dtype)), W.to(dtype).T).reshape(*x.shape[:-1], W.shape[0]), terms
    for term in further:
        y = y.add_(term) if _broadcasts_to(term.shape, y.shape) else y + term
    return y


def _first_layer_gradients(
    ctx: Context, g: Array, x: Array | None, W: Array | None, term_shapes: Sequence[Sequence[int]], first: int
) -> list[Array | None]:
    """Gradients of `_first_layer`: of x, of W, and of the terms, as far as they are needed.

    first   the index of x in the node's inputs, and so in `ctx.needs_input_grad`
    """
    needs = ctx.needs_input_grad[first:]
    g_x = g_W = None
    if x is not None and W is not None and (needs[0] or needs[1]):
        product_g = rows(sum_to(g, (*x.shape[:-1], W.shape[0])).to(g.dtype))
        g_x = dot(product_g, W.to(g.dtype)).reshape(x.shape) if needs[0] else None
        g_W = dot(product_g.T, rows(x.to(g.dtype))) if needs[1] else None
    terms = zip(term_shapes, needs[2:], strict=False)
    return [g_x, g_W, *(sum_to(g, shape) if needed else None for shape, needed in terms)]


class Affine(Function):
    """x Wᵀ + Σ terms, in `dtype`."""

    @staticmethod
    def forward(ctx: Context, dtype: torch.dtype, x: Array | None, W: Array | None, *terms: Array) -> Array:
        ctx.save_for_backward(x, W)
        ctx.shapes = [term.shape for term in terms]
        return _first_layer(x, W, terms, dtype)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, ...]:
        x, W = ctx.saved_tensors
        return (None, *_first_layer_gradients(ctx, g, x, W, ctx.shapes, first=1))


class Perceptron(Function):
    """A whole multilayer perceptron with rectifiers, whose first layer may take terms that broadcast.

    The node owns the gradients of its hidden layers, so that it applies the rectifier's mask in place. The inputs after
    `n_terms` are x and W (or None), the terms, and W_2, b_2, …, W_n, b_n.
    """

    @staticmethod
    def forward(
        ctx: Context, dtype: torch.dtype, n_terms: int, x: Array | None, W: Array | None, *rest: Array
    ) -> Array:
        terms, layers = rest[:n_terms], rest[n_terms:]
        h = _first_layer(x, W, terms, dtype)
        shape = h.shape
        h, hidden = rows(h), []
        weights = [W_i.to(dtype) for W_i in layers[::2]]
        for W_i, b_i in zip(weights, layers[1::2], strict=True):
            hidden.append(h.relu_())
            h = dot(h, W_i.T, b_i.to(dtype))
        ctx.save_for_backward(x, W, *weights, *hidden)
        ctx.n_terms, ctx.shape, ctx.term_shapes = n_terms, shape, [term.shape for term in terms]
        return h.reshape(*shape[:-1], h.shape[-1])

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple[Array | None, ...]:
        x, W, *saved = ctx.saved_tensors
        n = len(saved) // 2
        weights, hidden, g, found = saved[:n], saved[n:], rows(grad), []
        for W_i, h in zip(reversed(weights), reversed(hidden), strict=True):
            found += [g.sum(0, dtype=wide(g.dtype)), dot(g.T, h)]
            g = dot(g, W_i)
            torch.ops.aten.threshold_backward.grad_input(g, h, 0, grad_input=g)
        firsts = _first_layer_gradients(ctx, g.reshape(ctx.shape), x, W, ctx.term_shapes, first=2)
        return (None, None, *firsts, *reversed(found))


class Product(Function):
    """x W over the last axis: x [..., K], W [K, H] → [..., H], in `dtype`."""

    @staticmethod
    def forward(ctx: Context, x: Array, W: Array, dtype: torch.dtype) -> Array:
        x, W = x.to(dtype), W.to(dtype)
        ctx.save_for_backward(x, W)
        return dot(rows(x), W).reshape(*x.shape[:-1], W.shape[1])

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple[Array | None, ...]:
        x, W = ctx.saved_tensors
        g = rows(grad)
        g_x = dot(g, W.T).reshape(x.shape) if ctx.needs_input_grad[0] else None
        return g_x, dot(rows(x).T, g) if ctx.needs_input_grad[1] else None, None


class LookUp(Function):
    """y W for one-hot rows y [..., K] that carry a gradient: rows of W [K, H] forward, g Wᵀ backward."""

    @staticmethod
    def forward(ctx: Context, y: Array, W: Array, dtype: torch.dtype) -> Array:
        index = y.argmax(-1)
        ctx.save_for_backward(index, W)
        return torch.embedding(W, index).to(dtype)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, ...]:
        index, W = ctx.saved_tensors
        g_y = g_W = None
        if ctx.needs_input_grad[0]:
            g_y = dot(rows(g), W.to(g.dtype).T).reshape(*index.shape, W.shape[0])
        if ctx.needs_input_grad[1]:
            g_W = torch.ops.aten.embedding_dense_backward(g.to(W.dtype), index, W.shape[0], -1, False)
        return g_y, g_W, None


class HardPoint(Function):
    """Forward the constant D [..., K]; backward Σ_m c_m J(p_m) g = Σ_m c_m (p_m g − p_m ⟨p_m, g⟩)."""

    @staticmethod
    def forward(
        ctx: Context, hard: Array, log_q: Array, weights: tuple[float, ...], *points: Array
    ) -> Array:
        ctx.save_for_backward(*points)
        ctx.weights, ctx.shape, ctx.dtype = weights, log_q.shape, log_q.dtype
        return hard.view_as(hard)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple[Array | None, ...]:
        g, total = grad.to(ctx.dtype), None
        for p, weight in zip(ctx.saved_tensors, ctx.weights, strict=True):
            by_point = p * g
            by_point = by_point.sub_(p * by_point.sum(-1, keepdim=True)).mul_(weight)
            total = by_point if total is None else total.add_(by_point)
        return (None, sum_to(total, ctx.shape), None, *(None for _ in ctx.weights))


class Sparsemax(Function):
    """w_k = max(0, x_k − t) with Σ_k w_k = 1, over the last axis.

    Its Jacobian is diag(s) − s sᵀ/|S|, with s the indicator of the support S (Martins & Astudillo 2016, arXiv
    1602.02068, prop. 1 and eq. 14).
    """

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        # An entry 1 or more below the largest is not in the support. Clipping it to −1 keeps the sums precise.
        x = (x - x.amax(-1, keepdim=True)).clamp_(min=-1)
        descending = x.sort(-1, descending=True).values
        total = descending.cumsum(-1, dtype=torch.float64)
        count = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=torch.float64)
        size = (1 + count * descending > total).sum(-1, keepdim=True)
        threshold = (total.gather(-1, size - 1) - 1) / size
        w = (x - threshold.to(x.dtype)).clamp_(min=0)
        ctx.save_for_backward(w)
        return w

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (w,) = ctx.saved_tensors
        support = w > 0
        g = grad * support
        return g.sub_(support * (g.sum(-1, keepdim=True) / support.sum(-1, keepdim=True).to(g.dtype)))


class Entropy(Function):
    """−Σ_k q_k log q_k over the last axis, as a function of log q; the gradient is −q (log q + 1)."""

    @staticmethod
    def forward(ctx: Context, log_q: Array) -> Array:
        ctx.save_for_backward(log_q)
        return -log_q.exp().mul_(log_q).sum(-1)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        (log_q,) = ctx.saved_tensors
        return (log_q + 1).mul_(log_q.exp()).mul_(-g[..., None])


class PointEntropy(Function):
    """−Σ_k w_k log w_k over the last axis for points w of the simplex that may have zeros, with 0 log 0 = 0.

    The gradient −(log w + 1) is taken on the support alone, because the function that makes w has no gradient off it.
    """

    @staticmethod
    def forward(ctx: Context, w: Array) -> Array:
        support = w > 0
        log_w = torch.where(support, w, 1).log_()
        ctx.save_for_backward(support, log_w)
        return -(w * log_w).sum(-1)

    @staticmethod
    def backward(ctx: Context, g: Array) -> Array:
        support, log_w = ctx.saved_tensors
        return (log_w + 1).mul_(support).mul_(-g[..., None])


class WeightedSum(Function):
    """Σ_k w_k f_k over the last axis. Inputs are w and the variables of f, whose gradients are given."""

    @staticmethod
    def forward(ctx: Context, f: Array, gradients: list[Array], w: Array, *inputs: Tensor) -> Array:
        ctx.f, ctx.gradients = f, gradients
        return (w * f).sum(-1)

    @staticmethod
    def backward(ctx: Context, g: Array) -> tuple[Array | None, ...]:
        scale = g.reshape(-1)[0]
        alike = (g == scale).all()
        if g.device.type == "cuda":
            scale = torch.where(alike, scale, torch.nan)
        elif not alike:
            raise ValueError(
                "a streamed sum takes its gradients while it is formed, for a loss that weights all examples "
                f"and draws alike; got weights from {float(g.min())} to {float(g.max())}"
            )
        gradients, ctx.gradients = ctx.gradients, []  # from here on only the parameters hold them
        return (None, None, g[..., None] * ctx.f, *(gradient.mul_(scale) for gradient in gradients))
