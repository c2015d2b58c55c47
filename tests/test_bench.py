"""The whole path as a user runs it: benchmark → file → report.

A process of its own is slow to start. One has the run that most assertions share, one a run to kill, one a run under
the interpreter's own warning filters; the other runs are sessions of pytest inside this process.
"""

import ast
import copy
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import recording
import saving
import timing
from options import read_options
from pytest_benchmark.logger import PytestBenchmarkWarning
from report_fixture import no_png  # noqa: F401 (a fixture)

import gsbench.meters.products
import gsbench.records.record
from gsbench.backends.chainer.backend import cuda_problem
from gsbench.cli import main
from gsbench.estimators import ESTIMATORS
from gsbench.meters.case import Case
from gsbench.meters.child import ChildResult
from gsbench.meters.machine import CLOCK
from gsbench.meters.operations import MatrixProduct
from gsbench.settings.case import NETWORKS
from gsbench.training.trainer import Training

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SHORT = [
    *("--accuracy-seconds", "0.02", "--gradient-draws", "40", "--gradient-steps", "5"),
    *("--benchmark-max-time", "0.01", "--benchmark-min-rounds", "3"),
]
TINY = ["--preset", "small", "--batch", "5", "--threads", "1", *SHORT]
GRID = ["--models", "adgm,m2", "--estimators", "marginalize,gumbel-softmax(tau=0.5)"]
ENDS = ("_low", "", "_high")
EXACT = {"marginalize": True, "gumbel-softmax(tau=0.5)": False, "labels-only": False}
NO_CACHE = ["-p", "no:cacheprovider"]


def stored_in(tmp_path):
    return f"--benchmark-storage=file://{tmp_path}/store"


def command(tmp_path, *options, python=()):
    return [sys.executable, *python, "-m", "pytest", "bench/", *NO_CACHE, stored_in(tmp_path), *TINY, *options]


def in_a_process(tmp_path, *options, python=()):
    arguments = command(tmp_path, *options, python=python)
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture
def bench(session, tmp_path):
    """A run whose warnings are errors, as a user's are not."""
    return lambda *options: session(stored_in(tmp_path), *TINY, "-W", "error", *options)


@pytest.fixture
def collect(session):
    return lambda *options: session("--collect-only", *options)


@pytest.fixture(scope="module")
def first_config():
    """The configuration of the first session that needs no more than that, for all of them."""
    return []


@pytest.fixture
def parsed(session, pytester, first_config):
    """`parsed(*options)`: a configuration with these options of a session, which is not begun."""
    if not first_config:
        first_config.append(pytester.parseconfig("bench/", *NO_CACHE))
    (config,) = first_config
    as_it_was = config.option
    yield lambda *options: with_options(config, copy.copy(as_it_was), options)
    config.option = as_it_was


def with_options(config, named, options):
    config.option = config._parser.parse([*options, "bench/"], named)
    return config


def configured(config):
    """What a session does of its options before it collects, as bench/conftest.py has it."""
    read_options(config)
    saving.check_before(config)


def cases(collected):
    """The cases that `--collect-only -q` lists, without their file: "test_step[adgm-2-marginalize]"."""
    assert collected.ret == 0, collected.stdout + collected.stderr
    return [line.split("::")[1] for line in collected.stdout.splitlines() if "::test_" in line]


def report(tmp_path):
    """The report's page, made in this process."""
    arguments = ["report", "--output", str(tmp_path / "reports"), "--name", "tiny"]
    assert main([*arguments, "--storage", str(tmp_path / "store")]) == 0
    return (tmp_path / "reports" / "tiny" / "report.md").read_text()


def records(tmp_path):
    (file,) = (tmp_path / "store" / "records").glob("*.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run of every group on a tiny grid, saved."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--classes", "2", *GRID, "-k", "not roofline", "--benchmark-autosave"]
    return folder, in_a_process(folder, "-W", "error", *options)


def test_a_run_passes_and_shows_the_result_at_a_glance(finished):
    folder, run = finished
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert "at a glance" in run.stdout
    glance = run.stdout[run.stdout.index("at a glance") :]
    assert "gumbel-softmax(tau=0.5)" in glance
    assert f"gsbench report {folder}/store/records" in glance
    assert "left, about" in run.stdout


def test_every_measurement_is_a_record(finished):
    folder, _ = finished
    found = records(folder)
    assert len({r["case"] for r in found}) == len(found)
    assert {r["status"] for r in found} == {"ok"}
    by_group = {group: [r for r in found if r["group"] == group] for group in {r["group"] for r in found}}
    # 2 models × 2 estimators; speed-ups over the streamed sum, of the bound and for the sampler of the step, and of the
    # sampler with M2 on synthetic
    assert {group: len(rows) for group, rows in by_group.items()} == {
        "bound": 4,
        "step": 4,
        "memory": 4,
        "speedup": 7,
        "training": 6,
        "gradient": 8,  # at the start and after training
    }
    for row in by_group["step"]:
        assert row["step_seconds_min"] <= row["step_seconds_q1"] <= row["step_seconds"] <= row["step_seconds_q3"]
        assert row["examples_per_second"] == pytest.approx(5 / row["step_seconds"])
        assert row["minibatch_seconds"] > 0
    for row in by_group["speedup"]:
        assert row["speedup_low"] <= row["speedup"] <= row["speedup_high"]
        assert row["baseline"] == "marginalize-streamed"
    for row in by_group["memory"]:
        assert row["live_meter"] == "tracemalloc"
        assert 0 < row["class_rows_bytes"] < row["state_bytes"] < row["live_peak_bytes"] < row["process_peak_bytes"]
    for row in by_group["gradient"]:
        check_gradient(row)
    for row in by_group["training"]:
        assert row["curve_step"][0] == 0
        assert row["curve_step"][-1] == row["step"]
        assert len(row["curve_seconds"]) == len(row["curve_accuracy"]) == len(row["curve_epoch"])
        assert row["dataset_checksum"]
        assert row["budget_seconds"] == 0.02 < row["train_seconds"] < row["wall_seconds"]
        assert (row["budget_epochs"], row["budget_steps"], row["learning_rate"]) == (None, None, 3e-4)
        assert (row["curve_draws_of_a"], row["exact_sum"]) == (1, EXACT[row["estimator"]])
        assert 0 < row["state_bytes"] < row["live_peak_bytes"] < row["memory_limit_bytes"]
        assert row["draws_of_a"] == {"adgm": 100, "m2": 1}[row["model"]]
    assert {r["estimator"] for r in by_group["training"]} == {
        "marginalize",
        "gumbel-softmax(tau=0.5)",
        "labels-only",
    }


def check_gradient(row):
    """The record of one estimator's gradients at K = 2."""
    sampled = row["estimator"] != "marginalize"
    assert row["baseline"] == "marginalize-streamed"
    assert (row["gradient_draws"], row["gradient_blocks"]) == ((40, 20) if sampled else (1, 1))
    trained = {"training_steps": 5, "training_estimator": "sum-and-sample"}
    assert {"initial": {"training_steps": 0, "training_estimator": ""}, "trained": trained}[row["state"]] == {
        name: row[name] for name in trained
    }
    assert row["calls_of_f"] == (1 if sampled else 2)
    assert 1 <= row["q_perplexity"] <= 2
    assert 0 < row["bound_seconds_q1"] <= row["bound_seconds"] <= row["bound_seconds_q3"]
    assert row["state_bytes"] < row["live_peak_bytes"]
    for part in ("logits", "phi", "theta"):
        bias, variance = ([row[f"{part}_{name}{end}"] for end in ENDS] for name in ("squared_bias", "variance"))
        assert bias == sorted(bias)
        assert variance == sorted(variance)
        assert (variance[1] > 0) == sampled
        assert row[f"{part}_total_variance"] > 0
        assert row[f"{part}_exact_norm"] > 0
        assert -1 <= row[f"{part}_cosine"] <= 1


def test_gradients_are_taken_of_six_estimators_unless_some_are_named(collect):
    shown = cases(collect("--classes", "2", "-q", "-k", "test_gradient"))
    names = {case.removeprefix("test_gradient[adgm-2-").rsplit("-", 1)[0] for case in shown}
    assert len(shown) == 2 * len(names) == 12
    assert {"gumbel-softmax", "sum-and-relax"} < names < set(ESTIMATORS)
    shown = cases(collect("--classes", "2", "--estimators", "reinmax", "-q", "-k", "test_gradient"))
    assert shown == [f"test_gradient[adgm-2-reinmax-{state}]" for state in ("initial", "trained")]


def test_gradients_that_cannot_be_held_against_anything_are_recorded_as_skipped(bench, tmp_path):
    alone = ["--classes", "2", "--dataset", "synthetic", "-k", "test_gradient"]
    assert bench("--estimators", "marginalize(class_noise=independent)", *alone).ret == 0
    assert bench("--preset", "blog", "--estimators", "reinmax", *alone).ret == 0
    files = (tmp_path / "store" / "records").glob("*.jsonl")
    found = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert [r["status"] for r in found] == ["skipped"] * 4
    assert {r["reason"] for r in found} == {
        "marginalize(class_noise=independent) draws z's noise by itself, which is to be fixed here",
        "with batch norm a sum and a draw, whose statistics are over other rows, differ in f",
    }


def test_the_saved_file_has_the_records_and_the_machine(finished):
    folder, _ = finished
    (saved,) = (folder / "store").glob("*/*.json")
    content = json.loads(saved.read_text())
    assert content["gsbench_records"] == records(folder)
    assert content["machine_info"]["gsbench"]["machine_blas"]
    extra = [b["extra_info"] for b in content["benchmarks"]]
    assert sorted(e["case"] for e in extra) == sorted(r["case"] for r in records(folder))
    groups = {b["group"] for b in content["benchmarks"]}
    assert "step adgm K=2" in groups


def test_every_case_comes_with_every_class_count(collect):
    few, many = (cases(collect("--classes", k, *GRID, "-q", "-k", "not roofline")) for k in ("30", "70"))
    assert len(set(few)) == len(few) == 27
    trained = cases(collect("--classes", "30", *GRID, "-q", "-k", "accuracy", "--accuracy-seconds", "1"))
    assert len(trained) == 6  # one exact sum, one draw and the labels alone, in two models
    assert [case.replace("30", "70") for case in few] == many
    assert cases(collect("--classes", "70,30", *GRID, "-q", "-k", "not roofline")) == few + many


@pytest.mark.usefixtures("no_png")
def test_the_report_reads_the_newest_run(finished, capsys):
    folder, _ = finished
    arguments = ["report", "--output", str(folder / "reports"), "--name", "tiny", "--storage", str(folder / "store")]
    assert main(arguments) == 0
    page = folder / "reports" / "tiny" / "report.md"
    assert str(page.with_suffix(".html")) in capsys.readouterr().out
    assert "gumbel-softmax(tau=0.5)" in page.read_text()
    assert len(list(page.parent.glob("*.png"))) == len(list(page.parent.glob("*.svg"))) >= 5


@pytest.fixture
def long_work_made_short(monkeypatch):
    """Smaller products for the machine's peak, and for fresh processes figures that say whose they are."""

    def figures(settings, limit_bytes, command):
        of_peer = "plain-chainer" in command
        return ChildResult("ok", "", 200 + of_peer, "made up", 100 + of_peer)

    monkeypatch.setattr(recording, "run_in_child", figures)
    smaller = tuple(MatrixProduct(n, n, n) for n in (256, 512))
    monkeypatch.setattr(gsbench.meters.products, "SQUARES", smaller)


@pytest.mark.usefixtures("long_work_made_short", "undrawn")
def test_what_is_measured_when_asked_for_or_takes_long(bench, tmp_path):
    """Chunk sizes, a peer, and the share of the machine's product peak."""
    estimators = "marginalize-streamed,gumbel-softmax,sparsemax"
    options = ["--classes", "3", "--dataset", "synthetic", "--estimators", estimators]
    extra = ["--chunks", "1,2,9", "--peers", "plain-chainer", "-k", "chunk or peer or roofline"]
    run = bench(*options, *extra, "--benchmark-autosave")
    assert run.ret == 0, run.stdout[-3000:]
    found = records(tmp_path)
    chunks = [r for r in found if r["group"] == "chunk"]
    assert [(r["chunk"], r["status"]) for r in chunks] == [(1, "ok"), (2, "ok")]  # 3 classes have no chunk of 9
    assert {r["estimator"] for r in chunks} == {f"marginalize-streamed(chunk={c})" for c in (1, 2)}
    assert all(r["live_peak_bytes"] > r["state_bytes"] and r["live_meter"] == "tracemalloc" for r in chunks)
    peers = [r for r in found if r["group"] == "peer"]
    assert [(r["estimator"], r["timed"], r["status"]) for r in peers] == [
        ("marginalize-streamed", "unlabelled-step", "ok"),
        ("gumbel-softmax", "unlabelled-step", "ok"),
        ("gumbel-softmax", "step", "ok"),
    ]
    for row in peers:
        assert (row["process_peak_bytes"], row["process_start_bytes"]) == (200, 100)
        assert (row["baseline_process_peak_bytes"], row["baseline_process_start_bytes"]) == (201, 101)
    rooflines = [r for r in found if r["group"] == "roofline"]
    assert [r["estimator"] for r in rooflines] == estimators.split(",")
    for row in rooflines:
        assert 0 < row["fraction_of_peak"] < 1
        assert row["operations"] == pytest.approx(
            row["fraction_of_peak"] * row["bound_seconds"] * row["peak_operations_per_second"]
        )
    assert "plain-chainer" in report(tmp_path)


def test_batch_norm_leaves_the_streamed_sum_out_and_takes_the_other_for_a_baseline(collect):
    shown = cases(collect("--preset", "blog", "--classes", "2", "-q"))
    assert "test_step[adgm-2-marginalize]" in shown
    assert not [case for case in shown if "streamed" in case]
    assert "test_speedup[adgm-2-gumbel-softmax-bound]" in shown
    assert "test_speedup[adgm-2-marginalize-bound]" not in shown


@pytest.mark.usefixtures("undrawn")
def test_a_killed_run_keeps_what_it_had(tmp_path):
    process = subprocess.Popen(
        command(tmp_path, "--classes", "2,3", "--dataset", "synthetic", "--benchmark-autosave"),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    store = tmp_path / "store" / "records"
    while time.monotonic() < deadline:
        files = list(store.glob("*.jsonl"))
        if files and len(files[0].read_text().splitlines()) >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run ended, or had written nothing within 120 s"
    assert len(records(tmp_path)) >= 3
    assert not list((tmp_path / "store").glob("*/*.json"))
    assert "K" in report(tmp_path)


def test_what_does_not_fit_is_recorded_and_the_run_goes_on(bench, tmp_path):
    options = ["--classes", "2,1200", "--dataset", "synthetic", "--batch", "20", "--memory-limit", "150MB"]
    which = ["--estimators", "marginalize,marginalize-streamed,gumbel-softmax", "-k", "test_step"]
    run = bench(*options, *which, "--benchmark-autosave")
    assert run.ret == 0, run.stdout[-3000:]
    by_case = {r["case"]: r for r in records(tmp_path)}
    large = by_case["test_step[adgm-1200-marginalize]"]
    assert large["status"] == "too-large"
    assert large["estimate_bytes"] > large["memory_limit_bytes"] == 150_000_000
    assert by_case["test_step[adgm-1200-gumbel-softmax]"]["status"] == "ok"
    assert by_case["test_step[adgm-1200-marginalize-streamed]"]["status"] == "ok"
    (saved,) = (tmp_path / "store").glob("*/*.json")
    assert large in json.loads(saved.read_text())["gsbench_records"]


def test_what_may_not_fit_is_tried_in_a_child_first(bench, tmp_path):
    # The estimate, 133 MB, is within the limit; the process, with the libraries it imports some 200 MB, is not.
    options = ["--classes", "150", "--dataset", "synthetic", "--batch", "100", "--memory-limit", "150MB"]
    run = bench(*options, "--estimators", "marginalize", "-k", "test_bound")
    assert run.ret == 0, run.stdout[-3000:]
    (only,) = records(tmp_path)
    assert only["status"] == "out-of-memory"
    assert "a fresh process held" in only["reason"]


def test_a_skipped_case_says_why(bench, tmp_path):
    run = bench("--classes", "2", "--dataset", "synthetic", "-k", "test_accuracy and labels")
    assert run.ret == 0, run.stdout[-3000:]
    (only,) = records(tmp_path)
    assert only["status"] == "skipped"
    assert "labels of synthetic data are random" in only["reason"]


def test_a_failed_case_is_recorded(bench, tmp_path, monkeypatch):
    def broken(self):
        raise RuntimeError("it broke")

    monkeypatch.setattr(Case, "bound", broken)
    options = ["--classes", "2", "--dataset", "synthetic", "--estimators", "marginalize", "-k", "test_bound"]
    run = bench(*options)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    (only,) = records(tmp_path)
    assert only["status"] == "failed"
    assert only["reason"] == "RuntimeError: it broke"


def test_an_accuracy_run_that_diverges_is_recorded_with_its_curve(bench, tmp_path, monkeypatch):
    advance = Training.advance
    monkeypatch.setattr(Training, "advance", lambda self: np.nan * advance(self))
    run = bench("--classes", "2", "--estimators", "marginalize", "-k", "test_accuracy and not labels-only")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    (record,) = records(tmp_path)
    assert (record["status"], record["reason"]) == ("diverged", "the loss is nan at step 1")
    assert (record["step"], record["curve_step"]) == (1, [0])


def test_damaged_data_is_refused_before_anything_runs(bench, tmp_path):
    damaged = tmp_path / "data" / "mnist"
    damaged.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (damaged / f"{name}-ubyte").write_bytes(b"\0\0\x08\x03")
    run = bench("--classes", "2", "--dataset", "mnist", "--data-dir", str(tmp_path / "data"))
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "train-images-idx3-ubyte" in run.stderr
    assert not (tmp_path / "store" / "records").exists()


def test_warnings_and_an_empty_save_do_not_end_a_run_in_errors(tmp_path, monkeypatch):
    monkeypatch.setenv("GSBENCH_CACHE", "/proc/nowhere")  # cannot be written: the data set is made, with a warning
    options = ["--classes", "2", "--dataset", "glyphs", "--memory-limit", "1MB", "-k", "test_step"]
    run = in_a_process(tmp_path, *options, "--benchmark-autosave")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert "Traceback" not in run.stdout + run.stderr
    assert {r["status"] for r in records(tmp_path)} == {"too-large"}


def test_records_lie_beside_the_saved_files_however_the_storage_is_spelled(bench, tmp_path):
    options = [f"--benchmark-storage={tmp_path}/elsewhere", "--classes", "2", "--dataset", "synthetic"]
    run = bench(*options, "-k", "test_bound and marginalize")
    assert run.ret == 0, run.stdout[-3000:]
    assert list((tmp_path / "elsewhere" / "records").glob("*.jsonl"))


def test_a_storage_that_cannot_be_written_is_refused_before_anything_runs(bench, tmp_path):
    (tmp_path / "file").write_text("")
    run = bench(f"--benchmark-storage=file://{tmp_path}/file/store", "--classes", "2")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "cannot" in run.stderr or "Not a directory" in run.stderr


def test_more_labels_than_a_class_has_are_refused_before_anything_runs(bench, tmp_path):
    run = bench("--classes", "2,5", "--dataset", "synthetic", "--labels", "999999")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "999999" in run.stderr
    assert not (tmp_path / "store" / "records").exists()


# pytest-benchmark's own options

ONE = ["--classes", "2", "--dataset", "synthetic", "--estimators", "marginalize", "-k", "test_bound"]
TITLE = "benchmark 'bound adgm K=2'"


def saved(tmp_path):
    """What pytest-benchmark saved, and in which file."""
    (file,) = (tmp_path / "store").glob("*/*.json")
    return json.loads(file.read_text()), file


@pytest.fixture(scope="module")
def first():
    """What the first test that needs a saved session saves, for all of them: its path in the storage, and its text."""
    return {}


@pytest.fixture
def compare(bench, tmp_path, first):
    """`compare(change, *options)`: a session that is held against a saved one, after `change(content)` of that."""
    store = tmp_path / "store"
    if not first:
        assert bench(*ONE, "--benchmark-save=first").ret == 0
        file = saved(tmp_path)[1]
        first.update(path=file.relative_to(store), text=file.read_text())

    def run(change, *options):
        content = json.loads(first["text"])
        (store / first["path"]).parent.mkdir(parents=True, exist_ok=True)
        (store / first["path"]).write_text(change(content) or json.dumps(content))
        return bench(*ONE, *options)

    return run


@pytest.mark.parametrize("which", ["--benchmark-compare", "--benchmark-compare=0001"])
def test_a_session_is_compared_with_a_saved_one(compare, which):
    run = compare(lambda content: None, which)
    assert run.ret == 0, run.stdout[-3000:] + run.stderr
    assert "(0001_first)" in run.stdout
    assert "(NOW)" in run.stdout
    assert "at a glance" in run.stdout


def test_a_saved_session_knows_the_machine_as_the_one_that_compares_does(compare, monkeypatch):
    asked = []
    monkeypatch.setattr(saving, "tell_other_machine", lambda session, *machines: asked.append(machines))

    def elsewhere(content):
        content["machine_info"]["node"] = "elsewhere"

    assert compare(elsewhere, "--benchmark-compare").ret == 0
    ((now, then),) = asked
    assert now["gsbench"] == then["machine_info"]["gsbench"]
    assert now["gsbench"]["machine_blas_threads"] == 1
    assert "gsbench_commit" not in now["gsbench"]


def test_a_session_of_another_machine_is_compared_with_a_warning(compare, tmp_path):
    def elsewhere(content):
        content["machine_info"].update(node="elsewhere", more=1)

    # A storage in a folder that is not below the working one, as here, is where pytest-benchmark's own warning fails.
    with pytest.warns(UserWarning, match=rf"is different from the saved one, in .*more, node \(location: {tmp_path}/"):
        run = compare(elsewhere, "--benchmark-compare")
    assert run.ret == 0, run.stdout[-3000:] + run.stderr


@pytest.mark.parametrize(("seconds", "fails"), [(1e-9, True), (1e9, False)])
def test_a_session_that_is_slower_fails_and_shows_what_it_measured(compare, seconds, fails):
    def other_time(content):
        content["benchmarks"][0]["stats"]["min"] = seconds

    run = compare(other_time, "--benchmark-compare", "--benchmark-compare-fail=min:5%")
    assert (run.ret != 0) == fails
    assert ("Performance has regressed" in run.stdout + run.stderr) == fails
    assert TITLE in run.stdout
    assert "Records, as they came" in run.stdout


def test_a_damaged_saved_session_is_a_warning(compare):
    with pytest.warns(PytestBenchmarkWarning) as warned:
        assert compare(lambda content: "{", "--benchmark-compare").ret == 0
    assert [str(one.message).split()[0] for one in warned] == ["Failed", "Can't"]  # be loaded, be compared


def test_a_histogram_is_drawn(bench, tmp_path):
    pytest.importorskip("pygal", reason="pytest-benchmark's histograms need pygal")
    run = bench(*ONE, f"--benchmark-histogram={tmp_path}/folder/histogram")
    assert run.ret == 0, run.stdout[-3000:]
    (drawn,) = (tmp_path / "folder").glob("histogram-*.svg")
    assert "test_bound[adgm-2-marginalize]" in drawn.read_text()


def test_a_histogram_without_its_library_is_refused_before_anything_runs(bench, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygal", None)
    run = bench(*ONE, "--benchmark-histogram=x")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "--benchmark-histogram needs pygal: pip install 'pytest-benchmark[histogram]'" in run.stderr
    assert not (tmp_path / "store" / "records").exists()


def test_json_and_saved_data_have_the_rounds_and_the_records(bench, tmp_path):
    run = bench(*ONE, f"--benchmark-json={tmp_path}/all.json", "--benchmark-save=named", "--benchmark-save-data")
    assert run.ret == 0, run.stdout[-3000:]
    content, file = saved(tmp_path)
    assert file.name == "0001_named.json"
    for one in (content, json.loads((tmp_path / "all.json").read_text())):
        (benchmark,) = one["benchmarks"]
        assert len(benchmark["stats"]["data"]) == benchmark["stats"]["rounds"] >= 3
        assert one["gsbench_records"] == records(tmp_path)


def test_tables_have_the_columns_order_and_groups_that_were_asked_for(bench):
    shown = ["--benchmark-columns=median,rounds", "--benchmark-sort=name", "--benchmark-group-by=param:model,func"]
    run = bench(*ONE, *shown, "--benchmark-name=short")
    assert run.ret == 0, run.stdout[-3000:]
    assert "benchmark 'model=adgm test_bound': 1 tests" in run.stdout
    assert re.search(r"Name \(time in .*s\) +Median +Rounds\n", run.stdout)
    assert re.search(r"\nbound\[adgm-2-marginalize\] ", run.stdout)


@pytest.fixture
def calls(monkeypatch):
    """How often a bound was computed, in a list."""
    bound, counted = Case.bound, []

    def counting(self):
        counted.append(self.settings.estimator)
        return bound(self)

    monkeypatch.setattr(Case, "bound", counting)
    return counted


def test_disabled_a_case_is_called_once_and_not_timed(bench, tmp_path, calls):
    options = ["--classes", "2", "--dataset", "synthetic", "--estimators", "marginalize,gumbel-softmax"]
    which = ["-k", "test_bound and gumbel or speedup and bound and gumbel or roofline and bound and gumbel"]
    run = bench(*options, *which, "--benchmark-disable")
    assert run.ret == 0, run.stdout[-3000:]
    found = {r["group"]: r for r in records(tmp_path)}
    assert set(found) == {"bound", "speedup", "roofline"}
    assert {r["reason"] for r in found.values()} == {"timing is disabled (--benchmark-disable)"}
    assert {r["status"] for r in found.values()} == {"skipped"}
    assert sorted(calls) == ["gumbel-softmax"] * 3 + ["marginalize-streamed"]


def test_benchmarks_can_be_left_out_or_run_alone(bench, tmp_path, calls):
    run = bench(*ONE, "--benchmark-skip")
    assert (run.ret, calls) == (0, [])
    assert "1 skipped" in run.stdout
    assert not list((tmp_path / "store" / "records").glob("*"))
    assert bench(*ONE, "--benchmark-only").ret == 0
    assert [r["status"] for r in records(tmp_path)] == ["ok"]


def test_what_a_profiler_slows_down_is_no_measurement(bench, tmp_path):
    which = ["--estimators", "gumbel-softmax", "-k", "test_speedup and bound", "--benchmark-save=a"]
    run = bench("--classes", "2", "--dataset", "synthetic", *which, "--benchmark-cprofile=tottime")
    assert run.ret == 0, run.stdout[-3000:]
    (benchmark,) = saved(tmp_path)[0]["benchmarks"]
    (record,) = records(tmp_path)
    assert record["pairs"] == benchmark["stats"]["rounds"] >= 3
    assert "cProfile (time in s)" in run.stdout


def test_a_profiler_gets_calls_of_its_own():
    made = []

    def pedantic(call, rounds):  # as pytest-benchmark does, with two loops of the profiler
        return [call() for _ in range(rounds + 2)][rounds - 1]

    def measured():
        made.append("measured")
        return len(made)

    last = timing.take_rounds(SimpleNamespace(pedantic=pedantic), measured, 3, spare=lambda: made.append("profiled"))
    assert last == 3
    assert made == ["measured"] * 3 + ["profiled"] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--benchmark-compare-fail=min:5%"], "--benchmark-compare-fail needs --benchmark-compare, and a saved"),
        (["--benchmark-compare", "--benchmark-compare-fail=min:5%"], "a saved session that it finds in"),
        (["--benchmark-json=/nowhere/x.json"], "'/nowhere/x.json'"),
        (["--benchmark-json=docs"], "'docs'"),
        (["--benchmark-group-by=estimator"], "fullname, fullfunc, param or param:NAME, got 'estimator'"),
        (
            ["--benchmark-group-by=func,param:candidate"],
            "test_bound[adgm-2-marginalize] has no parameter 'candidate', it has model, n_classes, estimator",
        ),
    ],
)
def test_what_pytest_benchmark_cannot_do_is_refused_before_anything_runs(bench, tmp_path, options, message):
    run = bench(*ONE, *options)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert message in run.stderr
    assert not (tmp_path / "store" / "records").exists()


def test_without_assertions_the_benchmark_runs(tmp_path):
    """pytest warns under python -O before it reads bench/conftest.py, and warnings are errors in our tests."""
    done = in_a_process(tmp_path, *ONE, "--benchmark-disable", python=["-O"])
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "1 skipped" in done.stdout


# A session that is stopped, or whose disk is full


def test_ctrl_c_within_a_case_saves_what_was_measured(bench, tmp_path, monkeypatch):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("gsbench.meters.measure.live_peak", stopped)
    which = ["-k", "test_bound or test_memory", f"--benchmark-json={tmp_path}/all.json", "--benchmark-autosave"]
    run = bench(*ONE[:-2], *which)
    assert run.ret == pytest.ExitCode.INTERRUPTED
    assert "Traceback" not in run.stdout + run.stderr
    measured = records(tmp_path)
    assert [r["group"] for r in measured] == ["bound"]
    for content in (saved(tmp_path)[0], json.loads((tmp_path / "all.json").read_text())):
        assert [benchmark["group"] for benchmark in content["benchmarks"]] == ["bound adgm K=2"]
        assert content["gsbench_records"] == measured
    assert TITLE in run.stdout
    assert f"gsbench report {tmp_path}/store/records" in run.stdout


def full_disk(monkeypatch, times):
    """The first so many attempts to write records fail."""
    write, tried = gsbench.records.record._append_whole, []

    def full(path, lines):
        tried.append(path)
        if len(tried) <= times:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, lines)

    monkeypatch.setattr("gsbench.records.record._append_whole", full)


TWO = ["--classes", "2", "--dataset", "synthetic", "--estimators", "marginalize,gumbel-softmax", "-k", "test_bound"]


def test_a_disk_that_is_full_for_a_moment_costs_nothing(bench, tmp_path, monkeypatch):
    full_disk(monkeypatch, 1)
    run = bench(*TWO)
    assert run.ret == 0
    first, second = (line for line in run.stdout.splitlines() if line.startswith("bench/test_bound.py::"))
    assert "records cannot be written: [Errno 28] No space left on device" in first
    assert "cannot be written" not in second
    assert [r["estimator"] for r in records(tmp_path)] == ["marginalize", "gumbel-softmax"]


def test_a_disk_that_stays_full_ends_nothing_and_the_records_stand_on_the_terminal(bench, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    full_disk(monkeypatch, 10**9)
    monkeypatch.setattr("pytest_benchmark.storage.file.FileStorage.save", full)
    run = bench(*TWO, "--benchmark-autosave")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert "Traceback" not in run.stdout + run.stderr
    assert "2 passed" in run.stdout
    assert TITLE in run.stdout
    assert "pytest-benchmark's own file could not be written whole: [Errno 28]" in run.stdout
    assert "2 records could not be written to" in run.stdout
    assert "Records, as they came" not in run.stdout
    told = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert [r["estimator"] for r in told] == ["marginalize", "gumbel-softmax"]
    assert not list((tmp_path / "store" / "records").glob("*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "1"], "class counts are integers >= 2 such as 10,50,333, got '1'"),
        (["--classes", "ten"], "class counts are integers >= 2"),
        (["--classes", ""], "class counts are integers >= 2"),
        (["--classes", "1201"], "data set 'glyphs' has 1200 classes, got 1201; --dataset synthetic"),
        (["--dataset", "mnist", "--classes", "11"], "data set 'mnist' has 10 classes, got 11"),
        (["--dataset", "minst"], "unknown --dataset 'minst'; known: glyphs, mnist, fashion-mnist"),
        (["--dataset", "minst"], "; did you mean 'mnist'?"),
        (["--data-dir", "/nonexistent", "--dataset", "omniglot"], "/nonexistent"),
        (["--estimators", "gumble"], "unknown estimator 'gumble'; known: marginalize"),
        (["--estimators", "gumbel-softmax(tau=0)"], "tau must be >= 1e-10"),
        (
            ["--estimators", "gumbel-softmax(temperature=1)"],
            "has no setting 'temperature=1'; settings: tau, draws",
        ),
        (["--estimators", ""], "no estimator in ''"),
        (["--models", "vae"], "unknown model 'vae'; known: adgm, m2"),
        (["--preset", "huge"], "unknown --preset 'huge'; known: default, small, blog"),
        (["--batch", "0"], "--batch must be >= 1, got 0"),
        (["--n-mc", "1.5"], "argument --n-mc: must be an integer, got '1.5'"),
        (["--labels", "-3"], "--labels must be >= 1, got -3"),
        (["--dtype", "float8"], "unknown --dtype 'float8'; known: float32, float64, bfloat16, float16, tf32"),
        (["--dtype", "float16"], "--dtype must be one of float32, float64 for backend chainer on device 'cpu'"),
        (["--device", "tpu"], "unknown --device 'tpu'; allowed: cpu, cuda:N"),
        (["--threads", "0"], "--threads must be >= 1, got 0"),
        (["--threads", "9999"], "--threads must be <="),
        (["--seed", "-1"], "--seed must be >= 0, got -1"),
        (["--drop-x", "1"], "--drop-x must be >= 0 and < 1, got 1.0"),
        (["--norm", "layer"], "unknown --norm 'layer'; known: none, batch"),
        (["--estimators", "marginalize-streamed", "--norm", "batch"], "use marginalize, or norm='none'"),
        (["--peers", "plain-chainer", "--drop-x", "0.2"], "n_mc 1, preset default, drop_x 0.2"),
        (
            ["--memory-limit", "lots"],
            "must be a size of at least 1MB, such as 500MB, 8GiB or 8000000000, got 'lots'",
        ),
        (["--memory-limit", "8"], "must be a size of at least 1MB"),
        (["--binarize", "static"], "unknown --binarize 'static'; known: dynamic, none"),
        (["--accuracy-seconds", "0"], "argument --accuracy-seconds: must be a number > 0 and <= 1000000000, got '0'"),
        (["--accuracy-preset", "tiny"], "argument --accuracy-preset: unknown preset 'tiny'; known: default, small"),
        (["--peers", "jax"], "unknown peer 'jax'; known: plain-chainer, plain-torch, split-torch, plain-jax, pyro-"),
        (["--peers", "pyro-parallel", "--estimators", "gumbel-softmax"], "--peers pyro-parallel do none of"),
        (["--chunks", "0"], "chunk sizes are integers >= 1 such as 1,10,100, got '0'"),
        (["--chunks", ""], "chunk sizes are integers >= 1"),
        (["--chunks", "11,50", "--classes", "5,10"], "11,50 are larger than every class count; the largest is 10"),
        (["--chunks", "2", "--preset", "blog"], "marginalize-streamed needs rows that do not interact"),
        (["--estimators", "marginalize-streamed", "--preset", "blog"], "use marginalize, or norm='none'"),
        (["--estimators", "marginalize-streamed", "--accuracy-preset", "blog"], "use marginalize, or norm='none'"),
        (["--estimators", "marginalize-streamed(chunk=0)"], "chunk must be an integer >= 1, or None for a default"),
        (["--gradient-draws", "50"], "must be a multiple of 20, 40 at least, got '50'"),
        (["--gradient-draws", "20"], "must be an integer >= 40, got '20'"),
        (["--classes", "１０"], "class counts are integers >= 2 such as 10,50,333, got '１０'"),
        (["--classes", "10,"], "class counts are integers >= 2 such as 10,50,333, got '10,'"),
        (["--batch", "1_0"], "argument --batch: must be an integer, got '1_0'"),
        (["--batch", "9" * 400], "must be an integer <= 9223372036854775807, got '9999"),
        (["--memory-limit", "9" * 400], "must be a size of at least 1MB and at most 8EiB, such as 500MB"),
        (["--accuracy-seconds", "nan"], "must be a number > 0 and <= 1000000000, got 'nan'"),
        (["--estimators", f"gumbel-softmax(tau={'-' * 3000}1)"], "tau must be >= 1e-10 and finite, got '---"),
        (["--estimators", "gumbel-softmax(tau=0.5,tau=2)"], "tau must be given once, got it twice"),
        (["--estimators", "gumbel-sofmax"], "; did you mean 'gumbel-softmax'?"),
        (["--peers", "plain_torch"], "; did you mean 'plain-torch'?"),
        (["--data-dir", "~nosuchuser/x"], "--data-dir or data_dir '~nosuchuser/x' cannot be used: "),
        (["--data-dir", ""], "argument --data-dir: must be the name of a file or folder, got ''"),
        (["--gradient-steps", "0"], "must be an integer >= 1, got '0'"),
        (["--roofline", "memory"], "unknown part 'memory'; known: bound, step"),
        (["--peers", "plain-chainer", "--preset", "blog"], "--peers are written for --models adgm"),
        (["--peers", "plain-chainer", "--models", "m2"], "got models m2, device cpu"),
        (["--benchmark-timer", "time.process_time"], "--benchmark-timer is time.perf_counter here, which is wall time"),
        (["--benchmark-timer", "time.thread_time"], "too, got time.thread_time; leave the option out"),
        (["--benchmark-timer", "time.perf_counter_ns"], "got time.perf_counter_ns"),  # 10⁹ times the seconds
        (["--benchmark-timer", "time.time"], "got time.time"),  # steps when the machine's time is set
    ],
    ids=lambda value: "-".join(value)[:40] if isinstance(value, list) else "",
)
def test_a_bad_option_is_refused(parsed, options, message):
    with pytest.raises(pytest.UsageError) as refused:
        configured(parsed(*options))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch", "1_0"], "argument --batch: must be an integer, got '1_0'"),  # by the parser
        (["--dataset", "minst"], "; did you mean 'mnist'?"),  # by what reads the options
        (["--benchmark-timer", "time.time"], "got time.time"),  # checked with pytest-benchmark's options
    ],
)
def test_a_bad_option_ends_a_session_before_anything_runs(collect, options, message):
    out = collect(*options)
    assert out.ret == pytest.ExitCode.USAGE_ERROR
    assert message in out.stdout + out.stderr


def test_the_clock_of_pairs_may_be_named(collect):
    assert collect("--benchmark-timer", "timeit.default_timer", "--classes", "2").ret == pytest.ExitCode.OK


CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
          "process_time_ns", "thread_time", "thread_time_ns", "clock_gettime"}  # fmt: skip
# These wait for something else, or tell how much longer it takes: no second of theirs is in a record.
NOT_MEASURING = {"gsbench/meters/child.py", "gsbench/cli/sweep.py", "gsbench/runs/sweep.py"}


@pytest.mark.parametrize(
    "path", [p.relative_to(ROOT).as_posix() for folder in ("bench", "gsbench") for p in (ROOT / folder).rglob("*.py")]
)
def test_all_that_is_measured_is_by_the_clock_of_the_records(path):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = {
        f"time.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time"
        if node.attr in CLOCKS
    }
    assert path in NOT_MEASURING or found <= {CLOCK}
    assert not any(isinstance(node, ast.ImportFrom) and node.module == "time" for node in ast.walk(tree))


TOO_LARGE = ["--batch", str(2**63 - 1), "--classes", "2", "--estimators", "marginalize"]


@pytest.mark.parametrize(("encoding", "dash"), [("ascii", b"-"), ("cp1252", b"\x96")])
def test_the_summary_is_readable_where_the_terminal_has_no_unicode(tmp_path, monkeypatch, encoding, dash):
    """A run in which nothing is measured, whose table has a dash for what there is none of."""
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    run = [*command(tmp_path, *TOO_LARGE)[3:], "-k", "step or accuracy or roofline"]
    helped_first = "print('ended with', int(pytest.main(['bench/', '--help'])), flush=True)"
    started = [sys.executable, "-c", f"import pytest, sys; {helped_first}; sys.exit(pytest.main({run}))"]
    done = subprocess.run(started, cwd=ROOT, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout
    helped, shown = done.stdout.split(b"ended with 0")
    table = shown.split(b"at a glance")[1]
    assert b"too large (" in table
    assert re.search(rb" " + re.escape(dash) + rb"\s", table)  # what was not measured
    assert b"\\u" not in done.stdout
    assert b"--estimators=NAME,..." in helped.replace(b"\x85", b"...")


def test_a_batch_that_nothing_can_hold_is_refused_of_every_case(bench, tmp_path):
    """Of the training runs on the labels alone, too, whose estimate has a minibatch and a classifier."""
    run = bench(*TOO_LARGE, "-k", "accuracy")
    assert run.ret == 0, run.stdout
    statuses = {record["estimator"]: record["status"] for record in records(tmp_path)}
    assert statuses == {"marginalize": "too-large", "labels-only": "too-large"}


@pytest.mark.skipif(cuda_problem() is None, reason="this machine has a usable CUDA device")
def test_cuda_without_a_card_is_a_clear_error(collect):
    out = collect("--device", "cuda:0")
    assert out.ret == pytest.ExitCode.USAGE_ERROR
    assert "--device 'cuda:0' cannot be used" in out.stderr
    assert "allowed here: cpu" in out.stderr


def test_every_option_has_help(session):
    shown = session("--help").stdout
    names = (
        "classes estimators models preset dataset data-dir batch n-mc labels binarize dtype backend device threads "
        "seed memory-limit accuracy-seconds accuracy-preset gradient-draws gradient-steps roofline chunks peers"
    )
    for option in (*names.split(), *(name.replace("_", "-") for name in NETWORKS)):
        assert f"  --{option}=" in shown, option


def test_networks_of_a_session_are_the_preset_s_with_changes(bench, tmp_path):
    run = bench(*ONE, "--preset", "small", "--drop-x", "0.1", "--units", "24", "--log-var-limits=-4.5,2")
    assert run.ret == 0, run.stdout[-3000:]
    (record,) = records(tmp_path)
    assert (record["preset"], record["drop_x"], record["units"], record["d_a"]) == ("small", 0.1, 24, 16)
    assert record["log_var_limits"] == [-4.5, 2.0]


def test_default_class_counts_are_cut_to_the_data_set(collect):
    shown = cases(collect("--dataset", "mnist", "-q", "-k", "test_step"))
    assert "test_step[adgm-10-marginalize]" in shown
    assert "test_step[adgm-20-marginalize]" not in shown


def test_a_chunk_is_measured_where_there_are_as_many_classes(collect):
    shown = cases(collect("--classes", "4,30", "--chunks", "30,1,4,5", "-q", "-k", "test_chunk"))
    ends = ["4-1", "4-4", "30-1", "30-4", "30-5", "30-30"]
    assert shown == [f"test_chunk[adgm-{end}]" for end in ends]


def test_class_counts_come_small_ones_first(collect):
    order = [30 if "30" in case else 4 for case in cases(collect("--classes", "30,4", "-q"))]
    assert order == sorted(order)
    assert set(order) == {4, 30}


@pytest.mark.skipif("GSBENCH_DATA" not in os.environ, reason="GSBENCH_DATA names no folder with the real MNIST")
def test_the_real_mnist_runs(bench, tmp_path):
    run = bench("--dataset", "mnist", "--batch", "50", "--accuracy-seconds", "3", "-k", "test_accuracy")
    assert run.ret == 0, run.stdout[-3000:]
    accuracies = {r["estimator"]: r["validation_accuracy"] for r in records(tmp_path)}
    assert all(accuracy > 0.5 for accuracy in accuracies.values()), accuracies
