"""Meters: paired ratios, peak bytes, the estimate of them, and the fresh process."""

import dataclasses
import gc
import re
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from gsbench.estimators import ESTIMATORS, streaming
from gsbench.limits import available_bytes
from gsbench.meters import machine
from gsbench.meters.case import Case
from gsbench.meters.child import run_in_child
from gsbench.meters.estimate import class_rows_bytes, estimate_step_bytes
from gsbench.meters.measure import Fit, memory_limit, pair_figures, rounds_for, time_figures
from gsbench.meters.memory import live_peak
from gsbench.meters.others import OtherPrograms
from gsbench.meters.seconds import Pairs, bootstrap_median, paired_ratio
from gsbench.models import MODELS
from gsbench.settings.case import Settings


def test_pairs_alternate_in_order_and_rest_before_each_call(monkeypatch):
    calls = []
    monkeypatch.setattr("time.sleep", calls.append)
    pairs = Pairs(lambda: calls.append("A"), lambda: calls.append("B"), rest=0.05)
    for _ in range(4):
        pairs()
    assert [call for call in calls if call != 0.05] == list("ABBAABBA")
    assert calls[::2] == [0.05] * 8
    assert len(pairs.baseline_seconds) == len(pairs.candidate_seconds) == 4


def test_other_programs_took_what_was_busy_and_not_ours(monkeypatch):
    """5 busy seconds in 2, of which a guest's 1 s is counted twice, and 3 s of which are ours and our children's."""
    of_all = namedtuple("scputimes", ["user", "system", "idle", "iowait", "guest"])
    own = namedtuple("pcputimes", ["user", "system", "children_user", "children_system", "iowait"])
    before = (of_all(10, 5, 100, 9, 2), own(1, 1, 0, 0, 7), 50.0)
    after = (of_all(13, 7, 101, 10, 3), own(2, 2, 1, 0, 9), 52.0)
    now = iter((before, after))
    current = SimpleNamespace()

    def cpu_times():
        current.all, current.own, current.at = next(now)
        return current.all

    monkeypatch.setattr(psutil, "cpu_times", cpu_times)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(cpu_times=lambda: current.own))
    monkeypatch.setattr("gsbench.meters.others.time", SimpleNamespace(perf_counter=lambda: current.at))
    assert OtherPrograms().cores() == pytest.approx((5 - 3) / 2)


def test_of_a_moment_nothing_is_told():
    others = OtherPrograms()
    assert others.cores() is None


def test_a_program_that_computes_is_seen_while_it_runs():
    program = "import time; end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    with subprocess.Popen([sys.executable, "-c", program]) as other:
        time.sleep(0.5)
        others = OtherPrograms()
        time.sleep(2)
        beside = others.cores()
        other.kill()
    assert beside > 0.4


def test_ratio_is_the_median_of_the_pairs_with_its_interval():
    assert pair_figures([2.0, 4.0, 6.0, 8.0, 100.0], [1.0, 2.0, 3.0, 4.0, 1.0]) == pytest.approx(
        {"speedup": 2, "speedup_low": 2, "speedup_high": 100, "confidence": 0.99, "pairs": 5,
         "baseline_seconds": 6, "candidate_seconds": 2}
    )  # fmt: skip


@pytest.mark.parametrize(("timed", "more"), [("bound", {}), ("step", {"steps_per_second": 0.25})])
def test_the_figures_of_a_time_are_its_quartiles_and_rates(timed, more):
    assert time_figures(timed, 100, 7, (1.0, 2.0, 4.0, 5.0)) == {
        f"{timed}_seconds_min": 1.0,
        f"{timed}_seconds_q1": 2.0,
        f"{timed}_seconds": 4.0,
        f"{timed}_seconds_q3": 5.0,
        "rounds": 7,
        "examples_per_second": 25.0,
        **more,
    }


@pytest.mark.parametrize(("estimate", "problem"), [(80, ""), (81, "needs about 81 bytes, the limit is 80")])
def test_what_fits_is_what_takes_no_more_than_the_limit(estimate, problem):
    assert Fit(estimate, 80).problem == problem
    assert Fit(estimate, 80).figures == {"estimate_bytes": estimate, "memory_limit_bytes": 80}


@pytest.mark.parametrize(("on_device", "limit"), [(None, 80), (1000, 800)])
def test_the_limit_is_four_fifths_of_what_is_free_on_the_device_or_else_on_the_host(monkeypatch, on_device, limit):
    monkeypatch.setattr("gsbench.meters.measure.available_bytes", lambda: 100)
    assert memory_limit(SimpleNamespace(free_memory_bytes=lambda: on_device)) == limit
    assert memory_limit() == 80


@pytest.mark.parametrize(("warmup", "seconds", "calls"), [(0, 1e9, 2), (7, 1e9, 8), (7, 0, 2)])
def test_a_warm_up_is_as_long_as_asked_for(warmup, seconds, calls):
    made = []
    assert rounds_for(lambda: made.append(1), seconds, 3, warmup) == (200 if seconds else 3)
    assert len(made) == calls


@pytest.mark.newest
@pytest.mark.parametrize("pairs", [9, 15, 40])
def test_bootstrap_interval_covers_the_median(pairs):
    rng = np.random.default_rng(0)
    intervals = [bootstrap_median(rng.standard_normal(pairs)) for _ in range(300)]
    assert np.mean([low <= 0 <= high for low, high in intervals]) >= 0.95


def test_bootstrap_of_equal_values_is_that_value():
    assert bootstrap_median(np.full(5, 0.3)) == (0.3, 0.3)


def test_an_estimator_is_as_fast_as_itself():
    """Of 40 intervals of the speed-up of an estimator over itself, at least 34 contain 1."""
    settings = Settings(preset="small", batch=20, n_classes=5, estimator="gumbel-softmax", threads=1)
    a, b = Case(settings), Case(settings)
    a.bound(), b.bound()
    inside = 0
    for seed in range(40):
        pairs = Pairs(a.bound, b.bound)
        for _ in range(9):  # the fewest that the benchmark takes
            pairs()
        ratio = paired_ratio(pairs.baseline_seconds, pairs.candidate_seconds, seed=seed)
        inside += ratio.low <= 1 <= ratio.high
    assert inside >= 34


def test_live_peak_sees_arrays_of_a_step_and_the_state_before_it():
    megabyte = np.zeros(125_000)

    def make_step():
        state = megabyte.copy()

        def step():
            a, b, c = state + 1, state + 2, state + 3
            return a.sum() + b.sum() + c.sum()

        return step

    peak = live_peak(make_step)
    assert peak.meter == "tracemalloc"
    assert peak.state_bytes == pytest.approx(1e6, rel=0.05)
    assert peak.peak_bytes == pytest.approx(4e6, rel=0.05)
    assert not tracemalloc.is_tracing()


@pytest.fixture
def tracing():
    """Tracing that is on already, with 3 frames, after a peak of 50 MB; 20 MB are live, and 20 more in a cycle that
    nothing holds."""
    tracemalloc.start(3)
    try:
        np.zeros(6_250_000)
        held, cycle = np.zeros(2_500_000), [np.zeros(2_500_000)]
        cycle.append(cycle)
        del cycle
        yield held
    finally:
        tracemalloc.stop()


def test_live_peak_of_a_process_that_is_traced_already_is_that_of_the_step(tracing):
    def make_step():
        gc.collect()
        state = np.ones(125_000)
        return lambda: (state + 1).sum()

    peak = live_peak(make_step)
    assert peak.state_bytes == pytest.approx(1e6, rel=0.05)
    assert peak.peak_bytes == pytest.approx(2e6, rel=0.05)
    assert tracemalloc.is_tracing()
    assert tracemalloc.get_traceback_limit() == 3
    assert tracemalloc.get_object_traceback(tracing) is not None  # what the caller had traced is still there


def test_a_step_that_fails_leaves_the_callers_tracing_on(tracing):
    def make_step():
        raise MemoryError("no")

    with pytest.raises(MemoryError, match="no"):
        live_peak(make_step)
    assert tracemalloc.get_traceback_limit() == 3


def test_tracing_of_this_process_is_not_that_of_a_fresh_one(monkeypatch):
    """Its tables would count as the peak of the process."""
    monkeypatch.setenv("PYTHONTRACEMALLOC", "5")
    program = (
        "import json, tracemalloc; from gsbench.meters.child import *; "
        "print_result(ChildResult('ok', str(tracemalloc.is_tracing())))"
    )
    assert run_in_child(Settings(threads=1), None, command=[sys.executable, "-c", program]).reason == "False"


CASES = [
    Settings(preset="small", n_classes=50),
    Settings(preset="small", n_classes=50, model="m2"),
    Settings(preset="small", n_classes=20, n_mc=3, dtype="float64"),
    Settings(preset="default", n_classes=30),
    Settings(preset="default", n_classes=30, model="m2"),
    Settings(preset="blog", n_classes=20),
    Settings(preset="default", n_classes=30, estimator="gumbel-softmax"),
    Settings(preset="small", n_classes=50, estimator="straight-through(draws=30)"),
    Settings(preset="small", n_classes=200, estimator="marginalize-streamed(chunk=30)"),
    Settings(preset="default", n_classes=100, estimator="marginalize-streamed"),
    Settings(preset="small", n_classes=200, estimator="gumbel-rao(conditional_draws=100)"),
    Settings(preset="default", n_classes=4, estimator="sparsemax"),
]


def measured_peak(settings, gathers=True):
    """Live bytes of a step. Where calls of f follow the logits, the estimate is the most that they can take: as
    many as there can be, whose rows are gathered. The logits are nearly equal, and stay so.

    gathers   also where nearly all entries are wanted, as if they were a few less than `streaming.DENSE`
    """

    def make_step():
        case = Case(settings)
        if case.estimator.calls_follow_logits:
            for name, p in case.model.parameters.items():
                if name.startswith("q_y_"):
                    p.array[...] *= 1e-3
            case.trainer.optimizer.set_learning_rate(0.0)
            assert case.calls_of_f() == settings.n_classes
        return case.step

    Case(settings)  # what is imported and built once is no part of a step
    with pytest.MonkeyPatch.context() as patch:
        if gathers:
            patch.setattr(streaming, "DENSE", 1.0)
        return live_peak(make_step).peak_bytes


def test_whole_classes_take_no_more_memory_than_gathered_rows():
    settings = Settings("sum-and-sample(mass=0.999)", preset="small", n_classes=200, batch=30, n_mc=2, threads=1)
    assert measured_peak(settings, gathers=False) < measured_peak(settings) < 1.15 * estimate_step_bytes(settings)


@pytest.mark.parametrize("settings", CASES, ids=lambda s: f"{s.model}-{s.preset}-{s.estimator}-{s.dtype}")
def test_memory_estimate_is_near_what_is_measured(settings):
    assert estimate_step_bytes(settings) == pytest.approx(measured_peak(settings), rel=0.15)


VARIANTS = (
    "gumbel-softmax(draws=6)", "straight-through(draws=4)", "gumbel-rao(draws=2,conditional_draws=3)",
    "reinmax(draws=3)", "score-function(draws=6)", "sum-and-sample(m=5)", "sum-and-sample(mass=0.999)",
    "sum-and-relax(m=5)", "sum-and-relax(mass=1.0)", "unordered-set(k=4)", "marginalize-streamed(chunk=7)",
)  # fmt: skip


@pytest.mark.parametrize(("n_classes", "batch"), [(10, 400), (1000, 10), (10_000, 10), (1000, 400)])
@pytest.mark.parametrize("name", [*ESTIMATORS, *VARIANTS])
def test_memory_estimate_of_every_estimator(name, n_classes, batch):
    settings = Settings(name, preset="small", n_classes=n_classes, batch=batch, threads=1)
    if settings.make_estimator().calls(n_classes) == n_classes and n_classes * batch > 10_000:
        pytest.skip("a sum has a row of f for each class: see the long test")
    if n_classes == 1000:  # in 15 parts: 143 would take long to trace
        settings = dataclasses.replace(settings, estimator=name.replace("chunk=7", "chunk=70"))
    assert estimate_step_bytes(settings) == pytest.approx(measured_peak(settings), rel=0.15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*ESTIMATORS, *VARIANTS])
def test_memory_estimate_of_several_draws_of_a_and_of_m2(name, dtype):
    settings = Settings(name, preset="small", model="m2", n_classes=200, batch=30, n_mc=2, dtype=dtype, threads=1)
    assert estimate_step_bytes(settings) == pytest.approx(measured_peak(settings), rel=0.15)


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("preset", ["small", "default"])
@pytest.mark.parametrize("batch", [10, 100, 1000])
@pytest.mark.parametrize("n_classes", [10, 100, 1000, 10_000])
@pytest.mark.parametrize("name", [*ESTIMATORS, *VARIANTS])
def test_memory_estimate_of_every_estimator_at_every_size(name, n_classes, batch, preset, model):
    settings = Settings(name, preset=preset, model=model, n_classes=n_classes, batch=batch, threads=1)
    estimator = settings.make_estimator()
    if estimator.calls(n_classes) == n_classes and n_classes * batch > (10_000 if name == "marginalize" else 100_000):
        pytest.skip("takes too long, or more memory than machines have")
    assert estimate_step_bytes(settings) == pytest.approx(measured_peak(settings), rel=0.15)


def test_memory_estimate_of_a_soft_draw_counts_its_arrays():
    """At K = 10,000 and a batch of 1,000, an array with a number for each class and example has 40 MB; 7 are live."""
    settings = Settings("gumbel-softmax", preset="small", n_classes=10_000, batch=1000, threads=1)
    assert estimate_step_bytes(settings) > 7 * 40e6


def test_memory_estimate_grows_with_the_class_count_for_the_sum_alone():
    def growth(estimator):
        sizes = [estimate_step_bytes(Settings(preset="small", n_classes=k, estimator=estimator)) for k in (10, 1000)]
        return sizes[1] / sizes[0]

    assert growth("marginalize") > 50
    assert growth("gumbel-softmax") < 4


@pytest.mark.parametrize(("model", "networks_with_y"), [("adgm", 3), ("m2", 2)])
def test_the_rows_that_grow_with_the_classes(model, networks_with_y):
    """W_y of each network that takes y, and weights and bias of q(y|·)'s last layer, four arrays of each."""
    settings = Settings(model=model, n_classes=70)
    assert class_rows_bytes(settings) == 4 * 4 * 70 * (500 * networks_with_y + 500 + 1)


def test_the_memory_of_a_streamed_step_hardly_grows_with_the_classes():
    """At one chunk, 1,000 classes against 50, without the rows that every estimator has for each class.

    In a chunk of 50, which 20 parts take: 100 of 10 would take long to trace.
    """
    rest = []
    for n_classes in (50, 1000):
        settings = Settings("marginalize-streamed(chunk=50)", preset="small", n_classes=n_classes, threads=1)
        Case(settings)
        rest.append(live_peak(lambda s=settings: Case(s).step).peak_bytes - class_rows_bytes(settings))
    kb_arrays = 8 * 4 * 1000 * settings.batch  # f, q, log q and their like, [N, K, B]: much in so small a model
    assert rest[1] < 1.1 * rest[0] + kb_arrays


def test_fresh_process_tells_its_own_peak():
    few, many = (Settings(preset="small", n_classes=k, threads=1) for k in (2, 100))
    small, large = (run_in_child(settings, limit_bytes=available_bytes()) for settings in (few, many))
    assert (small.status, large.status) == ("ok", "ok")
    more = estimate_step_bytes(many) - estimate_step_bytes(few)
    assert large.process_peak_bytes - small.process_peak_bytes == pytest.approx(more, rel=0.4)


def test_fresh_process_is_stopped_at_its_limit():
    result = run_in_child(Settings(preset="small", n_classes=600, threads=1), limit_bytes=250_000_000)
    assert result.status == "out-of-memory"
    assert "250000000" in result.reason


def test_fresh_process_that_takes_too_long_is_ended():
    result = run_in_child(Settings(preset="small", threads=1), limit_bytes=None, timeout_seconds=0.05)
    assert result.status == "failed"
    assert "took longer than 0.05 s" in result.reason


def test_memory_estimate_takes_no_memory_itself():
    assert estimate_step_bytes(Settings(n_classes=10_000_000)) > 1e12


def test_fresh_process_that_fails_says_why():
    settings = Settings(preset="small", threads=1)
    object.__setattr__(settings, "model", "nonsense")
    result = run_in_child(settings, limit_bytes=available_bytes())
    assert result.status == "failed"
    assert "unknown model 'nonsense'" in result.reason


def test_a_record_has_the_commit_of_the_clone_from_which_gsbench_is_imported(tmp_path, monkeypatch):
    """Its .git lies beside the package."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "gsbench" / "meters" / "machine.py"))
    assert machine.commit() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("")
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], check=True)
    assert re.fullmatch("[0-9a-f]{12}", machine.commit())
    (tmp_path / "file").write_text("changed")
    assert machine.commit().endswith("-dirty")
