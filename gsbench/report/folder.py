"""A report's files, each written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gsbench.report.reading import ReportError
from gsbench.values import shown


def check_name(name: str) -> str:
    """The name itself, if it can be that of one folder; else ReportError."""
    # A temporary folder's name is longer, and the files of a report are UTF-8.
    size = len(name.encode("utf-8", "replace"))
    text = name.encode("utf-8", "ignore").decode() == name
    if name in ("", ".", "..") or any(character in name for character in '/\\:*?"<>|\0') or size > 200 or not text:
        allowed = "that of one folder, text of at most 200 bytes"
        raise ReportError(f"the report's name (--name) must be {allowed}, got {shown(name)}")
    return name


@contextmanager
def written_whole(folder: Path, last: str, ours: Iterable[str]) -> Iterator[Path]:
    """A temporary folder beside `folder`; what the block writes into it is moved into `folder`, `last` last.

    When the block raises, nothing in `folder` has changed. Files named in `ours` that were not written anew
    are removed from `folder`, as they belong to an older report; whatever else lies there stays.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        temporary = Path(name)
        yield temporary
        folder.mkdir(exist_ok=True)
        files = sorted(temporary.iterdir(), key=lambda path: (path.name == last, path.name))
        for path in files:
            os.replace(path, folder / path.name)
        for stale in set(ours) - {path.name for path in files}:
            (folder / stale).unlink(missing_ok=True)
