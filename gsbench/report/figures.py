"""The figures by name, in the page's order. Adding one is a function in a file and a line here.

A figure is a function (frame, curves, look) → Plot, or None where the records have nothing to draw it from.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from gsbench.report.accuracy_figures import accuracy_curves, pareto
from gsbench.report.class_figures import peak_memory, steps_per_second
from gsbench.report.speedup_figure import speedup
from gsbench.report.style import Look, Plot

FIGURES: dict[str, Callable[[pd.DataFrame, pd.DataFrame, Look], Plot | None]] = {
    "pareto": pareto,
    "steps_per_second": steps_per_second,
    "speedup": speedup,
    "peak_memory": peak_memory,
    "accuracy_curves": accuracy_curves,
}
