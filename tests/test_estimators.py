"""One contract for every estimator of the registry, and what each of them estimates.

An estimator is covered by the contract as soon as it is registered; where it is biased by its nature, or
its weights are not those of softmax, the tables below say so.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import oracles
import pytest
from core_fixtures import (
    backend,
    clear_gradients,
    make_model,
    make_pixels,
    plain_noise,
    replicated,
    toy_bound,
    z_score,
)
from scipy import integrate

from gsbench.estimators import ESTIMATORS, parse_estimator, parse_estimators
from gsbench.models import MODELS
from gsbench.objective import loss, unlabelled_bound

# The value of a soft draw is biased: f is taken where there is no class.
BIASED = {"gumbel-softmax"}

EVERY = pytest.mark.parametrize("name", list(ESTIMATORS))
ALL_CLASS_COUNTS = pytest.mark.parametrize("n_classes", [2, 7, 1000])


def estimate(name, model, x, logits=None, seed=0, n_mc=2):
    """The estimate of one estimator by name or spelling, as NumPy arrays; f's noise is that of seed 1."""
    bk = model.bk
    f = model.class_bound(bk.array(x), model.draw_noise(bk.generator(1), len(x), n_mc))
    f = f if logits is None else dataclasses.replace(f, logits_y=bk.parameter(logits))
    expectation, entropy = parse_estimator(name)(f, f.logits_y, bk.generator(seed))
    return bk.to_numpy(expectation), bk.to_numpy(entropy)


# The contract


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@ALL_CLASS_COUNTS
@EVERY
def test_estimate_is_per_draw_and_example_in_the_wide_dtype(name, n_classes, dtype):
    model = make_model("adgm", n_classes, dtype)
    for values in estimate(name, model, make_pixels(5), n_mc=3):
        assert values.shape == (3, 5)
        assert values.dtype == np.promote_types(dtype, np.float32)
        assert np.isfinite(values).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@ALL_CLASS_COUNTS
@EVERY
def test_extreme_logits_give_finite_values_and_gradients(name, n_classes, dtype):
    model = make_model("adgm", n_classes, dtype)
    bk = model.bk
    values = np.random.default_rng(0).choice([-1e4, 0.0, 1e4], size=(2, 5, n_classes))
    values[:, 0], values[:, 1], values[:, 2] = 1e4, -1e4, -1e4
    values[:, 2, 1] = 1e4
    f = model.class_bound(bk.array(make_pixels(5)), model.draw_noise(bk.generator(1), 5, 2))
    logits = bk.parameter(values)
    f = dataclasses.replace(f, logits_y=logits)
    expectation, entropy = ESTIMATORS[name]()(f, logits, bk.generator(0))
    bk.backward(bk.sum(expectation + entropy))
    for array in (bk.to_numpy(expectation), bk.to_numpy(entropy), bk.gradient(logits)):
        assert np.isfinite(array).all()
    for key, p in model.parameters.items():
        assert bk.gradient(p) is None or np.isfinite(bk.gradient(p)).all(), key


@EVERY
def test_same_seed_same_numbers_and_another_seed_others_unless_exact(name):
    model, x = make_model("adgm", 7), make_pixels(8)
    first, entropy = estimate(name, model, x, seed=0)
    again, _ = estimate(name, model, x, seed=0)
    other, other_entropy = estimate(name, model, x, seed=1)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(entropy, other_entropy)
    assert np.array_equal(first, other) == ESTIMATORS[name]().exact


@EVERY
def test_an_estimator_takes_nothing_from_a_global_generator(name):
    model, x = make_model("m2", 7), make_pixels(8)
    np.random.seed(0)  # noqa: NPY002 - the global generator is what is watched
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    estimate(name, model, x)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@EVERY
def test_entropy_is_that_of_q(name):
    model, x = make_model("adgm", 7), make_pixels(5)
    logits = 2 * np.random.default_rng(0).standard_normal((2, 5, 7))
    _, entropy = estimate(name, model, x, logits)
    np.testing.assert_allclose(entropy, oracles.entropy(oracles.log_softmax(logits)), rtol=1e-10)


@EVERY
def test_examples_do_not_see_each_other(name):
    model, x = make_model("adgm", 7), make_pixels(5)
    logits = np.random.default_rng(0).standard_normal((2, 5, 7))
    before, _ = estimate(name, model, x, logits)
    x[1:], logits[:, 1:] = 1 - x[1:], -logits[:, 1:]
    after, _ = estimate(name, model, x, logits)
    np.testing.assert_allclose(after[:, 0], before[:, 0], rtol=1e-12)
    assert not np.any(after[:, 1:] == before[:, 1:])


@EVERY
def test_calls_counts_the_calls_of_f(name, monkeypatch):
    model, calls = make_model("m2", 7), []
    bound_of = model.bound_of

    def counted(y, f):
        values = bound_of(y, f)
        calls.append(values.shape[1])
        return values

    monkeypatch.setattr(model, "bound_of", counted)
    estimate(name, model, make_pixels())
    assert sum(calls) == ESTIMATORS[name]().calls(7)


@pytest.mark.parametrize("model_name", list(MODELS))
@EVERY
def test_value_is_unbiased_where_it_should_be(name, model_name):
    """Over 4,000 copies of one example, against Σ_k q_k f(e_k) of the oracle."""
    model, x = make_model(model_name, 5), make_pixels(1)
    f, logits = replicated(model, x, 4000)
    expectation, _ = ESTIMATORS[name]()(f, logits, model.bk.generator(4))
    draws = model.bk.to_numpy(expectation)[0]
    oracle = oracles.Oracle(model)
    eps_a, eps_z = plain_noise(model, f.noise)
    alone = slice(0, 1)
    f_k = oracle.class_bounds(x, [None if e is None else e[alone] for e in eps_a], eps_z[:, alone])[0, 0]
    exact = (oracles.softmax(model.bk.to_numpy(logits)[0, 0]) * f_k).sum()
    if ESTIMATORS[name]().exact:
        np.testing.assert_allclose(draws, exact, rtol=1e-10)
    else:
        assert (abs(z_score(draws, exact)) < 4) == (name not in BIASED)


@EVERY
def test_every_parameter_that_the_bound_depends_on_gets_a_gradient(name):
    model, x = make_model("adgm", 7), make_pixels()
    clear_gradients(model)
    bound = unlabelled_bound(model, model.bk.array(x), ESTIMATORS[name](), model.bk.generator(0))
    model.bk.backward(loss(model, bound))
    for key, p in model.parameters.items():
        assert np.abs(model.bk.gradient(p)).max() > 0, key


@pytest.mark.parametrize(
    "name",
    [n for n, kind in ESTIMATORS.items() if "draws" in {field.name for field in dataclasses.fields(kind)}],
)
def test_more_draws_are_independent_and_averaged(name):
    model, x = make_model("adgm", 5), make_pixels(1)
    f, logits = replicated(model, x, 3000)
    one = model.bk.to_numpy(ESTIMATORS[name]()(f, logits, model.bk.generator(0)).expectation)
    four = model.bk.to_numpy(ESTIMATORS[name](draws=4)(f, logits, model.bk.generator(1)).expectation)
    assert four.shape == one.shape
    assert four.var() == pytest.approx(one.var() / 4, rel=0.25)
    assert abs(four.mean() - one.mean()) < 4 * np.sqrt(one.var() * 1.25 / 3000)


# The soft draw at K = 2 against the one-dimensional integral


def soft_expectation(f, log_odds, tau):
    """E f(s), s = (σ((l + Λ)/τ), 1 − s), Λ = log(u/(1 − u)) logistic, as an integral over u in (0, 1)."""

    def integrand(u):
        s = 1 / (1 + np.exp(-(log_odds + np.log(u / (1 - u))) / tau))
        return float(f(np.array([s, 1 - s])))

    middle = 1 / (1 + np.exp(log_odds))  # where s = 1/2: at low temperatures a step
    with np.errstate(over="ignore"):
        return sum(
            integrate.quad(integrand, *ends, epsabs=1e-11, limit=400)[0]
            for ends in ((0, middle), (middle, 1))
        )


def slope(function, at, h=1e-4):
    return (function(at + h) - function(at - h)) / (2 * h)


def soft_draws(f, log_odds, tau, copies, seed=0):
    """Values and gradients by the log odds of `copies` soft draws of f, which is the same for all of them."""
    bk = f.bk
    logits = bk.parameter(np.tile([log_odds / 2, -log_odds / 2], (1, copies, 1)))
    expectation, _ = parse_estimator(f"gumbel-softmax(tau={tau})")(f, logits, bk.generator(seed))
    bk.backward(bk.sum(expectation))
    gradient = bk.gradient(logits)[0]
    np.testing.assert_allclose(
        gradient.sum(axis=-1), 0, atol=1e-9
    )  # a common shift of the logits changes nothing
    return bk.to_numpy(expectation)[0], gradient[:, 0]


LOG_ODDS, COPIES = 0.7, 40_000


@pytest.mark.parametrize("tau", [0.05, 0.3, 1.0, 5.0])
def test_soft_draw_has_the_value_and_gradient_of_the_integral(tau):
    f = toy_bound(backend(), 2, COPIES)
    values, gradients = soft_draws(f, LOG_ODDS, tau, COPIES)
    assert abs(z_score(values, soft_expectation(f.plain, LOG_ODDS, tau))) < 4
    assert (
        abs(z_score(gradients, slope(lambda log_odds: soft_expectation(f.plain, log_odds, tau), LOG_ODDS)))
        < 4
    )


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
    assert cold_gradient.var() > 3 * warm_gradient.var()  # what the lower temperature costs


# Straight-through


@pytest.mark.parametrize("tau", [0.3, 1.0])
def test_straight_through_gradient_by_the_logits_is_j_s_over_tau_times_the_slope_at_the_hard_point(tau):
    """Example by example, K = 5: the oracle draws the same g, and takes ∇_D f for all classes by
    differences.
    """
    bk, K, copies = backend(), 5, 20
    f = toy_bound(bk, K, copies)
    values = np.random.default_rng(0).standard_normal((1, copies, K))
    logits = bk.parameter(values)
    expectation, _ = parse_estimator(f"straight-through(tau={tau})")(f, logits, bk.generator(3))
    bk.backward(bk.sum(expectation))
    u = np.random.default_rng(3).random((1, 1, copies, K))
    g, log_q, h = -np.log(-np.log(u[0, 0])), oracles.log_softmax(values[0]), 1e-4
    for b in range(copies):
        hard = oracles.hard_point(log_q[b], g[b])
        by_hard = np.array([(f.plain(hard + h * e) - f.plain(hard - h * e)) / (2 * h) for e in np.eye(K)])
        s = oracles.soft_point(log_q[b], g[b], tau)
        assert bk.to_numpy(expectation)[0, b] == pytest.approx(f.plain(hard), rel=1e-12)
        expected = oracles.jacobian(s) @ by_hard / tau
        np.testing.assert_allclose(bk.gradient(logits)[0, b], expected, rtol=1e-7, atol=1e-9)


# Spelling and settings


SPELLINGS = [
    "marginalize(class_noise=independent)",
    "gumbel-softmax(tau=0.5)",
    "gumbel-softmax(tau=1e-05,draws=3)",
    "straight-through(draws=2)",
]


@pytest.mark.parametrize("text", [*ESTIMATORS, *SPELLINGS])
def test_spelling_round_trips(text):
    estimator = parse_estimator(text)
    assert str(estimator) == text
    assert parse_estimator(str(estimator)) == estimator
    assert type(estimator) is ESTIMATORS[text.split("(")[0]]


@EVERY
def test_registry_name_is_the_estimator_s_own(name):
    assert ESTIMATORS[name].name == name
    assert dataclasses.is_dataclass(ESTIMATORS[name])
    with pytest.raises(dataclasses.FrozenInstanceError):
        ESTIMATORS[name]().tau = 3.0


def test_equal_estimators_have_one_spelling():
    for text in ("gumbel-softmax(tau=2)", " gumbel-softmax( tau = 2.0, draws=1 ) "):
        assert str(parse_estimator(text)) == "gumbel-softmax(tau=2.0)"
    assert str(ESTIMATORS["gumbel-softmax"](tau=np.float64(0.5))) == "gumbel-softmax(tau=0.5)"
    assert parse_estimator("gumbel-softmax") != parse_estimator("straight-through")


def test_settings_are_told_by_name():
    assert parse_estimator("straight-through(tau=0.5)").settings == {"tau": 0.5, "draws": 1}


def test_only_the_sum_with_shared_noise_is_exact():
    assert parse_estimator("marginalize").exact
    assert not parse_estimator("marginalize(class_noise=independent)").exact
    assert not parse_estimator("straight-through").exact


def test_a_list_of_estimators_names_each_once():
    got = parse_estimators("gumbel-softmax(tau=0.5,draws=2), marginalize,gumbel-softmax(draws=2,tau=0.5),")
    assert [str(e) for e in got] == ["gumbel-softmax(tau=0.5,draws=2)", "marginalize"]
    with pytest.raises(ValueError, match=r"no estimator in ' ,'; known: marginalize"):
        parse_estimators(" ,")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gumble", "unknown estimator 'gumble'; known: marginalize"),
        ("gumbel-softmax(tau=0.5", r"cannot read estimator 'gumbel-softmax\(tau=0\.5'"),
        ("gumbel-softmax(tau=0)", r"'gumbel-softmax\(tau=0\)': tau must be > 0 and finite, got 0"),
        ("gumbel-softmax(tau=-1.5)", r"tau must be > 0 and finite, got -1\.5"),
        ("gumbel-softmax(tau=nan)", "tau must be > 0 and finite, got 'nan'"),
        ("gumbel-softmax(tau=1e999)", "tau must be > 0 and finite, got inf"),
        ("straight-through(tau=warm)", "tau must be > 0 and finite, got 'warm'"),
        ("straight-through(draws=0)", "draws must be an integer >= 1, got 0"),
        ("straight-through(draws=1.5)", r"draws must be an integer >= 1, got 1\.5"),
        ("straight-through(draws=True)", "draws must be an integer >= 1, got True"),
        (
            "gumbel-softmax(temperature=1)",
            "'gumbel-softmax' has no setting 'temperature=1'; settings: tau, draws",
        ),
        ("gumbel-softmax(0.5)", "'gumbel-softmax' has no setting '0.5'; settings: tau, draws"),
        ("marginalize(class_noise=none)", "class_noise must be one of shared, independent, got 'none'"),
    ],
)
def test_bad_settings_are_refused_with_what_is_allowed(text, message):
    with pytest.raises(ValueError, match=message):
        parse_estimator(text)


@EVERY
def test_unknown_settings_are_refused(name):
    with pytest.raises(ValueError, match=f"estimator '{name}' has no setting 'colour=red'; settings:"):
        parse_estimator(f"{name}(colour=red)")
