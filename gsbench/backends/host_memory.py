"""Peak bytes of arrays in the host's memory that NumPy allocated."""

from __future__ import annotations

import gc
import tracemalloc


class HostMemoryPeak:
    """The `MemoryPeak` of NumPy's arrays, measured with tracemalloc.

    If tracing is on already (PYTHONTRACEMALLOC, or the caller's own), it stays on, with its traces and its number of
    frames. Bytes allocated before `start` are not counted.
    """

    meter = "tracemalloc"
    reserved_bytes = None
    _bytes_before = 0

    def start(self) -> None:
        self._was_tracing = tracemalloc.is_tracing()
        if self._was_tracing:
            gc.collect()  # freeing older garbage later would count as negative bytes
        else:
            tracemalloc.start()
        self._bytes_before = tracemalloc.get_traced_memory()[0] if self._was_tracing else 0

    def stop(self) -> None:
        if not self._was_tracing:
            tracemalloc.stop()

    def reset_peak(self) -> None:
        tracemalloc.reset_peak()

    @property
    def current_bytes(self) -> int:
        return tracemalloc.get_traced_memory()[0] - self._bytes_before

    @property
    def peak_bytes(self) -> int:
        return tracemalloc.get_traced_memory()[1] - self._bytes_before
