"""What is said on stderr besides the result: remarks and progress, so that --quiet and --verbose act in one place.

Remarks go through the logger "gsbench", by which modules below the command line speak too. A command prints its
result on stdout itself.
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
    """A line of stderr for each message, above a progress bar where there is one. Nothing in it is hidden."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(BrokenPipeError):  # nobody reads it
            tqdm.write(printable(self.format(record)), file=sys.stderr)


@contextmanager
def heard(quiet: bool = False, verbose: bool = False) -> Iterator[None]:
    """Remarks are shown while this lasts: errors alone where `quiet`, what is said for the curious too if `verbose`."""
    before, handler = log.level, _Stderr()
    log.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def remark(text: str) -> None:
    """Tells what one may want to know, on stderr."""
    log.info(text)


def detail(text: str) -> None:
    """Tells what only --verbose asks for."""
    log.debug(text)


def failure(text: str) -> None:
    """Tells what went wrong, which --quiet does not silence."""
    log.error(text)


def is_quiet() -> bool:
    """Whether errors alone are to be shown."""
    return not log.isEnabledFor(logging.WARNING)


def progress_bar(**options: Any) -> Any:
    """A bar of tqdm's on stderr, which --quiet leaves out."""
    return tqdm(disable=is_quiet(), dynamic_ncols=True, **options)
