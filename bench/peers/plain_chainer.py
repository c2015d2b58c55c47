"""The unlabelled bound of an ADGM by summation, as one writes it in Chainer: inputs tiled K times, y a one-hot matrix.

Chainer's own layers and functions, with one draw of a.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gsbench.backends.chainer_import import chainer

F, L = chainer.functions, chainer.links


class MLP(chainer.ChainList):
    """Linear layers with ReLU between them."""

    def __init__(self, sizes: list[int]) -> None:
        super().__init__(*(L.Linear(d, h) for d, h in itertools.pairwise(sizes)))

    def __call__(self, *inputs: Any) -> Any:
        h = F.concat(inputs, axis=1) if len(inputs) > 1 else inputs[0]
        *hidden, last = self.children()
        for layer in hidden:
            h = F.relu(layer(h))
        return last(h)


class PlainADGM(chainer.Chain):
    """The ADGM of a `ModelConfig` with relu and no norm."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        c = self.config = config
        if (c.nonlinearity, c.norm, c.log_var_limits) != ("relu", "none", None):
            raise ValueError("the plain formulation is written for relu, no norm and unclipped log variances")
        hidden, class_hidden = [c.units] * c.layers, [c.units] * c.class_layers
        with self.init_scope():
            self.q_a_x = MLP([c.n_pixels, *hidden, 2 * c.d_a])
            self.q_y_ax = MLP([c.d_a + c.n_pixels, *hidden, c.n_classes])
            self.q_z_axy = MLP([c.d_a + c.n_pixels + c.n_classes, *class_hidden, 2 * c.d_z])
            self.p_x_yz = MLP([c.n_classes + c.d_z, *class_hidden, c.n_pixels])
            self.p_a_xyz = MLP([c.n_pixels + c.n_classes + c.d_z, *class_hidden, 2 * c.d_a])

    def copy_weights(self, model: Any) -> None:
        """Takes the weights of a gsbench ADGM of the same config, its split first layers concatenated."""
        for network in model.networks:
            mine = getattr(self, network.name)
            values = {key.split("/")[1]: model.bk.to_numpy(p) for key, p in network.parameters.items()}
            first = [w.T if key == "W_y" else w for key, w in values.items() if key.startswith("W_")]
            for i, layer in enumerate(mine.children(), start=1):
                layer.W.array[...] = np.concatenate(first, axis=1) if i == 1 else values[f"W{i}"]
                layer.b.array[...] = values[f"b{i}"]

    def unlabelled_bound(self, x: Any, eps_a: Any, eps_z: Any) -> Any:
        """U(x) with the sum over all classes in one batch. x [B, D_x], eps_a [B, D_a], eps_z [B, D_z] → [B]"""
        n, k = len(x), self.config.n_classes
        mean_a, log_var_a = F.split_axis(self.q_a_x(x), 2, axis=1)
        a = F.gaussian(mean_a, log_var_a, eps=eps_a)
        log_q_y = F.log_softmax(self.q_y_ax(a, x))  # [B, K]

        y_k = np.repeat(np.eye(k, dtype=x.dtype), n, axis=0)  # [K·B, K]
        x_k, a_k, eps_k = np.tile(x, (k, 1)), F.tile(a, (k, 1)), np.tile(eps_z, (k, 1))  # [K·B, …]
        mean_z, log_var_z = F.split_axis(self.q_z_axy(a_k, x_k, y_k), 2, axis=1)
        z = F.gaussian(mean_z, log_var_z, eps=eps_k)
        mean_p, log_var_p = F.split_axis(self.p_a_xyz(x_k, y_k, z), 2, axis=1)
        zeros = np.zeros_like(z.array)
        f = (
            -F.sum(F.bernoulli_nll(x_k, self.p_x_yz(y_k, z), reduce="no"), axis=1)
            - F.sum(F.gaussian_nll(a_k, mean_p, log_var_p, reduce="no"), axis=1)
            - F.sum(F.gaussian_nll(z, zeros, zeros, reduce="no"), axis=1)
            + F.sum(F.gaussian_nll(z, mean_z, log_var_z, reduce="no"), axis=1)
            - float(np.log(k))
        )
        f = F.transpose(F.reshape(f, (k, n)))  # [B, K]
        log_q_a = -F.sum(F.gaussian_nll(a, mean_a, log_var_a, reduce="no"), axis=1)
        return F.sum(F.exp(log_q_y) * (f - log_q_y), axis=1) - log_q_a
