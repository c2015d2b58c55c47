"""Options, cases and records of `pytest bench/` and `gsbench bench`."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Generator
from typing import Any

import pytest
from eta import Eta, n_classes
from options import STATES, Options, add_options, check_data, read_options
from peers import peer_cases
from recording import Recorder, Session
from saving import check_before, check_compared, check_grouping, save, tell_other_machine
from threadpoolctl import threadpool_limits

from gsbench.cli.streams import make_readable
from gsbench.meters.allocator import keep_memory
from gsbench.meters.machine import machine_fields
from gsbench.models import MODELS
from gsbench.records.busy import busy_notice
from gsbench.registry import load_named_plugins
from gsbench.report.glance import glance_text
from gsbench.report.verdict import verdict_text
from gsbench.report.writers.terminal import wrapped
from gsbench.settings.case import Settings

OPTIONS = pytest.StashKey[Options]()
SESSION = pytest.StashKey[Session]()
LIMITS = pytest.StashKey[threadpool_limits]()
ETA = pytest.StashKey[Eta]()
UNSAVED = pytest.StashKey[str]()


# Pytest prints our help, errors and summary. These are the original streams, because pytest replaces sys.stdout and
# sys.stderr while it reads this file.
for _stream in (sys.__stdout__, sys.__stderr__):
    make_readable(_stream)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    config = pluginmanager.get_plugin("pytestconfig")
    assert config is not None
    try:
        load_named_plugins(list(map(str, config.invocation_params.args)))  # before names are listed and read
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    if not pluginmanager.has_plugin("options"):  # `gsbench bench` names both kinds of plug-ins earlier
        add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "numprocesses", None):
        raise pytest.UsageError(
            "the benchmark runs in one process, for its cases would disturb each other: leave out -n"
        )
    config.stash[OPTIONS] = read_options(config)
    check_before(config)
    # Warnings are errors in our tests. In a user's session, a library's warning must not cost a measurement.
    # pytest-benchmark also warns, even outside of tests, if it has nothing to save or to compare.
    config.addinivalue_line("filterwarnings", "default")
    filters = contextlib.ExitStack()
    filters.enter_context(warnings.catch_warnings())
    config.add_cleanup(filters.close)
    warnings.simplefilter("default")
    # A case has the same name everywhere. Elsewhere than here, pytest would print the way to the installed package too.
    config.cwd_relative_nodeid = lambda nodeid: nodeid  # type: ignore[method-assign]
    if config.option.verbose == 0:  # a line for each case shows the progress of long work
        config.option.verbose = 1


def pytest_sessionstart(session: pytest.Session) -> None:
    check_compared(session.config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrises a test over model × n_classes × estimator, for the names among its arguments."""
    options = metafunc.config.stash[OPTIONS]
    spelled = [str(estimator) for estimator in options.estimators]
    exact = [str(estimator) for estimator in options.estimators if estimator.exact]
    # One exact sum is enough, because all exact sums train identically.
    learning = [options.baseline] if options.baseline in exact else exact[:1]
    learners = [*learning, *(name for name in spelled if name not in exact), "labels-only"]
    values: dict[str, list[Any]] = {
        "model": list(options.models),
        "n_classes": list(options.classes),
        "estimator": spelled,
        # Of the fixed comparison with M2, which is beside the point where a user measures a model of their own.
        "sampler": [name for name in spelled if name not in exact and {*options.models} <= {*MODELS.own}],
        "learner": learners if options.accuracy_seconds else [],
        "graded": [str(estimator) for estimator in options.graded],
        "state": list(STATES),
        "timed": ["bound", "step"],
        "roofline": list(options.roofline),
    }
    # Values that go together. A second exact sum is compared with the baseline on the bound alone, not on the step.
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
    """False for pytest's placeholder of a test without cases, such as the test of peers without `--peers`."""
    return not any("empty parameter set" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skip"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Small class counts first: a session that is stopped has whole rows of the comparison. Within a class count,
    gradients come last, because they take longest and the verdict needs none.
    """
    config.hook.pytest_deselected(items=[item for item in items if not _asked_for(item)])
    items[:] = sorted(
        filter(_asked_for, items), key=lambda item: (n_classes(item), item.name.startswith("test_gradient"))
    )


def pytest_report_header(config: pytest.Config) -> str:
    base = config.stash[OPTIONS].base
    threads = f"{base.threads} thread{'' if base.threads == 1 else 's'}"
    return f"gsbench: backend {base.backend}, {base.dtype} on {base.device}, {threads}"


@pytest.fixture(scope="session")
def session(pytestconfig: pytest.Config) -> Session:
    return pytestconfig.stash[SESSION]


@pytest.fixture
def options(pytestconfig: pytest.Config) -> Options:
    return pytestconfig.stash[OPTIONS]


@pytest.fixture
def record(request: pytest.FixtureRequest, session: Session) -> Any:
    """`record(group, settings, **changes)` makes the test's Recorder."""

    def make(group: str, settings: Settings, **changes: Any) -> Recorder:
        request.node.recorder = Recorder(session, request.node.name, group, settings, **changes)
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


def _as_measured(config: pytest.Config) -> None:
    """Sets the conditions of every measurement, which records name: threads and memory."""
    if LIMITS not in config.stash:
        config.stash[LIMITS] = threadpool_limits(config.stash[OPTIONS].base.threads)
        keep_memory()


def pytest_collection_finish(session: pytest.Session) -> None:
    options = session.config.stash[OPTIONS]
    if session.items and not session.config.option.collectonly:
        check_grouping(session.config, session.items)
        _as_measured(session.config)
        check_data(options)
        try:
            session.config.stash[SESSION] = Session(options, session.config)
        except OSError as error:
            raise pytest.UsageError(f"records cannot be written: {error}") from error
    eta = session.config.stash[ETA] = Eta()
    eta.weights = {item.nodeid: Eta.weight(item, options) for item in session.items}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """Saves the measurements first. A failure to save ends nothing: the summary and the exit status report it."""
    measuring = session.config.stash.get(SESSION, None)
    if measuring is not None:
        measuring.file.write_waiting()
        unsaved = session.config.stash[UNSAVED] = save(session.config)
        if (unsaved or measuring.file.waiting) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
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
        word = config.stash[ETA].word(report.nodeid)
        if SESSION in config.stash and (problem := config.stash[SESSION].file.problem):
            word += f"; records cannot be written: {problem}"
        return report.outcome, letter, f"{report.outcome.upper()} ({word})"
    return None


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Pytest-benchmark asks when it saves, and, when it compares, before any measurement. The answer is the same.

    gsbench's version and commit are left out, because comparisons are mostly between two commits.
    """
    _as_measured(config)
    base = config.stash[OPTIONS].base
    fields = machine_fields(base.make_backend())
    own = ("gsbench_version", "gsbench_commit")
    machine_info["gsbench"] = {name: value for name, value in fields.items() if name not in own}


@pytest.hookimpl(wrapper=True)
def pytest_benchmark_compare_machine_info(
    benchmarksession: Any, machine_info: dict[str, Any], compared_benchmark: dict[str, Any]
) -> Generator[None, Any, Any]:
    try:
        return (yield)
    except ValueError:
        return tell_other_machine(benchmarksession, machine_info, compared_benchmark)


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """All records, also of skipped and failed cases, which pytest-benchmark does not keep."""
    output_json["gsbench_records"] = config.stash[SESSION].records if SESSION in config.stash else []


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> Generator[None, Any, Any]:
    """Prints after pytest-benchmark's tables, even if it ends in an error, as with `--benchmark-compare-fail`."""
    try:
        return (yield)
    finally:
        session = config.stash.get(SESSION, None)
        if session is not None and session.records:
            _summary(terminalreporter, session, config.stash.get(UNSAVED, ""))


def _summary(terminalreporter: Any, session: Session, unsaved: str) -> None:
    terminalreporter.section("gsbench: at a glance")
    for told in filter(None, (verdict_text(session.records), glance_text(session.records))):
        terminalreporter.write_line(f"{told}\n")
    if notice := busy_notice(session.records):
        terminalreporter.write_line(f"\n{wrapped(notice)}")
    if len(session.records) > len(session.file.waiting):
        terminalreporter.write_line(f"\nRecords, as they came: {session.file.path}")
        terminalreporter.write_line(f"Figures and tables:     gsbench report {session.file.path}")
    for problem in (unsaved, session.file.unwritten()):
        if problem:
            terminalreporter.write_line(f"\n{problem}")
