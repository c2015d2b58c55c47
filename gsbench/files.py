"""Files and folders that are written whole or not at all, and what a killed process leaves of them.

What is being written lies in a draft: a folder `.gsbench-…` beside its target. Its writer holds the lock in it for as
long as it lives, and the system takes the lock back from a process that is killed. So a draft whose lock can be had is
litter, and whoever writes into the same folder next removes it; a live writer's is left alone, on any machine.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

DRAFT = ".gsbench-"
LOCK, FILE, NEW, ASIDE, LEFT, PLAN = "lock", "file", "new", "aside", "left", "plan.json"  # in a draft
TRIES = 20  # where another process writes the same folder at the same time

Writer = Callable[[BinaryIO], object]

_ELSEWHERE = "or name another place"
ADVICE = {
    errno.ENOSPC: f"free some space, {_ELSEWHERE}",
    errno.EDQUOT: f"free some space, {_ELSEWHERE}",
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_ELSEWHERE}",
    errno.EACCES: f"change its permissions, {_ELSEWHERE}",
    errno.EPERM: f"change its permissions, {_ELSEWHERE}",
    errno.EROFS: "name a place on another disk: this one can only be read",
    errno.EIO: "name a place on another disk: this one has a fault",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EISDIR: "a folder has this name: take it away, or give another name",
    errno.ENOTDIR: f"a file stands where a folder is needed: take it away, {_ELSEWHERE}",
    errno.EEXIST: f"a file stands where a folder is needed: take it away, {_ELSEWHERE}",
    errno.EBUSY: "it is in use, or a disk is mounted there: give another name",
}


class WriteError(OSError):
    """Something cannot be written. The message names it, and says why and what to do."""


@contextlib.contextmanager
def writing(path: str | Path, hint: str = "") -> Iterator[None]:
    """Turns errors of the disk into WriteError on `path`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        told = WriteError(f"{path} cannot be written: {_reason(error)}" + (f" ({hint})" if hint else ""))
        told.errno = error.errno
        raise told from error


def is_of_the_disk(error: Exception) -> bool:
    """Whether the disk is at fault: not the network, nor what was read."""
    return isinstance(error, OSError) and error.errno in ADVICE


def explain(error: OSError) -> str:
    """What happened to which file, and what to do, as far as the error says."""
    if error.errno is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {_reason(error)}" if error.filename else _reason(error)


def _reason(error: OSError) -> str:
    if error.errno in ADVICE:  # a library's own text about it says no more
        return f"{os.strerror(error.errno)}; {ADVICE[error.errno]}"
    return error.strerror or str(error)


def check_place(path: Path) -> None:
    """Raises WriteError where a file cannot be written at `path`, before long work is begun for it."""
    with writing(path):
        if not path.parent.is_dir():
            raise WriteError(f"{path} cannot be written: there is no folder {str(path.parent)!r}")
        with draft_folder(path.parent):
            _check_file(path)


def write_whole(path: Path, write: Writer) -> None:
    """Writes a file, whole or not at all: `write` fills a draft, which then takes the place of what was there.

    No reader ever sees a part of it. The file has the permissions that opening it for writing would give it, and a
    link is followed. Raises WriteError.
    """
    write_all_whole({path: write})


def write_all_whole(writers: Mapping[Path, Writer]) -> None:
    """Writes several files, each as `write_whole` does; none of them where one cannot be written."""
    with contextlib.ExitStack() as stack:
        drafts = []
        for path, write in writers.items():
            with writing(path):
                target = Path(os.path.realpath(path))
                target.parent.mkdir(parents=True, exist_ok=True)
                draft = stack.enter_context(draft_folder(target.parent)) / FILE
                mode = _check_file(target)
                with open(draft, "xb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
                if mode is not None:
                    os.chmod(draft, mode)
                drafts.append((path, draft, target))
        for path, draft, target in drafts:
            with writing(path):
                os.replace(draft, target)


def _check_file(path: Path) -> int | None:
    """The permissions of the file that is there, None where there is none. Raises as opening it for writing does."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return stat.S_IMODE(mode)


@contextlib.contextmanager
def folder_written_whole(folder: Path, ours: Collection[str]) -> Iterator[Path]:
    """A new folder for the block to fill, which then takes the place of `folder`.

    ours    the names that such a folder has files of

    What is in `folder` and not named in `ours` stays in it. When the block raises, nothing has changed. A process that
    is killed leaves the old folder or the new one; or, between two renames, none, until the next process that writes
    beside it puts back what was there. Raises WriteError.
    """
    place = Path(os.path.realpath(folder))
    with writing(folder):
        place.parent.mkdir(parents=True, exist_ok=True)
        _check_folder(place, ours)
        with draft_folder(place.parent) as draft:
            new = draft / NEW
            new.mkdir()
            yield new
            for path in new.iterdir():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())
            _check_folder(place, ours)
            (draft / PLAN).write_text(json.dumps({"folder": place.name, "ours": sorted(ours)}), encoding="utf-8")
            (draft / ASIDE).mkdir()
            _swap(new, place, draft / ASIDE)


def _check_folder(folder: Path, ours: Collection[str]) -> None:
    """Raises where the folder is a file, or has a folder of a name that is ours: that is somebody else's."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in sorted(set(names) & set(ours)):
        if (folder / name).is_dir():
            raise WriteError(f"{folder / name} cannot be written: it is a folder; take it away, or give another name")


def _swap(new: Path, folder: Path, aside: Path) -> None:
    if folder.exists():
        shutil.copymode(folder, new)
    for i in range(TRIES):
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, aside / str(i))
        try:
            return os.rename(new, folder)
        except OSError as error:  # another process has put its own there, between our two renames
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or i == TRIES - 1:
                raise


@contextlib.contextmanager
def draft_folder(beside: Path) -> Iterator[Path]:
    """A draft in the folder `beside`, for what is to be moved from there into it. It is removed at the end."""
    clear_drafts(beside)
    draft, lock = _new_draft(beside)
    try:
        yield draft
    finally:
        _end(draft, lock)


def clear_drafts(folder: Path) -> None:
    """Removes the drafts in a folder that killed processes left. What one of them had moved aside is put back."""
    with contextlib.suppress(OSError):
        for draft in folder.glob(f"{DRAFT}*"):
            # What cannot be read or removed is left: it stands in nobody's way.
            with contextlib.suppress(OSError, ValueError, NotImplementedError):
                if (draft / LOCK).exists():
                    lock = FileLock(draft / LOCK, timeout=0)
                    lock.acquire()
                    _end(draft, lock)
                else:
                    draft.rmdir()  # its writer was killed before it made the lock, or is about to make it


def _new_draft(beside: Path) -> tuple[Path, FileLock]:
    """Another process may take a draft for litter that is not locked yet. Then there is another one."""
    for _ in range(TRIES):
        draft = beside / f"{DRAFT}{uuid.uuid4().hex}"
        draft.mkdir()
        lock = FileLock(draft / LOCK, timeout=0)
        try:
            lock.acquire()
        except (FileNotFoundError, TimeoutError):
            continue
        except NotImplementedError:  # a file system without locks: nobody can have this one, and the draft is left
            (draft / LOCK).touch()
            return draft, lock
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        if (draft / LOCK).exists():
            return draft, lock
        lock.release()
    raise OSError(f"{beside} has lost {TRIES} drafts")


def _end(draft: Path, lock: FileLock) -> None:
    """Removes a draft whose lock is held. The lock is the last that goes: without it a draft is taken for a new one."""
    try:
        _put_back(draft)
        for path in draft.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()
    finally:
        lock.release()
    shutil.rmtree(draft, ignore_errors=True)


def _put_back(draft: Path) -> None:
    """Folders that were moved aside: back where nothing has taken their place, else what is in them and not ours."""
    if not (draft / ASIDE).is_dir():
        return
    plan = json.loads((draft / PLAN).read_text(encoding="utf-8"))
    folder, ours = draft.parent / plan["folder"], plan["ours"]
    for old in sorted((draft / ASIDE).iterdir()):
        if not os.path.lexists(folder):
            os.rename(old, folder)
            continue
        replaced = any((folder / name).exists() for name in ours)
        for path in sorted(old.iterdir()):
            if not (replaced and path.name in ours):
                _move(path, folder)
    os.rename(draft / ASIDE, draft / LEFT)  # what is left there is to go: a killed process's successor must know


def _move(path: Path, folder: Path) -> None:
    """Moves a file or folder into a folder. What is there by its name, as of a moment ago, stays too."""
    target = folder / path.name
    if path.is_dir() and target.is_dir() and not path.is_symlink():
        for part in sorted(path.iterdir()):
            _move(part, target)
        return
    while os.path.lexists(target):
        target = target.with_name(f"{target.name}~")
    os.rename(path, target)
