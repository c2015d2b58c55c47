"""An ADGM as usually written in PyTorch: inputs are tiled K times for the sum over classes, and y is one-hot.

It uses PyTorch's own layers and functions, and one draw of a. In bfloat16 it runs under autocast.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from peers import ALPHA, LEARNING_RATE, kind
from peers.torch_networks import Networks, autocast, parameter_dtype, torch_versions

LOG_2PI = math.log(2 * math.pi)


def log_normal(x: Any, mean: Any, log_var: Any) -> Any:
    """log N(x; μ, σ²), summed over the event: [..., D] → [...]"""
    return -0.5 * (LOG_2PI + log_var + (x - mean) ** 2 * torch.exp(-log_var)).sum(-1)


def log_standard_normal(x: Any) -> Any:
    """log N(x; 0, I), summed over the event: [..., D] → [...]"""
    return -0.5 * (LOG_2PI + x**2).sum(-1)


def draw(mean: Any, log_var: Any, eps: Any) -> Any:
    """μ + σ ε"""
    return mean + torch.exp(0.5 * log_var) * eps


class PlainADGM(Networks):
    """The ADGM of a `ModelConfig` with relu and no norm. Every bound is per example and is maximised."""

    _y_k: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.register_buffer("_y_k", torch.empty(0, config.n_classes), persistent=False)

    def recognise(self, x: Any, eps_a: Any) -> tuple[Any, Any, Any]:
        """x [B, D_x], eps_a [B, D_a] → a [B, D_a], log q(a|x) [B], log q(y|a,x) [B, K]"""
        mean_a, log_var_a = self.q_a_x(x).chunk(2, dim=1)
        a = draw(mean_a, log_var_a, eps_a)
        log_q_y = F.log_softmax(self.q_y_ax(torch.cat([a, x], dim=1)), dim=1)
        return a, log_normal(a, mean_a, log_var_a), log_q_y

    def f(self, x: Any, a: Any, y: Any, eps_z: Any) -> Any:
        """f(y) + log q(a|x) for rows x [R, D_x], a [R, D_a], y [R, K], eps_z [R, D_z] → [R]"""
        mean_z, log_var_z = self.q_z_axy(torch.cat([a, x, y], dim=1)).chunk(2, dim=1)
        z = draw(mean_z, log_var_z, eps_z)
        mean_p, log_var_p = self.p_a_xyz(torch.cat([x, y, z], dim=1)).chunk(2, dim=1)
        logits_x = self.p_x_yz(torch.cat([y, z], dim=1))
        log_p_x = -F.binary_cross_entropy_with_logits(logits_x, x, reduction="none").sum(1)
        log_p_z_over_q_z = log_standard_normal(z) - log_normal(z, mean_z, log_var_z)
        return log_p_x + log_normal(a, mean_p, log_var_p) + log_p_z_over_q_z - math.log(self.config.n_classes)

    def all_classes(self, n: int) -> Any:
        """Every class as n one-hot rows, [K·n, K]: a constant, made at the first call and kept."""
        if len(self._y_k) != self.config.n_classes * n:
            eye = torch.eye(self.config.n_classes, dtype=self._y_k.dtype)
            self._y_k = eye.repeat_interleave(n, dim=0)
        return self._y_k

    def unlabelled_bound(self, x: Any, eps_a: Any, eps_z: Any) -> Any:
        """U(x) with the sum over all classes in one batch. x [B, D_x], eps_a [B, D_a], eps_z [B, D_z] → [B]"""
        n, k = len(x), self.config.n_classes
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        f = self.f(x.repeat(k, 1), a.repeat(k, 1), self.all_classes(n), eps_z.repeat(k, 1))  # [K·B]
        f = f.view(k, n).T  # [B, K]
        return (log_q_y.exp() * (f - log_q_y)).sum(1) - log_q_a

    def sampled_bound(self, x: Any, eps_a: Any, eps_z: Any, tau: float) -> Any:
        """U(x) at one Gumbel-Softmax draw of y. → [B]"""
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        f = self.f(x, a, F.gumbel_softmax(log_q_y, tau), eps_z)
        return f - (log_q_y.exp() * log_q_y).sum(1) - log_q_a

    def labelled_bound(self, x: Any, y: Any, eps_a: Any, eps_z: Any) -> tuple[Any, Any]:
        """L(x, y) and log q(y|a,x) for labels y int [B]. → [B], [B]"""
        a, log_q_a, log_q_y = self.recognise(x, eps_a)
        one_hot = F.one_hot(y, self.config.n_classes).to(x.dtype)
        return self.f(x, a, one_hot, eps_z) - log_q_a, -F.nll_loss(log_q_y, y, reduction="none")


class PlainTorch:
    """The peer: the plain ADGM with PyTorch's Adam and one minibatch."""

    network: type[Any] = PlainADGM
    fused = False  # whether Adam updates all parameters in one call of PyTorch's

    def __init__(self, config: Any, estimator: Any, batch: Any, threads: int, seed: int, dtype: str) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        self._dtype, self._parameters = dtype, parameter_dtype(dtype)
        self.model = self.network(config).to(self._parameters)
        self.copy_weights = self.model.copy_weights
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE, fused=self.fused)
        self._x = torch.from_numpy(batch.x_unlabelled).to(self._parameters)
        self._x_labelled = torch.from_numpy(batch.x_labelled).to(self._parameters)
        self._y = torch.from_numpy(batch.y).long()
        self._tau = estimator.tau if kind(estimator) == "gumbel" else None

    def versions(self) -> dict[str, Any]:
        return torch_versions()

    def unlabelled_step(self) -> None:
        self._optimizer.zero_grad()
        with autocast(self._dtype):
            loss = -self._unlabelled().mean()
        loss.backward()
        self._optimizer.step()

    def step(self) -> None:
        self._optimizer.zero_grad()
        with autocast(self._dtype):
            bound, log_q_y = self.model.labelled_bound(self._x_labelled, self._y, *self._noise(len(self._y)))
            loss = -(bound + ALPHA * log_q_y).mean() - self._unlabelled().mean()
        loss.backward()
        self._optimizer.step()

    def _unlabelled(self) -> Any:
        if self._tau is None:
            return self.model.unlabelled_bound(self._x, *self._noise(len(self._x)))
        return self.model.sampled_bound(self._x, *self._noise(len(self._x)), self._tau)

    def _noise(self, n: int) -> tuple[Any, Any]:
        """eps_a [n, D_a], eps_z [n, D_z], drawn anew"""
        c = self.model.config
        return torch.randn(n, c.d_a, dtype=self._parameters), torch.randn(n, c.d_z, dtype=self._parameters)
