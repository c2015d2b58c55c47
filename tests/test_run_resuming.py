"""What a training run goes on from: its name, what it writes whole or not at all, and checkpoints at awkward places."""

import dataclasses
import json
import os

import numpy as np
import pytest

from gsbench.backends.chainer import ChainerBackend
from gsbench.data import load_dataset, split
from gsbench.estimators import parse_estimator
from gsbench.minibatches import Batches
from gsbench.models import MODELS, ModelConfig
from gsbench.recipe import Recipe
from gsbench.runs import RunSettings, Store, make_run, run_training
from gsbench.settings import Settings
from gsbench.training import Evaluation, Trainer, Training

TINY = {
    "preset": "small",
    "n_classes": 2,
    "labelled_per_class": 2,
    "batch": 10,
    "threads": 1,
    "steps": 4,
    "evaluate_every": 2,
    "validation_images": 20,
    "test_draws": 1,
}


def tiny(**changes):
    return make_run({**TINY, **changes})


def steps_then_stop(n):
    """A `stop` that says so after n steps."""
    asked = []
    return lambda: asked.append(0) or len(asked) == n


# A value of each setting that is not the one of `tiny`. The device and the framework are those of the machine.
OTHERS = {
    "estimator": "gumbel-softmax", "model": "m2", "preset": "default", "dataset": "mnist", "n_classes": 3, "batch": 11,
    "n_mc": 2, "dtype": "float64", "seed": 1, "binarize": "none", "labelled_per_class": 3, "device": "cuda:0",
    "alpha": 2.0, "learning_rate": 0.1, "learning_rate_decay": 0.5, "learning_rate_every": 2.0, "beta1": 0.8,
    "learning_rate_floor": 0.01, "tau_decay": 0.9, "tau_floor": 0.2, "clip_norm": 3.0, "clip_element": 4.0,
    "weight_prior": True, "labelled_weight": 0.5, "balance": 1.0, "labelled_batch": 7, "shift": 2, "polyak": 0.9,
    "steps_per_epoch": 11, "epochs": 1.0, "steps": 5, "seconds": 9.0, "evaluate_every": 3, "validation_images": 21,
    "validation_draws": 2, "test_draws": 2, "adversarial": 2.0, "adversarial_radius": 1.0, "pseudo_labels": 3.0,
    "pseudo_threshold": 0.5, "distortion": 0.5,
}  # fmt: skip


def test_no_two_settings_share_a_key():
    names = {field.name for kind in (Settings, Recipe, RunSettings) for field in dataclasses.fields(kind)}
    assert set(OTHERS) == names - {"case", "recipe", "labels_only", "backend", "threads"}  # a new one belongs here
    keys = {tiny().key, tiny(estimator="labels-only").key, *(tiny(**{k: v}).key for k, v in OTHERS.items())}
    assert len(keys) == len(OTHERS) + 2


def test_a_setting_named_at_its_default_leaves_the_key():
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name != "learning_rate"}
    assert tiny(**defaults, learning_rate=3e-3, n_mc=1, epochs=None).key == tiny().key


@pytest.mark.parametrize("broken", ["record", "checkpoint"])
def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch, broken):
    store = Store(tmp_path)
    store.write_record("a", {"status": "ok"})
    store.write_checkpoint("a", {"x": np.arange(3)}, {})

    def fail(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    write, what = {
        "record": (store.write_record, ("a", {"status": "failed"})),
        "checkpoint": (store.write_checkpoint, ("a", {"x": np.arange(4)}, {})),
    }[broken]
    with pytest.raises(OSError, match="no space left"):
        write(*what)
    monkeypatch.undo()
    assert store.record("a") == {"status": "ok"}
    assert store.checkpoint("a")[0]["x"].tolist() == [0, 1, 2]
    assert sorted(path.name for path in store.run("a").iterdir()) == ["checkpoint.npz", "record.jsonl"]


def test_a_record_is_strict_json_or_not_written(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_record("a", {"loss": float("nan")})
    assert store.record("a") is None


def test_a_run_that_failed_at_its_end_goes_on_from_there(tmp_path, monkeypatch):
    whole = run_training(tiny(), Store(tmp_path / "whole"))
    store, settings, accuracy = Store(tmp_path / "failed"), tiny(), Evaluation.accuracy
    tests = whole["test_examples"]

    def fail_on_tests(self, *arguments, **options):
        if len(self.labels) == tests:
            raise OSError("the disk is gone")
        return accuracy(self, *arguments, **options)

    monkeypatch.setattr(Evaluation, "accuracy", fail_on_tests)
    with pytest.raises(OSError, match="the disk is gone"):
        run_training(settings, store, checkpoint_seconds=0)
    failed = store.record(settings.key)
    assert (failed["status"], failed["reason"]) == ("failed", "OSError: the disk is gone")
    assert (failed["step"], failed["curve_accuracy"]) == (4, whole["curve_accuracy"])
    monkeypatch.setattr(Evaluation, "accuracy", accuracy)
    monkeypatch.setattr(Training, "advance", None)  # all steps are done
    record = run_training(settings, store)
    for name in ("parameters_checksum", "test_accuracy", "curve_step", "curve_accuracy", "curve_loss", "step"):
        assert record[name] == whole[name], name
    assert (record["status"], record["resumed"], record["run_id"]) == ("ok", 1, failed["run_id"])


def changed_checkpoint(store, key, **arrays):
    found, meta = store.checkpoint(key)
    assert set(arrays) <= set(found)
    store.write_checkpoint(key, {**found, **arrays}, meta)


def test_seconds_of_training_are_counted_over_all_parts_of_a_run(tmp_path):
    store, settings = Store(tmp_path), tiny(steps=None, seconds=3600.0)
    first = run_training(settings, store, stop=steps_then_stop(3))
    assert (first["status"], first["step"]) == ("unfinished", 3)
    changed_checkpoint(store, settings.key, train_seconds=np.asarray(3599.9999999))
    record = run_training(settings, store)
    assert (record["status"], record["step"]) == ("ok", 4)  # the step that spends the budget is the last
    assert record["train_seconds"] > 3600
    assert record["curve_step"] == [0, 2, 4]


def test_a_run_that_diverges_after_it_went_on_keeps_its_curve(tmp_path):
    store, settings = Store(tmp_path), tiny()
    run_training(settings, store, stop=steps_then_stop(3))
    name = "parameters/p_x_yz/b3"
    bad = np.full_like(store.checkpoint(settings.key)[0][name], np.nan)
    changed_checkpoint(store, settings.key, **{name: bad})
    record = run_training(settings, store)
    assert (record["status"], record["reason"]) == ("diverged", "the loss is nan at step 4")
    assert (record["step"], record["curve_step"], record["resumed"]) == (4, [0, 2], 1)
    assert json.loads((store.run(settings.key) / "record.jsonl").read_text()) == record
    assert store.checkpoint(settings.key) is None
    assert run_training(settings, store) == record  # not made again


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])  # the second keeps wide parameters of its own beside
def test_a_state_is_all_that_a_training_needs(dtype, norm):
    dataset = load_dataset("synthetic", 3)
    parts = split(dataset, 4)

    def make(seed):
        bk = ChainerBackend("cpu", dtype)
        bk.loss_scale = bk.loss_scale and 1.0  # the usual one overflows here or not, as the processor's products round
        model = MODELS["adgm"](bk, ModelConfig(n_classes=3, units=8, d_a=3, d_z=3, norm=norm), seed)
        recipe = Recipe(alpha=1.0, learning_rate=3e-3, polyak=0.9)
        trainer = Trainer(model, parse_estimator("gumbel-softmax"), recipe)
        return Training(trainer, Batches(bk, dataset, parts, 6))

    first, second = make(0), make(1)
    for _ in range(3):
        first.advance()
    state = first.state()
    kept = {key: value.copy() for key, value in state.items()}
    losses = [first.advance() for _ in range(3)]
    assert all((state[key] == kept[key]).all() for key in state)  # later steps leave it as it was
    second.restore(state)
    assert [second.advance() for _ in range(3)] == losses
    end, same = first.state(), second.state()
    assert end.keys() == same.keys()
    assert [key for key in end if key != "train_seconds" and not (end[key] == same[key]).all()] == []
    assert any(key.startswith("adam/wide/") for key in end) == (dtype == "float16")
    assert any(key.startswith("polyak_running/") for key in end) == (norm == "batch")
    validation = Evaluation.of(dataset, parts.validation)
    assert validation.accuracy(first.evaluated) == validation.accuracy(second.evaluated)
