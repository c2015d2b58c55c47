"""Runs a case in a fresh process and reports its peak memory, or that it does not fit. The caller stays unharmed.

    python -m gsbench.meters.child step < settings.json

takes two full training steps (`unlabelled-step`: steps on unlabelled examples alone) on random pixels and prints one
JSON object. The peers' processes are commands of the same form, watched in the same way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil
from threadpoolctl import threadpool_limits

from gsbench.meters.allocator import keep_memory, release_memory
from gsbench.meters.case import Case
from gsbench.meters.memory import process_peak
from gsbench.settings.case import Settings

POLL_SECONDS = 0.02
TIMEOUT_SECONDS = 900.0

# The steps that a child takes, and the method of `Case` that takes them.
STEPS = {"step": "step", "unlabelled-step": "unlabelled_step"}


@dataclasses.dataclass(frozen=True)
class ChildResult:
    """status "ok" (with `process_peak_bytes`), "out-of-memory" or "failed" (with the reason).

    `process_start_bytes` counts the libraries, the model and the minibatch: the process's memory before its first step.
    """

    status: str
    reason: str = ""
    process_peak_bytes: int | None = None
    process_meter: str = "not measured"
    process_start_bytes: int | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """The figures of peak memory, under their names in records."""
        return {"process_peak_bytes": self.process_peak_bytes, "process_meter": self.process_meter}


def _watch(process: subprocess.Popen[bytes], limit_bytes: int | None, timeout_seconds: float) -> ChildResult | None:
    """Waits for the process. Kills it and says why if it exceeds the memory limit or the time limit."""
    watched = psutil.Process(process.pid)
    deadline = time.monotonic() + timeout_seconds
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            resident = watched.memory_info().rss
            if limit_bytes is not None and resident > limit_bytes:
                process.kill()
                reason = f"a fresh process held {resident} bytes, the limit is {limit_bytes}"
                return ChildResult("out-of-memory", reason)
        if time.monotonic() > deadline:
            process.kill()
            return ChildResult("failed", f"two steps in a fresh process took longer than {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)
    return None


def own_command(timed: str = "step") -> list[str]:
    """The command that takes a `Case`'s steps. `timed` is one of `STEPS`."""
    return [sys.executable, "-W", "ignore", "-m", "gsbench.meters.child", timed]


def run_in_child(
    settings: Settings,
    limit_bytes: int | None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    command: Sequence[str] | None = None,
) -> ChildResult:
    """Two steps of the case in a fresh process that may hold `limit_bytes` of host memory (None: any number).

    command   reads the settings from its standard input and prints a `ChildResult`, as `main` does.
              None: gsbench's own full training steps
    """
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        release_memory()  # the fresh process may need it
        json.dump(dataclasses.asdict(settings), given)
        given.seek(0)
        # Memory tracing takes memory itself, which must not count in the peak.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONTRACEMALLOC"}
        command = command or own_command()
        with subprocess.Popen(command, stdin=given, stdout=out, stderr=err, env=environment) as process:
            ended = _watch(process, limit_bytes, timeout_seconds)
        out.seek(0), err.seek(0)
        if ended is not None:
            return ended
        if process.returncode == -signal.SIGKILL:  # the system kills a process this way when memory is short
            return ChildResult("out-of-memory", "a fresh process was killed by the system")
        if process.returncode != 0:
            last = (err.read().strip().splitlines() or ["no message"])[-1]
            return ChildResult("failed", f"{last} (exit status {process.returncode})")
        return ChildResult(**json.load(out))


def two_steps(
    step: Callable[[], object], is_out_of_memory: Callable[[BaseException], bool] = lambda e: isinstance(e, MemoryError)
) -> ChildResult:
    """Takes two steps in this process and returns its peak memory, or that memory ran out."""
    start = int(psutil.Process().memory_info().rss)
    try:
        step()
        step()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return ChildResult("out-of-memory", f"a fresh process ran out of memory ({error})")
    return ChildResult("ok", "", *process_peak(), start)


def print_result(result: ChildResult) -> None:
    json.dump(dataclasses.asdict(result), sys.stdout)


def main() -> None:
    """Reads settings from standard input, takes two steps, prints the result."""
    settings = Settings(**json.load(sys.stdin))
    threadpool_limits(settings.threads)
    keep_memory()
    case = Case(settings)
    print_result(two_steps(getattr(case, STEPS[sys.argv[1]]), case.bk.is_out_of_memory))


if __name__ == "__main__":
    main()
