"""Training runs: settings, store, and that a run that was stopped or killed ends as one that was not."""

import dataclasses
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gsbench.runs.run as run_module
from gsbench.cli import main
from gsbench.cli import sweep as sweep_command
from gsbench.data import DataFileError, load_dataset, split
from gsbench.runs import Store, run_training
from gsbench.runs.training_run import Diverged, TrainingRun, run_step_bytes
from gsbench.settings.case import Settings
from gsbench.settings.presets import PRESETS
from gsbench.settings.recipe import Recipe
from gsbench.settings.run import RunSettings, make_run
from gsbench.training.trainer import Evaluation, Training, evaluation_steps

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("loaded_once")]

TINY = {
    "preset": "small",
    "n_classes": 2,
    "labelled_per_class": 3,
    "batch": 10,
    "threads": 1,
    "steps": 12,
    "evaluate_every": 4,
    "validation_images": 30,
    "test_draws": 2,
}
# What may differ between a run that was interrupted and one that was not.
TIMES = {
    "run_id", "recorded_at", "train_seconds", "wall_seconds", "steps_per_second", "curve_seconds", "curve_wall_seconds",
    "resumed", "memory_limit_bytes", "live_peak_bytes", "state_bytes",
}  # fmt: skip


def tiny(**changes):
    return make_run({**TINY, **changes})


def same_but_for_times(record, other):
    assert record.keys() == other.keys()
    return {key for key in record if record[key] != other[key]} <= TIMES


def stop_after(n):
    """A `stop` that says so after n steps."""
    asked = []
    return lambda: asked.append(0) or len(asked) == n


# Settings


def test_a_run_is_its_preset_with_changes():
    run = make_run({"preset": "blog", "dataset": "mnist", "estimator": "gumbel-softmax"})
    assert (run.recipe.alpha, run.recipe.tau_decay, run.recipe.tau_floor) == (1.0, 0.999, 0.5)
    assert (run.recipe.steps_per_epoch, run.epochs, run.last_step(499.0)) == (500, 20, 9980)
    assert run.case.make_config().norm == "batch"
    paper = make_run({"preset": "paper", "dataset": "mnist"})
    assert (paper.recipe.alpha, paper.recipe.clip_norm, paper.recipe.clip_element) == (60, 5, 1)
    assert paper.recipe.learning_rate_at(999) == pytest.approx(3e-4 * 0.75**4)
    changed = make_run({"preset": "blog", "alpha": 3, "seconds": 5})
    assert (changed.recipe.alpha, changed.epochs, changed.seconds) == (3, None, 5)


def test_presets_make_runs_of_the_networks_of_their_name():
    for preset in PRESETS:
        assert make_run({"preset": preset, "dataset": "mnist"}).case.preset == preset


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "unknown setting 'colour'; known: .*alpha"),
        ({"preset": "huge"}, "unknown preset 'huge'; known: default, small, blog"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"evaluate_every": 0}, "evaluate_every must be >= 1, got 0"),
        ({"dataset": "synthetic"}, "labels of data set 'synthetic' are random"),
        ({"preset": "blog", "estimator": "marginalize-streamed"}, "needs rows that do not interact"),
        ({"alpha": -1}, "alpha must be >= 0"),
    ],
)
def test_what_a_run_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 1e308}, r"^epochs must be > 0 and <= 1000000000, got 1e\+308$"),
        ({"epochs": float("inf")}, "^epochs must be > 0 and <= 1000000000 and finite, got inf$"),
        ({"seconds": 1e300}, r"^seconds must be > 0 and <= 1000000000, got 1e\+300$"),
        ({"steps": 2**64}, f"^steps must be >= 1 and <= {2**63 - 1}, got {2**64}$"),
        ({"steps": 1.5}, r"^steps must be an integer >= 1, got 1\.5$"),
        ({"test_draws": 10**12}, "^test_draws must be >= 1 and <= 20000, got 1000000000000$"),
        ({"learning_rate_every": 1e-320}, "^learning_rate_every must be >= 1e-09, got 1e-320$"),
        ({"learning_rate": 10**400}, f"^learning_rate must be > 0 and <= {2**63 - 1}, got 1000"),
        ({"shift": 28}, "^shift must be >= 0 and <= 27, got 28$"),
        ({"distortion": 1e308}, r"^distortion must be > 0 and <= 10, got 1e\+308$"),
        ({"seed": 10**400}, f"^seed must be >= 0 and <= {2**63 - 1}, got 1000"),
        ({"estimator": "label-only"}, "^estimator: unknown estimator 'label-only'; .*; did you mean 'labels-only'\\?$"),
        ({"presett": "small"}, "^unknown setting 'presett'; known: .*; did you mean 'preset'\\?$"),
        ({"device": "tpu"}, "^unknown device 'tpu'; allowed: cpu, cuda:N"),
        ({"device": "cuda:１"}, "^unknown device 'cuda:１'; allowed: cpu, cuda:N"),
    ],
)
def test_what_a_run_refuses_to_take_for_something_else(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes)


def test_a_run_of_a_negative_zero_is_that_of_zero():
    assert tiny(tau_floor=-0.0).key == tiny().key
    assert str(tiny(balance=-0.0).recipe.balance) == "0.0"


@pytest.mark.parametrize(
    "changes",
    [
        {"estimator": "labels-only", "labelled_batch": 8000},
        {"estimator": "labels-only", "labelled_batch": 4000, "n_classes": 200},
        {"estimator": "labels-only", "batch": 8000},
        {"estimator": "marginalize", "labelled_batch": 2000},
        {"estimator": "gumbel-softmax", "labelled_batch": 1000, "preset": "default"},
    ],
    ids=str,
)
def test_the_estimate_of_a_step_counts_the_labelled_batch(changes):
    """Within 15 % of what tracemalloc sees, where the case's own estimate is off by up to the tenth of it."""
    settings = tiny(**changes)
    run = TrainingRun(settings)
    run.begin(load_dataset("glyphs", settings.case.n_classes))
    assert run_step_bytes(settings) == pytest.approx(run.figures["live_peak_bytes"], rel=0.15)


@pytest.mark.parametrize("estimator", ["marginalize", "labels-only"])
@pytest.mark.parametrize("labelled_batch", [300_000_000, 10**12, 2**63 - 1])
def test_a_labelled_batch_that_nothing_can_hold_is_too_large(tmp_path, monkeypatch, estimator, labelled_batch):
    monkeypatch.setattr("gsbench.meters.measure.available_bytes", lambda: 64 * 2**30)
    monkeypatch.setattr(run_module._StoredRun, "_make", lambda *arguments: pytest.fail("it was begun"))
    settings = tiny(estimator=estimator, labelled_batch=labelled_batch)
    record = run_training(settings, Store(tmp_path))
    assert record["status"] == "too-large"
    assert record["estimate_bytes"] > 10 * 784 * labelled_batch


@pytest.mark.parametrize("seconds", [float("nan"), -5, float("inf")])
def test_seconds_between_checkpoints_are_a_number(tmp_path, seconds):
    with pytest.raises(ValueError, match=r"^checkpoint_seconds must be >= 0 and <= 1000000000"):
        run_training(tiny(), Store(tmp_path), checkpoint_seconds=seconds)
    assert list(tmp_path.iterdir()) == []


RISING = [0.04 * k for k in range(20)]  # 0.76 in the end


@pytest.mark.parametrize(
    ("patience", "accuracies", "settled"),
    [
        (0.2, RISING, False),
        (0.2, [*RISING[:16], 0.602, 0.6, 0.604, 0.603], True),  # 0.4 points in the last fifth
        (0.2, [*RISING[:16], 0.602, 0.6, 0.606, 0.603], False),
        (0.5, [*RISING[:10], *[0.364] * 10], True),
        (0.2, [0.5] * 19, False),  # too few evaluations
        (None, [0.5] * 40, False),
    ],
)
def test_patience_ends_a_run_that_no_longer_rises(patience, accuracies, settled):
    run = make_run({**TINY, "patience": patience})
    assert run.is_settled([100 * (k + 1) for k in range(len(accuracies))], accuracies) == settled


def test_a_run_with_patience_ends_at_the_evaluation_that_settles_it_also_after_a_stop(tmp_path):
    settings = make_run({**TINY, "steps": None, "patience": 0.3, "evaluate_every": 1, "learning_rate": 1e-6})
    whole = run_training(settings, Store(tmp_path / "whole"))
    assert whole["status"] == "ok"
    assert whole["step"] == whole["curve_step"][-1] >= 19  # twenty evaluations, the first at step 0
    assert settings.is_settled(whole["curve_step"], whole["curve_accuracy"])
    assert not settings.is_settled(whole["curve_step"][:-1], whole["curve_accuracy"][:-1])
    store = Store(tmp_path / "stopped")
    assert run_training(settings, store, stop=stop_after(9))["status"] == "unfinished"
    assert same_but_for_times(run_training(settings, store), whole)


def test_a_run_records_the_calls_of_f_that_follow_the_logits(tmp_path):
    settings = make_run({**TINY, "n_classes": 10, "estimator": "sum-and-relax(mass=0.9)"})
    record = run_training(settings, Store(tmp_path))
    calls = record["curve_calls_of_f"]
    assert len(calls) == len(record["curve_step"])
    assert 2 <= min(calls) <= max(calls) <= 10
    fixed = run_training(tiny(), Store(tmp_path))
    assert set(fixed["curve_calls_of_f"]) == {None}


def test_a_run_needs_a_budget():
    with pytest.raises(ValueError, match="needs a budget: epochs, steps, seconds or patience"):
        RunSettings(Settings())


def test_the_key_tells_settings_apart_and_nothing_else():
    keys = {
        tiny(**changes).key
        for changes in (
            {}, {"seed": 1}, {"n_classes": 3}, {"alpha": 2}, {"estimator": "gumbel-softmax"}, {"steps": 13},
            {"estimator": "gumbel-softmax(tau=0.5)"}, {"estimator": "labels-only"}, {"test_draws": 3}, {"batch": 11},
            {"preset": "default"}, {"labelled_per_class": 4},
        )
    }  # fmt: skip
    assert len(keys) == 12
    assert tiny(alpha=2).key == tiny(alpha=2.0).key
    recipes = {  # any number that each allows and none has as its default
        field.name: tiny(**{field.name: True if field.name == "weight_prior" else 0.75 if "." in repr(field.default)
                            else 7}).key
        for field in dataclasses.fields(Recipe)
    }  # fmt: skip
    assert len({tiny().key, *recipes.values()}) == 1 + len(recipes)
    assert tiny().key.startswith("glyphs-k2-adgm-small-marginalize-s0-")
    spelled = tiny(estimator="gumbel-softmax(tau=0.5)").key
    assert set(spelled) <= set("abcdefghijklmnopqrstuvwxyz0123456789-=._")


# The store


def test_a_checkpoint_comes_back_as_it_was_and_a_damaged_one_is_refused(tmp_path):
    store = Store(tmp_path)
    assert store.checkpoint("a") is None
    store.write_checkpoint("a", {"p/x": np.arange(3.0)}, {"log": [1, None]})
    arrays, meta = store.checkpoint("a")
    assert (list(arrays), arrays["p/x"].tolist(), meta) == (["p/x"], [0, 1, 2], {"log": [1, None]})
    assert [path.name for path in store.run("a").iterdir()] == ["checkpoint.npz"]  # nothing half written beside it
    whole = (store.run("a") / "checkpoint.npz").read_bytes()
    (store.run("a") / "checkpoint.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFileError, match=r"checkpoint\.npz is damaged"):
        store.checkpoint("a")


# Runs


def test_a_run_leaves_one_whole_record_with_its_curve(tmp_path):
    store, settings = Store(tmp_path), tiny(estimator="gumbel-softmax")
    record = run_training(settings, store)
    lines = (store.run(settings.key) / "record.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [record]
    assert (record["status"], record["group"], record["case"]) == ("ok", "training", settings.key)
    assert record["curve_step"] == [0, 4, 8, 12]
    assert record["curve_loss"][0] is None
    assert record["validation_accuracy"] == record["curve_accuracy"][-1]
    assert 0 < record["train_seconds"] < record["wall_seconds"]
    assert record["live_peak_bytes"] > record["state_bytes"] > 0
    assert (record["validation_examples"], record["estimator_tau"]) == (30, 1.0)
    assert sorted(path.name for path in store.run(settings.key).iterdir()) == ["images.npz", "lock", "record.jsonl"]


def test_a_finished_run_is_not_made_again(tmp_path, monkeypatch):
    store, settings = Store(tmp_path), tiny(steps=2)
    first = run_training(settings, store)
    monkeypatch.setattr(Training, "advance", None)
    assert run_training(settings, store) == first


def test_a_checkpoint_that_a_killed_process_left_of_a_finished_run_is_removed(tmp_path, monkeypatch):
    """By the next train of that run, and by the next sweep that has it."""
    store, settings = Store(tmp_path), tiny()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "drop_checkpoint", lambda *_: None)  # as if it were killed before
        run_training(settings, store, stop=stop_after(2))
        record = run_training(settings, store)
    checkpoint = store.run(settings.key) / "checkpoint.npz"
    assert checkpoint.exists()
    assert run_training(settings, store) == record
    assert not checkpoint.exists()
    checkpoint.touch()
    arguments = SimpleNamespace(scheduler=None, workers=1)
    assert sweep_command._sweep(arguments, [settings], store, threads=1) == [record]
    assert not checkpoint.exists()


def test_the_test_images_are_seen_once_and_never_by_the_validation(tmp_path, monkeypatch):
    dataset = load_dataset("glyphs", 2)
    parts = split(dataset, 3)
    seen = []
    of = Evaluation.of.__func__

    def watched(cls, dataset, index, seed=0, binarize="dynamic"):
        seen.append(set(index.tolist()))
        return of(cls, dataset, index, seed, binarize)

    monkeypatch.setattr(Evaluation, "of", classmethod(watched))
    run_training(tiny(), Store(tmp_path))
    tests = [index for index in seen if index & set(parts.test.tolist())]
    assert tests == [set(parts.test.tolist())]
    assert all(index <= set(parts.validation.tolist()) for index in seen if index not in tests)


RUNS = {
    "exact": {},
    "streamed": {"estimator": "marginalize-streamed", "clip_norm": 5.0, "clip_element": 0.1},
    "gumbel": {"estimator": "gumbel-softmax", "tau_decay": 0.9, "learning_rate_decay": 0.9, "steps_per_epoch": 3},
    "averaged": {"estimator": "sum-and-sample", "polyak": 0.9, "weight_prior": True, "labelled_batch": 4},
    "sparsemax": {"estimator": "sparsemax", "shift": 1, "balance": 1.0},
    "changed images": {"adversarial": 1.0, "pseudo_labels": 1.0, "pseudo_threshold": 0.4, "distortion": 0.5},
    "labels": {"estimator": "labels-only"},
    "m2": {"model": "m2", "estimator": "straight-through", "n_mc": 2},
    "batch norm": {
        "preset": "tuned", "steps": 12, "units": 16, "classifier_units": 16, "d_a": 4, "d_z": 4, "drop_hidden": 0.2,
        "nonlinearity": "elu",
    },
}  # fmt: skip


@pytest.mark.usefixtures("unmetered")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_stopped_twice_ends_as_one_that_was_not(tmp_path, name):
    settings = tiny(**RUNS[name])
    whole = run_training(settings, Store(tmp_path / "whole"))
    store = Store(tmp_path / "stopped")
    for done in (5, 8):
        record = run_training(settings, store, stop=stop_after(done - (0 if done == 5 else 5)))
        assert (record["status"], record["step"]) == ("unfinished", done)
        assert store.record(settings.key) == record
    record = run_training(settings, store)
    assert record["resumed"] == 2
    assert same_but_for_times(record, whole)
    assert record["parameters_checksum"] == whole["parameters_checksum"]


@pytest.mark.usefixtures("unmetered")
def test_other_seeds_give_other_parameters(tmp_path):
    checksums = {run_training(tiny(seed=seed), Store(tmp_path))["parameters_checksum"] for seed in (0, 1)}
    assert len(checksums) == 2


def test_a_run_ends_when_its_seconds_are_spent(tmp_path):
    record = run_training(tiny(steps=None, seconds=0.2), Store(tmp_path))
    assert record["status"] == "ok"
    assert record["train_seconds"] >= 0.2
    assert record["curve_step"][-1] == record["step"]


def begun(**changes):
    run = TrainingRun(tiny(**changes))
    run.begin(load_dataset("glyphs", 2))
    return run


def test_a_run_logs_from_before_the_first_step_to_the_last():
    run = begun(steps=9)
    taken = [run.training.steps for _ in run.steps(evaluation_steps())]
    assert taken == list(range(1, 10))
    assert [point["step"] for point in run.log] == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert (run.log[0]["train_seconds"], run.log[0]["loss"]) == (0, None)
    assert all(a["train_seconds"] < b["train_seconds"] for a, b in itertools.pairwise(run.log))
    assert run.log[-1]["epoch"] == 9 / run.training.batches.steps_per_epoch
    assert all(0 <= point["validation_accuracy"] <= 1 for point in run.log)
    progress = run.progress()
    assert progress["curve_step"] == [point["step"] for point in run.log]
    assert progress["validation_accuracy"] == progress["curve_accuracy"][-1] == run.accuracy(run.validation, 1)


def test_a_run_takes_no_step_after_its_seconds_are_spent():
    run = begun(steps=None, seconds=0.05)
    assert sum(1 for _ in run.steps(evaluation_steps())) == run.training.steps
    assert run.log[-2]["train_seconds"] < 0.05 <= run.log[-1]["train_seconds"]
    assert run.progress()["steps_per_second"] == run.training.steps / run.training.train_seconds


def test_a_run_whose_loss_is_no_number_says_so():
    run = begun()
    run.training.model.parameters["p_x_yz/b3"].array[...] = np.nan
    with pytest.raises(Diverged, match="the loss is nan at step 1"):
        next(run.steps())
    assert len(run.log) == 1


def test_a_run_is_evaluated_by_its_estimator_s_distribution(monkeypatch):
    seen, accuracy = [], Evaluation.accuracy
    monkeypatch.setattr(
        Evaluation,
        "accuracy",
        lambda self, model, n_a=1, estimator=None: seen.append(estimator) or accuracy(self, model, n_a),
    )
    run = begun(estimator="sparsemax", steps=1)
    list(run.steps())
    assert seen == [run.training.trainer.estimator] * 2


def test_a_run_that_diverges_keeps_its_curve(tmp_path, capsys):
    options = ["train", "--preset", "small", "--classes", "2", "--labels", "3", "--threads", "1", "--steps", "9"]
    options += ["--evaluate-every", "1", "--validation-images", "30", "--learning-rate", "1e30"]
    options += ["--runs", str(tmp_path)]
    with np.errstate(all="ignore"):
        assert main([*options, "--quiet"]) == 3
        assert main([*options, "--quiet"]) == 3  # the same settings would diverge again: it is not made anew
    assert "diverged (the loss is " in capsys.readouterr().out
    (path,) = tmp_path.glob("*/record.jsonl")
    record = json.loads(path.read_text())
    assert record["status"] == "diverged"
    assert len(record["curve_accuracy"]) == record["step"] >= 1
    assert "test_accuracy" not in record


def test_what_does_not_fit_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr("gsbench.meters.measure.available_bytes", lambda: 1000)
    record = run_training(tiny(), Store(tmp_path))
    assert record["status"] == "too-large"
    assert record["estimate_bytes"] > record["memory_limit_bytes"] == 800
    monkeypatch.undo()
    assert run_training(tiny(), Store(tmp_path))["status"] == "ok"  # tried again where there is room


def test_memory_that_runs_out_and_what_fails_otherwise_is_recorded(tmp_path, monkeypatch):
    def fail(error):
        def advance(self):
            raise error

        monkeypatch.setattr(Training, "advance", advance)

    fail(MemoryError("no more"))
    assert run_training(tiny(), Store(tmp_path))["status"] == "out-of-memory"
    fail(ZeroDivisionError("oh"))
    with pytest.raises(ZeroDivisionError):
        run_training(tiny(), Store(tmp_path))
    record = Store(tmp_path).record(tiny().key)
    assert (record["status"], record["reason"]) == ("failed", "ZeroDivisionError: oh")


def test_two_processes_do_not_make_the_same_run(tmp_path):
    store = Store(tmp_path)
    with store.lock(tiny().key), pytest.raises(TimeoutError, match="another process is making the run glyphs-k2"):
        run_training(tiny(), store)


def test_every_option_of_a_recipe_reaches_the_run(tmp_path, monkeypatch, capsys):
    made = []

    def refuse(settings, store, **options):
        made.append(settings)
        raise ValueError("enough")

    monkeypatch.setattr("gsbench.cli.train.run_training", refuse)
    recipe = {
        "alpha": 2.0, "learning_rate": 0.1, "learning_rate_decay": 0.5, "learning_rate_every": 2.0, "beta1": 0.8,
        "learning_rate_floor": 0.01, "tau_decay": 0.9, "tau_floor": 0.2, "clip_norm": 3.0, "clip_element": 4.0,
        "labelled_weight": 0.5, "labelled_batch": 7, "polyak": 0.9, "steps_per_epoch": 11, "shift": 2, "balance": 6.0,
        "adversarial": 5.0, "adversarial_radius": 2.0, "pseudo_labels": 8.0, "pseudo_threshold": 0.8, "distortion": 0.3,
    }  # fmt: skip
    options = [text for name, value in recipe.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["train", "--classes", "2", "--weight-prior", *options, "--runs", str(tmp_path)]) == 2
    assert dataclasses.asdict(made[0].recipe) == {**recipe, "weight_prior": True}
    assert capsys.readouterr().err.endswith("gsbench: error: enough\n")


# Killed and stopped from outside: processes of their own

LAST = 200
COMMAND = [
    sys.executable, "-m", "gsbench", "train", "--preset", "small", "--classes", "2", "--labels", "3", "--batch", "10",
    "--estimator", "gumbel-softmax", "--threads", "1", "--steps", str(LAST), "--evaluate-every", "60",
    "--test-draws", "2", "--validation-images", "50", "--polyak", "0.9", "--checkpoint-seconds", "0.05",
]  # fmt: skip


def start(store: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen([*COMMAND, "--runs", str(store)], stderr=subprocess.PIPE, text=True, env=environment)


def finish(store: Path) -> dict:
    process = start(store)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return record_in(store)


def record_in(store: Path) -> dict:
    """That of the store's one run; of step 0 where there is none yet."""
    paths = list(store.glob("*/record.jsonl"))
    return json.loads(paths[0].read_text()) if paths else {"step": 0}


def interrupt(store: Path, number: int) -> tuple[int, str]:
    """Begins the run, or goes on with it, and sends a signal some steps and milliseconds after it was left.

    Steps are told by the checkpoints, so that the run is under way, and not at its end, however slow the machine is.
    """
    step = record_in(store)["step"] + random.randint(1, 20)
    process = start(store)
    deadline = time.monotonic() + 300
    while record_in(store)["step"] < step:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.uniform(0, 0.05))
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_run_killed_at_random_points_and_interrupted_ends_as_one_that_was_not(tmp_path):
    whole = finish(tmp_path / "whole")  # in a process of its own, as what it is compared with: memory is too
    for _ in range(2):
        assert interrupt(tmp_path / "killed", signal.SIGKILL)[0] == -signal.SIGKILL
    code, errors = interrupt(tmp_path / "killed", signal.SIGINT)
    assert code == 130
    assert "Stopped with a checkpoint: the same command resumes from there." in errors
    assert 0 < record_in(tmp_path / "killed")["step"] < LAST
    record = finish(tmp_path / "killed")
    assert record["resumed"] == 3
    assert record["parameters_checksum"] == whole["parameters_checksum"]
    assert same_but_for_times(record, whole)
    assert record["live_peak_bytes"] == pytest.approx(whole["live_peak_bytes"], rel=0.02)
