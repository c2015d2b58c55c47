"""A command as a process: Ctrl-C at any moment, and standard streams that are closed, full or not read.

A separate process starts slowly, so there are few such tests.
"""

import importlib
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gsbench import __main__, process

ROOT = Path(__file__).parent.parent
MODULE = [sys.executable, "-m", "gsbench"]
SCRIPT = [sys.executable, "-c", "import sys; from gsbench.__main__ import main; sys.exit(main())"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptors are POSIX's")


def run(command, redirections=""):
    """Runs a command through a shell, with its redirections."""
    line = f"exec {shlex.join(command)} {redirections}"
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=120, cwd=ROOT)


def test_the_installed_command_is_the_process():
    module, name = re.search(r'^gsbench = "(.+):(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M).groups()
    assert getattr(importlib.import_module(module), name) is __main__.main


# Ctrl-C

STOPS_AT_IMPORT = """
import signal, sys
from importlib.abc import MetaPathFinder

class Stop(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {name!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Stop())
from gsbench.__main__ import main
sys.exit(main())
"""


@posix
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("gsbench.process", "list"),  # before any precaution
        ("gsbench.cli.compare", "list"),
        ("numpy", "train --help"),
        ("gsbench.estimators", "list"),  # during the command's own work
    ],
)
def test_ctrl_c_during_any_import_is_130_and_no_traceback(name, command):
    code = STOPS_AT_IMPORT.format(name=name)
    done = run([sys.executable, "-c", code, *command.split()])
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == ("" if name == "gsbench.process" else "gsbench: stopped\n")


@posix
def test_ctrl_c_while_python_ends_is_no_traceback():
    at_exit = "import atexit, signal; atexit.register(signal.raise_signal, signal.SIGINT)\n"
    done = run([sys.executable, "-c", at_exit + SCRIPT[2], "--version"])
    assert done.stdout.startswith("gsbench ")
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.fixture
def handlers():
    """Restores the signal handlers after a test."""
    before = {number: signal.getsignal(number) for number in process.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_background_job_still_ignores_ctrl_c(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with process.stoppable(), process.later():
        process.hear_ctrl_c()
        process.end_at_once()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


@posix
@pytest.mark.parametrize("number", process.SIGNALS)
def test_the_first_signal_is_an_interrupt_and_the_second_one_ends_the_process(handlers, number):
    before = signal.getsignal(number)
    with process.stoppable():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert {signal.getsignal(each) for each in process.SIGNALS} == {process._end_at_once}
    assert signal.getsignal(number) is before


@posix
@pytest.mark.parametrize("number", process.SIGNALS)
def test_a_signal_is_heard_later_and_by_no_process_that_is_started_meanwhile(handlers, number):
    ask = "import signal; print(*sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))))"
    asked, done = [sys.executable, "-c", ask], []

    def start():
        done.append(subprocess.run(asked, capture_output=True, text=True, timeout=60).stdout)

    def interrupted():
        with process.later():
            signal.raise_signal(number)
            thread = threading.Thread(target=start)
            thread.start()
            thread.join()

    with process.stoppable(), pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == [f"{signal.SIGINT:d} {signal.SIGTERM:d}\n"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_signals_are_left_alone_in_another_thread(handlers):
    raised = []

    def inside():
        try:
            with process.stoppable(), process.later():
                pass
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert raised == []


# Streams


@posix
@pytest.mark.parametrize(
    ("python", "closed"), [(MODULE, "<&-"), (MODULE, ">&-"), (MODULE, "2>&-"), (SCRIPT, ">&-")], ids=str
)
def test_a_closed_stream_changes_neither_the_others_nor_the_exit_code(python, closed):
    done = run([*python, "list"], closed)
    assert done.returncode == 0
    assert done.stdout.startswith("estimators:") == (closed != ">&-")
    assert done.stderr.startswith("gsbench list KIND") == (closed != "2>&-")
    assert "Error" not in done.stderr


@posix
def test_files_are_whole_when_all_is_closed(tmp_path):
    """Otherwise a file would get the number of a closed stream, and then the stream's messages."""
    assert run([*SCRIPT, "gallery", "--classes", "3", "--output", str(tmp_path)], "<&- >&- 2>&-").returncode == 0
    (figure,) = tmp_path.glob("*.svg")
    text = figure.read_text()
    assert text.startswith("<?xml")
    assert text.endswith("</svg>\n")


@posix
@pytest.mark.parametrize(("arguments", "code"), [("list", 0), ("--version", 0), ("dance", 2), ("report nowhere", 2)])
def test_the_exit_code_is_the_same_when_all_is_closed(arguments, code):
    assert run([*MODULE, *arguments.split()], "<&- >&- 2>&-").returncode == code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("arguments", "redirection", "code", "error"),
    [
        ("list", ">/dev/full", 2, "gsbench: error: No space left on device; free some space, or name another place\n"),
        ("--version", ">/dev/full", 2, "gsbench: error: standard output: [Errno 28] No space left on device\n"),
        ("list", "2>/dev/full", 0, ""),
        ("dance", "2>/dev/full", 2, ""),
    ],
)
def test_a_full_disk_under_the_result_is_one_line_and_under_remarks_nothing(arguments, redirection, code, error):
    done = run(["env", "-u", "PYTHONUNBUFFERED", *MODULE, *arguments.split()], redirection)
    assert (done.returncode, done.stderr) == (code, error)
    assert bool(done.stdout) == (arguments == "list" and redirection.startswith("2"))


@posix
@pytest.mark.parametrize("arguments", ["--help", "--version", "completion bash"])
def test_a_reader_that_goes_away_is_141(arguments):
    command = ["env", "-u", "PYTHONUNBUFFERED", *MODULE, *arguments.split()]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    child.stdout.close()
    with child.stderr:
        assert child.stderr.read() == b""
    assert child.wait(60) == 141


@posix
def test_remarks_that_nobody_reads_end_nothing():
    child = subprocess.Popen([*MODULE, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    child.stderr.close()
    with child.stdout:
        assert child.stdout.read().startswith(b"estimators:")
    assert child.wait(60) == 0
