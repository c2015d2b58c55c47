"""Fits a sum of costs with factors ≥ 0 to measured values by their relative errors, and gives its uncertainty."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

CONFIDENCE = 0.95
HUBER = 1.345  # in units of the residuals' standard deviation: 95 % efficiency if they are normal
UNKNOWN = 0.5  # relative half-width if there are no more values than factors: an estimate may be off by so much


@dataclass(frozen=True)
class Fit:
    """y ≈ X c.

    factors    c ≥ 0 [p]
    deviation  standard deviation of the relative residuals
    freedom    number of values minus number of factors; at 0 and below the deviation means nothing
    covariance covariance of c, [p, p]
    """

    factors: np.ndarray
    deviation: float
    freedom: int
    covariance: np.ndarray

    def at(self, x: np.ndarray) -> float:
        return float(x @ self.factors)

    def half_width(self, x: np.ndarray, confidence: float = CONFIDENCE, new: bool = True) -> float:
        """h ≥ 0: the interval is [y/(1 + h), y·(1 + h)].

        new   the interval of a new measurement; False: of the mean of many measurements
        """
        if self.freedom < 1:
            return UNKNOWN
        of_curve = float(x @ self.covariance @ x) / self.at(x) ** 2
        return _quantile(confidence, self.freedom) * math.sqrt(self.deviation**2 * new + of_curve)


@functools.cache
def _quantile(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's t."""
    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def fit(x: np.ndarray, y: np.ndarray, least: np.ndarray | float = 0.0) -> Fit:
    """Minimises Σ ρ((X c − y)/y) over c ≥ least. ρ is Huber's: quadratic for small residuals, linear for large ones.

    x [n, p], y > 0 [n], least ≥ 0 [p]. Within one shape all columns are affine in K, so only two of the p factors can
    be identified: the degrees of freedom use the rank of X. Because no factor is negative, a curve grows no faster than
    its fastest column and never falls, however noisy the values are.
    """
    scale = np.abs(x).max(axis=0)
    scale[scale == 0] = 1.0
    relative = x / scale / y[:, None]
    least = np.broadcast_to(least, scale.shape) * scale
    weights = np.ones(len(y))
    for _ in range(30):
        root = np.sqrt(weights)
        c = least + optimize.nnls(root[:, None] * relative, root * (1 - relative @ least))[0]
        residuals = relative @ c - 1
        far = HUBER * max(1.4826 * float(np.median(np.abs(residuals))), 1e-12)
        weights = 1 / np.maximum(1.0, np.abs(residuals) / far)
    _, singular, rows = np.linalg.svd(relative, full_matrices=False)
    kept = singular > 1e-9 * singular[0]
    freedom = len(y) - int(kept.sum())
    deviation = math.sqrt(float(residuals @ residuals) / max(freedom, 1))
    half = rows[kept] / singular[kept][:, None] * deviation
    covariance = half.T @ half / np.outer(scale, scale)
    return Fit(c / scale, deviation, freedom, covariance)
