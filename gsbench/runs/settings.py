"""What defines a training run: its case, its recipe, its budget, how it is evaluated; and the presets of all that."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from gsbench.estimators import NO_FACTS, parse_estimator
from gsbench.recipe import Recipe, steps_of
from gsbench.settings import Settings
from gsbench.training import ROWS
from gsbench.values import LONGEST_SECONDS, Range, SettingError, not_known, whole

LABELS_ONLY = "labels-only"
RANGES = {
    "epochs": Range(above=0, most=1e9),
    "steps": whole(1),
    "seconds": Range(above=0, most=LONGEST_SECONDS),
    "evaluate_every": whole(1),
    "validation_images": whole(1),
    "validation_draws": whole(1, ROWS),  # of one example at once, at the least
    "test_draws": whole(1, ROWS),
}


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """One run. It ends with the first of its budgets that is spent; one at least must be given.

    case                 model, data set, K, estimator, minibatch, seed, device, threads
    recipe               how it is trained
    labels_only          trains q(y|a,x) on the labels alone; the case's estimator has no part in it
    epochs, steps        budgets that say where a run ends to the step
    seconds              of training, without evaluations: where a run ends depends on the machine
    evaluate_every       steps between evaluations; None: one epoch
    validation_images    drawn at random from the validation part; None: all of it
    validation_draws     of a, over which q(y|a,x) is averaged, on the way
    test_draws           the same on the test part, which is evaluated once, at the end

    Raises ValueError that says what is allowed.
    """

    case: Settings
    recipe: Recipe = dataclasses.field(default_factory=Recipe)
    labels_only: bool = False
    epochs: float | None = None
    steps: int | None = None
    seconds: float | None = None
    evaluate_every: int | None = None
    validation_images: int | None = None
    validation_draws: int = 1
    test_draws: int = 100

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in ("epochs", "steps", "seconds")):
            raise SettingError("a run needs a budget: {epochs}, {steps} or {seconds}")
        for name, allowed in RANGES.items():
            allowed.check(name, getattr(self, name), or_none=not name.endswith("_draws"))
        for name in ("epochs", "seconds"):  # one form for each number, as in the recipe
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        if self.case.dataset == "synthetic":
            why = ": the labels of data set 'synthetic' are random: there is no accuracy to train for"
            raise SettingError("{dataset}", why)
        if self.case.dtype == "float16" and (self.recipe.clip_norm or self.recipe.clip_element):
            raise SettingError("{clip_norm} and {clip_element} need dtype float32 or float64", ", got float16")

    @property
    def estimator(self) -> str:
        return LABELS_ONLY if self.labels_only else self.case.estimator

    def record_fields(self) -> dict[str, Any]:
        """All settings, flat, as they stand in a record."""
        case = self.case.record_fields()
        if self.labels_only:
            case = {key: value for key, value in case.items() if not key.startswith("estimator_")} | NO_FACTS
        return {
            **case,
            **dataclasses.asdict(self.recipe),
            "estimator": self.estimator,
            "budget_epochs": self.epochs,
            "budget_steps": self.steps,
            "budget_seconds": self.seconds,
            "evaluate_every_steps": self.evaluate_every,
            "validation_images": self.validation_images,
            "draws_of_a": self.validation_draws,
            "test_draws_of_a": self.test_draws,
        }

    @property
    def key(self) -> str:
        """The run's name: what one looks for first, and eight digits of a checksum over all settings.

        Settings at their defaults have no part in the checksum, so that one that is new leaves the names as they are.
        """
        parts = (self.case, self.case.make_config(), self.case.make_estimator(), self.recipe, self)
        changed = [[type(part).__name__, _changed(part)] for part in parts]
        digits = hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]
        case = self.case
        named = (case.dataset, f"k{case.n_classes}", case.model, case.preset, self.estimator, f"s{case.seed}", digits)
        return re.sub(r"[^\w.=-]+", "-", "-".join(named))

    def last_step(self, steps_per_epoch: float) -> int | None:
        """The step at which the run ends, or None where only time ends it."""
        ends = [self.steps] if self.steps is not None else []
        ends += [steps_of(self.epochs, steps_per_epoch)] if self.epochs is not None else []
        return min(ends, default=None)


def _changed(part: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their defaults, nor dataclasses themselves."""
    values = {field.name: (getattr(part, field.name), field.default) for field in dataclasses.fields(part)}
    return {name: v for name, (v, default) in values.items() if v != default and not dataclasses.is_dataclass(v)}


# Flat options by preset. The networks' sizes are those of the same name in `gsbench.models.PRESETS`.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {"epochs": 20.0},
    # Short runs over many class counts. 3e-3 was the best of 3e-4, 1e-3 and 3e-3 after 300 steps for the sum and three
    # samplers at K = 50, and after 2,000 for gumbel-softmax.
    "small": {"learning_rate": 3e-3, "steps": 2000, "evaluate_every": 100},
    # The 2016 blog post's: α 1, τ from 1 down to 0.5, epochs of 500 steps. Its "clip 10" was never applied, and one
    # Adam for each network does what one for all does.
    "blog": {"alpha": 1.0, "tau_decay": 0.999, "tau_floor": 0.5, "steps_per_epoch": 500, "epochs": 20.0},
    # High accuracy on MNIST with 100 labels in little time. Virtual adversarial training and pseudo-labels are no part
    # of the published models: without them the same networks end some 5 points lower.
    "tuned": {
        "alpha": 300.0,
        "labelled_batch": 50,
        "binarize": "none",
        "shift": 1,
        "balance": 100.0,
        "adversarial": 300.0,
        "pseudo_labels": 300.0,
        "polyak": 0.99,
        "learning_rate": 4e-3,
        "learning_rate_decay": 0.8,
        "epochs": 15.0,
    },
    # Maaløe et al. 2016's published code, of the ADGM in place of its SDGM: α = 0.1·60,000/100.
    "paper": {
        "alpha": 60.0,
        "learning_rate_decay": 0.75,
        "learning_rate_every": 200.0,
        "learning_rate_floor": 3e-5,
        "clip_norm": 5.0,
        "clip_element": 1.0,
        "weight_prior": True,
        "epochs": 1000.0,
        "validation_draws": 1,
    },
}

_OF_CASE, _OF_RECIPE, _OWN = (
    frozenset(field.name for field in dataclasses.fields(kind)) for kind in (Settings, Recipe, RunSettings)
)
OPTIONS = (_OF_CASE | _OF_RECIPE | _OWN) - {"case", "recipe", "labels_only"}
_BUDGETS = ("epochs", "steps", "seconds")


def spelling(text: str) -> str:
    """The one spelling of an estimator, or "labels-only". Raises ValueError as `parse_estimator` does."""
    text = text.strip()
    return text if text == LABELS_ONLY else str(parse_estimator(text, besides=[LABELS_ONLY]))


def make_run(options: Mapping[str, Any]) -> RunSettings:
    """The run of a preset with changes: `options` are the fields of Settings, Recipe and RunSettings in one mapping.

    A budget that is named takes the place of the preset's. The estimator may be "labels-only". Raises ValueError that
    says what is known or allowed.
    """
    if unknown := sorted(set(options) - OPTIONS):
        raise SettingError("", f"unknown setting {not_known(unknown[0], sorted(OPTIONS))}")
    preset = options.get("preset", "default")
    if preset not in PRESETS:
        raise SettingError("unknown {preset}", f" {not_known(preset, PRESETS)}")
    of_preset = dict(PRESETS[preset])
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
    case, recipe, own = (
        {key: value for key, value in merged.items() if key in names} for names in (_OF_CASE, _OF_RECIPE, _OWN)
    )
    return RunSettings(Settings(**case), Recipe(**recipe), labels_only, **own)
