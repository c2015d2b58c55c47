"""The only package of gsbench that knows a framework.

`load_backend` returns the `Backend` through which models, estimators and objectives compute. A new framework needs a
package beside `chainer` and a line in `BACKENDS`; `tests/test_backend.py` then covers it.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from typing import NamedTuple

from gsbench.backends.base import Backend
from gsbench.extras import install
from gsbench.registry import Registry, instance_fault
from gsbench.values import SettingError, not_known, shown


class BackendSource(NamedTuple):
    """Where a backend is defined. Its module, and with it the framework, is imported when the backend is loaded.

    package        the framework's package, without which the backend cannot be loaded; "": none
    extra          gsbench's extra that installs the package; "": none
    cpu, cuda      the dtypes on each kind of device
    """

    name: str
    module: str
    class_name: str
    package: str = ""
    extra: str = ""
    cpu: tuple[str, ...] = ("float32", "float64")
    cuda: tuple[str, ...] = ("float32", "float64")

    @property
    def is_installed(self) -> bool:
        return not self.package or importlib.util.find_spec(self.package) is not None

    @property
    def how_to_install(self) -> str:
        return install(self.extra) if self.extra else f"pip install {self.package}"

    def dtypes(self, device: str) -> tuple[str, ...]:
        return self.cpu if device == "cpu" else self.cuda


BACKENDS = Registry(
    "backend",
    (
        BackendSource(
            "chainer", "gsbench.backends.chainer.backend", "ChainerBackend", "chainer", "chainer",
            cuda=("float32", "float64", "float16"),
        ),
        BackendSource(
            "torch", "gsbench.backends.torch.backend", "TorchBackend", "torch", "torch",
            cpu=("float32", "float64", "bfloat16"), cuda=("float32", "float64", "bfloat16", "float16", "tf32"),
        ),
    ),
    instance_fault(BackendSource),
)


class Format(NamedTuple):
    """Bytes of one number, with this compute dtype: of a hidden activation, and of a number in the wide dtype."""

    itemsize: int
    wide_itemsize: int


# bfloat16 and float16 are for products and hidden activations alone. tf32 is float32 with products that round their
# operands to 10 bits of mantissa, on the tensor cores of a CUDA device; products in float32 do not round them.
DTYPES = {
    "float32": Format(4, 4),
    "float64": Format(8, 8),
    "bfloat16": Format(2, 4),
    "float16": Format(2, 4),
    "tf32": Format(4, 4),
}


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


def default_backend() -> str:
    """The first backend whose framework is installed, or the first of all if there is none."""
    installed = (source.name for source in BACKENDS.values() if source.is_installed)
    return next(installed, next(iter(BACKENDS)))


def installed_backends() -> list[str]:
    return [source.name for source in BACKENDS.values() if source.is_installed]


def how_to_get_one() -> str:
    """The commands that install a backend, for an environment that has none."""
    return "; or ".join(f"for {source.name}: {source.how_to_install}" for source in reversed(BACKENDS.values()))


def _places(dtype: str) -> list[str]:
    """The backends and devices that have the dtype, in words."""
    pairs = [(source, device) for source in BACKENDS.values() for device in ("cpu", "cuda")]
    return [f"{source.name} on {device}" for source, device in pairs if dtype in source.dtypes(device)]


def load_backend(name: str | None = None, device: str = "cpu", dtype: str = "float32") -> Backend:
    """The backend `name` (None: `default_backend`) on `device` ("cpu" or "cuda:N"), computing in `dtype`.

    Raises ValueError for an unknown name or dtype, a framework that is not installed, and a dtype that the backend does
    not have on the device; and DeviceError for a device that is not usable on this machine.
    """
    name = name or default_backend()
    if name not in BACKENDS:
        raise SettingError("unknown {backend}", f" {not_known(name, BACKENDS)}")
    if dtype not in DTYPES:
        raise SettingError("unknown {dtype}", f" {not_known(dtype, DTYPES)}")
    check_device(device)
    source = BACKENDS[name]
    if dtype not in (allowed := source.dtypes(device)):
        raise SettingError(
            "{dtype}",
            f" must be one of {', '.join(allowed)} for backend {name} on device {shown(device)}, got {shown(dtype)} "
            f"({dtype}: {' and '.join(_places(dtype))})",
        )
    if not source.is_installed:
        here = ", ".join(installed_backends())
        choice = f"{here}; to install it: {source.how_to_install}" if here else f"none; to get one, {how_to_get_one()}"
        raise SettingError(
            "{backend}", f" {name} needs {source.package}, which is not installed; allowed here: {choice}"
        )
    made: Backend = getattr(importlib.import_module(source.module), source.class_name)(device, dtype)
    return made
