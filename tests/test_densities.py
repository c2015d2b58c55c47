"""Log densities against SciPy's, and their behaviour at the edge of what floats hold."""

from __future__ import annotations

import numpy as np
import pytest
from core_fixtures import backend
from scipy import special, stats

from gsbench.densities import (
    bernoulli_log_density,
    gaussian_draw,
    gaussian_log_density,
    gaussian_log_density_of_draw,
    standard_gaussian_log_density,
)

RNG = np.random.default_rng(0)
X, MEAN, LOG_VAR, NOISE = RNG.standard_normal((4, 3, 5))


def test_gaussian_log_density_is_the_sum_over_the_event():
    bk = backend()
    got = bk.to_numpy(gaussian_log_density(bk, bk.parameter(X), MEAN, LOG_VAR))
    expected = stats.norm.logpdf(X, MEAN, np.exp(LOG_VAR / 2)).sum(axis=-1)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_gaussian_log_density_broadcasts_over_draws_and_classes():
    bk = backend()
    x = bk.parameter(X[:, None, :])  # [3, 1, 5] against [1, 3, 5]
    got = bk.to_numpy(gaussian_log_density(bk, x, MEAN[None], LOG_VAR[None]))
    for i in range(3):
        expected = stats.norm.logpdf(X[i], MEAN, np.exp(LOG_VAR / 2)).sum(axis=-1)
        np.testing.assert_allclose(got[i], expected, rtol=1e-13)


def test_standard_gaussian_log_density():
    bk = backend()
    got = bk.to_numpy(standard_gaussian_log_density(bk, bk.parameter(X)))
    np.testing.assert_allclose(got, stats.norm.logpdf(X).sum(axis=-1), rtol=1e-13)


def test_density_of_a_draw_is_the_density_at_the_draw_in_value_and_gradient():
    bk = backend()
    mean, log_var = bk.parameter(MEAN), bk.parameter(LOG_VAR)
    short = gaussian_log_density_of_draw(bk, NOISE, log_var)
    bk.backward(bk.sum(short))
    short_gradient = bk.gradient(log_var).copy()
    log_var.cleargrad()
    long = gaussian_log_density(bk, gaussian_draw(bk, mean, log_var, NOISE), mean, log_var)
    bk.backward(bk.sum(long))
    np.testing.assert_allclose(bk.to_numpy(short), bk.to_numpy(long), rtol=1e-13)
    np.testing.assert_allclose(short_gradient, bk.gradient(log_var), rtol=1e-12)
    np.testing.assert_allclose(bk.gradient(mean), 0, atol=1e-13)


def test_gaussian_draw_has_the_mean_and_variance_asked_for():
    bk = backend()
    noise = bk.normal(bk.generator(1), (20_000, 2))
    draws = bk.to_numpy(
        gaussian_draw(bk, bk.parameter([[3.0, -1.0]]), bk.parameter([[np.log(4.0), 0.0]]), noise)
    )
    np.testing.assert_allclose(draws.mean(axis=0), [3, -1], atol=4 * 2 / np.sqrt(20_000))
    np.testing.assert_allclose(draws.var(axis=0), [4, 1], rtol=4 * np.sqrt(2 / 20_000))


@pytest.mark.parametrize("x", [0.0, 0.25, 1.0])
def test_bernoulli_log_density_of_hard_and_grey_pixels(x):
    bk = backend()
    logits = 3 * X
    got = bk.to_numpy(bernoulli_log_density(bk, np.full_like(X, x), bk.parameter(logits)))
    p = special.expit(logits)
    np.testing.assert_allclose(got, (x * np.log(p) + (1 - x) * np.log1p(-p)).sum(axis=-1), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bernoulli_log_density_at_extreme_logits(dtype):
    bk = backend(dtype)
    logits = bk.parameter(np.array([[1e4], [-1e4], [1e4], [-1e4], [89.0], [-200.0]]))
    x = bk.array([[1], [0], [0], [1], [1], [0]])
    log_p = bernoulli_log_density(bk, x, logits)
    bk.backward(bk.sum(log_p))
    np.testing.assert_allclose(bk.to_numpy(log_p), [0, 0, -1e4, -1e4, 0, 0], rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(bk.gradient(logits)[:, 0], [0, 0, -1, 1, 0, 0], atol=1e-15)


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("float64", 1e-14)])
def test_softplus_and_its_gradient(dtype, rtol):
    bk = backend(dtype)
    values = np.array([-1e4, -200, -88.5, -20, -1, 0, 1e-3, 1, 20, 88.5, 200, 1e4])
    x = bk.parameter(values)
    y = bk.softplus(x)
    bk.backward(bk.sum(3 * y))
    assert y.dtype == np.dtype(dtype)
    np.testing.assert_allclose(bk.to_numpy(y), np.logaddexp(0, values), rtol=rtol, atol=1e-30)
    np.testing.assert_allclose(bk.gradient(x), 3 * special.expit(values), rtol=rtol, atol=1e-7)


def test_densities_of_float16_are_summed_in_float32():
    """Every term is exact in float16, and the sum of 4,001 of them is not: its numbers there are 2 apart."""
    bk, n = backend("float16"), 4001
    ones, zeros, twenties = np.ones((1, n)), np.zeros((1, n)), np.full((1, n), 20.0)
    for log_p, expected in (
        (bernoulli_log_density(bk, bk.array(zeros), bk.parameter(twenties)), -20 * n),
        (standard_gaussian_log_density(bk, bk.parameter(ones)), stats.norm.logpdf(1.0) * n),
        (
            gaussian_log_density(bk, bk.array(ones), bk.parameter(zeros), bk.array(zeros)),
            stats.norm.logpdf(1.0) * n,
        ),
        (gaussian_log_density_of_draw(bk, bk.array(ones), bk.parameter(zeros)), stats.norm.logpdf(1.0) * n),
    ):
        assert log_p.dtype == np.float32
        np.testing.assert_allclose(bk.to_numpy(log_p), [expected], rtol=1e-6)
