"""The networks and f(y) of ADGM and M2 compared with the oracle; initial weights, batch norm and prediction."""

from __future__ import annotations

import math

import numpy as np
import oracles
import pytest
from core_fixtures import BATCH, SIZES, backend, make_model, make_pixels, noise_of_seed, plain_noise
from oracles import Oracle

from gsbench.backends.chainer import functions
from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.meters.gradient_quality import Point
from gsbench.models import MODELS, AllClasses, Labels, ModelConfig, Points
from gsbench.settings.presets import PRESETS, make_config
from gsbench.training.objective import unlabelled_bound

BOTH = pytest.mark.parametrize("name", list(MODELS))
VARIANTS = {
    "default": {},
    "elu": {"nonlinearity": "elu"},
    "deep": {"layers": 1, "class_layers": 3},
    # Limits that clip many of the values.
    "clipped": {"log_var_limits": (-0.1, 0.1)},
}


def bound_and_oracle(model, x, seed=1, n_mc=1):
    """f of the model, and the oracle with the same noise: f, Oracle, ε_a, ε_z."""
    noise = model.draw_noise(model.bk.generator(seed), len(x), n_mc)
    return model.class_bound(model.bk.array(x), noise), Oracle(model), *plain_noise(model, noise)


# f(y)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("n_classes", [2, 3, 7])
@BOTH
def test_bound_of_every_class(name, n_classes, variant):
    model, x = make_model(name, n_classes, **VARIANTS[variant]), make_pixels()
    f, oracle, eps_a, eps_z = bound_and_oracle(model, x, n_mc=2)
    got = model.bk.to_numpy(f(AllClasses()))
    assert got.shape == (2, n_classes, BATCH)
    np.testing.assert_allclose(got.transpose(0, 2, 1), oracle.class_bounds(x, eps_a, eps_z), rtol=1e-10)


@BOTH
def test_clipping_changes_the_bound(name):
    """So the variant above would notice a missing clip."""
    x = make_pixels()
    free, _, _, _ = bound_and_oracle(make_model(name, 3), x)
    clipped, _, _, _ = bound_and_oracle(make_model(name, 3, **VARIANTS["clipped"]), x)
    assert abs(free.bk.to_numpy(free(AllClasses())) - free.bk.to_numpy(clipped(AllClasses()))).min() > 1e-6


@BOTH
def test_bound_of_labels(name):
    model, x = make_model(name, 7), make_pixels()
    f, oracle, eps_a, eps_z = bound_and_oracle(model, x, n_mc=2)
    y = np.array([6, 0, 3, 3])
    got = model.bk.to_numpy(f(Labels(model.bk.integers(y))))
    assert got.shape == (2, 1, BATCH)
    for n in range(2):
        expected = oracle.bound(x, eps_a[n], eps_z[n], oracles.one_hot(y, 7))
        np.testing.assert_allclose(got[n, 0], expected, rtol=1e-10)


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@BOTH
def test_bound_of_soft_points_and_its_gradient_with_respect_to_them(name, n_classes):
    model, x = make_model(name, n_classes), make_pixels()
    f, oracle, eps_a, eps_z = bound_and_oracle(model, x, n_mc=2)
    values = np.random.default_rng(0).dirichlet(np.ones(n_classes), (2, 3, BATCH))  # three points a draw
    y = model.bk.parameter(values)
    got = f(Points(y))
    model.bk.backward(model.bk.sum(got))
    assert got.shape == (2, 3, BATCH)
    h = 1e-6
    for n, c in np.ndindex(2, 3):
        np.testing.assert_allclose(
            model.bk.to_numpy(got)[n, c], oracle.bound(x, eps_a[n], eps_z[n], values[n, c]), rtol=1e-10
        )
        for k in range(
            n_classes
        ):  # each entry by itself, also off the simplex: a hard D needs ∂f/∂D for all classes
            up, down = (
                oracle.bound(x, eps_a[n], eps_z[n], values[n, c] + s * h * np.eye(n_classes)[k])
                for s in (1, -1)
            )
            np.testing.assert_allclose(
                model.bk.gradient(y)[n, c, :, k], (up - down) / (2 * h), rtol=1e-6, atol=1e-7
            )


@BOTH
def test_a_hard_point_is_the_label(name):
    model, x = make_model(name, 7), make_pixels()
    f, *_ = bound_and_oracle(model, x)
    y = np.array([6, 0, 3, 3])
    points = Points(model.bk.array(oracles.one_hot(y, 7)[None, None]))
    labels = Labels(model.bk.integers(y))
    np.testing.assert_allclose(model.bk.to_numpy(f(points)), model.bk.to_numpy(f(labels)), rtol=1e-12)


@BOTH
def test_logits_of_the_class(name):
    model, x = make_model(name, 7), make_pixels()
    f, oracle, eps_a, _ = bound_and_oracle(model, x, n_mc=3)
    alone = model.class_logits(model.bk.array(x), f.noise)
    expected = np.stack([oracle.logits(x, eps_a[n]) for n in range(3)])
    np.testing.assert_allclose(model.bk.to_numpy(f.logits_y), expected, rtol=1e-10)
    np.testing.assert_allclose(model.bk.to_numpy(alone), expected, rtol=1e-10)


@BOTH
def test_noise_is_shared_by_the_classes(name):
    model = make_model(name, 7)
    noise = model.draw_noise(model.bk.generator(0), batch=4, n_mc=2)
    assert noise.eps_z.shape == (2, 1, 4, SIZES["d_z"])
    assert (noise.eps_a is None) if name == "m2" else (noise.eps_a.shape == (2, 1, 4, SIZES["d_a"]))


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-4), ("float16", 2e-2)])
@BOTH
def test_narrow_dtypes_stay_near_the_oracle_and_give_wide_bounds(name, dtype, rtol):
    model, x = make_model(name, 7, dtype), make_pixels()
    f, oracle, eps_a, eps_z = bound_and_oracle(model, x)  # the oracle has the rounded parameters and noise
    got = f(AllClasses())
    assert got.dtype == np.float32
    assert all(p.dtype == np.dtype(dtype) for p in model.parameters.values())
    expected = oracle.class_bounds(x, eps_a, eps_z)
    np.testing.assert_allclose(model.bk.to_numpy(got).transpose(0, 2, 1), expected, rtol=rtol)


# Identity 1: parts that do not depend on the class are computed once per example


@pytest.mark.parametrize(
    "y", [AllClasses(), Labels(np.zeros(BATCH, np.int32))], ids=["all classes", "labels"]
)
@BOTH
def test_no_tiled_pixels_and_no_one_hot_matrix(name, y, monkeypatch):
    model, x = make_model(name, 7, n_pixels=11, units=5), np.zeros((BATCH, 11))
    rows_of_pixels, dot = [], functions.dot

    def watched(a, b):
        assert 7 not in a.shape or b.shape == (5, 7), "a one-hot y went through a matrix product"
        if a.shape[1] == 11:
            rows_of_pixels.append(len(a))
        return dot(a, b)

    monkeypatch.setattr(functions, "dot", watched)
    f = model.class_bound(model.bk.array(x), model.draw_noise(model.bk.generator(0), BATCH, 3))
    f(y)
    f(y)
    assert rows_of_pixels == [BATCH] * {"adgm": 4, "m2": 2}[name]  # each network that takes x, once


# Parameters


def test_parameters_are_named_and_shaped_as_documented():
    model = MODELS["adgm"](backend("float32"), ModelConfig(n_classes=7, n_pixels=11, d_a=3, d_z=4, units=5))
    shapes = {key: p.shape for key, p in model.parameters.items()}
    assert {key for key in shapes if key.startswith("q_z_axy")} == {
        f"q_z_axy/{key}" for key in ("W_x", "W_a", "W_y", "b1", "W2", "b2", "W3", "b3")
    }
    assert shapes["q_z_axy/W_x"] == (5, 11)
    assert shapes["q_z_axy/W_a"] == (5, 3)
    assert shapes["q_z_axy/W_y"] == (7, 5)
    assert shapes["q_z_axy/W3"] == (8, 5)
    assert shapes["p_x_yz/W3"] == (11, 5)
    assert shapes["q_y_ax/W3"] == (7, 5)
    assert {key.split("/")[0] for key in shapes} == {"q_a_x", "q_y_ax", "q_z_axy", "p_x_yz", "p_a_xyz"}
    m2 = MODELS["m2"](backend("float32"), ModelConfig(n_classes=7))
    assert {key.split("/")[0] for key in m2.parameters} == {"q_y_x", "q_z_xy", "p_x_yz"}


class Renamed(MODELS["m2"]):
    """M2 with networks whose names do not tell their purpose, or tell a wrong one."""

    def _network(self, name, *arguments, **inputs):
        return super()._network({"q_y_x": "classifier", "q_z_xy": "p_encoder", "p_x_yz": "q_y_decoder"}[name],
                                *arguments, **inputs)  # fmt: skip


def test_a_network_has_a_role_whatever_its_name():
    config = ModelConfig(n_classes=3, n_pixels=6, d_z=4, units=5, classifier_units=9)
    bk = backend("float64")
    adgm, m2, renamed = (kind(bk, config) for kind in (*MODELS.values(), Renamed))
    assert {network.name: network.role.value for network in adgm.networks} == {
        "q_a_x": "other recognition",
        "q_y_ax": "recognition of y",
        "q_z_axy": "other recognition",
        "p_x_yz": "generative",
        "p_a_xyz": "generative",
    }
    assert list(renamed.roles.values()) == list(m2.roles.values())
    assert list(renamed.roles) == list(renamed.parameters)
    assert [p.shape for p in renamed.parameters.values()] == [p.shape for p in m2.parameters.values()]
    assert {key.split("/")[0] for key in renamed.classifier_parameters} == {"classifier"}
    assert {key.split("/")[0] for key in adgm.classifier_parameters} == {"q_a_x", "q_y_ax"}
    gradients = []
    for model in (m2, renamed):
        point = Point(model, bk.array(make_pixels(2)), total_draws=1)
        gradients.append(point.gradient(parse_estimator("marginalize"), None, point.noise))
    ours, theirs = gradients
    assert [len(ours[part]) for part in ("logits", "phi", "theta")] == [1, 7, 7]
    for part, arrays in ours.items():
        for array, other in zip(arrays, theirs[part], strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize(("n_classes", "y_share"), [(50, 50), (100, 100), (3000, 100)])
def test_first_layer_starts_with_one_scale_from_the_summed_fan_in(n_classes, y_share):
    """y's share of the fan-in is at most 100, so that its signal does not fade as K grows."""
    config = ModelConfig(n_classes=n_classes, n_pixels=200, d_a=60, d_z=40, units=80)
    model = MODELS["adgm"](backend("float32"), config)
    expected = {
        "q_a_x": 200,
        "q_y_ax": 200 + 60,
        "q_z_axy": 200 + 60 + y_share,
        "p_x_yz": 40 + y_share,
        "p_a_xyz": 200 + 40 + y_share,
    }
    for key, p in model.parameters.items():
        network, layer = key.split("/")
        if layer.startswith("W"):
            fan_in = expected[network] if "_" in layer else 80
            relative_error = p.array.std() * math.sqrt(fan_in) - 1
            assert abs(relative_error) < 4 / math.sqrt(2 * p.size), key
            assert abs(p.array.mean()) * math.sqrt(fan_in * p.size) < 4.5, key
        else:
            assert not p.array.any(), key


def test_init_std_sets_every_weight():
    model = MODELS["m2"](backend("float32"), ModelConfig(n_classes=40, n_pixels=100, units=80, init_std=0.01))
    for key, p in model.parameters.items():
        if "/W" in key:
            assert p.array.std() == pytest.approx(0.01, rel=4 / math.sqrt(2 * p.size))


@BOTH
def test_same_seed_same_parameters_in_every_dtype(name):
    config = ModelConfig(n_classes=3, **SIZES)
    wide = MODELS[name](backend("float64"), config, seed=4).parameters
    narrow = MODELS[name](backend("float32"), config, seed=4).parameters
    other = MODELS[name](backend("float64"), config, seed=5).parameters
    for key in wide:
        np.testing.assert_array_equal(wide[key].array.astype(np.float32), narrow[key].array)
        assert "/b" in key or not np.any(wide[key].array == other[key].array)


# Batch norm


BLOG = {
    **PRESETS["blog"].networks,
    "init_std": None,
}  # its small initial weights would hide most of a network from the test


@pytest.mark.parametrize("n_mc", [1, 2])
@BOTH
def test_batch_norm_takes_its_statistics_over_all_rows(name, n_mc):
    model, x = make_model(name, 3, **BLOG), make_pixels()
    oracle = Oracle(model)
    eps_a, eps_z, _ = noise_of_seed(model, 1, n_mc=n_mc)
    got = unlabelled_bound(model, model.bk.array(x), ESTIMATORS["marginalize"](), model.bk.generator(1), n_mc)
    np.testing.assert_allclose(
        model.bk.to_numpy(got), oracle.unlabelled_in_one_batch(x, eps_a, eps_z), rtol=1e-9
    )


@BOTH
def test_batch_norm_keeps_running_averages_and_evaluates_with_them(name):
    model, x = make_model(name, 3, **BLOG), make_pixels()
    classifier, with_classes = (model.q_y_x, model.q_z_xy) if name == "m2" else (model.q_y_ax, model.q_z_axy)
    oracle = Oracle(model)
    eps_a, eps_z, _ = noise_of_seed(model, 1)
    unlabelled_bound(model, model.bk.array(x), ESTIMATORS["marginalize"](), model.bk.generator(1))
    oracle.unlabelled_in_one_batch(x, eps_a, eps_z)
    keep = oracles.BATCH_NORM_DECAY
    for network in (classifier, with_classes):
        for layer, (mean, var) in enumerate(network.running, start=1):
            seen_mean, seen_var = oracle.seen[network.name, layer]
            np.testing.assert_allclose(
                mean, (1 - keep) * seen_mean, rtol=1e-9, err_msg=f"{network.name}/{layer}"
            )
            np.testing.assert_allclose(
                var, keep + (1 - keep) * seen_var, rtol=1e-9, err_msg=f"{network.name}/{layer}"
            )

    oracle.statistics = {
        (network.name, layer): running
        for network in model.networks
        for layer, running in enumerate(network.running, start=1)
    }
    before = [np.copy(a) for network in model.networks for pair in network.running for a in pair]
    with model.evaluating():
        got = unlabelled_bound(model, model.bk.array(x), ESTIMATORS["marginalize"](), model.bk.generator(1))
    np.testing.assert_allclose(model.bk.to_numpy(got), oracle.unlabelled(x, eps_a, eps_z), rtol=1e-9)
    after = [a for network in model.networks for pair in network.running for a in pair]
    for was, now in zip(before, after, strict=True):
        np.testing.assert_array_equal(was, now)


def test_nested_evaluating_stays_evaluating():
    model, x = make_model("adgm", 3, **BLOG), make_pixels()
    with model.evaluating():
        model.q_y(model.bk.array(x), model.bk.generator(0))
        assert not any(network.training for network in model.networks)
    assert all(network.training for network in model.networks)


def test_training_mode_returns_after_an_error_in_evaluation():
    model = make_model("adgm", 3)
    with pytest.raises(RuntimeError, match="stop"), model.evaluating():
        raise RuntimeError("stop")
    assert all(network.training for network in model.networks)


# Prediction


@BOTH
def test_prediction_averages_probabilities_over_draws_of_a(name):
    model, x = make_model(name, 3), make_pixels()
    eps_a, _, _ = noise_of_seed(model, 9, n_mc=5)
    q_y = model.q_y(model.bk.array(x), model.bk.generator(9), n_a=5)
    expected = np.mean([oracles.softmax(Oracle(model).logits(x, eps_a[n])) for n in range(5)], axis=0)
    np.testing.assert_allclose(model.bk.to_numpy(q_y), expected, rtol=1e-10)
    assert q_y.creator is None  # no graph is kept


@BOTH
def test_prediction_with_another_distribution_averages_it(name):
    model, x = make_model(name, 3), make_pixels()
    eps_a, _, _ = noise_of_seed(model, 9, n_mc=5)
    w = model.q_y(model.bk.array(x), model.bk.generator(9), 5, ESTIMATORS["sparsemax"]().distribution)
    expected = np.mean([oracles.sparsemax(Oracle(model).logits(x, eps_a[n])) for n in range(5)], axis=0)
    np.testing.assert_allclose(model.bk.to_numpy(w), expected, rtol=1e-10, atol=1e-14)


# The config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_classes": 1}, "n_classes must be >= 2, got 1"),
        ({"units": 0}, "units must be >= 1, got 0"),
        ({"d_z": -3}, "d_z must be >= 1, got -3"),
        ({"nonlinearity": "tanh"}, "unknown nonlinearity 'tanh'; known: relu, elu"),
        ({"norm": "layer"}, "unknown norm 'layer'; known: none, batch"),
        ({"init_std": 0.0}, r"init_std must be > 0, got 0\.0"),
        (
            {"log_var_limits": (1.0, -1.0)},
            r"log_var_limits must be \(low, high\) with low < high, got \(1\.0, -1\.0\)",
        ),
    ],
)
def test_config_says_what_is_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(**{"n_classes": 10, **settings})


def test_presets():
    assert make_config("default", 10) == ModelConfig(n_classes=10)
    blog = make_config("blog", 10)
    assert (blog.class_layers, blog.layers, blog.nonlinearity, blog.norm) == (3, 2, "elu", "batch")
    assert blog.init_std == 0.01
    assert blog.log_var_limits == pytest.approx((np.log(0.01), np.log(10)))
    with pytest.raises(ValueError, match="unknown preset 'huge'; known: default, small, blog"):
        make_config("huge", 10)
