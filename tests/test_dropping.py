"""Dropped pixels and hidden units: with given drops, the bounds and their gradients equal the oracle's."""

import numpy as np
import pytest
from core_fixtures import check_gradients, make_model, make_pixels, plain_noise
from oracles import Oracle

from gsbench.estimators import parse_estimator
from gsbench.training.objective import labelled_bound, unlabelled_bound

LABELS = np.array([2, 0, 1, 2])
VARIANTS = {
    "pixels, two draws": ({"drop_x": 0.5}, 2),
    "units": ({"drop_hidden": 0.4}, 1),
    "both, elu": ({"drop_x": 0.3, "drop_hidden": 0.3, "nonlinearity": "elu", "classifier_units": 7}, 1),
}


class DroppingOracle(Oracle):
    """The oracle with dropout in q(y|a,x) alone: its pixels and hidden layers are multiplied by these factors.

    keep_x [B, D_x] or None; keep_hidden [B, H] for each hidden layer, or ().
    """

    def __init__(self, model, noise):
        super().__init__(model)
        self.keep_x = None if noise.keep_x is None else noise.keep_x[0, 0]
        self.keep_hidden = [keep[0, 0] for keep in noise.keep_hidden]

    def network(self, name, **inputs):
        if not name.startswith("q_y"):
            return super().network(name, **inputs)
        P = self.parameters
        if self.keep_x is not None:
            inputs["x"] = inputs["x"] * self.keep_x
        h = sum(value @ P[f"{name}/W_{key}"].T for key, value in inputs.items())
        for layer in (1, 2):
            h = self.nonlinearity(h + P[f"{name}/b{layer}"])
            h = (h * self.keep_hidden[layer - 1] if self.keep_hidden else h) @ P[f"{name}/W{layer + 1}"].T
        return h + P[f"{name}/b3"]


@pytest.fixture(params=VARIANTS)
def case(request, name):
    """A model, the number of draws, and the oracle with the noise of seed 1."""
    changes, n_mc = VARIANTS[request.param]
    model = make_model(name, 3, **changes)
    noise = model.draw_noise(model.bk.generator(1), 4, n_mc)
    assert any((keep == 0).any() for keep in (noise.keep_x, *noise.keep_hidden) if keep is not None)
    return model, n_mc, DroppingOracle(model, noise), plain_noise(model, noise)


@pytest.mark.parametrize("name", ["adgm", "m2"])
def test_the_unlabelled_bound_and_its_gradient(case):
    model, n_mc, oracle, noise = case
    x = make_pixels()
    bound = unlabelled_bound(
        model, model.bk.array(x), parse_estimator("marginalize"), model.bk.generator(1), n_mc
    )
    expected = oracle.unlabelled(x, *noise)
    np.testing.assert_allclose(model.bk.to_numpy(bound), expected, rtol=1e-9)
    assert not np.allclose(expected, Oracle(model).unlabelled(x, *noise), rtol=1e-6)  # dropping matters
    check_gradients(model, bound, oracle, lambda: oracle.unlabelled(x, *noise), rtol=1e-5)


@pytest.mark.parametrize("name", ["adgm", "m2"])
def test_the_labelled_bound_and_the_classifier_s_term(case):
    model, n_mc, oracle, noise = case
    x = make_pixels()
    bound, log_q_y = labelled_bound(
        model, model.bk.array(x), model.bk.integers(LABELS), model.bk.generator(1), n_mc
    )
    of_bound, of_log_q = oracle.labelled(x, *noise, LABELS)
    np.testing.assert_allclose(model.bk.to_numpy(bound), of_bound, rtol=1e-9)
    np.testing.assert_allclose(model.bk.to_numpy(log_q_y), of_log_q, rtol=1e-9)
    check_gradients(model, bound + 3 * log_q_y, oracle, lambda: bound_and_term(oracle, x, noise), rtol=1e-5)


def bound_and_term(oracle, x, noise):
    bound, log_q_y = oracle.labelled(x, *noise, LABELS)
    return bound + 3 * log_q_y


@pytest.mark.parametrize("estimator", ["marginalize-streamed", "gumbel-softmax", "sum-and-sample"])
@pytest.mark.parametrize("name", ["adgm", "m2"])
def test_samplers_see_the_same_classifier(name, estimator):
    """An estimator gets the exact sum's logits, because the drops are drawn before the estimator's draws."""
    model = make_model(name, 3, drop_x=0.5, drop_hidden=0.3)
    x, made = model.bk.array(make_pixels()), parse_estimator(estimator)
    given = []

    class Watched(type(made)):
        def __call__(self, f, logits_y, rng):
            given.append(model.bk.to_numpy(logits_y).copy())
            return super().__call__(f, logits_y, rng)

    watched = Watched(**made.settings)
    unlabelled_bound(model, x, watched, model.bk.generator(1))
    logits = model.class_logits(x, model.draw_noise(model.bk.generator(1), 4))
    np.testing.assert_allclose(given[0], model.bk.to_numpy(logits), rtol=1e-12)
