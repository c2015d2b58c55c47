"""What a plan can answer: refused before any work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gsbench.backends import BACKENDS
from gsbench.planner.work import SIZES, Shape


def check(
    classes: Sequence[int],
    ratio: float,
    memory: int | None,
    steps: int | None,
    epochs: float | None,
    examples: int | None,
) -> None:
    """Raises ValueError for what `plan` cannot answer, before any work."""
    if not classes or any(isinstance(k, bool) or not isinstance(k, int) or k < 2 for k in classes):
        raise ValueError(f"classes must be integers >= 2, at least one, got {list(classes)}")
    numbers = {"ratio": ratio, "memory": memory, "steps": steps, "epochs": epochs, "examples": examples}
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be > 0 and finite, got {value}")
    if ratio < 1:
        raise ValueError(f"ratio says how many times as cheap a sampler has to be: must be >= 1, got {ratio}")
    if steps is not None and epochs is not None:
        raise ValueError("a training run has steps or epochs, got both")
    if (epochs is None) != (examples is None):
        given, missing = ("epochs", "examples") if examples is None else ("examples", "epochs")
        raise ValueError(f"{given} needs {missing}: an epoch is examples / batch steps")


def check_case(names: Sequence[str], wanted: dict[str, Any], shape: dict[str, Any]) -> None:
    """Raises ValueError for a case that there is not: its shape, device, and estimators that are not defined for it."""
    allowed = ("model", "preset", "batch", "n_mc", *SIZES)
    for name in shape:
        if name not in allowed:
            raise TypeError(f"plan() has no argument {name!r}; of the shape there are {', '.join(allowed)}")
    of_shape = Shape(**shape, **{name: wanted[name] for name in ("dtype", "device") if name in wanted})
    if wanted.get("threads", 1) < 1:
        raise ValueError(f"threads must be >= 1, got {wanted['threads']}")
    if wanted.get("backend", "chainer") not in BACKENDS:
        raise ValueError(f"unknown backend {wanted['backend']!r}; known: {', '.join(BACKENDS)}")
    for name in names:
        of_shape.settings(name, 2)
