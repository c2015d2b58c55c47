"""A folder of training runs. Each run has its own folder with its record, checkpoint and images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from gsbench.data import DataFileError
from gsbench.data.locations import read_arrays
from gsbench.files import write_whole

# Final statuses: the same settings would give the same result. Failed runs are tried again.
FINISHED = ("ok", "diverged")
FAILED = ("failed", "too-large", "out-of-memory")
RECORD, CHECKPOINT, IMAGES, LOCK = "record.jsonl", "checkpoint.npz", "images.npz", "lock"
META = "meta"  # in a checkpoint, beside the arrays: JSON
BEGIN_ANEW = "delete the checkpoint, and the same command begins the run anew"

# The fields that are read from a record, if present.
_NUMBER = (int, float, type(None))
_READ: dict[str, tuple[type, ...]] = {
    "status": (str,), "reason": (str,), "step": (int, type(None)), "epoch": _NUMBER, "train_seconds": _NUMBER,
    "validation_accuracy": _NUMBER, "test_accuracy": _NUMBER,
}  # fmt: skip


class Store:
    """A folder of runs. Each run writes only its own files, completely or not at all. So any number of processes, on
    any machines that share the folder, may add to it, and it can be read at any time.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def run(self, key: str) -> Path:
        return self.folder / key

    def lock(self, key: str, wait: bool = True) -> FileLock:
        """The lock that a process holds while it makes the run. The system releases it if the process is killed."""
        self.run(key).mkdir(parents=True, exist_ok=True)
        return FileLock(self.run(key) / LOCK, timeout=-1 if wait else 0)

    def record(self, key: str) -> dict[str, Any] | None:
        """The run's record, or None if no record can be read. Such a run counts as unfinished."""
        return self._record(key)[0]

    def problem(self, key: str) -> str:
        """Why the run's record cannot be read; "" if it can be read or does not exist."""
        return self._record(key)[1]

    def _record(self, key: str) -> tuple[dict[str, Any] | None, str]:
        path = self.run(key) / RECORD
        try:
            record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        except FileNotFoundError:
            return None, ""
        except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
            return None, f"{path} is no record of a run: {error}"
        if not isinstance(record, dict) or "status" not in record:
            return None, f"{path} is no record of a run: it has no status"
        for name, kinds in _READ.items():
            if name in record and (not isinstance(record[name], kinds) or isinstance(record[name], bool)):
                return None, f"{path} is no record of a run: its {name} is a {type(record[name]).__name__}"
        return record, ""

    def with_figures_kept(self, key: str, failure: dict[str, Any]) -> dict[str, Any]:
        """The record of a failure. The figures that it lacks come from the record that it replaces."""
        return {**(self.record(key) or {}), **failure}

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
        """The checkpoint's arrays and meta data, or None if there is no checkpoint.

        Raises DataFileError, which names the file and says what to do, if it is damaged.
        """
        path = self.run(key) / CHECKPOINT
        try:
            arrays = read_arrays(path)
        except FileNotFoundError:
            return None
        except DataFileError as error:
            raise DataFileError(f"{error}; {BEGIN_ANEW}") from error
        try:
            meta = json.loads(arrays.pop(META).tobytes())
        except (KeyError, ValueError, RecursionError) as error:
            raise self.refusal(key, f"{META!r} cannot be read ({type(error).__name__})") from error
        if not isinstance(meta, dict):
            raise self.refusal(key, f"{META!r} is a {type(meta).__name__}")
        return arrays, meta

    def refusal(self, key: str, problem: str) -> DataFileError:
        """The error of a checkpoint from which a run cannot resume."""
        return DataFileError(f"{self.run(key) / CHECKPOINT} is not a checkpoint of this run: {problem}; {BEGIN_ANEW}")

    def drop_checkpoint(self, key: str) -> None:
        (self.run(key) / CHECKPOINT).unlink(missing_ok=True)


def _refuse_constant(name: str) -> None:
    """Raises ValueError, because JSON has no NaN and no Infinity."""
    raise ValueError(f"{name} is no JSON")
