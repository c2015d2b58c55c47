"""Gumbel noise, the hard and the soft draw, the straight-through draw and the entropy."""

from __future__ import annotations

import types

import numpy as np
import oracles
import pytest
from core_fixtures import backend, z_score
from scipy import stats

from gsbench.categorical import (
    draw_classes,
    gumbel,
    gumbel_max,
    gumbel_softmax,
    gumbel_softmax_given,
    log_q_at,
    one_hot,
    straight_through,
)

TAUS = (0.05, 0.5, 1.0, 10.0)


class StubGenerator:
    """Gives `value` instead of each standard exponential draw."""

    def __init__(self, value: float) -> None:
        self.value = value

    def standard_exponential(self, shape):
        return np.full(shape, self.value)


def device_like(dtype: str):
    """A backend whose arrays are NumPy's, and which takes its noise as on a CUDA device."""
    bk = backend(dtype)
    bk._xp = types.SimpleNamespace(maximum=np.maximum)
    return bk


# Noise


@pytest.mark.parametrize("make", [backend, device_like])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("e", [0.0, 2.0**-53, 1e-12, 1.0, -np.log(2.0**-53)])
def test_gumbel_noise_at_the_ends_of_a_generators_range(e, dtype, make):
    """u = exp(−E): E = 0 is u = 1, and E = −log 2⁻⁵³ the smallest u > 0 that float64 generators give."""
    g = gumbel(make(dtype), StubGenerator(e), (3, 4))
    assert g.shape == (3, 4)
    assert g.dtype == np.promote_types(dtype, np.float32)
    np.testing.assert_allclose(g, -np.log(max(e, 2.0**-54)), rtol=1e-6, atol=1e-12)


def test_a_device_draws_the_same_noise_from_the_same_generator():
    shape = (3, 40_000)  # more than is drawn at once on a CPU
    np.testing.assert_array_equal(
        gumbel(backend("float32"), np.random.default_rng(2), shape),
        gumbel(device_like("float32"), np.random.default_rng(2), shape),
    )


def test_noise_has_a_fine_grid_near_0_where_rare_classes_are_drawn():
    """A class of probability q wins if its E is below q times the least E/q of the others. So P(E < e) must be right
    for all small e.

    Of 20,000,000 draws, about 1,200 are below 2⁻¹⁴. These are uniform, and so are their remainders modulo 2⁻⁴²: the
    density is flat near 0, and no grid as coarse as 2e-13 is visible. Float32's generators have a grid of 2⁻²³.
    """
    bk, n, below = backend("float64"), 20_000_000, 2.0**-14
    rng = bk.generator(5)
    e = np.concatenate([e[e < below] for e in (bk.exponential(rng, (n // 20,)) for _ in range(20))])
    assert stats.binomtest(len(e), n, -np.expm1(-below)).pvalue > 1e-3
    assert stats.kstest(e / below, "uniform").pvalue > 1e-3
    assert stats.kstest(np.modf(e * 2.0**42)[0], "uniform").pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_noise_of_a_narrower_dtype_is_rounded_float64_noise(dtype):
    narrow, fine = backend(dtype), backend("float64")
    e = narrow.exponential(narrow.generator(3), (200, 1000))
    np.testing.assert_array_equal(e, fine.exponential(fine.generator(3), (200, 1000)).astype(np.float32))


@pytest.mark.long
@pytest.mark.parametrize("log10_q", [-7, -8])
def test_rare_classes_are_drawn_as_often_as_they_should_be(log10_q):
    """9,999 classes of probability q beside a likely one, in float32. With a grid of 2⁻²⁴ they would be drawn 0.73 and
    0.015 times as often."""
    bk, n_classes, q = backend("float32"), 10_000, 10.0**log10_q
    log_q = np.full(n_classes, np.log(q), np.float32)
    log_q[0] = np.log1p(-(n_classes - 1) * q)
    rng, rows = bk.generator(11), 400_000
    rare = sum(int((gumbel_max(bk, log_q, gumbel(bk, rng, (100, n_classes))) > 0).sum()) for _ in range(rows // 100))
    assert stats.binomtest(rare, rows, (n_classes - 1) * q).pvalue > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gumbel_noise_has_the_gumbel_distribution(dtype):
    bk = backend(dtype)
    g = gumbel(bk, bk.generator(0), (100, 500))
    assert g.shape == (100, 500)
    assert stats.kstest(g.ravel().astype(np.float64), "gumbel_r").pvalue > 1e-3
    assert abs(z_score(g.ravel().astype(np.float64), np.euler_gamma)) < 4


def test_same_seed_gives_the_same_noise_and_another_seed_another():
    bk = backend("float32")
    first = gumbel(bk, bk.generator(7), (50,))
    np.testing.assert_array_equal(first, gumbel(bk, bk.generator(7), (50,)))
    assert not np.any(first == gumbel(bk, bk.generator(8), (50,)))


# Gumbel-Max


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_gumbel_max_draws_from_q(n_classes, dtype):
    bk = backend(dtype)
    log_q = oracles.log_softmax(1.2 * np.random.default_rng(n_classes).standard_normal(n_classes))
    draws = gumbel_max(bk, log_q, gumbel(bk, bk.generator(1), (20_000, n_classes)))
    assert draws.shape == (20_000,)
    assert draws.dtype.kind == "i"
    counts = np.bincount(draws, minlength=n_classes)
    assert stats.chisquare(counts, 20_000 * np.exp(log_q)).pvalue > 1e-3


def test_draws_of_classes_are_from_q_and_independent():
    """Draws [N, S, B] from a different log q [N, B, K] for each row. Pairs of draws have the distribution of pairs."""
    bk, n_classes = backend(), 3
    log_q = oracles.log_softmax(np.random.default_rng(0).standard_normal((2, 1, n_classes)))
    variable = bk.parameter(np.repeat(log_q, 20_000, axis=1))
    y = draw_classes(bk, bk.generator(1), variable, 2)
    assert y.shape == (2, 2, 20_000)
    for n, q in enumerate(np.exp(log_q[:, 0])):
        pairs = np.bincount(n_classes * y[n, 0] + y[n, 1], minlength=n_classes**2)
        assert stats.chisquare(pairs, 20_000 * np.outer(q, q).ravel()).pvalue > 1e-3


def test_gumbel_max_names_the_class_of_the_largest_sum():
    bk = backend()
    rng = np.random.default_rng(0)
    log_q, g = rng.standard_normal((6, 5)), rng.standard_normal((6, 5))
    np.testing.assert_array_equal(gumbel_max(bk, bk.parameter(log_q), g), np.argmax(log_q + g, axis=-1))


def test_gumbel_max_of_float16_does_not_tie_at_ten_thousand_classes():
    """If noise had only 2,048 values, the largest would tie in nearly every row, and the first class would win."""
    bk, n, n_classes = backend("float16"), 400, 10_000
    log_q = bk.log_softmax(bk.parameter(np.zeros((n, n_classes))))
    assert log_q.dtype == np.float32
    g = gumbel(bk, bk.generator(3), (n, n_classes))
    winners = gumbel_max(bk, log_q, g)
    scores = bk.to_numpy(log_q) + g
    assert ((scores == scores.max(axis=-1, keepdims=True)).sum(axis=-1) > 1).sum() <= 2
    assert abs(winners.mean() - (n_classes - 1) / 2) < 4 * n_classes / np.sqrt(12 * n)


def test_gumbel_max_of_float16_compares_in_float32():
    """Both sums are the same number in float16, so the first class would win there."""
    bk = backend("float16")
    log_q = bk.log_softmax(bk.parameter(np.zeros((1, 2))))
    g = np.array([[9.001, 9.003]], dtype=np.float32)
    assert np.float16(g[0, 0]) == np.float16(g[0, 1])
    np.testing.assert_array_equal(gumbel_max(bk, log_q, g), [1])


# Gumbel-Softmax


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_gumbel_softmax_given_its_noise(n_classes, tau):
    bk = backend()
    rng = np.random.default_rng(n_classes)
    log_q, g = oracles.log_softmax(rng.standard_normal((4, n_classes))), rng.gumbel(size=(4, n_classes))
    s = bk.to_numpy(gumbel_softmax(bk, bk.parameter(log_q), g, tau))
    # One computation gives 0 for values below 1e-280, the other a denormal.
    np.testing.assert_allclose(s, oracles.soft_point(log_q, g, tau), rtol=1e-10, atol=1e-280)
    np.testing.assert_allclose(s.sum(axis=-1), 1, rtol=1e-12)


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("n_classes", [2, 7])
def test_gradient_of_gumbel_softmax_given_its_noise_equals_finite_differences(n_classes, tau):
    bk = backend()
    rng = np.random.default_rng(n_classes)
    values, c = rng.standard_normal((2, 3, n_classes))
    g = rng.gumbel(size=(3, n_classes))
    logits = bk.parameter(values)
    s = gumbel_softmax(bk, bk.log_softmax(logits), g, tau)
    bk.backward(bk.sum(c * s))
    gradient, h = bk.gradient(logits), 1e-6 * tau
    for b, k in np.ndindex(values.shape):
        step = np.zeros_like(values)
        step[b, k] = h
        up, down = (oracles.soft_point(oracles.log_softmax(values + e), g, tau) for e in (step, -step))
        expected = (c * (up - down)).sum() / (2 * h)
        assert gradient[b, k] == pytest.approx(expected, rel=1e-6, abs=1e-8 / tau)


def test_gumbel_softmax_is_the_hard_draw_at_low_temperature_and_its_mean_is_q():
    bk = backend()
    log_q = oracles.log_softmax(np.array([0.3, -1.0, 1.1]))
    g = gumbel(bk, bk.generator(2), (20_000, 3))
    s = bk.to_numpy(gumbel_softmax(bk, bk.parameter(np.broadcast_to(log_q, g.shape)), g, 1e-7))
    np.testing.assert_allclose(s, oracles.one_hot(gumbel_max(bk, log_q, g), 3), atol=1e-6)
    for k in range(3):
        assert abs(z_score(s[:, k], np.exp(log_q[k]))) < 4


def test_gumbel_softmax_and_its_mean_are_uniform_at_high_temperature():
    bk = backend()
    log_q = bk.parameter(oracles.log_softmax(np.array([[0.3, -1.0, 1.1]])))
    g = gumbel(bk, bk.generator(2), (1000, 3))
    s = bk.to_numpy(gumbel_softmax(bk, log_q, g, 1e6))
    np.testing.assert_allclose(s, 1 / 3, atol=1e-4)
    # Between these, the mean moves steadily from q towards 1/K.
    distances = [
        abs(bk.to_numpy(gumbel_softmax(bk, log_q, g, tau)).mean(axis=0) - 1 / 3).sum()
        for tau in (0.01, 1, 3, 30, 300)
    ]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01 < 0.3 < distances[0]


@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan"), float("inf"), 9.9e-11])
def test_temperature_must_be_at_least_the_least(tau):
    bk = backend()
    for relax in (gumbel_softmax, straight_through):
        with pytest.raises(ValueError, match=f"tau must be >= 1e-10 and finite, got {tau}"):
            relax(bk, bk.parameter(np.zeros((1, 3))), np.zeros((1, 3)), tau)
    with pytest.raises(ValueError, match=f"tau must be >= 1e-10 and finite, got {tau}"):
        gumbel_softmax_given(bk, bk.parameter(np.zeros((1, 3))), np.zeros(1, int), np.zeros((1, 1, 3)), tau)


# Straight-through


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_straight_through_is_exactly_one_hot_forward(dtype):
    bk = backend(dtype)
    log_q = bk.log_softmax(bk.parameter(np.random.default_rng(0).standard_normal((50, 7))))
    g = gumbel(bk, bk.generator(4), (50, 7))
    y = straight_through(bk, log_q, g, 0.7)
    assert y.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(bk.to_numpy(y), oracles.hard_point(bk.to_numpy(log_q), g))


@pytest.mark.parametrize("tau", TAUS)
def test_straight_through_takes_the_jacobian_of_the_soft_draw_backward(tau):
    """∂/∂logits = J(s) ∇_D / τ; log-softmax adds nothing, because J(s) 1 = 0."""
    bk = backend()
    rng = np.random.default_rng(1)
    values, c = rng.standard_normal((2, 4, 5))
    g = rng.gumbel(size=(4, 5))
    logits = bk.parameter(values)
    bk.backward(bk.sum(c * straight_through(bk, bk.log_softmax(logits), g, tau)))
    s = oracles.soft_point(oracles.log_softmax(values), g, tau)
    expected = [oracles.jacobian(s[b]) @ c[b] / tau for b in range(4)]
    np.testing.assert_allclose(bk.gradient(logits), expected, rtol=1e-9, atol=1e-13)


# The soft draw given the hard one


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("n_classes", [2, 7])
def test_gumbel_softmax_given_is_the_softmax_of_the_sums_given_their_argmax(n_classes, tau):
    """The sums come from the formulas with E = e^−g; y is any class, not only the likeliest."""
    bk, rng = backend(), np.random.default_rng(n_classes)
    log_q = oracles.log_softmax(2 * rng.standard_normal((4, n_classes)))
    y, g = np.arange(4) % n_classes, rng.gumbel(size=(3, 4, n_classes))
    s = gumbel_softmax_given(bk, bk.parameter(log_q), y, g, tau)
    assert s.shape == g.shape
    for m, b in np.ndindex(3, 4):
        G = oracles.gumbel_given(log_q[b], y[b], np.exp(-g[m, b]))
        assert np.argmax(G) == y[b]
        np.testing.assert_allclose(s[m, b], oracles.softmax(G / tau), rtol=1e-9, atol=1e-280)


@pytest.mark.parametrize("tau", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("y", [0, 1, 2])
def test_gumbel_softmax_given_has_the_law_of_the_soft_draws_with_that_argmax(y, tau):
    """Compared with rejection sampling: each component, and a direction that couples them."""
    bk, rng = backend(), np.random.default_rng(y)
    log_q = np.log([0.6, 0.1, 0.3])
    g = rng.gumbel(size=(60_000, 3))
    kept = g[np.argmax(log_q + g, axis=-1) == y][:5000]
    assert len(kept) == 5000
    expected = oracles.soft_point(log_q, kept, tau)
    s = gumbel_softmax_given(bk, log_q[None], np.array([y]), gumbel(bk, bk.generator(4), (5000, 1, 3)), tau)[:, 0]
    assert (s.argmax(axis=-1) == y).all()
    for direction in (*np.eye(3), [1.0, -0.5, 0.3]):
        assert stats.ks_2samp(s @ direction, expected @ direction).pvalue > 1e-3 / 4
    assert stats.ks_2samp(np.log(s[:, 0] * s[:, 1]), np.log(expected[:, 0] * expected[:, 1])).pvalue > 1e-3 / 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("tau", [0.05, 1.0])
def test_gumbel_softmax_given_is_finite_at_logits_of_ten_thousand(tau, dtype):
    bk, n_classes = backend(dtype), 50
    values = np.random.default_rng(0).choice([-1e4, 0.0, 1e4], size=(6, n_classes))
    log_q = bk.log_softmax(bk.parameter(values))
    g = gumbel(bk, bk.generator(0), (4, 6, n_classes))
    for y in (values.argmax(axis=-1), values.argmin(axis=-1)):  # the second has probability 0
        s = gumbel_softmax_given(bk, log_q, y, g, tau)
        assert np.isfinite(s).all()
        np.testing.assert_allclose(s.sum(axis=-1), 1, rtol=1e-5)
        assert (np.take_along_axis(s, np.broadcast_to(y[..., None], (4, 6, 1)), -1) == s.max(-1, keepdims=True)).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_hot_rows(dtype):
    bk = backend(dtype)
    got = one_hot(bk, bk.integers([[2, 0], [1, 2]]), 3)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(got, np.eye(3)[[[2, 0], [1, 2]]])


# Log q of a label, and entropy


def test_log_q_at_labels():
    bk, values = backend(), np.random.default_rng(0).standard_normal((2, 3, 4))
    got = bk.to_numpy(log_q_at(bk, bk.parameter(values), bk.integers([3, 0, 1])))
    np.testing.assert_allclose(got, oracles.log_softmax(values)[:, [0, 1, 2], [3, 0, 1]], rtol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3, 7, 1000])
def test_entropy(n_classes):
    bk = backend()
    values = 2 * np.random.default_rng(0).standard_normal((3, n_classes))
    got = bk.to_numpy(bk.entropy(bk.log_softmax(bk.parameter(values))))
    np.testing.assert_allclose(got, stats.entropy(oracles.softmax(values), axis=-1), rtol=1e-12)


def test_gradient_of_the_entropy_equals_finite_differences():
    bk = backend()
    values = np.random.default_rng(0).standard_normal((2, 4))
    logits = bk.parameter(values)
    bk.backward(bk.sum(bk.entropy(bk.log_softmax(logits))))
    h = 1e-6
    for b, k in np.ndindex(values.shape):
        step = np.zeros_like(values)
        step[b, k] = h
        up, down = (oracles.entropy(oracles.log_softmax(values + e)).sum() for e in (step, -step))
        assert bk.gradient(logits)[b, k] == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-9)


# The edge of what floats hold


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("tau", [0.05, 1.0])
@pytest.mark.parametrize("n_classes", [2, 1000, 10_000])
def test_everything_is_finite_at_logits_of_ten_thousand(n_classes, tau, dtype):
    bk = backend(dtype)
    values = np.random.default_rng(0).choice([-1e4, 0.0, 1e4], size=(6, n_classes))
    values[0], values[1], values[2] = 1e4, -1e4, -1e4
    values[2, 1] = 1e4  # rows: uniform, uniform, certain, mixed
    logits = bk.parameter(values)
    log_q = bk.log_softmax(logits)
    g = gumbel(bk, bk.generator(0), (6, n_classes))
    s, y, H = gumbel_softmax(bk, log_q, g, tau), straight_through(bk, log_q, g, tau), bk.entropy(log_q)
    bk.backward(bk.sum(s * s) + bk.sum(y * y) + bk.sum(H))
    for array in (log_q, s, y, H):
        assert np.isfinite(bk.to_numpy(array)).all()
    assert np.isfinite(bk.gradient(logits)).all()
    np.testing.assert_allclose(
        bk.to_numpy(H)[:3], [np.log(n_classes), np.log(n_classes), 0], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_array_equal(bk.to_numpy(y)[2], oracles.one_hot(1, n_classes))
    np.testing.assert_allclose(
        bk.to_numpy(s).astype(np.float64).sum(axis=-1), 1, atol=2e-3 * (1 + (dtype == "float16"))
    )
