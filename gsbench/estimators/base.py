"""The seam of the estimators of E_{y ~ w}[f(y)].

An estimator is a frozen dataclass, its settings checked when it is made. It is called with f (the bound of one class,
`gsbench.models.ClassBound`), the logits of q(y|a,x) and a generator, and gives the estimate and H(w), per draw of a and
example. What it draws for y comes from the generator; a, ε_z and f are shared and none of its business.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.categorical import log_q_at
from gsbench.models import ClassBound, Model, ModelConfig
from gsbench.values import shown, whole


class Estimate(NamedTuple):
    """E_w[f] or its estimate, and H(w): both [N, B], in nats. The bound is the mean over N of their sum."""

    expectation: Tensor
    entropy: Tensor


class ClassNumbers(NamedTuple):
    """The numbers of the wide dtype that an estimator has for each class, draw of a and example, beside f and log q.

    drawing     the most while it draws
    kept        those that the graph keeps, to the end of the step
    gradients   the most in its backward pass, beside those that are kept
    """

    drawing: int = 0
    kept: int = 0
    gradients: int = 0


Y_ENTERS = {
    "classes": "constant classes, the same for every draw of a: rows of W_y",
    "draws": "constant classes, other ones for every draw of a and example: a look-up of rows of W_y",
    "hard": "one-hot y with a gradient: a look-up forward, a product backward",
    "soft": "any other y with a gradient: a product forward, and one for each of its two gradients",
}


@dataclasses.dataclass(frozen=True)
class Estimator(abc.ABC):
    """One estimator with its settings.

    `exact` says that it is the exact sum over q(y|a,x), `own_bound` that its bound is another, `draws_y` that the
    estimate has noise of its own, `gumbel_softmax` that y is a Gumbel-Softmax draw; `calls(n_classes)` is how often f
    is taken for an example. Records carry these facts (`facts`), so that no reader infers them from a name.

    `y_enters`, one of `Y_ENTERS`, says how y enters a first layer, from which its matrix products are counted.
    `class_numbers` and `frees_rows`, which says that the rows of f are freed before the step's backward pass, are what
    its memory is estimated from.
    """

    name: ClassVar[str] = ""
    y_enters: ClassVar[str] = "soft"
    gumbel_softmax: ClassVar[bool] = False
    calls_follow_logits: ClassVar[bool] = False  # then `calls` is the most that there can be
    frees_rows: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        """f as above, logits_y [N, B, K], rng of `bk.generator` → Estimate."""

    def check(self, config: ModelConfig) -> None:
        """Raises ValueError where the estimator is not defined for such a model."""
        return None

    def distribution(self, bk: Backend, logits_y: Tensor) -> Tensor:
        """w(y|a,x), over which f's expectation is taken: q = softmax(logits). [..., K] → [..., K]"""
        return bk.softmax(logits_y)

    def log_likelihood(self, bk: Backend, logits_y: Tensor, y: Array) -> Tensor:
        """What the classifier's term maximises for labels y int [B]: log q(y|a,x). [N, B, K] → [N, B]"""
        return log_q_at(bk, logits_y, y)

    def reference(self) -> Estimator | None:
        """The exact sum of its own bound, where that is not one over q; None: any exact sum over q."""
        return None

    @property
    def exact(self) -> bool:
        return False

    @property
    def own_bound(self) -> bool:
        return self.reference() is not None

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

    def rows_at_once(self, model: Model, rows: int) -> int:
        """Rows (draw of a, example, value of y) of f that are live at once, for `rows` draws and examples."""
        return rows * self.classes_at_once(model, rows)

    def floats_per_row(self, model: Model) -> int:
        """Numbers that are live for each row (draw of a, example, value of y) at the peak of f."""
        return model.floats_per_row

    def floats_besides(self, model: Model, rows: int) -> int:
        """Numbers beside f that take the estimator a time which counts, for `rows` draws and examples."""
        return 0

    @property
    def class_numbers(self) -> ClassNumbers:
        """What the estimator has beside f; nothing where f has a row for each class, beside which it is little."""
        return ClassNumbers()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name, for records."""
        return dataclasses.asdict(self)

    def facts(self, n_classes: int) -> dict[str, Any]:
        """What readers of records need to know of the estimator, by the fields of a record."""
        return {
            "exact_sum": self.exact,
            "own_bound": self.own_bound,
            "draws_y": self.draws_y,
            "gumbel_softmax": self.gumbel_softmax,
            "calls_of_f": self.calls(n_classes),
        }

    def __str__(self) -> str:
        """The name with the settings that are not the defaults, such as `gumbel-softmax(tau=0.5)`."""
        changed = [
            f"{field.name}={getattr(self, field.name)!r}".replace("'", "")
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({','.join(changed)})" if changed else self.name


NO_FACTS = {"exact_sum": False, "own_bound": False, "draws_y": False, "gumbel_softmax": False, "calls_of_f": 0}


def check_count(name: str, value: int, least: int = 1, or_else: str = "") -> None:
    """Raises ValueError unless the value is an integer >= `least`; `or_else` is what the message allows besides."""
    if value not in whole(least):
        raise ValueError(f"{name} must be an integer >= {least}{or_else}, got {shown(value)}")
