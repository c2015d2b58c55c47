"""A grid of runs on Dask: on this machine's cores, or on any cluster."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gsbench.machine import machine_fields_of_driver
from gsbench.records import Record, new_run_id
from gsbench.runs.run import run_training
from gsbench.runs.settings import RunSettings
from gsbench.runs.store import FINISHED, Store

THREADS, CARD = "threads", "card"  # what workers declare and runs ask for, as Dask resources
WORKERS_SECONDS = 60.0  # to wait for a cluster's first worker


def needs(settings: RunSettings) -> dict[str, float]:
    """The Dask resources that a run asks for: its threads on a CPU, else a card."""
    return {THREADS: settings.case.threads} if settings.case.device == "cpu" else {CARD: 1}


@contextlib.contextmanager
def local_client(workers: int, threads: int) -> Iterator[Any]:
    """A client of a cluster on this machine: processes that make one run at a time, each with its share of threads."""
    distributed = import_distributed()
    cluster = distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        resources={THREADS: threads, CARD: 1},
        memory_limit=0,  # whether a run fits is asked before it begins
        dashboard_address=":0",  # any free port: the usual one may be taken
        silence_logs=logging.CRITICAL,
    )
    with cluster, distributed.Client(cluster) as client:
        yield client


@contextlib.contextmanager
def remote_client(address: str) -> Iterator[Any]:
    """A client of the cluster whose scheduler is at an address. Raises ValueError where none answers."""
    distributed = import_distributed()
    try:
        client = distributed.Client(address, timeout=30)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address!r}: {' '.join(str(error).split())}") from None
    with client:
        yield client


def import_distributed() -> Any:
    """Raises ValueError, with what to do, where Dask's distributed is not installed."""
    try:
        import distributed
    except ImportError:
        raise ValueError("a sweep needs Dask's distributed: pip install 'gsbench[sweep]'") from None
    return distributed


def check_workers(client: Any, runs: Sequence[RunSettings]) -> None:
    """Raises ValueError where no worker of the cluster has what a run asks for: it would wait for ever."""
    distributed = import_distributed()
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except (TimeoutError, distributed.TimeoutError):
        raise ValueError(f"the cluster has no worker after {WORKERS_SECONDS:.0f} s") from None
    offers = client.run_on_scheduler(_offers)
    for settings in runs:
        ((name, amount),) = needs(settings).items()
        most = max((offer.get(name, 0) for offer in offers), default=0)
        if most < amount:
            raise ValueError(
                f"the run {settings.key} asks for {name}={amount:g} and the cluster's workers offer at most {most:g}; "
                f"start them with: dask worker ADDRESS --nthreads 1 --resources '{name}={amount:g}'"
            )


def _offers(dask_scheduler: Any) -> list[dict[str, float]]:
    return [dict(worker.resources) for worker in dask_scheduler.workers.values()]


def run_sweep(
    runs: Sequence[RunSettings],
    store: Store,
    client: Any,
    *,
    data_dir: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    ended: Callable[[RunSettings, dict[str, Any]], None] = lambda settings, record: None,
) -> list[dict[str, Any]]:
    """Makes the runs that the store has not, and returns the records of all, in the order of `runs`.

    One task of the cluster is one run, which goes on from its checkpoint where a worker before it was lost. What fails
    is recorded as such and stops nothing. `ended` is called as each run ends.

    A run's folder is written by its worker. Where that is on another file system, the record comes back with the
    result and is written here, so that each run is recorded once.
    """
    distributed = import_distributed()
    left = [settings for settings in runs if not store.finished(settings.key)]
    if left:
        check_workers(client, left)
    run_id, folder = new_run_id(), store.folder.resolve()
    futures: dict[Any, RunSettings] = {}
    for settings in left:
        future = client.submit(
            _make, settings, folder, data_dir, run_id, checkpoint_seconds,
            key=f"{settings.key}-{run_id}", resources=needs(settings), priority=-len(futures), pure=False,
        )  # fmt: skip
        futures[future] = settings
    try:
        for future in distributed.as_completed(futures, raise_errors=False):
            settings = futures[future]
            ended(settings, _settle(settings, store, future, run_id))
    except BaseException:
        client.cancel(list(futures))
        raise
    return [store.record(settings.key) or {} for settings in runs]


def _make(
    settings: RunSettings, folder: Path, data_dir: str | Path | None, run_id: str, checkpoint_seconds: float
) -> dict[str, Any]:
    """A run, on a worker. One whose worker was thought lost may still be at it: then this waits, and finds it done."""
    store = Store(folder)
    try:
        return run_training(
            settings, store, data_dir=data_dir, run_id=run_id, checkpoint_seconds=checkpoint_seconds, wait=True
        )
    except Exception:
        record = store.record(settings.key)
        if record is not None and record["status"] == "failed":
            return record
        raise


def _settle(settings: RunSettings, store: Store, future: Any, run_id: str) -> dict[str, Any]:
    """The record of a run that ended, put into the store where its worker could not."""
    if future.status == "finished":
        record = dict(future.result())
    else:
        error = future.exception() if future.status == "error" else RuntimeError(f"the task was {future.status}")
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        record = Record(
            run_id, "training", settings.key, settings.record_fields(), machine_fields_of_driver(), {}, "failed", reason
        ).flat()
    stored = store.record(settings.key)
    if stored is None or (stored["status"] not in FINISHED and stored != record):
        store.write_record(settings.key, record)
    return record


class Pace:
    """How long the runs that are left will take, from those that ended: each weighs its calls of f."""

    def __init__(self, runs: Sequence[RunSettings]) -> None:
        self.started = time.monotonic()
        self.weights = {settings.key: self._weight(settings) for settings in runs}
        self.done = 0.0

    @staticmethod
    def _weight(settings: RunSettings) -> float:
        """In seconds of training where that is the budget, else in calls of f, with the step's other work."""
        if settings.last_step(1.0) is None:
            return settings.seconds or 0.0
        calls = 0 if settings.labels_only else settings.case.make_estimator().calls(settings.case.n_classes)
        return (3 + calls) * float(settings.last_step(500.0) or 0)

    def end(self, settings: RunSettings) -> str:
        """What is left once this one is off the list, in words."""
        self.done += self.weights.pop(settings.key, 0.0)
        if not self.weights:
            return ""
        seconds = (time.monotonic() - self.started) / self.done * sum(self.weights.values()) if self.done else 0
        about = f", about {seconds / 60:.0f} min" if seconds > 90 else ""
        return f"{len(self.weights)} left{about}"
