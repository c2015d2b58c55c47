"""Functions that the timing cases share."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from peers import PeerOutOfMemory

from gsbench.meters.case import Case
from gsbench.meters.measure import pair_figures, rounds_for, time_figures
from gsbench.meters.seconds import Pairs, seconds_of

# The interval of a ratio needs more than a median does: this many times the seconds, and this many rounds more. The
# median lies between the smallest and the largest of 9 values with a confidence of 99.6 %, of 7 values with 98.4 %.
PAIR_SECONDS_FACTOR, MORE_PAIRS = 3, 4
MINIBATCHES = 15  # are made to time one


@contextmanager
def out_of_memory_recorded(recorder: Any) -> Iterator[None]:
    """Records that memory ran out, and skips the test, so that the session goes on. The reason names whose it was."""
    try:
        yield
    except Exception as error:
        if not recorder.session.bk.is_out_of_memory(error):
            raise
        figures = recorder.fit(recorder.session.estimate(recorder.settings)).figures
        whose = recorder.fields["baseline"] if isinstance(error, PeerOutOfMemory) else recorder.settings.estimator
        recorder.skip("out-of-memory", f"{whose} ran out of memory: {error}", **figures)


def once_where_disabled(benchmark: Any, recorder: Any, call: Callable[[], object]) -> None:
    """Under `--benchmark-disable`, makes the call once to show that it works, then records and skips the test."""
    if benchmark.disabled:
        benchmark.pedantic(call)
        recorder.skip("skipped", "timing is disabled (--benchmark-disable)")


def take_rounds(benchmark: Any, meter: Callable[[], Any], rounds: int, spare: Callable[[], object]) -> Any:
    """Calls the meter `rounds` times and returns what the last call returned.

    `--benchmark-cprofile` makes more calls, slowed by the profiler. They go to `spare`, because `meter` must not see
    them.
    """
    taken = itertools.count()
    return benchmark.pedantic(lambda: meter() if next(taken) < rounds else spare(), rounds=rounds)


def time_case(benchmark: Any, recorder: Any, what: str) -> None:
    """Times `Case.bound` or `Case.step`; the record has its quartiles and throughput."""
    settings = recorder.settings
    recorder.require_memory(settings)
    benchmark.group = f"{what} {settings.model} K={settings.n_classes}"
    with out_of_memory_recorded(recorder):
        case = Case(settings, recorder.dataset())
        call = getattr(case, what)
        once_where_disabled(benchmark, recorder, call)
        session = recorder.session
        benchmark.pedantic(call, rounds=rounds_for(call, session.max_time, session.min_rounds, session.warmup_calls))
    stats = benchmark.stats.stats
    figures = time_figures(what, settings.batch, stats.rounds, (stats.min, stats.q1, stats.median, stats.q3))
    if what == "step" and case.has_minibatches:
        figures["minibatch_seconds"] = statistics.median(seconds_of(case.minibatch) for _ in range(MINIBATCHES))
    if case.estimator.calls_follow_logits:
        figures["calls_of_f"] = case.calls_of_f()  # at the end: steps change the logits
    benchmark.extra_info.update(recorder.write(figures))


def time_pairs(
    benchmark: Any, recorder: Any, baseline: Callable[[], object], candidate: Callable[[], object], rest: float = 0.0
) -> dict:
    """Times the two calls in turn; a round of pytest-benchmark is one pair. Gives the figures of ratio and times."""
    session = recorder.session
    seconds, least = PAIR_SECONDS_FACTOR * session.max_time, session.min_rounds + MORE_PAIRS
    trial, pairs = (Pairs(baseline, candidate, rest) for _ in range(2))
    once_where_disabled(benchmark, recorder, trial)
    take_rounds(benchmark, pairs, rounds_for(trial, seconds, least, session.warmup_calls), spare=trial)
    return pair_figures(pairs.baseline_seconds, pairs.candidate_seconds, recorder.settings.seed)
