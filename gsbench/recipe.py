"""How a model is trained: the optimiser's settings, the schedules, the weights of the objective's terms."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from gsbench.categorical import LEAST_TAU
from gsbench.estimators import Estimator
from gsbench.values import Range, SettingError, whole

# What each setting may be. An image of 28 × 28 pixels is moved out of the picture by 28; at a distortion of 10, images
# turn by up to 200°. A learning rate falls once a step at the most, however small a part of an epoch is written.
RANGES = {
    ("learning_rate", "adversarial_radius", "clip_norm", "clip_element"): Range(above=0),
    ("learning_rate_every",): Range(least=1e-9),
    ("distortion",): Range(above=0, most=10),
    ("learning_rate_decay", "tau_decay"): Range(above=0, most=1),
    ("alpha", "learning_rate_floor", "tau_floor", "labelled_weight", "balance", "adversarial", "pseudo_labels"): Range(
        least=0
    ),
    ("beta1", "polyak", "pseudo_threshold"): Range(least=0, below=1),
    ("labelled_batch", "steps_per_epoch"): whole(1),
    ("shift",): whole(0, 27),
}
OR_NONE = ("alpha", "clip_norm", "clip_element", "labelled_batch", "steps_per_epoch")

MOST_PERIODS = 1e15  # more than steps that can be taken, and the quotient of two floats may be infinite


def _setting(default: Any, text: str) -> Any:
    """A field with the text that the command line shows."""
    return field(default=default, metadata={"help": text})


def unrounded(x: float) -> float:
    """x, or the whole number from which rounding alone separates x.

    x is a product or quotient of decimals and of whole numbers of steps: three roundings, each of 1.1e-16 of x at most.
    In floats 0.3/0.1 is 2.9999999999999996, and 0.07·100 is 7.000000000000001.
    """
    whole = float(round(x))
    return whole if math.isclose(x, whole, rel_tol=1e-15) else x


def whole_periods(epoch: float, every: float) -> int:
    """How many periods of `every` epochs have passed at `epoch`: ⌊epoch/every⌋, so that 3 of 0.1 have at 0.3."""
    return math.floor(unrounded(min(epoch / every, MOST_PERIODS)))


def steps_of(epochs: float, steps_per_epoch: float) -> int:
    """The steps that so many epochs take, the last of them perhaps not to its end: ⌈epochs·steps_per_epoch⌉."""
    return math.ceil(unrounded(epochs * steps_per_epoch))


@dataclass(frozen=True)
class Recipe:
    """What is free in training. An epoch is `steps_per_epoch` steps, or one pass over the unlabelled examples.

    Raises ValueError that says what is allowed.
    """

    alpha: float | None = _setting(
        None, "weight of the classifier's term; default 0.1·(training examples)/(labelled ones), the papers'"
    )
    learning_rate: float = _setting(3e-4, "Adam's learning rate at first")
    learning_rate_decay: float = _setting(1.0, "the learning rate is multiplied by this …")
    learning_rate_every: float = _setting(1.0, "… after each so many epochs")
    learning_rate_floor: float = _setting(0.0, "and never falls below this")
    beta1: float = _setting(0.9, "Adam's β1")
    tau_decay: float = _setting(1.0, "an estimator's τ is multiplied by this after each epoch")
    tau_floor: float = _setting(
        0.0, f"and never falls below this ({LEAST_TAU:g} at the least), nor below its first value where that is less"
    )
    clip_norm: float | None = _setting(None, "all gradients are scaled to a norm of at most this")
    clip_element: float | None = _setting(None, "then each element of a gradient is clipped to ± this")
    weight_prior: bool = _setting(False, "adds log N(W; 0, I)/(training examples), over all parameters W, to the bound")
    labelled_weight: float = _setting(1.0, "weight of the labelled bound L(x, y)")
    balance: float = _setting(0.0, "weight of the entropy of q(y|a,x) averaged over the minibatch, added to the bound")
    adversarial: float = _setting(0.0, "weight of virtual adversarial training of q(y|a,x) (Miyato et al. 2018)")
    adversarial_radius: float = _setting(3.0, "length of its change of an image, over all pixels")
    pseudo_labels: float = _setting(
        0.0, "weight of log q(y|a,x) of distorted unlabelled images, y what q is sure of undistorted (Sohn et al. 2020)"
    )
    pseudo_threshold: float = _setting(0.95, "how sure: the probability that counts")
    distortion: float = _setting(1.0, "how much they are distorted; 1: up to 20°, some 15 %, 3 pixels, a shear of 0.3")
    labelled_batch: int | None = _setting(None, "labelled examples in a minibatch; default: as many as unlabelled ones")
    shift: int = _setting(0, "training images are moved by up to so many pixels each way, anew each time")
    polyak: float = _setting(0.0, "accuracy is that of parameters averaged over steps with this decay; 0: of the last")
    steps_per_epoch: int | None = _setting(None, "default: one pass over the unlabelled examples")

    def __post_init__(self) -> None:
        for names, allowed in RANGES.items():
            for name in names:
                allowed.check(name, getattr(self, name), or_none=name in OR_NONE)
        for setting in dataclasses.fields(self):  # one form for each number, so that records of the same run agree
            value = getattr(self, setting.name)
            if str(setting.type).startswith("float") and value is not None:
                object.__setattr__(self, setting.name, float(value) + 0.0)  # -0 is 0
        if 0 < self.tau_floor < LEAST_TAU:
            floors = f"0 (then it is {LEAST_TAU:g}), or >= {LEAST_TAU:g}"
            raise SettingError(f"{{tau_floor}} must be {floors}", f", got {self.tau_floor!r}")

    @property
    def consistent(self) -> bool:
        """Whether q(y|a,x) is to say the same of changed images."""
        return bool(self.adversarial or self.pseudo_labels)

    def learning_rate_at(self, epoch: float) -> float:
        """Adam's learning rate in the step that begins at `epoch`, in passes (1.5: half of the second one is done)."""
        falls = whole_periods(epoch, self.learning_rate_every)
        floor = min(self.learning_rate_floor, self.learning_rate)
        return max(self.learning_rate * self.learning_rate_decay**falls, floor)

    def estimator_at(self, estimator: Estimator, epoch: float) -> Estimator:
        """The estimator with its τ of the step that begins at `epoch`; one that has no τ as it is."""
        tau = estimator.settings.get("tau")
        if tau is None or self.tau_decay == 1:
            return estimator
        floor = min(max(self.tau_floor, LEAST_TAU), tau)
        decayed = max(tau * self.tau_decay ** whole_periods(epoch, 1.0), floor)
        return dataclasses.replace(estimator, **{"tau": decayed})
