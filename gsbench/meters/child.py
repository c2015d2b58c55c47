"""A case in a fresh process: its peak memory, or the news that it does not fit, without harm to the caller.

    python -m gsbench.meters.child < settings.json

takes two full training steps on random pixels and prints one JSON object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import time
from typing import Any

import psutil

from gsbench.meters.memory import process_peak
from gsbench.settings import Settings

POLL_SECONDS = 0.02


@dataclasses.dataclass(frozen=True)
class ChildResult:
    """status "ok" (with `process_peak_bytes`), "out-of-memory" or "failed" (with the reason)."""

    status: str
    reason: str = ""
    process_peak_bytes: int | None = None
    process_meter: str = "not measured"


def _kill_above(process: subprocess.Popen, limit_bytes: int) -> int | None:
    """Waits for the process and kills it once its resident size is above the limit; gives that size, or None."""
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            resident = watched.memory_info().rss
            if resident > limit_bytes:
                process.kill()
                return resident
        time.sleep(POLL_SECONDS)
    return None


def run_in_child(settings: Settings, limit_bytes: int) -> ChildResult:
    """Two steps of the case in a fresh process that may hold `limit_bytes` of host memory."""
    command = [sys.executable, "-W", "ignore", "-m", "gsbench.meters.child"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(dataclasses.asdict(settings)))
        process.stdin.close()
        process.stdin = None
        killed_at = _kill_above(process, limit_bytes)
        out, err = process.communicate()
    if killed_at is not None:
        return ChildResult("out-of-memory", f"a fresh process held {killed_at} bytes, the limit is {limit_bytes}")
    if process.returncode < 0:
        return ChildResult("out-of-memory", f"a fresh process was ended by signal {-process.returncode}")
    if process.returncode != 0:
        return ChildResult("failed", (err.strip().splitlines() or ["no message"])[-1])
    return ChildResult(**json.loads(out))


def main() -> None:
    """Reads settings from standard input, takes two steps, prints the result."""
    from threadpoolctl import threadpool_limits

    from gsbench.case import Case

    settings = Settings(**json.load(sys.stdin))
    threadpool_limits(settings.threads)
    case = Case(settings)
    try:
        case.step()
        case.step()
    except Exception as error:
        if not case.bk.is_out_of_memory(error):
            raise
        result = ChildResult("out-of-memory", f"a fresh process ran out of memory ({error})")
    else:
        peak, meter = process_peak()
        result = ChildResult("ok", "", peak, meter)
    json.dump(dataclasses.asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
