"""The probes of `gsbench doctor`. A probe yields findings; an exception counts as one. No probe downloads anything."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

from gsbench.extras import install

OK, MISSING, PROBLEM = "ok", "missing", "problem"
LEAST_BYTES = 2**30  # free memory below which even the quick benchmark may not fit
OTHERS = (
    "array_api_compat", "filelock", "jinja2", "markupsafe", "platformdirs", "pluggy", "pooch", "psutil", "pyarrow",
    "pytest", "pytest_benchmark", "rich", "shtab", "tabulate", "threadpoolctl", "tqdm",
)  # fmt: skip
SPEED_SECONDS = 0.02  # of products in each dtype
SLOWER = 0.9  # share of float32's speed below which a dtype is reported as slower
BUSY = 0.25  # load per core above which measured times are noisy
REINSTALL = "make a new environment, and pip install gsbench there as its README says"


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of a check: name, mark, text and advice. `needed`: gsbench does not work without it."""

    name: str
    mark: str
    found: str
    advice: str = ""
    needed: bool = False

    def __str__(self) -> str:
        return f"{self.mark:<8} {self.name}: {self.found}" + (f" -> {self.advice}" if self.advice else "")


@dataclasses.dataclass(frozen=True)
class Probe:
    """A check. `remedy`: the advice if `look` raises. `needed`: gsbench does not work without it."""

    name: str
    look: Callable[[], Iterable[Finding]]
    needed: bool = False
    remedy: str = ""


def _python() -> Iterator[Finding]:
    yield Finding("Python", OK, f"{platform.python_version()} ({sys.executable})")


def _gsbench() -> Iterator[Finding]:
    from gsbench.meters.machine import commit
    from gsbench.version import __version__

    yield Finding("gsbench", OK, f"{__version__}, commit {commit() or 'unknown (not a clone)'}")


def backend_probe(name: str) -> Probe:
    """Whether a backend works here, with which dtypes, and how fast each is."""

    def look() -> Iterator[Finding]:
        from gsbench.backends import BACKENDS, default_backend

        source, called = BACKENDS[name], f"backend {name}"
        is_default, remedy = name == default_backend(), source.how_to_install
        if not source.is_installed:
            yield Finding(called, MISSING, f"{source.package} is not installed", f"for --backend {name}: {remedy}")
            return
        found = f"{version(source.package)} with NumPy {version('numpy')}"
        try:
            problem = _wrong_gradient(name)
            speeds = [*_speeds(name)]
        except Exception as error:  # a damaged installation fails with other errors than ImportError
            yield Finding(called, PROBLEM, f"{found}: {type(error).__name__}: {error}", remedy, needed=is_default)
            return
        if problem:
            yield Finding(called, PROBLEM, f"{found}: {problem}", "report it", needed=is_default)
            return
        default = ", the default of --backend" if is_default else ""
        yield Finding(called, OK, f"{found}: imported, and gradients are right{default}", needed=is_default)
        yield from speeds

    return Probe(f"backend {name}", look, remedy=REINSTALL)


def _any_backend() -> Iterator[Finding]:
    from gsbench.backends import how_to_get_one, installed_backends

    if not installed_backends():
        yield Finding("backend", PROBLEM, "none is installed", how_to_get_one())


def _wrong_gradient(name: str) -> str | None:
    """What is wrong with a known gradient, ∂Σp²/∂p = 2p; None: nothing."""
    from gsbench.backends import load_backend

    bk = load_backend(name)
    p = bk.parameter([1.0, -2.0, 3.0])
    bk.backward(bk.sum(p * p))
    gradient = bk.to_numpy(bk.gradient(p)).tolist()
    return None if gradient == [2.0, -4.0, 6.0] else f"the gradient of Σp² at [1, -2, 3] is {gradient}"


def _speeds(name: str) -> Iterator[Finding]:
    """The speed of matrix products in each dtype, on the CPU and on the first card if the backend can use it."""
    from gsbench.backends import BACKENDS, DTYPES, DeviceError

    for device in ("cpu", "cuda:0"):
        try:
            speeds = {dtype: _speed(name, device, dtype) for dtype in BACKENDS[name].dtypes(device)}
        except DeviceError as error:
            yield Finding(f"backend {name} on a card", MISSING, str(error).split("; allowed here")[0])
            continue
        told = ", ".join(f"{dtype} {speed / 1e9:,.0f}" for dtype, speed in speeds.items())
        limit = SLOWER * speeds["float32"]
        slow = [dtype for dtype, speed in speeds.items() if DTYPES[dtype].itemsize < 4 and speed < limit]
        advice = f"slower than float32 here: {', '.join(slow)}" if slow else ""
        yield Finding(f"backend {name} on {device}", OK, f"matrix products, GFLOP/s: {told}", advice)


def _speed(name: str, device: str, dtype: str) -> float:
    """Operations per second of a matrix product, in the fastest of as many runs as fit 20 ms, two at least."""
    from gsbench.backends import load_backend
    from gsbench.meters.operations import MatrixProduct
    from gsbench.meters.products import product_call
    from gsbench.meters.seconds import seconds_of

    rows = 512 if device == "cpu" else 4096  # on a card, small products take the time of their launch
    product = MatrixProduct(rows, rows, rows)
    call = product_call(load_backend(name, device, dtype), product)
    call()
    times = [seconds_of(call), seconds_of(call)]
    while sum(times) < SPEED_SECONDS:
        times.append(seconds_of(call))
    return product.operations / min(times)


def _numpy() -> Iterator[Finding]:
    import numpy

    from gsbench.limits import available_cores
    from gsbench.meters.machine import blas

    library, threads = blas()
    found = f"{numpy.__version__}; matrix products by {library}, {threads or 'unknown'} threads"
    if library == "unknown":
        yield Finding("NumPy", OK, found, "the NumPy from PyPI has OpenBLAS, whose threads gsbench can set")
    elif threads and threads > available_cores():
        advice = f"this process has {available_cores()} cores: set OMP_NUM_THREADS={available_cores()}"
        yield Finding("NumPy", OK, found, advice)
    else:
        yield Finding("NumPy", OK, found)


def library(name: str, module: str, needed: bool = True) -> Probe:
    """A library that gsbench needs."""

    def look() -> Iterator[Finding]:
        importlib.import_module(module)
        yield Finding(name, OK, version(module.split(".")[0]))

    return Probe(name, look, needed, REINSTALL)


def _matplotlib() -> Iterator[Finding]:
    importlib.import_module("gsbench.matplotlib_import")
    yield from library("matplotlib", "matplotlib.ft2font").look()


def _others() -> Iterator[Finding]:
    """The other libraries that gsbench needs, in one finding."""
    for name in OTHERS:
        importlib.import_module(name)
    yield Finding("other libraries", OK, ", ".join(f"{name} {version(name)}" for name in OTHERS))


def extra(name: str, module: str, package: str, of: str, what: str) -> Probe:
    """A library that gsbench needs for `what` only."""

    def look() -> Iterator[Finding]:
        advice = f"for {what}: {install(of)}"
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name not in (module, None):
                raise
            yield Finding(name, MISSING, "not installed", advice)
        else:
            yield Finding(name, OK, version(package))

    return Probe(name, look, remedy=f"reinstall it, or remove it: pip uninstall {package}")


def _processor() -> Iterator[Finding]:
    import psutil

    from gsbench.limits import available_cores
    from gsbench.meters.machine import processor

    cores = f"{psutil.cpu_count(logical=False) or psutil.cpu_count()} cores, {available_cores()} of them for gsbench"
    load = psutil.getloadavg()[0]
    if load > max(0.5, BUSY * available_cores()):
        advice = "other programs are computing, so measured times will be noisy: end them before you measure"
        yield Finding("processor", PROBLEM, f"{processor()}; {cores}; load {load:.1f}", advice)
    else:
        yield Finding("processor", OK, f"{processor()}; {cores}")


def _noise() -> Iterator[Finding]:
    """If the clock of the processor follows the load, the same work takes varying times."""
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor.exists() and (name := governor.read_text().strip()) != "performance":
        yield Finding("clock", OK, f"governor {name}", "for steadier times: cpupower frequency-set -g performance")


def _memory() -> Iterator[Finding]:
    import psutil

    from gsbench.limits import available_bytes

    free = available_bytes()
    found = f"{free / 2**30:.1f} GiB free of {psutil.virtual_memory().total / 2**30:.1f} GiB"
    if free < LEAST_BYTES:
        yield Finding("memory", PROBLEM, found, "end other programs, or use --preset small and few --classes")
    else:
        yield Finding("memory", OK, found)


def _card() -> Iterator[Finding]:
    cards = _cards()
    for card in cards:
        yield Finding("card", OK, card)
    if not cards:
        yield Finding("card", MISSING, "no NVIDIA card, or no driver (nvidia-smi)", "gsbench uses the processor")
    from gsbench.backends import BACKENDS

    if BACKENDS["chainer"].is_installed:
        yield _cupy(bool(cards))


def _cards() -> list[str]:
    """Name, memory and driver of each card, from nvidia-smi."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    names = ("", "", "driver ")
    lines = [line for line in done.stdout.splitlines() if done.returncode == 0 and line.strip()]
    return [", ".join(name + part.strip() for name, part in zip(names, line.split(","))) for line in lines]  # noqa: B905


def _cupy(with_card: bool) -> Finding:
    from gsbench.backends import DeviceError, load_backend

    try:
        bk = load_backend("chainer", "cuda:0", "float32")
        total = float(bk.to_numpy(bk.sum(bk.array([1.0, 2.0]))))
    except DeviceError as error:
        reason = str(error).split("cannot be used: ")[-1].split("; allowed here")[0]
        if not with_card:
            return Finding("CuPy", MISSING, reason, "it is useful only with a card")
        return Finding("CuPy", PROBLEM, reason, f"for --device cuda:0: {install('cuda12')}")
    versions = bk.versions()
    found = f"{versions['cupy_version']}, CUDA {versions['cuda_version']}, {versions['machine_gpu']}"
    return Finding("CuPy", OK if total == 3 else PROBLEM, found, "" if total == 3 else f"it computes 1 + 2 = {total}")


def _cache() -> Iterator[Finding]:
    from gsbench.data.locations import CACHE_VARIABLE, cache_folder

    folder = cache_folder()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if there.is_dir() and os.access(there, os.W_OK):
        yield Finding("cache", OK, str(folder))
    else:
        advice = f"set the environment variable {CACHE_VARIABLE} to a writable folder"
        yield Finding("cache", PROBLEM, f"{folder} cannot be written", advice)


def data_probes(data_dir: str | None) -> list[Probe]:
    """One probe for the data folder, and one for each data set of the registry."""
    from gsbench.data import DATASETS

    sets = [Probe(f"data set {name}", functools.partial(_data_set, name, data_dir)) for name in DATASETS]
    return [Probe("data folder", lambda: _data_folder(data_dir), remedy="name an existing folder, or none"), *sets]


def _data_folder(data_dir: str | None) -> Iterator[Finding]:
    from gsbench.data.locations import HOW_TO_NAME, data_folder

    folder = data_folder(data_dir)
    if folder is None:
        yield Finding("data folder", MISSING, "no folder is named", f"if you have data sets: {HOW_TO_NAME}")
    else:
        yield Finding("data folder", OK, str(folder))


def _data_set(name: str, data_dir: str | None) -> Iterator[Finding]:
    from gsbench.data import find_dataset

    found = find_dataset(name, data_dir)
    if found.state == "missing":
        yield Finding(f"data set {name}", MISSING, "not here", found.text)
    elif found.state == "download":
        yield Finding(f"data set {name}", MISSING, "not here yet", found.text)
    else:
        yield Finding(f"data set {name}", OK, found.text)


PROBES = (
    Probe("Python", _python, needed=True),
    Probe("gsbench", _gsbench, needed=True, remedy=REINSTALL),
    Probe("NumPy", _numpy, needed=True, remedy=REINSTALL),
    Probe("backend", _any_backend, needed=True, remedy=REINSTALL),
    backend_probe("chainer"),
    backend_probe("torch"),
    library("SciPy", "scipy.stats"),
    library("pandas", "pandas"),
    Probe("matplotlib", _matplotlib, needed=True, remedy=REINSTALL),
    Probe("other libraries", _others, needed=True, remedy=REINSTALL),
    Probe("processor", _processor),
    Probe("clock", _noise),
    Probe("memory", _memory),
    Probe("card", _card, remedy="gsbench uses the processor"),
    Probe("cache", _cache),
    extra("Dask", "distributed", "distributed", "sweep", "gsbench sweep"),
    extra("Pyro", "pyro", "pyro-ppl", "peers", "the benchmark's --peers"),
    extra("JAX", "jax", "jax", "jax", "the benchmark's --peers"),
)
