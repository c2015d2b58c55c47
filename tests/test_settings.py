"""A case's settings: checked when made, whole in the record."""

import dataclasses
import json

import pytest

from gsbench.fields import settings_of
from gsbench.limits import available_cores
from gsbench.models import ModelConfig
from gsbench.settings.case import Settings, check_class_count
from gsbench.settings.presets import make_config


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"estimator": "gumble"}, r"unknown estimator 'gumble'; known: marginalize"),
        ({"estimator": "gumbel-softmax(tau=0)"}, r"tau must be >= 1e-10 and finite, got 0"),
        ({"model": "vae"}, r"unknown model 'vae'; known: adgm, m2"),
        ({"preset": "huge"}, r"unknown preset 'huge'; known: default, small, blog"),
        ({"dataset": "minst"}, r"unknown dataset 'minst'; known: glyphs, mnist"),
        ({"dtype": "int8"}, r"unknown dtype 'int8'; known: float32"),
        ({"backend": "jax"}, r"unknown backend 'jax'; known: chainer"),
        ({"binarize": "static"}, r"unknown binarize 'static'; known: dynamic, none"),
        ({"n_classes": 1}, r"n_classes must be >= 2, got 1"),
        ({"batch": 0}, r"batch must be >= 1, got 0"),
        ({"n_mc": 0}, r"n_mc must be >= 1, got 0"),
        ({"seed": -1}, r"seed must be >= 0, got -1"),
        ({"labelled_per_class": 0}, r"labelled_per_class must be >= 1, got 0"),
        ({"threads": 0}, r"threads must be >= 1, got 0"),
        ({"threads": available_cores() + 1}, r"threads must be <= \d+, the cores that this process may use"),
    ],
)
def test_bad_settings_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        Settings(**bad)


def test_an_estimator_has_one_spelling():
    assert Settings(estimator=" gumbel-softmax( tau = 1.0 ) ").estimator == "gumbel-softmax"
    assert Settings(estimator="gumbel-softmax(draws=2, tau=.5)").estimator == "gumbel-softmax(tau=0.5,draws=2)"


def test_a_record_has_all_settings_and_sizes():
    fields = Settings(estimator="gumbel-softmax(tau=0.5)", preset="blog", n_classes=7, threads=1).record_fields()
    assert fields["estimator_tau"] == 0.5
    assert fields["class_layers"] == 3
    assert fields["norm"] == "batch"
    assert {*settings_of(Settings), *settings_of(ModelConfig)} <= fields.keys()
    assert "networks" not in fields


def test_a_case_may_have_other_networks_than_its_preset():
    networks = {"drop_x": 0.1, "units": 32, "log_var_limits": [-1, 2]}
    case = Settings.of({"preset": "blog", "batch": 7, "threads": 1, **networks})
    config = case.make_config()
    assert (case.batch, config.drop_x, config.units, config.log_var_limits) == (7, 0.1, 32, (-1.0, 2.0))
    assert (config.class_layers, config.norm) == (3, "batch")  # the preset's
    assert case.record_fields()["drop_x"] == 0.1
    assert case.record_fields()["log_var_limits"] == [-1.0, 2.0]
    # Read as in a fresh process, and with another preset.
    assert Settings(**json.loads(json.dumps(dataclasses.asdict(case)))) == case
    other = dataclasses.replace(case, preset="small").make_config()
    assert (other.units, other.d_a, other.class_layers) == (32, 16, 2)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"drop_x": 1}, "drop_x must be >= 0 and < 1, got 1"),
        ({"units": 0}, "units must be >= 1, got 0"),
        ({"norm": "layer"}, "unknown norm 'layer'; known: none, batch"),
        ({"n_classes": 3}, "the networks have no setting 'n_classes'; known: units"),
        ({"log_var_limits": (2, 1)}, r"log_var_limits must be \(low, high\) with low < high, got \(2, 1\)"),
    ],
)
def test_bad_networks_are_refused(networks, message):
    with pytest.raises(ValueError, match=message):
        Settings(networks=networks)


def test_an_estimator_is_checked_with_the_changed_networks():
    with pytest.raises(ValueError, match=r"estimator: .*needs rows that do not interact"):
        Settings(estimator="marginalize-streamed", networks={"norm": "batch"})


def test_class_counts_are_checked_with_the_data_set():
    check_class_count("glyphs", 1200)
    check_class_count("synthetic", 10_000)
    with pytest.raises(ValueError, match="data set 'glyphs' has 1200 classes, got 1201; --dataset synthetic"):
        check_class_count("glyphs", 1201)
    with pytest.raises(ValueError, match="data set 'mnist' has 10 classes, got 11"):
        check_class_count("mnist", 11)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"n_classes": 1}, "n_classes must be >= 2"),
        ({"units": 0}, "units must be >= 1"),
        ({"nonlinearity": "tanh"}, "unknown nonlinearity 'tanh'; known: relu, elu"),
        ({"norm": "layer"}, "unknown norm 'layer'; known: none, batch"),
        ({"init_std": 0.0}, "init_std must be > 0"),
        ({"log_var_limits": (1.0, 1.0)}, "log_var_limits must be"),
    ],
)
def test_bad_model_configs_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{"n_classes": 3, **bad})


def test_presets_have_the_published_sizes():
    default, blog = make_config("default", 10), make_config("blog", 10)
    assert (default.units, default.layers, default.class_layers, default.d_a, default.d_z) == (
        500,
        2,
        2,
        100,
        100,
    )
    assert (default.nonlinearity, default.norm) == ("relu", "none")
    assert (blog.layers, blog.class_layers, blog.nonlinearity, blog.norm) == (2, 3, "elu", "batch")
    with pytest.raises(ValueError, match="unknown preset"):
        make_config("tiny", 10)
