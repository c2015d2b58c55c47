"""Log densities, summed over the last axis (the event): [..., D] → [...], in nats and in the backend's wide dtype.

Pure functions of a backend `bk` and arrays that broadcast. Gaussians are diagonal, given by mean and log σ².
"""

from __future__ import annotations

import math
from typing import Any

LOG_2PI = math.log(2 * math.pi)


def gaussian_log_density(bk: Any, x: Any, mean: Any, log_var: Any) -> Any:
    """log N(x; μ, σ²) = −½ Σ_d [ log 2π + log σ²_d + (x_d − μ_d)²/σ²_d ]"""
    difference = x - mean
    return -0.5 * (x.shape[-1] * LOG_2PI + bk.sum(log_var + difference * difference * bk.exp(-log_var), axis=-1))


def standard_gaussian_log_density(bk: Any, x: Any) -> Any:
    """log N(x; 0, I) = −½ Σ_d [ log 2π + x_d² ]"""
    return -0.5 * (x.shape[-1] * LOG_2PI + bk.sum(x * x, axis=-1))


def gaussian_log_density_of_draw(bk: Any, noise: Any, log_var: Any) -> Any:
    """log N(μ + σ ε; μ, σ²) = −½ Σ_d [ log 2π + log σ²_d + ε_d² ]: the density of a reparametrised draw at itself.

    Its gradient by μ and log σ² is the whole one, through the draw and the density together.
    """
    return -0.5 * (noise.shape[-1] * LOG_2PI + bk.sum(log_var + noise * noise, axis=-1))


def gaussian_draw(bk: Any, mean: Any, log_var: Any, noise: Any) -> Any:
    """x = μ + σ ε"""
    return mean + bk.exp(0.5 * log_var) * noise


def bernoulli_log_density(bk: Any, x: Any, logits: Any) -> Any:
    """log Bernoulli(x; σ(l)) = Σ_d [ x_d l_d − log(1 + exp l_d) ], for x in [0, 1]"""
    return bk.sum(x * logits - bk.softplus(logits), axis=-1)
