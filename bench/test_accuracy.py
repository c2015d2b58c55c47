"""A short, seeded training run with a budget of seconds: its validation accuracy by step and by second of training."""

import pytest
from timing import out_of_memory_recorded, take_rounds

from gsbench.estimators import NO_FACTS
from gsbench.runs.training_run import Diverged, TrainingRun, run_step_bytes
from gsbench.settings.run import RunSettings
from gsbench.training.trainer import evaluation_steps

VALIDATION_EXAMPLES = 2000  # at most, drawn at random: the standard error of an accuracy is about 1 % then
DRAWS_OF_A_AT_THE_END = 100


def test_accuracy(benchmark, record, options, model, n_classes, learner):
    labels_only = learner == "labels-only"
    estimator = "marginalize" if labels_only else learner
    case = options.settings(model, n_classes, estimator, preset=options.accuracy_preset)
    if case.dataset == "synthetic":
        record("training", case, estimator=learner, **(NO_FACTS if labels_only else {}))
        pytest.skip("the labels of synthetic data are random: there is no accuracy to measure")
    settings = RunSettings(
        case, labels_only=labels_only, seconds=options.accuracy_seconds, validation_images=VALIDATION_EXAMPLES
    )
    recorder = record("training", case, **settings.record_fields())
    figures = recorder.require_bytes(learner, case, run_step_bytes(settings))
    if not labels_only:
        recorder.require_memory(case)
    benchmark.group = f"accuracy {model} K={n_classes} (a whole run)"
    dataset = recorder.dataset()
    run = TrainingRun(settings)

    def whole_run(run):
        run.begin(dataset)
        for _ in run.steps(evaluation_steps()):
            pass

    with out_of_memory_recorded(recorder):
        try:
            take_rounds(benchmark, lambda: whole_run(run), 1, spare=lambda: whole_run(TrainingRun(settings)))
        except Diverged as error:
            recorder.write({**figures, **run.figures, **run.progress()}, "diverged", str(error))
            raise
        draws_of_a = DRAWS_OF_A_AT_THE_END if run.training.model.has_a else 1
        accuracy = run.accuracy(run.validation, draws_of_a)
    recorder.fields.update(run.fields, draws_of_a=draws_of_a, curve_draws_of_a=settings.validation_draws)
    figures |= {**run.figures, **run.progress(), "validation_accuracy": accuracy}
    benchmark.extra_info.update(recorder.write(figures))
