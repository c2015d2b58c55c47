"""A multilayer perceptron whose first layer is split over its inputs."""

from __future__ import annotations

import copy
import enum
import math
from collections.abc import Callable, Mapping

import numpy as np

from gsbench.backends.base import Array, Backend, Parameter, Tensor
from gsbench.models.config import ModelConfig
from gsbench.models.labels import ClassValues

# Only one entry of y is not 0: with thousands of classes, a fan-in of K would scale the signal of y to almost nothing.
Y_FAN_IN_LIMIT = 100


class Role(enum.Enum):
    """The purpose of a network, independent of its name."""

    RECOGNITION_OF_Y = "recognition of y"  # q(y|a,x)
    OTHER_RECOGNITION = "other recognition"  # q(a|x), q(z|a,x,y)
    GENERATIVE = "generative"  # p(x|y,z), p(a|x,y,z)


class Network:
    """h = φ(norm(Σ_i W_i u_i + b)), further hidden layers likewise, output W h + b.

    role      the role of its parameters, see `Model.roles`
    inputs    name → dimension of each input u_i. W_i is [units, D_i]; for "y" it is [K, units], so that a constant
              class is a contiguous row
    n_out     output dimension

    All weights of a layer start with one scale, as in a layer of the concatenated inputs: the scale follows from the
    sum of the inputs' fan-ins, where y counts at most 100.
    """

    def __init__(
        self,
        bk: Backend,
        name: str,
        role: Role,
        inputs: Mapping[str, int],
        n_out: int,
        n_layers: int,
        config: ModelConfig,
        rng: np.random.Generator,
    ) -> None:
        self.bk = bk
        self.config = config
        self.training = True
        self.keeps_statistics = True
        self.takes_y = "y" in inputs
        self.parameters: dict[str, Parameter] = {}
        self.running: list[tuple[Array, Array]] = []
        self.name, self.role = name, role
        self._phi = {"relu": bk.relu, "elu": bk.elu}[config.nonlinearity]
        widths = [config.units] * n_layers
        fan_in = sum(min(d, Y_FAN_IN_LIMIT) if u == "y" else d for u, d in inputs.items())
        for u, d in inputs.items():
            self._add_weight(f"W_{u}", (d, widths[0]) if u == "y" else (widths[0], d), (fan_in, widths[0]), rng)
        self._add_bias(1, widths[0])
        for i, (d, width) in enumerate(zip(widths, [*widths[1:], n_out], strict=True), start=2):
            self._add_weight(f"W{i}", (width, d), (d, width), rng, output=i > n_layers)
            self._add_bias(i, width, hidden=i <= n_layers)
        self._n_layers = n_layers

    def _add_weight(
        self, key: str, shape: tuple[int, int], fans: tuple[int, int], rng: np.random.Generator, output: bool = False
    ) -> None:
        """`fans`: the numbers of inputs and outputs of the whole layer."""
        c = self.config
        std = c.init_std or (math.sqrt(2 / sum(fans)) if c.init == "glorot" else 1 / math.sqrt(fans[0]))
        if output and c.output_std:
            std = c.output_std
        self._add(key, shape, lambda: std * rng.standard_normal(shape))

    def _add(self, key: str, shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> None:
        self.parameters[f"{self.name}/{key}"] = self.bk.new_parameter(shape, draw)

    def _add_bias(self, layer: int, width: int, hidden: bool = True) -> None:
        self._add(f"b{layer}", (width,), lambda: np.zeros(width))
        if hidden and self.config.norm == "batch":
            self._add(f"gamma{layer}", (width,), lambda: np.ones(width))
            self.running.append((self.bk.array(np.zeros(width)), self.bk.array(np.ones(width))))

    def _get(self, key: str) -> Parameter:
        return self.parameters[f"{self.name}/{key}"]

    @property
    def statistics(self) -> dict[str, Array]:
        """Batch norm's running means and variances by name, such as "q_y_ax/mean1"."""
        pairs = enumerate(self.running, start=1)
        return {f"{self.name}/{kind}{i}": a for i, pair in pairs for kind, a in zip(("mean", "var"), pair, strict=True)}

    def with_parameters(
        self, parameters: Mapping[str, Tensor], statistics: Mapping[str, Array] | None = None
    ) -> Network:
        """A copy of the network in which the named parameters and statistics are replaced."""
        twin = copy.copy(self)
        twin.parameters = {key: parameters.get(key, p) for key, p in self.parameters.items()}
        if statistics:
            arrays = [statistics.get(key, a) for key, a in self.statistics.items()]
            twin.running = list(zip(arrays[::2], arrays[1::2], strict=True))
        return twin

    def _before_norm(self, layer: int) -> Parameter | None:
        """The bias of a layer. None before batch norm, which would cancel the bias; there it serves as the norm's β."""
        hidden = layer <= self._n_layers
        return None if hidden and self.config.norm == "batch" else self._get(f"b{layer}")

    def first(self, **inputs: Tensor) -> Tensor:
        """Σ_i W_i u_i over the given inputs (not y), without the bias: the part of the first layer that classes share.
        u_i [..., D_i] → [..., H]"""
        return self.bk.affine(*self._first(inputs), precise=True)

    def _first(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None, tuple[Tensor, ...]]:
        """The arguments of `bk.affine`: the last input, its weights, and the products of the other inputs."""
        if not inputs:
            return None, None, ()
        *others, last = inputs
        products = tuple(self.bk.affine(inputs[u], self._get(f"W_{u}"), precise=True) for u in others)
        return inputs[last], self._get(f"W_{last}"), products

    def _y_and_bias(self, y: ClassValues) -> Tensor:
        """y W_y plus the first layer's bias: rows that broadcast to [N, C, B, H]."""
        term, b = y.first_layer(self.bk, self._get("W_y")), self._before_norm(1)
        return term if b is None else term + b

    def __call__(
        self, *, y: ClassValues | None = None, plus: Tensor | None = None, keep: tuple[Array, ...] = (),
        **inputs: Tensor,
    ) -> Tensor:
        """The whole network.

        y       the class, from `gsbench.models.labels`, if the network takes one
        plus    a part of the first layer, computed by `first`
        keep    a factor for each hidden layer (dropout), or ()
        inputs  the other inputs u_i [..., D_i]
        """
        bias = self._before_norm(1) if y is None else self._y_and_bias(y)
        x, W, products = self._first(inputs)
        terms = (*products, *(term for term in (plus, bias) if term is not None))
        # Networks without y have few rows, so float32 costs little. In bfloat16, rounded weights change signs before
        # rectifiers: gradients of q(y|a,x) were up to 14 % off.
        precise = not self.takes_y
        if self.config.is_plain and not keep:
            layers = [(self._get(f"W{i}"), self._get(f"b{i}")) for i in range(2, self._n_layers + 2)]
            return self.bk.perceptron(x, W, terms, layers, precise)
        h = self.bk.affine(x, W, terms, precise)
        for i in range(1, self._n_layers + 1):
            h = self._phi(self._norm(h, i))
            h = h * keep[i - 1] if keep else h
            b = self._before_norm(i + 1)
            h = self.bk.affine(h, self._get(f"W{i + 1}"), () if b is None else (b,), precise)
        return h

    def _norm(self, h: Tensor, layer: int) -> Tensor:
        if self.config.norm == "none":
            return h
        gamma, beta, running = self._get(f"gamma{layer}"), self._get(f"b{layer}"), self.running[layer - 1]
        return self.bk.batch_norm(h, gamma, beta, running, self.training, self.keeps_statistics)
