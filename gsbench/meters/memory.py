"""Bytes: live arrays over a step, and the peak of a process."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gsbench.backends.base import MemoryPeak


@dataclass(frozen=True)
class LivePeak:
    """Peak bytes of live arrays over one step, `state_bytes` of which were live before it (parameters, the optimiser's
    moments, the minibatch)."""

    peak_bytes: int
    state_bytes: int
    meter: str


class _HostPeak:
    """A meter by tracemalloc, which sees NumPy's buffers. It has the interface of the backend's device meter.

    If tracing is already on (PYTHONTRACEMALLOC, or the caller's own), it stays on, with its traces and its number of
    frames. Allocations before `start` are not counted.
    """

    meter = "tracemalloc"

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


def live_peak(make_step: Callable[[], Callable[[], object]], device_peak: MemoryPeak | None = None) -> LivePeak:
    """Builds a case under the meter, takes one step to warm up, and measures the next.

    make_step     builds everything anew and gives the step, so that parameters and moments count as live arrays
    device_peak   the device's meter, or None: host memory
    """
    meter = device_peak or _HostPeak()
    meter.start()
    try:
        step = make_step()
        step()
        meter.reset_peak()
        state = meter.current_bytes
        step()
        return LivePeak(meter.peak_bytes, state, meter.meter)
    finally:
        meter.stop()


def peak_figures(peak: LivePeak, on_device: bool) -> dict[str, Any]:
    """The record's figures of a peak that was metered on the host (`live_…`) or on the device (`device_…`)."""
    kind = "device" if on_device else "live"
    return {f"{kind}_peak_bytes": peak.peak_bytes, f"{kind}_meter": peak.meter, "state_bytes": peak.state_bytes}


def process_peak() -> tuple[int | None, str]:
    """Peak resident bytes of this process and the meter's name; (None, "not measured") where there is none.

    Not `resource.getrusage`: a child inherits its parent's ru_maxrss.
    """
    status = Path("/proc/self/status")
    if sys.platform == "linux" and status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024, "VmHWM"
    info = psutil.Process().memory_info()
    if hasattr(info, "peak_wset"):
        return int(info.peak_wset), "psutil peak_wset"
    return None, "not measured"
