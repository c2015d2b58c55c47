"""Records whose figures obey the planner's model exactly, with factors that a test can name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from records_fixture import make_record

from gsbench.planner.work import Shape, columns

COUNTS = (10, 20, 50, 100)
# Factors of the columns: a constant, operations, parameters (in a step), numbers beside f.
STEP, BOUND = (0.010, 4e-12, 2e-10, 0.0), (0.005, 4e-12, 0.0)
MEMORY, PROCESS = (1e6, 0.9), (1e8, 1.1)
ESTIMATORS = ("marginalize-streamed", "gumbel-softmax")


def true_figure(metric: str, estimator: str, n_classes: int, shape: Shape | None = None) -> float:
    factors = {"step": STEP, "bound": BOUND, "memory": MEMORY, "process": PROCESS}[metric]
    parts = columns(metric, shape or Shape(), estimator, n_classes)
    return float(sum(factor * part for factor, part in zip(factors, parts, strict=True)))


def plan_records(
    counts: Iterable[int] = COUNTS,
    estimators: Iterable[str] = ESTIMATORS,
    noise: Any = None,
    **fields: Any,
) -> list[dict[str, Any]]:
    """The step, the bound and the memory of each case; each time is multiplied by `noise()`."""
    records = []
    noise = noise or (lambda: 1.0)
    for k in counts:
        for name in estimators:
            case = {"n_classes": k, "estimator": name, **fields}
            for metric in ("step", "bound"):
                records.append(
                    make_record(metric, **case, **{f"{metric}_seconds": true_figure(metric, name, k) * noise()})
                )
            peaks = {
                "live_peak_bytes": round(true_figure("memory", name, k)),
                "process_peak_bytes": round(true_figure("process", name, k)),
            }
            records.append(make_record("memory", **case, **peaks))
    return records
