"""Minibatches, the step, evaluation, and a run with its log."""

import itertools

import numpy as np
import pytest

from gsbench.backends import load_backend
from gsbench.backends.chainer.backend import ChainerBackend
from gsbench.data import load_dataset, split
from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.meters.case import Case
from gsbench.models import MODELS, ModelConfig
from gsbench.settings.case import Settings
from gsbench.settings.recipe import Recipe
from gsbench.training.minibatches import Batches
from gsbench.training.trainer import Evaluation, Trainer, evaluation_steps

K = 3


@pytest.fixture(scope="module")
def data():
    dataset = load_dataset("synthetic", K)
    return dataset, split(dataset, labelled_per_class=4)


@pytest.fixture
def bk():
    return load_backend("chainer", "cpu", "float32")


def make_trainer(bk, estimator="gumbel-softmax", model="adgm", seed=0, **recipe):
    config = ModelConfig(n_classes=K, units=8, d_a=3, d_z=3)
    made = None if estimator is None else parse_estimator(estimator)
    return Trainer(MODELS[model](bk, config, seed), made, Recipe(**{"alpha": 1.0, **recipe}), seed=seed)


def values(trainer):
    return {key: trainer.model.bk.to_numpy(p).copy() for key, p in trainer.model.parameters.items()}


@pytest.mark.parametrize("model", ["adgm", "m2"])
@pytest.mark.parametrize("estimator", list(ESTIMATORS))
def test_a_step_moves_every_parameter(bk, data, model, estimator):
    trainer = make_trainer(bk, estimator, model)
    before = values(trainer)
    loss = trainer.step(Batches(bk, *data, batch=8).at(0))
    assert np.isfinite(bk.to_numpy(loss))
    still = [key for key, value in values(trainer).items() if (value == before[key]).all()]
    assert still == []


def test_adam_moves_a_parameter_by_the_learning_rate_at_first(bk, data):
    trainer = make_trainer(bk, learning_rate=1e-3)
    before = values(trainer)
    trainer.step(Batches(bk, *data, batch=8).at(0))
    moved = np.abs(values(trainer)["p_x_yz/b3"] - before["p_x_yz/b3"])
    assert moved == pytest.approx(np.full_like(moved, 1e-3), rel=1e-2)


def test_labels_only_trains_the_classifier_alone(bk, data):
    trainer = make_trainer(bk, None)
    before = values(trainer)
    trainer.step(Batches(bk, *data, batch=8).at(0))
    moved = {key.split("/")[0] for key, value in values(trainer).items() if not (value == before[key]).all()}
    assert moved == {"q_a_x", "q_y_ax"}


def test_many_steps_lower_the_loss(bk, data):
    batch = Batches(bk, *data, batch=20, binarize="none").at(0)
    trainer = make_trainer(bk, "marginalize", learning_rate=3e-3)
    losses = [float(bk.to_numpy(trainer.step(batch))) for _ in range(60)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 5


def test_same_seed_same_parameters(bk, data):
    def after(seed):
        trainer, batches = make_trainer(bk, seed=seed), Batches(bk, *data, batch=6, seed=seed)
        for step in range(3):
            trainer.step(batches.at(step))
        return values(trainer)["q_y_ax/W_x"]

    assert (after(4) == after(4)).all()
    assert not (after(4) == after(5)).all()


class Oracle:
    """A model with a given q(y|a,x): one draw of a is right with probability 0.7."""

    def __init__(self, bk, labels):
        self.bk, self.labels, self.seen, self.calls = bk, labels, 0, 0

    def q_y(self, x, rng, n_a, distribution=None):
        right = self.labels[self.seen : self.seen + len(x)]
        self.seen += len(x)
        self.calls += 1
        votes = rng.random((n_a, len(x))) < 0.7
        q = np.zeros((len(x), K), np.float32)
        q[np.arange(len(x)), right] = votes.mean(axis=0)
        q[np.arange(len(x)), (right + 1) % K] = 1 - votes.mean(axis=0)
        return q


def test_accuracy_is_of_the_mean_over_draws_of_a(bk):
    labels = np.random.default_rng(0).integers(K, size=500)
    evaluation = Evaluation(np.zeros((500, 4), np.float32), labels, seed=1)
    assert evaluation.accuracy(Oracle(bk, labels), n_a=1) == pytest.approx(0.7, abs=0.06)
    assert evaluation.accuracy(Oracle(bk, labels), n_a=101) > 0.99


def test_accuracy_is_the_same_whenever_asked_and_of_all_examples_in_any_chunks(bk, data):
    dataset, parts = data
    model = make_trainer(bk).model
    evaluation = Evaluation.of(dataset, parts.validation, seed=3)
    first = evaluation.accuracy(model, n_a=2)
    assert first == evaluation.accuracy(model, n_a=2)
    sizes = {}
    for rows in (1, 700, 10**6):
        sizes[rows] = perfect = Oracle(bk, evaluation.labels)
        assert evaluation.accuracy(perfect, n_a=100, rows=rows) > 0.99
        assert perfect.seen == len(evaluation.labels)
    assert sizes[1].calls == len(evaluation.labels)
    assert sizes[10**6].calls == 1


def test_calls_of_a_case_are_counted_with_the_parameters_as_they_are():
    case = Case(Settings("sparsemax", "m2", "small", n_classes=40, batch=5, threads=1))
    noise = case.model.draw_noise(case.bk.generator(0), 5)  # M2's logits do not depend on it
    w = case.bk.to_numpy(case.bk.sparsemax(case.model.class_logits(case.batch.x_unlabelled, noise)))
    assert case.calls_of_f() == (w > 0).sum() / 5
    case.model.parameters["q_y_x/b3"].array[3] += 100
    assert case.calls_of_f() == 1
    assert Case(Settings("sum-and-sample(m=4)", preset="small", n_classes=40, batch=5, threads=1)).calls_of_f() == 5


def test_evaluation_steps_are_a_quarter_apart():
    steps = evaluation_steps()
    first = [next(steps) for _ in range(30)]
    assert first[:6] == [1, 2, 3, 4, 5, 6]
    assert all(a < b <= round(a * 1.25) + 1 for a, b in itertools.pairwise(first))


def test_estimators_of_a_case_start_from_the_same_parameters_and_minibatch():
    a, b = (
        Case(Settings(preset="small", n_classes=K, batch=5, estimator=e)) for e in ("marginalize", "gumbel-softmax")
    )
    for key, value in values(a.trainer).items():
        assert (value == values(b.trainer)[key]).all()
    assert (a.batch.x_unlabelled == b.batch.x_unlabelled).all()


def test_a_case_on_a_data_set_sees_its_images(data):
    dataset, _ = data
    settings = Settings(preset="small", dataset="synthetic", n_classes=K, batch=5, binarize="none")
    case = Case(settings, dataset)
    flat = dataset.images.reshape(len(dataset.images), -1).astype(np.float32) / 255
    assert all((flat == x).all(axis=1).any() for x in case.batch.x_unlabelled)
    before = values(case.trainer)["q_y_ax/W_x"]
    case.bound()
    assert (values(case.trainer)["q_y_ax/W_x"] == before).all()  # the update is in the step only
    case.step()
    assert not (values(case.trainer)["q_y_ax/W_x"] == before).all()


def test_float16_trains_with_its_gradients_scaled(data):
    """The arithmetic of `--dtype float16`, which the options allow on a CUDA device alone."""
    trainer = make_trainer(ChainerBackend("cpu", "float16"), "gumbel-softmax", learning_rate=3e-3)
    batch = Batches(trainer.model.bk, *data, batch=20, binarize="none").at(0)
    losses = [float(trainer.model.bk.to_numpy(trainer.step(batch))) for _ in range(40)]
    assert {value.dtype for value in values(trainer).values()} == {np.dtype("float16")}
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 5
