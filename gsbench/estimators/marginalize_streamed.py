"""The sum over all classes, chunk of classes by chunk: exact, with the activations of one chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gsbench.categorical import entropy
from gsbench.estimators.base import Estimate, Estimator
from gsbench.models import AllClasses, ClassBound, Model, ModelConfig


@dataclass(frozen=True)
class MarginalizeStreamed(Estimator):
    """Σ_k q_k f(e_k), exactly: each chunk of classes runs its backward pass right after its forward pass.

    The sum is linear in f, with weights q_k that are known before f is: the gradient of Σ_k q_k f(e_k) by what f is
    computed from is Σ_k sg(q_k) ∇f(e_k), and can be added up while the sum is. Then a chunk's activations are freed.
    What grows with K is a row of each W_y and of q(y|a,x)'s last layer a class, and a few arrays [N, K, B].

    chunk   classes in a chunk; None: as many as fit `bk.chunk_bytes`, 64 MiB on a CPU

    The loss must weight all examples and draws alike, as −mean(U) does; another raises ValueError in its backward
    pass. Rows must not interact: batch norm, whose statistics would depend on the chunk, is refused.

    Cost: K calls of f an example, as `marginalize`; the activations of chunk·B rows are live at once.
    """

    name: ClassVar[str] = "marginalize-streamed"
    y_enters: ClassVar[str] = "classes"

    chunk: int | None = None

    def __post_init__(self) -> None:
        if self.chunk is not None and (
            not isinstance(self.chunk, int) or isinstance(self.chunk, bool) or self.chunk < 1
        ):
            raise ValueError(f"chunk must be an integer >= 1, or None for a default, got {self.chunk!r}")

    def check(self, config: ModelConfig) -> None:
        if config.norm == "batch":
            raise ValueError(
                "marginalize-streamed needs rows that do not interact, and norm='batch' takes its statistics over all "
                "of them; use marginalize, or norm='none'"
            )

    def __call__(self, f: ClassBound, logits_y: Any, rng: Any) -> Estimate:
        bk = f.bk
        n, batch, n_classes = logits_y.shape
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        chunk = self.chunk_of(bk, n_classes, n * batch * f.floats_per_row)
        return Estimate(streamed_sum(f, bk.exp(log_q_y), chunk), entropy(bk, log_q_y))

    def chunk_of(self, bk: Any, n_classes: int, floats_per_class: int) -> int:
        """Classes in a chunk: `chunk`, or what fits, evened out over the chunks."""
        if self.chunk is not None:
            return min(self.chunk, n_classes)
        fit = max(1, bk.chunk_bytes // (floats_per_class * bk.dtype.itemsize))
        n_chunks = -(-n_classes // fit)
        return -(-n_classes // n_chunks)

    def classes_at_once(self, model: Model, rows: int) -> int:
        return self.chunk_of(model.bk, model.config.n_classes, rows * model.floats_per_row)

    @property
    def exact(self) -> bool:
        return True

    def calls(self, n_classes: int) -> int:
        return n_classes


def streamed_sum(f: ClassBound, w: Any, chunk: int) -> Any:
    """Σ_k w_k f(e_k) for weights w [N, B, K] that may carry a gradient → [N, B]"""
    bk, inputs, class_rows = f.bk, f.inputs, f.class_rows
    n, batch, n_classes = w.shape
    weights = bk.stop_gradient(w).swapaxes(1, 2)  # [N, K, B]
    f_y = bk.xp.empty((n, n_classes, batch), bk.wide_dtype)
    totals: dict[str, Any] = {}
    for start in range(0, n_classes, chunk):
        classes = slice(start, start + chunk)
        leaves = {
            name: bk.leaf(bk.stop_gradient(x)[classes] if name in class_rows else x) for name, x in inputs.items()
        }
        f_chunk = f.with_inputs(leaves)(AllClasses())  # [N, C, B]
        f_y[:, classes] = bk.stop_gradient(f_chunk)
        if not bk.keeps_graph:
            continue
        for name, gradient in bk.gradients(f_chunk, weights[:, classes], leaves).items():
            if name in class_rows:
                _rows(bk, totals, name, inputs[name])[classes] = gradient
            elif name in totals:
                totals[name] += gradient
            else:
                totals[name] = gradient.astype(bk.wide_dtype, copy=False)
        del f_chunk, leaves, gradient  # before the next chunk makes its own
    return bk.weighted_sum(w, f_y.swapaxes(1, 2), {name: inputs[name] for name in totals}, totals)


def _rows(bk: Any, totals: dict[str, Any], name: str, x: Any) -> Any:
    """The array, made when first asked for, that takes the gradient of x chunk by chunk."""
    if name not in totals:
        totals[name] = bk.xp.empty_like(bk.stop_gradient(x))
    return totals[name]
