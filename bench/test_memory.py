"""Peak memory of a full training step: live arrays, and the whole of a fresh process. A pass of its own, not timed."""

import gc

import pytest
from timing import out_of_memory_recorded

from gsbench.case import Case
from gsbench.meters.estimate import class_rows_bytes
from gsbench.meters.memory import live_peak, peak_figures


def test_memory(benchmark, record, options, model, n_classes, estimator, run):
    settings = options.settings(model, n_classes, estimator)
    recorder = record("memory", settings)
    recorder.require_memory(settings)
    benchmark.group = f"memory {model} K={n_classes} (metered pass)"
    figures = {
        "estimate_bytes": run.estimate(settings),
        "memory_limit_bytes": options.memory_limit,
        "class_rows_bytes": class_rows_bytes(settings),
    }
    dataset = recorder.dataset()
    gc.collect()  # what earlier cases left is no part of this one
    with out_of_memory_recorded(recorder):
        device_peak = run.bk.device_memory_peak()
        peak = benchmark.pedantic(live_peak, args=(lambda: Case(settings, dataset).step, device_peak), rounds=1)
    figures |= peak_figures(peak, on_device=device_peak is not None)
    child = run.trial(settings)
    figures |= {"process_peak_bytes": child.process_peak_bytes, "process_meter": child.process_meter}
    benchmark.extra_info.update(recorder.write(figures, child.status, child.reason))
    if child.status == "failed":
        pytest.fail(f"the fresh process failed: {child.reason}")
