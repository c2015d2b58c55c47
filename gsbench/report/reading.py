"""Benchmark files → records: JSON lines (`*.jsonl`) and pytest-benchmark's saved JSON (`*.json`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gsbench.records import SCHEMA_VERSION, STATUSES

Record = dict[str, Any]

REQUIRED = ("run_id", "group", "case", "status")
TRAINING = "training"
IMAGES = "_images"  # key of a record: the path of the run's file of images; never published
IMAGES_FILE = "images.npz"
MAKE_A_RUN = "pytest bench/ --benchmark-autosave"


class ReportError(ValueError):
    """Something given to the report cannot be used; the message names it and says what is allowed."""


@dataclass(frozen=True)
class Reading:
    """Records in the order in which they were read, and notices: what has to be told about them."""

    records: tuple[Record, ...]
    notices: tuple[str, ...] = ()


def read_files(paths: Iterable[Path]) -> Reading:
    """The records of all the files named, each case of a run once. Raises ReportError, naming the file.

    A path may be a folder, such as a store of training runs: see `read_folder`.
    """
    readings = [read_folder(path) if path.is_dir() else read_file(path) for path in map(Path, paths)]
    records = [record for reading in readings for record in reading.records]
    notices = [notice for reading in readings for notice in reading.notices]
    return Reading(unique(records), tuple(dict.fromkeys(notices)))


def read_folder(folder: Path) -> Reading:
    """The records of all the benchmark files in a folder, searched in depth.

    A file there that cannot be read is left out, and a notice names it. Raises ReportError where no file can be.
    """
    readings, notices = _readings_under(folder)
    if not readings:
        raise ReportError(f"no benchmark file under {str(folder)!r}: allowed are {_indented(SUFFIXES, notices)}")
    records = [record for _, reading in readings for record in reading.records]
    notices += [notice for _, reading in readings for notice in reading.notices]
    return Reading(tuple(records), tuple(notices))


def read_newest(storage: Path) -> Reading:
    """The newest run under a storage folder, searched in depth, from all the files that hold a part of it.

    A file there that cannot be read does not stop the report: it is left out, and a notice names it.
    Raises ReportError when no run is found.
    """
    readings, notices = _readings_under(Path(storage))
    if not readings:
        how = _indented(f"make one with: {MAKE_A_RUN}", notices)
        raise ReportError(f"no benchmark run under {str(storage)!r}; {how}")
    newest = _newest_run(readings)
    records: list[Record] = []
    for _, reading in readings:
        of_run = [record for record in reading.records if record["run_id"] == newest]
        records += of_run
        notices += reading.notices if of_run else ()
    return Reading(unique(records), tuple(dict.fromkeys(notices)))


def _readings_under(folder: Path) -> tuple[list[tuple[Path, Reading]], list[str]]:
    """All the files that can be read, and a notice for each of the others."""
    readings: list[tuple[Path, Reading]] = []
    notices: list[str] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in READERS and p.is_file()):
        try:
            readings.append((path, read_file(path)))
        except ReportError as error:
            notices.append(f"Left out: {str(error).replace(str(path), str(path.relative_to(folder)))}.")
    return readings, notices


def _indented(first: str, notices: Iterable[str]) -> str:
    """The notices below, a line each."""
    return "\n  ".join([first, *notices])


def _newest_run(readings: Sequence[tuple[Path, Reading]]) -> str:
    """The `run_id` that was written to last; where a record carries no time, its file's counts."""
    last: dict[str, datetime] = {}
    for path, reading in readings:
        of_file = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        for record in reading.records:
            time = recorded_at(record) or of_file
            last[record["run_id"]] = max(time, last.get(record["run_id"], time))
    return max(last, key=lambda run_id: (last[run_id], run_id))


def read_file(path: Path) -> Reading:
    """The records of one file. Raises ReportError, naming it, when it is missing or is no benchmark file."""
    if path.suffix not in READERS:
        raise _not_ours(path, f"its name ends in {path.suffix!r}, allowed are {SUFFIXES}")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ReportError(f"no such file: {path}") from None
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror}") from None
    reading = READERS[path.suffix](path, content)
    if not reading.records:
        raise _not_ours(path, "it holds no whole record")
    return Reading(tuple(_with_images(record, path) for record in reading.records), reading.notices)


def _with_images(record: Record, path: Path) -> Record:
    """The record of a training run, in the run's own folder, with the path of the images that lie beside it."""
    images = path.with_name(IMAGES_FILE)
    is_own = record["group"] == TRAINING and path.parent.name == record["case"]
    return {**record, IMAGES: str(images)} if is_own and images.is_file() else record


def _read_lines(path: Path, content: bytes) -> Reading:
    """JSON lines. A last line without its end of line was cut off by a kill: it is dropped with a notice."""
    *lines, rest = content.split(b"\n")
    records = [_parse_line(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rest.strip():
        return Reading(tuple(records))
    try:
        record = json.loads(rest)
    except ValueError:
        where = f"The last line of {path.name} (line {len(lines) + 1})"
        notice = f"{where} was cut off, as when a run is killed, and is left out."
        return Reading(tuple(records), (notice,))
    records.append(_check(record, path, f"line {len(lines) + 1}"))
    return Reading(tuple(records))


def _parse_line(path: Path, number: int, line: bytes) -> Record:
    try:
        return _check(json.loads(line), path, f"line {number}")
    except ReportError:
        raise
    except ValueError as error:
        raise _not_ours(path, f"line {number} is not JSON ({error})") from None


def _read_saved(path: Path, content: bytes) -> Reading:
    """pytest-benchmark's JSON: our key `gsbench_records`; without it, what each benchmark's `extra_info`
    holds.
    """
    try:
        saved = json.loads(content)
    except ValueError as error:
        raise _not_ours(path, f"it is not JSON ({error})") from None
    if not isinstance(saved, dict):
        raise _not_ours(path, f"it holds a JSON {type(saved).__name__}, not an object")
    if "gsbench_records" in saved:
        found = saved["gsbench_records"]
    else:
        found = [info for info in _extra_infos(saved) if "schema_version" in info]
        if not found:
            raise _not_ours(path, "it has neither 'gsbench_records' nor an 'extra_info' with 'schema_version'")
    if not isinstance(found, list):
        raise _not_ours(path, f"'gsbench_records' is a JSON {type(found).__name__}, not a list")
    return Reading(tuple(_check(record, path, f"record {number}") for number, record in enumerate(found, 1)))


def _extra_infos(saved: Record) -> list[Record]:
    benchmarks = saved.get("benchmarks")
    infos = [b.get("extra_info") for b in benchmarks if isinstance(b, dict)] if isinstance(benchmarks, list) else []
    return [info for info in infos if isinstance(info, dict)]


READERS = {".jsonl": _read_lines, ".json": _read_saved}
SUFFIXES = " and ".join(READERS)


def _check(record: Any, path: Path, where: str) -> Record:
    """The record itself, or a ReportError that says what it lacks."""
    if not isinstance(record, dict):
        raise _not_ours(path, f"{where} is a JSON {type(record).__name__}, not an object")
    if record.get("schema_version") != SCHEMA_VERSION:
        got = record.get("schema_version")
        raise _not_ours(path, f"{where} has schema_version {got!r}, this gsbench reads {SCHEMA_VERSION}")
    for key in REQUIRED:
        if not isinstance(record.get(key), str):
            raise _not_ours(path, f"{where} needs the text {key!r}, got {record.get(key)!r}")
    if record["status"] not in STATUSES:
        raise _not_ours(path, f"{where} has status {record['status']!r}; known: {', '.join(STATUSES)}")
    return record


def _not_ours(path: Path, why: str) -> ReportError:
    return ReportError(f"{path} is no gsbench benchmark file: {why}")


def unique(records: Iterable[Record]) -> tuple[Record, ...]:
    """Each (run_id, case) once, in the order of first sight; of several, the one recorded last.

    The case of a training run is its key, which stands for all its settings: it counts once whatever its run_id.
    """
    kept: dict[tuple[str, str], Record] = {}
    for record in records:
        key = (TRAINING if record["group"] == TRAINING else record["run_id"], record["case"])
        if key not in kept or _time_or_epoch(record) > _time_or_epoch(kept[key]):
            kept[key] = record
    return tuple(kept.values())


def _time_or_epoch(record: Record) -> datetime:
    return recorded_at(record) or datetime.fromtimestamp(0, timezone.utc)


def recorded_at(record: Record) -> datetime | None:
    """When the record was made (UTC); None where it does not say so in ISO 8601."""
    text = record.get("recorded_at")
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not know the Z
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
