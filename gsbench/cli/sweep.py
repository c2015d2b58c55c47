"""`gsbench sweep`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gsbench.cli.run_options import add_run_options, options_of_run
from gsbench.cli.train import STOPPED, summary
from gsbench.estimators import parse_estimator
from gsbench.runs import RunSettings, Store
from gsbench.runs.grid import make_runs, read_grids
from gsbench.runs.settings import LABELS_ONLY
from gsbench.runs.sweep import Pace, local_client, remote_client, run_sweep
from gsbench.settings import available_cores

FAILED = 1  # exit code: some of the runs failed

EXAMPLES = """examples:
  gsbench sweep --preset small --classes 10,50,100 --estimators marginalize-streamed,gumbel-softmax --seeds 0,1
  gsbench sweep grid.toml --workers 2 --dry-run
  gsbench sweep grid.toml --scheduler tcp://host:8786

A TOML file has a table [grid], in which every list is an axis, and may have tables [[also]]: further grids, with
[grid]'s values where they name none:
  [grid]
  preset = "small"
  n_classes = [10, 50, 100]
  estimator = ["marginalize-streamed", "gumbel-softmax", "sum-and-sample(m=5)"]
  seed = [0, 1]
  [[also]]
  dataset = "omniglot"
  n_classes = 242

Runs that are finished are not made again: the same command goes on with a sweep that was stopped.
exit codes: 0 done, 1 some runs failed, 2 cannot be used, 130 stopped
"""


def add_sweep(commands: Any) -> None:
    """`gsbench sweep`."""
    parser = commands.add_parser(
        "sweep",
        help="a grid of training runs, on this machine or on a Dask cluster",
        description="Makes all runs of a grid that are not there yet: estimators × class counts × seeds × budgets.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.toml", help="the grid; options add to it")
    parser.add_argument("--estimators", metavar="NAME,…", help="such as marginalize,gumbel-softmax,labels-only")
    parser.add_argument("--classes", type=numbers(int), metavar="K,…", help="class counts")
    parser.add_argument("--seeds", type=numbers(int), metavar="S,…", help="seeds (default: 0)")
    add_run_options(parser, preset=None, budgets=numbers)
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="runs at a time here (default: 1)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, in place of this machine's cores")
    parser.add_argument("--dry-run", action="store_true", help="list the runs, and which of them are finished")
    parser.set_defaults(run=run_sweep_command)


def numbers(kind: type) -> Any:
    """Reads `1,2,3`."""

    def read(text: str) -> list[Any]:
        return [kind(part) for part in text.split(",")]

    read.__name__ = f"list of {kind.__name__}"  # argparse names it in its message
    return read


def estimators(text: str) -> list[str]:
    """The spellings of a comma-separated list (commas within parentheses belong to settings)."""
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", text) if part.strip()]
    return [part if part == LABELS_ONLY else str(parse_estimator(part)) for part in parts]


def _grids(arguments: argparse.Namespace, threads: int) -> list[dict[str, Any]]:
    """Options that were given take the place of the file's."""
    given = options_of_run(arguments)
    for name, value in (("n_classes", arguments.classes), ("seed", arguments.seeds)):
        if value is not None:
            given[name] = value
    if arguments.estimators is not None:
        given["estimator"] = estimators(arguments.estimators)
    grids = read_grids(arguments.file) if arguments.file else [{}]
    return [{"threads": threads, **grid, **given} for grid in grids]


def run_sweep_command(arguments: argparse.Namespace) -> int:
    if not 1 <= arguments.workers <= available_cores():
        allowed = f"1 to {available_cores()}, the cores of this machine"
        raise ValueError(f"workers must be {allowed}, got {arguments.workers}")
    threads = max(1, available_cores() // arguments.workers)
    runs = make_runs(_grids(arguments, threads), arguments.data_dir)
    store = Store(arguments.runs)
    if arguments.dry_run:
        for settings in runs:
            record = store.record(settings.key)
            print(f"{settings.key}: {record['status'] if record else 'not begun'}")
        return 0
    known = [settings for settings in runs if store.finished(settings.key)]
    print(f"{len(runs)} runs, {len(known)} of them finished before; records in {store.folder}", file=sys.stderr)
    try:
        records = _sweep(arguments, runs, known, store, threads)
    except KeyboardInterrupt:
        every = f"every {arguments.checkpoint_seconds:g} s"
        print("Stopped. What is finished stays, and the same command goes on from the", file=sys.stderr, end=" ")
        print(f"checkpoints of the rest ({every}).", file=sys.stderr)
        return STOPPED
    failures = [record for record in records if record["status"] not in ("ok", "diverged")]
    for record in failures:
        print(f"{record['case']}: {record['status']}: {record['reason']}", file=sys.stderr)
    print(f"For the report: gsbench report {store.folder}", file=sys.stderr)
    print(store.folder)
    return FAILED if failures else 0


def _sweep(
    arguments: argparse.Namespace, runs: Sequence[RunSettings], known: Sequence[RunSettings], store: Store, threads: int
) -> list[dict[str, Any]]:
    left = [settings for settings in runs if settings not in known]
    pace = Pace(left)
    client = remote_client(arguments.scheduler) if arguments.scheduler else local_client(arguments.workers, threads)
    with client as connected, tqdm(total=len(runs), initial=len(known), unit="run", dynamic_ncols=True) as bar:

        def ended(settings: RunSettings, record: dict[str, Any]) -> None:
            tqdm.write(f"{settings.key}: {summary(record)}", file=sys.stderr)
            bar.update()
            bar.set_postfix_str(pace.end(settings))

        return run_sweep(
            runs,
            store,
            connected,
            data_dir=arguments.data_dir,
            checkpoint_seconds=arguments.checkpoint_seconds,
            ended=ended,
        )
