"""Checks of the arguments of `plan`, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gsbench.fields import settings_of
from gsbench.planner.work import OF_CASE, OF_NETWORKS, Shape
from gsbench.settings.case import Settings
from gsbench.values import Range, SettingError, did_you_mean, shown, whole

MOST_CLASSES = 10**12
CLASSES = whole(2, MOST_CLASSES)
RANGES = {
    "ratio": Range(least=1, most=1e9),
    "memory": whole(1),
    "steps": whole(1),
    "epochs": Range(above=0, most=1e9),
    "examples": whole(1),
}


def check(
    classes: Sequence[int],
    ratio: float,
    memory: int | None,
    steps: int | None,
    epochs: float | None,
    examples: int | None,
) -> None:
    """Raises ValueError if `plan` cannot answer these questions."""
    numbers = {"ratio": ratio, "memory": memory, "steps": steps, "epochs": epochs, "examples": examples}
    if not classes or any(k not in CLASSES for k in classes):
        most = f" and <= {MOST_CLASSES:,}" if any(k in whole(2) and k > MOST_CLASSES for k in classes) else ""
        raise SettingError(f"{{classes}} must be integers >= 2{most}, at least one", f", got {shown(list(classes))}")
    for name, allowed in RANGES.items():
        allowed.check(name, numbers[name], or_none=name != "ratio")
    if steps is not None and epochs is not None:
        raise SettingError("the length of a training run is {steps} or {epochs}, got both")
    if (epochs is None) != (examples is None):
        given, missing = ("epochs", "examples") if examples is None else ("examples", "epochs")
        raise SettingError(f"{{{given}}} needs {{{missing}}}: an epoch is examples / batch steps")


def check_case(names: Sequence[str], wanted: dict[str, Any], shape: dict[str, Any]) -> None:
    """Raises ValueError if the shape or the setup is not possible, or an estimator is not defined for it."""
    allowed = (*OF_CASE, *OF_NETWORKS)
    for name in shape:
        if name not in allowed:
            known = f"the arguments of the shape are {', '.join(allowed)}{did_you_mean(name, allowed)}"
            raise TypeError(f"plan() has no argument {name!r}; {known}")
    for name, value in wanted.items():
        settings_of(Settings)[name].checked(value)
    of_shape = Shape.of({**shape, **{name: wanted[name] for name in ("dtype", "device") if name in wanted}})
    for name in names:
        of_shape.settings(name, 2)
