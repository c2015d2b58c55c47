"""The settings that define a case: frozen, checked when made, and complete in every record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from gsbench.backends import BACKENDS, DTYPES, check_device, default_backend, load_backend
from gsbench.backends.base import Backend
from gsbench.data import DATASETS, count_classes
from gsbench.estimators import ESTIMATORS, Estimator, parse_estimator
from gsbench.fields import check_all, recorded, setting, settings_of
from gsbench.limits import available_cores
from gsbench.models import MODELS, ModelConfig
from gsbench.registry import load_plugins, loaded_plugins, plugin_versions
from gsbench.settings.presets import PRESETS, make_config
from gsbench.values import SEED, SettingError, not_known, whole

S = TypeVar("S", bound="Settings")

# A case may set these in place of its preset's. K is the case's own setting; the data set fixes the pixels.
NETWORKS = {name: s for name, s in settings_of(ModelConfig).items() if name not in ("n_classes", "n_pixels")}


@dataclasses.dataclass(frozen=True)
class Settings:
    """One case. `estimator` is a spelling that `parse_estimator` reads.

    networks   pairs of a name in `NETWORKS` and a value that replaces the preset's; may be a mapping
    plugins    plug-ins that are loaded before names are looked up; default: all that this process has loaded

    Raises ValueError that says what was wrong, what was got and what is allowed.
    """

    estimator: str = setting("marginalize", "such as marginalize, gumbel-softmax, 'gumbel-softmax(tau=0.5)'")
    model: str = setting(
        "adgm", "adgm (Maaløe et al. 2016), m2 (Kingma et al. 2014), or a plug-in's", MODELS, about="work"
    )
    preset: str = setting(
        "default", f"networks, recipe and budget: {', '.join(PRESETS)}", PRESETS, about="work", caption="preset {}"
    )
    dataset: str = setting(
        "glyphs", f"{', '.join(DATASETS)} (synthetic: for timing only)", DATASETS, about="task", caption="data {}"
    )
    n_classes: int = setting(10, "K", whole(2), option="classes")
    batch: int = setting(100, "unlabelled examples per minibatch", whole(1), about="work", caption="batch {}")
    n_mc: int = setting(1, "Monte-Carlo draws of a and z", whole(1), about="work", caption="N_MC = {}")
    dtype: str = setting(
        "float32", f"{', '.join(DTYPES)}, as far as the backend has it on the device", tuple(DTYPES), about="session",
        caption="{}",
    )
    device: str = setting("cpu", "cpu, cuda:N", check_device, about="session")
    backend: str = setting(
        dataclasses.MISSING, f"the framework: {', '.join(BACKENDS)}; default: the first that is installed", BACKENDS,
        factory=default_backend, about="session", caption="backend {}",
    )  # fmt: skip
    threads: int = setting(
        dataclasses.MISSING, "threads of the linear algebra library; default: all cores", whole(1),
        factory=available_cores, about="session",
    )  # fmt: skip
    seed: int = setting(0, "seed of parameters, noise, data split and order", SEED)
    binarize: str = setting(
        "dynamic", "dynamic: pixels are drawn for each minibatch; none: unchanged", ("dynamic", "none"), about="task"
    )
    labelled_per_class: int = setting(
        10, "labelled examples per class", whole(1), about="task", option="labels", caption="{} labels a class"
    )
    networks: tuple[tuple[str, Any], ...] = ()
    plugins: tuple[str, ...] = dataclasses.field(default_factory=loaded_plugins)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plugins", load_plugins(self.plugins))  # before names are looked up
        check_all(self)
        given = dict(self.networks)
        if unknown := sorted(set(given) - set(NETWORKS)):
            raise SettingError("", f"the networks have no setting {not_known(unknown[0], NETWORKS)}")
        if given and not MODELS[self.model].is_configured:
            name = next(iter(given))
            raise SettingError("", f"the networks of model {self.model!r} are a user's; they have no setting {name!r}")
        networks = sorted((name, NETWORKS[name].checked(value)) for name, value in given.items())
        object.__setattr__(self, "networks", tuple(networks))
        if self.threads > (cores := available_cores()):
            most = f"{cores}, the cores that this process may use"
            raise SettingError(f"{{threads}} must be <= {most}", f", got {self.threads}")
        needed = MODELS[self.model].backends
        if needed and self.backend not in needed:
            raise SettingError(
                f"{{backend}} must be {', '.join(needed)} for model {self.model!r}", f", got {self.backend!r}"
            )
        try:
            self.make_config()
        except SettingError:
            raise
        except ValueError as error:  # of a user's model
            raise SettingError("{model}", f": {error} (with data set {self.dataset!r})") from error
        try:
            # One spelling for each estimator, so that records of the same case agree.
            object.__setattr__(self, "estimator", str(self.make_estimator()))
            self.make_estimator().check(self.make_config())
        except SettingError:
            raise
        except ValueError as error:
            raise SettingError("{estimator}", f": {error}") from error

    @property
    def uses_plugins(self) -> bool:
        """Whether one of its things comes from a plug-in."""
        named = ((MODELS, self.model), (DATASETS, self.dataset), (BACKENDS, self.backend))
        return any(name not in registry.own for registry, name in (*named, (ESTIMATORS, self.make_estimator().name)))

    @classmethod
    def of(cls: type[S], options: Mapping[str, Any]) -> S:
        """The case described by one mapping of its own settings and `NETWORKS`."""
        networks = {name: value for name, value in options.items() if name in NETWORKS}
        own = {name: value for name, value in options.items() if name not in NETWORKS}
        return cls(**own, networks=tuple(networks.items()))

    def make_estimator(self) -> Estimator:
        return parse_estimator(self.estimator)

    def make_backend(self) -> Backend:
        """The backend, on the threads of the case."""
        bk = load_backend(self.backend, self.device, self.dtype)
        bk.set_threads(self.threads)
        return bk

    def make_config(self) -> ModelConfig:
        n_inputs = DATASETS[self.dataset].n_inputs
        return MODELS[self.model].adapted(
            make_config(self.preset, self.n_classes, n_inputs, **dict(self.networks))
        )

    def record_fields(self) -> dict[str, Any]:
        """These settings, the estimator's settings and facts, and the networks' settings, flat, as in a record."""
        made = self.make_estimator()
        estimator = {f"estimator_{key}": value for key, value in made.settings.items()}
        plugins = {"plugins": plugin_versions(self.plugins)} if self.plugins else {}
        own, networks = recorded(self), recorded(self.make_config())
        return {**own, **networks, **estimator, **made.facts(self.n_classes), **plugins}


def check_class_count(dataset: str, n_classes: int, data_dir: str | Path | None = None) -> None:
    """Raises ValueError if the data set has fewer classes. The message says how many it has."""
    most = count_classes(dataset, data_dir)
    if most is not None and n_classes > most:
        hint = "; --dataset synthetic has any number (for timing only)" if dataset != "synthetic" else ""
        raise SettingError("{n_classes}", f": data set {dataset!r} has {most} classes, got {n_classes}{hint}")
