"""The speedup of an estimator over the best exact sum: measured in pairs, in turn, in one process."""

import dataclasses

import pytest
from timing import out_of_memory_recorded, time_pairs

from gsbench.estimators import baseline_fields
from gsbench.meters.case import Case


def measure(benchmark, recorder, settings, baseline, timed):
    baseline = dataclasses.replace(settings, estimator=baseline)
    recorder.require_memory(baseline, settings)
    benchmark.group = f"speedup {settings.model} K={settings.n_classes} {timed}"
    with out_of_memory_recorded(recorder):
        dataset = recorder.dataset()
        calls = [getattr(Case(case, dataset), timed) for case in (baseline, settings)]
        figures = time_pairs(benchmark, recorder, *calls)
    benchmark.extra_info.update(recorder.write(figures))


def test_speedup(benchmark, record, options, model, n_classes, candidate, timed):
    settings = options.settings(model, n_classes, candidate)
    recorder = record("speedup", settings, timed=timed, **baseline_fields(options.baseline))
    measure(benchmark, recorder, settings, options.baseline, timed)


def test_speedup_m2_synthetic(benchmark, record, options, n_classes, sampler):
    """The full step of M2 on random images and labels: what Jang et al. 2017 timed for their figure 5."""
    settings = options.settings("m2", n_classes, sampler, dataset="synthetic")
    recorder = record("speedup", settings, timed="step", **baseline_fields(options.baseline))
    if options.base.dataset == "synthetic" and "m2" in options.models:
        pytest.skip("measured by test_speedup in this session")
    measure(benchmark, recorder, settings, options.baseline, "step")
