"""The unlabelled bound, forward and backward: seconds and throughput."""

from timing import time_case


def test_bound(benchmark, record, options, model, n_classes, estimator):
    time_case(benchmark, record("bound", options.settings(model, n_classes, estimator)), "bound")
