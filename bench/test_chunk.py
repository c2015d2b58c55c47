"""The streamed sum at several chunk sizes (`--chunks`): memory, and time compared with the default chunk."""

from timing import out_of_memory_recorded, time_pairs

from gsbench.meters.case import Case


def test_chunk(benchmark, record, options, session, model, n_classes, chunk):
    baseline = options.settings(model, n_classes, "marginalize-streamed")
    settings = options.settings(model, n_classes, f"marginalize-streamed(chunk={chunk})")
    recorder = record("chunk", settings, timed="bound", baseline=baseline.estimator)
    recorder.require_memory(baseline, settings)
    benchmark.group = f"chunk {model} K={n_classes}"
    with out_of_memory_recorded(recorder):
        dataset = recorder.dataset()
        figures = time_pairs(benchmark, recorder, Case(baseline, dataset).bound, Case(settings, dataset).bound)
        figures |= {"bound_seconds": figures["candidate_seconds"], **session.step_peak(settings)}
    benchmark.extra_info.update(recorder.write(figures))
