"""Options, cases and records of `pytest bench/`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Generator
from typing import Any

import pytest
from eta import Eta, n_classes
from options import STATES, Options, add_options, check_data, read_options
from peers import peer_cases
from recording import Recorder, Run
from threadpoolctl import threadpool_limits

from gsbench.allocator import keep_memory
from gsbench.cli.streams import make_readable
from gsbench.report.busy import busy_notice
from gsbench.report.glance import glance_text
from gsbench.settings import Settings

OPTIONS = pytest.StashKey[Options]()
RUN = pytest.StashKey[Run]()
LIMITS = pytest.StashKey[threadpool_limits]()
ETA = pytest.StashKey[Eta]()


# Help, errors and the summary that pytest prints of ours. These are the streams themselves: pytest has put its own in
# their places while it reads this file.
for _stream in (sys.__stdout__, sys.__stderr__):
    make_readable(_stream)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "numprocesses", None):
        raise pytest.UsageError(
            "the benchmark runs in one process, for its cases would disturb each other: leave out -n"
        )
    config.stash[OPTIONS] = read_options(config)
    # Warnings are errors in our tests. In a user's run, that of some library must not cost a measurement.
    config.addinivalue_line("filterwarnings", "default")
    if config.option.verbose == 0:  # a line for each case: this is long work, and its progress is wanted
        config.option.verbose = 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """model × n_classes × estimator, as far as a test asks for them by name."""
    options = metafunc.config.stash[OPTIONS]
    spelled = [str(estimator) for estimator in options.estimators]
    exact = [str(estimator) for estimator in options.estimators if estimator.exact]
    # Exact sums train alike, step by step: one of them is enough.
    learning = [options.baseline] if options.baseline in exact else exact[:1]
    values: dict[str, list[Any]] = {
        "model": list(options.models),
        "n_classes": list(options.classes),
        "estimator": spelled,
        "sampler": [name for name in spelled if name not in exact],
        "learner": [*learning, *(name for name in spelled if name not in exact), "labels-only"],
        "graded": [str(estimator) for estimator in options.graded],
        "state": list(STATES),
        "timed": ["bound", "step"],
        "roofline": list(options.roofline),
    }
    # Values that go together. Another exact sum beside the baseline is of interest for the sum alone, not for the step.
    together: dict[tuple[str, ...], list[Any]] = {
        ("n_classes", "chunk"): options.chunk_cases,
        ("peer", "estimator", "timed"): peer_cases(options.peers, options.estimators),
        ("candidate", "timed"): [
            (name, timed)
            for name in spelled
            for timed in values["timed"]
            if name != options.baseline and not (name in exact and timed == "step")
        ],
    }
    names = set(metafunc.fixturenames)
    joint = next((group for group in together if names.issuperset(group)), ())
    for name in values:
        if name in names and name not in joint:
            metafunc.parametrize(name, values[name])
    if joint:
        metafunc.parametrize(joint, together[joint])


def _asked_for(item: pytest.Item) -> bool:
    """False for the place holder that pytest makes of a test without cases, such as that of peers without `--peers`."""
    return not any("empty parameter set" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skip"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Small class counts first: a run that is stopped has whole rows of the comparison."""
    config.hook.pytest_deselected(items=[item for item in items if not _asked_for(item)])
    items[:] = sorted(filter(_asked_for, items), key=n_classes)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> Run:
    return pytestconfig.stash[RUN]


@pytest.fixture
def options(pytestconfig: pytest.Config) -> Options:
    return pytestconfig.stash[OPTIONS]


@pytest.fixture
def record(request: pytest.FixtureRequest, run: Run) -> Any:
    """`record(group, settings, **changes)` makes the test's Recorder."""

    def make(group: str, settings: Settings, **changes: Any) -> Recorder:
        request.node.recorder = Recorder(run, request.node.name, group, settings, **changes)
        return request.node.recorder

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Generator[None, Any, Any]:
    """A case that failed or was skipped before it wrote its record gets one that says so."""
    report = yield
    recorder = getattr(item, "recorder", None)
    if recorder is not None and not recorder.written and call.excinfo is not None:
        reason = f"{call.excinfo.typename}: {' '.join(str(call.excinfo.value).split())}"
        recorder.write({}, "skipped" if report.skipped else "failed", reason)
    return report


def pytest_collection_finish(session: pytest.Session) -> None:
    options = session.config.stash[OPTIONS]
    if session.items and not session.config.option.collectonly:
        session.config.stash[LIMITS] = threadpool_limits(options.base.threads)
        keep_memory()
        check_data(options)
        try:
            session.config.stash[RUN] = Run(options, session.config)
        except OSError as error:
            raise pytest.UsageError(f"records cannot be written: {error}") from error
    eta = session.config.stash[ETA] = Eta()
    eta.weights = {item.nodeid: Eta.weight(item, options) for item in session.items}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish() -> Generator[None, Any, Any]:
    """pytest-benchmark warns here that it has nothing to save; pytest's own filters do not reach it everywhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    if LIMITS in config.stash:
        config.stash[LIMITS].restore_original_limits()


def pytest_report_teststatus(report: Any, config: pytest.Config) -> Any:
    """The verbose line of a case says how much is left."""
    if not isinstance(report, pytest.TestReport) or ETA not in config.stash:
        return None
    if report.when == "call" or (report.when == "setup" and not report.passed):
        letter = {"passed": ".", "skipped": "s", "failed": "F"}[report.outcome]
        return report.outcome, letter, f"{report.outcome.upper()} ({config.stash[ETA].word(report.nodeid)})"
    return None


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    if RUN in config.stash:
        machine_info["gsbench"] = config.stash[RUN].machine


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """All records, those of cases that were skipped or failed too, of which pytest-benchmark keeps nothing."""
    output_json["gsbench_records"] = config.stash[RUN].records if RUN in config.stash else []


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    run = config.stash.get(RUN, None)
    if run is None or not run.records:
        return
    terminalreporter.section("gsbench: at a glance")
    terminalreporter.write_line(glance_text(run.records))
    if notice := busy_notice(run.records):
        terminalreporter.write_line(f"\n{notice}")
    terminalreporter.write_line(f"\nRecords, as they came: {run.file.path}")
    terminalreporter.write_line(f"Figures and tables:     gsbench report {run.file.path}")
