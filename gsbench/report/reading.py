"""Benchmark files → records: JSON lines (`*.jsonl`) and pytest-benchmark's saved JSON (`*.json`).

What cannot be read is left out, and a notice names the file and the line: a line that was torn, a record with a value
that its field does not allow (`gsbench.schema`), a file, a folder.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gsbench.schema import fault

Record = dict[str, Any]

TRAINING = "training"
IMAGES = "_images"  # key of a record: the path of the run's file of images; never published
IMAGES_FILE, RECORD_FILE = "images.npz", "record.jsonl"
MAKE_A_RUN = "pytest bench/ --benchmark-autosave"
BEGIN = '{"schema_version"'  # how each record begins that gsbench writes
MOST_TOLD = 5  # notices of one file
OF_A_LINE = "Delete it to be rid of this notice; what was in it can be measured again."
OF_A_FILE = "Move it elsewhere to be rid of this notice."


class ReportError(ValueError):
    """Something given to the report cannot be used; the message names it and says what is allowed."""


class Unreadable(ReportError):
    """A file or folder that is there cannot be read, or holds no record."""


@dataclass(frozen=True)
class Reading:
    """Records in the order in which they were read, and notices: what has to be told about them."""

    records: tuple[Record, ...]
    notices: tuple[str, ...] = ()


def read_files(paths: Iterable[Path]) -> Reading:
    """The records of all the files named, each case of a run once.

    A path may be a folder, such as a store of training runs: see `read_folder`. What cannot be read beside what can is
    left out, and a notice names it. Raises ReportError where a file is missing or has no name of a benchmark file, and
    where nothing can be read; the message names the file.
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
    """The records of all the benchmark files in a folder, searched in depth.

    What cannot be read there is left out, and a notice names it. Raises ReportError where no file can be read.
    """
    readings, notices = _readings_under(folder)
    if not readings:
        raise Unreadable(f"no benchmark file under {str(folder)!r}: allowed are {_indented(SUFFIXES, notices)}")
    records = [record for _, reading in readings for record in reading.records]
    notices += [notice for _, reading in readings for notice in reading.notices]
    return Reading(tuple(records), tuple(notices))


def read_newest(storage: Path) -> Reading:
    """The newest run under a storage folder, searched in depth, from all the files that hold a part of it.

    What cannot be read there does not stop the report: it is left out, and a notice names it.
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
    """All the files that can be read, and a notice for each of the others and for each folder that cannot be read."""
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
    """The files whose names are those of benchmark files, and a notice for each folder that cannot be read."""
    notices: list[str] = []

    def tell(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            shown = os.path.relpath(error.filename, folder)
            notices.append(f"Left out: the folder {shown} cannot be read ({error.strerror}). Look at its rights.")

    walked = os.walk(folder, onerror=tell)
    paths = [Path(at, name) for at, _, names in walked for name in names if Path(name).suffix in READERS]
    return sorted(path for path in paths if not _is_special(path)), notices


def _is_special(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device. What cannot be looked at is not: reading it says why."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _left_out(why: str) -> str:
    first, *more = why.split("\n")
    return "\n".join([f"Left out: {first}. {OF_A_FILE}", *more])


def _shown(path: Path) -> str:
    """A file's name in a notice, which is published: without the reader's folders but for that of a training run."""
    return f"{path.parent.name}/{path.name}" if path.name == RECORD_FILE else path.name


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


def read_file(path: Path, shown: str | None = None) -> Reading:
    """The records of one file; `shown` is its name in notices.

    Raises ReportError, naming the file, where it is missing, cannot be read, or is no benchmark file.
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
    """The record of a training run, in the run's own folder, with the path of the images that lie beside it."""
    images = path.with_name(IMAGES_FILE)
    is_own = record["group"] == TRAINING and path.parent.name == record["case"]
    return {**record, IMAGES: str(images)} if is_own and images.is_file() else record


@dataclass(frozen=True)
class Torn:
    """In place of a record: why there is none."""

    why: str


Found = Iterator[tuple[str, Any]]  # where it stands, and what JSON gives there, or Torn


def _read_lines(path: Path, content: bytes) -> Found:
    """JSON lines. What is torn, as by a full disk or a kill, may have whole records before and behind it."""
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
    """A line that is not JSON: the whole records in it, which may be glued together, and a Torn where there is more."""
    decoder, at, torn = json.JSONDecoder(), 0, ""
    while at < len(line):
        try:
            record, end = decoder.raw_decode(line, at)
            line[at:end].encode()  # a ValueError where it holds bytes that are no text
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
    """pytest-benchmark's JSON: our key `gsbench_records`; without it, what each benchmark's `extra_info` holds."""
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
    """Where it stands, the record, and what is wrong with it; "" where nothing is."""
    if isinstance(value, Torn):
        return where, {}, value.why
    why = fault(value)
    return (where, {}, why) if why else (where, _storable(value), "")


def _storable(value: Any) -> Any:
    """With halves of surrogate pairs written out, as `\\ud83d`: no file can hold them. What is in lists, too."""
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
