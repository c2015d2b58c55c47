"""Every backend of `BACKENDS` on a CPU, through the `Backend` protocol alone. Each test runs for each backend."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import oracles
import pytest
from core_fixtures import make_model, make_pixels
from scipy import special

from gsbench.backends import BACKENDS, load_backend
from gsbench.backends.base import Backend, Optimizer
from gsbench.estimators import parse_estimator
from gsbench.models import AllClasses
from gsbench.training.objective import loss as mean_loss
from gsbench.training.objective import unlabelled_bound


@pytest.fixture(params=BACKENDS)
def name(request):
    if not BACKENDS[request.param].is_installed:
        pytest.skip(f"{BACKENDS[request.param].package} is not installed")
    return request.param


@pytest.fixture
def bk(name):
    return load_backend(name, dtype="float64")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "no such"}, f"unknown backend 'no such'; known: {', '.join(BACKENDS)}"),
        ({"dtype": "float8"}, "unknown dtype 'float8'; known: float32, float64, bfloat16, float16, tf32"),
        (
            {"name": "chainer", "dtype": "bfloat16"},
            "dtype must be one of float32, float64 for backend chainer on device 'cpu', got 'bfloat16' .bfloat16: "
            "torch on cpu and torch on cuda.",
        ),
        ({"device": "gpu"}, r"unknown device 'gpu'; allowed: cpu, cuda:N"),
        ({"device": "cuda"}, r"unknown device 'cuda'; allowed: cpu, cuda:N"),
        ({"device": "cuda:-1"}, r"unknown device 'cuda:-1'; allowed: cpu, cuda:N"),
    ],
)
def test_load_backend_says_what_is_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        load_backend(**settings)


def members(protocol: type) -> list[str]:
    """The members of a protocol: methods, properties and annotated attributes."""
    return [key for key in {**vars(protocol), **protocol.__annotations__} if not key.startswith("_")]


def test_a_backend_has_all_members_of_the_protocol_and_inherits_no_empty_method(name, bk):
    source = BACKENDS[name]
    assert type(bk) is getattr(importlib.import_module(source.module), source.class_name)
    for made, protocol in ((bk, Backend), (bk.adam({"p": bk.parameter([1.0])}, 0.1), Optimizer)):
        found = {key: getattr(made, key, None) for key in members(protocol)}
        assert [key for key, value in found.items() if value is None] == []
        empty = [getattr(value, "__qualname__", "") for value in found.values()]
        assert [each for each in empty if each.startswith(f"{protocol.__name__}.")] == []
    assert (bk.name, bk.device) == (name, "cpu")


# Arrays, parameters and draws


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compute_and_wide_dtypes(name, dtype):
    bk = load_backend(name, dtype=dtype)
    x, rng = bk.parameter(np.ones((2, 3))), bk.generator(0)
    assert bk.dtype.itemsize == bk.wide_dtype.itemsize == np.dtype(dtype).itemsize  # of float32 at least
    for result in (
        x, bk.array([1]), bk.normal(rng, (2, 3)), bk.log_softmax(x), bk.softmax(x), bk.sum(x), bk.widen(x),
        bk.narrow(bk.widen(x)), bk.uniform(rng, (2,)), bk.exponential(rng, (2,)), bk.entropy(bk.log_softmax(x)),
        bk.sparsemax(x), bk.standard_gaussian_log_density(x),
    ):  # fmt: skip
        assert bk.to_numpy(result).dtype == np.dtype(dtype)


def test_values_come_and_go(bk):
    values = np.arange(6.0).reshape(2, 3)
    p, a = bk.parameter(values.copy()), bk.array(values.copy())  # they may share its memory
    drawn = bk.new_parameter((2, 3), values.copy)
    for x in (p, a, drawn, values):
        np.testing.assert_array_equal(bk.to_numpy(x), values)
    assert bk.to_numpy(bk.integers([2, 0])).tolist() == [2, 0]
    for x in (p, a):
        bk.set_values(x, -values)
        np.testing.assert_array_equal(bk.to_numpy(x), -values)
    bk.move_towards(p, bk.parameter(np.ones((2, 3))), 0.25)
    np.testing.assert_allclose(bk.to_numpy(p), -values + 0.25 * (1 + values))


def test_a_generator_does_not_change_another(name):
    bk = load_backend(name, dtype="float32")
    alone = bk.to_numpy(bk.normal(bk.generator(3), (32,)))
    rng, other = bk.generator(3), bk.generator(4)
    first = bk.to_numpy(bk.normal(rng, (16,)))
    bk.normal(other, (10,))
    np.testing.assert_array_equal(np.concatenate([first, bk.to_numpy(bk.normal(rng, (16,)))]), alone)


def test_draws_have_the_moments_of_their_distributions(bk):
    rng, n = bk.generator(0), 40_000
    for draw, mean, variance in ((bk.normal, 0, 1), (bk.uniform, 1 / 2, 1 / 12), (bk.exponential, 1, 1)):
        x = bk.to_numpy(draw(rng, (n,)))
        assert x.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / n))
        assert x.var() == pytest.approx(variance, rel=5 * math.sqrt(8 / n))
        assert draw == bk.normal or x.min() > 0


# Functions and their gradients

RNG = np.random.default_rng(0)
W, SQUARE, BIAS, WIDE, ROWS = (RNG.standard_normal(s) for s in ((5, 4), (5, 5), 5, (2, 3, 5), (3, 1, 5)))


def check(bk: Backend, function: Callable[..., Any], plain: Callable[..., np.ndarray], *values: np.ndarray) -> None:
    """`function` of parameters equals `plain` of NumPy arrays, and its gradient equals the slopes of `plain` along
    random directions. No input is overwritten.
    """
    variables = [bk.parameter(value) for value in values]
    y = function(*variables)
    np.testing.assert_allclose(bk.to_numpy(y), plain(*values), rtol=1e-12, atol=1e-14)
    for variable, value in zip(variables, values, strict=True):
        np.testing.assert_array_equal(bk.to_numpy(variable), value)
    w = np.random.default_rng(1).standard_normal(y.shape)
    bk.backward(bk.sum(y * bk.array(w)))
    for i, (variable, value) in enumerate(zip(variables, values, strict=True)):
        gradient = bk.to_numpy(bk.gradient(variable))
        assert gradient.shape == value.shape
        direction = np.random.default_rng(i).standard_normal(value.shape)
        moved = [
            (plain(*(v + step * direction if j == i else v for j, v in enumerate(values))) * w).sum()
            for step in (1e-6, -1e-6)
        ]
        np.testing.assert_allclose((gradient * direction).sum(), (moved[0] - moved[1]) / 2e-6, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize(
    ("x", "terms"),
    [
        (RNG.standard_normal((2, 3, 4)), ()),
        (RNG.standard_normal((2, 3, 4)), (BIAS,)),
        (RNG.standard_normal((2, 3, 4)), (WIDE, BIAS)),
        (RNG.standard_normal((1, 3, 4)), (WIDE,)),  # the product is smaller than the sum
        (RNG.standard_normal((4, 3, 2, 4)), (ROWS, WIDE[:, None, :2][:1])),
        (None, (WIDE,)),
        (None, (WIDE, BIAS, WIDE[:1])),
        (None, (WIDE[:1], ROWS[:, :, None], BIAS)),  # no term has the shape of the sum
    ],
)
def test_affine_and_perceptron(bk, x, terms, n_layers):
    firsts = [*terms] if x is None else [x, W, *terms]
    layers = [] if n_layers == 1 else [(SQUARE, BIAS), (W.T, BIAS[:4])][3 - n_layers :]
    n_first = len(firsts)

    def plain(*values):
        first, rest = values[:n_first], values[n_first:]
        h = sum(first) if x is None else sum(first[2:], start=np.matmul(first[0], first[1].T))
        for W_i, b_i in zip(rest[::2], rest[1::2], strict=True):
            h = np.matmul(np.maximum(h, 0), W_i.T) + b_i
        return h

    def function(*variables):
        first, rest = variables[:n_first], variables[n_first:]
        operands = (None, None, tuple(first)) if x is None else (first[0], first[1], tuple(first[2:]))
        further = list(zip(rest[::2], rest[1::2], strict=True))
        return bk.perceptron(*operands, further) if layers else bk.affine(*operands)

    check(bk, function, plain, *firsts, *(array for layer in layers for array in layer))


def axis_normed(x, gamma, beta):
    flat = x.reshape(-1, x.shape[-1])
    return gamma * (x - flat.mean(0)) / np.sqrt(flat.var(0) + 2e-5) + beta


FUNCTIONS = {
    "relu": (lambda bk, x: bk.relu(x), lambda x: np.maximum(x, 0)),
    "elu": (lambda bk, x: bk.elu(x), lambda x: np.where(x > 0, x, np.expm1(x))),
    "exp": (lambda bk, x: bk.exp(x), np.exp),
    "log_softmax": (lambda bk, x: bk.log_softmax(x), lambda x: special.log_softmax(x, axis=-1)),
    "softmax": (lambda bk, x: bk.softmax(x), lambda x: special.softmax(x, axis=-1)),
    "sum": (lambda bk, x: bk.sum(x), np.sum),
    "sum of two axes": (lambda bk, x: bk.sum(x, axis=(0, 2)), lambda x: x.sum(axis=(0, 2))),
    "mean": (lambda bk, x: bk.mean(x), np.mean),
    "mean of an axis": (lambda bk, x: bk.mean(x, axis=1), lambda x: x.mean(axis=1)),
    "reshape": (lambda bk, x: bk.reshape(x, (-1, 5)), lambda x: x.reshape(-1, 5)),
    "broadcast_to": (lambda bk, x: bk.broadcast_to(x, (4, 2, 3, 5)), lambda x: np.broadcast_to(x, (4, 2, 3, 5))),
    "expand": (lambda bk, x: bk.expand(x, 1), lambda x: x[:, None]),
    "concat": (lambda bk, x: bk.concat([x, 2 * x], axis=1), lambda x: np.concatenate([x, 2 * x], axis=1)),
    "swap": (lambda bk, x: bk.swap(x, 1, 2), lambda x: x.swapaxes(1, 2)),
    "arithmetic": (lambda bk, x: -(2 - x) * x / (x * x + 1) + 3 * x, lambda x: -(2 - x) * x / (x * x + 1) + 3 * x),
    "indexing": (lambda bk, x: x[None, ..., 1:3], lambda x: x[None, ..., 1:3]),
    "widen and narrow": (lambda bk, x: bk.narrow(bk.widen(x)), lambda x: x),
    "entropy": (
        lambda bk, x: bk.entropy(bk.log_softmax(x)),
        lambda x: special.entr(special.softmax(x, axis=-1)).sum(axis=-1),
    ),
    "point_entropy": (
        lambda bk, x: bk.point_entropy(bk.softmax(x)),
        lambda x: special.entr(special.softmax(x, axis=-1)).sum(axis=-1),
    ),
    "sparsemax": (lambda bk, x: bk.sparsemax(x), lambda x: np.apply_along_axis(oracles.sparsemax, -1, x)),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_one_array(bk, function):
    of_backend, plain = FUNCTIONS[function]
    check(bk, lambda x: of_backend(bk, x), plain, WIDE)


def test_batch_norm_in_training_and_after_it(bk):
    """Over the rows of all leading axes; the running variance takes the unbiased one."""
    x, gamma, beta = RNG.standard_normal((2, 3, 4)), RNG.random(4) + 0.5, RNG.standard_normal(4)
    mean, var = RNG.standard_normal(4), RNG.random(4) + 0.5
    flat = x.reshape(-1, 4)
    for training, moves in ((True, False), (True, True), (False, True)):
        running = bk.array(mean.copy()), bk.array(var.copy())

        def function(*inputs, running=running, training=training, moves=moves):
            return bk.batch_norm(*inputs, running, training, moves)

        plain = axis_normed if training else lambda x, g, b: g * (x - mean) / np.sqrt(var + 2e-5) + b
        check(bk, function, plain, x, gamma, beta)
        share = 0.1 if training and moves else 0
        np.testing.assert_allclose(bk.to_numpy(running[0]), (1 - share) * mean + share * flat.mean(0))
        np.testing.assert_allclose(bk.to_numpy(running[1]), (1 - share) * var + share * flat.var(0, ddof=1))


@pytest.mark.filterwarnings("ignore:A batch with no more than one sample")  # Chainer's own
def test_batch_norm_of_one_row_is_its_shift_and_has_no_variance(bk):
    gamma, beta, mean, var = (RNG.random(4) + 0.5 for _ in range(4))
    x, running = RNG.standard_normal((1, 1, 4)), (bk.array(mean.copy()), bk.array(var.copy()))
    y = bk.batch_norm(bk.parameter(x), bk.parameter(gamma), bk.parameter(beta), running, True)
    np.testing.assert_allclose(bk.to_numpy(y)[0, 0], beta)
    np.testing.assert_allclose(bk.to_numpy(running[0]), 0.9 * mean + 0.1 * x[0, 0])
    np.testing.assert_allclose(bk.to_numpy(running[1]), 0.9 * var)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_softmax_is_normalised_with_a_large_constant_in_all_logits(name, dtype):
    bk = load_backend(name, dtype=dtype)
    values = np.array([[0.0, 1.0, 2.5], [8192, 8184, 8192], [-8192, -8192, -8192]])
    q = np.exp(bk.to_numpy(bk.log_softmax(bk.parameter(values))).astype(np.float64))
    np.testing.assert_allclose(q, oracles.softmax(values), rtol=2e-6)


def test_product_and_select_last_work_over_the_last_axis(bk):
    x = RNG.standard_normal((2, 3, 4))
    check(bk, bk.product, lambda x, w: x @ w, x, W.T)
    index = bk.integers([3, 0, 1])
    check(bk, lambda x: bk.select_last(x, index), lambda x: x[:, [0, 1, 2], [3, 0, 1]], x)


def test_look_ups_are_products_with_a_one_hot_matrix_in_value_and_gradient(bk):
    rng, index = np.random.default_rng(0), np.array([[4, 0, 0], [1, 4, 4]])  # rows that are taken more than once
    one_hot, g = np.eye(5)[index], rng.standard_normal((2, 3, 4))
    for look_up, has_y in (
        (lambda y, rows: bk.take_rows(rows, bk.integers(index)), False),
        (lambda y, rows: bk.look_up(y, rows), True),
        (lambda y, rows: bk.product(y, rows), True),
    ):
        y, rows = bk.parameter(one_hot), bk.parameter(W)
        taken = look_up(y, rows)
        np.testing.assert_array_equal(bk.to_numpy(taken), W[index])
        bk.backward(bk.sum(taken * bk.array(g)))
        np.testing.assert_allclose(bk.to_numpy(bk.gradient(rows)), np.einsum("nbk,nbh->kh", one_hot, g))
        assert (bk.gradient(y) is not None) == has_y
        if has_y:
            np.testing.assert_allclose(bk.to_numpy(bk.gradient(y)), g @ W.T)


@pytest.mark.parametrize("m", [1, 2, 6])
def test_largest_finds_the_largest_entries(bk, m):
    x = RNG.permutation(42).reshape(2, 3, 7).astype(float)
    found = np.sort(bk.to_numpy(bk.largest(bk.array(x), m)), axis=-1)
    np.testing.assert_array_equal(found, np.sort(np.argsort(-x, axis=-1)[..., :m], axis=-1))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 4, 5), (1, 4, 5), (4, 5), (5,), (2, 3, 1, 5)])
@pytest.mark.parametrize("weights", [(1.0,), (2.0, -0.5), (0.25, 0.25, 0.5)])
def test_hard_point_is_a_constant_with_the_gradient_of_its_points(bk, weights, shape):
    """log q may have any shape that broadcasts to the hard point's: its gradient is then summed."""
    rng = np.random.default_rng(0)
    hard = np.eye(5)[rng.integers(5, size=(2, 3, 4))]
    points, g = rng.dirichlet(np.ones(5), (len(weights), 2, 3, 4)), rng.standard_normal(hard.shape)
    log_q = bk.parameter(rng.standard_normal(shape))
    y = bk.hard_point(bk.array(hard), log_q, bk.array(points), weights)
    np.testing.assert_array_equal(bk.to_numpy(y), hard)
    bk.backward(bk.sum(y * bk.array(g)))
    whole = np.zeros(hard.shape)
    for at in np.ndindex(2, 3, 4):
        for c, p in zip(weights, points, strict=True):
            whole[at] += c * oracles.jacobian(p[at]) @ g[at]
    expected = np.zeros(shape)
    for at in np.ndindex(2, 3, 4):
        to = tuple(0 if n == 1 else i for n, i in zip(shape[:-1], at[4 - len(shape) :], strict=True))
        expected[to] += whole[at]
    np.testing.assert_allclose(bk.to_numpy(bk.gradient(log_q)), expected, rtol=1e-12, atol=1e-14)


def test_pick_takes_entries_and_adds_up_the_gradients_of_repeated_ones(bk):
    """Also where neither the values nor the numbers are contiguous."""
    rng = np.random.default_rng(0)
    values, index = rng.standard_normal((2, 3, 4)), rng.integers(4, size=(2, 3, 6))  # 6 of 4: some repeat
    check(bk, lambda x: bk.pick(x, bk.integers(index)), lambda x: np.take_along_axis(x, index, -1), values)
    strided = bk.xp.matrix_transpose(bk.integers(index.swapaxes(1, 2)))
    check(bk, lambda x: bk.pick(x, strided), lambda x: np.take_along_axis(x, index, -1), values)
    check(
        bk,
        lambda x: bk.pick(bk.swap(x, 1, 2), bk.integers(index)),
        lambda x: np.take_along_axis(x.swapaxes(1, 2), index, -1),
        values.swapaxes(1, 2).copy(),
    )


@pytest.mark.parametrize("rest", [(), (3,), (2, 3)])
@pytest.mark.parametrize("index", [[0, 0, 0, 4, 4, 1, 2, 2], [4, 1, 1, 0], [3], [0, 1, 2, 3, 4], [2, 2, 2]])
def test_take_groups_takes_rows_that_come_in_groups_of_any_order(bk, index, rest):
    numbers = bk.integers(index)
    check(bk, lambda x: bk.take_groups(x, numbers), lambda x: x[index], RNG.standard_normal((5, *rest)))


def test_take_groups_of_a_group_that_is_split_adds_up_over_the_parts(bk):
    rng = np.random.default_rng(0)
    x, index, g = bk.parameter(rng.standard_normal((3, 2))), np.array([1, 1, 1, 0, 2, 2]), rng.standard_normal((6, 2))
    for part in (slice(0, 2), slice(2, 5), slice(5, 6)):
        bk.backward(bk.sum(bk.take_groups(x, bk.integers(index[part])) * bk.array(g[part])))
    expected = np.zeros((3, 2))
    np.add.at(expected, index, g)
    np.testing.assert_allclose(bk.to_numpy(bk.gradient(x)), expected, rtol=1e-12)


# Gradients


def test_weighted_sum_has_the_given_gradients_for_a_mean_and_refuses_other_losses(bk):
    f = np.arange(6.0).reshape(2, 3)

    def result():
        w, x = bk.parameter(np.ones((2, 3)) / 3), bk.parameter([1.0, 2.0])
        return w, x, bk.weighted_sum(w, bk.array(f), {"x": x}, {"x": bk.array([10.0, 20.0])})

    w, x, total = result()
    np.testing.assert_allclose(bk.to_numpy(total), [1, 4])
    bk.backward(-bk.mean(total))
    np.testing.assert_allclose(bk.to_numpy(bk.gradient(w)), -f / 2)
    np.testing.assert_allclose(bk.to_numpy(bk.gradient(x)), [-5, -10])
    w, x, total = result()
    with pytest.raises(ValueError, match=r"weights all examples and draws alike; got weights from 1\.0 to 2\.0"):
        bk.backward(bk.sum(total * bk.array([1.0, 2.0])))


def test_gradients_of_leaves_do_not_change_the_originals(bk):
    x, unused = bk.parameter([1.0, 2.0]), bk.parameter([3.0])
    leaves = {"x": bk.leaf(x), "unused": bk.leaf(unused)}
    found = bk.gradients(leaves["x"] * leaves["x"], bk.array([1.0, 10.0]), leaves)
    assert list(found) == ["x"]
    np.testing.assert_array_equal(bk.to_numpy(found["x"]), [2, 40])
    assert bk.gradient(x) is None
    leaves = {"x": bk.leaf(x), "y": bk.leaf(x)}
    found = bk.gradients(leaves["x"] + leaves["y"], bk.array([1.0, 1.0]), leaves)
    found["x"] += 1  # the caller owns them: no two are the same array
    np.testing.assert_array_equal(bk.to_numpy(found["y"]), [1, 1])


def test_stop_gradient_no_gradient_and_backward_accumulation(bk):
    x = bk.parameter([2.0, 3.0])
    assert bk.gradient(x) is None
    bk.backward(bk.sum(x * bk.stop_gradient(x)))
    np.testing.assert_array_equal(bk.to_numpy(bk.gradient(x)), [2, 3])
    bk.backward(bk.sum(x))
    np.testing.assert_array_equal(bk.to_numpy(bk.gradient(x)), [3, 4])  # added
    assert bk.keeps_graph
    with bk.no_gradient():
        assert not bk.keeps_graph
        without = bk.sum(x)
    bk.backward(bk.sum(x) * without)
    np.testing.assert_array_equal(bk.to_numpy(bk.gradient(x)), [8, 9])  # of the first factor alone


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_by_equals_backward_and_does_not_change_the_parameters_gradients(name, dtype):
    """With respect to parameters, a variable computed from them, and one on which the loss does not depend."""
    bk, values = load_backend(name, dtype=dtype), RNG.standard_normal((2, 4)).astype(dtype)
    x, weights, unused = bk.parameter(values), bk.parameter(W), bk.parameter([1.0, 2.0])
    bk.backward(bk.sum(x))
    h = bk.affine(x, weights)
    found = bk.gradients_by(bk.sum(h * h), [weights, h, unused, x])
    plain = values @ W.T
    expected = [2 * plain.T @ values, 2 * plain, np.zeros(2), 2 * plain @ W]
    for got, g in zip(map(bk.to_numpy, found), expected, strict=True):
        assert got.dtype == np.dtype(dtype)
        np.testing.assert_allclose(got, g, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-6)
    np.testing.assert_array_equal(bk.to_numpy(bk.gradient(x)), np.ones((2, 4)))
    assert bk.gradient(weights) is bk.gradient(unused) is None


@pytest.mark.parametrize("estimator", ["gumbel-rao", "marginalize-streamed", "sparsemax"])
def test_gradients_by_equals_backward_for_the_parameters_of_a_model(name, estimator):
    """Through the streamed sum too, which takes gradients while it is formed."""
    model = make_model("adgm", 5, backend_name=name)
    bk, parameters = model.bk, list(model.parameters.values())

    def value():
        x = bk.array(make_pixels())
        return mean_loss(model, unlabelled_bound(model, x, parse_estimator(estimator), bk.generator(0)))

    found = [np.array(bk.to_numpy(g)) for g in bk.gradients_by(value(), parameters)]
    assert all(bk.gradient(p) is None for p in parameters)
    bk.backward(value())
    for got, p in zip(found, parameters, strict=True):
        np.testing.assert_allclose(got, bk.to_numpy(bk.gradient(p)), rtol=1e-12, atol=1e-15)


# Training


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_is_the_papers_algorithm(name, dtype):
    """Algorithm 1 of Kingma and Ba 2015, over 20 steps. Half-way, another optimiser resumes from the state."""
    bk = load_backend(name, dtype=dtype)
    p, idle = bk.parameter(RNG.standard_normal((3, 4))), bk.parameter([1.0])
    adam = bk.adam({"net/p": p, "net/idle": idle}, 0.5, beta1=0.8)
    adam.set_learning_rate(0.01)
    theta, m, v = bk.to_numpy(p).astype(np.float64), 0.0, 0.0
    for t in range(1, 21):
        adam.clear_gradients()
        bk.backward(bk.sum(p * p * p))
        g = 3 * theta**2
        m, v = 0.8 * m + 0.2 * g, 0.999 * v + 0.001 * g**2
        theta = theta - 0.01 * m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        adam.update()
        np.testing.assert_allclose(bk.to_numpy(p), theta, rtol=5e-6 if dtype == "float32" else 1e-12)
        if t == 10:
            state = {key: np.array(bk.to_numpy(value)) for key, value in adam.state().items()}
            assert {"m/net/p", "v/net/p", "updates"} <= state.keys()
            forms = {key: (value.shape, value.dtype) for key, value in state.items()}
            assert forms.items() <= adam.state_forms().items()
            adam = bk.adam({"net/p": p, "net/idle": idle}, 0.01, beta1=0.8)
            adam.restore(state)
    np.testing.assert_array_equal(bk.to_numpy(idle), [1])  # it has no gradient


def test_adam_clips_gradients_and_has_a_prior(bk):
    """The prior first, then the norm, then each element. After one step, m is 0.1 times the gradient that Adam used."""
    p = bk.parameter([3.0, -1.0, 0.5])
    adam = bk.adam({"p": p}, 0.01)
    adam.constrain(weight_decay=0.5, clip_norm=2.0, clip_element=1.5)
    bk.backward(bk.sum(p * p))
    adam.update()
    g = 2.5 * np.array([3.0, -1.0, 0.5])
    expected = np.clip(g * min(1, 2 / np.linalg.norm(g)), -1.5, 1.5)
    np.testing.assert_allclose(bk.to_numpy(adam.state()["m/p"]), 0.1 * expected, rtol=1e-6)
    assert adam.settings["adam_beta2"] == 0.999


# The device


def test_a_cpu_is_a_device(bk):
    bk.synchronize()
    assert bk.free_memory_bytes() is None
    assert bk.is_out_of_memory(MemoryError())
    with pytest.raises((MemoryError, RuntimeError)) as caught:
        bk.xp.empty(2**50, dtype=bk.dtype)
    assert bk.is_out_of_memory(caught.value)
    assert not bk.is_out_of_memory(ValueError())
    versions = bk.versions()
    assert versions["machine_gpu"] is versions["cuda_version"] is None


def test_the_peak_of_memory_counts_arrays_while_they_live(bk):
    """Arrays made from the host's arrays, results of operations, and arrays that a backward pass keeps."""
    meter = bk.memory_peak()
    meter.start()
    try:
        kept = bk.array(np.zeros(10_000))
        result = kept + 1
        (result * 2 + 3)[0]
        assert 160_000 <= meter.current_bytes < 170_000
        assert 240_000 <= meter.peak_bytes < 330_000
        del result
        meter.reset_peak()
        assert 80_000 <= meter.peak_bytes < 90_000
        bk.backward(bk.sum(bk.leaf(kept) * kept))
        assert 160_000 <= meter.peak_bytes < 410_000  # the product, and in PyTorch a gradient beside it
    finally:
        meter.stop()


def test_constants_have_the_functions_of_the_array_api_standard(bk):
    """The functions of `xp` that the core uses, called with `out` and the device as in the core."""
    from array_api_compat import array_namespace, device

    x = bk.array([[1.0, 4.0], [2.0, 0.5]])
    assert array_namespace(x) is bk.xp
    np.testing.assert_allclose(bk.to_numpy(bk.xp.log(x, out=x)), np.log([[1, 4], [2, 0.5]]))
    zeros = bk.xp.zeros((2, 2), dtype=bk.wide_dtype, device=device(x))
    zeros[:, bk.integers([1])] += 1
    assert bk.to_numpy(zeros).tolist() == [[0, 1], [0, 1]]
    assert bk.to_numpy(AllClasses().first_layer(bk, x)).shape == (2, 1, 2)
