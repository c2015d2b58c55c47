"""The CUDA kernels, as far as the machine allows: compiled for current cards if NVRTC is installed, run on the CPU by
a C++ compiler with real threads, and compared with NumPy on a card if there is one.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import shutil
import subprocess
import sys
import tempfile
import types
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from core_fixtures import backend

from gsbench.backends import load_backend
from gsbench.backends.chainer import backend as chainer_backend
from gsbench.backends.chainer import cuda_kernels, densities
from gsbench.backends.chainer.cuda_kernels import MOST_ROWS, broadcast_run, launch_size, source

DTYPES = tuple(cuda_kernels.TYPES)
KERNELS = ("bernoulli", "gaussian", "gaussian_draw")


# How a kernel is launched


@pytest.mark.parametrize(
    ("width", "threads"), [(1, 32), (32, 32), (33, 64), (100, 128), (128, 128), (129, 256), (784, 256)]
)
@pytest.mark.parametrize("rows", [1, 100, 5_000 * 100 * 10, MOST_ROWS])
def test_launch_size_is_a_block_a_row_and_a_power_of_two_of_threads(rows, width, threads):
    assert launch_size(rows, width) == (rows, threads)


@pytest.mark.parametrize("rows", [0, MOST_ROWS + 1])
def test_launch_size_refuses_more_rows_than_a_grid_has(rows):
    with pytest.raises(ValueError, match=f"a kernel takes 1 to 2147483647 rows, got {rows}; take fewer draws"):
        launch_size(rows, 10)


@pytest.mark.parametrize(
    ("shape", "run"),
    [
        ((2, 3, 4), (24, 24)),
        ((1, 1, 4), (4, 24)),
        ((4,), (4, 24)),
        ((1, 3, 4), (12, 24)),
        ((2, 1, 4), (4, 12)),
        ((2, 3, 1), (1, 4)),
        ((2, 1, 1), (1, 12)),
        ((), (1, 24)),
        ((1, 3, 1), None),
    ],
)
def test_broadcast_run_finds_the_row_that_broadcasting_would(shape, run):
    assert broadcast_run(shape, (2, 3, 4)) == run
    if run is not None:
        inner, outer = run
        rows = np.broadcast_to(np.arange(np.prod(shape, dtype=int)).reshape(shape), (2, 3, 4)).ravel()
        np.testing.assert_array_equal([r // outer * inner + r % inner for r in range(24)], rows)


def test_an_axis_of_length_one_does_not_split_a_run():
    assert broadcast_run((1, 1, 1, 4), (2, 1, 3, 4)) == (4, 24)


def test_source_refuses_other_dtypes():
    with pytest.raises(ValueError, match="kernels are for float16, float32, float64; got int32"):
        source("int32")


def test_a_module_is_compiled_once_per_dtype(monkeypatch):
    class RawModule:
        made: ClassVar[list[str]] = []

        def __init__(self, code):
            self.made.append(code)

        def get_function(self, name):
            return [name]

    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(RawModule=RawModule))
    monkeypatch.setattr(cuda_kernels, "_module", functools.cache(cuda_kernels._module.__wrapped__))
    kernel = functools.cache(cuda_kernels.kernel.__wrapped__)
    single, double = np.dtype("float32"), np.dtype("float64")
    assert [kernel(name, dtype) for dtype in (single, double) for name in KERNELS] == [[n] for n in KERNELS * 2]
    assert RawModule.made == [source("float32"), source("float64")]
    assert kernel("gaussian", single) is kernel("gaussian", single)


# The cases: each node, with operands broadcast along neighbouring or other axes, and with limits


def bernoulli(bk, x, logits):
    return (bk.bernoulli_log_density(x.array, logits),)


def gaussian(bk, x, head, limits=None):
    return (bk.gaussian_log_density(x, head, limits),)


def gaussian_draw(bk, head, noise, limits=None):
    return bk.gaussian_draw(head, noise.array, limits)


LIMITS = (-0.25, 0.5)  # numbers of every dtype
clipped_gaussian = functools.partial(gaussian, limits=LIMITS)
clipped_draw = functools.partial(gaussian_draw, limits=LIMITS)

CASES = {
    "bernoulli: x shared by draws and classes": (bernoulli, (1, 1, 4, 70), (2, 3, 4, 70)),
    "bernoulli: nothing shared": (bernoulli, (5, 3), (5, 3)),
    "bernoulli: x shared by classes alone": (bernoulli, (2, 1, 4, 3), (2, 3, 4, 3)),
    "bernoulli: x shared along axes that lie apart": (bernoulli, (1, 3, 1, 3), (2, 3, 4, 3)),
    "bernoulli: x shared along the row": (bernoulli, (4, 1), (2, 3, 4, 3)),
    "bernoulli: no rows": (bernoulli, (0, 3), (0, 3)),
    "gaussian: x shared by classes": (gaussian, (2, 1, 4, 70), (2, 3, 4, 140)),
    "gaussian: x shared by classes, limits": (clipped_gaussian, (2, 1, 4, 5), (2, 3, 4, 10)),
    "gaussian: both shared, limits": (clipped_gaussian, (3, 1, 1), (1, 4, 2)),
    "gaussian: x shared along axes that lie apart": (gaussian, (1, 3, 1, 5), (2, 1, 4, 10)),
    "draw: one head for all draws": (gaussian_draw, (1, 1, 4, 140), (2, 1, 4, 70)),
    "draw: noise shared by classes, limits": (clipped_draw, (2, 3, 4, 10), (2, 1, 4, 5)),
    "draw: both shared": (gaussian_draw, (1, 3, 1, 10), (2, 1, 4, 5)),
}


def operands(case, dtype):
    """The operands in `dtype`. For a Bernoulli many pixels are 0 or 1."""
    function, *shapes = CASES[case]
    first, second = (np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(shapes))
    if function is bernoulli:
        first, second = np.clip(first + 0.5, 0, 1), 4 * second
    return first.astype(dtype), second.astype(dtype)


def outcome(bk, function, first, second):
    """A node's outputs, and the gradients of a weighted sum of them with respect to its inputs."""
    variables = bk.parameter(first), bk.parameter(second)
    *draw, log_density = function(bk, *variables)
    total = 0
    for i, result in enumerate((log_density, *draw)):
        w = np.random.default_rng(5 + i).standard_normal(result.shape).astype(result.dtype)
        total = total + bk.sum(result * bk.xp.asarray(w))
    total.backward()
    found = {"log density": log_density, **dict(zip(["draw"], draw, strict=False))}
    found.update({f"gradient {i}": v.grad for i, v in enumerate(variables) if v.grad is not None})
    return {name: bk.to_numpy(array) for name, array in found.items()}


TOLERANCE = {"float16": 4e-3, "float32": 3e-6, "float64": 1e-13}


def check_outcome(got, expected, dtype):
    """The log density has the tolerance of the dtype that computes it; all else has that of the arrays' dtype."""
    wide = np.promote_types(dtype, np.float32)
    assert got.keys() == expected.keys()
    for name, array in got.items():
        kind = wide if name == "log density" else np.dtype(dtype)
        assert (name, array.shape, array.dtype) == (name, expected[name].shape, kind)
        scale = max(1, np.abs(expected[name]).max(initial=0))
        tolerance = TOLERANCE[kind.name]
        np.testing.assert_allclose(array, expected[name], rtol=tolerance, atol=tolerance * scale, err_msg=name)


def expected_outcome(case, dtype):
    """The results of NumPy's passes in float64 for the operands in `dtype`."""
    return outcome(backend("float64"), CASES[case][0], *(v.astype(np.float64) for v in operands(case, dtype)))


# On the CPU: the same source, by a C++ compiler, with a thread for each thread

SHIM = r"""
#include <barrier>
#include <cstddef>
#include <math.h>
#include <thread>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
struct Index { unsigned x; };
static thread_local Index blockIdx, threadIdx;
static Index blockDim;
static std::barrier<>* threads_of_the_block;
static void __syncthreads() { threads_of_the_block->arrive_and_wait(); }

// Blocks one after the other; arguments by their addresses, as CUDA's driver takes them.
template <class... A, std::size_t... I>
static void run(void (*kernel)(A...), unsigned blocks, unsigned threads, void** arguments, std::index_sequence<I...>) {
    std::barrier<> barrier(threads);
    threads_of_the_block = &barrier;
    blockDim.x = threads;
    std::vector<std::thread> running;
    for (unsigned thread = 0; thread < threads; ++thread) running.emplace_back([=] {
        threadIdx.x = thread;
        for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
            kernel(*static_cast<A*>(arguments[I])...);
            __syncthreads();
        }
    });
    for (auto& thread : running) thread.join();
}
template <class... A>
static void launch(void (*kernel)(A...), unsigned blocks, unsigned threads, void** arguments) {
    run(kernel, blocks, threads, arguments, std::index_sequence_for<A...>());
}
#define LAUNCHER(name) extern "C" void launch_##name(unsigned blocks, unsigned threads, void** arguments) { \
    launch(name, blocks, threads, arguments); }
"""


def compile_cpp(compiler, folder, code):
    (folder / "kernels.cpp").write_text(code, encoding="utf-8")
    options = ("-std=c++20", "-O1", "-shared", "-fPIC", "-pthread", f"-I{folder}")
    command = [compiler, *options, str(folder / "kernels.cpp"), "-o", str(folder / "kernels.so")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@functools.cache
def library(dtype):
    """The kernels compiled for the CPU, or the reason why they cannot be compiled."""
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        return "no C++ compiler is found"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "cuda_fp16.h").write_text("typedef _Float16 __half;\n", encoding="utf-8")
        first = source(dtype).splitlines()[0]
        if (done := compile_cpp(compiler, folder, SHIM + first)).returncode != 0:
            return f"the C++ compiler lacks C++20 or {dtype}: {done.stderr[:200]}"
        launchers = "\n".join(f"LAUNCHER({name})" for name in KERNELS)
        done = compile_cpp(compiler, folder, "\n".join((SHIM, source(dtype), launchers)))
        assert done.returncode == 0, done.stderr
        return ctypes.CDLL(str(folder / "kernels.so"))


def emulated_kernel(name, dtype, launched):
    """A kernel with the interface of a `cupy.RawKernel`, for NumPy arrays."""

    def launch(grid, block, arguments):
        for a in arguments:
            assert isinstance(a, np.generic) or a.flags.c_contiguous
        values = [np.array(a if isinstance(a, np.generic) else a.ctypes.data) for a in arguments]
        addresses = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        getattr(library(dtype.name), f"launch_{name}")(*grid, *block, addresses)
        launched.append((name, grid, block))

    return launch


@contextlib.contextmanager
def emulated_card(dtype, threads=None):
    """A context in which the nodes use NumPy as CuPy, and the kernels run on the CPU. Gives the list of launches."""
    if isinstance(library(dtype), str):
        pytest.skip(library(dtype))
    launched = []
    with pytest.MonkeyPatch.context() as patch:
        other_than_numpy = types.SimpleNamespace(promote_types=np.promote_types, float32=np.float32)
        patch.setattr(densities, "np", other_than_numpy)
        patch.setattr(cuda_kernels, "kernel", lambda name, dtype: emulated_kernel(name, dtype, launched))
        if threads is not None:
            patch.setattr(cuda_kernels, "launch_size", lambda rows, width: (rows, threads))
        yield launched


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_a_node_with_its_kernel_equals_numpys(case, dtype):
    bk, expected = backend(dtype), expected_outcome(case, dtype)
    with emulated_card(dtype) as launched:
        got = outcome(bk, CASES[case][0], *operands(case, dtype))
    check_outcome(got, expected, dtype)
    rows, width = expected["log density"].size, min(CASES[case][i][-1] for i in (1, 2))
    name = next(kernel for kernel in KERNELS[::-1] if case.replace("draw", "gaussian_draw").startswith(kernel))
    threads = 128 if width == 70 else 32
    assert launched == ([(name, (rows,), (threads,))] if rows else [])


@pytest.mark.parametrize("threads", [1, 2, 8, 256])
@pytest.mark.parametrize("case", [case for case, (_, shape, _) in CASES.items() if shape[-1] in (70, 140)])
def test_the_sum_over_a_row_is_complete_for_any_number_of_threads(case, threads):
    bk, expected = backend("float64"), expected_outcome(case, "float64")
    with emulated_card("float64", threads):
        check_outcome(outcome(bk, CASES[case][0], *operands(case, "float64")), expected, "float64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_at_extreme_logits(dtype):
    """As in NumPy's passes: nothing overflows, and a certain pixel has log density 0 to the last digit."""
    logits = np.array([[0], [1e4], [-1e4], [89], [-89], [6e4], [-6e4]], dtype)
    for x in (0.0, 0.25, 1.0):
        pixels = np.full_like(logits, x)
        value, derivative = densities._bernoulli(pixels, logits)
        with emulated_card(dtype):
            got, got_derivative = cuda_kernels.bernoulli(np, pixels, logits)
        certain = (x == 1) & (logits[:, 0] > 80) | (x == 0) & (logits[:, 0] < -80)
        np.testing.assert_allclose(got[certain], 0, atol=1e-38)
        np.testing.assert_allclose(got, value, rtol=1e-3 if dtype == "float16" else 1e-6, atol=1e-38)
        np.testing.assert_allclose(got_derivative, derivative, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits_count_as_within_in_the_arrays_own_dtype(dtype):
    """Float16 cannot represent -0.3: a log σ² of -0.3, rounded, still counts as being at the limit."""
    limits, d = (-0.3, 0.7), 5
    log_var = np.array([-0.3, 0.7, 0, -0.31, 0.71], dtype)
    head, x = np.concatenate([np.zeros(d, dtype), log_var])[None], np.full((1, d), 3, dtype)
    with emulated_card(dtype):
        _, derivative = cuda_kernels.gaussian(np, x, head, limits)
        *_, inside, _ = cuda_kernels.gaussian_draw(np, head, x, limits)
        _, free = cuda_kernels.gaussian(np, x, head, None)
    np.testing.assert_array_equal(inside[0], [True, True, True, False, False])
    np.testing.assert_array_equal(derivative[0, d:] != 0, inside[0])
    assert (free[0, d:] != 0).all()


def test_float16_is_summed_in_float32():
    """Every term is exact in float16, but the sum of 4,001 terms is not: float16's numbers there are 2 apart."""
    n = 4001
    with emulated_card("float16"):
        got, _ = cuda_kernels.bernoulli(np, np.zeros((1, n), np.float16), np.full((1, n), 20, np.float16))
    np.testing.assert_allclose(got, -20.0 * n, rtol=1e-6)


def test_operands_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"an operand of shape \(3, 6\) does not broadcast to \(2, 6\)"):
        cuda_kernels.bernoulli(np, np.zeros((3, 6)), np.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"an operand of shape \(1, 2, 6\) does not broadcast to \(2, 6\)"):
        cuda_kernels.bernoulli(np, np.zeros((1, 2, 6)), np.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"an operand of shape \(2, 6\) does not broadcast to \(2, 8\)"):
        cuda_kernels.gaussian(np, np.zeros((2, 4)), np.zeros((2, 6)), None)


# NVRTC. It needs no card


@functools.cache
def cupy_compiler():
    """CuPy's module that compiles, its NVRTC and its options, or the reason why there are none."""
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (the extra cuda12)"
    folders = wheel_folders()
    try:
        for path in (path for folder in folders for path in folder.glob("cuda_nvrtc/lib/libnvrtc.so.*")):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)  # CuPy 13 does not look into the wheel
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a missing card
            from cupy._core import core
            from cupy.cuda import compiler
            from cupy_backends.cuda.libs import nvrtc
        version = nvrtc.getVersion()
    except Exception as error:
        return f"CuPy or its NVRTC cannot be loaded (the extra nvrtc has one): {chainer_backend._first_line(error)}"
    headers = tuple(f"-I{folder / 'cuda_runtime' / 'include'}" for folder in folders)
    return compiler, version, (*core.assemble_cupy_compiler_options(()), *headers, "-ftz=true")


def wheel_folders():
    """The folders of NVIDIA's wheels."""
    spec = importlib.util.find_spec("nvidia")
    return [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations]


def compile_kernels(dtype, target, kind, monkeypatch):
    """CuPy's compilation for a card of this compute capability, because there may be no card to ask."""
    if isinstance(cupy_compiler(), str):
        pytest.skip(cupy_compiler())
    compiler, version, options = cupy_compiler()
    if target == "100" and version < (12, 8):
        pytest.skip(f"NVRTC {version[0]}.{version[1]} does not know sm_100; 12.8 does")
    if dtype == "float16" and not any(Path(o[2:], "cuda_fp16.h").exists() for o in options if o.startswith("-I")):
        pytest.skip("CUDA's headers are not found (the extra nvrtc has them)")
    arch = f"-arch={'sm' if kind == 'cubin' else 'compute'}_{target}"
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda _: (arch, kind))
    return compiler.compile_using_nvrtc(source(dtype), options, target)[0]


@pytest.mark.parametrize("target", ["80", "89", "90", "100"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_compile_for_current_cards(dtype, target, monkeypatch):
    code = compile_kernels(dtype, target, "cubin", monkeypatch)
    for name in KERNELS:
        assert f".text.{name}\0".encode() in code


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_float64_computes_in_float64(dtype, monkeypatch):
    """Graphics cards compute in float64 at a sixty-fourth of the speed."""
    code = compile_kernels(dtype, "80", "ptx", monkeypatch).decode()
    for name in KERNELS:
        assert f".entry {name}(" in code
    assert (".f64" in code) == (dtype == "float64")


# On a card


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_a_node_on_a_card_equals_numpys(case, dtype):
    if problem := chainer_backend.cuda_problem():
        pytest.skip(problem)
    got = outcome(load_backend("chainer", "cuda:0", dtype), CASES[case][0], *operands(case, dtype))
    check_outcome(got, expected_outcome(case, dtype), dtype)
