"""Predicts the cost of a training step at class counts that were not measured, from measurements at others."""

from gsbench.planner.calibration import calibrate
from gsbench.planner.figure import save_figure
from gsbench.planner.planning import load_results, plan
from gsbench.planner.result import Plan
from gsbench.planner.table import plan_dict, plan_frame, plan_text

__all__ = ["Plan", "calibrate", "load_results", "plan", "plan_dict", "plan_frame", "plan_text", "save_figure"]
