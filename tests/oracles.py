"""The oracle of gsbench's tests: the same quantities in plain NumPy and float64.

It is written from the formulas, not from the code, and does everything that the code avoids: every network
runs on the concatenated input [x, a, one_hot(y)], every sum is a loop over draws and classes, every Gaussian
density is computed at the drawn point. Only the parameters' values come from the model. Rows are examples: x
[R, D_x], a [R, D_a], y [R, K].
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# Chainer's batch normalisation: σ² + ε under the root, running average with this decay.
BATCH_NORM_EPSILON = 2e-5
BATCH_NORM_DECAY = 0.9


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """logits − log Σ_k exp(logits_k), over the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits))


def one_hot(index: Any, n_classes: int) -> np.ndarray:
    """int [...] → [..., K]"""
    return np.eye(n_classes)[np.asarray(index)]


def soft_point(log_q: np.ndarray, g: np.ndarray, tau: float) -> np.ndarray:
    """s_i = exp((log q_i + g_i)/τ) / Σ_j exp((log q_j + g_j)/τ)"""
    return softmax((log_q + g) / tau)


def hard_point(log_q: np.ndarray, g: np.ndarray) -> np.ndarray:
    """D = one_hot argmax_i(log q_i + g_i)"""
    return one_hot(np.argmax(log_q + g, axis=-1), log_q.shape[-1])


def jacobian(p: np.ndarray) -> np.ndarray:
    """J(p) = diag(p) − p pᵀ, for one p [K]"""
    return np.diag(p) - np.outer(p, p)


def entropy(log_q: np.ndarray) -> np.ndarray:
    """−Σ_k q_k log q_k"""
    return -(np.exp(log_q) * log_q).sum(axis=-1)


def gaussian_log_density(x: np.ndarray, mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """Σ_d log [ exp(−(x − μ)²/2σ²) / √(2πσ²) ]"""
    return (-((x - mean) ** 2) / (2 * np.exp(log_var)) - 0.5 * np.log(2 * np.pi) - 0.5 * log_var).sum(axis=-1)


def bernoulli_log_density(x: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Σ_d [ x log σ(l) + (1 − x) log(1 − σ(l)) ]"""
    log_p, log_not_p = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return (x * log_p + (1 - x) * log_not_p).sum(axis=-1)


# The family of estimators, for one example: logits θ [K], a class bound f [K] (its values at e_k), Exp(1) draws E.


def gumbel_given(log_q: np.ndarray, i: int, E: np.ndarray) -> np.ndarray:
    """The sums G = log q + g given that i is their argmax, from E [K]: G_i = −log E_i, and for j ≠ i
    G_j = −logaddexp(log E_j − log q_j, log E_i).
    """
    G = np.empty(len(log_q))
    for j in range(len(log_q)):
        G[j] = -math.log(E[i]) if j == i else -np.logaddexp(math.log(E[j]) - log_q[j], math.log(E[i]))
    return G


def gumbel_rao_jacobian(log_q: np.ndarray, i: int, E: np.ndarray, tau: float) -> np.ndarray:
    """The mean over E [M, K] of J(softmax(G/τ))/τ, G the sums given that i is their argmax."""
    return np.mean([jacobian(softmax(gumbel_given(log_q, i, E_m) / tau)) / tau for E_m in E], axis=0)


def reinmax_jacobian(logits: np.ndarray, i: int, tau: float) -> np.ndarray:
    """2 J(p) − ½ J(q), p = (softmax(θ/τ) + D)/2, q = softmax(θ), D = e_i"""
    p = (softmax(logits / tau) + one_hot(i, len(logits))) / 2
    return 2 * jacobian(p) - 0.5 * jacobian(softmax(logits))


def exact_gradient(logits: np.ndarray, f: np.ndarray) -> np.ndarray:
    """∂/∂θ Σ_k q_k f_k = Σ_k f_k q_k (e_k − q)"""
    q = softmax(logits)
    return sum((f[k] * q[k] * (one_hot(k, len(q)) - q) for k in range(len(q))), np.zeros(len(q)))


def score_function(logits: np.ndarray, f: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """Value and gradient with respect to θ from S hard draws y: mean_s f(y_s), and
    mean_s (f(y_s) − mean_{t≠s} f(y_t)) ∇log q(y_s), with ∇log q(k) = e_k − q.
    """
    q, gradient = softmax(logits), np.zeros(len(logits))
    for s in range(len(y)):
        others = [f[y[t]] for t in range(len(y)) if t != s]
        gradient += (f[y[s]] - sum(others) / len(others)) * (one_hot(y[s], len(q)) - q) / len(y)
    return sum(f[k] for k in y) / len(y), gradient


def likeliest(logits: np.ndarray, m: int) -> list[int]:
    """The m classes of largest logit."""
    return sorted(range(len(logits)), key=lambda k: -logits[k])[:m]


def prefix(logits: np.ndarray, m: int, mass: float = 0.0, most: int | None = None) -> list[int]:
    """The shortest prefix of the classes by falling q that has m of them or more and holds `mass`; at most `most`, and
    at most K − 1.
    """
    q, C = softmax(logits), []
    for k in likeliest(logits, min(most or len(q), len(q) - 1)):
        if len(C) >= m and sum(q[k] for k in C) >= mass:
            break
        C.append(k)
    return C


def baseline(logits: np.ndarray, f: np.ndarray, C: list[int]) -> float:
    """b = Σ_C q_k f_k / q_C"""
    q = softmax(logits)
    return sum(q[k] * f[k] for k in C) / sum(q[k] for k in C)


def sum_and_sample(logits: np.ndarray, f: np.ndarray, C: list[int], y: int) -> tuple[float, np.ndarray]:
    """Value and gradient with respect to θ, with y drawn from the rest: Σ_C q_k f_k + (1 − q_C) f(y), and
    Σ_C ∇q_k (f_k − b) + (1 − q_C) (f(y) − b) ∇log q(y).
    """
    q, b = softmax(logits), baseline(logits, f, C)
    of_rest = sum(q[k] for k in range(len(q)) if k not in C)
    value, gradient = of_rest * f[y], of_rest * (f[y] - b) * (one_hot(y, len(q)) - q)
    for k in C:
        value += q[k] * f[k]
        gradient = gradient + q[k] * (one_hot(k, len(q)) - q) * (f[k] - b)
    return value, gradient


def ordered_probability(q: np.ndarray, order: tuple[int, ...], without: tuple[int, ...] = ()) -> float:
    """The probability to draw the classes in this order without replacement, after `without` were drawn."""
    left, p = 1 - sum(q[k] for k in without), 1.0
    for k in order:
        p *= q[k] / left
        left -= q[k]
    return p


def set_probability(q: np.ndarray, S: list[int], without: tuple[int, ...] = ()) -> float:
    """p^{D∖without}(S): over all orders."""
    return sum(ordered_probability(q, order, without) for order in itertools.permutations(S))


def unordered_set(logits: np.ndarray, f: np.ndarray, S: list[int]) -> tuple[float, np.ndarray]:
    """Value and gradient with respect to θ, where the classes S were drawn: Σ_S q_s R(S, s) f_s, and
    Σ_S ∇q_s R(S, s) (f_s − Σ_{s'} q_{s'} R^{D∖s}(S, s') f_{s'}), with R^{D∖s}(S, s) = 1.
    """
    q = softmax(logits)

    def but(*gone: int) -> list[int]:
        return [k for k in S if k not in gone]

    value, gradient = 0.0, np.zeros(len(q))
    for s in S:
        R = set_probability(q, but(s), (s,)) / set_probability(q, S)
        b = q[s] * f[s]
        for t in but(s):
            b += q[t] * f[t] * set_probability(q, but(s, t), (s, t)) / set_probability(q, but(s), (s,))
        value += q[s] * R * f[s]
        gradient += q[s] * (one_hot(s, len(q)) - q) * R * (f[s] - b)
    return value, gradient


def zgr_jacobian(logits: np.ndarray, i: int) -> np.ndarray:
    """½ J(q) + ½ (D − q)(D − q)ᵀ, D = e_i"""
    q = softmax(logits)
    off = one_hot(i, len(q)) - q
    return 0.5 * jacobian(q) + 0.5 * np.outer(off, off)


def sparsemax_threshold(x: np.ndarray) -> np.ndarray:
    """The t with Σ_k max(0, x_k − t) = 1, by bisection: [..., K] → [...]. The largest of each row must be 0. Then t is
    in [−1, 0].
    """
    low, high = np.full(x.shape[:-1], -1.0), np.zeros(x.shape[:-1])
    for _ in range(60):
        middle = (low + high) / 2
        too_low = np.maximum(x - middle[..., None], 0).sum(axis=-1) > 1
        low, high = np.where(too_low, middle, low), np.where(too_low, high, middle)
    return (low + high) / 2


def sparsemax(logits: np.ndarray) -> np.ndarray:
    """w_k = max(0, x_k − t) with Σ_k w_k = 1, over the last axis."""
    x = logits - logits.max(axis=-1, keepdims=True)
    return np.maximum(x - sparsemax_threshold(x)[..., None], 0)


def sparsemax_jacobian(w: np.ndarray) -> np.ndarray:
    """diag(s) − s sᵀ/|S|, s the indicator of the support S of w [K]"""
    s = (w > 0).astype(float)
    return np.diag(s) - np.outer(s, s) / s.sum()


def sparsemax_loss(logits: np.ndarray, y: int) -> float:
    """−x_y + ½ Σ_{k ∈ S} (x_k² − t²) + ½ (Martins & Astudillo 2016, eq. 16)"""
    x = logits - logits.max()
    t = float(sparsemax_threshold(x))
    return -x[y] + 0.5 * sum(x_k**2 - t**2 for x_k in x if x_k > t) + 0.5


def point_entropy(w: np.ndarray) -> np.ndarray:
    """−Σ_k w_k log w_k over the entries that are not 0, over the last axis."""
    return np.array([-sum(p * math.log(p) for p in row if p > 0) for row in w.reshape(-1, w.shape[-1])]).reshape(
        w.shape[:-1]
    )


class Oracle:
    """ADGM or M2 with the parameters of `model`, copied.

    `statistics` maps (network, layer) to the mean and variance that batch norm uses. With None, batch norm uses
    the statistics of its rows and keeps them in `seen` as (mean, unbiased variance).
    """

    def __init__(self, model: Any) -> None:
        self.has_a = {"adgm": True, "m2": False}[model.name]
        self.config = model.config
        self.parameters = {
            name: np.array(model.bk.to_numpy(p), dtype=np.float64) for name, p in model.parameters.items()
        }
        self.statistics: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] | None = None
        self.seen: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}

    @contextlib.contextmanager
    def moved(self, name: str, step: np.ndarray) -> Iterator[None]:
        """A context in which the parameter array `name` is moved by `step`."""
        before = self.parameters[name]
        self.parameters[name] = before + step
        try:
            yield
        finally:
            self.parameters[name] = before

    def slope(self, value: Callable[[], float], name: str, direction: np.ndarray, h: float = 1e-5) -> float:
        """The derivative of value() along `direction` in the parameters `name`, by central differences."""
        with self.moved(name, h * direction):
            up = value()
        with self.moved(name, -h * direction):
            down = value()
        return (up - down) / (2 * h)

    # Networks

    def network(self, name: str, **inputs: np.ndarray) -> np.ndarray:
        """The network on the concatenation of its inputs, in the order given: [R, ΣD] → [R, n_out]"""
        P = self.parameters
        W = np.concatenate([P[f"{name}/W_{u}"].T if u == "y" else P[f"{name}/W_{u}"] for u in inputs], axis=1)
        h = np.concatenate(list(inputs.values()), axis=1) @ W.T
        layer = 1
        while (W_next := P.get(f"{name}/W{layer + 1}")) is not None:
            h = self.nonlinearity(self.normalised(h, name, layer)) @ W_next.T
            layer += 1
        return h + P[f"{name}/b{layer}"]

    def normalised(self, h: np.ndarray, name: str, layer: int) -> np.ndarray:
        b = self.parameters[f"{name}/b{layer}"]
        if self.config.norm == "none":
            return h + b
        if self.statistics is None:
            mean, var = h.mean(axis=0), h.var(axis=0)
            self.seen[name, layer] = (mean, h.var(axis=0, ddof=1))
        else:
            mean, var = self.statistics[name, layer]
        return self.parameters[f"{name}/gamma{layer}"] * (h - mean) / np.sqrt(var + BATCH_NORM_EPSILON) + b

    def nonlinearity(self, h: np.ndarray) -> np.ndarray:
        return np.where(h > 0, h, 0.0 if self.config.nonlinearity == "relu" else np.expm1(np.minimum(h, 0)))

    def gaussian(self, name: str, **inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log σ², clipped once where the config has limits."""
        mean, log_var = np.split(self.network(name, **inputs), 2, axis=1)
        limits = self.config.log_var_limits
        return mean, log_var if limits is None else np.clip(log_var, *limits)

    # The model

    def logits(self, x: np.ndarray, eps_a: Any) -> np.ndarray:
        """The logits of q(y|a,x), a drawn with ε_a [R, D_a]: [R, K]"""
        if not self.has_a:
            return self.network("q_y_x", x=x)
        mean_a, log_var_a = self.gaussian("q_a_x", x=x)
        return self.network("q_y_ax", x=x, a=mean_a + np.exp(log_var_a / 2) * eps_a)

    def bound(self, x: np.ndarray, eps_a: Any, eps_z: np.ndarray, y: np.ndarray) -> np.ndarray:
        """f(y) = log p(x|y,z) + log p(a|x,y,z) + log p(y) + log p(z) − log q(a|x) − log q(z|a,x,y): [R]"""
        f = np.full(len(x), math.log(1 / self.config.n_classes))
        if self.has_a:
            mean_a, log_var_a = self.gaussian("q_a_x", x=x)
            a = mean_a + np.exp(log_var_a / 2) * eps_a
            f = f - gaussian_log_density(a, mean_a, log_var_a)
            mean_z, log_var_z = self.gaussian("q_z_axy", x=x, a=a, y=y)
        else:
            mean_z, log_var_z = self.gaussian("q_z_xy", x=x, y=y)
        z = mean_z + np.exp(log_var_z / 2) * eps_z
        f = (
            f
            - gaussian_log_density(z, mean_z, log_var_z)
            + gaussian_log_density(z, np.zeros_like(z), np.zeros_like(z))
        )
        f = f + bernoulli_log_density(x, self.network("p_x_yz", y=y, z=z))
        if self.has_a:
            f = f + gaussian_log_density(a, *self.gaussian("p_a_xyz", x=x, y=y, z=z))
        return f

    # The bounds. The first axis of noise is the draw: ε_a [N, B, D_a] (or [N] of None), ε_z [N, B, D_z].

    def class_bounds(self, x: np.ndarray, eps_a: Any, eps_z: np.ndarray) -> np.ndarray:
        """f(e_k) for each class, all N·K·B rows in one batch: [N, B, K]"""
        (N, B), K = eps_z.shape[:2], self.config.n_classes
        return self.bound(
            np.tile(x, (N * K, 1)),
            np.concatenate([eps_a[n] for n in range(N) for _ in range(K)]) if self.has_a else None,
            np.concatenate([eps_z[n] for n in range(N) for _ in range(K)]),
            np.tile(np.repeat(np.eye(K), B, axis=0), (N, 1)),
        ).reshape(N, K, B).transpose(0, 2, 1)  # fmt: skip

    def unlabelled(
        self, x: np.ndarray, eps_a: Any, eps_z: np.ndarray, weights: Callable[[np.ndarray], np.ndarray] = softmax
    ) -> np.ndarray:
        """U(x) = 1/N Σ_l { Σ_k w(k|a_l,x) f(e_k) + H(w(·|a_l,x)) }, w = weights(logits): [B]"""
        f = self.class_bounds(x, eps_a, eps_z)
        w = weights(np.stack([self.logits(x, eps_a[n]) for n in range(len(eps_z))]))
        return ((w * f).sum(axis=-1) + point_entropy(w)).mean(axis=0)

    def sampled(
        self, x: np.ndarray, eps_a: Any, eps_z: np.ndarray, g: np.ndarray, point: Callable[..., np.ndarray]
    ) -> np.ndarray:
        """1/N Σ_l { 1/S Σ_s f(y_ls) + H(q) }, y_ls = point(log q, g_ls), noise g [N, S, B, K]: [B]"""
        total = np.zeros(len(x))
        for n in range(len(eps_z)):
            log_q = log_softmax(self.logits(x, eps_a[n]))
            for g_s in g[n]:
                total += self.bound(x, eps_a[n], eps_z[n], point(log_q, g_s)) / len(g[n])
            total += entropy(log_q)
        return total / len(eps_z)

    def labelled(
        self, x: np.ndarray, eps_a: Any, eps_z: np.ndarray, y: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """L(x, y) = 1/N Σ_l f(e_y), and 1/N Σ_l log q(y|a_l,x): [B], [B]"""
        bound, log_q_y = np.zeros(len(x)), np.zeros(len(x))
        for n in range(len(eps_z)):
            bound += self.bound(x, eps_a[n], eps_z[n], one_hot(y, self.config.n_classes))
            log_q_y += log_softmax(self.logits(x, eps_a[n]))[np.arange(len(x)), y]
        return bound / len(eps_z), log_q_y / len(eps_z)

    def unlabelled_in_one_batch(self, x: np.ndarray, eps_a: Any, eps_z: np.ndarray) -> np.ndarray:
        """U(x) with all N·B rows of q(y|a,x) in one batch and all N·K·B rows of f in another: batch norm's
        U.
        """
        (N, B), K = eps_z.shape[:2], self.config.n_classes
        rows_x, rows_a = np.tile(x, (N, 1)), np.concatenate(eps_a) if self.has_a else None
        log_q = log_softmax(self.logits(rows_x, rows_a)).reshape(N, B, K)
        f = self.class_bounds(x, eps_a, eps_z)
        return ((np.exp(log_q) * f).sum(axis=-1) + entropy(log_q)).mean(axis=0)
