"""Bytes: live arrays over a step, and the peak of a process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gsbench.backends.base import MemoryPeak
from gsbench.backends.host_memory import HostMemoryPeak


@dataclass(frozen=True)
class LivePeak:
    """Peak bytes of live arrays over one step, `state_bytes` of which were live before it (parameters, the optimiser's
    moments, the minibatch)."""

    peak_bytes: int
    state_bytes: int
    meter: str
    reserved_bytes: int | None = None


def live_peak(make_step: Callable[[], Callable[[], object]], meter: MemoryPeak | None = None) -> LivePeak:
    """Builds a case under the meter, takes one step to warm up, and measures the next.

    make_step   builds everything anew and gives the step, so that parameters and moments count as live arrays
    meter       the backend's `memory_peak`; None: NumPy's arrays alone
    """
    meter = meter or HostMemoryPeak()
    meter.start()
    try:
        step = make_step()
        step()
        meter.reset_peak()
        state = meter.current_bytes
        step()
        return LivePeak(meter.peak_bytes, state, meter.meter, meter.reserved_bytes)
    finally:
        meter.stop()


def peak_figures(peak: LivePeak, on_device: bool) -> dict[str, Any]:
    """The record's figures of a peak that was metered on the host (`live_…`) or on the device (`device_…`)."""
    kind = "device" if on_device else "live"
    figures = {f"{kind}_peak_bytes": peak.peak_bytes, f"{kind}_meter": peak.meter, "state_bytes": peak.state_bytes}
    return figures if peak.reserved_bytes is None else {**figures, "device_reserved_bytes": peak.reserved_bytes}


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
