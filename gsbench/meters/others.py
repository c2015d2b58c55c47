"""How busy other programs kept the machine while something was measured: what makes times noisy."""

from __future__ import annotations

import time

import psutil

IDLE = ("idle", "iowait")
SHORTEST_SECONDS = 0.5  # of shorter times the system's clock ticks, of 10 ms, tell little
TWICE = ("guest", "guest_nice")  # Linux counts a guest's time as its host process's too


class OtherPrograms:
    """A meter of the processor time that goes to others: to all but this process and its children that have ended, and,
    where the machine is a virtual one, to its host's other guests.
    """

    def __init__(self) -> None:
        self._last = self._reading()

    def cores(self) -> float | None:
        """How many cores they kept busy since the last call, or since the meter was made: others' seconds a second.
        None within half a second, of which nothing can be told.
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
