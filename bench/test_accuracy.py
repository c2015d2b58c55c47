"""Validation accuracy in a short, seeded training run, logged by step and by second of training."""

import numpy as np
import pytest
from timing import out_of_memory_recorded, take_rounds

from gsbench.backends import load_backend
from gsbench.data import split
from gsbench.estimators import parse_estimator
from gsbench.minibatches import PARAMETERS, Batches, stream_seed
from gsbench.models import MODELS
from gsbench.recipe import Recipe
from gsbench.runs import RunSettings
from gsbench.runs.run import run_step_bytes
from gsbench.training import Evaluation, Trainer, Training, papers_alpha, train

VALIDATION_EXAMPLES = 2000  # at most, drawn at random: the standard error of an accuracy is about 1 % then
DRAWS_OF_A_AT_THE_END = 100
MAX_STEPS = 100_000


def test_accuracy(benchmark, record, options, model, n_classes, learner):
    labels_only = learner == "labels-only"
    spelled = "marginalize" if labels_only else learner
    settings = options.settings(model, n_classes, spelled, preset=options.accuracy_preset)
    recorder = record("accuracy", settings, estimator=learner)
    if labels_only:
        recorder.drop_estimator_settings()
    if settings.dataset == "synthetic":
        pytest.skip("the labels of synthetic data are random: there is no accuracy to measure")
    if labels_only:
        run = RunSettings(settings, labels_only=True, seconds=options.accuracy_seconds)
        recorder.require_bytes(learner, settings, run_step_bytes(run))
    else:
        recorder.require_memory(settings)
    benchmark.group = f"accuracy {model} K={n_classes} (a whole run)"

    dataset = recorder.dataset()
    parts = split(dataset, settings.labelled_per_class, seed=settings.seed)
    bk = load_backend(settings.backend, settings.device, settings.dtype)
    recipe = Recipe(alpha=papers_alpha(parts))
    estimator = None if labels_only else parse_estimator(spelled)
    some = np.random.default_rng(settings.seed).permutation(parts.validation)[:VALIDATION_EXAMPLES]
    validation = Evaluation.of(dataset, some, settings.seed, settings.binarize)

    def make_training():
        net = MODELS[model](bk, settings.make_config(), stream_seed(settings.seed, PARAMETERS))
        trainer = Trainer(net, estimator, recipe, settings.n_mc, settings.seed)
        batches = Batches(bk, dataset, parts, settings.batch, settings.seed, settings.binarize)
        return Training(trainer, batches, settings.seed)

    def whole_run(training):
        return list(train(training, validation, options.accuracy_seconds, MAX_STEPS))

    training = make_training()
    net = training.trainer.model
    with out_of_memory_recorded(recorder):
        log = take_rounds(benchmark, lambda: whole_run(training), 1, spare=lambda: whole_run(make_training()))
        draws_of_a = DRAWS_OF_A_AT_THE_END if net.has_a else 1
        accuracy = validation.accuracy(net, draws_of_a, estimator=estimator)
    last = log[-1]
    figures = {
        "alpha": recipe.alpha,
        **training.trainer.optimizer.settings,
        "budget_seconds": options.accuracy_seconds,
        "step": last.step,
        "train_seconds": last.train_seconds,
        "steps_per_second": last.step / last.train_seconds,
        "validation_accuracy": accuracy,
        "validation_examples": len(some),
        "draws_of_a": draws_of_a,
        "curve_draws_of_a": 1,
        "curve_step": [point.step for point in log],
        "curve_epoch": [point.epoch for point in log],
        "curve_seconds": [point.train_seconds for point in log],
        "curve_accuracy": [point.validation_accuracy for point in log],
        "curve_loss": [point.loss for point in log],
    }
    benchmark.extra_info.update(recorder.write(figures))
