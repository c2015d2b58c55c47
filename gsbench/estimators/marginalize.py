"""The sum over all classes in one batch: the "rich man's technique" of the 2016 blog post."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gsbench.backends.base import Generator, Tensor
from gsbench.estimators.base import Estimate, Estimator
from gsbench.models import AllClasses, ClassBound

CLASS_NOISE = ("shared", "independent")


@dataclass(frozen=True)
class Marginalize(Estimator):
    """Σ_k q_k f(e_k), exactly, with all K·B rows in one batch (Kingma et al. 2014, arXiv 1406.5298, eq. 7).

    class_noise   "shared": one ε_z for all classes, as in every other estimator. "independent": a separate ε_z for each
                  class, as in the blog post's code; the sum then has noise of its own

    Cost: K evaluations of f per example; the activations of K·B rows are live at once.
    """

    name: ClassVar[str] = "marginalize"
    y_enters: ClassVar[str] = "classes"

    class_noise: str = "shared"

    def __post_init__(self) -> None:
        if self.class_noise not in CLASS_NOISE:
            raise ValueError(f"class_noise must be one of {', '.join(CLASS_NOISE)}, got {self.class_noise!r}")

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk = f.bk
        log_q_y = bk.log_softmax(logits_y)  # [N, B, K]
        if self.class_noise == "independent":
            f = f.with_noise_for_each_class(rng)
        f_y = bk.swap(f(AllClasses()), 1, 2)  # [N, B, K]
        return Estimate(bk.sum(bk.exp(log_q_y) * f_y, axis=-1), bk.entropy(log_q_y))

    @property
    def exact(self) -> bool:
        return self.shares_noise

    @property
    def shares_noise(self) -> bool:
        return self.class_noise == "shared"

    def calls(self, n_classes: int) -> int:
        return n_classes
