"""The Chainer backend alone: its import, devices, float16, and the meter of a card's memory."""

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
from core_fixtures import backend

import gsbench
from gsbench.backends import DeviceError, load_backend
from gsbench.backends.chainer import backend as chainer_backend
from gsbench.categorical import one_hot

needs_cupy = pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")


def python(
    code: str, *path: Path, warnings: str = "error", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh Python that searches `path` first. Each warning is an error (or, with "always", shown)."""
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
    """Python warns of Chainer's string literals when it compiles them. An empty cache makes it compile again."""
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


# Devices

def test_a_card_number_that_does_not_exist(monkeypatch):
    runtime = types.SimpleNamespace(getDeviceCount=lambda: 2)
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(runtime=runtime))
    monkeypatch.setattr(chainer_backend, "cuda_problem", lambda: None)
    monkeypatch.setattr(chainer_backend.chainer.backends.cuda, "cupy", cupy)
    with pytest.raises(DeviceError, match="no device 'cuda:2'; allowed here: cpu, cuda:0 to cuda:1"):
        load_backend(device="cuda:2")


def test_on_a_cpu_there_is_no_device_to_measure():
    bk = backend("float32")
    bk.synchronize()
    assert bk.memory_peak().meter == "tracemalloc"
    assert bk.free_memory_bytes() is None
    assert bk.is_out_of_memory(MemoryError())
    assert not bk.is_out_of_memory(ValueError())
    versions = bk.versions()
    assert versions["chainer_version"] == "7.8.1"
    assert versions["cupy_version"] is versions["cuda_version"] is versions["machine_gpu"] is None


# Float16. Only a card computes fast in it


def test_float16_is_the_dtype_of_activations_and_float32_of_all_that_is_summed():
    bk = backend("float16")
    x, rng = bk.parameter([[8192.0, 8184.0, 8192.0], [0.0, 1.0, 2.5]]), bk.generator(0)
    for narrow in (x, bk.array([1]), bk.normal(rng, (2, 3)), bk.narrow(bk.widen(x))):
        assert narrow.dtype == np.float16
    wide = [bk.log_softmax(x), bk.softmax(x), bk.sum(x), bk.widen(x), bk.uniform(rng, (2,)), bk.exponential(rng, (2,))]
    assert all(array.dtype == np.float32 for array in wide)
    np.testing.assert_allclose(np.exp(bk.to_numpy(wide[0])), oracles.softmax(bk.to_numpy(x).astype(float)), rtol=2e-6)

def test_hard_point_of_float16_has_its_gradient_in_log_q_s_own_dtype():
    bk = backend("float16")
    log_q = bk.log_softmax(bk.parameter(np.zeros((2, 3))))
    p = np.full((1, 2, 3), 1 / 3, np.float32)
    y = bk.hard_point(one_hot(bk, bk.integers([0, 2]), 3), log_q, p, (1.0,))
    assert (y.dtype, log_q.dtype) == (np.float16, np.float32)
    (g,) = bk.gradients_by(bk.sum(y * np.array([[3, 0, 0], [0, 0, 0]], np.float16)), [log_q])
    assert g.dtype == np.float32
    np.testing.assert_allclose(g, [[2 / 3, -1 / 3, -1 / 3], [0, 0, 0]], rtol=1e-6, atol=1e-7)


def test_gradients_that_float16_would_lose_with_respect_to_float16_variables():
    """2e-8 is 0 in float16, but not if it is scaled. The returned gradient is not scaled."""
    bk = backend("float16")
    x = bk.parameter([1.0])
    (g,) = bk.gradients_by(bk.sum(x) * 2e-8, [x])
    np.testing.assert_allclose(g, [2e-8], rtol=1e-2)


def test_float16_steps_with_gradients_that_float16_would_lose():
    """A gradient of 2e-8 is 0 in float16. If the loss is scaled, Adam still sees it, and makes its step in
    float32.
    """
    bk = backend("float16")
    x = bk.parameter([1.0])
    optimizer = bk.adam({"x": x}, 0.125)
    optimizer.clear_gradients()
    bk.backward(bk.sum(x) * 2e-8)
    optimizer.update()
    assert x.dtype == np.float16
    step = 0.125 * 2e-8 / (2e-8 + 1e-8)  # m̂ = √v̂ = 2e-8
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
    """512 + 1024 bytes live at once, then 256 more after a free, as the pool reports them."""
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


def test_memory_peak_with_a_fake_cupy(monkeypatch):
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
def test_memory_peak_with_the_real_cupy():
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
