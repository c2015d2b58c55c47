"""Options, cases and records of `pytest bench/`."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from options import Options, add_options, check_data, read_options
from peers import peer_cases
from peers.child import command as peer_command
from threadpoolctl import threadpool_limits

from gsbench.backends import load_backend
from gsbench.data import Dataset, load_dataset
from gsbench.machine import machine_fields
from gsbench.meters.child import ChildResult, own_command, run_in_child
from gsbench.meters.estimate import classes_at_once, estimate_step_bytes
from gsbench.records import Record, RecordFile, new_run_id
from gsbench.report.glance import glance_text
from gsbench.settings import Settings

OPTIONS = pytest.StashKey[Options]()
RUN = pytest.StashKey["Run"]()
LIMITS = pytest.StashKey[threadpool_limits]()

# A case whose estimate is above this share of the limit runs first in a child, for the estimate may be off by a half.
TRIAL_SHARE = 0.5


class Run:
    """One session: its records, in the file as they come and in memory for the end, and what its cases share."""

    def __init__(self, options: Options, config: pytest.Config) -> None:
        self.options = options
        # pytest-benchmark's own options say how long a case is measured.
        self.max_time = float(config.getoption("benchmark_max_time"))
        self.min_rounds = int(config.getoption("benchmark_min_rounds"))
        self.run_id = new_run_id()
        self.file = RecordFile(_records_folder(config) / f"{self.run_id}.jsonl")
        self.records: list[dict[str, Any]] = []
        base = options.base
        self.bk = load_backend(base.backend, base.device, base.dtype)
        self.machine = machine_fields(self.bk)
        self.dataset = functools.lru_cache(maxsize=2)(self._dataset)
        self.trial = functools.cache(self._trial)
        self.estimate = functools.cache(estimate_step_bytes)

    def _dataset(self, name: str, n_classes: int) -> Dataset:
        return load_dataset(name, n_classes, data_dir=self.options.data_dir, seed=self.options.base.seed)

    def _trial(self, settings: Settings, timed: str = "step", peer: str | None = None) -> ChildResult:
        """Two steps in a fresh process, of gsbench's own or of a peer."""
        on_host = settings.device == "cpu"  # the limit is the device's memory, which bounds no process on the host
        command = peer_command(peer, timed) if peer else own_command(timed)
        return run_in_child(settings, self.options.memory_limit if on_host else None, command=command)

    def add(self, record: Record) -> dict[str, Any]:
        self.records.append(record.flat())
        self.file.append(record)
        return self.records[-1]


class Recorder:
    """Writes the one record of a test; `benchmark.extra_info` gets the same flat dict."""

    def __init__(self, run: Run, case: str, group: str, settings: Settings, **changes: Any) -> None:
        self.run, self.case, self.group = run, case, group
        self.settings = settings
        self.fields = {**settings.record_fields(), **changes}
        if "chunk" in settings.make_estimator().settings:
            self.fields["chunk"] = classes_at_once(settings)
        self.written = False

    def drop_estimator_settings(self) -> None:
        """For a case without an estimator."""
        self.fields = {key: v for key, v in self.fields.items() if not key.startswith("estimator_")}

    def dataset(self) -> Dataset:
        """The data set of the case, whose version and checksum go into the record."""
        dataset = self.run.dataset(self.settings.dataset, self.settings.n_classes)
        self.fields.update(dataset_version=dataset.version, dataset_checksum=dataset.checksum)
        return dataset

    def write(self, figures: dict[str, Any], status: str = "ok", reason: str = "") -> dict[str, Any]:
        added = self.run.add(
            Record(
                self.run.run_id,
                self.group,
                self.case,
                self.fields,
                self.run.machine,
                figures,
                status,
                reason,
            )
        )
        self.written = True
        return added

    def skip(self, status: str, reason: str, **figures: Any) -> None:
        """Records that the case was not measured, and why, and skips the test."""
        self.write(figures, status, reason)
        pytest.skip(f"{status}: {reason}")

    def require_memory(self, *cases: Settings) -> None:
        """Skips, recorded, where a case does not fit the memory limit: by its estimate, or in a trial in a child."""
        limit = self.run.options.memory_limit
        for settings in cases:
            estimate = self.run.estimate(settings)
            figures = {"estimate_bytes": estimate, "memory_limit_bytes": limit}
            what = f"{settings.estimator} at K = {settings.n_classes}"
            if estimate > limit:
                self.skip(
                    "too-large",
                    f"{what} needs about {estimate:.3g} bytes, the limit is {limit:.3g}",
                    **figures,
                )
            if estimate > TRIAL_SHARE * limit and settings.device == "cpu":
                trial = self.run.trial(settings)
                if trial.status == "failed":
                    raise RuntimeError(f"the trial of {what} in a fresh process failed: {trial.reason}")
                if trial.status != "ok":
                    self.skip(trial.status, f"{what}: {trial.reason}", **figures)


def _records_folder(config: pytest.Config) -> Path:
    """Beside pytest-benchmark's own files, where it keeps files."""
    storage = str(config.getoption("benchmark_storage"))
    folder = ".benchmarks" if storage.startswith("elasticsearch+") else storage.removeprefix("file://")
    return Path(folder) / "records"


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
        "timed": ["bound", "step"],
        "chunk": list(options.chunks),
        "roofline": list(options.roofline),
    }
    # Values that go together. Another exact sum beside the baseline is of interest for the sum alone, not for the step.
    together: dict[tuple[str, ...], list[Any]] = {
        ("peer", "estimator", "timed"): peer_cases(options.peers, options.estimators),
        ("candidate", "timed"): [
            (name, timed)
            for name in spelled
            for timed in values["timed"]
            if name != options.baseline and not (name in exact and timed == "step")
        ],
    }
    names = set(metafunc.fixturenames)
    joint = next((group for group in together if group[0] in names), ())
    for name in values:
        if name in names and name not in joint:
            metafunc.parametrize(name, values[name])
    if joint:
        metafunc.parametrize(joint, together[joint])


def _n_classes(item: pytest.Item) -> int:
    return item.callspec.params.get("n_classes", 0) if hasattr(item, "callspec") else 0


def _asked_for(item: pytest.Item) -> bool:
    """False for the place holder that pytest makes of a test without cases, such as that of peers without `--peers`."""
    return not any("empty parameter set" in mark.kwargs.get("reason", "") for mark in item.iter_markers("skip"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Small class counts first: a run that is stopped has whole rows of the comparison."""
    config.hook.pytest_deselected(items=[item for item in items if not _asked_for(item)])
    items[:] = sorted(filter(_asked_for, items), key=_n_classes)


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


class Eta:
    """How long the cases that are left will take, from those that are done: each weighs what its K lets expect."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.weights: dict[str, float] = {}
        self.done = 0.0

    @staticmethod
    def weight(item: pytest.Item, options: Options) -> float:
        if item.name.startswith("test_accuracy"):
            return 3 + options.accuracy_seconds
        if item.name.startswith("test_peer"):  # with two fresh processes, one of which imports another framework
            return 10 + 0.2 * _n_classes(item)
        return 2 + 0.05 * _n_classes(item)

    def word(self, nodeid: str) -> str:
        self.done += self.weights.pop(nodeid, 0.0)
        if not self.weights:
            return "last case"
        # The weights are seconds on a usual machine: believed at first, and corrected by what was measured.
        pace = (10 + time.perf_counter() - self.started) / (10 + self.done)
        left = pace * sum(self.weights.values())
        return f"{len(self.weights)} left, about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'}"


ETA = pytest.StashKey[Eta]()


def pytest_collection_finish(session: pytest.Session) -> None:
    options = session.config.stash[OPTIONS]
    if session.items and not session.config.option.collectonly:
        session.config.stash[LIMITS] = threadpool_limits(options.base.threads)
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
    terminalreporter.write_line(f"\nRecords, as they came: {run.file.path}")
    terminalreporter.write_line(f"Figures and tables:     gsbench report {run.file.path}")
