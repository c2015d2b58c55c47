"""What is derived of the declarations is what was written by hand before: this file goes with those lists."""

import typing

from gsbench import schema
from gsbench.cli import plan as plan_command
from gsbench.cli import run_options
from gsbench.cli.completion import _names
from gsbench.fields import about, settings_of
from gsbench.models import ModelConfig
from gsbench.planner.work import SIZES
from gsbench.recipe import Recipe
from gsbench.report import frame, text, training_settings
from gsbench.report.regression_cases import OF_RUNS
from gsbench.runs import grid
from gsbench.runs.settings import SETTINGS, RunSettings
from gsbench.settings import NETWORKS, Settings
from gsbench.values import LONGEST_SECONDS, Range, whole

CASE, RECIPE, RUN = map(settings_of, (Settings, Recipe, RunSettings))

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
    ("n_classes",): whole(2),
    ("batch", "n_mc", "threads", "labelled_per_class"): whole(1),
    ("seed",): whole(0),
    ("epochs",): Range(above=0, most=1e9),
    ("seconds",): Range(above=0, most=LONGEST_SECONDS),
    ("steps", "evaluate_every", "validation_images"): whole(1),
    ("validation_draws", "test_draws"): whole(1, 20_000),
    ("d_a", "d_z", "units", "classifier_units"): whole(1),
    ("layers", "class_layers"): whole(1, 1000),
    ("init_std", "output_std"): Range(above=0),
    ("drop_x", "drop_hidden"): Range(least=0, below=1),
}


def test_ranges():
    assert {name: one for names, one in RANGES.items() for name in names} == {
        name: s.check for name, s in SETTINGS.items() if isinstance(s.check, Range)
    }


def test_what_may_be_none():
    assert {name for name, s in SETTINGS.items() if s.or_none} == {
        "alpha", "clip_norm", "clip_element", "labelled_batch", "steps_per_epoch", "classifier_units", "init_std",
        "output_std", "log_var_limits", "epochs", "steps", "seconds", "evaluate_every", "validation_images",
    }  # fmt: skip


def test_options():
    besides = {"estimator", "n_classes", "seed", "preset", "dataset", "labelled_per_class"}
    assert {n: s.help for n, s in RECIPE.items()} == {n: h for n, (_, h) in run_options._of_recipe().items()}
    assert set(run_options.OF_CASE) == set(CASE) - besides
    assert set(run_options.BUDGETS) == {name for name, s in RUN.items() if s.about == "budget"}
    assert set(run_options.OF_EVALUATION) == {name for name, s in RUN.items() if s.about == "evaluation"}


def test_kinds_of_a_grid():
    spelled = {**grid._SPELLED, "log_var_limits": "tuple | None"}
    own = {n: s.kind.__name__ + (" | None" if s.or_none else "") for n, s in SETTINGS.items() if n not in NETWORKS}
    assert own == {name: spelled[name] for name in own}
    assert set(spelled) - set(own) == {"case", "recipe", "labels_only", "networks", "log_var_limits"}


def test_completion():
    by_hand = {name: [*names] for name, names in _names("train").items() if not name.startswith("estimator")}
    derived = {name: [*s.names] for name, s in SETTINGS.items() if s.names}
    assert derived == {**by_hand, **{name: derived[name] for name in ("nonlinearity", "norm", "init")}}


def test_what_tells_measurements_apart():
    series = {*about(CASE, "session", "work"), *about(NETWORKS, "work")} - {"model"}
    assert series >= set(frame.SERIES_FIELDS)
    # An oversight: the networks' others were those of the preset, and now they may be changed.
    assert series - set(frame.SERIES_FIELDS) == {"classifier_units", "class_layers", "drop_x", "drop_hidden",
                                                 "log_var_limits"}  # fmt: skip
    task = {*about(CASE, "task"), "draws_of_a", "dataset_version"} - {"dataset"}
    assert task == set(frame.TASK_FIELDS)
    assert set(OF_RUNS) == set(about(CASE, "session"))


def test_what_tells_training_runs_apart():
    everything = {s.record for s in SETTINGS.values()} - {"estimator", "n_classes", "seed"}
    budgets = set(about(RUN, "budget"))
    of_task = set(training_settings.OF_TASK)
    known_when_it_begins = {"budget", "dataset_version", "dataset_checksum", "n_pixels"}
    assert everything - budgets - of_task == set(training_settings.OTHERS) - known_when_it_begins
    assert {s.record: s.caption.removeprefix("{} ") for s in RUN.values() if s.about == "budget"} == (
        training_settings.BUDGETS
    )
    off = {s.record for s in SETTINGS.values() if s.or_none and not s.filled} - budgets
    assert off - set(training_settings.NULL_IS_OFF) == {"init_std"}  # an oversight, as that was the preset's
    assert off >= set(training_settings.NULL_IS_OFF)


def test_captions():
    told = [s for kind in ("work", "session", "task") for s in CASE.values() if s.about == kind and s.caption]
    assert {s.record: s.caption for s in told} == text.CAPTION_SETTINGS
    assert [s.record for s in told] == list(text.CAPTION_SETTINGS)


def test_shapes_of_the_planner():
    sizes = about(NETWORKS, "work")
    assert set(SIZES) <= set(sizes)
    assert {*about(CASE, "work"), *sizes} >= set(plan_command.OF_SHAPE)
    assert set(plan_command.OF_SETUP) == set(about(CASE, "session"))


def test_fields_of_a_record():
    for s in [*SETTINGS.values(), settings_of(ModelConfig)["n_pixels"]]:
        assert s.record in schema.FIELDS, s.record
        assert schema.FIELDS[s.record].is_text == (s.kind is str)
    assert typing.get_type_hints(ModelConfig)["drop_x"] is float
