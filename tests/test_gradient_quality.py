"""Gradients compared with the exact one: the fixed and the varying draws, and a variance computed by hand."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from core_fixtures import make_model, make_pixels, plain_noise

from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.estimators.marginalize_streamed import MarginalizeStreamed
from gsbench.meters.gradient_quality import PARTS, Point, gradient_quality
from gsbench.models import MODELS

K, BATCH = 3, 2
NOISELESS = [name for name, kind in ESTIMATORS.items() if not kind().draws_y]


def make_point(name="adgm", n_classes=K, n_mc=1, total_draws=3, dtype="float64", **changes):
    model = make_model(name, n_classes, dtype)
    settings = {"n_mc": n_mc, "total_draws": total_draws, **changes}
    return Point(model, model.bk.array(make_pixels(BATCH)), **settings)


def flat(arrays):
    return np.concatenate([np.asarray(array).ravel() for array in arrays])


def score_function_by_hand(point):
    """Mean, and trace of the covariance, of the gradient of −mean U with respect to the logits, for S = 2 draws of y: a
    sum over all K² pairs of classes of each example. In (f_1 − f_2)(e_1 − e_2)/2 the terms −q of both scores cancel.
    """
    model, oracle = point.model, oracles.Oracle(point.model)
    eps_a, eps_z = plain_noise(model, point.noise)
    x = model.bk.to_numpy(point.x)
    f = oracle.class_bounds(x, eps_a, eps_z)[0]  # [B, K]
    log_q = oracles.log_softmax(oracle.logits(x, eps_a[0]))
    mean, trace = np.zeros((BATCH, K)), 0.0
    for b in range(BATCH):
        q = np.exp(log_q[b])
        by_entropy = -q * (log_q[b] + oracles.entropy(log_q[b]))  # ∂H/∂logits
        square = 0.0
        for k in range(K):
            for j in range(K):
                g = (f[b, k] - f[b, j]) * (np.eye(K)[k] - np.eye(K)[j]) / 2 + by_entropy
                g = -g / BATCH
                mean[b] += q[k] * q[j] * g
                square += q[k] * q[j] * (g**2).sum()
        trace += square - (mean[b] ** 2).sum()
    return mean, trace


def test_variance_of_the_score_function_equals_the_one_by_hand():
    point = make_point()
    mean, trace = score_function_by_hand(point)
    exact = point.gradient(MarginalizeStreamed(), None, point.noise)["logits"][0][0]
    np.testing.assert_allclose(exact, mean, rtol=1e-9, atol=1e-12)
    figures = gradient_quality(point, parse_estimator("score-function"), blocks=20, per_block=30)
    by_hand = trace / (mean**2).sum()
    assert figures["logits_variance_low"] < by_hand < figures["logits_variance_high"]
    assert figures["logits_variance"] == pytest.approx(by_hand, rel=0.15)
    assert figures["logits_exact_norm"] == pytest.approx(np.sqrt((mean**2).sum()), rel=1e-9)
    assert figures["logits_squared_bias_low"] < 0 < figures["logits_squared_bias_high"]


def test_a_biased_gradient_is_seen_to_be():
    figures = gradient_quality(make_point(), parse_estimator("gumbel-softmax"), blocks=20, per_block=10)
    assert figures["logits_squared_bias_low"] > 0


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", NOISELESS)
def test_without_draws_one_repetition_has_no_bias_and_no_variance(name, model):
    point = make_point(model, n_classes=7, n_mc=2)
    figures = gradient_quality(point, ESTIMATORS[name](), blocks=20, per_block=5)
    assert (figures["gradient_draws"], figures["gradient_blocks"]) == (1, 1)
    for part in PARTS:
        assert 0 <= figures[f"{part}_squared_bias"] < 1e-20
        assert figures[f"{part}_variance"] == 0
        assert figures[f"{part}_cosine"] == pytest.approx(1)
        assert figures[f"{part}_total_variance"] > 1e-4
    assert figures["rounds"] >= 3


def test_the_exact_sums_have_one_total_variance():
    point = make_point()
    first, second = (gradient_quality(point, parse_estimator(f"marginalize{way}")) for way in ("", "-streamed"))
    apart = gradient_quality(make_point(), parse_estimator("marginalize-streamed"))
    for part in PARTS:
        assert first[f"{part}_total_variance"] == second[f"{part}_total_variance"]
        assert first[f"{part}_total_variance"] == pytest.approx(apart[f"{part}_total_variance"], rel=1e-9)


def test_total_variance_is_the_variance_of_gradients_with_new_noise():
    point = make_point(total_draws=6)
    estimator = parse_estimator("marginalize")
    figures = gradient_quality(point, estimator)
    rng = point.model.bk.generator(1)
    found = [flat(point.gradient(estimator, rng, noise)["theta"]) for noise in point.further_noise]
    trace = np.var(found, axis=0, ddof=1).sum()
    assert figures["theta_total_variance"] == pytest.approx(trace / figures["theta_exact_norm"] ** 2, rel=1e-9)


def test_sparsemax_is_compared_with_its_own_sum():
    figures = gradient_quality(make_point(n_classes=7), parse_estimator("sparsemax"))
    assert figures["baseline"] == "sparsemax over all classes"
    assert 1 <= figures["calls_of_f"] < 7
    assert gradient_quality(make_point(), parse_estimator("reinmax"), 4, 1)["baseline"] == "marginalize-streamed"


@pytest.mark.parametrize("model", MODELS)
def test_each_parameter_except_the_classifiers_is_in_one_part(model):
    point = make_point(model, n_mc=2)
    gradient = point.gradient(parse_estimator("marginalize"), None, point.noise)
    assert gradient["logits"][0].shape == (2, BATCH, K)
    counts = {"q": 0, "p": 0}
    for name, p in point.model.parameters.items():
        if not name.startswith("q_y_"):
            counts[name[0]] += p.size
    assert counts == {"q": flat(gradient["phi"]).size, "p": flat(gradient["theta"]).size}


def test_same_seed_same_figures_and_another_seed_others():
    estimator = parse_estimator("gumbel-rao")

    def figures(seed):
        found = gradient_quality(make_point(seed=seed), estimator, 4, 2)
        return {name: value for name, value in found.items() if "seconds" not in name}

    assert figures(0) == figures(0)
    assert figures(0)["logits_variance"] != figures(1)["logits_variance"]


def test_measuring_leaves_the_parameters_and_their_gradients_alone():
    point = make_point()
    bk = point.model.bk
    before = {name: bk.to_numpy(p).copy() for name, p in point.model.parameters.items()}
    for p in point.model.parameters.values():
        p.cleargrad()
    gradient_quality(point, parse_estimator("sum-and-sample"), 4, 1)
    for name, p in point.model.parameters.items():
        np.testing.assert_array_equal(bk.to_numpy(p), before[name])
        assert bk.gradient(p) is None


def test_perplexity_follows_from_the_mean_entropy():
    point = make_point(n_classes=7)
    eps_a, _ = plain_noise(point.model, point.noise)
    oracle = oracles.Oracle(point.model)
    log_q = oracles.log_softmax(oracle.logits(point.model.bk.to_numpy(point.x), eps_a[0]))
    assert point.q_perplexity == pytest.approx(np.exp(oracles.entropy(log_q).mean()))


@pytest.mark.parametrize("name", NOISELESS)
def test_in_float32_exact_gradients_differ_by_rounding_alone(name):
    figures = gradient_quality(make_point(n_classes=7, dtype="float32"), ESTIMATORS[name]())
    for part in PARTS:
        assert 0 <= figures[f"{part}_squared_bias"] < 1e-10


def test_gradients_without_a_comparison_are_refused():
    with pytest.raises(ValueError, match=r"marginalize\(class_noise=independent\) draws ε_z by itself"):
        gradient_quality(make_point(), parse_estimator("marginalize(class_noise=independent)"))
    point = make_point()
    point.model = make_model("adgm", K, norm="batch")
    with pytest.raises(ValueError, match="needs rows that do not interact"):
        gradient_quality(point, parse_estimator("sparsemax"))
