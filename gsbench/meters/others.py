"""Measures how busy other programs keep the machine during a measurement, because they make times noisy."""

from __future__ import annotations

import time

import psutil

IDLE = ("idle", "iowait")
SHORTEST_SECONDS = 0.5  # the system counts in ticks of 10 ms, too coarse for less
TWICE = ("guest", "guest_nice")  # Linux counts a guest's time as its host process's too


class OtherPrograms:
    """Measures processor time of other programs: all but this process and its children that have ended. On a virtual
    machine, time that the host gives to its other guests counts too.
    """

    def __init__(self) -> None:
        self._last = self._reading()

    def cores(self) -> float | None:
        """Mean number of cores that other programs kept busy since the last call, or since the meter was made.
        None if less than half a second has passed, because the system's clock is too coarse for that.
        """
        before, self._last = self._last, self._reading()
        (others, at), (others_before, at_before) = self._last, before
        if at - at_before < SHORTEST_SECONDS:
            return None
        return round(max(0.0, others - others_before) / (at - at_before), 2)

    @staticmethod
    def _reading() -> tuple[float, float]:
        of_all = psutil.cpu_times()
        busy = sum(getattr(of_all, name) for name in of_all._fields if name not in (*IDLE, *TWICE))
        own = psutil.Process().cpu_times()
        return busy - sum(own[:4]), time.perf_counter()  # user and system time, of the process and of its children
