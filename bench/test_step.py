"""The full training step: seconds and throughput."""

from timing import time_case


def test_step(benchmark, record, options, model, n_classes, estimator):
    time_case(benchmark, record("step", options.settings(model, n_classes, estimator)), "step")
