"""The categorical distribution and its relaxations (Jang et al. 2017, arXiv 1611.01144; Maddison et al. 2017, arXiv
1611.00712).

Pure functions of a backend `bk`, a generator `rng` and arrays whose last axis is the class. `log_q` is a normalised
log probability (from `bk.log_softmax`). Everything stays in log space: logits of ±1e4 and K = 10,000 are fine.
"""

from __future__ import annotations

from array_api_compat import device

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.values import Range, shown

# The least temperature τ. Its reasons concern float32, which is the wide dtype unless everything is in float64:
# - (log q + g)/τ, computed as (log q + g)·(1/τ), must stay below 2¹²⁸. At this τ it does for |log q| up to 1e28. At
#   τ = 2⁻¹²⁸, 1/τ itself is infinite and the step becomes NaN.
# - The gradient with respect to log q contains J(s)/τ: up to |∂f/∂s|/(4τ) if two classes tie. Adam squares it, which at
#   this τ is finite for |∂f/∂s| up to 7e9 nats.
# - Numbers log q + g near 1 differ by 6e-8 or more, so that at this τ all draws except ties are one-hot already.
LEAST_TAU = 1e-10


def gumbel(bk: Backend, rng: Generator, shape: tuple[int, ...]) -> Array:
    """g = −log E with E ~ Exp(1), which is −log(−log u) with u uniform on (0, 1): finite for every draw.

    The dtype is the backend's wide one (at least float32). In float16, g has so few values that with thousands of
    classes nearly all rows would tie at the largest. A class of small q is drawn only if its g is large, hence if E is
    near 0; `bk.exponential` states the resolution of E there.
    """
    g = bk.exponential(rng, shape)
    bk.xp.log(g, out=g)
    g *= -1
    return g


def gumbel_max(bk: Backend, log_q: Tensor, g: Array) -> Array:
    """argmax_k(log q_k + g_k): the class number of an exact draw from q. [..., K] → int [...]"""
    return bk.xp.argmax(bk.stop_gradient(log_q) + g, axis=-1)


def draw_classes(bk: Backend, rng: Generator, log_q: Tensor, draws: int) -> Array:
    """Independent exact draws from q. log_q [N, B, K] → int [N, S, B]"""
    n, batch, n_classes = log_q.shape
    scores = gumbel(bk, rng, (n, draws, batch, n_classes))
    scores += bk.stop_gradient(log_q)[:, None]  # in place, because it may be the largest array of a step
    return bk.xp.argmax(scores, axis=-1)


def one_hot(bk: Backend, index: Array, n_classes: int) -> Array:
    """One-hot rows in the compute dtype. index int [...] → [..., K]"""
    return bk.xp.astype(index[..., None] == bk.xp.arange(n_classes, device=device(index)), bk.dtype)


def gumbel_softmax(bk: Backend, log_q: Tensor, g: Array, tau: float) -> Tensor:
    """s = softmax((log q + g)/τ), a differentiable point of the simplex. [..., K] → [..., K]

    s becomes one-hot as τ → 0 and uniform as τ → ∞. It is computed in the wide dtype and cast to the compute dtype.
    Raises ValueError unless tau >= LEAST_TAU.
    """
    check_tau(tau)
    return bk.narrow(bk.softmax((log_q + g) / tau))


def straight_through(bk: Backend, log_q: Tensor, g: Array, tau: float) -> Tensor:
    """Forward D = one-hot `gumbel_max`; backward J(s)/τ with s = `gumbel_softmax` of the same noise. [..., K] → same

    J(s) = diag(s) − s sᵀ. Raises ValueError unless tau >= LEAST_TAU.
    """
    check_tau(tau)
    scores = bk.stop_gradient(log_q) + g
    hard = one_hot(bk, bk.xp.argmax(scores, axis=-1), scores.shape[-1])
    return bk.hard_point(hard, log_q, (bk.stop_gradient(bk.softmax(scores / tau)),), (1 / tau,))


def gumbel_softmax_given(bk: Backend, log_q: Tensor, y: Array, g: Array, tau: float) -> Array:
    """Draws of s = softmax((log q + g)/τ) from its distribution given y = argmax(log q + g).

    log_q [..., K], y int [...], fresh noise g [M, ..., K] → [M, ..., K], as constants in the wide dtype.

    With E_j = exp(−g_j) ~ Exp(1), the largest sum is −log E_y, and the others are −logaddexp(log E_j − log q_j,
    log E_y) (Paulus et al. 2021, arXiv 2010.04838, section 3). Their distances below the largest are
    softplus(g_y − log q_j − g_j). The softmax depends on them alone. Raises ValueError unless tau >= LEAST_TAU.
    """
    check_tau(tau)
    xp = bk.xp
    is_y = xp.arange(g.shape[-1], device=device(y)) == y[..., None]  # [..., K]
    g_y = xp.take_along_axis(g, xp.broadcast_to(y[..., None], (*g.shape[:-1], 1)), axis=-1)
    below = g_y - (bk.stop_gradient(log_q) + g)
    s = xp.abs(below)  # softplus(x) = max(x, 0) + log(1 + exp(−|x|)): logaddexp takes ten times as long in NumPy
    xp.log1p(xp.exp(xp.negative(s, out=s), out=s), out=s)
    s += xp.maximum(below, 0, out=below)
    s *= ~is_y
    s /= -tau
    xp.exp(s, out=s)
    s /= xp.sum(s, axis=-1, keepdims=True)
    return s


def check_tau(tau: float) -> None:
    """Raises ValueError unless tau is a finite number >= LEAST_TAU."""
    if tau not in Range(least=LEAST_TAU):
        raise ValueError(f"tau must be >= {LEAST_TAU:g} and finite, got {shown(tau)}")


def log_q_at(bk: Backend, logits: Tensor, y: Array) -> Tensor:
    """log q(y) of q = softmax(logits) for classes y int [B]: [..., B, K] → [..., B]"""
    return bk.select_last(bk.log_softmax(logits), y)
