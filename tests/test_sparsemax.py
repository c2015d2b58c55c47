"""Sparsemax: the distribution, its entropy and loss, and the sum over its support, in parts and at once."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import numpy as np
import oracles
import pytest
from core_fixtures import (
    BATCH,
    backend,
    bound_and_gradients,
    check_equal,
    check_gradients,
    clear_gradients,
    make_model,
    make_pixels,
    noise_of_seed,
    plain_noise,
)

from gsbench.estimators import parse_estimator
from gsbench.estimators.sparsemax import Sparsemax, SparsemaxOverClasses
from gsbench.estimators.streaming import Rows
from gsbench.models import MODELS, Labels
from gsbench.training.objective import count_calls, labelled_bound, training_loss, unlabelled_bound
from gsbench.training.trainer import Evaluation

BOTH = pytest.mark.parametrize("model_name", list(MODELS))
SEED = 1


def rows_of_logits(n_classes):
    """Rows of every kind: [R, K]"""
    rng = np.random.default_rng(n_classes)
    ties = np.zeros(n_classes)
    ties[: n_classes // 2] = 0.3
    dominating = np.where(np.arange(n_classes) == 1, 50.0, 0.0)
    margin = np.where(np.arange(n_classes) == 1, 1.0, 0.0)  # the edge of the support
    return np.stack(
        [
            *rng.standard_normal((4, n_classes)),
            *(3 * rng.standard_normal((3, n_classes))),
            0.01 * rng.standard_normal(n_classes),
            np.zeros(n_classes),
            np.full(n_classes, 1e4),
            np.full(n_classes, -1e4),
            rng.choice([-1e4, 0.0, 1e4], size=n_classes),
            ties,
            dominating,
            -dominating,
            margin,
        ]
    )


def supports_to_enumerate(x):
    """w by trying every support S: on S, x minus its threshold is positive; off S, x is at most the threshold."""
    classes = range(len(x))
    for size in range(1, len(x) + 1):
        for S in itertools.combinations(classes, size):
            t = (sum(x[k] for k in S) - 1) / size
            if all(x[k] > t for k in S) and all(x[k] <= t for k in classes if k not in S):
                return np.array([x[k] - t if k in S else 0.0 for k in classes])
    raise AssertionError("no support fits")


# The distribution


def test_the_oracle_by_bisection_equals_enumeration_of_supports():
    for n_classes in (2, 5):
        for row in rows_of_logits(n_classes):
            np.testing.assert_allclose(oracles.sparsemax(row), supports_to_enumerate(row), atol=1e-11)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 7, 1000])
def test_sparsemax(n_classes, dtype):
    bk = backend(dtype)
    values = bk.array(rows_of_logits(n_classes))
    w = bk.to_numpy(bk.sparsemax(bk.parameter(values)))
    assert w.dtype == np.promote_types(dtype, np.float32)
    rtol = 1e-12 if dtype == "float64" else 2e-6
    np.testing.assert_allclose(w, oracles.sparsemax(values.astype(np.float64)), rtol=1e3 * rtol, atol=rtol)
    assert (w >= 0).all()
    np.testing.assert_allclose(w.sum(axis=-1), 1, rtol=n_classes * rtol)


@pytest.mark.parametrize("n_classes", [2, 7])
def test_gradient_of_sparsemax_equals_finite_differences(n_classes):
    bk, h = backend(), 1e-7
    values = np.concatenate([rows_of_logits(n_classes)[:8], [np.linspace(0, 5, n_classes)]])
    c = np.random.default_rng(0).standard_normal(values.shape)
    x = bk.parameter(values)
    bk.backward(bk.sum(bk.sparsemax(x) * c))
    sizes = set()
    for b, row in enumerate(values):
        w = oracles.sparsemax(row)
        sizes.add(int((w > 0).sum()))
        np.testing.assert_allclose(bk.gradient(x)[b], oracles.sparsemax_jacobian(w) @ c[b], rtol=1e-12, atol=1e-13)
        for k in range(n_classes):
            up, down = (oracles.sparsemax(row + s * h * np.eye(n_classes)[k]) for s in (1, -1))
            assert bk.gradient(x)[b, k] == pytest.approx(c[b] @ (up - down) / (2 * h), abs=1e-6)
    assert len(sizes) > 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 7, 1000])
def test_entropy_of_points_with_zeros(n_classes, dtype):
    bk = backend(dtype)
    w = oracles.sparsemax(rows_of_logits(n_classes))
    got = bk.to_numpy(bk.point_entropy(bk.parameter(w)))
    rtol = {"float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(got, oracles.point_entropy(w), rtol=rtol, atol=rtol)
    assert got[13] == 0  # the entropy of one class


def test_gradient_of_sparsemax_s_entropy_equals_finite_differences():
    bk, h = backend(), 1e-6
    values = rows_of_logits(7)[:9]
    x = bk.parameter(values)
    bk.backward(bk.sum(bk.point_entropy(bk.sparsemax(x))))
    for b, k in np.ndindex(values.shape):
        step = h * np.eye(7)[k]
        up, down = (oracles.point_entropy(oracles.sparsemax(values[b] + e)[None])[0] for e in (step, -step))
        assert bk.gradient(x)[b, k] == pytest.approx((up - down) / (2 * h), abs=1e-5)


# The loss


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_classes", [2, 7, 1000])
def test_sparsemax_loss_and_its_gradient(n_classes, dtype):
    """The gradient with respect to the logits is w − e_y."""
    bk, values = backend(dtype), rows_of_logits(n_classes)
    y = np.arange(len(values)) % min(n_classes, 5)
    logits = bk.parameter(values[None])
    got = Sparsemax().log_likelihood(bk, logits, bk.integers(y))
    assert got.shape == (1, len(values))
    rtol = {"float32": 1e-5, "float64": 1e-11}[dtype]
    expected = [-oracles.sparsemax_loss(row, k) for row, k in zip(bk.to_numpy(logits)[0].astype(float), y, strict=True)]
    np.testing.assert_allclose(bk.to_numpy(got)[0], expected, rtol=rtol, atol=10 * rtol)
    assert (bk.to_numpy(got) <= 10 * rtol).all()
    bk.backward(bk.sum(got))
    by_logits = oracles.one_hot(y, n_classes) - oracles.sparsemax(bk.to_numpy(logits)[0].astype(float))
    np.testing.assert_allclose(bk.gradient(logits)[0], by_logits, atol=10 * rtol)


def test_gradient_of_the_oracle_s_loss_is_w_less_the_label():
    row, h = rows_of_logits(7)[0], 1e-6
    for y in (0, 3):
        slopes = [
            (oracles.sparsemax_loss(row + e, y) - oracles.sparsemax_loss(row - e, y)) / (2 * h) for e in h * np.eye(7)
        ]
        np.testing.assert_allclose(slopes, oracles.sparsemax(row) - oracles.one_hot(y, 7), atol=1e-8)


@pytest.mark.parametrize(("margin", "is_zero"), [(0.9, False), (1.0, True), (1.1, True), (1e4, True)])
def test_sparsemax_loss_is_zero_from_a_margin_of_one(margin, is_zero):
    bk = backend()
    logits = bk.parameter([[[0.0, margin, -0.5, 0.0]]])
    value = Sparsemax().log_likelihood(bk, logits, bk.integers([1]))
    bk.backward(bk.sum(value))
    assert (abs(bk.to_numpy(value)[0, 0]) < 1e-12) == is_zero
    assert (abs(bk.gradient(logits)).max() < 1e-12) == is_zero


@BOTH
def test_the_labelled_bound_has_the_loss_in_the_place_of_log_q(model_name):
    model, x, y = make_model(model_name, 3, nonlinearity="elu"), make_pixels(), np.array([2, 0, 1, 2])
    arguments = (model, model.bk.array(x), model.bk.integers(y))
    bound, of_classifier = labelled_bound(*arguments, model.bk.generator(SEED), 2, parse_estimator("sparsemax"))
    eps_a, eps_z, _ = noise_of_seed(model, SEED, n_mc=2)
    oracle = oracles.Oracle(model)

    def expected():
        logits = [oracle.logits(x, e) for e in eps_a]
        losses = [[oracles.sparsemax_loss(row, k) for row, k in zip(rows, y, strict=True)] for rows in logits]
        return oracle.labelled(x, eps_a, eps_z, y)[0] - 2.5 * np.mean(losses, axis=0)

    assert bound.shape == of_classifier.shape == (BATCH,)
    total = bound + 2.5 * of_classifier
    np.testing.assert_allclose(model.bk.to_numpy(total), expected(), rtol=1e-10)
    check_gradients(model, total, oracle, expected, 1e-6)


# The bound


def sparse_model(model_name, n_classes=7, dtype="float64", **changes):
    """A model whose rows have supports of several sizes."""
    model = make_model(model_name, n_classes, dtype, nonlinearity="elu", **changes)
    last, by_weights, by_bias = {"adgm": ("q_y_ax", 0.3, 0.8), "m2": ("q_y_x", 2, 0.5)}[model_name]
    model.parameters[f"{last}/W3"].array[...] *= by_weights
    model.parameters[f"{last}/b3"].array[...] *= by_bias
    return model


@pytest.mark.parametrize("n_mc", [1, 2, 3])
@BOTH
def test_bound_and_its_gradient(model_name, n_mc):
    model, x = sparse_model(model_name), make_pixels()
    eps_a, eps_z, _ = noise_of_seed(model, SEED, n_mc=n_mc)
    oracle = oracles.Oracle(model)
    sizes = {int((oracles.sparsemax(row) > 0).sum()) for e in eps_a for row in oracle.logits(x, e)}
    assert len(sizes) > 1
    assert max(sizes) < 7
    value = functools.partial(oracle.unlabelled, x, eps_a, eps_z, oracles.sparsemax)
    bound = unlabelled_bound(model, model.bk.array(x), Sparsemax(), model.bk.generator(SEED), n_mc)
    np.testing.assert_allclose(model.bk.to_numpy(bound), value(), rtol=1e-10)
    check_gradients(model, bound, oracle, value, 1e-6)


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 5, 10**6])
@pytest.mark.parametrize("n_mc", [1, 3])
@BOTH
def test_parts_equal_the_sum_over_all_classes(model_name, n_mc, rows_at_once, monkeypatch):
    """Also if the entries of one example and draw are split over parts."""
    model = sparse_model(model_name)
    expected = bound_and_gradients(model, SparsemaxOverClasses(), n_mc)
    monkeypatch.setattr(model.bk, "chunk_bytes", rows_at_once * (model.floats_per_row + model.floats_gathered) * 8)
    parts, at = [], type(model.class_bound(make_pixels(), model.draw_noise(model.bk.generator(0), BATCH))).at
    monkeypatch.setattr(
        "gsbench.models.base.ClassBound.at",
        lambda f, draw, example: (
            parts.append(list(zip(draw.tolist(), example.tolist(), strict=True))) or at(f, draw, example)
        ),
    )
    check_equal(bound_and_gradients(model, Sparsemax(), n_mc), expected)
    assert max(map(len, parts)) <= rows_at_once
    if rows_at_once < 10:
        assert len(parts) >= 3
        assert any(a[-1] == b[0] for a, b in itertools.pairwise(parts))  # a group that is split
    else:
        assert len(parts) == 1
    for part in parts:
        assert len(list(itertools.groupby(part))) == len(set(part))  # equal ones together


@BOTH
def test_full_support_is_the_sum_over_all_classes(model_name):
    model = make_model(model_name, 7, nonlinearity="elu")
    last = {"adgm": "q_y_ax", "m2": "q_y_x"}[model_name]
    for key in ("W3", "b3"):
        model.parameters[f"{last}/{key}"].array[...] *= 0.05
    x = model.bk.array(make_pixels())
    noise = model.draw_noise(model.bk.generator(SEED), BATCH, 2)
    assert count_calls(model, x, Sparsemax(), model.bk.generator(0), noise) == 7
    got = bound_and_gradients(model, Sparsemax(), 2)
    check_equal(got, bound_and_gradients(model, SparsemaxOverClasses(), 2))
    eps_a, eps_z, _ = noise_of_seed(model, SEED, n_mc=2)
    np.testing.assert_allclose(
        got[0], oracles.Oracle(model).unlabelled(make_pixels(), eps_a, eps_z, oracles.sparsemax), rtol=1e-10
    )


@BOTH
def test_few_classes_and_many(model_name):
    """One example with few or many classes, also in narrow dtypes, equals the sum over all classes."""
    for n_classes, dtype, rtol in (
        (2, "float64", 1e-10),
        (200, "float64", 1e-10),
        (20, "float32", 1e-4),
        (20, "float16", 2e-2),
    ):
        model = sparse_model(model_name, n_classes, dtype)
        expected = bound_and_gradients(model, SparsemaxOverClasses(), batch=1)
        check_equal(bound_and_gradients(model, Sparsemax(), batch=1), expected, rtol)


def test_reference_is_the_sum_over_all_classes_of_its_own_w():
    reference = Sparsemax().reference()
    assert type(reference) is SparsemaxOverClasses
    model = sparse_model("adgm")
    noise = model.draw_noise(model.bk.generator(0), BATCH)
    f = dataclasses.replace(model.class_bound(model.bk.array(make_pixels()), noise), counted=[])
    got = model.bk.to_numpy(reference(f, f.logits_y, None).expectation)
    assert sum(f.counted) == 7 * BATCH
    eps_a, eps_z = plain_noise(model, noise)
    w = oracles.sparsemax(model.bk.to_numpy(f.logits_y))
    f_k = oracles.Oracle(model).class_bounds(make_pixels(), eps_a, eps_z)
    np.testing.assert_allclose(got, (w * f_k).sum(axis=-1), rtol=1e-10)


@BOTH
def test_the_whole_training_loss_and_its_gradient(model_name):
    """Here the labelled half adds gradients to the same parameters: −(L − α·loss) − U, with the labelled half's noise
    first.
    """
    model, x, y = sparse_model(model_name, 5), make_pixels(), np.array([0, 4, 4, 2])
    bk, found = model.bk, []
    for estimator in (Sparsemax(), SparsemaxOverClasses()):
        clear_gradients(model)
        arguments = (bk.array(x), bk.integers(y), bk.array(x[::-1].copy()), estimator, 0.7, bk.generator(SEED))
        value = training_loss(model, *arguments, n_mc=2)
        bk.backward(value)
        gradients = {key: bk.gradient(p).copy() for key, p in model.parameters.items()}
        found.append((bk.to_numpy(value)[None], gradients))
    check_equal(*found)
    eps_a, eps_z, rng = noise_of_seed(model, SEED, n_mc=2)
    later_a, later_z = plain_noise(model, model.draw_noise(rng, BATCH, 2))
    oracle = oracles.Oracle(model)
    labelled = oracle.labelled(x, eps_a, eps_z, y)[0]
    losses = [oracles.sparsemax_loss(row, k) for e in eps_a for row, k in zip(oracle.logits(x, e), y, strict=True)]
    unlabelled = oracle.unlabelled(x[::-1], later_a, later_z, oracles.sparsemax)
    expected = -(labelled.mean() - 0.7 * np.mean(losses) + unlabelled.mean())
    np.testing.assert_allclose(found[0][0], expected, rtol=1e-10)


# What it shares with the streamed sum


def test_without_a_graph_there_is_a_value_and_no_gradient():
    model = sparse_model("m2")
    expected, _ = bound_and_gradients(model, Sparsemax())
    clear_gradients(model)
    with model.bk.no_gradient():
        got = unlabelled_bound(model, model.bk.array(make_pixels()), Sparsemax(), model.bk.generator(SEED))
    np.testing.assert_allclose(model.bk.to_numpy(got), expected, rtol=1e-12)
    assert all(model.bk.gradient(p) is None for p in model.parameters.values())


def test_batch_norm_is_refused():
    model = make_model("adgm", 4, norm="batch")
    with pytest.raises(ValueError, match="sparsemax needs rows that do not interact, and norm='batch'"):
        unlabelled_bound(model, make_pixels(), Sparsemax(), model.bk.generator(0))


def test_a_loss_that_weights_examples_differently_is_refused():
    model = sparse_model("adgm")
    u = unlabelled_bound(model, model.bk.array(make_pixels()), Sparsemax(), model.bk.generator(0))
    with pytest.raises(ValueError, match="weights all examples and draws alike"):
        model.bk.backward(model.bk.sum(u * u))


def test_classes_at_once_are_the_rows_of_a_part_per_row_of_a_class(monkeypatch):
    model = make_model("adgm", 50)
    for rows_at_once, rows, at_once in ((100, 10, 10), (101, 10, 11), (3, 10, 1), (10**6, 10, 50)):
        monkeypatch.setattr(model.bk, "chunk_bytes", rows_at_once * (model.floats_per_row + model.floats_gathered) * 8)
        assert Sparsemax().classes_at_once(model, rows) == at_once


@BOTH
def test_f_at_single_draws_and_examples(model_name):
    model, x, n_mc = make_model(model_name, 7), make_pixels(), 3
    noise = model.draw_noise(model.bk.generator(SEED), BATCH, n_mc)
    f = model.class_bound(model.bk.array(x), noise)
    eps_a, eps_z, _ = noise_of_seed(model, SEED, n_mc=n_mc)
    f_k = oracles.Oracle(model).class_bounds(x, eps_a, eps_z)
    draw, example, label = np.array([[2, 2, 0, 1, 1], [3, 3, 0, 1, 1], [6, 0, 2, 5, 5]])
    got = model.bk.to_numpy(f.at(draw, example)(Labels(label)))
    assert got.shape == (1, 1, 5)
    np.testing.assert_allclose(got[0, 0], f_k[draw, example, label], rtol=1e-10)
    classes, place = np.unique(label, return_inverse=True)
    rows = Rows(draw, example, classes, place)
    some = f.with_inputs({k: x[classes] if k in f.class_rows else x for k, x in f.inputs.items()})
    np.testing.assert_allclose(model.bk.to_numpy(rows.f(some)), got[0, 0], rtol=1e-12)
    np.testing.assert_array_equal(f_k.swapaxes(1, 2)[rows.entries], f_k[draw, example, label])


# Accuracy


@pytest.mark.parametrize(("spelled", "accuracy"), [("sparsemax", 1.0), ("marginalize", 0.0), (None, 0.0)])
def test_accuracy_comes_from_its_own_distribution(spelled, accuracy, monkeypatch):
    """Two draws of a prefer class 0 by 1, one prefers class 1 by 5. In sparsemax the majority wins."""
    model = make_model("m2", 2)
    logits = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 5.0]])[:, None]
    monkeypatch.setattr(model, "class_logits", lambda x, noise: np.repeat(logits, len(x), axis=1))
    evaluation = Evaluation(make_pixels(), np.zeros(BATCH, int), seed=0)
    estimator = None if spelled is None else parse_estimator(spelled)
    assert evaluation.accuracy(model, n_a=3, estimator=estimator) == accuracy
