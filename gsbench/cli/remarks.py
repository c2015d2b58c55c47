"""Remarks and progress bars on stderr. --quiet and --verbose act here and nowhere else.

Remarks go through the logger "gsbench", which all modules of gsbench use. A command prints its result on stdout itself.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tqdm import tqdm

from gsbench.shown import printable

log = logging.getLogger("gsbench")


class _Stderr(logging.Handler):
    """Writes each message as a line to stderr, above the progress bar. Control characters in it become visible."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(BrokenPipeError):  # nobody reads stderr
            tqdm.write(printable(self.format(record)), file=sys.stderr)


@contextmanager
def heard(quiet: bool = False, verbose: bool = False) -> Iterator[None]:
    """Shows remarks inside the block: only errors if `quiet`, also details if `verbose`."""
    before, handler = log.level, _Stderr()
    log.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def remark(text: str) -> None:
    """A message that the user may want to know."""
    log.info(text)


def detail(text: str) -> None:
    """A message that only --verbose shows."""
    log.debug(text)


def failure(text: str) -> None:
    """An error message, which --quiet shows too."""
    log.error(text)


def is_quiet() -> bool:
    """Whether only errors are shown."""
    return not log.isEnabledFor(logging.WARNING)


def progress_bar(**options: Any) -> Any:
    """A tqdm bar on stderr, which --quiet turns off."""
    return tqdm(disable=is_quiet(), dynamic_ncols=True, **options)
