"""A user's `torch.nn.Module`, whose methods are called with other values of its parameters and counted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from gsbench.backends.base import Array, Module, Parameter, Tensor


class _Methods(nn.Module):
    """Calls a method by name, because `functional_call` calls `forward` alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, method: str, *args: Any) -> Any:
        return getattr(self.inner, method)(*args)


class TorchModule(Module):
    """The module that `make()` returns, with parameters in the wide dtype. Half precision is by autocast.

    seed   of the global generator from which the module draws its initial parameters
    """

    def __init__(
        self, make: Callable[[], Any], seed: int, device: torch.device, dtype: torch.dtype, wide: torch.dtype
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inner = make()
        if not isinstance(inner, nn.Module):
            raise ValueError(f"must be a torch.nn.Module, got {inner!r}")
        self.inner = inner.to(device=device, dtype=wide)
        self._methods, self._device = _Methods(self.inner), device
        self._half = dtype if dtype != wide else None
        self._modes = [(module, module.training) for module in self.inner.modules()]  # a part may be frozen
        if not self.parameters:
            raise ValueError("has no parameter that requires a gradient")

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {name: p for name, p in self.inner.named_parameters() if p.requires_grad}

    @property
    def statistics(self) -> dict[str, Array]:
        return {name: b for name, b in self.inner.named_buffers() if b.is_floating_point()}

    @property
    def has_batch_norm(self) -> bool:
        return any(isinstance(module, _BatchNorm) and mode for module, mode in self._modes)

    def set_training(self, training: bool) -> None:
        for module, mode in self._modes:
            module.training = mode and training

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        with torch.enable_grad(), torch.random.fork_rng(devices=[]), self.leaving_statistics():
            yield

    @contextlib.contextmanager
    def leaving_statistics(self) -> Iterator[None]:
        before = {name: b.clone() for name, b in self.inner.named_buffers()}
        try:
            yield
        finally:
            for name, b in self.inner.named_buffers():
                b.copy_(before[name])

    def call(self, method: str, replaced: Mapping[str, Tensor], *args: Any) -> Any:
        half = torch.autocast(self._device.type, self._half) if self._half else contextlib.nullcontext()
        with half:
            if not replaced:
                return getattr(self.inner, method)(*args)
            values = {f"inner.{name}": value for name, value in replaced.items()}
            return torch.func.functional_call(self._methods, values, (method, *args))

    def counted(self, call: Callable[[], Tensor]) -> tuple[int, int]:
        of_parameters = {p.untyped_storage().data_ptr() for p in self.inner.parameters()}
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            memory = tensor.untyped_storage()
            if memory.data_ptr() not in of_parameters:
                kept[memory.data_ptr()] = memory.nbytes() // tensor.element_size()
            return tensor

        with FlopCounterMode(display=False) as flops:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                value = call()
            if value.requires_grad:
                torch.autograd.grad(value.sum(), [p for p in self.inner.parameters() if p.requires_grad],
                                    allow_unused=True)  # fmt: skip
        return sum(kept.values()), int(flops.get_total_flops())

    def uses(self, value: Tensor) -> frozenset[str]:
        parameters = self.parameters
        if not value.requires_grad:
            return frozenset()
        found = torch.autograd.grad(value.sum(), list(parameters.values()), allow_unused=True, retain_graph=True)
        return frozenset(name for name, g in zip(parameters, found, strict=True) if g is not None)
