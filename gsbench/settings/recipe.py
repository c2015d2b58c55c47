"""How a model is trained: the optimiser's settings, the schedules, the weights of the objective's terms."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from gsbench.categorical import LEAST_TAU
from gsbench.estimators import Estimator
from gsbench.fields import check_all, setting
from gsbench.values import Range, SettingError, whole

WEIGHT = Range(least=0)
POSITIVE = Range(above=0)
FACTOR = Range(above=0, most=1)  # of a decay
BELOW_ONE = Range(least=0, below=1)

MOST_PERIODS = 1e15  # above any number of steps; the quotient of two floats may be infinite


def unrounded(x: float) -> float:
    """The whole number nearest to x if only rounding separates them, else x.

    x is a product or quotient of decimals and of whole numbers of steps: three roundings, each of 1.1e-16 of x at most.
    In floats 0.3/0.1 is 2.9999999999999996, and 0.07·100 is 7.000000000000001.
    """
    whole = float(round(x))
    return whole if math.isclose(x, whole, rel_tol=1e-15) else x


def whole_periods(epoch: float, every: float) -> int:
    """How many periods of `every` epochs have passed at `epoch`: ⌊epoch/every⌋. At 0.3, 3 periods of 0.1 have."""
    return math.floor(unrounded(min(epoch / every, MOST_PERIODS)))


def steps_of(epochs: float, steps_per_epoch: float) -> int:
    """The number of steps in `epochs` epochs, rounded up: ⌈epochs·steps_per_epoch⌉."""
    return math.ceil(unrounded(epochs * steps_per_epoch))


@dataclass(frozen=True)
class Recipe:
    """The free choices of training. An epoch is `steps_per_epoch` steps, or one pass over the unlabelled examples.

    Raises ValueError that says what is allowed.
    """

    learning_rate: float = setting(3e-4, "Adam's learning rate at first", POSITIVE)
    learning_rate_decay: float = setting(1.0, "the learning rate is multiplied by this …", FACTOR)
    # However small this is, the rate falls at most once a step.
    learning_rate_every: float = setting(1.0, "… after each so many epochs", Range(least=1e-9))
    learning_rate_floor: float = setting(0.0, "and never falls below this", WEIGHT)
    beta1: float = setting(0.9, "Adam's β1", BELOW_ONE)
    alpha: float | None = setting(
        None, "weight of the classifier's term; default 0.1·(training examples)/(labelled ones), the papers'", WEIGHT,
        filled=True,
    )  # fmt: skip
    tau_decay: float = setting(1.0, "an estimator's τ is multiplied by this after each epoch", FACTOR)
    tau_floor: float = setting(
        0.0, f"and never falls below this ({LEAST_TAU:g} at the least), nor below its first value where that is less",
        WEIGHT,
    )  # fmt: skip
    clip_norm: float | None = setting(None, "all gradients are scaled to a norm of at most this", POSITIVE)
    clip_element: float | None = setting(None, "then each element of a gradient is clipped to ± this", POSITIVE)
    weight_prior: bool = setting(False, "adds log N(W; 0, I)/(training examples), over all parameters W, to the bound")
    labelled_weight: float = setting(1.0, "weight of the labelled bound L(x, y)", WEIGHT)
    labelled_batch: int | None = setting(
        None, "labelled examples in a minibatch; default: as many as unlabelled ones", whole(1)
    )
    balance: float = setting(
        0.0, "weight of the entropy of q(y|a,x) averaged over the minibatch, added to the bound", WEIGHT
    )
    adversarial: float = setting(0.0, "weight of virtual adversarial training of q(y|a,x) (Miyato et al. 2018)", WEIGHT)
    adversarial_radius: float = setting(3.0, "length of its change of an image, over all pixels", POSITIVE)
    pseudo_labels: float = setting(
        0.0,
        "weight of log q(y|a,x) of distorted unlabelled images, y what q is sure of undistorted (Sohn et al. 2020)",
        WEIGHT,
    )  # fmt: skip
    pseudo_threshold: float = setting(0.95, "how sure: the probability that counts", BELOW_ONE)
    # At 10, images turn by up to 200°.
    distortion: float = setting(
        1.0, "how much they are distorted; 1: up to 20°, some 15 %, 3 pixels, a shear of 0.3", Range(above=0, most=10)
    )
    # An image of 28 × 28 pixels is moved out of the picture by 28.
    shift: int = setting(0, "training images are moved by up to so many pixels each way, anew each time", whole(0, 27))
    polyak: float = setting(
        0.0, "accuracy is that of parameters averaged over steps with this decay; 0: of the last", BELOW_ONE
    )
    steps_per_epoch: int | None = setting(None, "default: one pass over the unlabelled examples", whole(1), filled=True)

    def __post_init__(self) -> None:
        check_all(self)
        if 0 < self.tau_floor < LEAST_TAU:
            floors = f"0 (then it is {LEAST_TAU:g}), or >= {LEAST_TAU:g}"
            raise SettingError(f"{{tau_floor}} must be {floors}", f", got {self.tau_floor!r}")

    @property
    def consistent(self) -> bool:
        """Whether training asks q(y|a,x) to agree on changed images."""
        return bool(self.adversarial or self.pseudo_labels)

    def learning_rate_at(self, epoch: float) -> float:
        """Adam's learning rate in the step that begins at `epoch`, in passes (1.5: half of the second one is done)."""
        falls = whole_periods(epoch, self.learning_rate_every)
        floor = min(self.learning_rate_floor, self.learning_rate)
        return max(self.learning_rate * self.learning_rate_decay**falls, floor)

    def estimator_at(self, estimator: Estimator, epoch: float) -> Estimator:
        """The estimator with its τ for the step that begins at `epoch`. One without τ is returned unchanged."""
        tau = estimator.settings.get("tau")
        if tau is None or self.tau_decay == 1:
            return estimator
        floor = min(max(self.tau_floor, LEAST_TAU), tau)
        decayed = max(tau * self.tau_decay ** whole_periods(epoch, 1.0), floor)
        return dataclasses.replace(estimator, **{"tau": decayed})
