"""The only package of gsbench that knows a framework.

`load_backend` returns the `Backend` through which models, estimators and objectives compute. A new framework needs a
package beside `chainer` and a line in `BACKENDS`; `tests/test_backend.py` then covers it.
"""

from __future__ import annotations

import importlib
import re
from typing import NamedTuple

from gsbench.backends.base import Backend
from gsbench.registry import Registry
from gsbench.values import SettingError, not_known, shown


class BackendSource(NamedTuple):
    """Where a backend is defined. Its module, and with it the framework, is imported when the backend is loaded."""

    name: str
    module: str
    class_name: str


BACKENDS = Registry("backend", (BackendSource("chainer", "gsbench.backends.chainer.backend", "ChainerBackend"),))

DTYPES = ("float32", "float64", "float16")


class DeviceError(SettingError):
    """The requested device cannot be used here; the message says why, and which devices can."""


def chunk_bytes(device: str) -> int:
    """The limit on the activations of a chunk of work. It is the same on every machine, so that equal settings give
    equal numbers.

    On two CPU cores the streamed sum over 100 classes took 7 % longer with half this limit, because every chunk has
    fixed costs, and no less time with twice the limit. A card needs more rows at once; how many was not measured.
    """
    return 2**26 if device == "cpu" else 2**29


def check_device(name: str) -> None:
    """Raises DeviceError if `name` does not spell a device. `load_backend` checks whether the device can be used."""
    if not re.fullmatch("cpu|cuda:[0-9]{1,4}", name):
        raise DeviceError("unknown {device}", f" {shown(name)}; allowed: cpu, cuda:N (such as cuda:0)")


def load_backend(name: str = "chainer", device: str = "cpu", dtype: str = "float32") -> Backend:
    """The backend `name` on `device` ("cpu" or "cuda:N"), computing in `dtype`.

    Raises ValueError for an unknown name or dtype and for float16 without a CUDA device, and DeviceError for a device
    that is not usable on this machine.
    """
    if name not in BACKENDS:
        raise SettingError("unknown {backend}", f" {not_known(name, BACKENDS)}")
    if dtype not in DTYPES:
        raise SettingError("unknown {dtype}", f" {not_known(dtype, DTYPES)}")
    if dtype == "float16" and not device.startswith("cuda"):
        why = f"a CUDA device, got device {shown(device)}; on a CPU: float32, float64"
        raise SettingError("{dtype} float16 needs ", why)
    source = BACKENDS[name]
    made: Backend = getattr(importlib.import_module(source.module), source.class_name)(device, dtype)
    return made
