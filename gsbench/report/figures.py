"""The figures by name, in the page's order. Adding one is a function in a file and a line here.

A figure is a function (frame, curves, look) → Plot, or None where the records have nothing to draw it from.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from gsbench.report.accuracy_figures import accuracy_curves, pareto
from gsbench.report.chunk_figure import chunk_sizes
from gsbench.report.class_figures import peak_memory, steps_per_second
from gsbench.report.class_time_figure import time_per_class
from gsbench.report.gradient_figures import gradient_bias, gradient_price, gradient_variance
from gsbench.report.gradient_pareto import gradient_pareto
from gsbench.report.gradient_temperature import gradient_temperature
from gsbench.report.image_figure import image_grids
from gsbench.report.peer_figure import peers
from gsbench.report.regression_figure import regression
from gsbench.report.roofline_figure import fraction_of_peak
from gsbench.report.speedup_figure import speedup
from gsbench.report.style import Look, Plot
from gsbench.report.training_class_figures import accuracy_by_classes, time_to_accuracy, training_memory
from gsbench.report.training_figures import training_curves
from gsbench.report.training_pareto import training_pareto

FIGURES: dict[str, Callable[[pd.DataFrame, pd.DataFrame, Look], Plot | None]] = {
    "pareto": pareto,
    "steps_per_second": steps_per_second,
    "speedup": speedup,
    "time_per_class": time_per_class,
    "peak_memory": peak_memory,
    "peers": peers,
    "regression": regression,
    "fraction_of_peak": fraction_of_peak,
    "chunk_sizes": chunk_sizes,
    "gradient_bias": gradient_bias,
    "gradient_variance": gradient_variance,
    "gradient_price": gradient_price,
    "gradient_pareto": gradient_pareto,
    "gradient_temperature": gradient_temperature,
    "accuracy_curves": accuracy_curves,
    "training_curves": training_curves,
    "accuracy_by_classes": accuracy_by_classes,
    "time_to_accuracy": time_to_accuracy,
    "training_pareto": training_pareto,
    "training_memory": training_memory,
    "image_grids": image_grids,
}
# Those of groups that are measured only where they are asked for: (figure, group).
OPTIONAL = {
    "peers": "peer",
    "chunk_sizes": "chunk",
    "training_curves": "training",
    "training_pareto": "training",
}
# Those of settings that only an option asks for, of several class counts or runs, or of files beside the records.
ON_REQUEST = (
    "gradient_temperature", "accuracy_by_classes", "time_to_accuracy", "training_memory", "image_grids", "regression",
)  # fmt: skip
