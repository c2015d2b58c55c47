"""An ADGM as one first writes it in JAX: functions of one example, mapped over examples and classes, compiled by jit.

The inputs of a first layer are concatenated, y a one-hot vector, so that vmap tiles x over the classes. One draw of a;
Adam is Optax's. A case in bfloat16 has its products in bfloat16; parameters are cast where they are used.
"""

from __future__ import annotations

import itertools
import math
import os
from typing import Any

import jax
import jax.numpy as jnp
import optax

from peers import ALPHA, LEARNING_RATE, check_config, kind
from peers.weights import concatenated_weights

LOG_2PI = math.log(2 * math.pi)


def log_normal(x: Any, mean: Any, log_var: Any) -> Any:
    """log N(x; μ, σ²), summed over the event: [D] → []"""
    return -0.5 * (LOG_2PI + log_var + (x - mean) ** 2 * jnp.exp(-log_var)).sum()


def log_standard_normal(x: Any) -> Any:
    """log N(x; 0, I), summed over the event: [D] → []"""
    return -0.5 * (LOG_2PI + x**2).sum()


def draw(mean: Any, log_var: Any, eps: Any) -> Any:
    """μ + σ ε"""
    return mean + jnp.exp(0.5 * log_var) * eps


class PlainADGM:
    """The ADGM of a `ModelConfig` with relu and no norm, as functions of its parameters P and of one example.

    P has the layers (W [in, out], b [out]) of each network, by its name. Every bound is maximised.
    """

    def __init__(self, config: Any, dtype: str) -> None:
        check_config(config)
        self.config = config
        self.dtype = jnp.dtype("float64" if dtype == "float64" else "float32")  # of all but the products
        self._products = jnp.dtype(dtype)

    def init(self, key: Any) -> Any:
        """P with He's initial weights"""
        c = self.config
        hidden, class_hidden = [c.units] * c.layers, [c.units] * c.class_layers
        sizes = {
            "q_a_x": (c.n_pixels, *hidden, 2 * c.d_a),
            "q_y_ax": (c.d_a + c.n_pixels, *hidden, c.n_classes),
            "q_z_axy": (c.d_a + c.n_pixels + c.n_classes, *class_hidden, 2 * c.d_z),
            "p_x_yz": (c.n_classes + c.d_z, *class_hidden, c.n_pixels),
            "p_a_xyz": (c.n_pixels + c.n_classes + c.d_z, *class_hidden, 2 * c.d_a),
        }
        weight = jax.nn.initializers.he_normal()
        keys = iter(jax.random.split(key, sum(map(len, sizes.values()))))
        return {
            name: [
                (weight(next(keys), shape, self.dtype), jnp.zeros(shape[1], self.dtype))
                for shape in itertools.pairwise(of)
            ]
            for name, of in sizes.items()
        }

    def weights_of(self, model: Any) -> Any:
        """P with the weights of a gsbench ADGM of the same config"""
        layers = concatenated_weights(model).items()
        return {name: [(jnp.array(w.T, self.dtype), jnp.array(b, self.dtype)) for w, b in of] for name, of in layers}

    def mlp(self, layers: Any, *inputs: Any) -> Any:
        """Linear layers with ReLU between them, over the concatenated inputs."""
        h = jnp.concatenate(inputs)
        for i, (w, b) in enumerate(layers):
            h = jax.nn.relu(h) if i else h
            h = h.astype(self._products) @ w.astype(self._products) + b.astype(self._products)
        return h.astype(self.dtype)

    def recognise(self, P: Any, x: Any, eps_a: Any) -> tuple[Any, Any, Any]:
        """x [D_x], eps_a [D_a] → a [D_a], log q(a|x) [], log q(y|a,x) [K]"""
        mean_a, log_var_a = jnp.split(self.mlp(P["q_a_x"], x), 2)
        a = draw(mean_a, log_var_a, eps_a)
        return a, log_normal(a, mean_a, log_var_a), jax.nn.log_softmax(self.mlp(P["q_y_ax"], a, x))

    def f(self, P: Any, x: Any, a: Any, y: Any, eps_z: Any) -> Any:
        """f(y) + log q(a|x) for x [D_x], a [D_a], y [K], eps_z [D_z] → []"""
        mean_z, log_var_z = jnp.split(self.mlp(P["q_z_axy"], a, x, y), 2)
        z = draw(mean_z, log_var_z, eps_z)
        mean_p, log_var_p = jnp.split(self.mlp(P["p_a_xyz"], x, y, z), 2)
        log_p_x = -optax.sigmoid_binary_cross_entropy(self.mlp(P["p_x_yz"], y, z), x).sum()
        log_p_z_over_q_z = log_standard_normal(z) - log_normal(z, mean_z, log_var_z)
        return log_p_x + log_normal(a, mean_p, log_var_p) + log_p_z_over_q_z - math.log(self.config.n_classes)

    def unlabelled_bound(self, P: Any, x: Any, eps_a: Any, eps_z: Any) -> Any:
        """U(x) with the sum over all classes. → []"""
        a, log_q_a, log_q_y = self.recognise(P, x, eps_a)
        y = jnp.eye(self.config.n_classes, dtype=self.dtype)
        f = jax.vmap(self.f, in_axes=(None, None, None, 0, None))(P, x, a, y, eps_z)  # [K]
        return (jnp.exp(log_q_y) * (f - log_q_y)).sum() - log_q_a

    def sampled_bound(self, P: Any, x: Any, eps_a: Any, eps_z: Any, g: Any, tau: float) -> Any:
        """U(x) at one Gumbel-Softmax draw of y, with Gumbel noise g [K]. → []"""
        a, log_q_a, log_q_y = self.recognise(P, x, eps_a)
        f = self.f(P, x, a, jax.nn.softmax((log_q_y + g) / tau), eps_z)
        return f - (jnp.exp(log_q_y) * log_q_y).sum() - log_q_a

    def labelled_bound(self, P: Any, x: Any, y: Any, eps_a: Any, eps_z: Any) -> tuple[Any, Any]:
        """L(x, y) and log q(y|a,x) for a label y int []. → [], []"""
        a, log_q_a, log_q_y = self.recognise(P, x, eps_a)
        one_hot = jax.nn.one_hot(y, self.config.n_classes, dtype=self.dtype)
        return self.f(P, x, a, one_hot, eps_z) - log_q_a, log_q_y[y]


class PlainJax:
    """The peer: the plain ADGM with Optax's Adam and one minibatch; a step is one compiled function."""

    def __init__(self, config: Any, estimator: Any, batch: Any, threads: int, seed: int, dtype: str) -> None:
        os.environ["NPROC"] = str(threads)  # XLA makes so many threads when it starts
        jax.config.update("jax_platforms", "cpu")
        if dtype == "float64":
            jax.config.update("jax_enable_x64", True)
        self.model = PlainADGM(config, dtype)
        self._tau = estimator.tau if kind(estimator) == "gumbel" else None
        self._x, self._x_labelled = (jnp.array(x, self.model.dtype) for x in (batch.x_unlabelled, batch.x_labelled))
        self._y = jnp.array(batch.y, jnp.int32)
        key, first = jax.random.split(jax.random.key(seed))
        self._adam = optax.adam(LEARNING_RATE)
        parameters = self.model.init(first)
        self.state = (parameters, self._adam.init(parameters), key)
        self._unlabelled_step = self._compiled(self.unlabelled_loss)
        self._step: Any = self._compiled(self.loss) if kind(estimator) == "gumbel" else None

    def _compiled(self, loss: Any) -> Any:
        """The state after a step on the loss, compiled here and now, in the memory of the state before it"""

        def step(state: Any) -> Any:
            parameters, adam, key = state
            key, once = jax.random.split(key)
            gradients = jax.grad(loss)(parameters, once)
            updates, adam = self._adam.update(gradients, adam)
            return optax.apply_updates(parameters, updates), adam, key

        return jax.jit(step, donate_argnums=0).lower(self.state).compile()

    def copy_weights(self, model: Any) -> None:
        """Takes the weights of a gsbench ADGM of the same config."""
        self.state = (self.model.weights_of(model), *self.state[1:])

    def versions(self) -> dict[str, Any]:
        return {"jax_version": jax.__version__}

    def unlabelled_step(self) -> None:
        self.state = jax.block_until_ready(self._unlabelled_step(self.state))

    def step(self) -> None:
        self.state = jax.block_until_ready(self._step(self.state))

    def unlabelled_loss(self, P: Any, key: Any) -> Any:
        """−mean U(x) of the minibatch, with noise drawn from the key"""
        x, model = self._x, self.model
        if self._tau is None:
            return -jax.vmap(model.unlabelled_bound, (None, 0, 0, 0))(P, x, *self._noise(key, len(x))).mean()
        *eps, g = self._noise(key, len(x), gumbel=True)
        return -jax.vmap(model.sampled_bound, (None, 0, 0, 0, 0, None))(P, x, *eps, g, self._tau).mean()

    def loss(self, P: Any, key: Any) -> Any:
        """The whole training loss of the minibatch"""
        key, other = jax.random.split(key)
        noise = self._noise(other, len(self._y))
        bound, log_q_y = jax.vmap(self.model.labelled_bound, (None, 0, 0, 0, 0))(P, self._x_labelled, self._y, *noise)
        return self.unlabelled_loss(P, key) - (bound + ALPHA * log_q_y).mean()

    def _noise(self, key: Any, n: int, gumbel: bool = False) -> tuple[Any, ...]:
        """eps_a [n, D_a], eps_z [n, D_z], and where asked for Gumbel noise [n, K]"""
        c, dtype = self.model.config, self.model.dtype
        key_a, key_z, key_g = jax.random.split(key, 3)
        eps = jax.random.normal(key_a, (n, c.d_a), dtype), jax.random.normal(key_z, (n, c.d_z), dtype)
        return (*eps, jax.random.gumbel(key_g, (n, c.n_classes), dtype)) if gumbel else eps
