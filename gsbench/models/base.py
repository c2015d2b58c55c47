"""The common parts of ADGM and M2: their noise, the bound of one class as an object, and prediction."""

from __future__ import annotations

import abc
import contextlib
import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from gsbench.backends.base import Array, Backend, Generator, Parameter, Tensor
from gsbench.models.config import ModelConfig
from gsbench.models.labels import ClassValues
from gsbench.models.network import Network, Role


@dataclasses.dataclass(frozen=True)
class Noise:
    """One step's draws, shared by all classes and calls of f: ε_a [N, 1, B, D_a] (None in M2), ε_z [N, 1, B, D_z].

    The pixels that q(y|a,x) sees are multiplied by keep_x [1, 1, B, D_x]: 0 for a dropped pixel, else 1/(1 − drop_x).
    keep_hidden does the same for each of its hidden layers, [N, 1, B, H] (M2: [1, 1, B, H]). None and (): no dropout.
    """

    eps_a: Array | None
    eps_z: Array
    keep_x: Array | None = None
    keep_hidden: tuple[Array, ...] = ()

    def drop(self, x: Array) -> Array:
        """x [1, 1, B, D_x] as q(y|a,x) sees it."""
        return x if self.keep_x is None else x * self.keep_x


@dataclasses.dataclass(frozen=True)
class ClassBound:
    """f: the bound of one class, for a minibatch and its noise. It is called with a y from `gsbench.models.labels`.

    f(y) = log p(x|y,z) + log p(a|x,y,z) + log p(y) + log p(z) − log q(a|x) − log q(z|a,x,y)   (M2: without a)

    A call returns [N, C, B] for C values of y. `logits_y` [N, B, K] are the logits of q(y|a,x). `context` holds the
    tensors that the model computes once for each example, not once for each class.
    """

    model: Model
    x: Array  # [1, 1, B, D_x]
    noise: Noise
    logits_y: Tensor  # [N, B, K]
    context: dict[str, Tensor]
    counted: list[int] | None = None  # each call appends the number of its values, over all draws and examples

    def __call__(self, y: ClassValues) -> Tensor:
        values = self.model.bound_of(y, self)
        if self.counted is not None:
            self.counted.append(math.prod(values.shape))
        return values

    @property
    def bk(self) -> Backend:
        return self.model.bk

    @property
    def n_classes(self) -> int:
        return self.model.config.n_classes

    @property
    def floats_per_row(self) -> int:
        return self.model.floats_per_row

    @property
    def inputs(self) -> dict[str, Tensor]:
        """All variables on which f depends, by name: parameters, and the tensors of `context`."""
        context = {f"context/{key}": value for key, value in self.context.items()}
        return {**self.model.parameters_of_f, **context}

    @property
    def class_rows(self) -> frozenset[str]:
        """The names of the `inputs` that have a row for each class, [K, H]."""
        return self.model.class_rows

    def with_inputs(self, inputs: Mapping[str, Tensor], classes: slice | Array | None = None) -> ClassBound:
        """f with replaced inputs.

        classes   f covers only these: each input of `class_rows` is reduced to their rows; None: all classes
        """
        context = {key: inputs[f"context/{key}"] for key in self.context}
        return dataclasses.replace(self, model=self.model.with_parameters(inputs), context=context)

    def at(self, draw: Array, example: Array) -> ClassBound:
        """f for single pairs (draw, example), int [R] each, equal pairs adjacent. The result has N = 1 and B = R."""
        batch = self.x.shape[2]

        def take(x: Tensor) -> Tensor:
            """x [N or 1, 1, B, ...] → [1, 1, R, ...]"""
            index = example if x.shape[0] == 1 else draw * batch + example
            flat = self.bk.reshape(x, (-1, *x.shape[3:]))
            return self.bk.reshape(self.bk.take_groups(flat, index), (1, 1, len(index), *x.shape[3:]))

        eps_z = self.noise.eps_z[draw, 0, example][None, None]
        context = {key: take(value) for key, value in self.context.items()}
        x = self.x[:, :, example]
        return dataclasses.replace(self, x=x, noise=Noise(None, eps_z), context=context)

    def with_noise_for_each_class(self, rng: Generator) -> ClassBound:
        """f with a separate ε_z for each class, [N, K, B, D_z], as in the 2016 blog post."""
        n, _, batch, d_z = self.noise.eps_z.shape
        eps_z = self.bk.normal(rng, (n, self.n_classes, batch, d_z))
        return dataclasses.replace(self, noise=dataclasses.replace(self.noise, eps_z=eps_z))


class Model(abc.ABC):
    """The networks of a deep generative model with a class y, and its f(y).

    A subclass makes its networks in `_make_networks` and uses them in `class_bound`, `bound_of` and `class_logits`.
    """

    name = ""
    backends: tuple[str, ...] = ()  # on which it runs; (): on all
    is_configured = True  # ModelConfig describes its networks; a user's model says False
    draws_images = True  # `decode` gives the logits of pixels
    x_is_binary = True  # p(x|…) is Bernoulli, for x in [0, 1]
    has_a = False  # whether q(y|a,x) depends on draws of a
    p_x_yz: Network  # every model has one

    @classmethod
    def adapted(cls, config: ModelConfig) -> ModelConfig:
        """The config with what the model determines by itself."""
        return config

    @classmethod
    def of_shapes(cls, shapes: Backend, config: ModelConfig) -> Model:
        """A model to count from, whose parameters have shapes and no values. `shapes` stands in for a backend."""
        return cls(shapes, config)

    def __init__(self, bk: Backend, config: ModelConfig, seed: int = 0) -> None:
        self.bk = bk
        self.config = config
        self._rng = np.random.default_rng(seed)
        self.networks: list[Network] = []
        self._make_networks()
        self.log_p_y = -math.log(config.n_classes)

    @abc.abstractmethod
    def _make_networks(self) -> None:
        """Makes the networks by `_network`, always in the same order, because they draw from one generator."""

    @abc.abstractmethod
    def class_bound(self, x: Array, noise: Noise) -> ClassBound:
        """f for pixels x [B, D_x] in [0, 1], with the logits of q(y|a,x)."""

    @abc.abstractmethod
    def bound_of(self, y: ClassValues, f: ClassBound) -> Tensor:
        """f(y): [N, C, B], in nats, in the wide dtype."""

    @abc.abstractmethod
    def class_logits(self, x: Array, noise: Noise) -> Tensor:
        """The logits of q(y|a,x) alone. x [B, D_x] → [N, B, K]"""

    def draw_noise(self, rng: Generator, batch: int, n_mc: int = 1) -> Noise:
        """The draws of one step: ε_a, then ε_z, then in training the dropout factors."""
        eps_a = self.bk.normal(rng, (n_mc, 1, batch, self.config.d_a)) if self.has_a else None
        eps_z = self.bk.normal(rng, (n_mc, 1, batch, self.config.d_z))
        c = self.config
        keep_x = self._draw_kept(rng, c.drop_x, (1, 1, batch, c.n_pixels))
        hidden = (n_mc if self.has_a else 1, 1, batch, c.classifier_units or c.units)
        keep_hidden = tuple(self._draw_kept(rng, c.drop_hidden, hidden) for _ in range(c.layers))
        return Noise(eps_a, eps_z, keep_x, keep_hidden if keep_hidden[0] is not None else ())

    def _draw_kept(self, rng: Generator, drop: float, shape: tuple[int, ...]) -> Array | None:
        """0 with probability `drop`, else 1/(1 − drop); None if nothing is dropped."""
        if not drop or not self.training:
            return None
        return self.bk.array(self.bk.uniform(rng, shape) >= drop) * (1 / (1 - drop))

    @property
    def training(self) -> bool:
        """Whether batch norm uses the minibatch's statistics and dropout is active: False within `evaluating`."""
        return self.networks[0].training

    def _network(self, name: str, role: Role, n_out: int, **inputs: int) -> Network:
        config, n_layers = self.config, self.config.class_layers if "y" in inputs else self.config.layers
        if role is Role.RECOGNITION_OF_Y and config.classifier_units:
            config = dataclasses.replace(config, units=config.classifier_units)
        network = Network(self.bk, name, role, inputs, n_out, n_layers, config, self._rng)
        self.networks.append(network)
        return network

    @property
    def floats_per_row(self) -> int:
        """Numbers that are live for each row (draw, class, example) at the peak of f's forward and backward pass.

        The peak is in the backward pass. It consists of the hidden layers of the networks that take y (twice if batch
        norm keeps its input), the pixels' log-density derivative and the gradient made from it, and the latents' means,
        log variances, draws and derivatives. tests/test_meters.py compares it with tracemalloc.
        """
        return self._floats_hidden + 2 * self.config.n_pixels + 5 * (self.config.d_z + self.has_a * self.config.d_a)

    @property
    def _floats_hidden(self) -> int:
        c = self.config
        return sum(network.takes_y for network in self.networks) * c.class_layers * c.units * self._arrays_of_a_layer

    @property
    def _arrays_of_a_layer(self) -> int:
        """Batch norm keeps its input, and the nonlinearity after it keeps its output."""
        return 2 if self.config.norm == "batch" else 1

    @property
    def floats_left_per_row(self) -> int:
        """Numbers that a row keeps from its backward pass to the end of the step: the derivatives of its log densities,
        its latents, and its hidden layers unless a whole network is one node."""
        c = self.config
        hidden = 0 if c.is_plain else self._floats_hidden
        return hidden + c.n_pixels + 3 * c.d_z + 2 * self.has_a * c.d_a

    @property
    def floats_waiting_per_row(self) -> int:
        """Numbers that a row keeps between its forward and its backward pass."""
        return self.floats_left_per_row + (self._floats_hidden if self.config.is_plain else 0)

    def floats_of_examples(self, n_mc: int, batch: int) -> int:
        """Numbers that a pass over a minibatch keeps for a and for the networks that do not take y. These are computed
        once for each example or for each draw of a."""
        c, draws = self.config, n_mc * batch
        classifier_rows = draws if self.has_a else batch
        classifier = c.layers * (c.classifier_units or c.units) * (self._arrays_of_a_layer + bool(c.drop_hidden))
        of_a = (batch * c.layers * c.units * self._arrays_of_a_layer + 3 * draws * c.d_a) if self.has_a else 0
        return classifier_rows * classifier + of_a + 2 * bool(c.drop_x) * batch * c.n_pixels

    def operations_of_pass(self, rows: float, examples: float) -> int | None:
        """Floating-point operations, forward and backward, of f for so many rows and of all else for so many examples.
        None: they follow from the networks' shapes.
        """
        return None

    @property
    def floats_gathered(self) -> int:
        """Further numbers of a row if rows are gathered one by one (`ClassBound.at`): its pixels, two arrays made from
        them for their log density, a, and ε_z. The gathered parts of the first layers do not count, because they are
        live only while some hidden layers are not."""
        c = self.config
        return 3 * c.n_pixels + c.d_z + 2 * self.has_a * c.d_a

    @property
    def parameters(self) -> dict[str, Parameter]:
        """All parameters by name, such as "q_y_ax/W_x"."""
        return {key: p for network in self.networks for key, p in network.parameters.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter, by the parameter's name."""
        return {key: tuple(p.shape if hasattr(p, "shape") else p) for key, p in self.parameters.items()}

    @property
    def parameters_of_f(self) -> dict[str, Parameter]:
        """The parameters on which f depends directly, not through its logits or its context."""
        networks = (network for network in self.networks if network.takes_y)
        return {key: p for network in networks for key, p in network.parameters.items()}

    @property
    def class_rows(self) -> frozenset[str]:
        """The names of the parameters of f that have a row for each class, [K, H]."""
        return frozenset(f"{network.name}/W_y" for network in self.networks if network.takes_y)

    @property
    def roles(self) -> dict[str, Role]:
        """The role of each parameter, by the parameter's name."""
        return {key: network.role for network in self.networks for key in network.parameters}

    @property
    def classifier_parameters(self) -> dict[str, Parameter]:
        """The parameters on which q(y|x) depends. They belong to the recognition networks that do not take y."""
        networks = (net for net in self.networks if net.role is not Role.GENERATIVE and not net.takes_y)
        return {key: p for network in networks for key, p in network.parameters.items()}

    @property
    def statistics(self) -> dict[str, Array]:
        """Batch norm's running means and variances by name, such as "q_y_ax/mean1"."""
        return {key: a for network in self.networks for key, a in network.statistics.items()}

    def with_parameters(self, parameters: Mapping[str, Tensor], statistics: Mapping[str, Array] | None = None) -> Model:
        """A copy of the model in which the named parameters and statistics are replaced."""
        twin = copy.copy(self)
        twin.networks = []
        for attribute, network in vars(self).items():
            if isinstance(network, Network):
                twin.networks.append(network.with_parameters(parameters, statistics))
                setattr(twin, attribute, twin.networks[-1])
        return twin

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Context in which no graph is kept and batch norm uses its running averages."""
        before = [network.training for network in self.networks]
        for network in self.networks:
            network.training = False
        try:
            with self.bk.no_gradient():
                yield
        finally:
            for network, training in zip(self.networks, before, strict=True):
                network.training = training

    @contextlib.contextmanager
    def leaving_statistics(self) -> Iterator[None]:
        """Context in which batch norm uses the minibatch's statistics and leaves its running averages unchanged."""
        before = [network.keeps_statistics for network in self.networks]
        for network in self.networks:
            network.keeps_statistics = False
        try:
            yield
        finally:
            for network, keeps in zip(self.networks, before, strict=True):
                network.keeps_statistics = keeps

    def q_y(
        self, x: Array, rng: Generator, n_a: int = 1, distribution: Callable[[Backend, Tensor], Tensor] | None = None
    ) -> Tensor:
        """q(y|a,x) averaged over `n_a` draws of a. x [B, D_x] → [B, K]

        distribution   (bk, logits [N, B, K]) → [N, B, K], such as `Estimator.distribution`; None: softmax
        """
        with self.evaluating():
            logits = self.class_logits(x, self.draw_noise(rng, x.shape[0], n_a))
            q_y = distribution(self.bk, logits) if distribution else self.bk.softmax(logits)
            return self.bk.mean(q_y, axis=0)

    @abc.abstractmethod
    def encode(self, x: Array, y: ClassValues) -> Tensor:
        """The mean of q(z|a,x,y), with a at the mean of q(a|x) (M2: the mean of q(z|x,y)).

        x [B, D_x], y from `gsbench.models.labels` → [1, C, B, D_z]
        """

    def decode(self, y: ClassValues, z: Tensor) -> Tensor:
        """The logits of p(x|y,z). z [1, 1 or C, B, D_z], y from `gsbench.models.labels` → [1, C, B, D_x]"""
        return self.p_x_yz(y=y, z=z)
