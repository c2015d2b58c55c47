"""The estimators that sum the likeliest classes, `unordered-set` and two hard draws, beyond the common contract."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from core_fixtures import (
    BATCH,
    backend,
    bound_and_gradients,
    check_equal,
    gumbel_draws,
    make_model,
    make_pixels,
    toy_bound,
    value_and_gradient,
    z_bound,
    z_score,
    z_scores,
)
from test_family import soft_expectation

from gsbench.estimators import parse_estimator, streaming
from gsbench.estimators.streaming import ClassRange, Rows
from gsbench.models import MODELS, ModelConfig
from gsbench.training.objective import count_calls

BOTH_BACKENDS = pytest.mark.parametrize("backend_name", ["chainer", "torch"])
K = 5
LOGITS = np.array([0.8, -0.4, 0.1, -1.0, 0.5])


def usable(backend_name):
    if backend_name == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    return backend(name=backend_name)


# C


@BOTH_BACKENDS
@pytest.mark.parametrize("spelled", [(1, 0.5, None), (1, 0.9, None), (2, 0.7, None), (1, 0.95, 3), (2, 1.0, None)])
def test_the_summed_classes_are_the_shortest_prefix_that_holds_the_mass(spelled, backend_name):
    bk, (m, mass, most) = usable(backend_name), spelled
    logits = np.random.default_rng(0).standard_normal((2, 50, 6)) * 2
    estimator = parse_estimator(f"sum-and-relax(m={m},mass={mass},most={most})")
    inside = bk.to_numpy(estimator.prefix(bk, bk.array(oracles.log_softmax(logits))))
    for n, b in np.ndindex(2, 50):
        C = oracles.prefix(logits[n, b], m, mass, most)
        assert set(np.flatnonzero(inside[n, b])) == set(C)
        q = oracles.softmax(logits[n, b])
        assert len(C) in (m, most, 5) or q[C].sum() >= mass > q[C[:-1]].sum()
    assert len(np.unique(inside.sum(axis=-1))) > 1 or mass == 1.0


@pytest.mark.parametrize("name", ["sum-and-sample", "sum-and-relax"])
@pytest.mark.parametrize("model_name", list(MODELS))
def test_gathered_rows_give_the_numbers_of_one_batch(model_name, name):
    """Where `mass` asks for as many classes as `m`, value and every gradient are the same, to rounding."""
    found = []
    for spelled in (f"{name}(m=2)", f"{name}(m=2,mass=0.9,most=2)"):
        model = make_model(model_name, 7, nonlinearity="elu")
        model.bk.chunk_bytes = 4000  # a few rows: several parts
        found.append(bound_and_gradients(model, parse_estimator(spelled), n_mc=2))
    check_equal(*found)


# Rows of f that are gathered, or are of whole classes


def wanted_with(share, n_classes=10):
    """bool [2, 3, K], of which this share is True."""
    wanted = np.zeros(6 * n_classes, dtype=bool)
    wanted[: round(share * wanted.size)] = True
    return np.random.default_rng(0).permutation(wanted).reshape(2, 3, n_classes)


@pytest.mark.parametrize(
    ("share", "rows", "kind"),
    [(1.0, 600, ClassRange), (0.95, 60, ClassRange), (0.95, 6, ClassRange), (0.95, 5, Rows), (0.85, 600, Rows)],
)
def test_whole_classes_are_computed_where_nearly_all_entries_are_wanted_and_one_class_fits(share, rows, kind):
    model, wanted = make_model("adgm", 10), wanted_with(share)
    model.bk.chunk_bytes = rows * (model.floats_per_row + model.floats_gathered) * 8
    parts, covered = [*streaming.rows_or_classes(model, wanted)], np.zeros((2, 10, 3), dtype=int)
    assert {type(part) for part in parts} == {kind}
    for part in parts:
        covered[part.entries] += 1
        assert np.zeros((2, 10, 3))[part.entries].size <= rows
    assert covered.max() == 1
    assert covered[wanted.transpose(0, 2, 1)].min() == 1


@BOTH_BACKENDS
@pytest.mark.parametrize("mass", [0.8, 1.0])
@pytest.mark.parametrize("model_name", list(MODELS))
def test_whole_classes_give_the_numbers_of_gathered_rows(model_name, mass, backend_name, monkeypatch):
    """Also where few entries are wanted: the others have weight 0, in value and gradient."""
    usable(backend_name)
    found = []
    for dense in (0.0, 1.0):
        monkeypatch.setattr(streaming, "DENSE", dense)
        model = make_model(model_name, 7, backend_name=backend_name, nonlinearity="elu")
        model.bk.chunk_bytes = 10 * (model.floats_per_row + model.floats_gathered) * 8  # one class: several parts
        found.append(bound_and_gradients(model, parse_estimator(f"sum-and-sample(mass={mass})"), n_mc=2))
    check_equal(*found)


@pytest.mark.parametrize(("most", "expected"), [(18, 19), (None, 20)])
def test_whole_classes_are_no_more_than_most(most, expected):
    model = make_model("adgm", 20)
    estimator = parse_estimator(f"sum-and-sample(mass=1.0,most={most})")
    noise = model.draw_noise(model.bk.generator(0), BATCH)
    counted = count_calls(model, model.bk.array(make_pixels()), estimator, model.bk.generator(0), noise)
    assert counted == expected == estimator.calls(20)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sum-and-relax(mass=1.5)", "mass must be >= 0 and <= 1, got 1.5"),
        ("sum-and-relax(mass=-0.1)", "mass must be"),
        ("sum-and-sample(mass=0.9,most=0)", "most must be an integer >= 1, which is m, or None for no limit, got 0"),
        ("sum-and-sample(m=3,mass=0.9,most=2)", "most must be an integer >= 3, which is m"),
        ("sum-and-sample(most=3)", "most needs a mass above 0"),
        ("sum-and-relax(tau=0)", "tau must be >= 1e-10"),
        ("unordered-set(k=1)", "k must be >= 2 and <= 4, got 1"),
        ("unordered-set(k=5)", "k must be >= 2 and <= 4, got 5"),
        ("zgr(tau=1)", "estimator 'zgr' has no setting 'tau=1'; settings: draws"),
    ],
)
def test_bad_settings_are_refused_with_what_is_allowed(text, message):
    with pytest.raises(ValueError, match=message):
        parse_estimator(text)


def test_a_mass_refuses_batch_norm_and_m_does_not():
    config = ModelConfig(n_classes=10, norm="batch")
    parse_estimator("sum-and-relax(m=3)").check(config)
    with pytest.raises(ValueError, match="sum-and-relax with a mass needs rows that do not interact"):
        parse_estimator("sum-and-relax(mass=0.9)").check(config)


# sum-and-relax: the soft draw over the rest against a one-dimensional integral


def relaxed_expectation(f, logits, m, tau):
    """Σ_C q_k f(e_k) + (1 − q_C) E f(s'), where the rest has two classes i and j: s' = (s, 1 − s) there."""
    q, C = oracles.softmax(logits), oracles.likeliest(logits, m)
    i, j = (k for k in range(len(q)) if k not in C)
    e = np.eye(len(q))
    soft = soft_expectation(lambda s: f.plain(s[0] * e[i] + s[1] * e[j]), logits[i] - logits[j], tau)
    return sum(q[k] * f.of_classes[k] for k in C) + (q[i] + q[j]) * soft


def slopes(function, logits, h=1e-4):
    return np.array([(function(logits + h * e) - function(logits - h * e)) / (2 * h) for e in np.eye(len(logits))])


@pytest.mark.parametrize("tau", [0.3, 1.0, 3.0])
def test_sum_and_relax_has_the_value_and_gradient_of_the_integral_where_two_classes_are_left(tau):
    copies = 20_000
    f = toy_bound(backend(), K, copies)
    estimator = parse_estimator(f"sum-and-relax(m={K - 2},tau={tau})")
    values, gradients = value_and_gradient(estimator, f, np.tile(LOGITS, (copies, 1)), seed=2)
    assert abs(z_score(values, relaxed_expectation(f, LOGITS, K - 2, tau))) < z_bound()
    expected = slopes(lambda logits: relaxed_expectation(f, logits, K - 2, tau), LOGITS)
    assert abs(z_scores(gradients, expected)).max() < z_bound(K)


def test_the_bias_of_sum_and_relax_falls_with_the_mass_of_the_rest_and_vanishes_with_tau():
    f = toy_bound(backend(), K, 1)

    def bias(logits, tau):
        exact = (oracles.softmax(logits) * f.of_classes).sum()
        return abs(relaxed_expectation(f, logits, K - 2, tau) - exact)

    assert bias(LOGITS, 0.02) < 0.05 * bias(LOGITS, 1.0)
    peaked = LOGITS + 4 * (LOGITS > 0)  # the two classes of the rest keep their odds
    rest = [oracles.softmax(logits)[[1, 3]].sum() for logits in (LOGITS, peaked)]
    assert bias(peaked, 1.0) / bias(LOGITS, 1.0) == pytest.approx(rest[1] / rest[0], rel=1e-6)


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_sum_and_relax_value_given_the_draw(tau, m):
    logits = np.random.default_rng(0).standard_normal((20, K))
    f, g = toy_bound(backend(), K, 20, cubic=0.2), gumbel_draws(np.random.default_rng(3), (20, K))
    values, _ = value_and_gradient(parse_estimator(f"sum-and-relax(m={m},tau={tau})"), f, logits, seed=3)
    for b in range(20):
        q, C, soft = oracles.softmax(logits[b]), oracles.likeliest(logits[b], m), np.zeros(K)
        rest = [k for k in range(K) if k not in C]
        soft[rest] = oracles.soft_point(np.log(q[rest]), g[b, rest], tau)
        expected = sum(q[k] * f.of_classes[k] for k in C) + q[rest].sum() * f.plain(soft)
        assert values[b] == pytest.approx(expected, rel=1e-12)


# unordered-set


@pytest.mark.parametrize(("n_classes", "k"), [(2, 2), (3, 4), (5, 2), (5, 3), (5, 4)])
def test_unordered_set_value_and_gradient_given_the_classes(n_classes, k):
    f = toy_bound(backend(), n_classes, 20)
    logits = np.random.default_rng(0).standard_normal((20, n_classes))
    values, gradients = value_and_gradient(parse_estimator(f"unordered-set(k={k})"), f, logits, seed=3)
    drawn = k < n_classes
    g = gumbel_draws(np.random.default_rng(3), (20, n_classes)) if drawn else np.zeros((20, n_classes))
    for b in range(20):
        S = oracles.likeliest(logits[b] + g[b], min(k, n_classes))
        value, gradient = oracles.unordered_set(logits[b], f.of_classes, S)
        assert values[b] == pytest.approx(value, rel=1e-10)
        np.testing.assert_allclose(gradients[b], gradient, rtol=1e-7, atol=1e-10)
        if not drawn:
            assert value == pytest.approx((oracles.softmax(logits[b]) * f.of_classes).sum(), rel=1e-12)
            np.testing.assert_allclose(gradient, oracles.exact_gradient(logits[b], f.of_classes), atol=1e-12)


def test_unordered_set_has_less_variance_than_as_many_independent_draws():
    f, logits = toy_bound(backend(), K, 4000), np.tile(LOGITS, (4000, 1))
    other, own = (
        value_and_gradient(parse_estimator(name), f, logits, seed=1)
        for name in ("score-function(draws=3)", "unordered-set(k=3)")
    )
    assert own[0].var() < 0.7 * other[0].var()
    assert own[1].var(axis=0).sum() < 0.7 * other[1].var(axis=0).sum()


# zgr, softmax-straight-through


@BOTH_BACKENDS
def test_zgr_is_reinmax_at_temperature_1(backend_name):
    bk, logits = usable(backend_name), np.random.default_rng(0).standard_normal((30, K))
    f = toy_bound(bk, K, 30, cubic=0.2)
    (own, gradients), (other, others) = (
        value_and_gradient(parse_estimator(name), f, logits, seed=1) for name in ("zgr", "reinmax")
    )
    np.testing.assert_array_equal(own, other)
    np.testing.assert_allclose(gradients, others, rtol=1e-12, atol=1e-14)


JACOBIANS = {
    "zgr": oracles.zgr_jacobian,
    "softmax-straight-through": lambda logits, i: oracles.jacobian(oracles.softmax(logits)),
}


@pytest.mark.parametrize("cubic", [0.0, 0.2])
@pytest.mark.parametrize("name", JACOBIANS)
def test_hard_points_have_their_jacobian_and_zgr_is_exact_in_the_mean_for_a_quadratic_f_alone(name, cubic):
    f, logits = toy_bound(backend(), K, 40, cubic=cubic), np.tile(LOGITS, (40, 1))
    values, gradients = value_and_gradient(parse_estimator(name), f, logits, seed=3)
    g = gumbel_draws(np.random.default_rng(3), (40, K))
    drawn = np.argmax(LOGITS + g, axis=-1)
    assert len(set(drawn)) > 2
    for b, i in enumerate(drawn):
        hard = oracles.one_hot(i, K)
        assert values[b] == pytest.approx(f.plain(hard), rel=1e-12)
        np.testing.assert_allclose(gradients[b], JACOBIANS[name](LOGITS, i) @ f.slope(hard), rtol=1e-7, atol=1e-10)
    mean = sum(
        q * JACOBIANS[name](LOGITS, i) @ f.slope(oracles.one_hot(i, K)) for i, q in enumerate(oracles.softmax(LOGITS))
    )
    exact = np.allclose(mean, oracles.exact_gradient(LOGITS, f.of_classes), rtol=1e-10)
    assert exact == (name == "zgr" and not cubic)


def test_zgr_is_the_limit_of_gumbel_rao_for_low_temperatures():
    """Both given the hard draw: the mean over the noise of the Jacobian of the soft draw, divided by τ."""
    E = np.random.default_rng(0).standard_exponential((200_000, 3))
    logits = LOGITS[:3]
    log_q = oracles.log_softmax(logits)
    G = np.stack([-np.logaddexp(np.log(E[:, j]) - log_q[j], np.log(E[:, 0])) for j in range(3)], axis=1)
    G[:, 0] = -np.log(E[:, 0])
    tau = 0.02
    s = oracles.softmax(G / tau)
    mean = (np.einsum("mi,ij->ij", s, np.eye(3)) - s.T @ s) / len(s) / tau
    np.testing.assert_allclose(mean, oracles.zgr_jacobian(logits, 0), atol=0.02)
