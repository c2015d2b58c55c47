"""The process of a command: a Ctrl-C at any moment, and standard streams that are closed or that nobody reads."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TYPE_CHECKING = False  # typing's, which takes long to import
if TYPE_CHECKING:
    from typing import Any

STOPPED, NO_READER = 130, 141  # the shell's own exit codes: of a Ctrl-C, and of a pipe that was closed
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and what a batch system sends


def run(command: Callable[[], int]) -> int:
    """Runs a command, the last thing that this process does, and returns its exit code."""
    try:
        code = command()
    except SystemExit as stop:  # argparse's
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        if signal.getsignal(signal.SIGINT) in (_end_at_once, signal.default_int_handler):
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # what Python does at its end would answer with a traceback
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
    """Prepares the process. Until `hear_ctrl_c`, a Ctrl-C ends it at once.

    In that time modules are imported, and an exception in the middle of an import is lost, or comes out as another.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background job's shell has it ignored
        signal.signal(signal.SIGINT, _end_at_once)
    _open_streams()


def hear_ctrl_c() -> None:
    """From now on a Ctrl-C is a KeyboardInterrupt, so that what was begun can be ended."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def stoppable() -> Iterator[None]:
    """Within, the first Ctrl-C or SIGTERM is a KeyboardInterrupt. The second one ends the process at once."""

    def stop(number: int, frame: object) -> None:
        end_at_once()
        raise KeyboardInterrupt

    with _handled(stop):
        yield


@contextmanager
def later() -> Iterator[None]:
    """A Ctrl-C or SIGTERM within is heard at the end: for what is left in disorder when its start is interrupted.

    Threads that are started within, and processes that these start, never hear one of their own.
    """
    came: list[int] = []
    with _handled(lambda number, frame: came.append(number)):
        if not hasattr(signal, "pthread_sigmask"):  # Windows
            yield
        else:
            from multiprocessing import resource_tracker

            resource_tracker.ensure_running()  # where a process is started first, this would end the blocking
            before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                yield
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if came:
        signal.raise_signal(came[0])


def end_at_once() -> None:
    """From now on a Ctrl-C or SIGTERM ends the process at once: all that counts is on the disk."""
    for number in SIGNALS:
        if callable(signal.getsignal(number)):
            signal.signal(number, _end_at_once)


@contextmanager
def _handled(handler: Callable[[int, object], object]) -> Iterator[None]:
    """Within, SIGNALS call the handler, but for those that are ignored, as in a shell's background job."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
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
    """What is left in the buffer of standard output would be written when Python ends, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_at_once(number: int, frame: object) -> None:
    try:
        os.write(2, b"gsbench: stopped\n")
    finally:
        os._exit(STOPPED)


def _open_streams() -> None:
    """Opens what is closed of standard input, output and error to nowhere, and makes remarks that cannot be written end
    nothing.

    A closed one is None to Python, and its number would go to the next file that is opened: children, and C libraries,
    would write their messages into that.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # of the free numbers it gets the smallest
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
    """Standard error. Nobody may read it, and its disk may be full: what was asked for is done all the same."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)
