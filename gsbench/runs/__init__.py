"""Training runs: settings and presets, resumable runs, their store, and grids of runs."""

from gsbench.runs.run import run_training
from gsbench.runs.settings import RunSettings, make_run
from gsbench.runs.store import FINISHED, Store

__all__ = ["FINISHED", "RunSettings", "Store", "make_run", "run_training"]
