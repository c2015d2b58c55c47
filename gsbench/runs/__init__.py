"""Training runs: a run that can be interrupted and resumed, its store, and grids of runs."""

from gsbench.runs.run import run_training
from gsbench.runs.store import FINISHED, Store

__all__ = ["FINISHED", "Store", "run_training"]
