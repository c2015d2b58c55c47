"""Sampling estimators compared with plain formulas for one example: given their draws, and in the mean.

The tests cover value and gradient given the draws, the bias if an oracle gives its amount, and the variance. f is a
`ToyBound` or a model's bound.
"""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from core_fixtures import (
    BATCH,
    backend,
    check_gradients,
    gumbel_draws,
    make_model,
    make_pixels,
    noise_of_seed,
    plain_noise,
    replicated,
    toy_bound,
    value_and_gradient,
    z_bound,
    z_score,
    z_scores,
)
from oracles import Oracle
from scipy import integrate

from gsbench.estimators import parse_estimator
from gsbench.models import MODELS
from gsbench.training.objective import unlabelled_bound

BOTH = pytest.mark.parametrize("model_name", list(MODELS))
K = 5
LOGITS = np.array([0.8, -0.4, 0.1, -1.0, 0.5])


def own_logits(copies, n_classes=K, seed=0):
    """Different logits for each copy."""
    return np.random.default_rng(seed).standard_normal((copies, n_classes))


# Given the draws, example by example


@pytest.mark.parametrize("cubic", [0.0, 0.2])
@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_straight_through_gradient_of_the_logits_is_j_s_over_tau_times_the_slope_at_the_hard_point(tau, cubic):
    f, logits = toy_bound(backend(), K, 20, cubic=cubic), own_logits(20)
    values, gradients = value_and_gradient(parse_estimator(f"straight-through(tau={tau})"), f, logits, seed=3)
    g, log_q = gumbel_draws(np.random.default_rng(3), (20, K)), oracles.log_softmax(logits)
    for b in range(20):
        hard = oracles.hard_point(log_q[b], g[b])
        assert values[b] == pytest.approx(f.plain(hard), rel=1e-12)
        expected = oracles.jacobian(oracles.soft_point(log_q[b], g[b], tau)) @ f.slope(hard) / tau
        np.testing.assert_allclose(gradients[b], expected, rtol=1e-7, atol=1e-10)


def test_the_slope_of_the_toy_bound_is_its_derivative():
    f, h = toy_bound(backend(), K, 1, cubic=0.2), 1e-6
    y = oracles.one_hot(2, K)
    expected = [(f.plain(y + h * e) - f.plain(y - h * e)) / (2 * h) for e in np.eye(K)]
    np.testing.assert_allclose(f.slope(y), expected, rtol=1e-7)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("tau", [0.3, 1.0])
@pytest.mark.parametrize("conditional_draws", [1, 4])
def test_gumbel_rao_gradient_is_the_mean_jacobian_over_the_noise_given_the_hard_point(
    conditional_draws, tau, n_classes
):
    """The noise of the hard point is drawn first, then the noise of the soft points: G's formula with E = e^−g."""
    f, logits = toy_bound(backend(), n_classes, 20), own_logits(20, n_classes)
    estimator = parse_estimator(f"gumbel-rao(tau={tau},conditional_draws={conditional_draws})")
    values, gradients = value_and_gradient(estimator, f, logits, seed=3)
    rng, log_q = np.random.default_rng(3), oracles.log_softmax(logits)
    g = gumbel_draws(rng, (20, n_classes))
    E = np.exp(-gumbel_draws(rng, (conditional_draws, 20, n_classes)))
    for b in range(20):
        i = int(np.argmax(log_q[b] + g[b]))
        hard = oracles.one_hot(i, n_classes)
        assert values[b] == pytest.approx(f.plain(hard), rel=1e-12)
        expected = oracles.gumbel_rao_jacobian(log_q[b], i, E[:, b], tau) @ f.slope(hard)
        np.testing.assert_allclose(gradients[b], expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
def test_reinmax_gradient_given_the_hard_point(tau, n_classes):
    f, logits = toy_bound(backend(), n_classes, 20, cubic=0.2), own_logits(20, n_classes)
    values, gradients = value_and_gradient(parse_estimator(f"reinmax(tau={tau})"), f, logits, seed=3)
    g = gumbel_draws(np.random.default_rng(3), (20, n_classes))
    for b in range(20):
        i = int(np.argmax(logits[b] + g[b]))
        hard = oracles.one_hot(i, n_classes)
        assert values[b] == pytest.approx(f.plain(hard), rel=1e-12)
        expected = oracles.reinmax_jacobian(logits[b], i, tau) @ f.slope(hard)
        np.testing.assert_allclose(gradients[b], expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("draws", [2, 3, 8])
def test_score_function_value_and_gradient_given_the_draws(draws, n_classes):
    f, logits = toy_bound(backend(), n_classes, 20), own_logits(20, n_classes)
    values, gradients = value_and_gradient(parse_estimator(f"score-function(draws={draws})"), f, logits, seed=3)
    g = gumbel_draws(np.random.default_rng(3), (draws, 20, n_classes))
    y = np.argmax(logits + g, axis=-1)  # [S, B]
    assert any(len(set(y[:, b])) > 1 for b in range(20))
    for b in range(20):
        value, gradient = oracles.score_function(logits[b], f.of_classes, y[:, b])
        assert values[b] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(gradients[b], gradient, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("n_classes", "m"), [(2, 1), (5, 1), (5, 2), (5, 3), (5, 4)])
def test_sum_and_sample_value_and_gradient_given_the_draw(n_classes, m):
    f, logits = toy_bound(backend(), n_classes, 20), own_logits(20, n_classes)
    values, gradients = value_and_gradient(parse_estimator(f"sum-and-sample(m={m})"), f, logits, seed=3)
    g = gumbel_draws(np.random.default_rng(3), (20, n_classes))
    for b in range(20):
        C = oracles.likeliest(logits[b], m)
        y = max((k for k in range(n_classes) if k not in C), key=lambda k: logits[b, k] + g[b, k])
        value, gradient = oracles.sum_and_sample(logits[b], f.of_classes, C, y)
        assert values[b] == pytest.approx(value, rel=1e-12)
        np.testing.assert_allclose(gradients[b], gradient, rtol=1e-7, atol=1e-10)


# Given the draws, with respect to every parameter of a model: functions of the parameters whose gradient the estimator
# defines. The constants in them are computed before any parameter moves.


def slopes_at(oracle, x, eps_a, eps_z, hard):
    """∂f/∂y at hard points [B, K], for all classes, by finite differences: [B, K]"""
    h = 1e-5
    steps = h * np.eye(hard.shape[-1])
    bound = [(oracle.bound(x, eps_a, eps_z, hard + e) - oracle.bound(x, eps_a, eps_z, hard - e)) for e in steps]
    return np.stack(bound, axis=1) / (2 * h)


def gumbel_rao_surrogate(oracle, x, eps_a, eps_z, rng, tau, draws, conditional_draws):
    """f(D) + ⟨∇_D f, mean_m softmax((log q + g_m)/τ)⟩ with g_m = G_m − log q held fixed: one draw of a, and S of D."""
    log_q = oracles.log_softmax(oracle.logits(x, eps_a))
    g = gumbel_draws(rng, (draws, *log_q.shape))
    E = np.exp(-gumbel_draws(rng, (conditional_draws, draws, *log_q.shape)))
    i = np.argmax(log_q + g, axis=-1)  # [S, B]
    hard = oracles.one_hot(i, log_q.shape[-1])
    slopes = [slopes_at(oracle, x, eps_a, eps_z, D) for D in hard]
    fixed = np.empty_like(E)
    for m, s, b in np.ndindex(E.shape[:3]):
        fixed[m, s, b] = oracles.gumbel_given(log_q[b], i[s, b], E[m, s, b]) - log_q[b]

    def value():
        log_q = oracles.log_softmax(oracle.logits(x, eps_a))
        total = 0
        for s in range(draws):
            soft = np.mean([oracles.soft_point(log_q, fixed[m, s], tau) for m in range(conditional_draws)], axis=0)
            total = total + oracle.bound(x, eps_a, eps_z, hard[s]) + (slopes[s] * soft).sum(axis=1)
        return total / draws

    return value


def reinmax_surrogate(oracle, x, eps_a, eps_z, rng, tau):
    """f(D) + 2 ⟨∇, softmax(θ + c)⟩ − ½ ⟨∇, softmax(θ)⟩, c = log p − θ held fixed: the gradient of ⟨∇, softmax(θ + c)⟩
    is J(p) ∇.
    """
    logits = oracle.logits(x, eps_a)
    hard = oracles.hard_point(oracles.log_softmax(logits), gumbel_draws(rng, logits.shape))
    slopes = slopes_at(oracle, x, eps_a, eps_z, hard)
    c = np.log((oracles.softmax(logits / tau) + hard) / 2) - logits

    def value():
        logits = oracle.logits(x, eps_a)
        by_point = 2 * oracles.softmax(logits + c) - 0.5 * oracles.softmax(logits)
        return oracle.bound(x, eps_a, eps_z, hard) + (slopes * by_point).sum(axis=1)

    return value


def score_function_surrogate(oracle, x, eps_a, eps_z, rng, draws):
    """mean_s [ f(y_s) + A_s log q(y_s) ], A_s = f(y_s) − mean_{t≠s} f(y_t) held fixed."""
    logits = oracle.logits(x, eps_a)
    y = np.argmax(logits + gumbel_draws(rng, (draws, *logits.shape)), axis=-1)
    hard, at = oracles.one_hot(y, logits.shape[-1]), np.arange(len(x))
    f = np.stack([oracle.bound(x, eps_a, eps_z, D) for D in hard])
    advantage = [f[s] - np.delete(f, s, axis=0).mean(axis=0) for s in range(draws)]

    def value():
        log_q = oracles.log_softmax(oracle.logits(x, eps_a))
        terms = [oracle.bound(x, eps_a, eps_z, hard[s]) + advantage[s] * log_q[at, y[s]] for s in range(draws)]
        return np.mean(terms, axis=0)

    return value


def sum_and_sample_surrogate(oracle, x, eps_a, eps_z, rng, **prefix):
    """Σ_C q_k (f_k − b) + r [ f(y') + (sg f(y') − b) log q(y') ] with C, b, r = 1 − q_C and y' held fixed; b's own
    share is the constant that Σ_C ∇q_k (f_k − b) takes off.
    """
    logits = oracle.logits(x, eps_a)
    (batch, n_classes), g = logits.shape, gumbel_draws(rng, logits.shape)
    f = oracle.class_bounds(x, [eps_a], eps_z[None])[0]  # [B, K]
    C = [oracles.prefix(logits[b], **prefix) for b in range(batch)]
    rest = [[k for k in range(n_classes) if k not in C[b]] for b in range(batch)]
    y = [max(rest[b], key=lambda k, b=b: logits[b, k] + g[b, k]) for b in range(batch)]
    of_rest = [oracles.softmax(logits[b])[rest[b]].sum() for b in range(batch)]
    base = [oracles.baseline(logits[b], f[b], C[b]) for b in range(batch)]

    def value():
        log_q = oracles.log_softmax(oracle.logits(x, eps_a))
        now = oracle.class_bounds(x, [eps_a], eps_z[None])[0]
        total = np.zeros(batch)
        for b in range(batch):
            total[b] = sum(np.exp(log_q[b, k]) * (now[b, k] - base[b]) for k in C[b])
            total[b] += of_rest[b] * (now[b, y[b]] + (f[b, y[b]] - base[b]) * log_q[b, y[b]])
        return total

    return value


def sum_and_relax_surrogate(oracle, x, eps_a, eps_z, rng, tau, **prefix):
    """Σ_C q_k f_k + (1 − q_C) f(s'), with C held fixed."""
    logits = oracle.logits(x, eps_a)
    (batch, n_classes), g = logits.shape, gumbel_draws(rng, logits.shape)
    C = [oracles.prefix(logits[b], **prefix) for b in range(batch)]

    def value():
        log_q = oracles.log_softmax(oracle.logits(x, eps_a))
        now = oracle.class_bounds(x, [eps_a], eps_z[None])[0]
        soft = np.zeros((batch, n_classes))
        for b in range(batch):
            rest = [k for k in range(n_classes) if k not in C[b]]
            soft[b, rest] = oracles.soft_point(log_q[b, rest], g[b, rest], tau)
        of_soft, total = oracle.bound(x, eps_a, eps_z, soft), np.zeros(batch)
        for b in range(batch):
            q = np.exp(log_q[b])
            total[b] = sum(q[k] * now[b, k] for k in C[b]) + (1 - sum(q[k] for k in C[b])) * of_soft[b]
        return total

    return value


def unordered_set_surrogate(oracle, x, eps_a, eps_z, rng, k):
    """Σ_S q_s R f_s + ⟨gradient with respect to θ, θ⟩, with S, the weights q_s R and that gradient held fixed."""
    logits = oracle.logits(x, eps_a)
    batch, n_classes = logits.shape
    scores = logits + gumbel_draws(rng, logits.shape)
    f = oracle.class_bounds(x, [eps_a], eps_z[None])[0]  # [B, K]
    S = [oracles.likeliest(scores[b], k) for b in range(batch)]
    weight = [[oracles.unordered_set(logits[b], e, S[b])[0] for e in np.eye(n_classes)] for b in range(batch)]
    by_logits = np.array([oracles.unordered_set(logits[b], f[b], S[b])[1] for b in range(batch)])

    def value():
        now = oracle.class_bounds(x, [eps_a], eps_z[None])[0]
        return (by_logits * oracle.logits(x, eps_a)).sum(axis=-1) + (weight * now).sum(axis=-1)

    return value


def hard_point_surrogate(oracle, x, eps_a, eps_z, rng, jacobian):
    """f(D) + ⟨J ∇, θ⟩ with the hard point D, ∇ = ∂f/∂D and the matrix J held fixed."""
    logits = oracle.logits(x, eps_a)
    hard = oracles.hard_point(logits, gumbel_draws(rng, logits.shape))
    slopes = slopes_at(oracle, x, eps_a, eps_z, hard)
    by_logits = [jacobian(logits[b], int(hard[b].argmax())) @ slopes[b] for b in range(len(x))]

    def value():
        return oracle.bound(x, eps_a, eps_z, hard) + (by_logits * oracle.logits(x, eps_a)).sum(axis=1)

    return value


def q_jacobian(logits, i):
    return oracles.jacobian(oracles.softmax(logits))


SURROGATES = {
    "gumbel-rao(tau=0.7,draws=2,conditional_draws=3)": (
        gumbel_rao_surrogate,
        {"tau": 0.7, "draws": 2, "conditional_draws": 3},
    ),
    "reinmax(tau=1.5)": (reinmax_surrogate, {"tau": 1.5}),
    "score-function(draws=3)": (score_function_surrogate, {"draws": 3}),
    "sum-and-sample(m=2)": (sum_and_sample_surrogate, {"m": 2}),
    "sum-and-sample(mass=0.5)": (sum_and_sample_surrogate, {"m": 1, "mass": 0.5}),
    "sum-and-sample(mass=0.8)": (sum_and_sample_surrogate, {"m": 1, "mass": 0.8}),
    "sum-and-sample(m=2,mass=0.9,most=3)": (sum_and_sample_surrogate, {"m": 2, "mass": 0.9, "most": 3}),
    "sum-and-relax(m=2,tau=0.7)": (sum_and_relax_surrogate, {"m": 2, "tau": 0.7}),
    # C has 2 and 3 classes: at 0.5 in M2, at 0.8 in the ADGM
    "sum-and-relax(mass=0.5)": (sum_and_relax_surrogate, {"m": 1, "mass": 0.5, "tau": 1.0}),
    "sum-and-relax(mass=0.8)": (sum_and_relax_surrogate, {"m": 1, "mass": 0.8, "tau": 1.0}),
    "unordered-set(k=2)": (unordered_set_surrogate, {"k": 2}),
    "unordered-set(k=4)": (unordered_set_surrogate, {"k": 4}),
    "zgr": (hard_point_surrogate, {"jacobian": oracles.zgr_jacobian}),
    "softmax-straight-through": (hard_point_surrogate, {"jacobian": q_jacobian}),
}


@BOTH
@pytest.mark.parametrize("spelled", SURROGATES)
def test_the_bounds_gradient_of_every_parameter_given_the_draws(spelled, model_name):
    model, x = make_model(model_name, K, nonlinearity="elu"), make_pixels()
    bound = unlabelled_bound(model, model.bk.array(x), parse_estimator(spelled), model.bk.generator(1))
    eps_a, eps_z, rng = noise_of_seed(model, 1)
    oracle, (surrogate, settings) = Oracle(model), SURROGATES[spelled]
    value = surrogate(oracle, x, eps_a[0], eps_z[0], rng, **settings)

    def with_entropy():
        return value() + oracles.entropy(oracles.log_softmax(oracle.logits(x, eps_a[0])))

    assert bound.shape == (BATCH,)
    check_gradients(model, bound, oracle, with_entropy, 1e-6)


# The soft draw at K = 2 compared with the one-dimensional integral

LOG_ODDS, COPIES = 0.7, 40_000


def soft_expectation(f, log_odds, tau):
    """E f(s), s = (σ((l + Λ)/τ), 1 − s), Λ = log(u/(1 − u)) logistic, as an integral over u in (0, 1)."""

    def integrand(u):
        s = 1 / (1 + np.exp(-(log_odds + np.log(u / (1 - u))) / tau))
        return float(f(np.array([s, 1 - s])))

    middle = 1 / (1 + np.exp(log_odds))  # where s = 1/2: at low temperatures a step
    with np.errstate(over="ignore"):
        return sum(integrate.quad(integrand, *ends, epsabs=1e-11, limit=400)[0] for ends in ((0, middle), (middle, 1)))


def slope(function, at, h=1e-4):
    return (function(at + h) - function(at - h)) / (2 * h)


def soft_draws(f, log_odds, tau, copies, seed=0):
    """Values, and gradients with respect to the log odds, of `copies` soft draws of one f."""
    bk = f.bk
    logits = bk.parameter(np.tile([log_odds / 2, -log_odds / 2], (1, copies, 1)))
    expectation, _ = parse_estimator(f"gumbel-softmax(tau={tau})")(f, logits, bk.generator(seed))
    bk.backward(bk.sum(expectation))
    gradient = bk.gradient(logits)[0]
    np.testing.assert_allclose(gradient.sum(axis=-1), 0, atol=1e-9)  # a common shift of the logits changes nothing
    return bk.to_numpy(expectation)[0], gradient[:, 0]


@pytest.mark.parametrize("tau", [0.05, 0.3, 1.0, 5.0])
def test_soft_draw_has_the_value_and_gradient_of_the_integral(tau):
    f = toy_bound(backend(), 2, COPIES)
    values, gradients = soft_draws(f, LOG_ODDS, tau, COPIES)
    assert abs(z_score(values, soft_expectation(f.plain, LOG_ODDS, tau))) < 4
    assert abs(z_score(gradients, slope(lambda log_odds: soft_expectation(f.plain, log_odds, tau), LOG_ODDS))) < 4


@pytest.mark.parametrize("model_name", list(MODELS))
def test_soft_draw_of_a_model_has_the_value_and_gradient_of_the_integral(model_name):
    model, x, tau = make_model(model_name, 2, nonlinearity="elu"), make_pixels(1), 0.5
    f, _ = replicated(model, x, COPIES)
    oracle = oracles.Oracle(model)
    eps_a, eps_z = plain_noise(model, f.noise)
    eps_a, eps_z = (None if eps_a[0] is None else eps_a[0][:1]), eps_z[0][:1]
    values, gradients = soft_draws(f, LOG_ODDS, tau, COPIES)

    def expected(log_odds):
        return soft_expectation(lambda y: oracle.bound(x, eps_a, eps_z, y[None])[0], log_odds, tau)

    assert abs(z_score(values, expected(LOG_ODDS))) < 4
    assert abs(z_score(gradients, slope(expected, LOG_ODDS))) < 4


def test_soft_draw_is_biased_at_tau_1_and_within_noise_unbiased_at_tau_0_05():
    f = toy_bound(backend(), 2, 4000)

    def exact(log_odds):
        q = 1 / (1 + np.exp(-log_odds))
        return q * f.plain(np.array([1.0, 0.0])) + (1 - q) * f.plain(np.array([0.0, 1.0]))

    for true, integral in (
        (exact(LOG_ODDS), lambda tau: soft_expectation(f.plain, LOG_ODDS, tau)),
        (
            slope(exact, LOG_ODDS),
            lambda tau: slope(lambda log_odds: soft_expectation(f.plain, log_odds, tau), LOG_ODDS),
        ),
    ):
        assert abs(integral(0.05) - true) < 0.2 * abs(integral(1.0) - true)
    (warm, warm_gradient), (cold, cold_gradient) = (soft_draws(f, LOG_ODDS, tau, 4000) for tau in (1.0, 0.05))
    assert abs(z_score(warm, exact(LOG_ODDS))) > 8
    assert abs(z_score(warm_gradient, slope(exact, LOG_ODDS))) > 8
    assert abs(z_score(cold, exact(LOG_ODDS))) < 4
    assert abs(z_score(cold_gradient, slope(exact, LOG_ODDS))) < 4
    assert cold_gradient.var() > 3 * warm_gradient.var()  # the price of the lower temperature


# Bias


def hard_expectation(slope_at, log_odds, tau):
    """The mean of straight-through's gradient with respect to the first logit at K = 2. With s_1 = σ((l + Λ)/τ), and
    D = e_1 if l + Λ > 0, else e_2, the gradient is s_1 (1 − s_1)/τ (∂f/∂D_1 − ∂f/∂D_2).
    """

    def integrand(u):
        s = 1 / (1 + np.exp(-(log_odds + np.log(u / (1 - u))) / tau))
        return s * (1 - s) / tau

    middle = 1 / (1 + np.exp(log_odds))  # u below it: D = e_2
    total = 0.0
    for low, high, hard in ((0, middle, [0.0, 1.0]), (middle, 1, [1.0, 0.0])):
        by_first, by_second = slope_at(np.array(hard))
        with np.errstate(over="ignore"):
            total += integrate.quad(integrand, low, high, epsabs=1e-11, limit=400)[0] * (by_first - by_second)
    return total


@pytest.mark.parametrize("tau", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("spelled", ["straight-through(tau={})", "gumbel-rao(tau={},conditional_draws=3)"])
def test_straight_through_and_gumbel_rao_have_the_mean_gradient_of_the_integral(spelled, tau):
    f = toy_bound(backend(), 2, COPIES, cubic=0.2)
    logits = np.tile([LOG_ODDS / 2, -LOG_ODDS / 2], (COPIES, 1))
    _, gradients = value_and_gradient(parse_estimator(spelled.format(tau)), f, logits, seed=5)
    expected = hard_expectation(f.slope, LOG_ODDS, tau)
    assert abs(z_score(gradients[:, 0], expected)) < z_bound()
    exact = oracles.exact_gradient(logits[0], f.of_classes)[0]
    assert abs(z_score(gradients[:, 0], exact)) > z_bound()  # there is a bias, and it equals the integral's


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_straight_through_and_gumbel_rao_share_their_mean(tau):
    """At K = 5 there is no integral, so the test is the difference of two independent means."""
    copies = 10_000
    f, logits = toy_bound(backend(), K, copies), np.tile(LOGITS, (copies, 1))
    _, once = value_and_gradient(parse_estimator(f"straight-through(tau={tau})"), f, logits, seed=6)
    _, rao = value_and_gradient(parse_estimator(f"gumbel-rao(tau={tau})"), f, logits, seed=7)
    assert abs(z_scores(rao - once, 0)).max() < z_bound(K)
    assert abs(z_scores(once, oracles.exact_gradient(LOGITS, f.of_classes))).max() > z_bound(K)


@pytest.mark.parametrize(("tau", "cubic", "exact"), [(1.0, 0.0, True), (1.0, 0.2, False), (2.0, 0.0, False)])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_reinmax_is_exact_in_the_mean_at_temperature_1_only_for_a_quadratic_f(n_classes, tau, cubic, exact):
    copies, logits = 20_000, LOGITS[:n_classes]
    f = toy_bound(backend(), n_classes, copies, cubic=cubic)
    _, gradients = value_and_gradient(parse_estimator(f"reinmax(tau={tau})"), f, np.tile(logits, (copies, 1)), seed=8)
    off = abs(z_scores(gradients, oracles.exact_gradient(logits, f.of_classes))).max()
    assert (off < z_bound(n_classes)) == exact
    by_enumeration = sum(
        q * oracles.reinmax_jacobian(logits, i, tau) @ f.slope(oracles.one_hot(i, n_classes))
        for i, q in enumerate(oracles.softmax(logits))
    )
    assert abs(z_scores(gradients, by_enumeration)).max() < z_bound(n_classes)
    assert np.allclose(by_enumeration, oracles.exact_gradient(logits, f.of_classes), rtol=1e-10) == exact


# Rao-Blackwell: the mean over the soft draws given the hard one


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_variance_of_gumbel_rao_is_below_straight_through_s_and_falls_with_its_conditional_draws(tau):
    """V(M) = V(∞) + (V(1) − V(∞))/M, and V(1) is straight-through's."""
    copies = 4000
    f, logits = toy_bound(backend(), K, copies), np.tile(LOGITS, (copies, 1))

    def variance(spelled, seed):
        return value_and_gradient(parse_estimator(spelled), f, logits, seed)[1].var(axis=0).sum()

    once = variance(f"straight-through(tau={tau})", 0)
    one, ten, hundred = (variance(f"gumbel-rao(tau={tau},conditional_draws={m})", m) for m in (1, 10, 100))
    assert one == pytest.approx(once, rel=0.1)
    assert hundred < ten < 0.9 * once
    limit = (100 * hundred - one) / 99
    assert ten == pytest.approx(limit + (one - limit) / 10, rel=0.1)


def test_variance_of_the_value_equals_the_variance_of_one_hard_draw():
    f, logits = toy_bound(backend(), K, 4000), np.tile(LOGITS, (4000, 1))
    same = [
        value_and_gradient(parse_estimator(name), f, logits, seed=1)[0]
        for name in ("straight-through", "gumbel-rao", "reinmax")
    ]
    np.testing.assert_array_equal(same[0], same[1])  # one seed, one hard point
    np.testing.assert_array_equal(same[0], same[2])


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_many_conditional_draws_give_the_conditional_mean(tau):
    """At K = 2, E[s(1 − s)/τ | D] is an integral over half the logistic's draws."""
    f, copies = toy_bound(backend(), 2, 6), 6
    logits = np.tile([LOG_ODDS / 2, -LOG_ODDS / 2], (copies, 1))
    estimator = parse_estimator(f"gumbel-rao(tau={tau},conditional_draws=20000)")
    _, gradients = value_and_gradient(estimator, f, logits, seed=9)
    hard = np.argmax(logits + gumbel_draws(np.random.default_rng(9), (copies, 2)), axis=-1)
    assert set(hard) == {0, 1}
    for b in range(copies):
        only = oracles.one_hot(hard[b], 2)
        of_this = hard_expectation(
            lambda y, only=only: f.slope(y) if np.array_equal(y, only) else np.zeros(2), LOG_ODDS, tau
        )
        expected = of_this / oracles.softmax(logits[b])[hard[b]]
        np.testing.assert_allclose(gradients[b], [expected, -expected], rtol=0.03)


# The likeliest classes exactly


def moments_of_single_draws(f_k, gradient_of, q):
    """The variances of the value f(y) and of the gradient (summed over components) for y ~ q, by enumeration."""
    gradients = np.array([gradient_of(y) for y in range(len(q))])
    mean, mean_gradient = q @ f_k, q @ gradients
    return q @ (f_k - mean) ** 2, q @ ((gradients - mean_gradient) ** 2).sum(axis=1)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_variance_of_sum_and_sample_is_its_own_and_below_that_of_one_hard_draw_with_the_same_baseline(m):
    copies = 10_000
    f, q = toy_bound(backend(), K, copies), oracles.softmax(LOGITS)
    f_k, C = f.of_classes, oracles.likeliest(LOGITS, m)
    b = oracles.baseline(LOGITS, f_k, C)
    single = moments_of_single_draws(f_k, lambda y: (f_k[y] - b) * (oracles.one_hot(y, K) - q), q)
    rest = np.array([0 if k in C else q[k] for k in range(K)])
    drawn = [oracles.sum_and_sample(LOGITS, f_k, C, y) for y in range(K)]
    own = moments_of_single_draws(np.array([v for v, _ in drawn]), lambda y: drawn[y][1], rest / rest.sum())
    estimator = parse_estimator(f"sum-and-sample(m={m})")
    values, gradients = value_and_gradient(estimator, f, np.tile(LOGITS, (copies, 1)), seed=2)
    found = values.var(), gradients.var(axis=0).sum()
    np.testing.assert_allclose(found, own, rtol=0.1)
    assert found[0] < 0.9 * single[0]
    assert found[1] < 0.9 * single[1]


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize(("n_classes", "m"), [(2, 1), (2, 2), (5, 4), (5, 5), (5, 6), (1000, 999), (1000, 1000)])
def test_sum_and_sample_of_all_classes_or_all_but_one_is_the_exact_sum(n_classes, m, extreme):
    copies = 6
    f = toy_bound(backend(), n_classes, copies)
    logits = own_logits(1, n_classes)[0]
    if extreme:
        logits = np.random.default_rng(1).choice([-1e4, 0.0, 1e4], size=n_classes)
        logits[1] = 1e4 + 1
    estimator = parse_estimator(f"sum-and-sample(m={m})")
    values, gradients = value_and_gradient(estimator, f, np.tile(logits, (copies, 1)))
    q = oracles.softmax(logits)
    exact = q @ f.of_classes
    np.testing.assert_allclose(values, exact, rtol=1e-12)
    by_logits = q * (f.of_classes - exact)
    np.testing.assert_allclose(gradients, np.tile(by_logits, (copies, 1)), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("m", [1, 3, 6])
def test_the_classes_summed_are_the_likeliest_and_the_one_drawn_is_none_of_them(m):
    bk, n, batch, n_classes = backend(), 2, 200, 7
    log_q = oracles.log_softmax(2 * np.random.default_rng(0).standard_normal((n, batch, n_classes)))
    y, weights = parse_estimator(f"sum-and-sample(m={m})").classes(bk, log_q, bk.generator(0))
    assert y.shape == weights.shape == (n, batch, m + 1)
    for at in np.ndindex(n, batch):
        C = oracles.likeliest(log_q[at], m)
        assert set(y[at][:m]) == set(C)
        assert y[at][m] not in C
        np.testing.assert_allclose(weights[at][:m], np.exp(log_q[at][y[at][:m]]), rtol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-12)
    if m < n_classes - 1:
        assert len(np.unique(y[..., m])) > 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rest_beside_a_peak_keeps_its_relative_precision(dtype):
    """1 − q_C = 1e-17 is far too small to be computed as a difference from 1."""
    bk, logits = backend(dtype), np.array([[[40.0, 0.0, 1.0, -1.0], [0.0, 60.0, 58.0, 0.5]]])
    log_q = bk.to_numpy(bk.log_softmax(bk.parameter(logits)))
    for m in (1, 2):
        _, weights = parse_estimator(f"sum-and-sample(m={m})").classes(bk, log_q, bk.generator(0))
        for b in range(2):
            q = oracles.softmax(logits[0, b])
            of_rest = np.sort(q)[: 4 - m].sum()
            np.testing.assert_allclose(weights[0, b, m], of_rest, rtol=1e-5)
