"""Exponential noise on a CPU, which all backends draw alike."""

from __future__ import annotations

import numpy as np

BLOCK = 2**15  # numbers drawn at once, in float64: they fit the cache, and are few beside a step's arrays
LEAST_EXPONENTIAL = 2.0**-54  # in place of 0, so that log E is finite


def fill_exponential(rng: np.random.Generator, values: np.ndarray) -> None:
    """Fills an array in C order with standard exponential draws that have the resolution of float64 near 0."""
    flat = values.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        part = flat[start : start + BLOCK]
        part[...] = rng.standard_exponential(part.size)
