"""A report's files, each written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gsbench.report.reading import ReportError


def check_name(name: str) -> str:
    """The name itself, if it can be that of one folder; else ReportError."""
    if not name or name in (".", "..") or any(character in name for character in '/\\:*?"<>|\0'):
        raise ReportError(f"the report's name must be that of one folder, got {name!r}")
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
