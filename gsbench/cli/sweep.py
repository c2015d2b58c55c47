"""`gsbench sweep`."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from gsbench.cli.parser import CommandParser
from gsbench.cli.remarks import failure, progress_bar, remark
from gsbench.cli.run_options import add_run_options, options_of_run, several_of
from gsbench.cli.train import STOPPED, remark_problem, summary
from gsbench.cli.values import option, path, whole
from gsbench.limits import available_cores
from gsbench.process import end_at_once, later, stoppable
from gsbench.runs import FINISHED, Store
from gsbench.runs.cluster import local_client, remote_client
from gsbench.runs.grid import make_runs, read_grids
from gsbench.runs.sweep import run_sweep
from gsbench.settings.run import RunSettings, spelling
from gsbench.shown import visible
from gsbench.values import SettingError, parts

FAILED = 1  # exit code: some of the runs failed

EXAMPLES = """examples:
  gsbench sweep --preset small --classes 10,50,100 --estimators marginalize-streamed,gumbel-softmax --seeds 0,1
  gsbench sweep grid.toml --workers 2 --dry-run
  gsbench sweep grid.toml --scheduler tcp://host:8786

A TOML file has a table [grid], in which every list is an axis of the grid. It may have further grids, the tables
[[also]], which take the values that they do not name from [grid]:
  [grid]
  preset = "small"
  n_classes = [10, 50, 100]
  estimator = ["marginalize-streamed", "gumbel-softmax", "sum-and-sample(m=5)"]
  seed = [0, 1]
  [[also]]
  dataset = "omniglot"
  n_classes = 242

Every setting takes several values, such as --drop-x 0,0.2. Start the workers of a cluster with the resources of a run:
  dask worker ADDRESS --nthreads 1 --resources "threads=4"     (or "card=1", for runs with --device cuda:0)

Finished runs are not repeated, so the same command resumes an interrupted sweep.
exit codes: 0 done, 1 some runs failed, 2 unusable arguments or files, 130 stopped by Ctrl-C or SIGTERM
"""


def fill(parser: CommandParser) -> None:
    """The options of `gsbench sweep`."""
    parser.description = "Makes all unfinished runs of a grid: estimators × class counts × seeds × budgets."
    parser.epilog = EXAMPLES
    parser.add_argument("file", nargs="?", type=path, metavar="FILE.toml", help="the grid; options override its values")
    parser.add_argument(
        "--estimators", dest="estimator", type=option(estimators), metavar="NAME,…",
        help="such as marginalize,gumbel-softmax,labels-only",
    )  # fmt: skip
    add_list = parser.add_argument
    add_list("--classes", dest="n_classes", type=several_of(whole), metavar="K,…", help="class counts")
    add_list("--seeds", dest="seed", type=several_of(whole), metavar="S,…", help="seeds (default: 0)")
    add_run_options(parser, several=True)
    parser.add_argument("--workers", type=whole, default=1, metavar="N", help="parallel runs here (default: 1)")
    parser.add_argument(
        "--scheduler", type=option(address), metavar="ADDRESS",
        help="use the workers of this Dask scheduler, not this machine",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="list the runs and their states, and run nothing")
    parser.set_defaults(run=run_sweep_command)


def estimators(text: str) -> list[str]:
    """The spellings of a comma-separated list (commas within parentheses belong to settings)."""
    return [spelling(part) for part in parts(text)]


def address(text: str) -> str:
    if not text.strip():
        raise ValueError(f"must be the address of a Dask scheduler, such as tcp://host:8786, got {text!r}")
    return text


def _runs(arguments: argparse.Namespace, threads: int) -> list[RunSettings]:
    """The runs of the grid. Options override the values of the file. An error in the file names the file."""
    given = options_of_run(arguments)
    grids = read_grids(arguments.file) if arguments.file else [{}]
    try:
        return make_runs([{"threads": threads, **grid, **given} for grid in grids], arguments.data_dir)
    except SettingError as error:
        if arguments.file and not set(error.fields) & set(given):
            raise ValueError(f"{arguments.file}: {error}") from error
        raise


def run_sweep_command(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.workers <= available_cores():
        allowed = f"1 to {available_cores()}, the cores that this process may use"
        raise SettingError(f"{{workers}} must be {allowed}", f", got {arguments.workers}")
    threads = max(1, available_cores() // arguments.workers)
    runs, store = _runs(arguments, threads), Store(arguments.runs)
    if arguments.dry_run:
        for settings in runs:
            record, problem = store.record(settings.key), store.problem(settings.key)
            print(visible(f"{settings.key}: {record['status'] if record else problem or 'not begun'}"))
        return 0
    try:
        records = _sweep(arguments, runs, store, threads)
    except KeyboardInterrupt:
        remark("Stopped. Finished runs are kept; the same command resumes from the checkpoints.")
        return STOPPED
    failures = [record for record in records if record["status"] not in FINISHED]
    for record in failures:
        failure(visible(f"{record['case']}: {record['status']}: {record['reason']}"))
    remark(f"{len(failures)} of {len(runs)} runs failed; to make the report: gsbench report {store.folder}")
    print(store.folder)
    return FAILED if failures else 0


def _sweep(
    arguments: argparse.Namespace, runs: Sequence[RunSettings], store: Store, threads: int
) -> list[dict[str, Any]]:
    left = [settings for settings in runs if not store.finished(settings.key)]
    for settings in set(runs) - set(left):
        store.drop_checkpoint(settings.key)  # left by a worker that was killed right after its last record
    for settings in left:
        remark_problem(store, settings)
    remark(f"{len(runs)} runs, {len(runs) - len(left)} of them already finished, in {store.folder}")
    if not left:
        return [store.record(settings.key) or {} for settings in runs]
    with stoppable(), ExitStack() as stack:
        if arguments.scheduler:
            client = stack.enter_context(remote_client(arguments.scheduler))
        else:
            with later():  # a cluster that is stopped during its start prints tracebacks, and so do its workers
                client = stack.enter_context(local_client(arguments.workers, threads))
        stack.callback(end_at_once)  # and so does a cluster that is stopped during its end
        bar = stack.enter_context(Bar(runs, left))
        return run_sweep(
            runs,
            store,
            client,
            data_dir=arguments.data_dir,
            checkpoint_seconds=arguments.checkpoint_seconds,
            watcher=bar,
        )


class Bar:
    """Shows a sweep on stderr: a line for each run that ended, and a bar with the time left."""

    def __init__(self, runs: Sequence[RunSettings], left: Sequence[RunSettings]) -> None:
        shape = "{percentage:3.0f}%|{bar:10}| {n_fmt}/{total_fmt} runs [{elapsed}{postfix}]"
        self.bar = progress_bar(total=len(runs), initial=len(runs) - len(left), bar_format=shape)
        self.pace, self.failed = Pace(left), 0

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.set_postfix_str(f"{self.failed} failed")
        self.bar.close()

    def look(self, under_way: Sequence[RunSettings]) -> None:
        cases = [(settings.case.n_classes, settings.estimator, settings.case.seed) for settings in under_way]
        now = "; ".join(f"K={n_classes} {estimator} seed {seed}" for n_classes, estimator, seed in cases)
        self.bar.set_postfix_str(f"{self.failed} failed{self.pace.left()}; now {now or 'waiting for a worker'}")

    def end(self, settings: RunSettings, record: dict[str, Any]) -> None:
        remark(f"{settings.key}: {summary(record)}")
        self.pace.end(settings)
        self.failed += record["status"] not in FINISHED
        self.bar.update()

    def stop(self) -> None:
        remark("stopping: the runs write their checkpoints; a second Ctrl-C stops at once")


# The fixed cost of a step in calls of f, for the small networks of typical sweeps.
FIXED_CALLS = 10
STEPS_OF_PATIENCE = 2500  # of a run that patience alone ends


class Pace:
    """Estimates the time left from the runs that ended. The weight of a run is its number of calls of f."""

    def __init__(self, runs: Sequence[RunSettings]) -> None:
        self.started = time.monotonic()
        self.weights = {settings.key: self._weight(settings) for settings in runs}
        self.done = 0.0

    @staticmethod
    def _weight(settings: RunSettings) -> float:
        """Seconds of training if these are the budget, else the calls of f plus the fixed cost of the steps."""
        if settings.last_step(1.0) is None and settings.seconds is not None:
            return settings.seconds
        calls = 0 if settings.labels_only else settings.case.make_estimator().calls(settings.case.n_classes)
        return (FIXED_CALLS + calls) * float(settings.last_step(500.0) or STEPS_OF_PATIENCE)

    def end(self, settings: RunSettings) -> None:
        self.done += self.weights.pop(settings.key)

    def left(self) -> str:
        """The time left in words, or "" before the first run has ended."""
        if not self.done or not self.weights:
            return ""
        seconds = (time.monotonic() - self.started) / self.done * sum(self.weights.values())
        return f", about {seconds / 60:.0f} min left" if seconds > 90 else ""
