"""The exact sum over all classes, one chunk of classes at a time: only one chunk's activations are live."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Backend, Generator, Tensor
from gsbench.estimators.base import ClassNumbers, Estimate, Estimator, check_count
from gsbench.estimators.streaming import check_rows_are_independent, class_ranges, streamed_sum
from gsbench.models import ClassBound, Model, ModelConfig


@dataclass(frozen=True)
class MarginalizeStreamed(Estimator):
    """Σ_k q_k f(e_k), exactly: each chunk of classes runs its backward pass right after its forward pass.

    This works because the sum is linear in f and its weights are known before f (`streamed_sum`). Only a few arrays
    grow with K: each W_y, the weights of q(y|a,x)'s last layer, and some arrays [N, K, B].

    chunk   classes per chunk; None: as many as fit `bk.chunk_bytes`, 64 MiB on a CPU

    The loss must weight all examples and draws alike, as −mean(U) does; any other loss raises ValueError in its
    backward pass. Batch norm is refused, because its statistics would depend on the chunk.

    Cost: K evaluations of f per example, as `marginalize`; the activations of chunk·B rows are live at once.
    """

    name: ClassVar[str] = "marginalize-streamed"
    y_enters: ClassVar[str] = "classes"

    chunk: int | None = None

    def __post_init__(self) -> None:
        if self.chunk is not None:
            check_count("chunk", self.chunk, or_else=", or None for a default")

    def check(self, config: ModelConfig) -> None:
        check_rows_are_independent(self.name, config)

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk = f.bk
        n, batch, n_classes = logits_y.shape
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        chunk = self.chunk_of(bk, n_classes, n * batch * f.floats_per_row)
        return Estimate(streamed_sum(f, bk.exp(log_q_y), class_ranges(n_classes, chunk)), bk.entropy(log_q_y))

    def chunk_of(self, bk: Backend, n_classes: int, floats_per_class: int) -> int:
        """Classes per chunk: `chunk`, or as many as fit, spread evenly over the chunks."""
        if self.chunk is not None:
            return min(self.chunk, n_classes)
        fit: int = max(1, bk.chunk_bytes // (floats_per_class * bk.dtype.itemsize))
        n_chunks = -(-n_classes // fit)
        return -(-n_classes // n_chunks)

    def classes_at_once(self, model: Model, rows: int) -> int:
        return self.chunk_of(model.bk, model.config.n_classes, rows * model.floats_per_row)

    @property
    def class_numbers(self) -> ClassNumbers:
        return ClassNumbers(drawing=1, kept=2, gradients=5)  # drawing: q; kept: q and f; gradients: of q and log q

    @property
    def exact(self) -> bool:
        return True

    @property
    def frees_rows(self) -> bool:
        return True

    def calls(self, n_classes: int) -> int:
        return n_classes
