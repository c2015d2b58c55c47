"""What one measurement says, and the file that has it at once."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import secrets
from pathlib import Path
from typing import Any

from gsbench.values import not_known

SCHEMA_VERSION = 1

GROUPS = ("bound", "step", "speedup", "memory", "accuracy", "roofline", "chunk", "peer", "gradient", "training")
STATUSES = ("ok", "unfinished", "diverged", "skipped", "failed", "too-large", "out-of-memory")


def now() -> str:
    """The time now, UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def new_run_id() -> str:
    """A name for one run that sorts by time, such as 20261122T161500-3f9a1c."""
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


@dataclasses.dataclass(frozen=True)
class Record:
    """One measurement with its conditions, or the reason why there is none.

    group      what was measured, one of `GROUPS`
    case       its name, unique within the run
    status     one of `STATUSES`; `reason` says why it is not "ok"
    settings   the case (`Settings.record_fields`)
    machine    the conditions (`machine_fields`)
    figures    what was measured, units in the names
    """

    run_id: str
    group: str
    case: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: str = "ok"
    reason: str = ""
    recorded_at: str = dataclasses.field(default_factory=now)

    def __post_init__(self) -> None:
        if self.group not in GROUPS:
            raise ValueError(f"unknown group {not_known(self.group, GROUPS)}")
        if self.status not in STATUSES:
            raise ValueError(f"unknown status {not_known(self.status, STATUSES)}")

    def flat(self) -> dict[str, Any]:
        """The record as one flat dict."""
        own = ("run_id", "recorded_at", "group", "case", "status", "reason")
        head = {"schema_version": SCHEMA_VERSION, **{name: getattr(self, name) for name in own}}
        return {**head, **self.settings, **self.figures, **self.machine}


class RecordFile:
    """A JSON-lines file to which each record is written as it comes: a whole line, flushed to the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: Record) -> None:
        line = json.dumps(record.flat(), allow_nan=False) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
