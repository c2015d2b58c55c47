"""The categorical distribution and its relaxations (Jang et al. 2017, arXiv 1611.01144; Maddison et al. 2017, arXiv
1611.00712).

Pure functions of a backend `bk`, a generator `rng` and arrays whose last axis is the class. `log_q` is a normalised
log probability (of `bk.log_softmax`). Everything stays in log space: logits of ±1e4 and K = 10,000 are fine.
"""

from __future__ import annotations

from typing import Any


def gumbel(bk: Any, rng: Any, shape: tuple[int, ...]) -> Any:
    """g = −log(−log u) with u uniform on the open interval (0, 1): finite for every draw of the generator.

    In the backend's wide dtype (float32 at least): in float16, u would have 2,048 values, and with thousands of
    classes nearly all rows would tie at the largest g.
    """
    u = bk.open_uniform(rng, shape)
    return -bk.xp.log(-bk.xp.log(u))


def gumbel_max(bk: Any, log_q: Any, g: Any) -> Any:
    """D = one_hot(argmax_k(log q_k + g_k)), an exact draw from q, as a constant. [..., K] → [..., K]"""
    return bk.one_hot_argmax(bk.stop_gradient(log_q) + g)


def gumbel_softmax(bk: Any, log_q: Any, g: Any, tau: float) -> Any:
    """s = softmax((log q + g)/τ), a differentiable point of the simplex. [..., K] → [..., K]

    One-hot as τ → 0, uniform as τ → ∞. Formed in the wide dtype and then cast to the compute dtype.
    Raises ValueError unless tau > 0.
    """
    if not tau > 0:
        raise ValueError(f"tau must be > 0, got {tau!r}")
    return bk.narrow(bk.softmax((log_q + g) / tau))


def straight_through(bk: Any, log_q: Any, g: Any, tau: float) -> Any:
    """Forward D = `gumbel_max`, backward J(s)/τ with s = `gumbel_softmax` of the same noise g. [..., K] → [..., K]"""
    return bk.straight_through(gumbel_max(bk, log_q, g), gumbel_softmax(bk, log_q, g, tau))


def entropy(bk: Any, log_q: Any) -> Any:
    """H(q) = −Σ_k q_k log q_k, in nats, over the last axis. [..., K] → [...]"""
    return -bk.sum(bk.exp(log_q) * log_q, axis=-1)
