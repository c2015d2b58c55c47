"""Files and folders are written whole or not at all, whatever happens meanwhile, and litter is cleaned."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gsbench import files
from gsbench.files import (
    ADVICE,
    WriteError,
    check_place,
    clear_drafts,
    draft_folder,
    explain,
    folder_written_whole,
    write_all_whole,
    write_whole,
)

OURS = ("page", "stale", "more")
OLD = {"page": "old", "stale": "old"}
NEW = {"page": "new", "more": "new"}
FOREIGN = {"notes.txt": "mine", "runs/a/record": "mine"}


def fill(folder, content):
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def content(folder):
    """Path → text of each file below the folder."""
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def replace(folder, texts, then=None):
    with folder_written_whole(folder, OURS) as new:
        fill(new, texts)
        if then:
            then()


def write(path, text):
    write_whole(path, lambda file: file.write(text.encode()))


def broken(number):
    """A stand-in for a system call on a disk that is full, read-only, …"""

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    return fail


# ---------------------------------------------------------------- one file


def test_a_file_is_written_with_its_folders_and_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write(path, "one")
    write(path, "two")
    assert content(tmp_path) == {"new/folder/a.txt": "two"}
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("number", sorted(ADVICE))
def test_a_failing_disk_leaves_the_old_content_and_is_an_error_that_says_what_to_do(tmp_path, monkeypatch, number):
    path = tmp_path / "a.txt"
    write(path, "old")
    monkeypatch.setattr(os, "fsync", broken(number))
    with pytest.raises(WriteError) as caught:
        write(path, "new")
    assert str(caught.value) == f"{path} cannot be written: {os.strerror(number)}; {ADVICE[number]}"
    assert caught.value.errno == number
    assert content(tmp_path) == {"a.txt": "old"}
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("folder", "Is a directory; a folder has this name: remove it, or give another name"),
        ("file/a", "a file has the name of a folder that is needed: remove it, or name another place"),
        ("file/a/b", "a file has the name of a folder that is needed: remove it, or name another place"),
        ("a" * 300, "File name too long; give it a shorter name"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_and_when_it_is_written(tmp_path, name, why):
    (tmp_path / "folder").mkdir()
    write(tmp_path / "file", "old")
    with pytest.raises(WriteError) as caught:
        write(tmp_path / name, "new")
    assert str(caught.value).startswith(f"{tmp_path / name} cannot be written: ")
    assert str(caught.value).endswith(why)
    with pytest.raises(WriteError, match="cannot be written: "):
        check_place(tmp_path / name)
    assert names(tmp_path) == ["file", "folder"]
    assert content(tmp_path) == {"file": "old"}


def test_a_place_that_can_be_written_passes(tmp_path):
    write(tmp_path / "old.txt", "old")
    check_place(tmp_path / "old.txt")
    check_place(tmp_path / "new.txt")
    assert names(tmp_path) == ["old.txt"]
    with pytest.raises(WriteError, match=r"there is no folder '.*none'"):
        check_place(tmp_path / "none" / "a.txt")


def test_a_file_or_folder_that_may_not_be_written_is_left(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write(path, "old")
    monkeypatch.setattr(os, "access", lambda of, mode: str(of) != str(path))  # root may write everything
    for call in (lambda: write(path, "new"), lambda: check_place(path)):
        with pytest.raises(WriteError, match=r"a\.txt cannot be written: Permission denied; change its permissions"):
            call()
    monkeypatch.setattr(Path, "mkdir", broken(errno.EROFS))  # pathlib of 3.10 keeps the `os.mkdir` from its import
    with pytest.raises(WriteError, match="Read-only file system; name a place on another disk"):
        check_place(tmp_path / "new.txt")
    assert content(tmp_path) == {"a.txt": "old"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_permissions_equal_those_of_an_opened_file(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new", "x")
        write(tmp_path / "old", "x")
        (tmp_path / "old").chmod(0o604)
        write(tmp_path / "old", "y")
        replace(tmp_path / "folder", NEW)
        replace(tmp_path / "closed", OLD)
        (tmp_path / "closed").chmod(0o700)
        replace(tmp_path / "closed", NEW)
    finally:
        os.umask(before)
    mode = {path.name: path.stat().st_mode & 0o777 for path in [*tmp_path.iterdir(), tmp_path / "folder" / "page"]}
    assert mode == {"new": 0o640, "old": 0o604, "folder": 0o750, "closed": 0o700, "page": 0o640}


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed(tmp_path):
    write(tmp_path / "elsewhere" / "a.txt", "old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "elsewhere" / "a.txt")
    write(tmp_path / "link.txt", "new")
    replace(tmp_path / "elsewhere" / "report", OLD)
    (tmp_path / "report").symlink_to(tmp_path / "elsewhere" / "report")
    replace(tmp_path / "report", NEW)
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "report").is_symlink()
    assert content(tmp_path / "elsewhere") == {"a.txt": "new", "report/page": "new", "report/more": "new"}
    assert names(tmp_path / "elsewhere") == ["a.txt", "report"]


@pytest.mark.parametrize("stopped", [KeyboardInterrupt, RuntimeError])
def test_an_exception_of_the_writer_passes_and_leaves_the_old_content(tmp_path, stopped):
    write(tmp_path / "a.txt", "old")

    def half(file):
        file.write(b"ne")
        raise stopped

    with pytest.raises(stopped):
        write_whole(tmp_path / "a.txt", half)
    assert content(tmp_path) == {"a.txt": "old"}
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("last", ["full", "folder"])
def test_if_one_of_several_files_cannot_be_written_none_is(tmp_path, last):
    fill(tmp_path, {"a": "old", "b": "old"})
    if last == "folder":
        (tmp_path / "c").mkdir()
    writers = {tmp_path / name: (lambda file: file.write(b"new")) for name in "abc"}
    if last == "full":
        writers[tmp_path / "c"] = broken(errno.ENOSPC)
    with pytest.raises(WriteError, match="c cannot be written: "):
        write_all_whole(writers)
    assert content(tmp_path) == {"a": "old", "b": "old"}
    (tmp_path / "c").rmdir() if last == "folder" else None
    writers[tmp_path / "c"] = lambda file: file.write(b"new")
    write_all_whole(writers)
    assert content(tmp_path) == {"a": "new", "b": "new", "c": "new"}


def test_other_errors_of_the_system_are_told_with_file_and_advice():
    error = PermissionError(errno.EACCES, "Permission denied", "runs/lock")
    assert explain(error) == "runs/lock: Permission denied; change its permissions, or name another place"
    assert explain(FileNotFoundError(errno.ENOENT, "No such file", "grid.toml")) == "grid.toml: No such file"
    assert explain(OSError("a word")) == "a word"


# ---------------------------------------------------------------- a folder


def test_a_folder_is_replaced_and_foreign_files_stay(tmp_path):
    folder = fill(tmp_path / "report", {**OLD, **FOREIGN})
    replace(folder, NEW)
    assert content(tmp_path / "report") == {**NEW, **FOREIGN}
    assert names(tmp_path) == ["report"]


def test_a_folder_is_made_with_its_parents(tmp_path):
    replace(tmp_path / "a" / "b", NEW)
    assert content(tmp_path) == {"a/b/page": "new", "a/b/more": "new"}


@pytest.mark.parametrize("failed", ["block", "fsync", "first rename", "second rename"])
def test_a_folder_that_cannot_be_written_is_left_whole(tmp_path, monkeypatch, failed):
    folder, rename, calls = fill(tmp_path / "report", {**OLD, **FOREIGN}), os.rename, []

    def fail_once(source, target):
        calls.append(target)
        return broken(errno.ENOSPC)() if len(calls) == 1 + (failed == "second rename") else rename(source, target)

    if failed == "fsync":
        monkeypatch.setattr(os, "fsync", broken(errno.ENOSPC))
    elif failed != "block":
        monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(WriteError, match=rf"{folder} cannot be written: No space left on device; free some space"):
        replace(folder, NEW, then=broken(errno.ENOSPC) if failed == "block" else None)
    assert content(folder) == {**OLD, **FOREIGN}
    assert names(tmp_path) == ["report"]


def test_a_folder_in_place_of_a_file_of_ours_is_refused_before_any_work(tmp_path):
    folder = fill(tmp_path / "report", {"page/inside": "mine", "stale": "old"})
    begun = []
    with pytest.raises(WriteError, match=r"report.page cannot be written: it is a folder; remove it, or give"):
        replace(folder, NEW, then=lambda: begun.append(1))
    assert content(tmp_path) == {"report/page/inside": "mine", "report/stale": "old"}
    with pytest.raises(WriteError, match=r"stale cannot be written: .*a file has the name of a folder that is needed"):
        replace(folder / "stale", NEW, then=lambda: begun.append(1))
    assert not begun


def test_files_that_another_process_writes_meanwhile_stay(tmp_path, monkeypatch):
    """Another process writes a report between our two renames, and files while we restore ours."""
    folder, rename, calls = fill(tmp_path / "report", {**OLD, **FOREIGN}), os.rename, []

    def with_others(source, target):
        rename(source, target)
        calls.append(target)
        if len(calls) == 1:
            fill(folder, {"page": "other", "notes.txt": "theirs", "runs/b/record": "theirs"})

    monkeypatch.setattr(os, "rename", with_others)
    replace(folder, NEW)
    theirs = {"notes.txt~": "theirs", "runs/b/record": "theirs"}
    assert content(folder) == {**NEW, **FOREIGN, **theirs}
    assert names(tmp_path) == ["report"]


# ---------------------------------------------------------------- litter

# For n = 1, 2, …: makes a state, kills a process before its n-th system call, and prints the files then and after the
# next process, until a process reaches its end.
KILLING = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_files import FOREIGN, NEW, OLD, content, fill, replace, write

CALLS = {"open", "fcntl.flock", *(f"os.{name}" for name in "mkdir rename remove rmdir chmod listdir scandir".split())}

def run(job, root, at):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    calls = []
    def hook(event, arguments):
        if event in CALLS:
            calls.append(event)
            if len(calls) == at:
                os._exit(9)
    try:
        sys.addaudithook(hook)
        job(root)
        os._exit(0)
    finally:
        os._exit(1)

def one_file(root):
    write(root / "a.txt", "new")

def folder(root):
    replace(root / "report", NEW)

JOBS = {"file": one_file, "folder": folder, "other file": lambda root: write(root / "b.txt", "new")}
first, then = sys.argv[3:5]
told = []
for n in range(1, 999):
    root = Path(sys.argv[1]) / str(n)
    fill(root, {"a.txt": "old", **{f"report/{name}": text for name, text in {**OLD, **FOREIGN}.items()}})
    code = run(JOBS[first], root, n)
    after = content(root)
    assert run(JOBS[then], root, 0) == 0
    told.append({"code": code, "killed": after, "next": content(root), "names": sorted(os.listdir(root))})
    if code != 9:
        break
print(json.dumps(told))
"""
TESTS = os.path.dirname(__file__)


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The files outside drafts after a kill at each system call, and after the next process."""

    def run(first, then):
        root = tmp_path_factory.mktemp("killed")
        command = [sys.executable, "-c", KILLING, str(root), TESTS, first, then]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert [state["code"] for state in told] == [9] * (len(told) - 1) + [0]
        return told

    return run


def visible(state):
    return {name: text for name, text in state.items() if not name.startswith(files.DRAFT)}


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the process is killed in a fork")


@needs_fork
def test_a_file_is_the_old_or_the_new_one_after_a_kill_at_any_call_and_the_next_cleans(killed):
    told = killed("file", "file")
    assert len(told) > 8
    assert {visible(state["killed"])["a.txt"] for state in told} == {"old", "new"}
    for state in told:
        assert state["next"]["a.txt"] == "new"
        assert state["names"] == ["a.txt", "report"]


@needs_fork
@pytest.mark.parametrize("then", ["folder", "other file"])
def test_a_folder_is_the_old_or_the_new_one_after_a_kill_at_any_call_and_the_next_cleans(killed, then):
    """After a kill between the two renames the folder is missing. The next process restores it."""
    in_folder = lambda texts: {f"report/{name}": text for name, text in texts.items()}  # noqa: E731
    gaps = 0
    told = killed("folder", then)
    assert len(told) > 20
    for state in told:
        seen = visible(state["killed"])
        ours = {name: text for name, text in seen.items() if name.removeprefix("report/") in OURS}
        assert ours in ({}, in_folder(OLD), in_folder(NEW))
        gaps += not ours
        # Foreign files are there, or on their way from one folder to the other.
        assert sorted(text for text in state["killed"].values() if text == "mine") == ["mine"] * len(FOREIGN)
        rest = {name: text for name, text in state["next"].items() if name.startswith("report/")}
        if then == "folder":
            assert rest == in_folder({**NEW, **FOREIGN})
        else:
            assert rest in (in_folder({**OLD, **FOREIGN}), in_folder({**NEW, **FOREIGN}))
        assert not [name for name in state["names"] if name.startswith(files.DRAFT)]
    assert gaps == 1


def test_a_live_writers_draft_is_left_and_a_dead_ones_is_not(tmp_path):
    with draft_folder(tmp_path) as live:
        fill(live, {"part": "mine"})
        dead = fill(tmp_path / f"{files.DRAFT}dead", {files.LOCK: "", "part": "x", "new/part": "x"})
        unlocked = tmp_path / f"{files.DRAFT}begun"
        unlocked.mkdir()
        clear_drafts(tmp_path)
        assert content(live)["part"] == "mine"
        assert not dead.exists()
        assert not unlocked.exists()
        write(tmp_path / "a.txt", "x")  # the next writer leaves it too
        assert content(live)["part"] == "mine"
    assert names(tmp_path) == ["a.txt"]


def test_files_that_are_no_drafts_stay(tmp_path):
    fill(tmp_path, {f"{files.DRAFT}notes/mine": "x", f"{files.DRAFT}file": "x", "a.txt.0123.tmp": "x"})
    before = content(tmp_path)
    clear_drafts(tmp_path)
    assert content(tmp_path) == before


def test_a_draft_that_is_taken_for_litter_before_it_is_locked_is_made_anew(tmp_path, monkeypatch):
    acquire, taken = files.FileLock.acquire, []

    def late(self, *arguments, **options):
        if not taken:
            taken.append(os.path.dirname(self.lock_file))
            clear_drafts(tmp_path)
        return acquire(self, *arguments, **options)

    monkeypatch.setattr(files.FileLock, "acquire", late)
    write(tmp_path / "a.txt", "new")
    assert len(taken) == 1
    assert content(tmp_path) == {"a.txt": "new"}
    assert names(tmp_path) == ["a.txt"]


def test_a_file_system_without_locks_does(tmp_path, monkeypatch):
    def none(*_, **__):
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(files.FileLock, "acquire", none)
    with draft_folder(tmp_path) as live:
        write(tmp_path / "a.txt", "new")
        assert live.is_dir()  # it is not recognisable as litter
    assert names(tmp_path) == ["a.txt"]
