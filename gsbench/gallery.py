"""Gumbel-Softmax draws at several temperatures: single draws and their mean, as numbers.

Jang et al. 2017 (arXiv 1611.01144), eq. 2: s = softmax((log π + g)/τ), g Gumbel noise. At a low temperature a draw is
nearly one-hot and the mean of the draws is near the categorical π. At a high temperature both are near uniform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gsbench.backends import load_backend
from gsbench.categorical import LEAST_TAU, gumbel, gumbel_softmax
from gsbench.meters.measure import memory_limit
from gsbench.values import SEED as SEEDS
from gsbench.values import Range, SettingError, shown, whole

TAUS = (0.1, 1.0, 5.0, 100.0)
DRAWS = 100
SHOWN = 10  # number of single draws at the lowest temperature that are kept
CLASSES = 6
SEED = 212  # with this seed and six classes, the likeliest class has a probability of 0.80, as in the source's figures
INPUTS, SCALE = 10, 3.0
MOST_TAUS = 100  # each temperature has its own panels
ARRAYS = 6  # live arrays of draws × classes: the noise, the draws, and intermediate results
ROW_BYTES = 700  # per row of the table of numbers; there is a row for each class in each panel
SUM_TOLERANCE = 0.01  # allowed error of the sum of probabilities: 0.33,0.33,0.33 is allowed


@dataclass(frozen=True, eq=False)
class Gallery:
    """The numbers of the figures. All temperatures share one noise, so that only the temperature makes a difference.

    probabilities    [K], π
    taus             [T], rising
    first            [T, K], the first draw at each temperature
    shown            [S, K], up to ten draws at the lowest temperature
    means            [T, K], the mean of all draws at each temperature
    mean_largest     [T], the mean of the largest entry of a draw: 1 if all draws are one-hot, 1/K if uniform
    """

    logits: np.ndarray
    probabilities: np.ndarray
    taus: tuple[float, ...]
    draws: int
    seed: int
    first: np.ndarray
    shown: np.ndarray
    means: np.ndarray
    mean_largest: np.ndarray

    @property
    def n_classes(self) -> int:
        return len(self.probabilities)

    @property
    def from_categorical(self) -> np.ndarray:
        """Total variation ½ Σ_k |mean_k − π_k| at each temperature. [T]"""
        return total_variation(self.means, self.probabilities)

    @property
    def from_uniform(self) -> np.ndarray:
        """Total variation ½ Σ_k |mean_k − 1/K| at each temperature. [T]"""
        return total_variation(self.means, np.full(self.n_classes, 1 / self.n_classes))


def make_gallery(
    logits: Sequence[float] | np.ndarray | None = None,
    *,
    taus: Sequence[float] = TAUS,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Gallery:
    """Gumbel-Softmax draws of the categorical softmax(logits), in float64. The same seed gives the same numbers.

    logits    [K], −inf for a class of probability 0; None: `random_logits` of six classes
    taus      temperatures >= LEAST_TAU, in any order
    draws     number of independent draws; all temperatures use the same noise

    Raises ValueError, which says what is allowed, also if the draws would not fit into memory.
    """
    _check(taus, draws, seed)
    logits = random_logits(CLASSES, seed) if logits is None else _checked_logits(logits)
    _check_size(len(logits), draws, len(taus))
    bk = load_backend(None, "cpu", "float64")
    log_pi = bk.log_softmax(bk.array(logits))  # [K]
    g = gumbel(bk, bk.generator(seed), (draws, len(logits)))  # [S, K]
    temperatures = tuple(sorted({float(tau) for tau in taus}))
    first, means, largest, shown = [], [], [], None
    for tau in temperatures:
        s = bk.to_numpy(gumbel_softmax(bk, log_pi, g, tau))  # [S, K]
        shown = s[:SHOWN].copy() if shown is None else shown
        first.append(s[0])
        means.append(s.mean(axis=0))
        largest.append(s.max(axis=1).mean())
    return Gallery(
        logits=logits,
        probabilities=np.exp(bk.to_numpy(log_pi)),
        taus=temperatures,
        draws=draws,
        seed=seed,
        first=np.array(first),
        shown=np.array(shown),
        means=np.array(means),
        mean_largest=np.array(largest),
    )


def random_logits(n_classes: int, seed: int = SEED) -> np.ndarray:
    """A random linear layer at a random input: W x [K], W_kd ~ N(0, 3²/10) [K, 10], x ~ N(0, I) [10].

    A logit has a standard deviation of about 3, so that one class stands out. Raises ValueError for fewer than two
    classes or a negative seed.
    """
    SEEDS.check("seed", seed)
    whole(2).check("classes", n_classes)
    _check_size(n_classes, 1, 1)
    rng = np.random.default_rng([seed, 1])  # not the stream of the noise
    W = rng.standard_normal((n_classes, INPUTS)) * (SCALE / math.sqrt(INPUTS))
    return np.asarray(W @ rng.standard_normal(INPUTS))


def logits_of(probabilities: Sequence[float] | np.ndarray) -> np.ndarray:
    """log π [K] of probabilities [K], which are first divided by their sum. log 0 is −inf.

    Raises ValueError unless all are >= 0 and their sum is 1 within SUM_TOLERANCE.
    """
    pi = np.asarray(probabilities, np.float64)
    if pi.ndim != 1 or len(pi) < 2 or not (np.isfinite(pi) & (pi >= 0)).all():
        raise SettingError("{probabilities} must be two or more numbers >= 0", f", got {_shown(pi)}")
    if not abs(pi.sum() - 1) <= SUM_TOLERANCE + 1e-9:
        raise SettingError("{probabilities} must sum to 1", f", got {_shown(pi)}, whose sum is {pi.sum():g}")
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(pi / pi.sum()))


def total_variation(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """½ Σ_k |p_k − q_k| over the last axis, from 0 to 1."""
    return np.asarray(0.5 * np.abs(p - q).sum(axis=-1))


def rows(gallery: Gallery) -> list[dict[str, Any]]:
    """All numbers of the figure, a dict for each: panel, tau, draw (from 1), class (from 0), value."""
    panels: list[tuple[str, float | None, int | None, np.ndarray]] = [
        ("categorical", None, None, gallery.probabilities)
    ]
    panels += [("one draw", tau, 1, s) for tau, s in zip(gallery.taus, gallery.first, strict=True)]
    panels += [("draws at the lowest tau", gallery.taus[0], i, s) for i, s in enumerate(gallery.shown, start=1)]
    panels += [("mean of draws", tau, None, mean) for tau, mean in zip(gallery.taus, gallery.means, strict=True)]
    return [
        {"panel": panel, "tau": tau, "draw": draw, "class": k, "value": float(value)}
        for panel, tau, draw, values in panels
        for k, value in enumerate(values)
    ]


def _check(taus: Sequence[float], draws: int, seed: int) -> None:
    if len(taus) == 0 or not all(tau in Range(least=LEAST_TAU) for tau in taus):
        raise SettingError(f"{{taus}} must be one or more numbers >= {LEAST_TAU:g}", f", got {shown(list(taus))}")
    if len(taus) > MOST_TAUS:
        raise SettingError(f"{{taus}} must be at most {MOST_TAUS} temperatures", f", got {len(taus):,}")
    whole(1).check("draws", draws)
    SEEDS.check("seed", seed)


def _check_size(n_classes: int, draws: int, n_taus: int) -> None:
    """Raises SettingError if the numbers would not fit into memory."""
    needed = 8 * ARRAYS * draws * n_classes + ROW_BYTES * n_classes * (1 + SHOWN + 2 * n_taus)
    limit = memory_limit()
    if needed > limit:
        got = f" = {draws:,} × {n_classes:,} need about {needed / 2**30:.3g} GiB, the limit is {limit / 2**30:.3g} GiB"
        raise SettingError("{draws} × {classes}", got)


def _checked_logits(logits: Sequence[float] | np.ndarray) -> np.ndarray:
    array = np.asarray(logits, np.float64)
    if array.ndim != 1 or len(array) < 2 or not (array < math.inf).all() or np.isneginf(array).all():
        allowed = "must be two or more numbers, not all -inf and none nan or inf"
        raise SettingError(f"{{logits}} {allowed}", f", got {_shown(array)}")
    return array


def _shown(array: np.ndarray) -> str:
    return np.array2string(array, threshold=8, separator=", ")
