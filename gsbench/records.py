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
    """A JSON-lines file to which each record is written as it comes: a whole line, flushed to the disk.

    A disk that takes no more ends nothing and costs no record. What could not be written is kept in `waiting`, as
    lines, and tried again with the next record; `problem` says what the system said, and is "" where nothing waits.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[str] = []
        self.problem = ""
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: Record) -> None:
        self.waiting.append(json.dumps(record.flat(), allow_nan=False) + "\n")
        self.write_waiting()

    def write_waiting(self) -> None:
        """Writes what could not be written before, as far as the disk takes it now."""
        if not self.waiting:
            return
        try:
            _append_whole(self.path, "".join(self.waiting).encode())
        except OSError as error:
            self.problem = str(error)
        else:
            self.waiting.clear()
            self.problem = ""

    def unwritten(self) -> str:
        """What to tell of the records that could not be written, with the records themselves; "" where there are none.

        Where no file takes them, the terminal's text is the only place in which they last.
        """
        if not self.waiting:
            return ""
        count = f"{len(self.waiting)} record{'s' if len(self.waiting) > 1 else ''}"
        return (
            f"{count} could not be written to {self.path}: {self.problem}\n"
            "Here as lines, which `gsbench report` reads from a file whose name ends in .jsonl:\n"
        ) + "".join(self.waiting)


def _append_whole(path: Path, lines: bytes) -> None:
    """Appends lines to a file and flushes them to the disk, or leaves the file as it was. Raises OSError.

    Where the end of an earlier line could not be cut off, a new line is begun first, so that no other is spoilt.
    """
    with path.open("a+b", buffering=0) as file:  # what a buffer holds back would be written when the file is closed
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                lines = b"\n" + lines
        try:
            while lines:  # a disk that fills up takes a part of them
                lines = lines[file.write(lines) or 0 :]
            os.fsync(file.fileno())
        except BaseException:  # a Ctrl-C too
            file.truncate(end)
            raise
