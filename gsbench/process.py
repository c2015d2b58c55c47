"""The process of a command: it handles Ctrl-C at any moment, and standard streams that are closed or unread."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TYPE_CHECKING = False  # as in typing, which is slow to import
if TYPE_CHECKING:
    from typing import Any

STOPPED, NO_READER = 130, 141  # exit codes as in the shell: after Ctrl-C, and after a closed pipe
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what a batch system sends


def run(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit code. Call it last: it changes how the process ends."""
    try:
        code = command()
    except SystemExit as stop:  # argparse's
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        if signal.getsignal(signal.SIGINT) in (_end_at_once, signal.default_int_handler):
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a Ctrl-C while Python ends would print a traceback
    try:
        sys.stdout.flush()
    except OSError as error:
        drop_stdout()
        if isinstance(error, BrokenPipeError):
            return code or NO_READER
        if code == 0:
            print(f"gsbench: error: standard output: {error}", file=sys.stderr)
        return code or 2
    return code


def begin() -> None:
    """Prepares the process. Until `hear_ctrl_c` is called, Ctrl-C ends the process at once.

    Modules are imported in this time. An exception during an import can get lost or turn into another one.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # it is ignored in a background job
        signal.signal(signal.SIGINT, _end_at_once)
    _open_streams()


def hear_ctrl_c() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt, so that the command can clean up."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stoppable() -> Iterator[None]:
    """Inside the block, the first Ctrl-C or SIGTERM raises KeyboardInterrupt. The second ends the process at once."""

    def stop(number: int, frame: object) -> None:
        end_at_once()
        raise KeyboardInterrupt

    with _handled(stop):
        yield


@contextmanager
def later() -> Iterator[None]:
    """Delays a Ctrl-C or SIGTERM to the end of the block, for code that an interrupt would leave in disorder.

    Threads that start inside the block, and the processes that they start, never receive these signals.
    """
    came: list[int] = []
    with _handled(lambda number, frame: came.append(number)):
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            yield
        else:
            from multiprocessing import resource_tracker

            resource_tracker.ensure_running()  # its later start would unblock the signals
            before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                yield
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if came:
        signal.raise_signal(came[0])


def end_at_once() -> None:
    """From now on, Ctrl-C or SIGTERM ends the process at once: everything of value is on the disk."""
    for number in SIGNALS:
        if callable(signal.getsignal(number)):
            signal.signal(number, _end_at_once)


@contextmanager
def _handled(handler: Callable[[int, object], object]) -> Iterator[None]:
    """Inside the block, SIGNALS call the handler, except ignored ones, as in a background job of a shell."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        before = {}
    heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
    for number in heard:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in heard.items():
            signal.signal(number, old)


def drop_stdout() -> None:
    """Drops standard output: Python would write the rest of its buffer at the end, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_at_once(number: int, frame: object) -> None:
    try:
        os.write(2, b"gsbench: stopped\n")
    finally:
        os._exit(STOPPED)


def _open_streams() -> None:
    """Connects closed standard streams to the null device, and ignores write errors of standard error.

    Python sets a closed stream to None. The next file that is opened would get its number, and child processes and C
    libraries would write their messages to that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # it gets the smallest free number
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    encoding, errors = (sys.stderr.encoding, sys.stderr.errors) if sys.stderr else ("utf-8", "backslashreplace")
    remarks = io.BufferedWriter(_Remarks(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(remarks, encoding, errors, line_buffering=True)


class _Remarks(io.FileIO):
    """Standard error. The command continues if nobody reads it or if its disk is full."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)
