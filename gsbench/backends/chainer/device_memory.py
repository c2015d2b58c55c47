"""Peak bytes of CuPy's memory pool, which has no peak counter of its own.

A `cupy.cuda.MemoryHook` sees every allocation from the pool and every return to it. The running sum of `mem_size` is
the memory of live arrays, rounded up to the pool's units of 512 bytes. It excludes memory that the pool keeps cached.
"""

from __future__ import annotations

from typing import Any


class DeviceMemoryPeak:
    """The `MemoryPeak` of CuPy's pool."""

    meter = "cupy.cuda.MemoryHook"
    reserved_bytes = None

    def __init__(self) -> None:
        import cupy

        peak = self
        self.current_bytes = 0
        self.peak_bytes = 0
        self._bytes_at: dict[int, int] = {}  # sizes of the live allocations by address

        class Hook(cupy.cuda.MemoryHook):
            name = "gsbench-peak"

            def malloc_postprocess(self, **event: Any) -> None:
                peak._allocated(event["mem_ptr"], event["mem_size"])

            def free_preprocess(self, **event: Any) -> None:
                peak._freed(event["mem_ptr"])

        self.hook = Hook()

    def _allocated(self, address: int, size: int) -> None:
        self._bytes_at[address] = size
        self.current_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.current_bytes)

    def _freed(self, address: int) -> None:
        self.current_bytes -= self._bytes_at.pop(address, 0)

    def start(self) -> None:
        self.hook.__enter__()

    def reset_peak(self) -> None:
        self.peak_bytes = self.current_bytes

    def stop(self) -> None:
        self.hook.__exit__(None, None, None)
