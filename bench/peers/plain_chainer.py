"""An ADGM as usually written in Chainer: inputs are tiled K times for the sum over classes, and y is one-hot.

It uses Chainer's own layers and functions, and one draw of a.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from gsbench.backends.chainer.importing import chainer
from peers import ALPHA, LEARNING_RATE, check_config, kind
from peers.weights import concatenated_weights

F, L = chainer.functions, chainer.links
LOG_2PI = math.log(2 * math.pi)


class MLP(chainer.ChainList):
    """Linear layers with ReLU between them, over the concatenated inputs."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*(L.Linear(d, h) for d, h in itertools.pairwise(sizes)))

    def __call__(self, *inputs: Any) -> Any:
        h = F.concat(inputs, axis=1) if len(inputs) > 1 else inputs[0]
        *hidden, last = self.children()
        for layer in hidden:
            h = F.relu(layer(h))
        return last(h)


def log_normal(x: Any, mean: Any, log_var: Any) -> Any:
    """log N(x; μ, σ²), summed over the event: [R, D] → [R]"""
    return -F.sum(F.gaussian_nll(x, mean, log_var, reduce="no"), axis=1)


def log_standard_normal(x: Any) -> Any:
    """log N(x; 0, I), summed over the event: [R, D] → [R]"""
    return -0.5 * F.sum(LOG_2PI + F.square(x), axis=1)


class PlainADGM(chainer.Chain):
    """The ADGM of a `ModelConfig` with relu and no norm. Every bound is per example and is maximised."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        check_config(config)
        c = self.config = config
        self._y_k = np.empty((0, c.n_classes), dtype=chainer.config.dtype)
        hidden, class_hidden = [c.units] * c.layers, [c.units] * c.class_layers
        with self.init_scope():
            self.q_a_x = MLP(c.n_pixels, *hidden, 2 * c.d_a)
            self.q_y_ax = MLP(c.d_a + c.n_pixels, *hidden, c.n_classes)
            self.q_z_axy = MLP(c.d_a + c.n_pixels + c.n_classes, *class_hidden, 2 * c.d_z)
            self.p_x_yz = MLP(c.n_classes + c.d_z, *class_hidden, c.n_pixels)
            self.p_a_xyz = MLP(c.n_pixels + c.n_classes + c.d_z, *class_hidden, 2 * c.d_a)

    def copy_weights(self, model: Any) -> None:
        """Takes the weights of a gsbench ADGM of the same config."""
        for name, layers in concatenated_weights(model).items():
            for layer, (w, b) in zip(getattr(self, name).children(), layers, strict=True):
                layer.W.array[...], layer.b.array[...] = w, b

    def recognise(self, x: Any, eps_a: Any) -> tuple[Any, Any, Any]:
        """x [B, D_x], eps_a [B, D_a] → a [B, D_a], log q(a|x) [B], log q(y|a,x) [B, K]"""
        mean_a, log_var_a = F.split_axis(self.q_a_x(x), 2, axis=1)
        a = F.gaussian(mean_a, log_var_a, eps=eps_a)
        return a, log_normal(a, mean_a, log_var_a), F.log_softmax(self.q_y_ax(a, x))

    def f(self, x: Any, a: Any, y: Any, eps_z: Any) -> Any:
        """f(y) + log q(a|x) for rows x [R, D_x], a [R, D_a], y [R, K], eps_z [R, D_z] → [R]"""
        mean_z, log_var_z = F.split_axis(self.q_z_axy(a, x, y), 2, axis=1)
        z = F.gaussian(mean_z, log_var_z, eps=eps_z)
        mean_p, log_var_p = F.split_axis(self.p_a_xyz(x, y, z), 2, axis=1)
        log_p_x = -F.sum(F.bernoulli_nll(x, self.p_x_yz(y, z), reduce="no"), axis=1)
        log_p_z_over_q_z = log_standard_normal(z) - log_normal(z, mean_z, log_var_z)
        return log_p_x + log_normal(a, mean_p, log_var_p) + log_p_z_over_q_z - math.log(self.config.n_classes)

    def all_classes(self, n: int) -> np.ndarray:
        """Every class as n one-hot rows, [K·n, K]: a constant, made at the first call and kept."""
        if len(self._y_k) != self.config.n_classes * n:
            self._y_k = np.repeat(np.eye(self.config.n_classes, dtype=self._y_k.dtype), n, axis=0)
        return self._y_k

    def unlabelled_bound(self, x: Any, eps_a: Any, eps_z: Any) -> Any:
        """U(x) with the sum over all classes in one batch. x [B, D_x], eps_a [B, D_a], eps_z [B, D_z] → [B]"""
        n, k = len(x), self.config.n_classes
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        x_k, a_k, eps_k = np.tile(x, (k, 1)), F.tile(a, (k, 1)), np.tile(eps_z, (k, 1))
        f = self.f(x_k, a_k, self.all_classes(n), eps_k)  # [K·B]
        f = F.transpose(F.reshape(f, (k, n)))  # [B, K]
        return F.sum(F.exp(log_q_y) * (f - log_q_y), axis=1) - log_q_a

    def sampled_bound(self, x: Any, eps_a: Any, eps_z: Any, tau: float) -> Any:
        """U(x) at one Gumbel-Softmax draw of y. → [B]"""
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        f = self.f(x, a, F.gumbel_softmax(log_q_y, tau), eps_z)
        return f - F.sum(F.exp(log_q_y) * log_q_y, axis=1) - log_q_a

    def labelled_bound(self, x: Any, y: Any, eps_a: Any, eps_z: Any) -> tuple[Any, Any]:
        """L(x, y) and log q(y|a,x) for labels y int [B]. → [B], [B]"""
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        one_hot = (y[:, None] == np.arange(self.config.n_classes)).astype(x.dtype)  # [B, K]
        return self.f(x, a, one_hot, eps_z) - log_q_a, F.select_item(log_q_y, y)


class PlainChainer:
    """The peer: the plain ADGM with Chainer's Adam and one minibatch."""

    def __init__(self, config: Any, estimator: Any, batch: Any, threads: int, seed: int, dtype: str) -> None:
        # Chainer multiplies with NumPy, whose threads the caller has set.
        with chainer.using_config("dtype", np.dtype(dtype)):
            self.model = PlainADGM(config)
        self.copy_weights = self.model.copy_weights
        self._optimizer = chainer.optimizers.Adam(alpha=LEARNING_RATE).setup(self.model)
        self._dtype, self._rng = np.dtype(dtype), np.random.default_rng(seed)
        self._x, self._x_labelled = (x.astype(dtype) for x in (batch.x_unlabelled, batch.x_labelled))
        self._y = batch.y
        self._tau = estimator.tau if kind(estimator) == "gumbel" else None

    def versions(self) -> dict[str, Any]:
        return {}  # Chainer, NumPy and its BLAS stand in every record

    def unlabelled_step(self) -> None:
        self._update(lambda: -F.mean(self._unlabelled()))

    def step(self) -> None:
        self._update(lambda: -F.mean(self._labelled()) - F.mean(self._unlabelled()))

    def _unlabelled(self) -> Any:
        x = self._x
        if self._tau is None:
            return self.model.unlabelled_bound(x, *self._noise(len(x)))
        return self.model.sampled_bound(x, *self._noise(len(x)), self._tau)

    def _labelled(self) -> Any:
        x = self._x_labelled
        bound, log_q_y = self.model.labelled_bound(x, self._y, *self._noise(len(x)))
        return bound + ALPHA * log_q_y

    def _noise(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """eps_a [n, D_a], eps_z [n, D_z], drawn anew"""
        c = self.model.config
        return (
            self._rng.standard_normal((n, c.d_a), dtype=self._dtype),
            self._rng.standard_normal((n, c.d_z), dtype=self._dtype),
        )

    def _update(self, loss: Any) -> None:
        with chainer.using_config("type_check", True):  # Chainer's default, which our backend turns off
            self.model.cleargrads()
            loss().backward()
            self._optimizer.update()
