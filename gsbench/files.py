"""Files and folders that are written whole or not at all, even if a process is killed.

A writer first writes to a draft: a folder `.gsbench-…` beside the target, in which the writer holds a lock. The system
releases the lock when the process is killed. So a draft whose lock is free is litter, and the next process that writes
to the same folder removes it. The draft of a live writer stays, also if that writer runs on another machine.
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
LOCK, FILE, NEW, ASIDE, LEFT, PLAN = "lock", "file", "new", "aside", "left", "plan.json"  # names in a draft
TRIES = 20  # attempts, if another process writes the same folder at the same time

Writer = Callable[[BinaryIO], object]

_ELSEWHERE = "or name another place"
ADVICE = {
    errno.ENOSPC: f"free some space, {_ELSEWHERE}",
    errno.EDQUOT: f"free some space, {_ELSEWHERE}",
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_ELSEWHERE}",
    errno.EACCES: f"change its permissions, {_ELSEWHERE}",
    errno.EPERM: f"change its permissions, {_ELSEWHERE}",
    errno.EROFS: "name a place on another disk: this one is read-only",
    errno.EIO: "name a place on another disk: this one reports an error",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.EISDIR: "a folder has this name: remove it, or give another name",
    errno.ENOTDIR: f"a file has the name of a folder that is needed: remove it, {_ELSEWHERE}",
    errno.EEXIST: f"a file has the name of a folder that is needed: remove it, {_ELSEWHERE}",
    errno.EBUSY: "it is in use, or a disk is mounted there: give another name",
}


class WriteError(OSError):
    """A file or folder cannot be written. The message names it and says why and what to do."""


@contextlib.contextmanager
def writing(path: str | Path, hint: str = "") -> Iterator[None]:
    """Turns every OSError inside the block into a WriteError that names `path`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        told = WriteError(f"{path} cannot be written: {_reason(error)}" + (f" ({hint})" if hint else ""))
        told.errno = error.errno
        raise told from error


def is_of_the_disk(error: Exception) -> bool:
    """Whether the error comes from writing to the disk, not from the network or from damaged input."""
    return isinstance(error, OSError) and error.errno in ADVICE


def explain(error: OSError) -> str:
    """The error in words: the file, the reason and what to do, as far as they are known."""
    if error.errno is None or error.strerror is None:
        return str(error)
    return f"{error.filename}: {_reason(error)}" if error.filename else _reason(error)


def _reason(error: OSError) -> str:
    if error.errno in ADVICE:  # the text of a library adds nothing to this
        return f"{os.strerror(error.errno)}; {ADVICE[error.errno]}"
    return error.strerror or str(error)


def check_place(path: Path) -> None:
    """Raises WriteError if a file cannot be written at `path`. Call it before long work."""
    with writing(path):
        if not path.parent.is_dir():
            raise WriteError(f"{path} cannot be written: there is no folder {str(path.parent)!r}")
        with draft_folder(path.parent):
            _check_file(path)


def write_whole(path: Path, write: Writer) -> None:
    """Writes a file whole or not at all: `write` fills a draft, which then replaces the old file.

    No reader ever sees a partial file. The file gets the same permissions as if it were opened for writing. A symbolic
    link is followed. Raises WriteError.
    """
    write_all_whole({path: write})


def write_all_whole(writers: Mapping[Path, Writer]) -> None:
    """Writes several files as `write_whole` does. If one of the drafts cannot be written, no file changes."""
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
    """The permissions of the file, or None if it does not exist. Raises the errors of opening it for writing."""
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
    """Yields a new folder for the block to fill. At the end of the block it replaces `folder`.

    ours    the names of all files that such a folder may have

    Other files in the old folder are kept. If the block raises, nothing changes. If the process is killed, the old or
    the new folder is there. Between two renames neither is there; then the next process that writes beside it restores
    the old one. Raises WriteError.
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
    """Raises if `folder` is a file, or if it has a folder with one of our names, which gsbench did not make."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in sorted(set(names) & set(ours)):
        if (folder / name).is_dir():
            raise WriteError(f"{folder / name} cannot be written: it is a folder; remove it, or give another name")


def _swap(new: Path, folder: Path, aside: Path) -> None:
    if folder.exists():
        shutil.copymode(folder, new)
    for i in range(TRIES):
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, aside / str(i))
        try:
            return os.rename(new, folder)
        except OSError as error:  # another process has made the folder between our two renames
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or i == TRIES - 1:
                raise


@contextlib.contextmanager
def draft_folder(beside: Path) -> Iterator[Path]:
    """A draft in the folder `beside`, whose files are then moved to `beside`. The draft is removed at the end."""
    clear_drafts(beside)
    draft, lock = _new_draft(beside)
    try:
        yield draft
    finally:
        _end(draft, lock)


def clear_drafts(folder: Path) -> None:
    """Removes the drafts that killed processes left in a folder. Files that they had moved aside are restored."""
    with contextlib.suppress(OSError):
        for draft in folder.glob(f"{DRAFT}*"):
            # A draft that cannot be read or removed stays: it does no harm.
            with contextlib.suppress(OSError, ValueError, NotImplementedError):
                if (draft / LOCK).exists():
                    lock = FileLock(draft / LOCK, timeout=0)
                    lock.acquire()
                    _end(draft, lock)
                else:
                    draft.rmdir()  # its writer has not made the lock yet, or was killed before


def _new_draft(beside: Path) -> tuple[Path, FileLock]:
    """A new draft and its lock. Another process may remove a draft before it is locked, so there are several tries."""
    for _ in range(TRIES):
        draft = beside / f"{DRAFT}{uuid.uuid4().hex}"
        draft.mkdir()
        lock = FileLock(draft / LOCK, timeout=0)
        try:
            lock.acquire()
        except (FileNotFoundError, TimeoutError):
            continue
        except NotImplementedError:  # without locks on this file system, no process can clear this draft
            (draft / LOCK).touch()
            return draft, lock
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        if (draft / LOCK).exists():
            return draft, lock
        lock.release()
    raise OSError(f"other processes removed {TRIES} drafts in {beside}")


def _end(draft: Path, lock: FileLock) -> None:
    """Removes a draft whose lock is held. The lock file goes last: a draft without it counts as a new one."""
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
    """Restores folders that were moved aside, or only the files that are not ours if a new folder is in their place."""
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
    os.rename(draft / ASIDE, draft / LEFT)  # a later process must not restore the rest again


def _move(path: Path, folder: Path) -> None:
    """Moves a file or folder into a folder. An existing file of the same name stays; the moved one gets a ~."""
    target = folder / path.name
    if path.is_dir() and target.is_dir() and not path.is_symlink():
        for part in sorted(path.iterdir()):
            _move(part, target)
        return
    while os.path.lexists(target):
        target = target.with_name(f"{target.name}~")
    os.rename(path, target)
