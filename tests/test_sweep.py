"""Grids of runs and their order. A sweep makes, skips and records the right runs, also after failures."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import gsbench
from gsbench.backends import load_backend
from gsbench.cli import main
from gsbench.cli import sweep as command
from gsbench.process import SIGNALS, _end_at_once
from gsbench.records.record import Record
from gsbench.runs import Store, cluster, run_training, sweep
from gsbench.runs.cluster import check_workers
from gsbench.runs.grid import make_runs, read_grids
from gsbench.runs.sweep import run_sweep
from gsbench.settings.run import make_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("loaded_once", "unmetered")]

# The smallest runs there are.
TINY = {
    "preset": "small",
    "n_classes": 2,
    "batch": 10,
    "labelled_per_class": 2,
    "steps": 3,
    "evaluate_every": 2,
    "validation_images": 20,
    "test_draws": 1,
    "threads": 1,
}
OPTIONS = ["--preset", "small", "--batch", "10", "--labels", "2", "--evaluate-every", "2", "--validation-images", "20",
           "--test-draws", "1", "--threads", "1"]  # fmt: skip
PATIENCE = 300  # seconds for processes to start on a machine that has much else to do
# What a run has from its settings alone, whoever made it and however often it was taken up.
RESULTS = ("status", "step", "curve_step", "curve_accuracy", "curve_loss", "test_accuracy", "parameters_checksum")


def results(record):
    return {name: record[name] for name in RESULTS}


def tiny(**options):
    return make_run({"dataset": "glyphs", **TINY, **options})


# Grids


def test_a_grid_is_every_combination_seed_by_seed_with_small_class_counts_first():
    grid = {
        **TINY,
        "seed": [1, 0],
        "estimator": ["marginalize", "gumbel-softmax", "labels-only"],
        "n_classes": [10, 3],
        "steps": [5, 4],
    }
    runs = make_runs([grid])
    made = [(run.case.seed, run.case.n_classes, run.estimator, run.steps) for run in runs]
    estimators = ("marginalize", "gumbel-softmax", "labels-only")
    assert sorted(made) == sorted(itertools.product((0, 1), (3, 10), estimators, (4, 5)))
    assert [one[:2] for one in made] == [pair for pair in ((0, 3), (0, 10), (1, 3), (1, 10)) for _ in range(6)]


def test_any_setting_can_be_an_axis():
    grid = {**TINY, "preset": ["small", "default"], "alpha": [1.0, 10.0], "model": ["adgm", "m2"]}
    made = {(run.case.preset, run.recipe.alpha, run.case.model) for run in make_runs([grid])}
    assert made == set(itertools.product(("small", "default"), (1.0, 10.0), ("adgm", "m2")))


def test_a_run_that_several_grids_have_is_made_once():
    first = {**TINY, "seed": [0, 1], "estimator": "gumbel-softmax"}
    again = {**TINY, "seed": [1, 2], "estimator": "gumbel-softmax(tau=1.0)"}  # another spelling of the same
    assert [run.case.seed for run in make_runs([first, again])] == [0, 1, 2]


def test_a_data_set_has_its_own_class_count_where_none_is_named():
    grid = {name: value for name, value in TINY.items() if name != "n_classes"}
    (run,) = make_runs([{**grid, "dataset": "mnist"}])
    assert (run.case.dataset, run.case.n_classes) == ("mnist", 10)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_toml_file_has_a_grid_and_further_ones(tmp_path):
    path = write(
        tmp_path / "grid.toml",
        """
        [grid]
        preset = "small"
        n_classes = [3, 2]
        estimator = ["marginalize-streamed", "sum-and-sample(m=2)"]
        [[also]]
        estimator = "labels-only"
        seed = [0, 1]
        [[also]]
        dataset = "mnist"
        n_classes = 10
        estimator = "gumbel-softmax"
        """,
    )
    runs = make_runs(read_grids(path))
    made = [(run.case.dataset, run.case.n_classes, run.estimator.partition("(")[0], run.case.seed) for run in runs]
    assert len(made) == 9
    assert set(made) == {
        *(("glyphs", k, name, 0) for k in (2, 3) for name in ("marginalize-streamed", "sum-and-sample", "labels-only")),
        *(("glyphs", k, "labels-only", 1) for k in (2, 3)),
        ("mnist", 10, "gumbel-softmax", 0),
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[grid]\nn_classes = [1,", "grid.toml is no TOML file"),
        ("[gird]\nseed = 1", r"has 'gird'; allowed are a list plugins, a table \[grid\] and tables"),
        ("[also]\nseed = 1", r"grid must be a table \[grid\], also tables \[\[also\]\]"),
        (f"[grid]\nseed = {'[' * 5000}{']' * 5000}", "grid.toml is nested too deeply to be read; allowed are lists of"),
    ],
)
def test_a_file_that_is_no_grid_is_refused(tmp_path, text, why):
    with pytest.raises(ValueError, match=why):
        read_grids(write(tmp_path / "grid.toml", text))


def test_a_grid_that_is_not_there_or_cannot_be_read_is_named(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"^no such file: .*nofile\.toml; a grid is a TOML file with a table"):
        read_grids(tmp_path / "nofile.toml")
    with pytest.raises(ValueError, match=r"^cannot read .*: Is a directory$"):
        read_grids(tmp_path)
    assert main(["sweep", str(tmp_path / "no\x1bfile.toml")]) == 2
    assert "error: no such file: " in (told := capsys.readouterr().err)
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"estimators": "marginalize"}, "unknown setting 'estimators'; known: .*estimator"),
        ({"estimator": ["marginalize", "summ"]}, "unknown estimator 'summ'; known: .*marginalize"),
        ({"dataset": "letters"}, "unknown dataset 'letters'; known: .*glyphs"),
        ({"preset": "tiny"}, "unknown preset 'tiny'; known: .*small"),
        ({"n_classes": [2, 10**6]}, "data set 'glyphs' has .* classes, got 1000000"),
        ({"preset": "blog", "estimator": "marginalize-streamed"}, "rows that do not interact, .* use marginalize"),
        ({"dataset": "synthetic"}, "labels of data set 'synthetic' are random"),
        ({"seed": []}, "seed needs at least one value, got none"),
        ({"seed": [0, "1"]}, "seed must be an integer >= 0, got '1'"),
        ({"n_classes": 2.0}, "n_classes must be an integer >= 2, got 2.0"),
        ({"steps": True}, "steps must be an integer >= 1, got True"),
        ({"weight_prior": 1}, "weight_prior must be true or false, got 1"),
        ({"learning_rate": "fast"}, "learning_rate must be a finite number > 0, got 'fast'"),
        ({"dataset": {"name": "glyphs"}}, "unknown dataset {'name': 'glyphs'}; known: glyphs"),
    ],
)
def test_a_grid_with_a_run_that_cannot_be_made_is_refused_at_once(changes, why):
    with pytest.raises(ValueError, match=why):
        make_runs([{**TINY, **changes}])


# The command, as far as it goes without a cluster


def keys_of(capsys):
    return [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()]


def test_options_make_a_grid_and_a_dry_run_lists_it(tmp_path, capsys):
    asked = ["--classes", "3,2", "--seeds", "0,1", "--steps", "4,5"]
    asked += ["--estimators", "gumbel-rao(tau=0.5,conditional_draws=4),labels-only"]
    assert main(["sweep", *OPTIONS, *asked, "--runs", str(tmp_path / "store"), "--dry-run"]) == 0
    grid = {**TINY, "n_classes": [2, 3], "seed": [0, 1], "steps": [4, 5]}
    expected = make_runs([{**grid, "estimator": ["gumbel-rao(tau=0.5, conditional_draws=4)", "labels-only"]}])
    assert set(keys_of(capsys)) == {run.key for run in expected}
    assert not (tmp_path / "store").exists()


def test_every_option_of_a_run_takes_several_values(tmp_path, capsys):
    asked = ["--classes", "2", "--drop-x", "0,0.2", "--batch", "10,20", "--runs", str(tmp_path)]
    pair = "--log-var-limits=-4.5,2"  # one value
    assert main(["sweep", "--preset", "small", "--threads", "1", *asked, pair, "--dry-run"]) == 0
    common = {"preset": "small", "n_classes": 2, "threads": 1, "log_var_limits": (-4.5, 2)}
    keys = [make_run({**common, "drop_x": share, "batch": batch}).key for share in (0, 0.2) for batch in (10, 20)]
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"{key}: not begun" for key in keys)


def test_options_take_the_place_of_the_files(tmp_path, capsys):
    path = write(tmp_path / "grid.toml", '[grid]\nseed = [0, 1, 2]\nestimator = "reinmax"\n[[also]]\nn_classes = 3\n')
    assert main(["sweep", str(path), *OPTIONS, "--seeds", "7", "--steps", "3", "--dry-run"]) == 0
    expected = make_runs([{**TINY, "seed": 7, "estimator": "reinmax", "n_classes": [10, 3]}])
    assert keys_of(capsys) == [run.key for run in expected]


def test_presets_and_data_sets_are_axes_of_the_command_too(capsys):
    assert main(["sweep", "--preset", "small,blog", "--dataset", "glyphs,mnist", "--threads", "1", "--dry-run"]) == 0
    grid = {"preset": ["small", "blog"], "dataset": ["glyphs", "mnist"], "threads": 1}
    assert sorted(keys_of(capsys)) == sorted(run.key for run in make_runs([grid]))


def test_a_dry_run_says_which_runs_are_there(tmp_path, capsys):
    Store(tmp_path).write_record(tiny().key, {"status": "diverged"})
    asked = ["--classes", "2", "--steps", "3", "--seeds", "0,1", "--runs", str(tmp_path)]
    assert main(["sweep", *OPTIONS, *asked, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{tiny().key}: diverged", f"{tiny(seed=1).key}: not begun"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--scheduler", ""], "must be the address of a Dask scheduler, such as tcp://host:8786, got ''"),
        (["--seeds", "0,"], "argument --seeds: must be an integer, got ''"),
        (["--classes", "2,0"], "--classes must be >= 2, got 0"),
        (["--estimators", "label-only"], "; did you mean 'labels-only'"),
        (["--device", "tpu"], "unknown --device 'tpu'"),
        (["--workers", "0"], "--workers must be 1 to .*, the cores that this process may use, got 0"),
        (["--classes", "2,x"], "argument --classes: must be an integer, got .x."),
        (["--estimators", "summ"], "unknown estimator 'summ'"),
        (["nowhere.toml"], "nowhere.toml"),
    ],
)
def test_the_command_refuses_in_words(arguments, why, capsys):
    with contextlib.suppress(SystemExit):  # of argparse
        assert main(["sweep", *arguments]) == 2
    assert re.search(why, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "arguments", "told"),
    [
        ("seed = -1", [], "grid.toml: seed must be >= 0, got -1"),
        ("seed = -1", ["--seeds=-2"], "--seeds must be >= 0, got -2"),
        ("n_classes = 1", [], "grid.toml: n_classes must be >= 2, got 1"),
        ("sede = 1", [], "grid.toml: unknown setting 'sede'; known: "),
        ("sede = 1", [], "; did you mean 'seed'?"),
        ("learning_rat = 1", [], "; did you mean 'learning_rate'?"),
        ('preset = "smal"', [], "grid.toml: unknown preset 'smal'; known: default, small, blog"),
        ('dataset = "minst"', [], "grid.toml: unknown dataset 'minst'; known: "),
        ('estimator = "gumbel-sofmax"', [], "grid.toml: estimator: unknown estimator 'gumbel-sofmax'; known: "),
        ('estimator = "gumbel-softmax(tau=1,tau=2)"', [], "tau must be given once, got it twice"),
        ('batch = "1_0"', [], "grid.toml: batch must be an integer >= 1, got '1_0'"),
        ("epochs = inf", [], "grid.toml: epochs must be > 0 and <= 1000000000 and finite, got inf"),
        (f"steps = {'9' * 400}", [], "grid.toml: steps must be >= 1 and <= 9223372036854775807, got 999"),
        (f"alpha = {'9' * 400}", [], "grid.toml: alpha must be >= 0 and <= 9223372036854775807, got 999"),
        (f"steps = {'9' * 5000}", [], "grid.toml has an integer of more than 4,300 digits; allowed are those <= 92233"),
        ("seed = []", [], "grid.toml: seed needs at least one value, got none"),
        ("[gird]", [], "grid.toml has 'gird'; allowed are a list plugins, a table [grid] and tables"),
    ],
)
def test_what_a_file_has_wrong_is_told_with_its_field_and_name(tmp_path, monkeypatch, capsys, text, arguments, told):
    monkeypatch.chdir(tmp_path)
    table = text if text.startswith("[") else f"[grid]\n{text}\n"
    (tmp_path / "grid.toml").write_text(table, encoding="utf-8")
    assert main(["sweep", "grid.toml", "--threads", "1", "--dry-run", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gsbench: error: ")
    assert told in printed.err
    assert len(printed.err) < 1500


def test_a_file_of_an_editor_that_begins_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "grid.toml").write_bytes(b"\xef\xbb\xbf[grid]\r\nseed = [1, 2]\r\n")
    assert read_grids(tmp_path / "grid.toml") == [{"seed": [1, 2]}]


def test_without_distributed_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(["sweep", *OPTIONS, "--classes", "2", "--runs", str(tmp_path)]) == 2
    assert "pip install 'gsbench[sweep]'" in capsys.readouterr().err


def test_the_time_that_is_left_is_by_the_work_that_is_left(monkeypatch):
    sum_of_2, sum_of_9, labels = tiny(steps=100), tiny(steps=100, n_classes=9), tiny(estimator="labels-only", steps=100)
    pace = command.Pace([sum_of_2, sum_of_9, labels])
    assert pace.left() == ""  # nothing is known yet
    pace.started -= 500
    pace.end(sum_of_2)  # 10 + 2 units of work a step in 500 s: 10 + 9 and 10 are left
    assert pace.left() == ", about 20 min left"
    pace.end(sum_of_9)
    pace.end(labels)
    assert pace.left() == ""


# Sweeps, on a worker in this process


@pytest.fixture(scope="module")
def make_client():
    """`make_client(n_workers, **resources)`: a client of a cluster in this process."""
    distributed = pytest.importorskip("distributed", reason="a sweep needs Dask's distributed")
    load_backend("chainer", "cpu", "float32")  # an import within a worker is slow, for Dask profiles its tasks
    with contextlib.ExitStack() as stack:

        def make(n_workers, **resources):
            made = distributed.LocalCluster(
                n_workers=n_workers, threads_per_worker=1, processes=False, resources=resources,
                memory_limit=0, dashboard_address="127.0.0.1:0", scheduler_kwargs={"dashboard": False},
            )  # fmt: skip
            return stack.enter_context(distributed.Client(stack.enter_context(made)))

        yield make


@pytest.fixture(scope="module")
def client(make_client):
    return make_client(1, threads=1)


@pytest.fixture
def at_once(monkeypatch):
    """The sweep looks at the cluster every 0.05 s."""
    monkeypatch.setattr(sweep, "LOOK_SECONDS", 0.05)


class Notes:
    """A watcher that records the calls of a sweep."""

    def __init__(self):
        self.most, self.ended = 0, []

    def look(self, under_way):
        self.most = max(self.most, len(under_way))

    def end(self, settings, record):
        self.ended.append((settings.key, record["status"]))

    def stop(self):
        self.ended.append("stop")


def test_a_sweep_makes_each_run_as_if_it_were_made_alone(tmp_path, client):
    runs = [tiny(), tiny(estimator="gumbel-softmax"), tiny(estimator="labels-only", seed=1)]
    store, notes = Store(tmp_path / "swept"), Notes()
    records = run_sweep(runs, store, client, checkpoint_seconds=0, watcher=notes)
    assert notes.ended == [(run.key, "ok") for run in runs]
    assert notes.most == 1  # the only worker makes one at a time, and no other waits for it
    assert records == [store.record(run.key) for run in runs]
    assert len({record["run_id"] for record in records}) == 1
    alone = [run_training(run, Store(tmp_path / "alone")) for run in runs]
    assert [results(record) for record in records] == [results(record) for record in alone]


def test_finished_runs_are_skipped_and_failures_stop_nothing(tmp_path, client):
    diverged, failing, good = tiny(), tiny(dtype="float16"), tiny(seed=1)
    store, notes = Store(tmp_path), Notes()
    store.write_record(diverged.key, {"status": "diverged", "reason": "long ago"})
    records = run_sweep([diverged, failing, good], store, client, watcher=notes)
    assert notes.ended == [(failing.key, "failed"), (good.key, "ok")]
    assert records[0] == {"status": "diverged", "reason": "long ago"}
    assert records[1]["reason"].startswith("SettingError: dtype must be one of float32, float64 for backend chainer")
    assert records[1]["case"] == failing.key
    assert records[1]["estimator"] == "marginalize"

    again = Notes()
    run_sweep([diverged, failing, good], store, client, watcher=again)
    assert again.ended == [(failing.key, "failed")]  # what failed is tried again


def test_a_run_that_fails_on_its_way_keeps_its_own_record(tmp_path, client, monkeypatch):
    def no_pixels(*arguments, **options):
        raise OSError("no pixels")

    monkeypatch.setattr("gsbench.runs.run.load_dataset", no_pixels)
    (record,) = run_sweep([tiny()], Store(tmp_path), client)
    assert (record["status"], record["reason"]) == ("failed", "OSError: no pixels")
    assert "memory_limit_bytes" in record  # the worker's


def test_an_old_failure_is_not_taken_for_a_new_one(tmp_path, client):
    failing, store = tiny(dtype="float16"), Store(tmp_path)
    store.write_record(failing.key, {"status": "failed", "reason": "long ago"})
    (record,) = run_sweep([failing], store, client)
    assert "float16" in record["reason"]


def test_records_come_from_workers_with_a_file_system_of_their_own(tmp_path, client, monkeypatch):
    make, elsewhere = sweep._make, tmp_path / "elsewhere"

    def make_elsewhere(settings, folder, *rest):
        return make(settings, elsewhere, *rest)

    monkeypatch.setattr(sweep, "_make", make_elsewhere)
    store, runs = Store(tmp_path / "here"), [tiny(), tiny(seed=1)]
    records = run_sweep(runs, store, client)
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert records == [Store(elsewhere).record(run.key) for run in runs]
    assert [len(path.read_text().splitlines()) for path in store.folder.glob("*/record.jsonl")] == [1, 1]


def test_relative_folders_are_the_drivers(tmp_path, client, monkeypatch):
    def make(settings, folder, data_dir, *rest):
        return {"status": "ok", "folders": [str(folder), str(data_dir)]}

    monkeypatch.setattr(sweep, "_make", make)
    monkeypatch.chdir(tmp_path)
    (record,) = run_sweep([tiny()], Store("store"), client, data_dir="data")
    assert record["folders"] == [str(tmp_path / "store"), str(tmp_path / "data")]


class Interrupts(Notes):
    def look(self, under_way):
        raise KeyboardInterrupt


def test_an_interrupted_sweep_stops_with_checkpoints_and_goes_on_from_there(tmp_path, client):
    settings, store, notes = tiny(estimator="gumbel-softmax"), Store(tmp_path / "swept"), Interrupts()
    with pytest.raises(KeyboardInterrupt):
        run_sweep([settings, tiny(seed=1)], store, client, checkpoint_seconds=1e9, watcher=notes)
    assert notes.ended == ["stop"]
    stopped = store.record(settings.key)
    assert (stopped["status"], stopped["reason"], stopped["step"]) == ("unfinished", "stopped", 1)
    assert store.record(tiny(seed=1).key) is None

    (record,) = run_sweep([settings], store, client)
    assert record["resumed"] == 1
    assert results(record) == results(run_training(settings, Store(tmp_path / "alone")))


class Refuses(Notes):
    def look(self, under_way):
        raise AssertionError("the sweep began")


def test_a_run_that_no_worker_can_make_is_refused_before_any_begins(tmp_path, client):
    why = r"asks for card=1 and the workers offer at most 0; .* --resources 'card=1'"
    with pytest.raises(ValueError, match=why):
        run_sweep([tiny(), tiny(device="cuda:0")], Store(tmp_path), client, watcher=Refuses())
    with pytest.raises(ValueError, match="asks for threads=2 and the workers offer at most 1"):
        run_sweep([tiny(threads=2)], Store(tmp_path), client, watcher=Refuses())
    assert list(tmp_path.iterdir()) == []


def test_workers_that_declare_nothing_are_refused(tmp_path, make_client):
    with pytest.raises(ValueError, match=r"asks for threads=1 and the workers offer at most 0; .* dask worker ADDR"):
        run_sweep([tiny()], Store(tmp_path), make_client(1), watcher=Refuses())


def test_a_cluster_without_workers_is_not_waited_for_for_ever(tmp_path, make_client, monkeypatch):
    monkeypatch.setattr(cluster, "WORKERS_SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"the cluster has no worker after 0.2 s"):
        run_sweep([tiny()], Store(tmp_path), make_client(0), watcher=Refuses())


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://127.0.0.1:1", "at 'tcp://127.0.0.1:1': Timed out"),
        ("here://x", "at 'here://x': unknown address scheme"),
    ],
)
def test_an_address_without_a_scheduler_is_refused(address, why, tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed", reason="a sweep needs Dask's distributed")
    monkeypatch.setattr(cluster, "SCHEDULER_SECONDS", 0.5)
    options = ["sweep", *OPTIONS, "--classes", "2", "--runs", str(tmp_path)]
    assert main([*options, "--scheduler", address]) == 2
    assert f"no Dask scheduler answers {why}" in capsys.readouterr().err


def test_a_run_whose_workers_all_died_is_failed_with_what_it_had_come_to(tmp_path, client):
    def killed():
        raise RuntimeError("Attempted to run task on 4 different workers")

    store, settings, future = Store(tmp_path), tiny(), SimpleNamespace(status="error", result=killed)
    swept = sweep._Sweep(store, client, None, 60.0, None)
    before = Record("a", "training", settings.key, {}, {}, {"step": 2}, "unfinished", "not at its end yet").flat()
    store.write_record(settings.key, before)
    record = swept._settle(settings, future)
    assert (record["status"], record["step"]) == ("failed", 2)
    assert record["reason"] == "RuntimeError: Attempted to run task on 4 different workers"
    assert store.record(settings.key) == record

    done = {**before, "status": "ok", "reason": ""}  # by a worker that only was thought dead
    store.write_record(settings.key, done)
    assert swept._settle(settings, future) == done
    assert store.record(settings.key) == done


def test_this_machines_workers_leave_signals_to_the_command_and_runs_undisturbed():
    dask = pytest.importorskip("dask", reason="a sweep needs Dask's distributed")
    pytest.importorskip("distributed", reason="a sweep needs Dask's distributed")
    with cluster.local_client(1, 1) as client:
        check_workers(client, [tiny()])
        for number in SIGNALS:
            assert list(client.run(signal.getsignal, number).values()) == [signal.SIG_IGN]
        assert list(client.run(os.getenv, "OPENBLAS_NUM_THREADS").values()) == ["1"]
        assert list(client.run(dask.config.get, "distributed.worker.profile.enabled").values()) == [False]


def test_a_failure_keeps_the_figures_of_the_record_that_it_replaces(tmp_path, client):
    """This also holds if the worker has its own file system and so a record without these figures."""
    store, settings = Store(tmp_path), tiny()
    stopped = run_training(settings, store, stop=lambda: True)
    assert (stopped["status"], stopped["step"], stopped["curve_step"]) == ("unfinished", 1, [0])
    path = store.run(settings.key) / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:1000])
    (record,) = run_sweep([settings], store, client)
    assert (record["status"], record["step"], record["curve_step"]) == ("failed", 1, [0])
    assert record["curve_accuracy"] == stopped["curve_accuracy"]
    assert f"{path} is damaged" in record["reason"]
    assert record["reason"].endswith("delete the checkpoint, and the same command begins the run anew")

    elsewhere = Record("b", "training", settings.key, {}, {}, {}, "out-of-memory", "no more").flat()
    future = SimpleNamespace(status="finished", result=lambda: elsewhere)
    record = sweep._Sweep(store, client, None, 60.0, None)._settle(settings, future)
    assert (record["status"], record["step"], record["curve_step"]) == ("out-of-memory", 1, [0])
    assert store.record(settings.key) == record


def test_torn_records_do_not_refuse_a_sweep(tmp_path, in_process, capsys):
    store, runs = Store(tmp_path), [tiny(seed=seed) for seed in range(4)]
    for settings, content in zip(runs, ["", "[]", "null"], strict=False):
        store.run(settings.key).mkdir()
        (store.run(settings.key) / "record.jsonl").write_text(content)
    options = ["sweep", *OPTIONS, "--classes", "2", "--steps", "3", "--seeds", "0,1,2,3", "--runs", str(tmp_path)]
    assert main([*options, "--dry-run"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in listed] == [run.key for run in runs]
    assert all("record.jsonl is no record of a run" in line for line in listed[:3])
    assert listed[3].endswith(": not begun")
    assert main(options) == 0
    assert capsys.readouterr().err.count("record.jsonl is no record of a run") == 3
    assert [store.record(run.key)["status"] for run in runs] == ["ok"] * 4


@pytest.fixture
def in_process(client, monkeypatch):
    """The command's cluster is the one in this process."""

    @contextlib.contextmanager
    def local_client(workers, threads):
        yield client

    monkeypatch.setattr(command, "local_client", local_client)


def test_the_command_lists_failures_at_the_end_and_says_so_with_its_exit_code(tmp_path, in_process, capsys):
    options = ["sweep", *OPTIONS, "--classes", "2", "--steps", "3", "--runs", str(tmp_path)]
    assert main([*options, "--dtype", "float16"]) == 1
    failing = tiny(dtype="float16")
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path}\n"
    last = printed.err.splitlines()[-2:]
    assert last[0].startswith(f"{failing.key}: failed: SettingError: dtype must be one of float32, float64")
    assert last[1] == f"1 of 1 runs failed; to make the report: gsbench report {tmp_path}"

    assert main(options) == 0
    assert "test accuracy" in capsys.readouterr().err
    assert main(options) == 0
    assert "1 runs, 1 of them already finished" in capsys.readouterr().err


def test_the_command_ends_with_130_when_it_is_interrupted(tmp_path, in_process, monkeypatch, capsys):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_sweep", interrupted)
    assert main(["sweep", *OPTIONS, "--classes", "2", "--runs", str(tmp_path)]) == 130
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="needs the signals of POSIX")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_sweep_that_is_stopped_while_its_cluster_starts_or_ends_leaves_no_disorder(
    tmp_path, monkeypatch, capsys, number
):
    seen = []

    @contextlib.contextmanager
    def local_client(workers, threads):
        signal.raise_signal(number)
        seen.append("started")
        try:
            yield
        finally:
            seen.extend({signal.getsignal(each) for each in SIGNALS})

    def never(*arguments, **options):
        raise AssertionError("the sweep began")

    monkeypatch.setattr(command, "local_client", local_client)
    monkeypatch.setattr(command, "run_sweep", never)
    before = [signal.getsignal(each) for each in SIGNALS]
    assert main(["sweep", *OPTIONS, "--classes", "2", "--runs", str(tmp_path)]) == 130
    assert seen == ["started", _end_at_once]
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert "the same command resumes" in capsys.readouterr().err


# A real cluster, of which a worker is killed


class Killer(Notes):
    """Kills the worker of the first run that is in the middle."""

    def __init__(self, client, store, processes):
        super().__init__()
        self.client, self.store = client, store
        self.workers = {address: processes[pid] for address, pid in client.run(os.getpid).items()}
        self.killed = None

    def look(self, under_way):
        for address, keys in self.client.processing().items():
            for settings in under_way:
                mine = any(key.startswith(settings.key) for key in keys)
                if mine and self.killed is None and self.in_the_middle(settings):
                    self.kill(settings, self.workers[address])

    def in_the_middle(self, settings):
        record = self.store.record(settings.key)
        return record is not None and record["status"] == "unfinished"

    def kill(self, settings, process):
        process.send_signal(signal.SIGSTOP)  # so that the run does not end while it is looked at
        if self.in_the_middle(settings):
            process.kill()
            self.killed = settings
        else:
            process.send_signal(signal.SIGCONT)


@pytest.fixture
def start(tmp_path):
    """`start(module, *arguments)`: a process of distributed, which ends with the test."""
    log = (tmp_path / "log").open("w")
    processes = []

    def run(module, *arguments):
        python = [sys.executable, "-W", "ignore", "-m", f"distributed.cli.{module}", "--host", "127.0.0.1"]
        process = subprocess.Popen([*python, *arguments], stdout=log, stderr=log, cwd=Path(gsbench.__file__).parents[1])
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()
    log.close()


def wait_for(what):
    """Waits until `what()` is true, and returns it."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def address_in(path):
    """The address that the scheduler has written, or None."""
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        return json.loads(path.read_text())["address"]
    return None


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs the signals of POSIX")
def test_runs_of_a_worker_that_is_killed_go_on_elsewhere_and_are_recorded_once(tmp_path, start, at_once):
    pytest.importorskip("distributed", reason="a sweep needs Dask's distributed")
    file = tmp_path / "scheduler.json"
    of_scheduler = ["--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
    start("dask_scheduler", *of_scheduler, "--scheduler-file", str(file))
    address = wait_for(lambda: address_in(file))
    of_worker = ["--no-nanny", "--nthreads", "1", "--resources", "threads=1", "--no-dashboard"]
    workers = [start("dask_worker", address, *of_worker, "--local-directory", str(tmp_path / name)) for name in "ab"]

    runs = [tiny(estimator=name, steps=20) for name in ("gumbel-softmax", "marginalize", "labels-only")]
    store = Store(tmp_path / "swept")
    with cluster.remote_client(address) as client:
        client.wait_for_workers(2, timeout=PATIENCE)
        killer = Killer(client, store, {process.pid: process for process in workers})
        records = run_sweep(runs, store, client, checkpoint_seconds=0, watcher=killer)

    assert killer.killed is not None
    assert sorted(killer.ended) == sorted((run.key, "ok") for run in runs)
    assert [record["case"] for record in records] == [run.key for run in runs]
    assert sorted(path.parent.name for path in store.folder.glob("*/record.jsonl")) == sorted(run.key for run in runs)
    assert all(len(path.read_text().splitlines()) == 1 for path in store.folder.glob("*/record.jsonl"))
    assert [record["resumed"] for record in records] == [int(run == killer.killed) for run in runs]
    never_killed = run_training(killer.killed, Store(tmp_path / "alone"))
    assert results(store.record(killer.killed.key)) == results(never_killed)


def is_gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs the process groups of POSIX")
@pytest.mark.parametrize(
    ("number", "to_all"),
    [(signal.SIGINT, True), (signal.SIGTERM, False)],  # as a terminal sends it, and as `kill` does
    ids=["ctrl-c", "terminated"],
)
def test_a_signal_stops_the_command_with_a_checkpoint_and_leaves_no_process(tmp_path, number, to_all):
    pytest.importorskip("distributed", reason="a sweep needs Dask's distributed")
    store, settings, log = Store(tmp_path / "swept"), tiny(steps=10**6), tmp_path / "log"
    arguments = ["sweep", *OPTIONS, "--classes", "2", "--steps", str(10**6), "--runs", str(store.folder)]
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "gsbench", *arguments, "--checkpoint-seconds", "0"],
            stdout=file, stderr=file, start_new_session=True, cwd=Path(gsbench.__file__).parents[1],
        )  # fmt: skip
    try:
        wait_for(lambda: store.record(settings.key))
        (os.killpg if to_all else os.kill)(process.pid, number)
        assert process.wait(PATIENCE) == 130
        wait_for(lambda: is_gone(process.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    record, printed = store.record(settings.key), log.read_text()
    assert (record["status"], record["reason"]) == ("unfinished", "stopped")
    assert store.checkpoint(settings.key)[0]["steps"] == record["step"] > 0
    assert "the same command resumes" in printed
    assert "Traceback" not in printed
