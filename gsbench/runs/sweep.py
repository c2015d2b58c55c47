"""A grid of runs, made by the workers of a Dask cluster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from gsbench.meters.machine import machine_fields_of_driver
from gsbench.records.record import Record, new_run_id
from gsbench.registry import load_plugins
from gsbench.runs.cluster import check_workers, need, workers_offers
from gsbench.runs.run import run_training
from gsbench.runs.store import FAILED, FINISHED, Store
from gsbench.settings.run import RunSettings

LOOK_SECONDS = 5.0  # between looks at which workers there are
STOP_SECONDS = 60.0  # to wait for runs that were asked to stop

_stopped: set[str] = set()  # on a worker: the sweeps whose runs are to stop


class Watcher(Protocol):
    """Receives the progress of a sweep."""

    def look(self, under_way: Sequence[RunSettings]) -> None:
        """These runs are being made; called every few seconds."""

    def end(self, settings: RunSettings, record: dict[str, Any]) -> None:
        """A run ended."""

    def stop(self) -> None:
        """The sweep was interrupted: its runs are asked to stop."""


def run_sweep(
    runs: Sequence[RunSettings],
    store: Store,
    client: Any,
    *,
    data_dir: str | Path | None = None,
    checkpoint_seconds: float = 60.0,
    watcher: Watcher | None = None,
) -> list[dict[str, Any]]:
    """Makes the runs that the store does not hold yet. Returns all records, in the order of `runs`.

    One task of the cluster is one run. If its worker is lost, another worker resumes it from its checkpoint. A run that
    fails is recorded as failed, and the others go on. An interrupted sweep asks its runs to stop with a checkpoint.

    A worker writes its run's folder. If the worker uses another file system, the record comes back with the result and
    is written here, so that each run is recorded once.
    """
    left = [settings for settings in runs if not store.finished(settings.key)]
    if left:
        check_workers(client, left)
    sweep = _Sweep(store, client, Path(data_dir).resolve() if data_dir else None, checkpoint_seconds, watcher)
    try:
        sweep.make(left)
    except BaseException:
        sweep.stop()
        raise
    return [store.record(settings.key) or {} for settings in runs]


class _Sweep:
    """A sweep under way. It gives the cluster no more runs than the cluster can make at once.

    The reason: Dask counts a worker's death as a failure of every task waiting there, and drops a task after a few.
    """

    def __init__(
        self, store: Store, client: Any, data_dir: Path | None, checkpoint_seconds: float, watcher: Watcher | None
    ) -> None:
        self.store, self.client, self.watcher = store, client, watcher
        self.run_id = new_run_id()
        self.how = (store.folder.resolve(), data_dir, self.run_id, checkpoint_seconds)
        self.under_way: dict[Any, RunSettings] = {}

    def make(self, runs: Sequence[RunSettings]) -> None:
        waiting = list(runs)
        while waiting or self.under_way:
            self._submit(waiting)
            if self.watcher:
                self.watcher.look(list(self.under_way.values()))
            for future in self._ended(LOOK_SECONDS):
                settings = self.under_way.pop(future)
                record = self._settle(settings, future)
                if self.watcher:
                    self.watcher.end(settings, record)

    def _submit(self, waiting: list[RunSettings]) -> None:
        """Gives the cluster as many runs as it has room for, in order."""
        offers = workers_offers(self.client) if waiting else []
        for settings in list(waiting):
            name, amount = need(settings)
            room = sum(min(threads, int(resources.get(name, 0) // amount)) for resources, threads in offers)
            if room > sum(need(other)[0] == name for other in self.under_way.values()):
                waiting.remove(settings)
                future = self.client.submit(
                    _make, settings, *self.how,
                    key=f"{settings.key}-{self.run_id}", resources={name: amount}, pure=False,
                )  # fmt: skip
                self.under_way[future] = settings

    def _ended(self, seconds: float) -> list[Any]:
        """The futures that have ended. Waits for the first one for at most `seconds`."""
        until = time.monotonic() + seconds
        while True:
            ended = [future for future in self.under_way if future.status != "pending"]
            if ended or time.monotonic() >= until:
                return ended
            time.sleep(0.05)

    def _settle(self, settings: RunSettings, future: Any) -> dict[str, Any]:
        """The record of a run that ended. It is written into the store if the worker could not do so."""
        try:
            if future.status == "cancelled":
                raise RuntimeError("the cluster gave the run up")
            record = dict(future.result())
        except Exception as error:
            record = self._failure(settings, error)
        stored = self.store.record(settings.key)
        if stored is not None and (stored["status"] in FINISHED or stored == record):
            return stored
        if record["status"] in FAILED:
            record = self.store.with_figures_kept(settings.key, record)
        self.store.write_record(settings.key, record)
        return record

    def _failure(self, settings: RunSettings, error: Exception) -> dict[str, Any]:
        """The record of a run that its workers could not record."""
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        fields, machine = settings.record_fields(), machine_fields_of_driver()
        return Record(self.run_id, "training", settings.key, fields, machine, {}, "failed", reason).flat()

    def stop(self) -> None:
        """Asks the runs under way to stop with a checkpoint, and gives them time for it."""
        if self.watcher:
            self.watcher.stop()
        with contextlib.suppress(Exception):  # the cluster may be lost
            self.client.run(_ask_to_stop, self.run_id)
            until = time.monotonic() + STOP_SECONDS
            while time.monotonic() < until and any(future.status == "pending" for future in self.under_way):
                time.sleep(0.05)
            self.client.cancel(list(self.under_way))


def _ask_to_stop(run_id: str) -> None:
    _stopped.add(run_id)


def _make(
    settings: RunSettings, folder: Path, data_dir: Path | None, run_id: str, checkpoint_seconds: float
) -> dict[str, Any]:
    """Makes a run, on a worker. If an earlier worker, thought lost, still makes it, this waits and finds it done."""
    load_plugins(settings.case.plugins)
    store = Store(folder)
    before = store.record(settings.key)
    try:
        return run_training(
            settings,
            store,
            data_dir=data_dir,
            run_id=run_id,
            stop=lambda: run_id in _stopped,
            checkpoint_seconds=checkpoint_seconds,
            wait=True,
        )
    except Exception:
        record = store.record(settings.key)
        if record is not None and record != before and record["status"] == "failed":
            return record
        raise
