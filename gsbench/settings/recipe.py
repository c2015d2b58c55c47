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

    learning_rate: float = setting(3e-4, "Adam's initial learning rate", POSITIVE)
    learning_rate_decay: float = setting(1.0, "its factor after each --learning-rate-every epochs", FACTOR)
    # It falls once a step at the most, however small a part of an epoch is written.
    learning_rate_every: float = setting(1.0, "epochs between two decays of the learning rate", Range(least=1e-9))
    learning_rate_floor: float = setting(0.0, "least learning rate", WEIGHT)
    beta1: float = setting(0.9, "Adam's β1", BELOW_ONE)
    alpha: float | None = setting(
        None, "weight of the classifier's term; default: 0.1·(training examples)/(labelled examples)", WEIGHT,
        filled=True,
    )  # fmt: skip
    tau_decay: float = setting(1.0, "factor of the estimator's τ after each epoch", FACTOR)
    tau_floor: float = setting(
        0.0, f"least τ after the decay (0: {LEAST_TAU:g}); a τ that begins below it stays as it is",
        WEIGHT,
    )  # fmt: skip
    clip_norm: float | None = setting(None, "largest norm of all gradients together; larger ones are scaled", POSITIVE)
    clip_element: float | None = setting(None, "then each element of a gradient is clipped to ± this", POSITIVE)
    weight_prior: bool = setting(False, "adds log N(W; 0, I)/(training examples), over all parameters W, to the bound")
    labelled_weight: float = setting(1.0, "weight of the labelled bound L(x, y)", WEIGHT)
    labelled_batch: int | None = setting(
        None, "labelled examples per minibatch; default: as many as unlabelled ones", whole(1)
    )
    balance: float = setting(
        0.0, "weight of the entropy of q(y|a,x) averaged over the minibatch, added to the bound", WEIGHT
    )
    adversarial: float = setting(0.0, "weight of virtual adversarial training of q(y|a,x) (Miyato et al. 2018)", WEIGHT)
    adversarial_radius: float = setting(3.0, "norm of the adversarial change of an image", POSITIVE)
    pseudo_labels: float = setting(
        0.0,
        "weight of log q(y|a,x) of distorted images; y is q's prediction for the undistorted one (Sohn et al. 2020)",
        WEIGHT,
    )  # fmt: skip
    pseudo_threshold: float = setting(0.95, "least probability of that prediction; others do not count", BELOW_ONE)
    # At 10, images turn by up to 200°.
    distortion: float = setting(
        1.0, "strength of the distortion; 1: up to 20°, 15 % in size, 3 pixels, a shear of 0.3", Range(above=0, most=10)
    )
    # An image of 28 × 28 pixels is moved out of the picture by 28.
    shift: int = setting(0, "training images are moved at random by up to this many pixels", whole(0, 27))
    polyak: float = setting(
        0.0, "decay of the average of parameters used for accuracies; 0: the last parameters", BELOW_ONE
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
