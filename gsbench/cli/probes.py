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

OK, MISSING, PROBLEM = "ok", "missing", "problem"
LEAST_BYTES = 2**30  # free memory below which even the quick benchmark may not fit
OTHERS = (
    "array_api_compat", "filelock", "jinja2", "markupsafe", "platformdirs", "pooch", "psutil", "pyarrow", "shtab",
    "tabulate", "threadpoolctl", "tqdm",
)  # fmt: skip
BUSY = 0.25  # load per core above which measured times are noisy
# Chainer's build imports pkg_resources, which setuptools 82 dropped, so a plain `pip install` of gsbench fails. Once
# Chainer is installed, `pip install` of gsbench works.
INSTALL_CHAINER = "pip install 'setuptools<81' wheel, then pip install --no-build-isolation chainer==7.8.1"
REINSTALL = "recreate the environment in the clone: pip install tox, tox devenv .venv-dev"


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


def _chainer() -> Iterator[Finding]:
    """Checks the repairs of `gsbench.backends.chainer.importing` with a known gradient: ∂Σp²/∂p = 2p."""
    from gsbench.backends import load_backend

    bk = load_backend("chainer", "cpu", "float32")
    p = bk.parameter([1.0, -2.0, 3.0])
    bk.backward(bk.sum(p * p))
    gradient = bk.to_numpy(bk.gradient(p)).tolist()
    found = f"{version('chainer')} with NumPy {version('numpy')}"
    if gradient == [2.0, -4.0, 6.0]:
        yield Finding("Chainer", OK, f"{found}: imported, and gradients are right")
    else:
        yield Finding("Chainer", PROBLEM, f"{found}: the gradient of Σp² at [1, -2, 3] is {gradient}", "report it")


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
        advice = f"for {what}: in the clone, pip install '.[{of}]'"
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
        return Finding("CuPy", PROBLEM, reason, "for --device cuda:0: in the clone, pip install '.[cuda12]'")
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
    Probe("Chainer", _chainer, needed=True, remedy=INSTALL_CHAINER),
    library("SciPy", "scipy.stats"),
    library("pandas", "pandas"),
    Probe("matplotlib", _matplotlib, needed=True, remedy=REINSTALL),
    Probe("other libraries", _others, needed=True, remedy=REINSTALL),
    Probe("processor", _processor),
    Probe("clock", _noise),
    Probe("memory", _memory),
    Probe("card", _card, remedy="gsbench uses the processor"),
    Probe("cache", _cache),
    extra("pytest-benchmark", "pytest_benchmark", "pytest-benchmark", "bench", "the benchmark"),
    extra("Dask", "distributed", "distributed", "sweep", "gsbench sweep"),
    extra("PyTorch", "torch", "torch", "peers", "the benchmark's --peers"),
    extra("Pyro", "pyro", "pyro-ppl", "peers", "the benchmark's --peers"),
    extra("JAX", "jax", "jax", "jax", "the benchmark's --peers"),
)
