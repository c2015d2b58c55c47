"""Recipes: schedules by hand, and the optimiser and the objective with recipes, compared with plain NumPy."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from core_fixtures import backend, make_model, make_pixels, noise_of_seed
from oracles import BATCH_NORM_EPSILON, Oracle

from gsbench.backends import load_backend
from gsbench.backends.chainer.adam import Adam
from gsbench.backends.chainer.functions import Elu
from gsbench.backends.chainer.importing import chainer
from gsbench.categorical import LEAST_TAU
from gsbench.data import load_dataset, split
from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.models import MODELS, Labels, ModelConfig
from gsbench.settings.recipe import Recipe, steps_of
from gsbench.training.minibatches import Batches
from gsbench.training.objective import labelled_bound, training_loss, unlabelled_bound
from gsbench.training.trainer import Trainer, Training


def test_the_learning_rate_falls_in_steps_to_its_floor():
    paper = Recipe(learning_rate_decay=0.75, learning_rate_every=200, learning_rate_floor=3e-5)
    rates = [paper.learning_rate_at(epoch) for epoch in (0, 199.9, 200, 399, 400, 1e4)]
    assert rates == pytest.approx([3e-4, 3e-4, 2.25e-4, 2.25e-4, 1.6875e-4, 3e-5])
    assert Recipe(learning_rate=1e-5, learning_rate_floor=3e-5).learning_rate_at(3) == 1e-5
    assert Recipe().learning_rate_at(1e6) == 3e-4
    assert Recipe(learning_rate=1.0, learning_rate_decay=0.5, learning_rate_every=0.1).learning_rate_at(0.3) == 0.125


def test_tau_falls_by_the_epoch_to_its_floor():
    blog = Recipe(tau_decay=0.999, tau_floor=0.5)
    gumbel = parse_estimator("gumbel-softmax")
    taus = [blog.estimator_at(gumbel, epoch).tau for epoch in (0, 0.99, 1, 20, 1000)]
    assert taus == pytest.approx([1, 1, 0.999, 0.999**20, 0.5])
    assert blog.estimator_at(parse_estimator("gumbel-softmax(tau=0.1)"), 50).tau == 0.1  # the floor is above it
    assert blog.estimator_at(parse_estimator("gumbel-softmax(draws=3)"), 1).draws == 3
    for name in ("marginalize", "sum-and-sample"):
        assert blog.estimator_at(parse_estimator(name), 5) == parse_estimator(name)


@pytest.mark.parametrize("every", [0.1, 0.3, 0.7, 1.1, 1 / 3, 2 / 3, 5 / 7, 1.0, 2.5])
def test_the_learning_rate_falls_with_the_step_that_ends_a_period(every):
    """Epochs computed as steps / steps per epoch, and epochs as written: the fall is not a step too late."""
    recipe = Recipe(learning_rate=1.0, learning_rate_decay=0.5, learning_rate_every=every)
    period = Fraction(every).limit_denominator(100)
    for steps_per_epoch in (1, 7, 10, 499, 500, 1000 / 3):
        per_epoch = Fraction(steps_per_epoch).limit_denominator(10)
        for step in range(60):
            falls = step // (period * per_epoch)
            assert recipe.learning_rate_at(step / steps_per_epoch) == 0.5**falls, (steps_per_epoch, step)
    for n in range(200):
        assert recipe.learning_rate_at(n * every) == recipe.learning_rate_at(float(n * period)) == 0.5**n


def test_a_schedule_that_falls_at_once_ends_at_its_floor():
    recipe = Recipe(learning_rate_decay=0.5, learning_rate_every=1e-9, learning_rate_floor=1e-5)
    assert [recipe.learning_rate_at(epoch) for epoch in (0, 1e-3, 1, 1e300)] == [3e-4, 1e-5, 1e-5, 1e-5]


@pytest.mark.parametrize(
    ("epochs", "steps_per_epoch", "steps"),
    [(0.07, 100, 7), (0.29, 100, 29), (1.1, 10, 11), (0.3, 10, 3), (2 / 3, 3, 2), (3, 1000 / 3, 1000), (0.071, 100, 8),
     (15, 499, 7485), (1e-9, 100, 1)],
)  # fmt: skip
def test_epochs_are_so_many_steps(epochs, steps_per_epoch, steps):
    assert steps_of(epochs, steps_per_epoch) == steps


def test_tau_falls_by_whole_epochs_of_any_number_of_steps():
    recipe, gumbel = Recipe(tau_decay=0.5), parse_estimator("gumbel-softmax")
    for per_epoch in (Fraction(1000, 3), Fraction(599, 10), Fraction(49)):
        for step in range(3000):
            expected = max(0.5 ** (step // per_epoch), LEAST_TAU)
            assert recipe.estimator_at(gumbel, step / float(per_epoch)).tau == expected, (per_epoch, step)


POINTS = ["gumbel-softmax", "straight-through", "gumbel-rao", "reinmax"]  # the points are theirs alone
WITH_TAU = [name for name, made in ESTIMATORS.items() if "tau" in made().settings]


def test_which_estimators_have_a_temperature():
    assert [*POINTS, "sum-and-relax"] == WITH_TAU


def test_tau_stays_where_it_is_at_its_least():
    recipe = Recipe(tau_decay=0.5)
    for name in WITH_TAU:
        taus = [recipe.estimator_at(parse_estimator(name), epoch).tau for epoch in (0, 33, 34, 128, 160, 1e9)]
        assert taus == [1, 0.5**33, *[LEAST_TAU] * 4]
    least = parse_estimator(f"gumbel-softmax(tau={LEAST_TAU})")
    assert recipe.estimator_at(least, 5).tau == LEAST_TAU
    assert Recipe(tau_decay=0.5, tau_floor=1e-3).estimator_at(least, 5).tau == LEAST_TAU
    assert Recipe(tau_decay=0.5, tau_floor=LEAST_TAU).estimator_at(parse_estimator("reinmax"), 99).tau == LEAST_TAU


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("estimator", WITH_TAU)
def test_a_tau_that_falls_towards_0_does_not_end_in_nan(estimator, dtype):
    training = tiny_training(dtype=dtype, estimator=estimator, tau_decay=0.5**4, steps_per_epoch=1)
    losses = [training.advance() for _ in range(40)]  # τ would end at 0.5¹⁶⁰ without a least τ
    assert training.trainer.estimator.tau == LEAST_TAU
    assert np.isfinite(losses).all()
    assert all(np.isfinite(p.array).all() for p in training.model.parameters.values())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("estimator", POINTS)
def test_at_the_least_tau_points_are_classes_and_gradients_are_numbers(estimator, dtype):
    """Also for logits of ±1e4, and for two logits that tie."""
    bk = backend(dtype)
    made = parse_estimator(f"{estimator}(tau={LEAST_TAU})")
    logits = bk.parameter(np.array([[[1e4, -1e4, 0.0], [0.3, 0.1, -0.2], [0.0, 0.0, 0.0], [-3.0, 2.0, 2.0]]]))
    points = made.draw(bk, bk.log_softmax(logits), bk.generator(0))  # [1, 1, B, K]
    s = bk.to_numpy(points)
    assert (np.sort(s, axis=-1) == [0, 0, 1]).all()
    assert s[0, 0, 0].tolist() == [1, 0, 0]
    bk.backward(bk.sum(points * np.arange(1.0, 4.0).astype(points.dtype)))
    assert np.isfinite(bk.gradient(logits)).all()


@pytest.mark.parametrize("estimator", POINTS)
def test_two_classes_that_tie_at_the_least_tau_leave_adam_a_number(estimator):
    """The largest possible gradient, with an f that differs by 1e6 nats between the two."""
    made, log_half = parse_estimator(f"{estimator}(tau={LEAST_TAU})"), np.log(np.full((1, 1, 1, 2), 0.5, np.float32))
    bk = backend("float32")
    log_q = bk.parameter(log_half)
    points = made.relax(bk, log_q, np.zeros((1, 1, 1, 2), np.float32), bk.generator(0))
    adam = bk.adam({"p/log_q": log_q}, 1e-3)
    bk.backward(bk.sum(points * np.array([0.0, 1e6], np.float32)))
    if estimator in ("gumbel-softmax", "straight-through"):
        np.testing.assert_allclose(bk.gradient(log_q).ravel(), [-1e6 / 4e-10, 1e6 / 4e-10], rtol=1e-5)
    adam.update()
    assert all(np.isfinite(value).all() for value in adam.state().values())
    assert np.isfinite(bk.to_numpy(log_q)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tau_floor": 1e-11}, r"tau_floor must be 0 \(then it is 1e-10\), or >= 1e-10, got 1e-11"),
        ({"tau_floor": -1.0}, "tau_floor must be >= 0, got -1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be > 0, got 0.0"),
        ({"learning_rate_every": 0.0}, "learning_rate_every must be >= 1e-09, got 0.0"),
        ({"tau_decay": 1.1}, "tau_decay must be > 0 and <= 1, got 1.1"),
        ({"polyak": 1.0}, "polyak must be >= 0 and < 1"),
        ({"clip_norm": 0.0}, "clip_norm must be > 0"),
        ({"alpha": -1.0}, "alpha must be >= 0, got -1.0"),
        ({"labelled_batch": 0}, "labelled_batch must be >= 1, got 0"),
        ({"balance": -1.0}, "balance must be >= 0"),
        ({"shift": -1}, "shift must be >= 0"),
        ({"adversarial": -1.0}, "adversarial must be >= 0, got -1.0"),
        ({"adversarial_radius": 0.0}, "adversarial_radius must be > 0, got 0.0"),
        ({"pseudo_labels": -1.0}, "pseudo_labels must be >= 0"),
        ({"pseudo_threshold": 1.0}, "pseudo_threshold must be >= 0 and < 1"),
        ({"distortion": 0.0}, "distortion must be > 0"),
    ],
)
def test_a_recipe_refuses_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**settings)


def test_a_trainer_needs_alpha_and_a_prior_needs_the_number_of_examples():
    model = make_model("m2", 3)
    with pytest.raises(ValueError, match="needs a number for alpha"):
        Trainer(model, None, Recipe())
    with pytest.raises(ValueError, match="needs the number of training examples"):
        Trainer(model, None, Recipe(alpha=1.0, weight_prior=True))


def plain_adam(values, gradients, rate, decay, norm, element):
    """Adam over several steps in float64, after the prior's gradient and both ways of clipping."""
    moments = [(np.zeros_like(v), np.zeros_like(v)) for v in values]
    for t, raw in enumerate(gradients, start=1):
        g = [r + decay * v for r, v in zip(raw, values, strict=True)]
        length = np.sqrt(sum((one**2).sum() for one in g))
        g = [np.clip(one * min(1, norm / length), -element, element) for one in g]
        for i, one in enumerate(g):
            m, v = (0.9 * moments[i][0] + 0.1 * one, 0.999 * moments[i][1] + 0.001 * one**2)
            moments[i] = (m, v)
            values[i] = values[i] - rate * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return values


def test_prior_then_norm_then_elements_then_adam():
    rng = np.random.default_rng(0)
    start = [rng.standard_normal((4, 3)), rng.standard_normal(5)]
    gradients = [[scale * rng.standard_normal(v.shape) for v in start] for scale in (5, 0.01, 2)]
    parameters = {name: chainer.Parameter(v.copy()) for name, v in zip(("p/a", "p/b"), start, strict=True)}
    adam = Adam(parameters, 0.05, 0.9, None)
    adam.constrain(weight_decay=0.1, clip_norm=2.0, clip_element=0.7)
    for of_step in gradients:
        adam.clear_gradients()
        for parameter, g in zip(parameters.values(), of_step, strict=True):
            parameter.grad = g.copy()
        adam.update()
    expected = plain_adam(start, gradients, 0.05, 0.1, 2.0, 0.7)
    for parameter, value in zip(parameters.values(), expected, strict=True):
        np.testing.assert_allclose(parameter.array, value, rtol=1e-10)


def test_adam_adds_epsilon_after_the_correction_of_the_second_moment():
    """Gradients as small as ε show it: at the first step m̂ and √v̂ are g."""
    g = np.array([1e-9, 1e-8, 1e-7, 1e-6])
    parameter = chainer.Parameter(np.zeros(4))
    adam = Adam({"p/a": parameter}, 0.05, 0.9, None)
    parameter.grad = g.copy()
    adam.update()
    np.testing.assert_allclose(parameter.array, -0.05 * g / (g + 1e-8), rtol=1e-8)
    assert adam.settings == {"adam_beta2": 0.999, "adam_epsilon": 1e-8, "adam_epsilon_form": "algorithm 1"}


def test_gradients_that_are_scaled_are_not_clipped():
    adam = Adam({"p/a": chainer.Parameter(np.zeros(2, np.float16))}, 0.1, 0.9, 1024.0)
    with pytest.raises(ValueError, match="cannot be used in dtype float16"):
        adam.constrain(clip_norm=1.0)


def tiny_training(norm="none", dtype="float64", estimator="gumbel-softmax", **recipe):
    bk = load_backend("chainer", "cpu", dtype)
    dataset = load_dataset("synthetic", 3)
    model = MODELS["adgm"](bk, ModelConfig(n_classes=3, units=8, d_a=3, d_z=3, norm=norm), 0)
    trainer = Trainer(model, parse_estimator(estimator), Recipe(**{"alpha": 1.0, **recipe}), examples=100)
    return Training(trainer, Batches(bk, dataset, split(dataset, 4), 6))


def test_polyak_s_average_against_a_plain_loop():
    training = tiny_training(polyak=0.6, learning_rate=1e-2)
    parameter = training.model.parameters["q_y_ax/W_x"]
    average = parameter.array.copy()
    for step in range(1, 21):
        training.advance()
        decay = min(0.6, step / (step + 10))
        average = decay * average + (1 - decay) * parameter.array
        np.testing.assert_allclose(training.evaluated.parameters["q_y_ax/W_x"].array, average, rtol=1e-9)
    assert not np.allclose(average, parameter.array)
    assert tiny_training().evaluated is not None
    plain = tiny_training()
    assert plain.evaluated is plain.model


def test_averaged_parameters_are_evaluated_with_averaged_statistics_of_batch_norm():
    training = tiny_training("batch", polyak=0.6, learning_rate=1e-2)
    model, bk = training.model, training.model.bk
    averages = {key: bk.to_numpy(a).copy() for key, a in model.statistics.items()}
    assert averages["q_y_ax/mean1"].tolist() == [0] * 8
    for step in range(1, 11):
        training.advance()
        decay = min(0.6, step / (step + 10))
        for key, average in averages.items():
            averages[key] = decay * average + (1 - decay) * bk.to_numpy(model.statistics[key])
    evaluated = training.evaluated
    assert len(averages) == 5 * 2 * 2  # networks, hidden layers, mean and variance
    assert evaluated.statistics.keys() == averages.keys()
    for key, average in averages.items():
        np.testing.assert_allclose(evaluated.statistics[key], average, rtol=1e-9, err_msg=key)
        assert not np.allclose(average, model.statistics[key])

    x = np.random.default_rng(3).integers(0, 2, (4, 784)).astype(float)
    noise = model.draw_noise(bk.generator(0), len(x))
    noise = dataclasses.replace(noise, eps_a=np.zeros_like(noise.eps_a))
    p = {key: bk.to_numpy(v) for key, v in evaluated.parameters.items()}

    def hidden(name, layer, h):
        mean, var = averages[f"{name}/mean{layer}"], averages[f"{name}/var{layer}"]
        h = (h - mean) / np.sqrt(var + BATCH_NORM_EPSILON) * p[f"{name}/gamma{layer}"] + p[f"{name}/b{layer}"]
        return np.maximum(h, 0)

    def network(name, first):
        h = hidden(name, 2, hidden(name, 1, first) @ p[f"{name}/W2"].T)
        return h @ p[f"{name}/W3"].T + p[f"{name}/b3"]

    a = network("q_a_x", x @ p["q_a_x/W_x"].T)[:, :3]
    expected = network("q_y_ax", x @ p["q_y_ax/W_x"].T + a @ p["q_y_ax/W_a"].T)
    with evaluated.evaluating():
        np.testing.assert_allclose(bk.to_numpy(evaluated.class_logits(bk.array(x), noise))[0], expected, rtol=1e-9)
    before = {key: bk.to_numpy(a).copy() for key, a in evaluated.statistics.items()}
    training.advance()  # only this moves the averages
    after = {key: bk.to_numpy(a) for key, a in model.statistics.items()}
    for key, a in before.items():
        np.testing.assert_allclose(evaluated.statistics[key], a + (1 - 11 / 21) * (after[key] - a), rtol=1e-9)


def test_schedules_reach_the_optimiser_and_the_estimator():
    training = tiny_training(learning_rate_decay=0.5, tau_decay=0.5, steps_per_epoch=2)
    rates, taus = [], []
    for _ in range(5):
        training.advance()
        rates.append(training.trainer.optimizer._optimizer.hyperparam.alpha)
        taus.append(training.trainer.estimator.tau)
    assert rates == pytest.approx([3e-4, 3e-4, 1.5e-4, 1.5e-4, 0.75e-4])
    assert taus == [1, 1, 0.5, 0.5, 0.25]
    assert training.epoch == 2.5


@pytest.mark.parametrize("estimator", ["marginalize", "marginalize-streamed", "gumbel-softmax"])
def test_labelled_weight_and_balance_in_the_loss(estimator):
    model = make_model("adgm", 3)
    bk, x, made = model.bk, make_pixels(), parse_estimator(estimator)
    y = bk.integers([0, 1, 2, 1])
    got = training_loss(model, bk.array(x), y, bk.array(x[::-1].copy()), made, 0.7, bk.generator(1), 1, 0.3, 2.0)
    rng = bk.generator(1)
    bound, log_q_y = labelled_bound(model, bk.array(x), y, rng, 1, made)
    noise = model.draw_noise(rng, len(x))
    q = bk.to_numpy(bk.softmax(model.class_logits(bk.array(x[::-1].copy()), noise))).reshape(-1, 3).mean(axis=0)
    rng = bk.generator(1)
    model.draw_noise(rng, len(x))  # the labelled half's
    unlabelled = unlabelled_bound(model, bk.array(x[::-1].copy()), made, rng)
    expected = -np.mean(0.3 * bk.to_numpy(bound) + 0.7 * bk.to_numpy(log_q_y)) - np.mean(bk.to_numpy(unlabelled))
    expected -= 2.0 * -(q * np.log(q)).sum()
    np.testing.assert_allclose(bk.to_numpy(got), expected, rtol=1e-10)


def test_the_gradient_of_balance():
    model = make_model("m2", 4)
    bk, x, y = model.bk, make_pixels(), model.bk.integers([0, 1, 2, 3])
    made, parameter = parse_estimator("marginalize"), model.parameters["q_y_x/b3"]

    def value(balance):
        return training_loss(
            model, bk.array(x), y, bk.array(x), made, 1.0, bk.generator(1), balance=balance
        )

    def gradient(balance):
        for p in model.parameters.values():
            p.cleargrad()
        bk.backward(value(balance))
        return parameter.grad.copy()

    direction, step = np.array([1.0, -2.0, 0.5, 3.0]), 1e-6
    slopes = []
    for sign in (1, -1):
        parameter.array += sign * step * direction
        slopes.append(float(bk.to_numpy(value(5.0))) - float(bk.to_numpy(value(0.0))))
        parameter.array -= sign * step * direction
    slope = (slopes[0] - slopes[1]) / (2 * step)
    assert ((gradient(5.0) - gradient(0.0)) * direction).sum() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("name", ["adgm", "m2"])
def test_dropping_is_drawn_in_training_and_seen_by_q_y_alone(name):
    plain = make_model(name, 3)
    model = make_model(name, 3, drop_x=0.5, drop_hidden=0.25, layers=2)
    bk, x = model.bk, make_pixels()
    noise = model.draw_noise(bk.generator(1), len(x))
    assert set(np.unique(noise.keep_x)) == {0.0, 2.0}
    assert [keep.shape[-2:] for keep in noise.keep_hidden] == [(len(x), 5)] * 2
    assert set(np.unique(np.stack(noise.keep_hidden))) == {0.0, 4 / 3}
    undropped = dataclasses.replace(noise, keep_x=None, keep_hidden=())
    f, g = model.class_bound(bk.array(x), noise), plain.class_bound(bk.array(x), undropped)
    y = Labels(bk.integers([0, 1, 2, 1]))
    np.testing.assert_allclose(bk.to_numpy(f(y)), bk.to_numpy(g(y)), rtol=1e-12)
    assert not np.allclose(bk.to_numpy(f.logits_y), bk.to_numpy(g.logits_y))
    with model.evaluating():
        noise = model.draw_noise(bk.generator(1), len(x))
        assert (noise.keep_x, noise.keep_hidden) == (None, ())


def test_the_logits_under_dropping_against_plain_numpy():
    model = make_model("m2", 3, drop_x=0.5, drop_hidden=0.25)
    bk, x = model.bk, make_pixels()
    noise = model.draw_noise(bk.generator(1), len(x))
    p = {key.removeprefix("q_y_x/"): bk.to_numpy(v) for key, v in model.q_y_x.parameters.items()}
    h = np.maximum((x * noise.keep_x[0, 0]) @ p["W_x"].T + p["b1"], 0) * noise.keep_hidden[0][0, 0]
    h = np.maximum(h @ p["W2"].T + p["b2"], 0) * noise.keep_hidden[1][0, 0]
    expected = h @ p["W3"].T + p["b3"]
    np.testing.assert_allclose(bk.to_numpy(model.class_logits(bk.array(x), noise))[0], expected, rtol=1e-10)


def test_dropped_shares_are_the_requested_ones():
    model = make_model("adgm", 3, drop_x=0.3, drop_hidden=0.1)
    noise = model.draw_noise(model.bk.generator(0), 4000)
    assert (noise.keep_x == 0).mean() == pytest.approx(0.3, abs=0.02)
    assert (noise.keep_hidden[0] == 0).mean() == pytest.approx(0.1, abs=0.02)
    assert noise.keep_x.mean() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["adgm", "m2"])
def test_the_exact_bound_equals_the_oracles_with_a_classifier_of_its_own_width(name):
    model, x = make_model(name, 3, classifier_units=9), make_pixels()
    assert [p.shape for key, p in model.parameters.items() if key.startswith("q_y") and key.endswith("W2")] == [(9, 9)]
    eps_a, eps_z, _ = noise_of_seed(model, 1)
    got = unlabelled_bound(model, model.bk.array(x), parse_estimator("marginalize"), model.bk.generator(1))
    oracle = Oracle(model)
    np.testing.assert_allclose(model.bk.to_numpy(got), oracle.unlabelled(x, eps_a, eps_z), rtol=1e-9)


def test_initial_weights_of_the_paper():
    bk = load_backend("chainer", "cpu", "float32")
    model = MODELS["adgm"](bk, ModelConfig(n_classes=10, init="glorot", output_std=0.001), 0)
    weights = {key: bk.to_numpy(p) for key, p in model.parameters.items()}
    assert weights["p_x_yz/W2"].std() == pytest.approx(np.sqrt(2 / 1000), rel=0.02)
    assert weights["q_y_ax/W_x"].std() == pytest.approx(np.sqrt(2 / (884 + 500)), rel=0.02)
    assert weights["q_y_ax/W_a"].std() == pytest.approx(np.sqrt(2 / (884 + 500)), rel=0.02)
    assert weights["p_x_yz/W3"].std() == pytest.approx(0.001, rel=0.02)


def test_elu_and_its_gradient():
    x = np.array([-800.0, -30.0, -1.0, -1e-3, 0.0, 1e-3, 2.0, 900.0])
    variable = chainer.Variable(x)
    y = Elu().apply((variable,))[0]
    y.grad = np.arange(1.0, 9)
    y.backward()
    np.testing.assert_allclose(y.array, np.where(x > 0, x, np.expm1(np.minimum(x, 0))), rtol=1e-9)
    slope = np.where(x >= 0, 1, np.exp(np.minimum(x, 0)))
    np.testing.assert_allclose(variable.grad, np.arange(1.0, 9) * slope, rtol=1e-9, atol=1e-15)


def test_the_prior_of_the_weights_is_shared_out_over_the_training_examples():
    """After one step, Adam's first moment is (1 − β1)·gradient; the prior adds W/100 to the gradient."""
    moments = []
    for prior in (True, False):
        training = tiny_training(weight_prior=prior, beta1=0.75)
        before = {key: p.array.copy() for key, p in training.model.parameters.items()}
        training.advance()
        moments.append(training.trainer.optimizer.state())
    for key, value in before.items():
        np.testing.assert_allclose(moments[0][f"m/{key}"] - moments[1][f"m/{key}"], 0.25 * value / 100, atol=1e-12)
