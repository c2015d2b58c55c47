"""Log densities compared with SciPy's, and their behaviour near the limits of floats."""

from __future__ import annotations

import numpy as np
import pytest
from core_fixtures import backend
from scipy import special, stats

RNG = np.random.default_rng(0)
X, MEAN, LOG_VAR, NOISE = RNG.standard_normal((4, 3, 5))
HEAD = np.concatenate([MEAN, LOG_VAR], axis=-1)


def check_gradient(bk, function, *values):
    """The gradient of Σ w function(*values) for random w, compared with central differences in float64."""
    variables = [bk.parameter(value) for value in values]
    out = function(*variables)
    w = np.random.default_rng(1).standard_normal(out.shape)
    bk.backward(bk.sum(out * w))
    for i, (variable, value) in enumerate(zip(variables, values, strict=True)):
        direction = np.random.default_rng(i).standard_normal(value.shape)

        def moved(step, i=i, direction=direction):
            shifted = [bk.parameter(v + step * direction if j == i else v) for j, v in enumerate(values)]
            return (bk.to_numpy(function(*shifted)) * w).sum()

        slope = (moved(1e-6) - moved(-1e-6)) / 2e-6
        np.testing.assert_allclose((bk.gradient(variable) * direction).sum(), slope, rtol=1e-6, atol=1e-8)


def test_gaussian_log_density_is_the_sum_over_the_event():
    bk = backend()
    got = bk.to_numpy(bk.gaussian_log_density(bk.parameter(X), bk.parameter(HEAD)))
    expected = stats.norm.logpdf(X, MEAN, np.exp(LOG_VAR / 2)).sum(axis=-1)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


def test_gaussian_log_density_broadcasts_over_draws_and_classes():
    bk = backend()
    x = bk.parameter(X[:, None, :])  # [3, 1, 5] against [1, 3, 5]
    got = bk.to_numpy(bk.gaussian_log_density(x, bk.parameter(HEAD[None])))
    for i in range(3):
        expected = stats.norm.logpdf(X[i], MEAN, np.exp(LOG_VAR / 2)).sum(axis=-1)
        np.testing.assert_allclose(got[i], expected, rtol=1e-13)


def test_standard_gaussian_log_density():
    bk = backend()
    got = bk.to_numpy(bk.standard_gaussian_log_density(bk.parameter(X)))
    np.testing.assert_allclose(got, stats.norm.logpdf(X).sum(axis=-1), rtol=1e-13)


LIMITS = pytest.mark.parametrize("limits", [None, (-0.3, 0.4)], ids=["free", "clipped"])


@LIMITS
def test_the_gradient_of_the_gaussian_log_density(limits):
    """x [3, 1, 5] is shared along the second axis, and the head [1, 3, 10] along the first."""
    bk = backend()
    check_gradient(bk, lambda x, head: bk.gaussian_log_density(x, head, limits), X[:, None], HEAD[None])


@LIMITS
def test_density_of_a_draw_is_the_density_at_the_draw_in_value_and_gradient(limits):
    bk = backend()
    head = bk.parameter(HEAD)
    z, short = bk.gaussian_draw(head, NOISE, limits)
    bk.backward(bk.sum(short * X[:, 0]))
    short_gradient = bk.gradient(head).copy()
    head.cleargrad()
    z, _ = bk.gaussian_draw(head, NOISE, limits)
    long = bk.gaussian_log_density(z, head, limits)
    bk.backward(bk.sum(long * X[:, 0]))
    np.testing.assert_allclose(bk.to_numpy(short), bk.to_numpy(long), rtol=1e-13)
    np.testing.assert_allclose(short_gradient, bk.gradient(head), rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(short_gradient[:, :5], 0)


@LIMITS
def test_the_gradient_of_the_gaussian_draw(limits):
    """Through the draw and its density at once; one head for three draws of noise."""
    bk, noise = backend(), RNG.standard_normal((3, 3, 5))

    def function(head):
        z, log_q = bk.gaussian_draw(head, noise, limits)
        return bk.sum(z * z * z, axis=-1) + log_q

    check_gradient(bk, function, HEAD[None])


def test_the_gradients_of_the_standard_gaussian_and_the_bernoulli():
    bk = backend()
    check_gradient(bk, bk.standard_gaussian_log_density, X)
    grey = RNG.random((1, 3, 5))
    check_gradient(bk, lambda logits: bk.bernoulli_log_density(grey, logits), RNG.standard_normal((2, 3, 5)))


def test_gaussian_draw_has_the_mean_and_variance_asked_for():
    bk = backend()
    noise = bk.normal(bk.generator(1), (20_000, 2))
    draws = bk.to_numpy(bk.gaussian_draw(bk.parameter([[3.0, -1.0, np.log(4.0), 0.0]]), noise)[0])
    np.testing.assert_allclose(draws.mean(axis=0), [3, -1], atol=4 * 2 / np.sqrt(20_000))
    np.testing.assert_allclose(draws.var(axis=0), [4, 1], rtol=4 * np.sqrt(2 / 20_000))


@pytest.mark.parametrize("x", [0.0, 0.25, 1.0])
def test_bernoulli_log_density_of_hard_and_grey_pixels(x):
    bk = backend()
    logits = 3 * X
    got = bk.to_numpy(bk.bernoulli_log_density(np.full_like(X, x), bk.parameter(logits)))
    p = special.expit(logits)
    np.testing.assert_allclose(got, (x * np.log(p) + (1 - x) * np.log1p(-p)).sum(axis=-1), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bernoulli_log_density_at_extreme_logits(dtype):
    bk = backend(dtype)
    logits = bk.parameter(np.array([[1e4], [-1e4], [1e4], [-1e4], [89.0], [-200.0]]))
    x = bk.array([[1], [0], [0], [1], [1], [0]])
    log_p = bk.bernoulli_log_density(x, logits)
    bk.backward(bk.sum(log_p))
    np.testing.assert_allclose(bk.to_numpy(log_p), [0, 0, -1e4, -1e4, 0, 0], rtol=1e-15, atol=1e-15)
    np.testing.assert_allclose(bk.gradient(logits)[:, 0], [0, 0, -1, 1, 0, 0], atol=1e-15)


def test_densities_of_float16_are_summed_in_float32():
    """Every term is exact in float16, but the sum of 4,001 terms is not: float16's numbers there are 2 apart."""
    bk, n = backend("float16"), 4001
    ones, zeros, twenties = np.ones((1, n)), np.zeros((1, n)), np.full((1, n), 20.0)
    for log_p, expected in (
        (bk.bernoulli_log_density(bk.array(zeros), bk.parameter(twenties)), -20 * n),
        (bk.standard_gaussian_log_density(bk.parameter(ones)), stats.norm.logpdf(1.0) * n),
        (
            bk.gaussian_log_density(bk.array(ones), bk.parameter(np.zeros((1, 2 * n)))),
            stats.norm.logpdf(1.0) * n,
        ),
        (bk.gaussian_draw(bk.parameter(np.zeros((1, 2 * n))), bk.array(ones))[1], stats.norm.logpdf(1.0) * n),
    ):
        assert log_p.dtype == np.float32
        np.testing.assert_allclose(bk.to_numpy(log_p), [expected], rtol=1e-6)
