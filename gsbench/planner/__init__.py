"""What a training step will cost at class counts that nobody measured, from those that were."""

from gsbench.planner.calibration import calibrate
from gsbench.planner.planning import Plan, load_results, plan

__all__ = ["Plan", "calibrate", "load_results", "plan"]
