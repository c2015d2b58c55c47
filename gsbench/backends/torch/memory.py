"""Peak bytes of PyTorch's tensors: tracemalloc sees none of them, and the CPU allocator has no counter.

On a CPU, a dispatch mode sees every operation of PyTorch, also those of the backward pass and of the optimiser, and
counts the memory of each tensor that an operation returns until it is freed. It does not see memory that an operation
frees itself. On a CUDA device, the caching allocator counts.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gsbench.backends.host_memory import HostMemoryPeak
from gsbench.backends.torch.functions import dot


class CpuMemoryPeak(HostMemoryPeak):
    """The `MemoryPeak` of PyTorch's tensors on a CPU, and of the NumPy arrays from which some are made."""

    meter = "torch dispatch mode and tracemalloc"

    def __init__(self) -> None:
        self._mode = _Storages(self)
        self._peak_bytes = 0

    @property
    def current_bytes(self) -> int:
        return self._mode.live_bytes + super().current_bytes

    @property
    def peak_bytes(self) -> int:
        return max(self._peak_bytes, self.current_bytes)

    def saw(self) -> None:
        """Takes note of the bytes after an operation."""
        self._peak_bytes = self.peak_bytes

    def start(self) -> None:
        with _Storages(self):
            torch.empty(1)  # the first operation under a mode imports 800 modules, which tracemalloc would count
        self._mode = _Storages(self)
        super().start()
        self.reset_peak()
        self._mode.__enter__()

    def reset_peak(self) -> None:
        self._peak_bytes = 0

    def stop(self) -> None:
        self._mode.__exit__(None, None, None)
        super().stop()


class _Storages(TorchDispatchMode):
    """Counts the bytes of live storages that operations returned while the mode was on."""

    def __init__(self, peak: CpuMemoryPeak) -> None:
        super().__init__()
        self.live_bytes = 0
        self._peak = peak
        self._bytes_at: dict[int, int] = {}  # by address

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {storage.data_ptr() for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage.data_ptr() not in given:
                self._count(storage)
        self._peak.saw()
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        if size and address not in self._bytes_at:
            self._bytes_at[address] = size
            self.live_bytes += size
            weakref.finalize(storage, self._freed, address).atexit = False

    def _freed(self, address: int) -> None:
        self.live_bytes -= self._bytes_at.pop(address)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class CudaMemoryPeak:
    """The `MemoryPeak` of PyTorch's caching allocator on a CUDA device."""

    meter = "torch.cuda.max_memory_allocated"

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def current_bytes(self) -> int:
        return torch.cuda.memory_allocated(self._device) - self._bytes_before

    @property
    def peak_bytes(self) -> int:
        return torch.cuda.max_memory_allocated(self._device) - self._bytes_before

    @property
    def reserved_bytes(self) -> int:
        return torch.cuda.max_memory_reserved(self._device)

    def start(self) -> None:
        # cuBLAS takes its workspace from the same allocator, at the first product of each thread.
        x = torch.ones((8, 8), device=self._device, requires_grad=True)
        dot(x, x, x[0]).sum().backward()
        del x
        torch.cuda.empty_cache()
        self._bytes_before = torch.cuda.memory_allocated(self._device)
        self.reset_peak()

    def reset_peak(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)

    def stop(self) -> None:
        """Does nothing: the allocator never stops counting."""
