"""How good a gradient by sampling is against the exact one: squared bias, variance, cosine, with their intervals.

Of n repetitions g_i in m blocks, d_i = g_i − g*, only m sums of d_i and three scalars a repetition are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# The intervals are asymptotic and m is 20 or so, so that they cover less than their name says. With 20 blocks of 5,
# true values in the interval at 95 % and at 99 % (SE of a row below 1 %; normal draws unless said otherwise):
#                                                              squared bias     variance
#     1 dimension, from no bias to a large one                 0.91 to 0.95     0.94 to 0.95
#                                                              0.96 to 0.99     0.98 to 0.99
# SIMULATED
CONFIDENCE = 0.99
RESAMPLES = 2000
LEAST_BLOCKS = 4  # the centred kernel of fewer blocks is 0 whatever the draws

# Host arrays are gone through in pieces that stay in the cache from the difference to the sum. Sums within a piece
# are in the arrays' own precision, sums of pieces in float64.
PIECE_FLOATS = 1 << 16


@dataclass(frozen=True)
class GradientQuality:
    """All but `exact_norm` are relative to ‖g*‖²; `cosine` is the mean of cos(g_i, g*).

    squared_bias   ‖E g − g*‖², estimated without bias: without bias of the gradient it is as often negative
    variance       tr(cov g)
    exact_norm     ‖g*‖
    """

    squared_bias: float
    squared_bias_low: float
    squared_bias_high: float
    variance: float
    variance_low: float
    variance_high: float
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

    def __init__(self, exact: Sequence[Any], blocks: int, repetitions: int) -> None:
        if repetitions < 1 or (blocks < LEAST_BLOCKS and (blocks, repetitions) != (1, 1)):
            raise ValueError(
                f"{blocks} blocks of {repetitions} repetitions; allowed are 1 of 1, or at least {LEAST_BLOCKS} blocks "
                "of at least 1"
            )
        self.blocks, self.repetitions = blocks, repetitions
        self._shapes = _shapes(exact)
        self._exact = [piece.copy() for piece in _pieces(exact)]
        self._exact_squared = float(sum(_dot(piece, piece) for piece in self._exact))
        if self._exact_squared == 0:
            raise ValueError("the exact gradient is 0: bias and variance relative to it are not defined")
        self._sums: list[list[Any]] = []  # a list of pieces for each block begun
        self._scalars: list[tuple[Any, Any, Any]] = []  # ‖d_i‖², ‖g_i‖², ⟨g_i, g*⟩; on the device until the end

    @property
    def exact_norm(self) -> float:
        return self._exact_squared**0.5

    def add(self, arrays: Sequence[Any]) -> None:
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
            # Not from ‖d‖² and ⟨d, g*⟩: of a g_i much smaller than g* no digit would be left.
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

        With d̄ the mean of all d_i: tr(cov) = Σ‖d_i − d̄‖²/(n − 1), squared bias ‖d̄‖² − tr(cov)/n.

        Raises ValueError before all blocks are full.
        """
        n = self.blocks * self.repetitions
        if len(self._scalars) != n:
            raise ValueError(f"{len(self._scalars)} repetitions were added, {n} are needed")
        scalars = np.array([[float(value) for value in values] for values in self._scalars])  # [n, 3]
        if n == 1:
            bias, variance = np.full(3, scalars[0, 0]), np.zeros(3)
        else:
            bias, variance = self._estimates(scalars[:, 0].reshape(self.blocks, -1).mean(1), seed, confidence)
        bias, variance = bias / self._exact_squared, variance / self._exact_squared
        return GradientQuality(
            squared_bias=float(bias[0]),
            squared_bias_low=float(bias[1]),
            squared_bias_high=float(bias[2]),
            variance=float(variance[0]),
            variance_low=float(variance[1]),
            variance_high=float(variance[2]),
            cosine=self._cosine(scalars),
            exact_norm=self.exact_norm,
            confidence=confidence,
        )

    def _estimates(self, squared: np.ndarray, seed: int, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Squared bias and variance, each with its interval [3], from the blocks' means of ‖d_i‖² [m]."""
        m, n = self.blocks, self.blocks * self.repetitions
        gram = self._gram()
        # Each block's mean of ‖d_i − d̄‖², not below 0 but for rounding
        spreads = np.maximum(squared - 2 * gram.mean(1) + gram.mean(), 0)
        variance = spreads.mean() * n / (n - 1)
        bias = gram.mean() - variance / n
        counts = np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), RESAMPLES)
        return (
            np.array([bias, *squared_bias_interval(gram, bias, counts, confidence)]),
            np.array([variance, *(np.array(mean_interval(spreads, counts, confidence)) * n / (n - 1))]),
        )

    def _cosine(self, scalars: np.ndarray) -> float:
        """Mean of ⟨g_i, g*⟩/(‖g_i‖ ‖g*‖); a gradient of 0 has no direction and counts as 0."""
        norms = np.sqrt(scalars[:, 1] * self._exact_squared)
        cosines = np.divide(scalars[:, 2], norms, out=np.zeros_like(norms), where=norms != 0)
        return float(np.clip(cosines, -1, 1).mean())

    def _gram(self) -> np.ndarray:
        """⟨D_b, D_c⟩ [m, m] of the blocks' means D_b of d_i."""
        gram = np.zeros((self.blocks, self.blocks))
        for pieces in zip(*self._sums, strict=True):
            rows = np.stack(pieces).astype(np.float64)
            gram += np.array((rows @ rows.T).tolist())  # off the device, whichever it is
        return gram / self.repetitions**2


class TotalVariance:
    """Takes the repetitions of one part's gradient one by one: their variance about their own mean.

    Sums are of differences from the first repetition, so that a mean much larger than the spread costs no digits.
    """

    def __init__(self) -> None:
        self._shapes: list[tuple[int, ...]] = []
        self._first: list[Any] = []
        self._sums: list[Any] = []
        self._squared: list[Any] = []  # ‖g_i − g_1‖² of the second and later ones

    def add(self, arrays: Sequence[Any]) -> None:
        """Takes g_i. Raises ValueError for arrays of other shapes than the first repetition's."""
        if not self._first:
            self._shapes = _shapes(arrays)
            self._first = [piece.copy() for piece in _pieces(arrays)]
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


def squared_bias_interval(
    gram: np.ndarray, value: float, counts: np.ndarray, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Bootstrap interval of θ = ‖μ‖² from the Gram matrix [m, m] of m independent vectors D_b of mean μ.

    value    the estimate T of θ without bias
    counts   how often each vector is in each resample, [resamples, m]

    With e = D̄ − μ, T − θ = 2⟨μ, e⟩ + (‖e‖² − its mean): of the order √θ and a U-statistic whose kernel is
    degenerate. A plain bootstrap (of T from resampled vectors) fails twice. It takes ‖D_b‖² of a vector drawn twice for
    chance, which in 2,000 dimensions makes the interval eleven times too wide; and where the bias is as small as its
    error it takes the first term's size from D̄, and covers 72 % at 99 % in one dimension. So here the terms are
    bootstrapped each by itself, with the weights ξ = counts − 1, and θ is let into the first:

        T*(θ) = θ + 2 √max(θ, 0) L* + Q*
        Q* = Σ_{b≠c} ξ_b ξ_c K_bc / (m(m − 1)),   K the U-centred Gram matrix: neither ‖D_b‖² nor μ is in it
        L* = Σ_b ξ_b ⟨D_b − D̄, D̄⟩ / (m ‖D̄‖)

    Each resample's θ is that at which T*(θ) = T; the interval lies between quantiles of these. (Below 0 there may be
    one such θ beside two above: the low end is of the smallest, the high end of the largest.) Where noise has few
    large directions among many small ones, ‖D̄‖ is mostly the small ones' and L* comes out too small; there it is
    stretched to the size that ⟨D_b, mean of the others⟩ tells.

    Weighted bootstrap of degenerate kernels: Dehling and Mikosch, "Random quadratic forms and the bootstrap for
    U-statistics", J. Multivariate Anal. 51 (1994). U-centring: Székely and Rizzo, "Partial distance correlation with
    methods for dissimilarities", Ann. Statist. 42 (2014).
    """
    m = len(gram)
    weights = counts - 1.0
    kernel = _u_centred(gram) * ((m - 1) / (m - 3)) ** 0.5  # so that the mean of its squares is tr(cov²)
    squared_kernel = float((kernel**2).sum()) / (m * (m - 1))
    quadratic = ((weights @ kernel) * weights).sum(1) / (m * (m - 1))
    along = gram.mean(1) - gram.mean()  # ⟨D_b − D̄, D̄⟩
    scale = _linear_scale(gram, along, squared_kernel, value)
    linear = (m / (m - 1)) ** 0.5 / m * scale * (weights @ along)
    above = value - quadratic
    discriminant = linear**2 + above
    root = (np.sqrt(np.maximum(discriminant, 0)) - linear) ** 2
    low, high = _tails(confidence)
    return _around(
        value,
        np.quantile(np.where(above >= 0, root, above), low),
        np.quantile(np.where((above >= 0) | ((linear < 0) & (discriminant >= 0)), root, above), high),
    )


def _linear_scale(gram: np.ndarray, along: np.ndarray, squared_kernel: float, value: float) -> float:
    """What ⟨D_b − D̄, D̄⟩ is multiplied by: 1/‖D̄‖, or more where the leave-one-out products spread more than that."""
    m = len(gram)
    along_squared = float(along @ along)
    if along_squared == 0:
        return 0.0
    others = (gram.sum(1) - np.diag(gram)) / (m - 1)  # ⟨D_b, mean of the others⟩, in which noise has its part too
    others_squared = float(((others - others.mean()) ** 2).sum()) - squared_kernel
    # T itself where it is surely above 0; two standard deviations of it where not, for what a θ there could be
    squared_norm = max(value, 2 * (2 * squared_kernel) ** 0.5 / m)
    stretched = others_squared / squared_norm if squared_norm > 0 else 0.0
    return max(1 / gram.mean(), stretched / along_squared) ** 0.5


def _u_centred(gram: np.ndarray) -> np.ndarray:
    """Off the diagonal, less the means of row and column without it; 0 on the diagonal; rows sum to 0. [m, m]"""
    m = len(gram)
    off = gram - np.diag(np.diag(gram))
    rows = off.sum(1) / (m - 2)
    centred = off - rows[:, None] - rows + off.sum() / ((m - 1) * (m - 2))
    np.fill_diagonal(centred, 0)
    return centred


def mean_interval(values: np.ndarray, counts: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Studentised bootstrap interval of the mean of `values` [m], none of which is negative.

    By percentiles it would cover 87 to 96 % at 99 % where few draws make most of the variance. A resample that
    lacks the rare large ones has hardly a spread: a tenth of the sample's is the least, or there would be no upper end.
    """
    m, mean = len(values), values.mean()
    error = values.std(ddof=1) / m**0.5
    if error == 0:
        return float(mean), float(mean)
    means = counts @ values / m
    squares = counts @ (values - mean) ** 2 / m - (means - mean) ** 2
    errors = np.maximum(np.sqrt(np.maximum(squares, 0) / (m - 1)), error / 10)
    high, low = mean - error * np.quantile((means - mean) / errors, _tails(confidence))
    return _around(float(mean), max(low, 0.0), high)


def _tails(confidence: float) -> tuple[float, float]:
    return (1 - confidence) / 2, (1 + confidence) / 2


def _around(value: float, low: float, high: float) -> tuple[float, float]:
    """The interval, with the value in it where rounding has put it outside one of no width."""
    return float(np.minimum(low, value)), float(np.maximum(high, value))


def _dot(a: Any, b: Any) -> Any:
    """⟨a, b⟩ in float64, still on the device."""
    return a.dot(b).astype(np.float64)


def _pieces(arrays: Sequence[Any]) -> list[Any]:
    """The arrays flat, those on the host in pieces of `PIECE_FLOATS`; a device has one kernel for the whole."""
    found = []
    for array in arrays:
        flat = array.reshape(-1)
        step = PIECE_FLOATS if isinstance(flat, np.ndarray) else max(1, flat.size)
        found += [flat[i : i + step] for i in range(0, flat.size, step)]
    return found


def _shapes(arrays: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(array.shape) for array in arrays]


def _check_shapes(arrays: Sequence[Any], expected: list[tuple[int, ...]]) -> None:
    if _shapes(arrays) != expected:
        raise ValueError(f"a gradient of arrays of shapes {_shapes(arrays)}; expected {expected}")
