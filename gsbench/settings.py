"""What defines a case: frozen, checked when it is made, and whole in every record."""

from __future__ import annotations

import dataclasses
from typing import Any

from gsbench.backends import BACKENDS, DTYPES, check_device
from gsbench.data import DATASETS, count_classes
from gsbench.estimators import Estimator, parse_estimator
from gsbench.limits import available_cores
from gsbench.models import MODELS, PRESETS, ModelConfig, make_config
from gsbench.values import SEED, SettingError, not_known, whole

BINARIZE = ("dynamic", "none")
N_PIXELS = 28 * 28  # of every data set here
RANGES = {
    "n_classes": whole(2),
    "batch": whole(1),
    "n_mc": whole(1),
    "threads": whole(1),
    "seed": SEED,
    "labelled_per_class": whole(1),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """One case. `estimator` is a spelling that `parse_estimator` reads.

    Raises ValueError that says what was wrong, what was got and what is allowed.
    """

    estimator: str = "marginalize"
    model: str = "adgm"
    preset: str = "default"
    dataset: str = "glyphs"
    n_classes: int = 10
    batch: int = 100
    n_mc: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    backend: str = "chainer"
    threads: int = dataclasses.field(default_factory=available_cores)
    seed: int = 0
    binarize: str = "dynamic"
    labelled_per_class: int = 10

    def __post_init__(self) -> None:
        for name, allowed in (
            ("model", MODELS),
            ("preset", PRESETS),
            ("dataset", DATASETS),
            ("backend", BACKENDS),
            ("dtype", DTYPES),
            ("binarize", BINARIZE),
        ):
            if getattr(self, name) not in allowed:
                raise SettingError(f"unknown {{{name}}}", f" {not_known(getattr(self, name), allowed)}")
        check_device(self.device)
        for name, allowed_range in RANGES.items():
            allowed_range.check(name, getattr(self, name))
        if self.threads > (cores := available_cores()):
            most = f"{cores}, the cores that this process may use"
            raise SettingError(f"{{threads}} must be <= {most}", f", got {self.threads}")
        try:
            # One spelling for each estimator, so that records of the same case agree.
            object.__setattr__(self, "estimator", str(self.make_estimator()))
            self.make_estimator().check(self.make_config())
        except SettingError:
            raise
        except ValueError as error:
            raise SettingError("{estimator}", f": {error}") from error

    def make_estimator(self) -> Estimator:
        return parse_estimator(self.estimator)

    def make_config(self) -> ModelConfig:
        return make_config(self.preset, self.n_classes, N_PIXELS)

    def record_fields(self) -> dict[str, Any]:
        """These settings, the estimator's own and its facts, and the model's sizes, flat, as they stand in a record."""
        made = self.make_estimator()
        estimator = {f"estimator_{key}": value for key, value in made.settings.items()}
        config = dataclasses.asdict(self.make_config())
        if config["log_var_limits"] is not None:
            config["log_var_limits"] = list(config["log_var_limits"])
        return {**dataclasses.asdict(self), **config, **estimator, **made.facts(self.n_classes)}


def check_class_count(dataset: str, n_classes: int, data_dir: Any = None) -> None:
    """Raises ValueError where the data set has fewer classes; the message says how many it has."""
    most = count_classes(dataset, data_dir)
    if most is not None and n_classes > most:
        hint = "; --dataset synthetic has any number (for timing only)" if dataset != "synthetic" else ""
        raise SettingError("{n_classes}", f": data set {dataset!r} has {most} classes, got {n_classes}{hint}")
