"""The peak of matrix products, and a case's share of it."""

import time
import types

import numpy as np
import pytest

from gsbench.backends import load_backend
from gsbench.meters.operations import MatrixProduct
from gsbench.meters.products import SQUARES, CaseAmongProducts, largest_product, product_call

SMALL, LARGE = MatrixProduct(2, 3, 4), MatrixProduct(20, 30, 40)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only `clock.seconds` moves."""
    clock = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(time, "perf_counter", lambda: clock.seconds)
    return clock


def takes(clock, *seconds):
    """A call that takes each of these seconds in turn, again and again."""
    calls = iter(range(10**6))

    def call():
        clock.seconds += seconds[next(calls) % len(seconds)]

    return call


@pytest.mark.parametrize(("rounds", "runs"), [(1, 20), (3, 20), (9, 20), (20, 20), (33, 33)])
def test_every_product_runs_20_times_evenly_among_the_rounds(rounds, runs):
    order = []
    calls = {product: lambda name=name: order.append(name) for product, name in ((SMALL, "s"), (LARGE, "L"))}
    turns = CaseAmongProducts(lambda: order.append("case"), calls, rounds)
    order.clear()  # each product once, to warm up
    for _ in range(rounds):
        turns()
    assert len(turns.case_seconds) == order.count("case") == rounds
    assert [len(seconds) for seconds in turns.product_seconds.values()] == [runs, runs]
    parts = "".join("|" if name == "case" else name for name in order).split("|")
    assert parts[0] == ""  # the case comes first
    assert all(part.count("s") == part.count("L") for part in parts)
    assert {part.count("s") for part in parts[1:]} <= {runs // rounds, runs // rounds + 1}


def test_the_fraction_is_relative_to_the_fastest_run_of_any_product(clock):
    # 48 operations in 2 s at best: 24/s. 48,000 in 1,000 s at best: 48/s, at the median 24/s.
    calls = {SMALL: takes(clock, 2.0, 4.0), LARGE: takes(clock, 2000.0, 2000.0, 2000.0, 2000.0, 1000.0)}
    turns = CaseAmongProducts(takes(clock, 5.0, 4.0, 5.0, 10.0, 5.0), calls, rounds=5)
    for _ in range(5):
        turns()
    found = turns.fraction(operations=60)
    assert found.peak_product is LARGE
    assert found.peak_operations_per_second == pytest.approx(48)
    assert found.peak_operations_per_second_median == pytest.approx(24)
    assert found.fraction == pytest.approx(60 / (5 * 48))
    assert (found.low, found.high) == (pytest.approx(60 / (10 * 48)), pytest.approx(60 / (4 * 48)))
    assert found.confidence == 0.99


@pytest.mark.parametrize("transposed", ["", "left", "right"])
def test_a_product_call_multiplies_as_its_operands_lie_in_memory(transposed):
    bk = load_backend("chainer", "cpu", "float64")
    seen = []

    class Arrays:
        empty = staticmethod(bk.xp.empty)

        @staticmethod
        def matmul(a, b, out):
            seen.append((a, b, np.matmul(a, b, out=out)))

    waited = []
    stand_in = types.SimpleNamespace(
        array=bk.array, dtype=bk.dtype, xp=Arrays, synchronize=lambda: waited.append(len(seen))
    )
    product_call(stand_in, MatrixProduct(2, 3, 4, transposed))()
    ((a, b, out),) = seen
    assert waited == [1]
    assert (a.shape, b.shape, out.shape) == ((2, 3), (3, 4), (2, 4))
    assert {a.dtype, b.dtype, out.dtype} == {np.dtype("float64")}
    assert a.flags.c_contiguous is (transposed != "left")
    assert b.flags.c_contiguous is (transposed != "right")
    np.testing.assert_allclose(out, [[sum(a[i] * b[:, j]) for j in range(4)] for i in range(2)])


def test_real_products_have_a_rate():
    bk = load_backend("chainer", "cpu", "float32")
    case = product_call(bk, MatrixProduct(64, 64, 64))
    turns = CaseAmongProducts(case, {LARGE: product_call(bk, LARGE)}, rounds=2)
    turns(), turns()
    found = turns.fraction(2 * 64**3)
    assert 0 < found.low <= found.fraction <= found.high
    assert found.peak_operations_per_second >= found.peak_operations_per_second_median > 1e6


def test_the_largest_product_has_the_most_operations_and_no_more_rows_than_fit():
    assert largest_product([SMALL, LARGE, MatrixProduct(40, 30, 20)]) == LARGE
    assert largest_product([MatrixProduct(50_000, 5, 7, "right"), LARGE]) == MatrixProduct(20_000, 5, 7, "right")


def test_the_squares_are_spelled_as_records_have_them():
    assert [str(product) for product in SQUARES] == ["1024x1024x1024", "2048x2048x2048"]
    assert SQUARES[0].operations == 2 * 1024**3
