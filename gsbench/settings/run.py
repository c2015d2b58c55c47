"""The settings that define a training run: its case, its recipe, its budget and its evaluation."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gsbench.estimators import NO_FACTS, parse_estimator
from gsbench.fields import Setting, check_all, recorded, setting, settings_of
from gsbench.registry import plugin_versions
from gsbench.settings.case import NETWORKS, Settings
from gsbench.settings.presets import PRESETS
from gsbench.settings.recipe import Recipe, steps_of
from gsbench.values import SECONDS, Range, SettingError, not_known, whole

LABELS_ONLY = "labels-only"
ROWS = 20_000  # draws × examples that an evaluation computes at once
# Of `patience`. With fewer evaluations, a fifth of the steps has too few of them to tell a rise from noise.
LEAST_RISE, LEAST_EVALUATIONS = 0.005, 20
DRAWS = whole(1, ROWS)  # at least one example is evaluated at once


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """One run. It ends when the first of its budgets is used up. At least one budget must be given.

    case          model, data set, K, estimator, minibatch, seed, device, threads, networks
    recipe        how it is trained
    labels_only   trains q(y|a,x) on the labels alone; the case's estimator is not used

    Budgets of epochs and steps say where a run ends to the step; where one of seconds ends depends on the machine. What
    is evaluated on the way is a part of the validation images, and at the end, once, the test part.

    Raises ValueError that says what is allowed.
    """

    case: Settings
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    labels_only: bool = False
    epochs: float | None = setting(
        None, "end after this many epochs", Range(above=0, most=1e9),
        about="budget", record="budget_epochs", caption="{} epochs",
    )  # fmt: skip
    steps: int | None = setting(
        None, "end after this many steps", whole(1), about="budget", record="budget_steps", caption="{} steps"
    )
    seconds: float | None = setting(
        None, "end after this many seconds of training, without evaluations", SECONDS,
        about="budget", record="budget_seconds", caption="{} s",
    )  # fmt: skip
    patience: float | None = setting(
        None,
        "end when the validation accuracy has risen by less than half a point in this share of the steps so far",
        Range(above=0, below=1), about="budget", record="budget_patience", caption="a share of {} without a rise",
    )  # fmt: skip
    evaluate_every: int | None = setting(
        None, "steps between evaluations; default: an epoch", whole(1),
        about="evaluation", record="evaluate_every_steps",
    )  # fmt: skip
    validation_images: int | None = setting(
        None, "number of validation images, drawn at random; default: all", whole(1), about="evaluation"
    )
    validation_draws: int = setting(
        1, "draws of a over which q(y|a,x) is averaged during training", DRAWS, about="evaluation", record="draws_of_a"
    )
    test_draws: int = setting(
        100, "the same for the test images at the end", DRAWS, about="evaluation", record="test_draws_of_a"
    )

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in _BUDGETS):
            raise SettingError("a run needs a budget: {epochs}, {steps}, {seconds} or {patience}")
        check_all(self)
        if self.case.dataset == "synthetic":
            why = ": the labels of data set 'synthetic' are random, so that no accuracy can be learnt"
            raise SettingError("{dataset}", why)
        if self.case.dtype == "float16" and (self.recipe.clip_norm or self.recipe.clip_element):
            raise SettingError("{clip_norm} and {clip_element} cannot be used in dtype float16")

    @property
    def estimator(self) -> str:
        return LABELS_ONLY if self.labels_only else self.case.estimator

    def record_fields(self) -> dict[str, Any]:
        """All settings, flat, as in a record."""
        case = self.case.record_fields()
        if self.labels_only:
            case = {key: value for key, value in case.items() if not key.startswith("estimator_")} | NO_FACTS
        return {**case, **recorded(self.recipe), "estimator": self.estimator, **recorded(self)}

    @property
    def key(self) -> str:
        """The run's name: its main settings, and eight digits of a checksum over all settings.

        The checksum leaves out settings at their defaults, so that a new setting does not change existing names.
        """
        parts = (self.case, self.case.make_config(), self.case.make_estimator(), self.recipe, self)
        changed = [[type(part).__name__, _changed(part)] for part in parts]
        if self.case.uses_plugins:  # so that a plug-in that was changed has runs of its own
            changed.append(["plugins", plugin_versions(self.case.plugins)])
        digits = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]
        case = self.case
        named = (case.dataset, f"k{case.n_classes}", case.model, case.preset, self.estimator, f"s{case.seed}", digits)
        return re.sub(r"[^\w.=-]+", "-", "-".join(named))

    def is_settled(self, steps: Sequence[int], accuracies: Sequence[float]) -> bool:
        """Whether `patience` ends the run after these evaluations."""
        if self.patience is None or len(steps) < LEAST_EVALUATIONS:
            return False
        earlier = bisect.bisect_right(steps, (1 - self.patience) * steps[-1])
        return max(accuracies) < max(accuracies[:earlier]) + LEAST_RISE

    def last_step(self, steps_per_epoch: float) -> int | None:
        """The step at which the run ends, or None if only time ends it."""
        ends = [self.steps] if self.steps is not None else []
        ends += [steps_of(self.epochs, steps_per_epoch)] if self.epochs is not None else []
        return min(ends, default=None)


def _changed(part: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults. The parts of a run each have their own.

    A plug-in's path is not part of a run's name, which names the things used from it.
    """
    fields = {field.name: _DEFAULTS.get(field.name, field.default) for field in dataclasses.fields(part)}
    values = {name: (getattr(part, name), default) for name, default in fields.items()}
    return {name: v for name, (v, default) in values.items() if v != default and name not in _PARTS}


# A run's name takes these as defaults, because the setting's own default depends on what is installed.
_DEFAULTS = {"backend": "chainer"}
_PARTS = ("case", "recipe", "networks", "plugins")
# Every setting of a run by its name.
SETTINGS: dict[str, Setting] = {
    **settings_of(Settings), **NETWORKS, **settings_of(Recipe), **settings_of(RunSettings)
}  # fmt: skip
_BUDGETS = tuple(name for name, s in settings_of(RunSettings).items() if s.about == "budget")


def spelling(text: str) -> str:
    """The one spelling of an estimator, or "labels-only". Raises ValueError as `parse_estimator` does."""
    text = text.strip()
    return text if text == LABELS_ONLY else str(parse_estimator(text, besides=[LABELS_ONLY]))


def make_run(options: Mapping[str, Any]) -> RunSettings:
    """The run of a preset with changes: `options` are of `SETTINGS`, in one mapping.

    A named budget replaces the preset's. The estimator may be "labels-only". Raises ValueError that
    says what is known or allowed.
    """
    if unknown := sorted(set(options) - set(SETTINGS)):
        raise SettingError("", f"unknown setting {not_known(unknown[0], sorted(SETTINGS))}")
    preset = SETTINGS["preset"].checked(options.get("preset", "default"))
    of_preset = dict(PRESETS[preset].run)
    if any(options.get(name) is not None for name in _BUDGETS):
        of_preset = {key: value for key, value in of_preset.items() if key not in _BUDGETS}
    merged = {**of_preset, **options}
    if "estimator" in merged:
        try:
            merged["estimator"] = spelling(merged["estimator"])
        except ValueError as error:
            raise SettingError("{estimator}", f": {error}") from error
    labels_only = merged.get("estimator") == LABELS_ONLY
    if labels_only:
        merged["estimator"] = "marginalize"
    recipe, own = ({n: merged.pop(n) for n in settings_of(kind) if n in merged} for kind in (Recipe, RunSettings))
    return RunSettings(Settings.of(merged), Recipe(**recipe), labels_only, **own)
