"""The conditions of a measurement: machine, linear algebra library, versions, commit."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_info

from gsbench.backends.base import Backend
from gsbench.meters.allocator import freed_memory
from gsbench.version import __version__

# All seconds in all records are wall time of this clock. Processor time would omit waiting, add up the threads, and say
# nothing about a device.
CLOCK = "time.perf_counter"


def blas() -> tuple[str, int | None]:
    """The library of NumPy's matrix products with its kernel, such as "openblas 0.3.29 SkylakeX", and its threads."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    # SciPy and others ship their own libraries. NumPy's lies beside NumPy, or is the only one of the system.
    for pool in sorted(pools, key=lambda pool: "numpy" not in Path(pool["filepath"]).parent.name):
        parts = (pool["internal_api"], pool.get("version"), pool.get("architecture"))
        return " ".join(str(part) for part in parts if part), pool["num_threads"]
    return "unknown", None


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the clone that gsbench is imported from, with "-dirty" if files changed. None outside a clone."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@functools.cache
def _unchanging() -> dict[str, Any]:
    packages = ("numpy", "scipy", "matplotlib", "pytest-benchmark")
    return {
        "clock": CLOCK,
        "machine_cpu": processor(),
        "machine_cores": psutil.cpu_count(logical=False) or psutil.cpu_count(),
        "machine_memory_bytes": psutil.virtual_memory().total,
        "machine_os": f"{platform.system()} {platform.release()}",
        "python_version": platform.python_version(),
        "gsbench_version": __version__,
        "gsbench_commit": commit(),
        **{f"{package.replace('-', '_')}_version": _version(package) for package in packages},
    }


def machine_fields_of_driver() -> dict[str, Any]:
    """`machine_fields` without a backend, as for the record of a case that failed in another process."""
    return dict(_unchanging())


def machine_fields(bk: Backend) -> dict[str, Any]:
    """All fields of a record about the machine and the software, as a flat dict."""
    library, threads = blas()
    changing = {"machine_blas": library, "machine_blas_threads": threads, "freed_memory": freed_memory()}
    return {**_unchanging(), **changing, **bk.versions()}
