"""`gsbench train`."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gsbench.cli.parser import CommandParser
from gsbench.cli.remarks import is_quiet, progress_bar, remark
from gsbench.cli.run_options import add_run_options, options_of_run
from gsbench.cli.values import whole
from gsbench.runs import Store, run_training
from gsbench.runs.grid import make_runs
from gsbench.settings.run import RunSettings
from gsbench.shown import visible
from gsbench.training.trainer import Progress, Training

STOPPED, DIVERGED, NO_MEMORY = 130, 3, 4  # exit codes; 130 is the shell's for Ctrl-C

EXAMPLES = """examples:
  gsbench train --dataset mnist --preset blog --estimator gumbel-softmax --seed 1
  gsbench train --classes 50 --preset small --estimator 'sum-and-sample(m=5)' --steps 5000
  gsbench train --dataset mnist --estimator marginalize --seconds 600 --alpha 50 --learning-rate 1e-3

The same command resumes an interrupted run, or prints the result of a finished one.
exit codes: 0 done, 2 unusable arguments or files, 3 diverged, 4 does not fit into memory, 130 stopped
"""


def fill(parser: CommandParser) -> None:
    """The options of `gsbench train`."""
    parser.description = (
        "Trains one model and writes its record: the accuracy on validation images by epoch and by second, and the "
        "accuracy on the test images at the end."
    )
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--estimator", default="marginalize", metavar="NAME",
        help="such as marginalize, gumbel-softmax, 'gumbel-softmax(tau=0.5)', or labels-only: the classifier alone",
    )  # fmt: skip
    parser.add_argument("--classes", dest="n_classes", type=whole, metavar="K", help="classes (default: 10, or all)")
    parser.add_argument("--seed", type=whole, default=0, help="seed of parameters, noise, data split and order")
    add_run_options(parser)
    parser.set_defaults(run=run_train)


def run_train(arguments: argparse.Namespace) -> int:
    (settings,) = make_runs([options_of_run(arguments)], arguments.data_dir)
    store = Store(arguments.runs)
    remark(f"run {settings.key} in {store.folder}")
    remark_problem(store, settings)
    known = store.finished(settings.key)
    with asked_to_stop() as stop, Bar() as bar:
        record = run_training(
            settings,
            store,
            data_dir=arguments.data_dir,
            watcher=bar,
            stop=stop.is_set,
            checkpoint_seconds=arguments.checkpoint_seconds,
        )
    if known:
        remark("This run is already finished; delete its folder to repeat it.")
    print(summary(record))
    print(store.run(settings.key))
    codes = {"ok": 0, "unfinished": STOPPED, "diverged": DIVERGED, "too-large": NO_MEMORY, "out-of-memory": NO_MEMORY}
    if record["status"] == "unfinished":
        remark("Stopped with a checkpoint: the same command resumes from there.")
    return codes[record["status"]]


def remark_problem(store: Store, settings: RunSettings) -> None:
    """Reports why the record of a run cannot be read, if so."""
    if problem := store.problem(settings.key):
        remark(f"{problem}. The run counts as unfinished: it resumes from its checkpoint, or restarts.")


def summary(record: dict[str, Any]) -> str:
    """A run in one line."""
    parts = [visible(f"{record['status']}" + (f" ({record['reason']})" if record.get("reason") else ""))]
    if None not in (record.get("step"), record.get("epoch"), record.get("train_seconds")):
        seconds = f"{record['train_seconds']:.0f} s of training"
        parts.append(f"step {record['step']:,}, epoch {record['epoch']:.3g}, {seconds}")
    for part in ("validation", "test"):
        if record.get(f"{part}_accuracy") is not None:
            parts.append(f"{part} accuracy {100 * record[f'{part}_accuracy']:.2f} %")
    return "; ".join(parts)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets. The second one ends the process as usual."""
    event = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def handle(number: int, frame: Any) -> None:
        event.set()
        if not is_quiet():
            print("\nstopping after this step, with a checkpoint; a second Ctrl-C stops at once", file=sys.stderr)
        for each in numbers:
            signal.signal(each, before[each])

    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield event
        return
    for number in numbers:
        signal.signal(number, handle)
    try:
        yield event
    finally:
        for number in numbers:
            signal.signal(number, before[number])


class Bar:
    """Shows a run on stderr: loss, accuracy, steps per second and time left."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.accuracy = ""
        self.of_seconds = False

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def start(self, settings: RunSettings, last_step: int | None, progress: Progress) -> None:
        self.of_seconds = last_step is None and settings.seconds is not None
        total = settings.seconds if self.of_seconds else last_step
        done = progress.train_seconds if self.of_seconds else progress.step
        # The bar counts what ends the run: steps, or seconds of training. Patience alone sets no end.
        unit = "s" if self.of_seconds else "steps"
        shape = "{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} " + unit + " [{elapsed}, left {remaining}{postfix}]"
        if total is None:
            shape = "{n:.0f} steps [{elapsed}{postfix}]"
        self.bar = progress_bar(total=total, initial=done, bar_format=shape, mininterval=0.5)
        self.evaluation(progress)

    def step(self, training: Training, loss: float) -> None:
        done = training.train_seconds if self.of_seconds else training.steps
        pace = training.steps / training.train_seconds
        self.bar.set_postfix_str(f"{pace:.3g} steps/s, loss {loss:.1f}, {self.accuracy}", refresh=False)
        self.bar.update((done if self.bar.total is None else min(done, self.bar.total)) - self.bar.n)

    def evaluation(self, progress: Progress) -> None:
        self.accuracy = f"accuracy {100 * progress.validation_accuracy:.1f} %"
