"""The seam of the estimators of E_{y ~ w}[f(y)].

An estimator is a frozen dataclass, its settings checked when it is made. It is called with f (the bound of one class,
`gsbench.models.ClassBound`), the logits of q(y|a,x) and a generator, and gives the estimate and H(w), per draw of a and
example. What it draws for y comes from the generator; a, ε_z and f are shared and none of its business.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

from gsbench.categorical import log_q_at
from gsbench.models import ClassBound, Model, ModelConfig
from gsbench.values import Range, shown, whole


class Estimate(NamedTuple):
    """E_w[f] or its estimate, and H(w): both [N, B], in nats. The bound is the mean over N of their sum."""

    expectation: Any
    entropy: Any


Y_ENTERS = {
    "classes": "constant classes, the same for every draw of a: rows of W_y",
    "draws": "constant classes, other ones for every draw of a and example: a look-up of rows of W_y",
    "hard": "one-hot y with a gradient: a look-up forward, a product backward",
    "soft": "any other y with a gradient: a product forward, and one for each of its two gradients",
}


@dataclasses.dataclass(frozen=True)
class Estimator(abc.ABC):
    """One estimator with its settings.

    `exact` says that it is the exact sum over q(y|a,x), `draws_y` that the estimate has noise of its own;
    `calls(n_classes)` is how often f is taken for an example. `y_enters`, one of `Y_ENTERS`, says how y enters a first
    layer, from which its matrix products are counted.
    """

    name: ClassVar[str] = ""
    y_enters: ClassVar[str] = "soft"
    calls_follow_logits: ClassVar[bool] = False  # then `calls` is the most that there can be

    @abc.abstractmethod
    def __call__(self, f: ClassBound, logits_y: Any, rng: Any) -> Estimate:
        """f as above, logits_y [N, B, K], rng of `bk.generator` → Estimate."""

    def check(self, config: ModelConfig) -> None:
        """Raises ValueError where the estimator is not defined for such a model."""
        return None

    def distribution(self, bk: Any, logits_y: Any) -> Any:
        """w(y|a,x), over which f's expectation is taken: q = softmax(logits). [..., K] → [..., K]"""
        return bk.softmax(logits_y)

    def log_likelihood(self, bk: Any, logits_y: Any, y: Any) -> Any:
        """What the classifier's term maximises for labels y int [B]: log q(y|a,x). [N, B, K] → [N, B]"""
        return log_q_at(bk, logits_y, y)

    def reference(self) -> Estimator | None:
        """The exact sum of its own bound, where that is not one over q; None: any exact sum over q."""
        return None

    @property
    def exact(self) -> bool:
        return False

    @property
    def draws_y(self) -> bool:
        return not self.exact

    @property
    def shares_noise(self) -> bool:
        """Whether f is taken with the one ε_z that all estimators share."""
        return True

    @abc.abstractmethod
    def calls(self, n_classes: int) -> int:
        """Calls of f for an example and draw of a."""

    def classes_at_once(self, model: Model, rows: int) -> int:
        """Values of y whose activations are live at once, for `rows` draws and examples."""
        return self.calls(model.config.n_classes)

    def floats_besides(self, model: Model, rows: int) -> int:
        """Numbers that are live beside f's activations, where they are many, for `rows` draws and examples."""
        return 0

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name, for records."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        """The name with the settings that are not the defaults, such as `gumbel-softmax(tau=0.5)`."""
        changed = [
            f"{field.name}={getattr(self, field.name)!r}".replace("'", "")
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({','.join(changed)})" if changed else self.name


def check_tau(tau: float) -> None:
    """Raises ValueError unless tau > 0 is finite."""
    if tau not in Range(above=0):
        raise ValueError(f"tau must be > 0 and finite, got {shown(tau)}")


def check_count(name: str, value: int, least: int = 1, or_else: str = "") -> None:
    """Raises ValueError unless the value is an integer >= `least`; `or_else` is what the message allows besides."""
    if value not in whole(least):
        raise ValueError(f"{name} must be an integer >= {least}{or_else}, got {shown(value)}")
