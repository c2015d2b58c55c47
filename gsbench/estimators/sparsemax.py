"""The exact sum over a distribution that is 0 at most classes: sparsemax in place of softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.estimators.base import ClassNumbers, Estimate, Estimator
from gsbench.estimators.streaming import (
    check_rows_are_independent,
    class_ranges,
    gathered_rows,
    rows_that_fit,
    streamed_sum,
)
from gsbench.models import ClassBound, Model, ModelConfig


@dataclass(frozen=True)
class Sparsemax(Estimator):
    """Σ_k w_k f(e_k) over the support of w = sparsemax(logits) (Correia et al. 2020, arXiv 2007.01919).

    The bound differs from the other estimators': w replaces q = softmax(logits), and H(w) replaces H(q). Its value and
    gradient are exact. Because log w is −∞ off the support, the classifier's term is the sparsemax loss (Martins &
    Astudillo 2016, arXiv 1602.02068).

    The rows of f are single triples (draw, example, class). They are computed in parts that fit `bk.chunk_bytes`, each
    with its backward pass right after its forward pass. The conditions of `streamed_sum` apply: no batch norm, and a
    loss that weights all examples alike.

    Cost: as many evaluations of f per example as its support has classes, at most K; sorting the logits; on a CUDA
    device waits for the size of the support, and for the classes of each part.
    """

    name: ClassVar[str] = "sparsemax"
    y_enters: ClassVar[str] = "draws"

    def check(self, config: ModelConfig) -> None:
        check_rows_are_independent(self.name, config)

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk = f.bk
        w = self.distribution(bk, logits_y)  # [N, B, K]
        return Estimate(streamed_sum(f, w, gathered_rows(f.model, bk.stop_gradient(w) > 0)), bk.point_entropy(w))

    def distribution(self, bk: Backend, logits_y: Tensor) -> Tensor:
        return bk.sparsemax(logits_y)

    def log_likelihood(self, bk: Backend, logits_y: Tensor, y: Array) -> Tensor:
        """The negative sparsemax loss: logits_y − max_w { w·logits − ½ |w|² } − ½, which is at most 0.

        The maximum is at w = sparsemax(logits). Its gradient with respect to the logits is this w, so that w itself
        need not be differentiated.
        """
        logits = bk.widen(logits_y)
        logits = logits - bk.xp.max(bk.stop_gradient(logits), axis=-1, keepdims=True)
        w = bk.stop_gradient(bk.sparsemax(logits))
        largest = bk.sum(w * logits, axis=-1) - bk.xp.sum(w * w, axis=-1) / 2
        return bk.select_last(logits, y) - largest - 0.5

    def reference(self) -> Estimator:
        return SparsemaxOverClasses()

    @property
    def draws_y(self) -> bool:
        return False

    @property
    def calls_follow_logits(self) -> bool:
        return True

    @property
    def frees_rows(self) -> bool:
        return True

    def calls(self, n_classes: int) -> int:
        return n_classes

    def classes_at_once(self, model: Model, rows: int) -> int:
        return min(model.config.n_classes, -(-rows_that_fit(model) // rows))

    def rows_at_once(self, model: Model, rows: int) -> int:
        return min(rows * model.config.n_classes, rows_that_fit(model))

    def floats_per_row(self, model: Model) -> int:
        return model.floats_per_row + model.floats_gathered

    def floats_besides(self, model: Model, rows: int) -> int:
        return self.rows_at_once(model, rows) * model.floats_gathered

    @property
    def class_numbers(self) -> ClassNumbers:
        # Drawing: the float64 sums over the sorted logits. Kept: w, log w, f, the labelled pass's w and, if the support
        # is full, three 64-bit integers. Gradients: with respect to w
        return ClassNumbers(drawing=8, kept=10, gradients=4)


@dataclass(frozen=True)
class SparsemaxOverClasses(Sparsemax):
    """The same sum over all K classes, including classes of weight 0: the reference for `sparsemax`."""

    name: ClassVar[str] = "sparsemax over all classes"

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        w = self.distribution(f.bk, logits_y)  # [N, B, K]
        return Estimate(streamed_sum(f, w, class_ranges(f.n_classes, 1)), f.bk.point_entropy(w))
