"""The streamed sum compared with the one-shot sum: equal bound and gradients for every chunk size, and its memory."""

from __future__ import annotations

import dataclasses
import tracemalloc

import numpy as np
import pytest
from core_fixtures import backend, clear_gradients, make_model, make_pixels

from gsbench.estimators import parse_estimator
from gsbench.estimators.marginalize_streamed import MarginalizeStreamed
from gsbench.meters.case import Case
from gsbench.models import ADGM, MODELS
from gsbench.settings.case import Settings
from gsbench.settings.presets import make_config
from gsbench.training.objective import loss, training_loss, unlabelled_bound

CHUNKS = (1, 3, 10, None)  # None: K
TOLERANCES = {"float32": 1e-5, "float64": 1e-10}
# In a small model the gradient of q, which is q_k (f_k − Σ q f), is small beside the rounding of f, about 1e-7 of |f|.
SMALL_TOLERANCES = {"float32": 1e-4, "float64": 1e-10}
BOTH = pytest.mark.parametrize("model", list(MODELS))


def spelled(chunk, n_classes):
    return f"marginalize-streamed(chunk={chunk or n_classes})"


def bound_and_gradients(case, estimator, seed=7):
    """−mean U of a case's minibatch with another estimator, and the gradient of every parameter array."""
    bk, model = case.bk, case.model
    clear_gradients(model)
    rng = bk.generator(seed)
    bound = unlabelled_bound(model, case.batch.x_unlabelled, parse_estimator(estimator), rng, case.settings.n_mc)
    value = loss(model, bound)
    bk.backward(value)
    return float(bk.to_numpy(value)), {key: bk.gradient(p).copy() for key, p in model.parameters.items()}


def check_equal(case, tolerance):
    """Checks ‖Δ‖/‖g‖ of every parameter array, for every chunk size."""
    expected, expected_gradients = bound_and_gradients(case, "marginalize")
    assert all(np.linalg.norm(g) > 0 for g in expected_gradients.values())
    for chunk in CHUNKS:
        value, gradients = bound_and_gradients(case, spelled(chunk, case.settings.n_classes))
        assert abs(value - expected) <= tolerance * abs(expected)
        for key, g in expected_gradients.items():
            off = np.linalg.norm(gradients[key] - g) / np.linalg.norm(g)
            assert off <= tolerance, f"{key} with chunk {chunk}: {off}"


def check_before_and_after_training(settings, steps, tolerance):
    case = Case(settings)
    check_equal(case, tolerance)
    before = {key: p.array.copy() for key, p in case.model.parameters.items()}
    for _ in range(steps):
        case.step()
    assert all(not np.array_equal(before[key], p.array) for key, p in case.model.parameters.items())
    check_equal(case, tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_mc", [1, 3])
@BOTH
def test_streamed_is_the_one_shot_sum_before_and_after_training(model, n_mc, dtype):
    settings = Settings("gumbel-softmax", model, "small", n_classes=13, batch=20, n_mc=n_mc, dtype=dtype, threads=1)
    check_before_and_after_training(settings, 15, SMALL_TOLERANCES[dtype])


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_mc", [1, 3])
@BOTH
def test_streamed_is_the_one_shot_sum_at_the_default_preset(model, n_mc, dtype):
    settings = Settings("gumbel-softmax", model, "default", n_classes=100, n_mc=n_mc, dtype=dtype)
    check_before_and_after_training(settings, 200, TOLERANCES[dtype])


@BOTH
def test_a_single_example_in_chunks_of_one_class(model):
    """Here no axis is broadcast, so inputs could share an array of gradients."""
    settings = Settings("marginalize", model, "small", n_classes=13, batch=1, dtype="float64", threads=1)
    check_equal(Case(settings), TOLERANCES["float64"])


@BOTH
def test_the_gradient_of_the_whole_training_loss(model):
    """Here the labelled half adds gradients to the same parameters."""
    net, x = make_model(model, 5), make_pixels()
    bk = net.bk
    y = bk.integers([0, 4, 4, 2])
    found = []
    for estimator in ("marginalize", "marginalize-streamed(chunk=2)"):
        clear_gradients(net)
        bk.backward(training_loss(net, x, y, x[::-1].copy(), parse_estimator(estimator), 0.7, bk.generator(1), n_mc=2))
        found.append({key: bk.gradient(p).copy() for key, p in net.parameters.items()})
    for key, g in found[0].items():
        np.testing.assert_allclose(found[1][key], g, rtol=1e-9, atol=1e-12, err_msg=key)


def test_a_chunk_is_all_of_f_that_is_ever_computed_at_once(monkeypatch):
    net, at_once = make_model("adgm", 7), []
    bound_of = ADGM.bound_of

    def watched(self, y, f):
        values = bound_of(self, y, f)
        at_once.append(values.shape[1])
        return values

    monkeypatch.setattr(ADGM, "bound_of", watched)
    x = net.bk.array(make_pixels())
    unlabelled_bound(net, x, MarginalizeStreamed(chunk=3), net.bk.generator(0))
    assert at_once == [3, 3, 1]


def test_without_a_graph_there_is_a_value_and_no_gradient():
    net, x = make_model("m2", 7), make_pixels()
    bk = net.bk
    expected = unlabelled_bound(net, bk.array(x), parse_estimator("marginalize"), bk.generator(0))
    with bk.no_gradient():
        got = unlabelled_bound(net, bk.array(x), MarginalizeStreamed(chunk=2), bk.generator(0))
    np.testing.assert_allclose(bk.to_numpy(got), bk.to_numpy(expected), rtol=1e-12)
    assert all(bk.gradient(p) is None for p in net.parameters.values())


def test_forward_leaves_no_gradient_in_the_parameters():
    """The gradients come with the loss's backward pass, as for every other estimator."""
    net = make_model("adgm", 7)
    u = unlabelled_bound(net, net.bk.array(make_pixels()), MarginalizeStreamed(chunk=2), net.bk.generator(0))
    assert all(net.bk.gradient(p) is None for p in net.parameters.values())
    net.bk.backward(loss(net, u))
    assert all(net.bk.gradient(p) is not None for p in net.parameters.values())


def test_a_loss_that_weights_examples_differently_is_refused():
    net = make_model("adgm", 4)
    bk = net.bk
    u = unlabelled_bound(net, bk.array(make_pixels()), MarginalizeStreamed(), bk.generator(0))
    with pytest.raises(ValueError, match="weights all examples and draws alike"):
        bk.backward(bk.sum(u * u))


def test_batch_norm_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match="rows that do not interact, and norm='batch'"):
        Settings("marginalize-streamed", preset="blog")
    net = make_model("adgm", 4, norm="batch")
    with pytest.raises(ValueError, match="use marginalize, or norm='none'"):
        unlabelled_bound(net, make_pixels(), MarginalizeStreamed(), net.bk.generator(0))


@pytest.mark.parametrize("chunk", [0, -1, 2.0, True, "ten"])
def test_a_chunk_is_a_positive_integer(chunk):
    with pytest.raises(ValueError, match="chunk must be an integer >= 1, or None for a default, got"):
        MarginalizeStreamed(chunk=chunk)


def test_the_default_chunk_fills_its_budget_evenly():
    bk = backend("float32")
    floats = bk.chunk_bytes // 4 // 12  # 12 classes fit
    for n_classes, chunk in ((5, 5), (12, 12), (13, 7), (24, 12), (25, 9), (1000, 12)):
        assert MarginalizeStreamed().chunk_of(bk, n_classes, floats) == chunk
    assert MarginalizeStreamed().chunk_of(bk, 100, bk.chunk_bytes) == 1  # not even one fits
    assert MarginalizeStreamed(chunk=3).chunk_of(bk, 100, floats) == 3
    assert MarginalizeStreamed(chunk=300).chunk_of(bk, 100, floats) == 100


def test_the_default_chunk_holds_about_its_budget():
    case = Case(Settings("marginalize-streamed", preset="small", n_classes=400, threads=1))
    chunk = case.estimator.classes_at_once(case.model, 100)
    assert 1 < chunk < 400
    peaks = []
    for n_classes in (chunk, 400):
        smaller = Case(dataclasses.replace(case.settings, n_classes=n_classes, estimator=spelled(chunk, n_classes)))
        smaller.bound()
        tracemalloc.start()
        smaller.bound()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert 0.5 * case.bk.chunk_bytes < peaks[0] < 1.5 * case.bk.chunk_bytes
    # The activations do not grow with K. Arrays such as f and q, [K, B], and the rows of the gradients do.
    a_class = 4 * (8 * 100 + 4 * 2 * make_config("small", 2).units)
    assert peaks[1] < peaks[0] + (400 - chunk) * a_class


@pytest.mark.parametrize("estimator", ["marginalize", "marginalize-streamed", "marginalize-streamed(chunk=100)"])
@BOTH
def test_no_one_hot_matrix_of_all_rows_is_ever_made(model, estimator):
    """The model is so small that one array [K·B, K] would be larger than all others together."""
    n_classes, batch = 400, 10
    net = make_model(model, n_classes, "float32", n_pixels=4, units=4, d_a=1, d_z=1)
    x = net.bk.array(np.zeros((batch, 4)))

    def step():
        clear_gradients(net)
        net.bk.backward(loss(net, unlabelled_bound(net, x, parse_estimator(estimator), net.bk.generator(0))))

    step()
    tracemalloc.start()
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * n_classes * batch * n_classes


def test_float16_stays_near_the_one_shot_sum():
    """200 chunks of one class: their gradients are added up in float32 and returned in float16."""
    net = make_model("m2", 200, "float16")
    x = net.bk.array(make_pixels())
    found = []
    for estimator in ("marginalize", "marginalize-streamed(chunk=1)"):
        clear_gradients(net)
        net.bk.backward(loss(net, unlabelled_bound(net, x, parse_estimator(estimator), net.bk.generator(0))))
        found.append({key: net.bk.gradient(p) for key, p in net.parameters.items()})
    for key, g in found[1].items():
        assert g.dtype == np.float16, key
        expected = found[0][key].astype(np.float64)
        assert np.linalg.norm(g - expected) <= 0.02 * np.linalg.norm(expected) + 1e-3, key
