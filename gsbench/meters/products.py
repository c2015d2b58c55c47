"""Measures the machine's peak rate of matrix products, in turn with a case, and the share that the case reaches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from array_api_compat import device

from gsbench.backends.base import Array, Backend
from gsbench.meters.operations import MatrixProduct
from gsbench.meters.seconds import CONFIDENCE, bootstrap_median, seconds_of

SQUARES = (MatrixProduct(1024, 1024, 1024), MatrixProduct(2048, 2048, 2048))
LEAST_RUNS = 20
# The rate stops rising at far fewer rows, and larger arrays would not fit beside the case's own.
MOST_ROWS = 20_000


def largest_product(found: Iterable[MatrixProduct]) -> MatrixProduct:
    """The product with the most operations (the first of equal ones), with its rows m limited to 20,000."""
    largest = max(found, key=lambda product: product.operations)
    return dataclasses.replace(largest, m=min(largest.m, MOST_ROWS))


def product_call(bk: Backend, product: MatrixProduct) -> Callable[[], None]:
    """The product of random matrices of the backend's device and dtype, as a call that waits for the device."""
    rng = np.random.default_rng(0)

    def operand(rows: int, columns: int, transposed: bool) -> Array:
        shape = (columns, rows) if transposed else (rows, columns)
        values = bk.array(rng.random(shape, dtype=np.float32), bk.dtype)
        return values.T if transposed else values

    a = operand(product.m, product.k, product.transposed == "left")
    b = operand(product.k, product.n, product.transposed == "right")
    out = bk.xp.empty((product.m, product.n), dtype=bk.dtype, device=device(a))

    def call() -> None:
        bk.xp.matmul(a, b, out=out)
        bk.synchronize()

    return call


@dataclasses.dataclass(frozen=True)
class PeakFraction:
    """fraction = operations / (median seconds of the case × peak), with a bootstrap interval over the rounds.

    peak_product                            the product that reached the highest rate
    peak_operations_per_second              its rate in its fastest run
    peak_operations_per_second_median       its rate in its median run
    """

    fraction: float
    low: float
    high: float
    confidence: float
    peak_product: MatrixProduct
    peak_operations_per_second: float
    peak_operations_per_second_median: float


class CaseAmongProducts:
    """Times a case in turn with matrix products. Each call of the object is one round: the case runs once, each product
    at least once. Each product has run at least 20 times after `rounds` rounds, spread evenly over them.

    case       waits for its device before it returns
    products   each product and its call, made by `product_call`

    The peak is the highest rate of any single run. This is the strictest choice: a disturbed machine can lower the
    case's fraction and never raise it.
    """

    def __init__(
        self, case: Callable[[], object], products: Mapping[MatrixProduct, Callable[[], object]], rounds: int
    ) -> None:
        self._case, self._products, self.rounds = case, products, rounds
        self.case_seconds: list[float] = []
        self.product_seconds: dict[MatrixProduct, list[float]] = {product: [] for product in products}
        for call in products.values():
            call()  # the first touches its memory

    def __call__(self) -> None:
        before = len(self.case_seconds)
        self.case_seconds.append(seconds_of(self._case))
        due = max(before + 1, math.ceil(LEAST_RUNS * (before + 1) / self.rounds))
        for product, call in self._products.items():
            seconds = self.product_seconds[product]
            seconds.extend(seconds_of(call) for _ in range(due - len(seconds)))

    @property
    def median_seconds(self) -> float:
        """The case's median time."""
        return float(np.median(self.case_seconds))

    def fraction(self, operations: int, confidence: float = CONFIDENCE, seed: int = 0) -> PeakFraction:
        """The share of the peak at which the case does its `operations`."""
        rates = {product: product.operations / min(seconds) for product, seconds in self.product_seconds.items()}
        best = max(rates, key=lambda product: rates[product])
        fastest, slowest = bootstrap_median(np.array(self.case_seconds), confidence, seed)
        at_peak = operations / rates[best]
        return PeakFraction(
            at_peak / self.median_seconds,
            at_peak / slowest,
            at_peak / fastest,
            confidence,
            best,
            rates[best],
            best.operations / float(np.median(self.product_seconds[best])),
        )
