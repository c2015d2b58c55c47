"""The bounds and the training loss compared with the oracle: values, and gradients of every parameter array."""

from __future__ import annotations

import functools

import numpy as np
import oracles
import pytest
from core_fixtures import BATCH, check_gradients, make_model, make_pixels, noise_of_seed, replicated, z_score
from oracles import Oracle

from gsbench.categorical import gumbel
from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.models import MODELS
from gsbench.training.objective import classifier_log_likelihood, labelled_bound, loss, training_loss, unlabelled_bound

BOTH = pytest.mark.parametrize("name", list(MODELS))
CLASS_COUNTS = pytest.mark.parametrize("n_classes", [2, 3, 7])
EXACT = pytest.mark.parametrize("estimator", [name for name, kind in ESTIMATORS.items() if kind().exact])
SEED = 1
# (value, gradient): float64 to the accuracy of central differences, float32 to its own.
TOLERANCES = {"float64": (1e-10, 1e-6), "float32": (1e-4, 1e-3)}


def exact_bound(model, estimator="marginalize", n_mc=1):
    """U of the model, and the oracle's as a function of its parameters."""
    x, oracle = make_pixels(), Oracle(model)
    eps_a, eps_z, _ = noise_of_seed(model, SEED, n_mc=n_mc)
    bound = unlabelled_bound(
        model, model.bk.array(x), parse_estimator(estimator), model.bk.generator(SEED), n_mc=n_mc
    )
    return bound, oracle, lambda: oracle.unlabelled(x, eps_a, eps_z)


# The exact sum


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@EXACT
@CLASS_COUNTS
@BOTH
def test_exact_bound_and_its_gradient(name, n_classes, estimator, dtype):
    model = make_model(name, n_classes, dtype)
    bound, oracle, value = exact_bound(model, estimator)
    assert bound.shape == (BATCH,)
    rtol, gradient_rtol = TOLERANCES[dtype]
    np.testing.assert_allclose(model.bk.to_numpy(bound), value(), rtol=rtol)
    check_gradients(model, bound, oracle, value, gradient_rtol)


@EXACT
@BOTH
def test_exact_bound_and_its_gradient_with_three_draws(name, estimator):
    model = make_model(name, 3, nonlinearity="elu")
    bound, oracle, value = exact_bound(model, estimator, n_mc=3)
    np.testing.assert_allclose(model.bk.to_numpy(bound), value(), rtol=1e-10)
    check_gradients(model, bound, oracle, value, 1e-6)


@EXACT
@BOTH
def test_exact_bound_and_its_gradient_with_clipped_variances(name, estimator):
    model = make_model(name, 3, log_var_limits=(-0.1, 0.1))
    bound, oracle, value = exact_bound(model, estimator)
    np.testing.assert_allclose(model.bk.to_numpy(bound), value(), rtol=1e-10)
    check_gradients(model, bound, oracle, value, 1e-6)


@BOTH
def test_three_draws_are_the_mean_of_each_alone(name):
    """Compared with the oracle of one draw at a time, so that a wrong mean in both would be noticed."""
    model, x = make_model(name, 3), make_pixels()
    bound, oracle, _ = exact_bound(model, n_mc=3)
    eps_a, eps_z, _ = noise_of_seed(model, SEED, n_mc=3)
    alone = [oracle.unlabelled(x, eps_a[n : n + 1], eps_z[n : n + 1]) for n in range(3)]
    assert np.std(alone, axis=0).min() > 1e-3
    np.testing.assert_allclose(model.bk.to_numpy(bound), np.mean(alone, axis=0), rtol=1e-10)


@BOTH
def test_separate_noise_for_each_class(name):
    """`class_noise="independent"`: ε_z [N, K, B, D_z] is drawn after the shared noise, which q(y|a,x) still
    sees.
    """
    model, x = make_model(name, 3), make_pixels()
    estimator = parse_estimator("marginalize(class_noise=independent)")
    got = unlabelled_bound(model, model.bk.array(x), estimator, model.bk.generator(SEED))
    eps_a, _, rng = noise_of_seed(model, SEED)
    eps_z = model.bk.normal(rng, (1, 3, BATCH, model.config.d_z))
    oracle = Oracle(model)
    log_q = oracles.log_softmax(oracle.logits(x, eps_a[0]))
    f = [oracle.bound(x, eps_a[0], eps_z[0, k], oracles.one_hot([k] * BATCH, 3)) for k in range(3)]
    expected = (np.exp(log_q) * np.stack(f, axis=1)).sum(axis=1) + oracles.entropy(log_q)
    np.testing.assert_allclose(model.bk.to_numpy(got), expected, rtol=1e-10)


# One draw: given the noise g, the estimate is a plain function of the parameters


def sampled_bound(model, estimator, n_mc=1):
    """U of the model by a sampling estimator with its noise g [N, S, B, K], and the oracle's arguments for the
    same.
    """
    x, draws = make_pixels(), estimator.draws
    eps_a, eps_z, rng = noise_of_seed(model, SEED, n_mc=n_mc)
    g = gumbel(model.bk, rng, (n_mc, draws, BATCH, model.config.n_classes))
    bound = unlabelled_bound(model, model.bk.array(x), estimator, model.bk.generator(SEED), n_mc=n_mc)
    return bound, Oracle(model), x, eps_a, eps_z, g.astype(np.float64)


@pytest.mark.parametrize("tau", [0.3, 1.0])
@CLASS_COUNTS
@BOTH
def test_gumbel_softmax_bound_and_its_gradient(name, n_classes, tau):
    model, estimator = make_model(name, n_classes), parse_estimator(f"gumbel-softmax(tau={tau})")
    bound, oracle, *arguments = sampled_bound(model, estimator)
    value = functools.partial(oracle.sampled, *arguments, functools.partial(oracles.soft_point, tau=tau))
    np.testing.assert_allclose(model.bk.to_numpy(bound), value(), rtol=1e-10)
    check_gradients(model, bound, oracle, value, 1e-6)


@pytest.mark.parametrize("name", ["adgm"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gumbel_softmax_bound_with_more_draws_of_a_and_y(name, dtype):
    model, estimator = make_model(name, 3, dtype), parse_estimator("gumbel-softmax(tau=0.7,draws=2)")
    bound, oracle, *arguments = sampled_bound(model, estimator, n_mc=3)
    value = functools.partial(oracle.sampled, *arguments, functools.partial(oracles.soft_point, tau=0.7))
    rtol, gradient_rtol = TOLERANCES[dtype]
    np.testing.assert_allclose(model.bk.to_numpy(bound), value(), rtol=rtol)
    check_gradients(model, bound, oracle, value, gradient_rtol)


def straight_through_surrogate(oracle, x, eps_a, eps_z, g, tau):
    """A function of the parameters whose gradient straight-through defines: f(D) + ⟨∇_D f, s⟩ + H,
    with D and ∇_D f held at their values, so that log q feels ∇_D f through J(s)/τ alone. One draw of a
    and of y.
    """
    eps_a, eps_z, g = eps_a[0], eps_z[0], g[0, 0]
    n_classes, h = g.shape[-1], 1e-5
    hard = oracles.hard_point(oracles.log_softmax(oracle.logits(x, eps_a)), g)
    slopes = [
        (oracle.bound(x, eps_a, eps_z, hard + h * e) - oracle.bound(x, eps_a, eps_z, hard - h * e)) / (2 * h)
        for e in np.eye(n_classes)
    ]
    by_hard = np.stack(slopes, axis=1)  # [B, K]

    def value():
        log_q = oracles.log_softmax(oracle.logits(x, eps_a))
        soft = oracles.soft_point(log_q, g, tau)
        return oracle.bound(x, eps_a, eps_z, hard) + (by_hard * soft).sum(axis=1) + oracles.entropy(log_q)

    return value


@pytest.mark.parametrize("tau", [0.3, 1.0])
@CLASS_COUNTS
@BOTH
def test_straight_through_bound_and_its_gradient(name, n_classes, tau):
    model, estimator = (
        make_model(name, n_classes, nonlinearity="elu"),
        parse_estimator(f"straight-through(tau={tau})"),
    )
    bound, oracle, *arguments = sampled_bound(model, estimator)
    np.testing.assert_allclose(
        model.bk.to_numpy(bound), oracle.sampled(*arguments, oracles.hard_point), rtol=1e-10
    )
    check_gradients(model, bound, oracle, straight_through_surrogate(oracle, *arguments, tau), 1e-6)


@CLASS_COUNTS
@BOTH
def test_mean_of_hard_draws_is_the_exact_sum(name, n_classes):
    model, x = make_model(name, n_classes), make_pixels(1)
    f, logits = replicated(model, x, 20_000)
    hard = ESTIMATORS["straight-through"]()(f, logits, model.bk.generator(8))
    exact = ESTIMATORS["marginalize"]()(f, logits, model.bk.generator(8))
    draws, expected = model.bk.to_numpy(hard.expectation)[0], model.bk.to_numpy(exact.expectation)[0]
    np.testing.assert_allclose(expected, expected[0], rtol=1e-12)
    assert len(np.unique(draws.round(9))) == n_classes  # only the values f(e_k)
    assert abs(z_score(draws, expected[0])) < 4


# Common random numbers


@BOTH
def test_every_estimator_sees_the_same_noise_at_one_seed(name, monkeypatch):
    model, x = make_model(name, 7), make_pixels()
    eps_a, eps_z, _ = noise_of_seed(model, SEED, n_mc=2)
    seen, class_bound = [], model.class_bound
    monkeypatch.setattr(model, "class_bound", lambda x, noise: seen.append(noise) or class_bound(x, noise))
    for estimator in ESTIMATORS.values():
        unlabelled_bound(model, model.bk.array(x), estimator(), model.bk.generator(SEED), n_mc=2)
    assert len(seen) == len(ESTIMATORS)
    for noise in seen:
        np.testing.assert_array_equal(noise.eps_z[:, 0], eps_z)
        assert noise.eps_a is None or np.array_equal(noise.eps_a[:, 0], eps_a)


# Labelled examples


Y = np.array([2, 0, 1, 2])


@pytest.mark.parametrize("n_mc", [1, 3])
@BOTH
def test_labelled_bound_and_its_gradient(name, n_mc):
    model, x = make_model(name, 3), make_pixels()
    oracle = Oracle(model)
    eps_a, eps_z, _ = noise_of_seed(model, SEED, n_mc=n_mc)
    bound, log_q_y = labelled_bound(
        model, model.bk.array(x), model.bk.integers(Y), model.bk.generator(SEED), n_mc
    )
    expected_bound, expected_log_q_y = oracle.labelled(x, eps_a, eps_z, Y)
    np.testing.assert_allclose(model.bk.to_numpy(bound), expected_bound, rtol=1e-10)
    np.testing.assert_allclose(model.bk.to_numpy(log_q_y), expected_log_q_y, rtol=1e-10)
    # Together, so that every parameter takes part.
    check_gradients(
        model, bound + 2.5 * log_q_y, oracle, lambda: combined(oracle.labelled(x, eps_a, eps_z, Y)), 1e-6
    )


def combined(labelled, alpha=2.5):
    bound, log_q_y = labelled
    return bound + alpha * log_q_y


@BOTH
def test_classifier_alone_is_the_labelled_bound_s(name):
    model, x = make_model(name, 3), make_pixels()
    arguments = (model, model.bk.array(x), model.bk.integers(Y))
    _, expected = labelled_bound(*arguments, model.bk.generator(SEED), 3)
    got = classifier_log_likelihood(*arguments, model.bk.generator(SEED), 3)
    np.testing.assert_allclose(model.bk.to_numpy(got), model.bk.to_numpy(expected), rtol=1e-12)


def test_loss_is_minus_the_mean():
    model = make_model("m2", 3)
    assert float(model.bk.to_numpy(loss(model, model.bk.parameter([1.0, 2.0, 6.0])))) == -3.0


@BOTH
def test_training_loss(name):
    """−J, with batches of two sizes: each half is the mean over its own examples, the labelled half drawn
    first.
    """
    model, x_labelled, x_unlabelled = make_model(name, 3), make_pixels(), make_pixels(7, seed=6)
    bk, oracle = model.bk, Oracle(model)
    got = training_loss(
        model,
        bk.array(x_labelled),
        bk.integers(Y),
        bk.array(x_unlabelled),
        ESTIMATORS["marginalize"](),
        2.5,
        bk.generator(SEED),
    )
    eps_a, eps_z, rng = noise_of_seed(model, SEED)
    labelled = combined(oracle.labelled(x_labelled, eps_a, eps_z, Y))
    later = model.draw_noise(rng, 7)
    later_a = [None] if later.eps_a is None else later.eps_a[:, 0]
    unlabelled = oracle.unlabelled(x_unlabelled, later_a, later.eps_z[:, 0])
    assert float(bk.to_numpy(got)) == pytest.approx(-(labelled.mean() + unlabelled.mean()), rel=1e-10)
