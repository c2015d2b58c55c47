"""The sizes of a model, frozen, and the presets that name them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gsbench.values import Range, SettingError, not_known, shown, whole

NONLINEARITIES = ("relu", "elu")
NORMS = ("none", "batch")
INITS = ("fan-in", "glorot")
MOST_LAYERS = 1000


@dataclass(frozen=True)
class ModelConfig:
    """What is free in ADGM and M2.

    n_classes        K, at least 2
    n_pixels         D_x
    d_a, d_z         latent dimensions (M2 has no a)
    units            width of every hidden layer
    classifier_units that of q(y|a,x)'s; None: as the others'
    layers           hidden layers of q(a|x) and q(y|a,x)
    class_layers     hidden layers of the networks that take y: q(z|a,x,y), p(x|y,z), p(a|x,y,z)
    nonlinearity     "relu" or "elu"
    norm             "none", or "batch": batch normalisation before each nonlinearity. Then rows interact, and a soft y
                     and a sum over the classes estimate different numbers (their statistics run over B and K·B rows)
    init             standard deviation of the initial weights: "fan-in" 1/√(fan-in), "glorot" √(2/(fan-in + fan-out))
    init_std         that of all initial weights in place of `init`'s; None: `init`'s
    output_std       that of the output layers' initial weights; None: as the others'
    drop_x           share of the pixels that q(y|a,x) does not see in training, drawn anew each step (inverted dropout)
    drop_hidden      the same of its hidden units
    log_var_limits   every log σ² is clipped to these once, for the density and the draw alike; None: never

    Raises ValueError that says what is allowed.
    """

    n_classes: int
    n_pixels: int = 784
    d_a: int = 100
    d_z: int = 100
    units: int = 500
    classifier_units: int | None = None
    layers: int = 2
    class_layers: int = 2
    nonlinearity: str = "relu"
    norm: str = "none"
    init: str = "fan-in"
    init_std: float | None = None
    output_std: float | None = None
    drop_x: float = 0.0
    drop_hidden: float = 0.0
    log_var_limits: tuple[float, float] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the networks that take y are perceptrons with rectifiers and nothing else: one node each."""
        return self.norm == "none" and self.nonlinearity == "relu"

    def __post_init__(self) -> None:
        for name, allowed in (("nonlinearity", NONLINEARITIES), ("norm", NORMS), ("init", INITS)):
            if getattr(self, name) not in allowed:
                raise SettingError(f"unknown {{{name}}}", f" {not_known(getattr(self, name), allowed)}")
        whole(2).check("n_classes", self.n_classes)
        for name in ("n_pixels", "d_a", "d_z", "units"):
            whole(1).check(name, getattr(self, name))
        for name in ("layers", "class_layers"):
            whole(1, MOST_LAYERS).check(name, getattr(self, name))
        whole(1).check("classifier_units", self.classifier_units, or_none=True)
        for name in ("init_std", "output_std"):
            Range(above=0).check(name, getattr(self, name), or_none=True)
        for name in ("drop_x", "drop_hidden"):
            Range(least=0, below=1).check(name, getattr(self, name))
        if self.log_var_limits is not None and not self.log_var_limits[0] < self.log_var_limits[1]:
            allowed_limits = "must be (low, high) with low < high"
            raise SettingError(f"{{log_var_limits}} {allowed_limits}", f", got {shown(self.log_var_limits)}")


PRESETS: dict[str, dict[str, Any]] = {
    # The networks of Maaløe et al. 2016's published code.
    "default": {},
    # The networks of the 2016 blog post: three ELU layers where y enters, batch norm, small initial weights.
    "blog": {
        "class_layers": 3,
        "nonlinearity": "elu",
        "norm": "batch",
        "init_std": 0.01,
        "log_var_limits": (math.log(0.01), math.log(10.0)),
    },
    # The networks of Maaløe et al. 2016's published code with its initial weights.
    "paper": {"init": "glorot", "output_std": 0.001},
    # Found by trial on MNIST with 100 labels: little room in z, so that y carries the class, and a wide classifier.
    "tuned": {
        "units": 128,
        "classifier_units": 256,
        "d_a": 16,
        "d_z": 6,
        "norm": "batch",
        "drop_x": 0.2,
        "drop_hidden": 0.3,
    },
    # For tests and the quick run.
    "small": {"units": 64, "d_a": 16, "d_z": 16},
}


def make_config(preset: str, n_classes: int, n_pixels: int = 784) -> ModelConfig:
    """The ModelConfig of a preset at a class count; raises ValueError for an unknown preset."""
    if preset not in PRESETS:
        raise SettingError("unknown {preset}", f" {not_known(preset, PRESETS)}")
    return ModelConfig(n_classes=n_classes, n_pixels=n_pixels, **PRESETS[preset])
