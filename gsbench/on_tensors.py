"""An estimator on plain PyTorch tensors, for a training loop of one's own."""

from __future__ import annotations

import dataclasses
import importlib
import numbers
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gsbench.backends import load_backend
from gsbench.backends.base import Array, Backend, Generator, Tensor
from gsbench.estimators import Estimate, Estimator, parse_estimator
from gsbench.models import ClassBound, DrawsAndPoint, ModelConfig, Noise
from gsbench.models.labels import ClassValues
from gsbench.models.own import in_rows

F = Callable[[Tensor, Array], Tensor]  # (y [R] or [R, K], rows int [R]) → f [R]


def expectation(estimator: str | Estimator, f: F, logits: Tensor, rng: int | Generator | None = None) -> Estimate:
    """E_q[f] or its estimate, and H(q), for each example: [B] and [B], for q = softmax(logits) (sparsemax has its own).

    estimator  an estimator or its spelling, such as "sum-and-relax" or "gumbel-softmax(tau=0.5)"
    f          (y, rows) → [R]: the values of f at y for the examples `rows`, int64 [R], of the minibatch. y are class
               numbers, int64 [R], or points of the simplex, float [R, K]
    logits     a tensor [B, K], on a CPU or a CUDA device
    rng        a NumPy generator (CPU) or a torch.Generator (CUDA), which goes on; or a seed, which gives the same draws
               at each call. An estimator that draws y needs one of these

    Sums in parts (`marginalize-streamed`, `sparsemax`, a `mass`) run backward passes of their own. They need to know
    all tensors on which f depends, as a model of `gsbench.models.own` tells them, and are refused here. Raises
    ValueError for these, for logits of another shape and for values of f of another shape.
    """
    torch = importlib.import_module("torch")
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
        got = f"{type(logits).__name__} {tuple(logits.shape)}" if hasattr(logits, "shape") else type(logits).__name__
        raise ValueError(f"logits must be a tensor [B, K] with K >= 2, got {got}")
    made = parse_estimator(estimator) if isinstance(estimator, str) else estimator
    if rng is None and made.draws_y:
        raise ValueError(f"{made} draws y: give rng, a generator that goes on from call to call, or a seed")
    device = "cpu" if logits.device.type == "cpu" else f"cuda:{logits.device.index or 0}"
    with _own_precision():
        bk = load_backend("torch", device, str(logits.dtype).removeprefix("torch."))
    generator = bk.generator(int(rng)) if isinstance(rng, numbers.Integral) else rng
    noise = Noise(None, bk.array(np.zeros((1, 1, logits.shape[0], 0), np.float32)))
    of_f = _PlainBound(_Called(bk, f, ModelConfig(logits.shape[1])), None, noise, logits[None], {})  # type: ignore[arg-type]
    value, entropy = made(of_f, of_f.logits_y, generator)
    return Estimate(value[0], entropy[0])


@contextmanager
def _own_precision() -> Iterator[None]:
    """Context after which PyTorch's precision of float32 products is what the caller had chosen."""
    torch = importlib.import_module("torch")
    before = torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _PlainBound(ClassBound):
    @property
    def inputs(self) -> dict[str, Tensor]:
        raise ValueError(
            "sums in parts need all tensors on which f depends: make a model of f, see gsbench.models.own, or use "
            "marginalize"
        )

    def with_noise_for_each_class(self, rng: Generator) -> ClassBound:
        raise ValueError("class_noise='independent' is not defined for a function")


@dataclasses.dataclass(frozen=True)
class _Called:
    """Stands in for a model whose f is a function of y and rows."""

    bk: Backend
    function: F
    config: ModelConfig
    floats_per_row: int = 1  # for parts, which are refused
    floats_gathered: int = 1

    def bound_of(self, y: ClassValues, f: ClassBound) -> Tensor:
        bk = self.bk
        batch, n_classes = f.logits_y.shape[1:]
        if isinstance(y, DrawsAndPoint):
            return bk.concat([self.bound_of(part, f) for part in (y.draws, y.point)], axis=1)
        count, values = in_rows(bk, y, bk.integers(np.arange(n_classes)), 1, batch)
        rows = bk.integers(np.tile(np.arange(batch), count))
        found = self.function(values, rows)
        if tuple(getattr(found, "shape", ())) != (count * batch,):
            got = tuple(found.shape) if hasattr(found, "shape") else type(found).__name__
            raise ValueError(f"f must return a value for each of its {count * batch} rows, got {got}")
        return bk.reshape(bk.widen(found), (1, count, batch))


__all__: list[Any] = ["expectation"]
