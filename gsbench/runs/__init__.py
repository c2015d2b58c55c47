"""Training runs: resumable runs, their store, and grids of runs."""

from gsbench.runs.run import run_training
from gsbench.runs.store import FINISHED, Store

__all__ = ["FINISHED", "Store", "run_training"]
