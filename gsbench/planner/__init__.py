"""What a training step will cost at class counts that nobody measured, from those that were."""

from gsbench.planner.calibration import calibrate
from gsbench.planner.figure import save_figure
from gsbench.planner.planning import load_results, plan
from gsbench.planner.result import Plan
from gsbench.planner.table import plan_dict, plan_frame, plan_text

__all__ = ["Plan", "calibrate", "load_results", "plan", "plan_dict", "plan_frame", "plan_text", "save_figure"]
