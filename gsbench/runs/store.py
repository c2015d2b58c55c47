"""A folder of training runs, each in a folder of its own: its record, its checkpoint, its images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from gsbench.data.locations import read_arrays
from gsbench.files import write_whole

# Statuses that a run ends with for good: the same settings would give the same. What failed is tried again.
FINISHED = ("ok", "diverged")
RECORD, CHECKPOINT, IMAGES, LOCK = "record.jsonl", "checkpoint.npz", "images.npz", "lock"
META = "meta"  # in a checkpoint, beside the arrays: JSON


class Store:
    """A folder of runs. What a run writes is its own, and written whole or not at all: any number of processes, on any
    machines that share the folder, may add to it, and it can be read at any time.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def run(self, key: str) -> Path:
        return self.folder / key

    def lock(self, key: str, wait: bool = True) -> FileLock:
        """Whoever makes a run holds its lock; the system takes it back from a process that is killed."""
        self.run(key).mkdir(parents=True, exist_ok=True)
        return FileLock(self.run(key) / LOCK, timeout=-1 if wait else 0)

    def record(self, key: str) -> dict[str, Any] | None:
        """The run's record, or None where there is none."""
        try:
            return dict(json.loads((self.run(key) / RECORD).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def finished(self, key: str) -> bool:
        record = self.record(key)
        return record is not None and record["status"] in FINISHED

    def write_record(self, key: str, record: dict[str, Any]) -> None:
        """Replaces the run's record: one line of JSON."""
        line = json.dumps(record, allow_nan=False) + "\n"
        write_whole(self.run(key) / RECORD, lambda file: file.write(line.encode()))

    def write_checkpoint(self, key: str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        whole: dict[str, Any] = {**arrays, META: np.frombuffer(json.dumps(meta).encode(), np.uint8)}
        write_whole(self.run(key) / CHECKPOINT, lambda file: np.savez(file, **whole))

    def checkpoint(self, key: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Arrays and what stands beside them, or None where there is no checkpoint. Raises DataFileError where it is
        damaged.
        """
        try:
            arrays = read_arrays(self.run(key) / CHECKPOINT)
        except FileNotFoundError:
            return None
        return arrays, json.loads(arrays.pop(META).tobytes())

    def drop_checkpoint(self, key: str) -> None:
        (self.run(key) / CHECKPOINT).unlink(missing_ok=True)
