"""Benchmark files → records: JSON lines (`*.jsonl`) and pytest-benchmark's saved JSON (`*.json`).

Unreadable parts are left out, and a notice names the file and the line. Such a part is a torn line, a record with a
value that its field does not allow (`gsbench.records.schema`), a file, or a folder.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from gsbench.records.schema import fault

Record = dict[str, Any]

TRAINING, ACCURACY = "training", "accuracy"  # ACCURACY: the group of short runs of the benchmark in old records
IMAGES = "_images"  # key of a record: the path of the run's file of images; never published
IMAGES_FILE, RECORD_FILE = "images.npz", "record.jsonl"
MAKE_A_RUN = "gsbench bench"
BEGIN = '{"schema_version"'  # each record by gsbench begins with this
MOST_TOLD = 5  # notices for one file
OF_A_LINE = "Delete it to be rid of this notice; what was in it can be measured again."
OF_A_FILE = "Move it elsewhere to be rid of this notice."


class ReportError(ValueError):
    """An input of the report cannot be used. The message names it and says what is allowed."""


class Unreadable(ReportError):
    """A file or folder exists but cannot be read, or holds no record."""


@dataclass(frozen=True)
class Reading:
    """Records in the order of reading, and notices about them for the reader."""

    records: tuple[Record, ...]
    notices: tuple[str, ...] = ()


def read_files(paths: Iterable[Path]) -> Reading:
    """The records of all the given files, each case of a run once.

    A path may be a folder, such as a store of training runs: see `read_folder`. If only some files can be read, the
    others are left out, and a notice names each. Raises ReportError, which names the file, if a file is missing, if its
    suffix is not allowed, or if nothing can be read.
    """
    readings, notices, errors = [], [], []
    for path in map(Path, paths):
        try:
            readings.append(read_folder(path) if os.path.isdir(path) else read_file(path))
        except Unreadable as error:
            errors.append(error)
            notices.append(_left_out(str(error).replace(str(path), _shown(path))))
    if errors and not readings:
        raise errors[0] if len(errors) == 1 else ReportError("\n  ".join(map(str, errors)))
    records = [record for reading in readings for record in reading.records]
    notices += [notice for reading in readings for notice in reading.notices]
    return Reading(unique(records), tuple(dict.fromkeys(notices)))


def read_folder(folder: Path) -> Reading:
    """The records of all benchmark files in a folder and its subfolders.

    Unreadable files are left out, and a notice names each. Raises ReportError if no file can be read.
    """
    readings, notices = _readings_under(folder)
    if not readings:
        raise Unreadable(f"no benchmark file under {str(folder)!r}: allowed are {_indented(SUFFIXES, notices)}")
    records = [record for _, reading in readings for record in reading.records]
    notices += [notice for _, reading in readings for notice in reading.notices]
    return Reading(tuple(records), tuple(notices))


def read_newest(storage: Path) -> Reading:
    """The newest run in a storage folder and its subfolders, from all files that hold a part of it.

    Unreadable files do not stop the report: they are left out, and a notice names each.
    Raises ReportError if no run is found.
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
    """All readable files with their records, and a notice for each unreadable file and folder."""
    readings: list[tuple[Path, Reading]] = []
    paths, notices = _files_under(folder)
    for path in paths:
        shown = str(path.relative_to(folder))
        try:
            readings.append((path, read_file(path, shown)))
        except ReportError as error:
            notices.append(_left_out(str(error).replace(str(path), shown)))
    return readings, notices


def _files_under(folder: Path) -> tuple[list[Path], list[str]]:
    """The files with the suffix of a benchmark file, and a notice for each unreadable folder."""
    notices: list[str] = []

    def tell(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            shown = os.path.relpath(error.filename, folder)
            notices.append(f"Left out: the folder {shown} cannot be read ({error.strerror}). Look at its rights.")

    walked = os.walk(folder, onerror=tell)
    paths = [Path(at, name) for at, _, names in walked for name in names if Path(name).suffix in READERS]
    return sorted(path for path in paths if not _is_special(path)), notices


def _is_special(path: Path) -> bool:
    """Whether the path is a pipe, a socket or a device. False if unknown: reading the path will give the error."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _left_out(why: str) -> str:
    first, *more = why.split("\n")
    return "\n".join([f"Left out: {first}. {OF_A_FILE}", *more])


def _shown(path: Path) -> str:
    """A file's name in a notice. Notices are published, so no folder is named except a training run's."""
    return f"{path.parent.name}/{path.name}" if path.name == RECORD_FILE else path.name


def _indented(first: str, notices: Iterable[str]) -> str:
    """The first line, and the notices below it, a line each."""
    return "\n  ".join([first, *notices])


def _newest_run(readings: Sequence[tuple[Path, Reading]]) -> str:
    """The `run_id` with the latest record. A record without a time takes its file's."""
    last: dict[str, datetime] = {}
    for path, reading in readings:
        of_file = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        for record in reading.records:
            time = recorded_at(record) or of_file
            last[record["run_id"]] = max(time, last.get(record["run_id"], time))
    return max(last, key=lambda run_id: (last[run_id], run_id))


def read_file(path: Path, shown: str | None = None) -> Reading:
    """The records of one file; `shown` is its name in notices.

    Raises ReportError, which names the file, if it is missing, unreadable, or no benchmark file.
    """
    if path.suffix not in READERS and os.path.exists(path):
        raise ReportError(f"{path} is no gsbench benchmark file: its name ends in {path.suffix!r}, allowed: {SUFFIXES}")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        what = "file" if path.suffix in READERS else "file or folder"
        raise ReportError(f"no such {what}: {path}") from None
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    found = [_checked(where, value) for where, value in READERS[path.suffix](path, content)]
    faults = [f"{where} {why}" for where, record, why in found if why]
    records = tuple(_with_images(record, path) for _, record, why in found if not why)
    if not records:
        told = ["it holds no whole record", *faults[:MOST_TOLD], *_more(faults)]
        raise _not_ours(path, "\n  ".join(told))
    name = shown or _shown(path)
    notices = [f"Left out: {name}, {told}. {OF_A_LINE}" for told in faults[:MOST_TOLD]]
    return Reading(records, (*notices, *(f"Left out: {name}, {told}." for told in _more(faults))))


def _more(faults: Sequence[str]) -> list[str]:
    return [f"{len(faults) - MOST_TOLD} more lines or records of it"] if len(faults) > MOST_TOLD else []


def _with_images(record: Record, path: Path) -> Record:
    """The record, with the path of the images beside it if this is a training run in its own folder."""
    images = path.with_name(IMAGES_FILE)
    is_own = record["group"] == TRAINING and path.parent.name == record["case"]
    return {**record, IMAGES: str(images)} if is_own and images.is_file() else record


@dataclass(frozen=True)
class Torn:
    """Stands in place of an unreadable record, with the reason."""

    why: str


Found = Iterator[tuple[str, Any]]  # (place in the file, parsed JSON or Torn)


def _read_lines(path: Path, content: bytes) -> Found:
    """Reads JSON lines. A line torn by a full disk or a kill may have whole records before and after it."""
    *lines, rest = content.split(b"\n")
    for number, line in enumerate(lines, 1):
        yield from _read_line(f"line {number}:", line)
    if rest.strip():
        yield from _read_line(f"the last line (line {len(lines) + 1}):", rest)


def _read_line(where: str, line: bytes) -> Found:
    try:
        yield where, json.loads(line)
    except RecursionError:
        yield where, Torn("it is nested too deeply to be read")
    except ValueError as error:
        if line.strip():
            yield from _read_glued(where, line.decode("utf-8", "surrogateescape").strip(), error)


def _read_glued(where: str, line: str, error: ValueError) -> Found:
    """The whole records in a line that is not JSON, because records may be glued together; and a Torn for the rest."""
    decoder, at, torn = json.JSONDecoder(), 0, ""
    while at < len(line):
        try:
            record, end = decoder.raw_decode(line, at)
            line[at:end].encode()  # raises ValueError if it holds bytes that are not text
            if not isinstance(record, dict):
                raise ValueError
            yield where, record
            at = end + len(line[end:]) - len(line[end:].lstrip())
        except (ValueError, RecursionError):
            following = line.find(BEGIN, at + 1)
            torn = torn or line[at:]
            at = following if following > 0 else len(line)
    if torn:
        begun = torn.startswith("{") and not isinstance(error, UnicodeDecodeError)
        cut_off = "it was cut off, as when the disk is full or a run is killed"
        yield where, Torn(cut_off if begun else f"it is not JSON ({error})")


def _read_saved(path: Path, content: bytes) -> Found:
    """Reads pytest-benchmark's JSON: our key `gsbench_records` or, without it, each benchmark's `extra_info`."""
    try:
        saved = json.loads(content)
    except RecursionError:
        raise _not_ours(path, "it is nested too deeply to be read") from None
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
    yield from ((f"record {number}:", record) for number, record in enumerate(found, 1))


def _extra_infos(saved: Record) -> list[Record]:
    benchmarks = saved.get("benchmarks")
    infos = [b.get("extra_info") for b in benchmarks if isinstance(b, dict)] if isinstance(benchmarks, list) else []
    return [info for info in infos if isinstance(info, dict)]


READERS: dict[str, Callable[[Path, bytes], Found]] = {".jsonl": _read_lines, ".json": _read_saved}
SUFFIXES = " and ".join(READERS)


def _checked(where: str, value: Any) -> tuple[str, Record, str]:
    """The place, the record, and the fault of the record, or ""."""
    if isinstance(value, Torn):
        return where, {}, value.why
    why = fault(value)
    return (where, {}, why) if why else (where, _storable(value), "")


def _storable(value: Any) -> Any:
    """The value, also within lists, with lone surrogates written out, as `\\ud83d`, because no file can hold them."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items() if key != IMAGES}
    return value


def _not_ours(path: Path, why: str) -> Unreadable:
    return Unreadable(f"{path} is no gsbench benchmark file: {why}")


def unique(records: Iterable[Record]) -> tuple[Record, ...]:
    """Each (run_id, case) once, in the order of first appearance. Of several records, the latest is kept.

    The case of a training run that ends at a step is a key of all its settings, so it counts once, whatever its run_id.
    """
    kept: dict[tuple[str, str], Record] = {}
    for record in records:
        key = (TRAINING if ends_at_a_step(record) else record["run_id"], record["case"])
        if key not in kept or _time_or_epoch(record) > _time_or_epoch(kept[key]):
            kept[key] = record
    return tuple(kept.values())


def ends_at_a_step(of: Any) -> Any:
    """Whether a record is a training run with a budget of epochs, steps or patience; for a frame, each row's answer.

    All other training runs end by the clock, as the short runs of the benchmark do. Their accuracy depends on the
    machine and on other programs, so they belong to their session of measuring.
    """
    budgets = [pd.notna(of.get(name)) for name in ("budget_epochs", "budget_steps", "budget_patience")]
    return (of["group"] == TRAINING) & functools.reduce(operator.or_, budgets)


def in_one_group(record: Record) -> Record:
    """The record, with group TRAINING if it has the old group ACCURACY. Old short runs had the default recipe, and do
    not record it.
    """
    return {**record, "group": TRAINING} if record["group"] == ACCURACY else record


def _time_or_epoch(record: Record) -> datetime:
    return recorded_at(record) or datetime.fromtimestamp(0, timezone.utc)


def recorded_at(record: Record) -> datetime | None:
    """The time of the record (UTC); None if it has no time in ISO 8601."""
    text = record.get("recorded_at")
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 does not parse Z
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
