"""The record of one measurement, and the file to which it is written at once."""

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

GROUPS = ("bound", "step", "speedup", "memory", "roofline", "chunk", "peer", "gradient", "training")
STATUSES = ("ok", "unfinished", "diverged", "skipped", "failed", "too-large", "out-of-memory")


def now() -> str:
    """The time now, UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")


def new_run_id() -> str:
    """A new name of a run, such as 20261122T161500-3f9a1c. Names sort by time."""
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"


@dataclasses.dataclass(frozen=True)
class Record:
    """One measurement with its conditions, or the reason for its absence.

    group      the kind of measurement, one of `GROUPS`
    case       the name of the case, unique within the run
    status     one of `STATUSES`; `reason` says why it is not "ok"
    settings   the case (`Settings.record_fields`)
    machine    the conditions (`machine_fields`)
    figures    the measured values, with units in their names
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
    """A JSON-lines file. Each record is written at once, as a whole line, and flushed to the disk.

    A full disk neither stops the run nor loses a record. Lines that could not be written stay in `waiting` and are
    tried again with the next record. `problem` is the system's error message, or "" if nothing waits.
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
        """Tries again to write the waiting lines."""
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
        """A message with all records that could not be written, or "" if there are none.

        If no file can take the records, the text in the terminal is their only copy.
        """
        if not self.waiting:
            return ""
        count = f"{len(self.waiting)} record{'s' if len(self.waiting) > 1 else ''}"
        return (
            f"{count} could not be written to {self.path}: {self.problem}\n"
            "Here are their lines; `gsbench report` reads them from a file whose name ends in .jsonl:\n"
        ) + "".join(self.waiting)


def _append_whole(path: Path, lines: bytes) -> None:
    """Appends lines to a file and flushes them to the disk, or leaves the file as it was. Raises OSError.

    If an earlier partial line is still at the end of the file, a new line begins first, so that only that one is lost.
    """
    with path.open("a+b", buffering=0) as file:  # a buffer would write its rest when the file is closed
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":
                lines = b"\n" + lines
        try:
            while lines:  # a disk that fills up writes only a part
                lines = lines[file.write(lines) or 0 :]
            os.fsync(file.fileno())
        except BaseException:  # also Ctrl-C
            file.truncate(end)
            raise
