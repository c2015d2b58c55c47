"""Functions that Chainer lacks, or has with a cost or a flaw that a benchmark would show.

Their gradients can be taken once (no double backpropagation).
"""

from __future__ import annotations

from typing import Any

from gsbench.backends.chainer_import import chainer


class Linear(chainer.FunctionNode):
    """y = x Wᵀ + b over the last axis: x [..., D], W [H, D], b [H] → [..., H].

    Chainer's own puts a reshape before and after, and makes each of its gradients a node again: for a minibatch of a
    hundred rows, the nodes of a step then cost as much as its products.
    """

    def forward(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.retain_inputs((0, 1))
        x, W = inputs[:2]
        y = x.reshape(-1, x.shape[-1]).dot(W.T)
        if len(inputs) == 3:
            y += inputs[2]
        return (y.reshape(*x.shape[:-1], W.shape[0]),)

    def backward(self, indexes: tuple[int, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x, W = (variable.array for variable in self.get_retained_inputs())
        gy = grad_outputs[0].array.reshape(-1, W.shape[0])
        gradients = {
            0: lambda: gy.dot(W).reshape(x.shape),
            1: lambda: gy.T.dot(x.reshape(-1, x.shape[-1])),
            2: lambda: gy.sum(axis=0),
        }
        return tuple(chainer.as_variable(gradients[i]()) for i in indexes)


def linear(x: Any, W: Any, b: Any = None) -> Any:
    """x Wᵀ + b over the last axis."""
    return Linear().apply((x, W) if b is None else (x, W, b))[0]


class Softplus(chainer.FunctionNode):
    """y = log(1 + eˣ) = max(x, 0) + log1p(e^−|x|), dy/dx = σ(x) = (1 + tanh(x/2))/2.

    Chainer's own overflows with a warning in the backward pass for float32 x > 88, and makes a temporary for each of
    its elementwise passes.
    """

    def forward(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.retain_inputs((0,))
        (x,) = inputs
        xp = chainer.backend.get_array_module(x)
        y = xp.abs(x)
        xp.negative(y, out=y)
        xp.exp(y, out=y)
        xp.log1p(y, out=y)
        y += xp.maximum(x, 0)
        return (y,)

    def backward(self, indexes: tuple[int, ...], grad_outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        x = self.get_retained_inputs()[0].array
        xp = chainer.backend.get_array_module(x)
        gx = x * x.dtype.type(0.5)
        xp.tanh(gx, out=gx)
        gx += 1
        gx *= x.dtype.type(0.5)
        gx *= grad_outputs[0].array
        return (chainer.as_variable(gx),)


def softplus(x: Any) -> Any:
    """log(1 + eˣ), elementwise."""
    return Softplus().apply((x,))[0]


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
