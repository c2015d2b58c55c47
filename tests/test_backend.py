"""The Chainer backend: its import, devices, functions and optimiser, and the meter of device memory."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import oracles
import pytest
from core_fixtures import backend, make_model, make_pixels

import gsbench
from gsbench.backends import DeviceError, load_backend
from gsbench.backends.chainer import backend as chainer_backend
from gsbench.categorical import one_hot
from gsbench.estimators import parse_estimator
from gsbench.objective import loss as mean_loss
from gsbench.objective import unlabelled_bound

needs_cupy = pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")


def python(
    code: str, *path: Path, warnings: str = "error", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh Python, each warning an error (or "always" shown), `path` searched first."""
    root = Path(gsbench.__file__).parents[1]
    search = os.pathsep.join(map(str, (*path, root)))
    return subprocess.run(
        [sys.executable, "-W", warnings, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": search, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


USE_CPU_THEN_CUDA = """
    from gsbench.backends import DeviceError, load_backend
    bk = load_backend("chainer", "cpu", "float32")
    assert float(bk.to_numpy(bk.sum(bk.parameter([1.0, 2.0])))) == 3.0
    try:
        load_backend("chainer", "cuda:0")
    except DeviceError as error:
        print(error)
"""


# Import


def test_import_is_silent_with_every_warning_an_error():
    done = python(
        """
        import numpy
        had_sctypes = hasattr(numpy, "sctypes")
        import gsbench.backends.chainer.backend
        assert hasattr(numpy, "sctypes") == had_sctypes  # what was lent for the import was taken back
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_first_import_after_installation_is_silent_too(tmp_path):
    """When Python compiles Chainer it warns of its string literals; an empty cache makes it compile again."""
    done = python("import gsbench.backends.chainer.backend", PYTHONPYCACHEPREFIX=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_import_leaves_the_warning_filters_and_float_errors_as_they_were():
    done = python(
        """
        import warnings, numpy
        before = list(warnings.filters), numpy.geterr()
        import gsbench.backends.chainer.backend
        assert (list(warnings.filters)[:1], numpy.geterr()) == (before[0][:1], before[1])
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


FAKE_CUPY = {
    "that finds no card": (
        """
        import types, warnings
        warnings.warn("no driver", UserWarning)
        __version__ = "13.6.0"
        cuda = types.SimpleNamespace(is_available=lambda: False)
        """,
        "CuPy finds no CUDA device",
    ),
    "that cannot ask for cards": (
        """
        import types
        def is_available():
            raise RuntimeError("cudaErrorInsufficientDriver: driver too old\\n(more)")
        cuda = types.SimpleNamespace(is_available=is_available)
        """,
        "CuPy cannot ask for CUDA devices (cudaErrorInsufficientDriver: driver too old)",
    ),
    "whose libraries are missing": (
        """
        import warnings
        warnings.warn("CuPy may not function correctly", UserWarning)
        try:
            raise ImportError("libcublas.so.12: cannot open shared object file")
        except ImportError as error:
            raise ImportError("\\n=====\\nFailed to import CuPy.\\n\\nAdvice\\n=====\\n") from error
        """,
        "CuPy cannot be imported (libcublas.so.12: cannot open shared object file)",
    ),
    "that is too old for NumPy": (
        "raise AttributeError('module numpy has no attribute bool')",
        "CuPy cannot be imported (module numpy has no attribute bool)",
    ),
    "that says nothing": ("raise ImportError", "CuPy cannot be imported (ImportError)"),
    "that Chainer cannot use": (
        """
        import types
        cuda = types.SimpleNamespace(is_available=lambda: True)
        """,
        "Chainer cannot use this CuPy (",
    ),
}


# A warning that is an error can end in an `except Exception` of Chainer's: "always" is the harder test.
@pytest.mark.parametrize(
    ("kind", "warnings"), [*((kind, "always") for kind in FAKE_CUPY), ("that finds no card", "error")]
)
def test_with_a_cupy(kind, warnings, tmp_path):
    """The CPU works, with no warning; a CUDA device is a clear error. (In words: with a CuPy that finds no
    card, …)
    """
    source, problem = FAKE_CUPY[kind]
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(textwrap.dedent(source), encoding="utf-8")
    done = python(USE_CPU_THEN_CUDA, tmp_path, warnings=warnings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"device 'cuda:0' cannot be used: {problem}")
    assert done.stdout.endswith("; allowed here: cpu\n")
    assert done.stdout.count("\n") == 1


def cuda_is_usable() -> bool:
    return chainer_backend.cuda_problem() is None


@needs_cupy
def test_with_the_real_cupy():
    done = python(USE_CPU_THEN_CUDA, warnings="always")
    assert (done.returncode, done.stderr) == (0, "")
    if cuda_is_usable():
        assert done.stdout == ""
    else:
        assert done.stdout.startswith("device 'cuda:0' cannot be used: C")


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy():
    with pytest.raises(
        DeviceError, match=r"device 'cuda:0' cannot be used: CuPy cannot be imported \(No module named"
    ):
        load_backend(device="cuda:0")


# Devices and dtypes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "torch"}, "unknown backend 'torch'; known: chainer"),
        ({"dtype": "float8"}, "unknown dtype 'float8'; known: float32, float64, float16"),
        (
            {"dtype": "float16"},
            "dtype float16 needs a CUDA device, got device 'cpu'; on a CPU: float32, float64",
        ),
        ({"device": "gpu"}, r"unknown device 'gpu'; allowed: cpu, cuda:N"),
        ({"device": "cuda"}, r"unknown device 'cuda'; allowed: cpu, cuda:N"),
        ({"device": "cuda:-1"}, r"unknown device 'cuda:-1'; allowed: cpu, cuda:N"),
    ],
)
def test_load_backend_says_what_is_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        load_backend(**settings)


def test_a_card_number_that_is_not_there(monkeypatch):
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 2)
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
    monkeypatch.setattr(chainer_backend, "cuda_problem", lambda: None)
    monkeypatch.setattr(chainer_backend.chainer.backends.cuda, "cupy", cupy)
    with pytest.raises(DeviceError, match="no device 'cuda:2'; allowed here: cpu, cuda:0 to cuda:1"):
        load_backend(device="cuda:2")


def test_on_a_cpu_there_is_no_device_to_measure():
    bk = backend("float32")
    bk.synchronize()
    assert bk.device_memory_peak() is None
    assert bk.free_memory_bytes() is None
    assert bk.is_out_of_memory(MemoryError())
    assert not bk.is_out_of_memory(ValueError())
    versions = bk.versions()
    assert versions["chainer_version"] == "7.8.1"
    assert versions["cupy_version"] is versions["cuda_version"] is versions["machine_gpu"] is None


# Functions


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_compute_and_wide_dtypes(dtype):
    bk = backend(dtype)
    x = bk.parameter(np.ones((2, 3)))
    wide = np.promote_types(dtype, np.float32)
    assert bk.normal(bk.generator(0), (2, 3)).dtype == x.dtype == bk.array([1]).dtype == np.dtype(dtype)
    for result in (
        bk.log_softmax(x),
        bk.softmax(x),
        bk.sum(x),
        bk.widen(x),
        bk.uniform(bk.generator(0), (2,)),
        bk.exponential(bk.generator(0), (2,)),
    ):
        assert result.dtype == wide
    assert bk.narrow(bk.widen(x)).dtype == np.dtype(dtype)


RNG = np.random.default_rng(0)
W, SQUARE, BIAS, WIDE, ROWS = (RNG.standard_normal(s) for s in ((5, 4), (5, 5), 5, (2, 3, 5), (3, 1, 5)))


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
def test_affine_and_perceptron_and_their_gradients(x, terms, n_layers):
    bk = backend()
    inputs = [*terms] if x is None else [x, W, *terms]
    layers = [] if n_layers == 1 else [(SQUARE, BIAS), (W.T, BIAS[:4])][3 - n_layers :]
    inputs += [array for layer in layers for array in layer]
    n_first = len(inputs) - 2 * len(layers)

    def plain(*values):
        first, rest = values[:n_first], values[n_first:]
        h = sum(first) if x is None else sum(first[2:], start=np.matmul(first[0], first[1].T))
        for W_i, b_i in zip(rest[::2], rest[1::2], strict=True):
            h = np.matmul(np.maximum(h, 0), W_i.T) + b_i
        return h

    variables = [bk.parameter(value) for value in inputs]
    first, rest = variables[:n_first], variables[n_first:]
    operands = (None, None, tuple(first)) if x is None else (first[0], first[1], tuple(first[2:]))
    further = list(zip(rest[::2], rest[1::2], strict=True))
    y = bk.perceptron(*operands, further) if layers else bk.affine(*operands)
    np.testing.assert_allclose(bk.to_numpy(y), plain(*inputs), rtol=1e-13)
    for variable, value in zip(variables, inputs, strict=True):
        np.testing.assert_array_equal(bk.to_numpy(variable), value)  # nothing is written into an input
    w = np.random.default_rng(1).standard_normal(y.shape)
    bk.backward(bk.sum(y * w))
    for i, (variable, value) in enumerate(zip(variables, inputs, strict=True)):
        assert bk.gradient(variable).shape == value.shape
        direction = np.random.default_rng(i).standard_normal(value.shape)
        moved = [
            (plain(*(v + step * direction if j == i else v for j, v in enumerate(inputs))) * w).sum()
            for step in (1e-7, -1e-7)
        ]
        slope = (moved[0] - moved[1]) / 2e-7
        np.testing.assert_allclose((bk.gradient(variable) * direction).sum(), slope, rtol=1e-5, atol=1e-6)


def test_product_and_look_ups_work_over_the_last_axis():
    bk, rng = backend(), np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4))
    np.testing.assert_allclose(bk.to_numpy(bk.product(bk.parameter(x), bk.parameter(W.T))), x @ W.T)
    picked = bk.to_numpy(bk.select_last(bk.parameter(x), bk.integers([3, 0, 1])))
    np.testing.assert_array_equal(picked, [[x[n, b, k] for b, k in enumerate((3, 0, 1))] for n in range(2)])


def test_look_ups_are_products_with_a_one_hot_matrix_in_value_and_gradient():
    bk, rng = backend(), np.random.default_rng(0)
    index = np.array([[4, 0, 0], [1, 4, 4]])  # rows that are taken more than once
    one_hot, g = np.eye(5)[index], rng.standard_normal((2, 3, 4))
    for look_up in (
        lambda y, rows: bk.take_rows(rows, bk.integers(index)),
        lambda y, rows: bk.look_up(y, rows),
        lambda y, rows: bk.product(y, rows),
    ):
        y, rows = bk.parameter(one_hot), bk.parameter(W)
        taken = look_up(y, rows)
        np.testing.assert_array_equal(bk.to_numpy(taken), W[index])
        bk.backward(bk.sum(taken * g))
        np.testing.assert_allclose(bk.gradient(rows), np.einsum("nbk,nbh->kh", one_hot, g))
        if bk.gradient(y) is not None:  # take_rows has no y
            np.testing.assert_allclose(bk.gradient(y), g @ W.T)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 4, 5), (1, 4, 5), (4, 5), (5,), (2, 3, 1, 5)])
@pytest.mark.parametrize("weights", [(1.0,), (2.0, -0.5), (0.25, 0.25, 0.5)])
def test_hard_point_is_a_constant_with_the_gradient_of_its_points(weights, shape):
    """log q of any shape that broadcasts to the hard point's: there its gradient is summed."""
    bk, rng = backend(), np.random.default_rng(0)
    hard = np.eye(5)[rng.integers(5, size=(2, 3, 4))]
    points, g = rng.dirichlet(np.ones(5), (len(weights), 2, 3, 4)), rng.standard_normal(hard.shape)
    log_q = bk.parameter(rng.standard_normal(shape))
    y = bk.hard_point(hard, log_q, points.copy(), weights)
    np.testing.assert_array_equal(bk.to_numpy(y), hard)
    bk.backward(bk.sum(y * g))
    whole = np.zeros(hard.shape)
    for at in np.ndindex(2, 3, 4):
        for c, p in zip(weights, points, strict=True):
            whole[at] += c * oracles.jacobian(p[at]) @ g[at]
    expected = np.zeros(shape)
    for at in np.ndindex(2, 3, 4):
        to = tuple(0 if n == 1 else i for n, i in zip(shape[:-1], at[4 - len(shape) :], strict=True))
        expected[to] += whole[at]
    np.testing.assert_allclose(bk.gradient(log_q), expected, rtol=1e-12, atol=1e-14)


def test_hard_point_of_float16_has_its_gradient_in_log_q_s_own_dtype():
    bk = backend("float16")
    log_q = bk.log_softmax(bk.parameter(np.zeros((2, 3))))
    p = np.full((1, 2, 3), 1 / 3, np.float32)
    y = bk.hard_point(one_hot(bk, bk.integers([0, 2]), 3), log_q, p, (1.0,))
    assert (y.dtype, log_q.dtype) == (np.float16, np.float32)
    (g,) = bk.gradients_by(bk.sum(y * np.array([[3, 0, 0], [0, 0, 0]], np.float16)), [log_q])
    assert g.dtype == np.float32
    np.testing.assert_allclose(g, [[2 / 3, -1 / 3, -1 / 3], [0, 0, 0]], rtol=1e-6, atol=1e-7)


def test_pick_takes_entries_and_adds_up_the_gradients_of_repeated_ones():
    bk, rng = backend(), np.random.default_rng(0)
    values, index = rng.standard_normal((2, 3, 4)), rng.integers(4, size=(2, 3, 6))  # 6 of 4: some repeat
    x, g = bk.parameter(values), rng.standard_normal(index.shape)
    picked = bk.pick(x, index)
    np.testing.assert_array_equal(bk.to_numpy(picked), np.take_along_axis(values, index, axis=-1))
    bk.backward(bk.sum(picked * g))
    expected = np.zeros_like(values)
    for n, b, s in np.ndindex(index.shape):
        expected[n, b, index[n, b, s]] += g[n, b, s]
    np.testing.assert_allclose(bk.gradient(x), expected, rtol=1e-12)


def test_pick_takes_a_view_that_is_not_contiguous():
    bk, values = backend(), np.arange(24.0).reshape(2, 3, 4)
    index = np.array([[[0, 3, 3], [1, 1, 2]], [[2, 2, 2], [0, 1, 3]]]).swapaxes(1, 2)  # [2, 3, 2]
    x = bk.parameter(values)
    picked = bk.pick(x, index)
    np.testing.assert_array_equal(bk.to_numpy(picked), np.take_along_axis(values, index, axis=-1))
    bk.backward(bk.sum(picked))
    np.testing.assert_array_equal(bk.gradient(x)[0], [[1, 1, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]])


def test_pick_has_a_gradient_where_what_it_picks_from_is_not_contiguous():
    bk, values = backend(), np.arange(24.0).reshape(2, 3, 4)
    x, index = bk.parameter(values), np.array([2, 0, 0, 1]).reshape(1, 4, 1).repeat(2, axis=0)
    swapped = bk.swap(x, 1, 2)  # [2, 4, 3]
    assert not swapped.array.flags.c_contiguous
    bk.backward(bk.sum(bk.pick(swapped, index)))
    np.testing.assert_array_equal(bk.gradient(x)[1], [[0, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]])


@pytest.mark.parametrize("rest", [(), (3,), (2, 3)])
@pytest.mark.parametrize("index", [[0, 0, 0, 4, 4, 1, 2, 2], [4, 1, 1, 0], [3], [0, 1, 2, 3, 4], [2, 2, 2]])
def test_take_groups_takes_rows_that_come_in_groups_of_any_order(index, rest):
    bk, rng, index = backend(), np.random.default_rng(0), np.array(index)
    values = rng.standard_normal((5, *rest))
    x, g = bk.parameter(values), rng.standard_normal((len(index), *rest))
    taken = bk.take_groups(x, index)
    np.testing.assert_array_equal(bk.to_numpy(taken), values[index])
    bk.backward(bk.sum(taken * g))
    expected = np.zeros_like(values)
    np.add.at(expected, index, g)
    np.testing.assert_allclose(bk.gradient(x), expected, rtol=1e-12)


def test_take_groups_of_a_group_that_is_split_adds_up_over_the_parts():
    bk, rng = backend(), np.random.default_rng(0)
    x, index, g = bk.parameter(rng.standard_normal((3, 2))), np.array([1, 1, 1, 0, 2, 2]), rng.standard_normal((6, 2))
    for part in (slice(0, 2), slice(2, 5), slice(5, 6)):
        bk.backward(bk.sum(bk.take_groups(x, index[part]) * g[part]))
    expected = np.zeros((3, 2))
    np.add.at(expected, index, g)
    np.testing.assert_allclose(bk.gradient(x), expected, rtol=1e-12)


def test_weighted_sum_has_the_gradients_that_it_was_given_for_a_mean_and_refuses_other_losses():
    bk, f = backend(), np.arange(6.0).reshape(2, 3)

    def result():
        w, x = bk.parameter(np.ones((2, 3)) / 3), bk.parameter([1.0, 2.0])
        return w, x, bk.weighted_sum(w, f, {"x": x}, {"x": np.array([10.0, 20.0])})

    w, x, total = result()
    np.testing.assert_allclose(bk.to_numpy(total), [1, 4])
    bk.backward(-bk.mean(total))
    np.testing.assert_allclose(bk.gradient(w), -f / 2)
    np.testing.assert_allclose(bk.gradient(x), [-5, -10])
    w, x, total = result()
    with pytest.raises(ValueError, match=r"weights all examples and draws alike; got weights from 1\.0 to 2\.0"):
        bk.backward(bk.sum(total * np.array([1.0, 2.0])))


def test_gradients_by_leaves_leave_the_originals_alone():
    bk = backend()
    x, unused = bk.parameter([1.0, 2.0]), bk.parameter([3.0])
    leaves = {"x": bk.leaf(x), "unused": bk.leaf(unused)}
    found = bk.gradients(leaves["x"] * leaves["x"], np.array([1.0, 10.0]), leaves)
    assert list(found) == ["x"]
    np.testing.assert_array_equal(found["x"], [2, 40])
    assert bk.gradient(x) is None
    leaves = {"x": bk.leaf(x), "y": bk.leaf(x)}
    found = bk.gradients(leaves["x"] + leaves["y"], np.ones(2), leaves)
    found["x"] += 1  # they are the caller's: no two are one array
    np.testing.assert_array_equal(found["y"], [1, 1])
    assert bk.keeps_graph
    with bk.no_gradient():
        assert not bk.keeps_graph


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gradients_by_variables_are_backward_s_and_leave_the_parameters_own_alone(dtype):
    """By parameters, by a variable computed from them, and by one that the loss does not depend on."""
    bk, rng = backend(dtype), np.random.default_rng(0)
    x, weights, unused = bk.parameter(rng.standard_normal((2, 4))), bk.parameter(W), bk.parameter([1.0, 2.0])
    h = bk.affine(x, weights)
    loss = bk.sum(h * h)
    x.grad = np.full_like(x.array, 7)
    found = bk.gradients_by(loss, [weights, h, unused, x])
    assert all(g.dtype == np.promote_types(dtype, np.float32) for g in found)
    np.testing.assert_array_equal(x.grad, np.full_like(x.array, 7))
    assert weights.grad is None
    assert unused.grad is None
    x.cleargrad()
    bk.backward(loss)
    scale = bk.loss_scale or 1  # which Adam divides out
    rtol = {"float16": 2e-3, "float32": 1e-6, "float64": 1e-12}[dtype]
    expected = [weights.grad / scale, 2 * h.array, np.zeros(2), x.grad / scale]
    for got, g in zip(found, expected, strict=True):
        assert got.shape == g.shape
        np.testing.assert_allclose(got, g, rtol=rtol, atol=rtol)


def test_gradients_by_float16_variables_that_float16_would_lose():
    """2e-8 is 0 in float16; scaled it is not, and what is given is not scaled."""
    bk = backend("float16")
    x = bk.parameter([1.0])
    (g,) = bk.gradients_by(bk.sum(x) * 2e-8, [x])
    np.testing.assert_allclose(g, [2e-8], rtol=1e-2)


def test_gradients_by_the_parameters_of_a_model_are_backward_s():
    """Through the streamed sum too, which takes gradients while it is formed."""
    for name in ("gumbel-rao", "marginalize-streamed", "sparsemax"):
        model = make_model("adgm", 5)
        bk, parameters = model.bk, list(model.parameters.values())

        def value(model=model, name=name):
            x = model.bk.array(make_pixels())
            return mean_loss(model, unlabelled_bound(model, x, parse_estimator(name), model.bk.generator(0)))

        found = [g.copy() for g in bk.gradients_by(value(), parameters)]
        assert all(p.grad is None for p in parameters)
        bk.backward(value())
        for got, p in zip(found, parameters, strict=True):
            np.testing.assert_allclose(got, p.grad, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_is_that_of_the_paper(dtype):
    """Kingma & Ba 2015, algorithm 1, in the form without bias-corrected moments at the end of its section 2."""
    bk, rng = backend(dtype), np.random.default_rng(0)
    p = bk.parameter(rng.standard_normal((3, 4)))
    idle = bk.parameter([1.0])
    adam = bk.adam({"p": p, "idle": idle}, 0.01, beta1=0.8)
    theta, m, v = bk.to_numpy(p).astype(np.float64), 0.0, 0.0
    for t in range(1, 6):
        adam.clear_gradients()
        bk.backward(bk.sum(p * p * p))
        g = 3 * theta**2
        m, v = 0.8 * m + 0.2 * g, 0.999 * v + 0.001 * g**2
        theta = theta - 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.8**t) * m / (np.sqrt(v) + 1e-8)
        adam.update()
        np.testing.assert_allclose(bk.to_numpy(p), theta, rtol=2e-6 if dtype == "float32" else 1e-12)
    np.testing.assert_array_equal(bk.to_numpy(idle), [1])  # it has no gradient


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_log_softmax_is_normalised_whatever_all_logits_share(dtype):
    bk = backend(dtype)
    values = np.array([[0.0, 1.0, 2.5], [8192, 8184, 8192], [-8192, -8192, -8192]])
    q = np.exp(bk.to_numpy(bk.log_softmax(bk.parameter(values))).astype(np.float64))
    np.testing.assert_allclose(q, oracles.softmax(values), rtol=2e-6)


def test_stop_gradient_and_backward_accumulation():
    bk = backend()
    x = bk.parameter([2.0, 3.0])
    bk.backward(bk.sum(x * bk.stop_gradient(x)))
    np.testing.assert_array_equal(bk.gradient(x), [2, 3])
    bk.backward(bk.sum(x))
    np.testing.assert_array_equal(bk.gradient(x), [3, 4])  # added
    with bk.no_gradient():
        assert bk.sum(x).creator is None


def test_a_generator_neither_takes_from_another_nor_reseeds_it():
    bk = backend("float32")
    alone = bk.normal(bk.generator(3), (4,))
    rng, other = bk.generator(3), bk.generator(4)
    first = bk.normal(rng, (2,))
    bk.normal(other, (10,))
    np.testing.assert_array_equal(np.concatenate([first, bk.normal(rng, (2,))]), alone)


def test_adam_follows_its_formula():
    """m, v with β1 and 0.999; θ −= α √(1 − β2ᵗ)/(1 − β1ᵗ) · m/(√v + ε)"""
    bk = backend()
    theta = np.array([1.0, -2.0, 0.5])
    parameters = {"net/W_x": bk.parameter(theta.copy()), "net/b1": bk.parameter([[3.0]])}
    optimizer = bk.adam(parameters, 0.01, beta1=0.8)
    m = v = np.zeros(3)
    for t in range(1, 4):
        optimizer.clear_gradients()
        x = parameters["net/W_x"]
        bk.backward(bk.sum(x * x) + bk.sum(parameters["net/b1"]))
        optimizer.update()
        gradient = 2 * theta
        m, v = 0.8 * m + 0.2 * gradient, 0.999 * v + 0.001 * gradient**2
        theta = theta - 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.8**t) * m / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(x.array, theta, rtol=1e-12)
    assert parameters["net/b1"].array[0, 0] == pytest.approx(3 - 3 * 0.01, rel=1e-5)


def test_float16_steps_with_gradients_that_float16_would_lose():
    """A gradient of 2e-8 is 0 in float16; with the loss scaled, Adam still sees it, and takes its step in
    float32.
    """
    bk = backend("float16")
    x = bk.parameter([1.0])
    optimizer = bk.adam({"x": x}, 0.125)
    optimizer.clear_gradients()
    bk.backward(bk.sum(x) * 2e-8)
    optimizer.update()
    assert x.dtype == np.float16
    root_v = np.sqrt(0.001) * 2e-8
    step = 0.125 * np.sqrt(0.001) / 0.1 * 0.1 * 2e-8 / (root_v + 1e-8)
    assert step > 0.005
    assert float(x.array[0]) == pytest.approx(1 - step, abs=5e-4)


# The meter of device memory


class FakeHook:
    """`cupy.cuda.MemoryHook` as far as the meter uses it."""

    active: FakeHook | None = None

    def __enter__(self):
        FakeHook.active = self
        return self

    def __exit__(self, *_):
        FakeHook.active = None


def play_allocations(meter, hook):
    """512 + 1024 live at once, then 256 more after a free: as the pool tells it."""
    ours = {"device_id": 0, "pmem_id": 1}
    hook.malloc_postprocess(size=500, mem_size=512, mem_ptr=1000, **ours)
    hook.malloc_postprocess(size=1024, mem_size=1024, mem_ptr=2000, **ours)
    hook.free_preprocess(mem_size=512, mem_ptr=1000, **ours)
    assert (meter.current_bytes, meter.peak_bytes) == (1024, 1536)
    meter.reset_peak()
    assert meter.peak_bytes == 1024
    hook.malloc_postprocess(size=256, mem_size=256, mem_ptr=3000, **ours)
    hook.free_preprocess(mem_size=1024, mem_ptr=2000, **ours)
    assert (meter.current_bytes, meter.peak_bytes) == (256, 1280)


def test_device_memory_peak_with_a_fake_cupy(monkeypatch):
    from gsbench.backends.chainer.device_memory import DeviceMemoryPeak

    monkeypatch.setitem(
        sys.modules, "cupy", types.SimpleNamespace(cuda=types.SimpleNamespace(MemoryHook=FakeHook))
    )
    meter = DeviceMemoryPeak()
    meter.start()
    assert FakeHook.active is meter.hook
    play_allocations(meter, FakeHook.active)
    meter.stop()
    assert FakeHook.active is None


@needs_cupy
def test_device_memory_peak_with_the_real_cupy():
    from gsbench.backends.chainer.device_memory import DeviceMemoryPeak

    try:
        meter = DeviceMemoryPeak()
    except ImportError as error:
        pytest.skip(f"CuPy cannot be imported ({error})")
    meter.start()
    play_allocations(meter, meter.hook)
    with pytest.raises(KeyError, match="already exists"):  # CuPy knows the hook, and calls it
        meter.start()
    meter.stop()
    meter.start()  # and no longer did
    meter.stop()
    assert (meter.current_bytes, meter.peak_bytes) == (256, 1280)
