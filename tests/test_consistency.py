"""Loss terms for q(y|a,x) at changed images, compared with plain NumPy: values, the direction, gradients."""

import dataclasses

import numpy as np
import pytest
from core_fixtures import check_gradients, make_model, make_pixels, plain_noise
from oracles import Oracle, log_softmax
from test_dropping import DroppingOracle

from gsbench.data import load_dataset, split
from gsbench.estimators import parse_estimator
from gsbench.models import MODELS, ModelConfig
from gsbench.settings.recipe import Recipe
from gsbench.training import consistency
from gsbench.training import trainer as training
from gsbench.training.consistency import adversarial_divergence, constant_log_q, pseudo_label_loss, undisturbed
from gsbench.training.minibatches import Batches
from gsbench.training.trainer import Trainer

K, BATCH, RADIUS = 3, 4, 0.7


@pytest.fixture(params=["adgm", "m2"])
def model(request):
    return make_model(request.param, K)


def draws(model, seed=1, n_mc=2):
    """Noise, and ε_a as the oracle takes it."""
    noise = model.draw_noise(model.bk.generator(seed), BATCH, n_mc)
    return noise, plain_noise(model, noise)[0]


def log_q(model, x, eps_a):
    """[N, B, K]"""
    return np.stack([log_softmax(Oracle(model).logits(x, eps)) for eps in eps_a])


def kl(log_p, log_q):
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)


def test_the_constant_log_q_is_the_oracles(model):
    noise, eps_a = draws(model)
    found = constant_log_q(model, model.bk.array(make_pixels()), noise)
    np.testing.assert_allclose(model.bk.to_numpy(found), log_q(model, make_pixels(), eps_a), rtol=1e-12)


def adversarial_directions(model, x, eps_a, d):
    """Unit rows along the central differences of KL(q(x) ‖ q(x + r)) at r = PROBE d."""
    log_p, h = log_q(model, x, eps_a), 1e-5
    slopes = np.zeros_like(x)
    for pixel in range(x.shape[1]):
        up, down = (x + consistency.PROBE * d + sign * h * np.eye(x.shape[1])[pixel] for sign in (1, -1))
        slopes[:, pixel] = (kl(log_p, log_q(model, up, eps_a)) - kl(log_p, log_q(model, down, eps_a))).sum(axis=0)
    return slopes / np.linalg.norm(slopes, axis=1, keepdims=True)


def test_the_adversarial_divergence_is_the_oracles_along_the_oracles_direction(model, monkeypatch):
    x, (noise, eps_a) = make_pixels(), draws(model)
    seen = []
    unit = consistency._unit
    monkeypatch.setattr(consistency, "_unit", lambda d: seen.append(unit(d)) or seen[-1])
    log_p = constant_log_q(model, model.bk.array(x), noise)
    rng = model.bk.generator(2)
    value = adversarial_divergence(model, model.bk.array(x), log_p, noise, rng, RADIUS)

    d = np.random.default_rng(2).standard_normal(x.shape)
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    np.testing.assert_allclose(model.bk.to_numpy(seen[0]), d, rtol=1e-12)
    direction = adversarial_directions(model, x, eps_a, d)
    np.testing.assert_allclose(model.bk.to_numpy(seen[1]), direction, atol=1e-5)
    expected = kl(log_q(model, x, eps_a), log_q(model, x + RADIUS * direction, eps_a)).mean()
    assert float(model.bk.to_numpy(value)) == pytest.approx(expected, rel=1e-5)


def test_the_adversarial_direction_does_more_than_chance(model):
    x, (noise, eps_a) = make_pixels(), draws(model)
    log_p = constant_log_q(model, model.bk.array(x), noise)
    value = adversarial_divergence(model, model.bk.array(x), log_p, noise, model.bk.generator(2), RADIUS)
    random = np.random.default_rng(0).standard_normal((500, *x.shape))
    random *= RADIUS / np.linalg.norm(random, axis=-1, keepdims=True)
    others = [kl(log_q(model, x, eps_a), log_q(model, x + r, eps_a)).mean() for r in random]
    assert float(model.bk.to_numpy(value)) > 1.5 * np.mean(others)


def test_the_gradient_of_the_adversarial_divergence(model, monkeypatch):
    """r and q(y|a,x) count as constants."""
    x, (noise, eps_a) = make_pixels(), draws(model)
    bk, seen = model.bk, []
    unit = consistency._unit
    monkeypatch.setattr(consistency, "_unit", lambda d: seen.append(unit(d)) or seen[-1])
    log_p = constant_log_q(model, bk.array(x), noise)
    value = adversarial_divergence(model, bk.array(x), log_p, noise, bk.generator(2), RADIUS)
    constant, moved = log_q(model, x, eps_a), x + RADIUS * bk.to_numpy(seen[1])
    oracle = Oracle(model)

    def bound():
        logits = np.stack([oracle.logits(moved, eps) for eps in eps_a])
        return -kl(constant, log_softmax(logits)).mean(axis=0)

    touched(model)
    check_gradients(model, bk.reshape(-value, (1,)), oracle, bound, 1e-5)


def touched(model):
    """Only q(a|x) and q(y|a,x) enter these terms, so only their parameters are checked."""
    model.networks = [network for network in model.networks if network.name.startswith(("q_a_x", "q_y"))]


@pytest.mark.parametrize("n_sure", [0, 2, BATCH])
def test_pseudo_labels_and_their_gradient_are_the_oracles(n_sure):
    model = make_model("adgm", K, drop_x=0.3, drop_hidden=0.3)
    bk, x, x_distorted = model.bk, make_pixels(), make_pixels(seed=6)
    noise, eps_a = draws(model, n_mc=1)
    constant = constant_log_q(model, bk.array(x), noise)
    log_p = log_q(model, x, eps_a)  # nothing is dropped
    np.testing.assert_allclose(bk.to_numpy(constant), log_p, rtol=1e-12)
    y, most = log_p[0].argmax(axis=-1), np.exp(log_p[0]).max(axis=-1)
    threshold = np.sort([0, *most, 1])[BATCH - n_sure : BATCH - n_sure + 2].mean()
    sure = most >= threshold
    assert sure.sum() == n_sure
    value = pseudo_label_loss(model, bk.array(x_distorted), constant, noise, threshold)
    oracle = DroppingOracle(model, noise)

    def bound():
        found = log_softmax(oracle.logits(x_distorted, eps_a[0]))
        return sure * found[np.arange(BATCH), y]

    assert float(bk.to_numpy(value)) == pytest.approx(-bound().mean(), rel=1e-10)
    touched(model)
    check_gradients(model, bk.reshape(-value, (1,)), oracle, bound, 1e-5)


def test_pseudo_labels_of_several_draws_are_each_its_own(model):
    bk, x, x_distorted = model.bk, make_pixels(), make_pixels(seed=6)
    noise, eps_a = draws(model, n_mc=3)
    value = pseudo_label_loss(model, bk.array(x_distorted), constant_log_q(model, bk.array(x), noise), noise, 0.4)
    p, moved = np.exp(log_q(model, x, eps_a)), log_q(model, x_distorted, eps_a)
    chosen = np.take_along_axis(moved, p.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    expected = -((p.max(axis=-1) >= 0.4) * chosen).mean()
    assert float(bk.to_numpy(value)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", ["adgm", "m2"])
def test_no_pass_of_these_terms_moves_the_running_statistics(name):
    model = make_model(name, K, norm="batch", drop_x=0.3)
    bk, x, x_distorted = model.bk, model.bk.array(make_pixels()), model.bk.array(make_pixels(seed=6))
    noise, _ = draws(model)
    model.class_logits(x, noise)  # this one does
    before = {key: bk.to_numpy(a).copy() for key, a in model.statistics.items()}
    assert any((a != (0 if "mean" in key else 1)).any() for key, a in before.items())
    log_p = constant_log_q(model, x, noise)
    value = adversarial_divergence(model, x, log_p, noise, bk.generator(2), RADIUS)
    value += pseudo_label_loss(model, x_distorted, log_p, noise, 0.0)
    bk.backward(value)
    assert float(bk.to_numpy(value)) > 0
    assert [key for key, a in model.statistics.items() if (bk.to_numpy(a) != before[key]).any()] == []
    assert all(network.keeps_statistics for network in model.networks)


def test_a_step_moves_the_running_statistics_as_far_with_these_terms_as_without(data):
    """One step from the same parameters and the same minibatch: only the bound moves the statistics."""

    def after(**recipe):
        trainer = make_trainer({"norm": "batch"}, **recipe)
        trainer.step(Batches(trainer.model.bk, *data, batch=8, distortion=1.0).at(0))
        return {key: trainer.model.bk.to_numpy(a) for key, a in trainer.model.statistics.items()}

    plain, both = after(), after(adversarial=2.0, pseudo_labels=3.0)
    assert [key for key, a in plain.items() if (a != both[key]).any()] == []


def test_undisturbed_noise_keeps_its_draws():
    noise = draws(make_model("adgm", K, drop_x=0.3, drop_hidden=0.3))[0]
    plain = undisturbed(noise)
    assert (plain.keep_x, plain.keep_hidden) == (None, ())
    assert plain.eps_a is noise.eps_a
    assert plain.eps_z is noise.eps_z


def test_a_zero_row_has_no_direction_and_no_nan():
    assert consistency._unit(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0, 0], [0.6, 0.8]]


# In a recipe


@pytest.fixture(scope="module")
def data():
    dataset = load_dataset("synthetic", K)
    return dataset, split(dataset, labelled_per_class=4)


def make_trainer(networks=None, **recipe):
    from gsbench.backends import load_backend

    config = ModelConfig(n_classes=K, units=8, d_a=3, d_z=3, **(networks or {}))
    model = MODELS["adgm"](load_backend("chainer", "cpu", "float32"), config)
    return Trainer(model, parse_estimator("gumbel-softmax"), Recipe(alpha=1.0, **recipe))


@pytest.mark.parametrize(
    "recipe", [{}, {"adversarial": 2.0}, {"pseudo_labels": 3.0}, {"adversarial": 2.0, "pseudo_labels": 3.0}]
)
def test_the_terms_are_added_with_their_weights(data, monkeypatch, recipe):
    seen = {}
    monkeypatch.setattr(training, "adversarial_divergence", lambda *a: seen.setdefault("radius", a[-1]) * 0 + 10.0)
    monkeypatch.setattr(training, "pseudo_label_loss", lambda *a: seen.setdefault("threshold", a[-1]) * 0 + 100.0)
    plain, trainer = make_trainer(), make_trainer(**recipe, adversarial_radius=1.5, pseudo_threshold=0.8)
    batch = Batches(plain.model.bk, *data, batch=8, distortion=1.0).at(0)
    bk = plain.model.bk
    more = float(bk.to_numpy(trainer.loss(batch))) - float(bk.to_numpy(plain.loss(batch)))
    assert more == pytest.approx(10 * recipe.get("adversarial", 0) + 100 * recipe.get("pseudo_labels", 0), abs=1e-3)
    told = {"adversarial": ("radius", 1.5), "pseudo_labels": ("threshold", 0.8)}
    assert seen == dict(told[name] for name in recipe)


def test_pseudo_labels_need_distorted_images(data):
    trainer = make_trainer(pseudo_labels=1.0)
    batch = Batches(trainer.model.bk, *data, batch=8).at(0)
    with pytest.raises(ValueError, match="pseudo_labels needs minibatches with a distortion > 0, got none"):
        trainer.step(batch)


def test_a_step_with_both_terms_makes_the_classifier_steadier(data):
    """The divergence along the adversarial direction, after training with and without the terms."""

    def after(**recipe):
        trainer = make_trainer(learning_rate=3e-3, **recipe)
        batches = Batches(trainer.model.bk, *data, batch=20, distortion=1.0)
        for step in range(60):
            trainer.step(batches.at(step))
        model, x = trainer.model, batches.at(1000).x_unlabelled
        noise = model.draw_noise(model.bk.generator(0), 20)
        log_p = constant_log_q(model, x, noise)
        return float(
            model.bk.to_numpy(adversarial_divergence(model, x, log_p, noise, model.bk.generator(1), 3.0))
        )

    assert after(adversarial=100.0, pseudo_labels=1.0, pseudo_threshold=0.0) < 0.5 * after()


def test_a_batch_has_distorted_images_only_on_request(data):
    trainer = make_trainer()
    bk = trainer.model.bk
    plain, with_them = (Batches(bk, *data, batch=8, binarize="none", distortion=d).at(3) for d in (0.0, 1.0))
    assert plain.x_distorted is None
    assert with_them.x_distorted.shape == plain.x_unlabelled.shape
    for field in dataclasses.fields(plain)[:3]:
        assert (getattr(plain, field.name) == getattr(with_them, field.name)).all()
    again = Batches(bk, *data, batch=8, binarize="none", distortion=1.0).at(3)
    assert (again.x_distorted == with_them.x_distorted).all()
