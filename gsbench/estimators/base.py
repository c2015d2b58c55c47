"""The interface of the estimators of E_{y ~ w}[f(y)].

An estimator is a frozen dataclass that checks its settings when it is made. It is called with f (the bound of one
class, `gsbench.models.ClassBound`), the logits of q(y|a,x) and a generator. It returns the estimate and H(w) for each
draw of a and example. It takes its draws of y from the generator; all estimators share a, ε_z and f.
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
    """How many numbers of the wide dtype an estimator holds for each class, draw of a and example, beside f and log q.

    drawing     the maximum while it draws
    kept        the numbers that the graph keeps to the end of the step
    gradients   the maximum in its backward pass, beside the kept ones
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

    `exact`: it is the exact sum over q(y|a,x). `own_bound`: its bound is not the bound over q. `draws_y`: the estimate
    has noise of its own. `gumbel_softmax`: y is a Gumbel-Softmax draw. `calls(n_classes)`: evaluations of f for each
    example. Records carry these facts (`facts`), so that no reader infers them from a name.

    `y_enters`, a key of `Y_ENTERS`, says how y enters a first layer; matrix products are counted from it
    (`calls_by_entry`). Memory is estimated from `class_numbers` and `frees_rows`.
    """

    name: ClassVar[str] = ""
    y_enters: ClassVar[str] = "soft"
    gumbel_softmax: ClassVar[bool] = False
    biased: ClassVar[tuple[str, ...]] = ()  # "value", "gradient" (with respect to the logits): in the mean over draws
    costless: ClassVar[tuple[str, ...]] = ()  # settings that change the numbers, but not the work

    @abc.abstractmethod
    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        """f as above, logits_y [N, B, K], rng from `bk.generator` → Estimate."""

    def check(self, config: ModelConfig) -> None:
        """Raises ValueError if the estimator is not defined for a model with this config."""
        return None

    def distribution(self, bk: Backend, logits_y: Tensor) -> Tensor:
        """w(y|a,x), the distribution of y in E_w[f]: q = softmax(logits) by default. [..., K] → [..., K]"""
        return bk.softmax(logits_y)

    def log_likelihood(self, bk: Backend, logits_y: Tensor, y: Array) -> Tensor:
        """The classifier's term for labels y int [B], to be maximised: log q(y|a,x). [N, B, K] → [N, B]"""
        return log_q_at(bk, logits_y, y)

    def reference(self) -> Estimator | None:
        """The exact sum of the estimator's own bound. None if its bound is over q: then any exact sum over q serves."""
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
    def calls_follow_logits(self) -> bool:
        """Whether the evaluations of f depend on the logits. Then `calls` is their upper limit."""
        return False

    @property
    def frees_rows(self) -> bool:
        """Whether the rows of f are freed before the step's backward pass."""
        return False

    @property
    def shares_noise(self) -> bool:
        """Whether f uses the one ε_z that all estimators share."""
        return True

    @abc.abstractmethod
    def calls(self, n_classes: int) -> int:
        """Evaluations of f for each example and draw of a."""

    def calls_by_entry(self, calls: float) -> dict[str, float]:
        """How many of an example's `calls` have their y enter in each way of `Y_ENTERS`."""
        return {self.y_enters: calls}

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
        """Numbers beside f whose computation takes a noticeable time, for `rows` draws and examples."""
        return 0

    @property
    def class_numbers(self) -> ClassNumbers:
        """The numbers beside f. They count as 0 if f has a row for each class, because they are few compared with f."""
        return ClassNumbers()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings by name, for records."""
        return dataclasses.asdict(self)

    @property
    def work(self) -> str:
        """The spelling without the settings in `costless`: estimators of one `work` take the same time."""
        defaults = {field.name: field.default for field in dataclasses.fields(self) if field.name in self.costless}
        return str(dataclasses.replace(self, **defaults))

    def facts(self, n_classes: int) -> dict[str, Any]:
        """The facts about the estimator that records carry, by field name.

        `calls_of_f` is None if it depends on the logits: only a measurement knows it.
        """
        flags = {field: getattr(self, attribute) for field, attribute in FLAGS.items()}
        calls = None if self.calls_follow_logits else self.calls(n_classes)
        return {**flags, "work": self.work, "calls_of_f": calls}

    def __str__(self) -> str:
        """The name with the settings that differ from the defaults, such as `gumbel-softmax(tau=0.5)`."""
        changed = [
            f"{field.name}={getattr(self, field.name)!r}".replace("'", "")
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{self.name}({','.join(changed)})" if changed else self.name


# The facts that are true or false: field of a record → attribute of `Estimator`.
FLAGS = {"exact_sum": "exact", "own_bound": "own_bound", "draws_y": "draws_y", "gumbel_softmax": "gumbel_softmax"}
NO_FACTS: dict[str, Any] = {**dict.fromkeys(FLAGS, False), "calls_of_f": 0}  # of training on the labels alone


def check_count(name: str, value: int, least: int = 1, or_else: str = "") -> None:
    """Raises ValueError unless the value is an integer >= `least`; `or_else` extends the message."""
    if value not in whole(least):
        raise ValueError(f"{name} must be an integer >= {least}{or_else}, got {shown(value)}")
