"""Compares a sampled gradient with the exact one: squared bias, variance and cosine, with their intervals.

There are n repetitions g_i in m blocks, and d_i = g_i − g*. Only m sums of d_i and 3n scalars are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from array_api_compat import array_namespace

from gsbench.backends.base import Array
from gsbench.meters.gradient_intervals import (
    CONFIDENCE,
    FEW,
    RESAMPLES,
    freedom_of,
    mean_interval,
    rare_bias_interval,
    squared_bias_interval,
)

LEAST_BLOCKS = 4  # the centred kernel of fewer blocks is 0 whatever the draws

# Host arrays are gone through in pieces that stay in the cache from the difference to the sum. Sums within a piece
# are in the arrays' own precision, sums of pieces in float64.
PIECE_FLOATS = 1 << 16
GRAM_FLOATS = 1 << 20  # of each block at once, because on a device a piece is a whole array
ROUNDINGS = 50  # units in the last place by which sums over one and the same gradient may differ


@dataclass(frozen=True)
class GradientQuality:
    """All but `exact_norm` are relative to ‖g*‖²; `cosine` is the mean of cos(g_i, g*).

    squared_bias   ‖E g − g*‖², by an unbiased estimate, which may be negative
    variance       tr(cov g)
    exact_norm     ‖g*‖

    A high end is None if the draws do not bound the figure, because all of them were equal or because almost all noise
    was in one block.
    """

    squared_bias: float
    squared_bias_low: float
    squared_bias_high: float | None
    variance: float
    variance_low: float
    variance_high: float | None
    cosine: float
    exact_norm: float
    confidence: float


class GradientMoments:
    """Takes the repetitions of one part's gradient one by one.

    exact         g*, arrays of NumPy or CuPy in float32 or float64; copied
    blocks        m: 1 for a single repetition, otherwise at least 4
    repetitions   repetitions a block, n/m

    Raises ValueError for other numbers, and where g* is 0.
    """

    def __init__(self, exact: Sequence[Array], blocks: int, repetitions: int) -> None:
        if repetitions < 1 or (blocks < LEAST_BLOCKS and (blocks, repetitions) != (1, 1)):
            raise ValueError(
                f"{blocks} blocks of {repetitions} repetitions; allowed are 1 of 1, or at least {LEAST_BLOCKS} blocks "
                "of at least 1"
            )
        self.blocks, self.repetitions = blocks, repetitions
        self._shapes = _shapes(exact)
        self._exact = _copied(_pieces(exact))
        self._exact_squared = float(sum(_dot(piece, piece) for piece in self._exact))
        if self._exact_squared == 0:
            raise ValueError("the exact gradient is 0: bias and variance relative to it are not defined")
        self._sums: list[list[Array]] = []  # a list of pieces for each block begun
        self._scalars: list[tuple[Array, Array, Array]] = []  # ‖d_i‖², ‖g_i‖², ⟨g_i, g*⟩; on the device until the end

    @property
    def exact_norm(self) -> float:
        return float(self._exact_squared**0.5)

    def add(self, arrays: Sequence[Array]) -> None:
        """Takes g_i, arrays of the shapes of g*.

        Raises ValueError for other shapes, and once all blocks are full.
        """
        _check_shapes(arrays, self._shapes)
        if len(self._scalars) == self.blocks * self.repetitions:
            raise ValueError(f"all {self.blocks} blocks of {self.repetitions} repetitions are full")
        begins = len(self._scalars) % self.repetitions == 0
        if begins:
            self._sums.append([])
        sums = self._sums[-1]
        squared_distance = squared_norm = product = 0.0
        for i, (piece, exact) in enumerate(zip(_pieces(arrays), self._exact, strict=True)):
            difference = piece - exact
            squared_distance = squared_distance + _dot(difference, difference)
            # Computing it from ‖d‖² and ⟨d, g*⟩ would lose all digits of a g_i much smaller than g*.
            squared_norm = squared_norm + _dot(piece, piece)
            product = product + _dot(piece, exact)
            if begins:
                sums.append(difference)
            else:
                sums[i] += difference
        self._scalars.append((squared_distance, squared_norm, product))

    def result(self, seed: int = 0, confidence: float = CONFIDENCE) -> GradientQuality:
        """Estimates and their bootstrap intervals over the blocks; of a single repetition (an estimator without
        draws) variance 0 and intervals of no width.

        With d̄ the mean of all d_i: tr(cov) = Σ‖d_i − d̄‖²/(n − 1), squared bias ‖d̄‖² − tr(cov)/n. If several
        repetitions are all equal, the variance is 0 without a high end, and the interval of the squared bias begins
        at 0 and has no high end, because an unseen draw may do anything.

        Raises ValueError before all blocks are full.
        """
        n = self.blocks * self.repetitions
        if len(self._scalars) != n:
            raise ValueError(f"{len(self._scalars)} repetitions were added, {n} are needed")
        scalars = np.array([[float(value) for value in values] for values in self._scalars])  # [n, 3]
        if n == 1:
            bias, variance = np.full(3, scalars[0, 0]), np.zeros(3)
        else:
            bias, variance = self._estimates(scalars, seed, confidence)
        bias, variance = bias / self._exact_squared, variance / self._exact_squared
        return GradientQuality(
            squared_bias=float(bias[0]),
            squared_bias_low=float(bias[1]),
            squared_bias_high=_bounded(bias[2]),
            variance=float(variance[0]),
            variance_low=float(variance[1]),
            variance_high=_bounded(variance[2]),
            cosine=self._cosine(scalars),
            exact_norm=self.exact_norm,
            confidence=confidence,
        )

    def _estimates(self, scalars: np.ndarray, seed: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Squared bias and variance, each with its interval [3], from the repetitions' scalars [n, 3]."""
        m, n = self.blocks, self.blocks * self.repetitions
        squared = scalars[:, 0].reshape(m, -1).mean(1)  # the blocks' means of ‖d_i‖²
        if self._all_alike(scalars):
            return np.array([squared.mean(), 0.0, np.inf]), np.array([0.0, 0.0, np.inf])
        gram = self._gram()
        # Each block's mean of ‖d_i − d̄‖², negative only by rounding
        spreads = np.maximum(squared - 2 * gram.mean(1) + gram.mean(), 0)
        variance = spreads.mean() * n / (n - 1)
        bias = gram.mean() - variance / n
        counts = np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), RESAMPLES)
        low, high = np.array(mean_interval(spreads, counts, confidence)) * n / (n - 1)
        ends = squared_bias_interval(gram, bias, counts, confidence)
        if freedom_of(spreads) < FEW:
            ends = rare_bias_interval(*ends, gram.mean(), high / n, confidence)
        return np.array([bias, *ends]), np.array([variance, low, high])

    def _all_alike(self, scalars: np.ndarray) -> bool:
        """Whether all repetitions are equal up to rounding. Sums of float32 differ by more than its square."""
        tiny = ROUNDINGS * max(array_namespace(piece).finfo(piece.dtype).eps for piece in self._exact)
        distance, norm, _ = scalars.max(0)
        allowed = (
            tiny * distance + tiny**2 * max(norm, self._exact_squared),
            tiny * norm,
            tiny * (norm * self._exact_squared) ** 0.5,
        )
        return bool((np.ptp(scalars, axis=0) <= allowed).all())

    def _cosine(self, scalars: np.ndarray) -> float:
        """Mean of ⟨g_i, g*⟩/(‖g_i‖ ‖g*‖); a gradient of 0 has no direction and counts as 0."""
        norms = np.sqrt(scalars[:, 1] * self._exact_squared)
        cosines = np.divide(scalars[:, 2], norms, out=np.zeros_like(norms), where=norms != 0)
        return float(np.clip(cosines, -1, 1).mean())

    def _gram(self) -> np.ndarray:
        """⟨D_b, D_c⟩ [m, m] of the blocks' means D_b of d_i."""
        gram = np.zeros((self.blocks, self.blocks))
        for pieces in zip(*self._sums, strict=True):
            xp = array_namespace(*pieces)
            for start in range(0, max(1, pieces[0].shape[0]), GRAM_FLOATS):
                rows = xp.astype(xp.stack([piece[start : start + GRAM_FLOATS] for piece in pieces]), xp.float64)
                gram += np.array((rows @ rows.T).tolist())  # off the device, whichever it is
        return gram / self.repetitions**2


def _bounded(high: float) -> float | None:
    """None for ∞; what is not a number stays so."""
    return None if high == np.inf else float(high)


class TotalVariance:
    """Takes the repetitions of one part's gradient one by one: their variance about their own mean.

    Sums are of differences from the first repetition, so that a mean much larger than the spread costs no digits.
    """

    def __init__(self) -> None:
        self._shapes: list[tuple[int, ...]] = []
        self._first: list[Array] = []
        self._sums: list[Array] = []
        self._squared: list[Array] = []  # ‖g_i − g_1‖² of the second and later ones

    def add(self, arrays: Sequence[Array]) -> None:
        """Takes g_i. Raises ValueError for arrays of other shapes than the first repetition's."""
        if not self._first:
            self._shapes = _shapes(arrays)
            self._first = _copied(_pieces(arrays))
            self._sums = [piece - piece for piece in self._first]
            return
        _check_shapes(arrays, self._shapes)
        squared = 0.0
        for piece, first, total in zip(_pieces(arrays), self._first, self._sums, strict=True):
            difference = piece - first
            squared = squared + _dot(difference, difference)
            total += difference
        self._squared.append(squared)

    def result(self, exact_norm: float) -> float:
        """tr(cov g)/‖g*‖². Raises ValueError for fewer than two repetitions, or where ‖g*‖ is 0."""
        if not self._squared:
            raise ValueError(f"{len(self._first[:1])} repetitions were added, at least 2 are needed")
        if exact_norm == 0:
            raise ValueError("the exact gradient is 0: a variance relative to it is not defined")
        n = len(self._squared) + 1
        about_first = sum(float(squared) for squared in self._squared)
        of_sum = float(sum(_dot(total, total) for total in self._sums))
        return max(0.0, about_first - of_sum / n) / (n - 1) / exact_norm**2


def _dot(a: Array, b: Array) -> Array:
    """⟨a, b⟩ in float64, still on the device."""
    xp = array_namespace(a)
    return xp.astype(a @ b, xp.float64)


def _copied(pieces: Sequence[Array]) -> list[Array]:
    return [array_namespace(piece).asarray(piece, copy=True) for piece in pieces]


def _pieces(arrays: Sequence[Array]) -> list[Array]:
    """The arrays flat, those on the host in pieces of `PIECE_FLOATS`; a device has one kernel for the whole."""
    found = []
    for array in arrays:
        flat = array.reshape(-1)
        step = PIECE_FLOATS if isinstance(flat, np.ndarray) else max(1, flat.shape[0])
        found += [flat[i : i + step] for i in range(0, flat.shape[0], step)]
    return found


def _shapes(arrays: Sequence[Array]) -> list[tuple[int, ...]]:
    return [tuple(array.shape) for array in arrays]


def _check_shapes(arrays: Sequence[Array], expected: list[tuple[int, ...]]) -> None:
    if _shapes(arrays) != expected:
        raise ValueError(f"a gradient of arrays of shapes {_shapes(arrays)}; expected {expected}")
