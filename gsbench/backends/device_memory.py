"""Peak bytes of CuPy's memory pool, which has no peak counter of its own.

A `cupy.cuda.MemoryHook` sees every allocation from the pool and every return to it; the running sum of `mem_size` is
what live arrays hold (rounded up to the pool's 512-byte units), whatever the pool keeps cached beyond them.
"""

from __future__ import annotations

from typing import Any


class DeviceMemoryPeak:
    """Counts live bytes of CuPy's pool and their peak between `start` and `stop`.

    `current_bytes` and `peak_bytes` count what was allocated since `start`.
    """

    meter = "cupy.cuda.MemoryHook"

    def __init__(self) -> None:
        import cupy

        peak = self
        self.current_bytes = 0
        self.peak_bytes = 0

        class Hook(cupy.cuda.MemoryHook):
            name = "gsbench-peak"

            def malloc_postprocess(self, **event: Any) -> None:
                peak.current_bytes += event["mem_size"]
                peak.peak_bytes = max(peak.peak_bytes, peak.current_bytes)

            def free_preprocess(self, **event: Any) -> None:
                peak.current_bytes -= event["mem_size"]

        self.hook = Hook()

    def start(self) -> None:
        self.hook.__enter__()

    def reset_peak(self) -> None:
        self.peak_bytes = self.current_bytes

    def stop(self) -> None:
        self.hook.__exit__(None, None, None)
