"""Bias, variance and cost of an estimator's gradient. Everything is fixed except the draws of y."""

from options import GRADIENT_BLOCKS
from timing import out_of_memory_recorded

from gsbench.data import split
from gsbench.meters.estimate import parameter_bytes
from gsbench.meters.gradient_quality import gradient_quality
from gsbench.training.trainer import papers_alpha


def test_gradient(benchmark, record, options, session, model, n_classes, graded, state):
    settings = options.settings(model, n_classes, graded)
    recorder = record("gradient", settings, state=state, **options.training_of(state))
    if settings.make_config().norm == "batch":
        recorder.skip("skipped", "with batch norm a sum and a draw, whose statistics are over other rows, differ in f")
    if not settings.make_estimator().shares_noise:
        recorder.skip("skipped", f"{settings.estimator} draws z's noise by itself, which is to be fixed here")
    if settings.dtype == "float16":
        recorder.skip("skipped", "in float16 rounding is as large as a bias: take --dtype float32")
    # The sums of the blocks, and at both states a model, and exact gradients and their sums
    recorder.require_memory(settings, besides=(GRADIENT_BLOCKS + 10) * parameter_bytes(settings))
    benchmark.group = f"gradient {model} K={n_classes} {state} (a whole measurement)"
    dataset = recorder.dataset()
    if state == "trained":
        recorder.fields["alpha"] = papers_alpha(split(dataset, settings.labelled_per_class, seed=settings.seed))
    with out_of_memory_recorded(recorder):
        arguments = (session.point(settings, state), settings.make_estimator(), *options.gradient_blocks)
        figures = benchmark.pedantic(gradient_quality, args=arguments, rounds=1)
        if state == "initial" or not settings.make_estimator().calls_follow_logits:
            figures |= session.step_peak(settings)  # of the initial parameters
    recorder.fields["baseline"] = figures.pop("baseline")
    benchmark.extra_info.update(recorder.write(figures))
