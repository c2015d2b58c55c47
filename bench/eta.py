"""How much of a session is left."""

from __future__ import annotations

import time

import pytest
from options import Options


def n_classes(item: pytest.Item) -> int:
    return item.callspec.params.get("n_classes", 0) if hasattr(item, "callspec") else 0


class Eta:
    """Estimates the time left from the finished cases. A case's weight is its expected time, which grows with K."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.weights: dict[str, float] = {}
        self.done = 0.0

    @staticmethod
    def weight(item: pytest.Item, options: Options) -> float:
        if item.name.startswith("test_accuracy"):
            return 3 + (options.accuracy_seconds or 0)
        if item.name.startswith("test_gradient"):
            return 3 + 0.03 * options.gradient_draws + 0.03 * n_classes(item)
        if item.name.startswith("test_peer"):  # two fresh processes, one importing another framework
            return 10 + 0.2 * n_classes(item)
        return 2 + 0.05 * n_classes(item)

    def word(self, nodeid: str) -> str:
        self.done += self.weights.pop(nodeid, 0.0)
        if not self.weights:
            return "last case"
        # The weights are seconds on a usual machine. Measured times correct them bit by bit.
        pace = (10 + time.perf_counter() - self.started) / (10 + self.done)
        left = pace * sum(self.weights.values())
        return f"{len(self.weights)} left, about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'}"
