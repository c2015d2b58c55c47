"""What the timing cases share."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from peers import PeerOutOfMemory

from gsbench.case import Case
from gsbench.meters.seconds import Pairs

MAX_ROUNDS = 200
# An interval of a ratio wants more than a median does: this many times the seconds, and this many rounds more. From
# the smallest to the largest of 9 values lies the median with a confidence of 99.6 %, of 7 with 98.4 %.
PAIR_SECONDS_FACTOR, MORE_PAIRS = 3, 4


@contextmanager
def out_of_memory_recorded(recorder: Any) -> Iterator[None]:
    """Records that memory ran out, and skips the test, so that the run goes on. The reason begins with whose it was."""
    try:
        yield
    except Exception as error:
        if not recorder.run.bk.is_out_of_memory(error):
            raise
        figures = {
            "estimate_bytes": recorder.run.estimate(recorder.settings),
            "memory_limit_bytes": recorder.run.options.memory_limit,
        }
        whose = recorder.fields["baseline"] if isinstance(error, PeerOutOfMemory) else recorder.settings.estimator
        recorder.skip("out-of-memory", f"{whose} ran out of memory: {error}", **figures)


def rounds_for(call: Callable[[], object], run: Any, seconds: float, least: int) -> int:
    """Takes the call twice, to warm up and to time it, and gives the rounds that fill `seconds`.

    `--benchmark-warmup` warms up for as many calls as it allows, and no longer than `seconds`.
    """
    begun = time.perf_counter()
    for _ in range(max(1, run.warmup_calls)):
        call()
        if time.perf_counter() - begun > seconds:
            break
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-6)
    return max(least, min(MAX_ROUNDS, round(seconds / once)))


def once_where_disabled(benchmark: Any, recorder: Any, call: Callable[[], object]) -> None:
    """Under `--benchmark-disable`, takes the call once, which shows that it works, and skips the test, recorded."""
    if benchmark.disabled:
        benchmark.pedantic(call)
        recorder.skip("skipped", "timing is disabled (--benchmark-disable)")


def take_rounds(benchmark: Any, meter: Callable[[], Any], rounds: int, spare: Callable[[], object]) -> Any:
    """Calls the meter `rounds` times and returns what the last call returned.

    `--benchmark-cprofile` calls more often. The profiler slows that down, and `meter` must not see it: it is `spare`
    that is profiled.
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
        rounds = rounds_for(call, recorder.run, recorder.run.max_time, recorder.run.min_rounds)
        benchmark.pedantic(call, rounds=rounds)
    stats = benchmark.stats.stats
    figures = {
        f"{what}_seconds": stats.median,
        f"{what}_seconds_q1": stats.q1,
        f"{what}_seconds_q3": stats.q3,
        f"{what}_seconds_min": stats.min,
        "rounds": stats.rounds,
        "examples_per_second": settings.batch / stats.median,
    }
    if what == "step":
        figures["steps_per_second"] = 1 / stats.median
    if case.estimator.calls_follow_logits:
        figures["calls_of_f"] = case.calls_of_f()  # at the end: steps change the logits
    benchmark.extra_info.update(recorder.write(figures))


def time_pairs(benchmark: Any, recorder: Any, baseline: Callable[[], object], candidate: Callable[[], object]) -> dict:
    """Times the two calls in turn; a round of pytest-benchmark is one pair. Gives the figures of ratio and times."""
    run = recorder.run
    seconds, least = PAIR_SECONDS_FACTOR * run.max_time, run.min_rounds + MORE_PAIRS
    trial, pairs = Pairs(baseline, candidate), Pairs(baseline, candidate)
    once_where_disabled(benchmark, recorder, trial)
    rounds = rounds_for(trial, run, seconds, least)
    take_rounds(benchmark, pairs, rounds, spare=trial)
    ratio = pairs.ratio(seed=recorder.settings.seed)
    return {
        "speedup": ratio.median,
        "speedup_low": ratio.low,
        "speedup_high": ratio.high,
        "confidence": ratio.confidence,
        "pairs": ratio.pairs,
        "baseline_seconds": statistics.median(pairs.baseline_seconds),
        "candidate_seconds": statistics.median(pairs.candidate_seconds),
    }
