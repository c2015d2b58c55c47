"""What ADGM and M2 share: their noise, the bound of one class as an object, and prediction."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gsbench.densities import gaussian_log_density_of_draw, standard_gaussian_log_density
from gsbench.models.config import ModelConfig
from gsbench.models.network import Network


@dataclasses.dataclass(frozen=True)
class Noise:
    """One step's draws, shared by all classes and calls of f: ε_a [N, 1, B, D_a] (None in M2), ε_z [N, 1, B, D_z]."""

    eps_a: Any
    eps_z: Any


@dataclasses.dataclass(frozen=True)
class ClassBound:
    """f: the bound of one class, for a minibatch and its noise; called with a y of `gsbench.models.labels`.

    f(y) = log p(x|y,z) + log p(a|x,y,z) + log p(y) + log p(z) − log q(a|x) − log q(z|a,x,y)   (M2: without a)

    A call gives [N, C, B], C the values of y that were asked for. `logits_y` [N, B, K] are those of q(y|a,x).
    `context` holds what the model computes once an example, and not once a class.
    """

    model: Model
    x: Any  # [1, 1, B, D_x]
    noise: Noise
    logits_y: Any  # [N, B, K]
    context: Any

    def __call__(self, y: Any) -> Any:
        return self.model.bound_of(y, self)

    @property
    def bk(self) -> Any:
        return self.model.bk

    @property
    def n_classes(self) -> int:
        return self.model.config.n_classes

    def with_noise_for_each_class(self, rng: Any) -> ClassBound:
        """f with an ε_z of its own for each class, [N, K, B, D_z], as the 2016 blog post draws it."""
        n, _, batch, d_z = self.noise.eps_z.shape
        eps_z = self.bk.normal(rng, (n, self.n_classes, batch, d_z))
        return dataclasses.replace(self, noise=dataclasses.replace(self.noise, eps_z=eps_z))


class Model(abc.ABC):
    """The networks of a deep generative model with a class y, and its f(y).

    A subclass makes its networks in `_make_networks` and says in `class_bound`, `bound_of` and `class_logits` how they
    are used.
    """

    name = ""
    has_a = False  # whether q(y|a,x) depends on draws of a

    def __init__(self, bk: Any, config: ModelConfig, seed: int = 0) -> None:
        self.bk = bk
        self.config = config
        self._rng = np.random.default_rng(seed)
        self.networks: list[Network] = []
        self._make_networks()
        self.log_p_y = -math.log(config.n_classes)

    @abc.abstractmethod
    def _make_networks(self) -> None:
        """Makes the networks by `_network`, always in the same order, for they draw from one generator."""

    @abc.abstractmethod
    def class_bound(self, x: Any, noise: Noise) -> ClassBound:
        """f for pixels x [B, D_x] in [0, 1], with q(y|a,x)'s logits."""

    @abc.abstractmethod
    def bound_of(self, y: Any, f: ClassBound) -> Any:
        """f(y): [N, C, B], in nats, in the wide dtype."""

    @abc.abstractmethod
    def class_logits(self, x: Any, noise: Noise) -> Any:
        """The logits of q(y|a,x) alone. x [B, D_x] → [N, B, K]"""

    @abc.abstractmethod
    def draw_noise(self, rng: Any, batch: int, n_mc: int = 1) -> Noise:
        """ε_a, then ε_z, drawn once a step."""

    def _network(self, name: str, n_out: int, **inputs: int) -> Network:
        n_layers = self.config.class_layers if "y" in inputs else self.config.layers
        network = Network(self.bk, name, inputs, n_out, n_layers, self.config, self._rng)
        self.networks.append(network)
        return network

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters by name, such as "q_y_ax/W_x"."""
        return {key: p for network in self.networks for key, p in network.parameters.items()}

    def _gaussian(self, out: Any) -> tuple[Any, Any]:
        """Mean and log σ² of a Gaussian head: [..., 2D] → [..., D], [..., D]"""
        mean, log_var = self.bk.split_last(out)
        limits = self.config.log_var_limits
        return mean, log_var if limits is None else self.bk.clip(log_var, *limits)

    def _log_p_z_over_q_z(self, z: Any, log_var_z: Any, eps_z: Any) -> Any:
        """log p(z) − log q(z|·) at z = μ + σ ε."""
        log_p_z = standard_gaussian_log_density(self.bk, z)
        return log_p_z - gaussian_log_density_of_draw(self.bk, eps_z, log_var_z)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within it no graph is kept, and batch norm uses its running averages."""
        before = [network.training for network in self.networks]
        for network in self.networks:
            network.training = False
        try:
            with self.bk.no_gradient():
                yield
        finally:
            for network, training in zip(self.networks, before, strict=True):
                network.training = training

    def q_y(self, x: Any, rng: Any, n_a: int = 1) -> Any:
        """q(y|a,x) averaged over `n_a` draws of a. x [B, D_x] → [B, K]"""
        with self.evaluating():
            logits = self.class_logits(x, self.draw_noise(rng, x.shape[0], n_a))
            return self.bk.mean(self.bk.softmax(logits), axis=0)
