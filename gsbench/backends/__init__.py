"""The only package of gsbench that knows a framework.

`load_backend` gives the object through which models, estimators and objectives compute: the array functions, the
random draws, the optimiser, the device with its synchronisation and its memory meter. Adding a framework is a module
beside `chainer.py` and a line in `BACKENDS`.
"""

from __future__ import annotations

import importlib
from typing import Any

BACKENDS = {"chainer": ("gsbench.backends.chainer", "ChainerBackend")}

DTYPES = ("float32", "float64", "float16")


class DeviceError(ValueError):
    """A device was asked for that cannot be used here; the message says why and what can be."""


def chunk_bytes(device: str) -> int:
    """What the activations of a chunk of work may hold, the same on every machine, so that equal settings give equal
    numbers.

    On two cores of a CPU the streamed sum over 100 classes took 7 % longer with half of it, for every chunk has costs
    of its own, and no less time with twice it. A card wants more rows at once; how many was not measured.
    """
    return 2**26 if device == "cpu" else 2**29


def load_backend(name: str = "chainer", device: str = "cpu", dtype: str = "float32") -> Any:
    """The backend `name` on `device` ("cpu" or "cuda:N"), computing in `dtype`.

    Raises ValueError for an unknown name or dtype or for float16 off a CUDA device, DeviceError for a device that
    is not usable on this machine.
    """
    if name not in BACKENDS:
        raise ValueError(f"unknown backend {name!r}; known: {', '.join(BACKENDS)}")
    if dtype not in DTYPES:
        raise ValueError(f"unknown dtype {dtype!r}; known: {', '.join(DTYPES)}")
    if dtype == "float16" and not device.startswith("cuda"):
        raise ValueError(f"dtype float16 needs a CUDA device, got device {device!r}; on a CPU: float32, float64")
    module, cls = BACKENDS[name]
    return getattr(importlib.import_module(module), cls)(device, dtype)
