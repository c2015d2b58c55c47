"""The settings of a model's networks, frozen."""

from __future__ import annotations

from dataclasses import MISSING, dataclass

from gsbench.fields import check_all, setting
from gsbench.values import Range, whole

MOST_LAYERS = 1000


@dataclass(frozen=True)
class ModelConfig:
    """The free settings of ADGM and M2 (M2 has no a). Raises ValueError that says what is allowed.

    With batch norm, rows interact: a soft y takes its statistics over B rows and a sum over classes over K·B rows, so
    that the two estimate different numbers.
    """

    n_classes: int = setting(MISSING, "K", whole(2))
    n_pixels: int = setting(784, "D_x", whole(1))
    units: int = setting(500, "width of the hidden layers", whole(1), about="work")
    classifier_units: int | None = setting(
        None, "width of the hidden layers of q(y|a,x); default: --units", whole(1), about="work"
    )
    layers: int = setting(2, "hidden layers of q(a|x) and q(y|a,x)", whole(1, MOST_LAYERS), about="work")
    class_layers: int = setting(
        2, "hidden layers of the networks that take y: q(z|a,x,y), p(x|y,z), p(a|x,y,z)", whole(1, MOST_LAYERS),
        about="work",
    )  # fmt: skip
    d_a: int = setting(100, "dimension of a", whole(1), about="work")
    d_z: int = setting(100, "dimension of z", whole(1), about="work")
    nonlinearity: str = setting("relu", "relu or elu", ("relu", "elu"), about="work")
    norm: str = setting("none", "none, or batch: batch norm before each nonlinearity", ("none", "batch"), about="work")
    init: str = setting(
        "fan-in", "standard deviation of the initial weights: fan-in 1/√(fan-in), glorot √(2/(fan-in + fan-out))",
        ("fan-in", "glorot"),
    )  # fmt: skip
    init_std: float | None = setting(None, "standard deviation of all initial weights; replaces --init", Range(above=0))
    output_std: float | None = setting(
        None, "standard deviation of the output layers' initial weights; default: as the others'", Range(above=0)
    )
    drop_x: float = setting(
        0.0, "share of the pixels dropped from the input of q(y|a,x) in training (inverted dropout)",
        Range(least=0, below=1), about="work",
    )  # fmt: skip
    drop_hidden: float = setting(
        0.0, "share of the hidden units of q(y|a,x) dropped in training", Range(least=0, below=1), about="work"
    )
    log_var_limits: tuple[float, float] | None = setting(
        None, "low,high: every log σ² is clipped to this range; default: no clipping", about="work"
    )

    @property
    def is_plain(self) -> bool:
        """Whether the networks that take y are plain perceptrons with rectifiers: each is then one node."""
        return self.norm == "none" and self.nonlinearity == "relu"

    def __post_init__(self) -> None:
        check_all(self)


