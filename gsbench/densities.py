"""Log densities, summed over the last axis (the event): [..., D] → [...], in nats and in the backend's wide dtype.

Pure functions of a backend `bk` and arrays that broadcast. Gaussians are diagonal. A *head* [..., 2D] is the output of
a network that stands for one: its mean μ beside log σ²; `limits` clips every log σ² once, for density and draw alike.
The backend has value and derivative of each in one pass.
"""

from __future__ import annotations

from typing import Any

Limits = tuple[float, float] | None


def gaussian_log_density(bk: Any, x: Any, head: Any, limits: Limits = None) -> Any:
    """log N(x; μ, σ²) = −½ Σ_d [ log 2π + log σ²_d + (x_d − μ_d)²/σ²_d ]"""
    return bk.gaussian_log_density(x, head, limits)


def standard_gaussian_log_density(bk: Any, x: Any) -> Any:
    """log N(x; 0, I) = −½ Σ_d [ log 2π + x_d² ]"""
    return bk.standard_gaussian_log_density(x)


def gaussian_draw(bk: Any, head: Any, noise: Any, limits: Limits = None) -> tuple[Any, Any]:
    """x = μ + σ ε, and its log density at itself, log N(x; μ, σ²) = −½ Σ_d [ log 2π + log σ²_d + ε_d² ].

    noise ε [..., D] is a constant. The density's gradient by μ and log σ² is the whole one, through the draw and the
    density together. → [..., D], [...]
    """
    return bk.gaussian_draw(head, noise, limits)


def bernoulli_log_density(bk: Any, x: Any, logits: Any) -> Any:
    """log Bernoulli(x; σ(l)) = Σ_d [ x_d l_d − log(1 + exp l_d) ], for constant x in [0, 1]"""
    return bk.bernoulli_log_density(x, logits)
