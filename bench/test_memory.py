"""Peak memory of a full training step: live arrays, and a whole fresh process. This pass is not timed."""

import pytest
from timing import out_of_memory_recorded

from gsbench.meters.case import Case
from gsbench.meters.estimate import class_rows_bytes
from gsbench.meters.measure import step_peak


def test_memory(benchmark, record, options, session, model, n_classes, estimator):
    settings = options.settings(model, n_classes, estimator)
    recorder = record("memory", settings)
    recorder.require_memory(settings)
    benchmark.group = f"memory {model} K={n_classes} (metered pass)"
    figures = {**recorder.fit(session.estimate(settings)).figures, "class_rows_bytes": class_rows_bytes(settings)}
    dataset = recorder.dataset()
    with out_of_memory_recorded(recorder):
        figures |= benchmark.pedantic(step_peak, args=(session.bk, lambda: Case(settings, dataset).step), rounds=1)
    child = session.trial(settings)
    figures |= child.figures
    benchmark.extra_info.update(recorder.write(figures, child.status, child.reason))
    if child.status == "failed":
        pytest.fail(f"the fresh process failed: {child.reason}")
