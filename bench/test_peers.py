"""Compares gsbench's steps with the peers' (`--peers`): in pairs, in turn, in one process."""

import gc

import pytest
from peers import PEERS, memory_errors
from timing import out_of_memory_recorded, time_pairs

from gsbench.meters.case import Case
from gsbench.meters.child import STEPS
from gsbench.meters.seconds import REST_SECONDS
from gsbench.training.minibatches import Batch


def memory_figures(recorder, session, peer, timed):
    """Peak memory of a fresh process that takes two steps, the peer's and gsbench's.

    A case that does not fit there is recorded and not timed.
    """
    theirs, ours = session.trial(recorder.settings, timed, peer), session.trial(recorder.settings, timed)
    figures = {
        "memory_limit_bytes": session.options.memory_limit,
        "process_meter": theirs.process_meter,
        "baseline_process_peak_bytes": theirs.process_peak_bytes,
        "baseline_process_start_bytes": theirs.process_start_bytes,
        "process_peak_bytes": ours.process_peak_bytes,
        "process_start_bytes": ours.process_start_bytes,
    }
    for name, child in ((peer, theirs), ("gsbench", ours)):
        reason = f"{name}: {child.reason}"
        if child.status == "failed":
            recorder.write(figures, child.status, reason)
            pytest.fail(f"the fresh process of {reason}")
        if child.status != "ok":
            recorder.skip(child.status, reason, **figures)
    return figures


def test_peer(benchmark, record, options, session, n_classes, peer, estimator, timed):
    settings = options.settings("adgm", n_classes, estimator)
    recorder = record("peer", settings, timed=timed, baseline=peer)
    if problem := PEERS[peer].problem(settings.dtype):
        recorder.skip("skipped", problem)
    recorder.require_memory(settings)
    benchmark.group = f"peer {peer} K={n_classes} {timed}"
    figures = memory_figures(recorder, session, peer, timed)
    gc.collect()  # earlier cases' garbage must not count
    with out_of_memory_recorded(recorder):
        case = Case(settings, recorder.dataset())
        make = memory_errors(PEERS[peer].make)
        batch = Batch(*map(case.bk.to_numpy, (case.batch.x_labelled, case.batch.y, case.batch.x_unlabelled)))
        theirs = make(case.model.config, case.estimator, batch, settings.threads, settings.seed, settings.dtype)
        theirs.copy_weights(case.model)
        recorder.fields.update(theirs.versions())
        their_step, our_step = (getattr(one, STEPS[timed]) for one in (theirs, case))
        figures |= time_pairs(benchmark, recorder, memory_errors(their_step), our_step, REST_SECONDS)
    benchmark.extra_info.update(recorder.write(figures))
