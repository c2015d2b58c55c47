"""What all tests share: they never touch the user's cache of data sets, take one thread, and hear Ctrl-C.

For some of them: sessions of the benchmark within this process.
"""

import contextlib
import functools
import gc
import importlib
import io
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from gsbench.data import load_dataset

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The matrices of tests are small: threads would only wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module", autouse=True)
def a_small_heap():
    """What is there before a module's tests stays until the end. So the many measurements that collect garbage first
    need not look through it, which would take them longer than what they measure.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def interrupts_heard():
    """A shell's background job ignores Ctrl-C, and so would what the tests start and interrupt."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """A cache for the whole session, which subprocesses inherit."""
    before = os.environ.get("GSBENCH_CACHE")
    os.environ["GSBENCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["GSBENCH_CACHE"]
    else:
        os.environ["GSBENCH_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def terminal_of_80_columns():
    """Whatever the terminal is in which the tests run. Subprocesses inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "80")
        yield


@pytest.fixture
def wide_terminal(monkeypatch):
    """Nothing is wrapped, so that a test can look for whole lines."""
    monkeypatch.setenv("COLUMNS", "500")


@pytest.fixture(scope="module")
def loaded_once():
    """Runs of one process share what they read of the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gsbench.runs.run.load_dataset", functools.cache(load_dataset))
        yield


@pytest.fixture
def unmetered(monkeypatch):
    """The memory of a run's step is made up. Its meter takes longer than a short run, and few tests look at it."""
    peak = {"live_peak_bytes": 2, "live_meter": "made up", "state_bytes": 1}
    monkeypatch.setattr("gsbench.runs.training_run.step_peak", lambda bk, make_step: peak)


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are made, but not drawn when saved, which is most of a report's work: for tests that look at none."""

    def savefig(self, file, *, format, **_):
        file.write({"png": b"\x89PNG", "svg": b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'}[format])

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)


@pytest.fixture(scope="session")
def imported_once():
    """What a session imports is forgotten at its end. Anew it would be slow, and matplotlib would be broken.

    Of this scope, for pytester forgets what is imported after it as well.
    """
    for module in ("gsbench.backends.chainer.backend", "gsbench.report", "recording"):
        importlib.import_module(module)
    with contextlib.suppress(ImportError):
        importlib.import_module("pygal")  # it changes how installed packages are found, which pytester half undoes
    # What pandas tells pyarrow of its types is remembered there, and an error when it is told twice.
    pd.DataFrame({"a": [1]}).to_parquet(io.BytesIO())


@pytest.fixture
def session(imported_once, pytester):
    """`session(*options)` is `pytest bench/ …` in this process, which has imported all that is slow to import.

    Gives the exit status, `ret`, and the texts `stdout` and `stderr`.
    """

    def run(*options):
        options = ["-p", "no:cacheprovider", *options]
        ended = pytester.runpytest_inprocess("bench/", *options, no_reraise_ctrlc=True)
        return SimpleNamespace(ret=ended.ret, stdout=ended.stdout.str(), stderr=ended.stderr.str())

    with pytest.MonkeyPatch.context() as patch:  # not `monkeypatch`, which outlives pytester and its working directory
        patch.chdir(ROOT)
        for file in (ROOT / "bench").glob("test_*.py"):  # a module of ours with the same name would be taken for it
            patch.delitem(sys.modules, file.stem, raising=False)
        yield run
