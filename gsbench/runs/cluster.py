"""The workers that make a sweep's runs: processes on this machine, or any Dask cluster."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from gsbench.extras import install
from gsbench.settings.run import RunSettings

THREADS, CARD = "threads", "card"  # the Dask resources that workers declare and runs ask for
SCHEDULER_SECONDS = 30.0  # to wait for a scheduler's answer
WORKERS_SECONDS = 60.0  # to wait for a cluster's first worker
# A terminal's Ctrl-C and a batch system's SIGTERM reach all processes. Workers ignore them: the driver stops them.
NO_SIGNALS = "import signal; [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]"


def need(settings: RunSettings) -> tuple[str, float]:
    """The Dask resource that a run asks for: its threads on a CPU, else a card."""
    return (THREADS, settings.case.threads) if settings.case.device == "cpu" else (CARD, 1)


@contextlib.contextmanager
def local_client(workers: int, threads: int) -> Iterator[Any]:
    """A client of a cluster on this machine. Each worker process makes one run at a time, with `threads` threads."""
    distributed = import_distributed()
    import dask

    config = {
        # Dask restarts a killed worker. On a busy machine that takes longer than the usual 15 s.
        "distributed.deploy.lost-worker-timeout": "1 hour",
        "distributed.worker.profile.enabled": False,  # the profiler samples every 10 ms and would disturb measurements
    }
    with dask.config.set(config), _cluster(workers, threads) as cluster, distributed.Client(cluster) as client:
        yield client


def _cluster(workers: int, threads: int) -> Any:
    return import_distributed().LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        resources={THREADS: threads, CARD: 1},
        memory_limit=0,  # no limit: a run checks that it fits before it begins
        preload=[NO_SIGNALS],
        scheduler_kwargs={"dashboard": False},
        dashboard_address="127.0.0.1:0",  # it listens nevertheless: on any free port, for this machine alone
        silence_logs=logging.CRITICAL,
    )


@contextlib.contextmanager
def remote_client(address: str) -> Iterator[Any]:
    """A client of the cluster whose scheduler is at this address. Raises ValueError if none answers."""
    distributed = import_distributed()
    try:
        client = distributed.Client(address, timeout=SCHEDULER_SECONDS)
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {address!r}: {' '.join(str(error).split())}") from None
    with client:
        yield client


def import_distributed() -> Any:
    """Raises ValueError that says what to do if Dask's distributed is not installed."""
    try:
        import distributed
    except ImportError:
        raise ValueError(f"a sweep needs Dask's distributed: {install('sweep')}") from None
    return distributed


def check_workers(client: Any, runs: Sequence[RunSettings]) -> None:
    """Raises ValueError if no worker offers the resource that a run asks for, because the run would wait for ever."""
    distributed = import_distributed()
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except (TimeoutError, distributed.TimeoutError):
        raise ValueError(f"the cluster has no worker after {WORKERS_SECONDS:g} s") from None
    offers = workers_offers(client)
    for settings in runs:
        name, amount = need(settings)
        most = max((resources.get(name, 0) for resources, threads in offers), default=0)
        if most < amount:
            raise ValueError(
                f"the run {settings.key} asks for {name}={amount:g} and the workers offer at most {most:g}; start a "
                f"cluster's workers with: dask worker ADDRESS --nthreads 1 --resources '{name}={amount:g}'; workers on "
                "this machine share its cores"
            )


def workers_offers(client: Any) -> list[tuple[dict[str, float], int]]:
    """For each worker of the cluster, the resources it declared and the number of tasks it takes at a time."""
    return list(client.run_on_scheduler(_offers))


def _offers(dask_scheduler: Any) -> list[tuple[dict[str, float], int]]:
    return [(dict(worker.resources), worker.nthreads) for worker in dask_scheduler.workers.values()]
