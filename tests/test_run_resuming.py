"""Resuming of training runs: their names, files that are written whole or not at all, checkpoints at awkward places."""

import contextlib
import dataclasses
import functools
import json
import os
import re

import numpy as np
import pytest

from gsbench.backends.chainer.backend import ChainerBackend
from gsbench.cli import main
from gsbench.data import DataFileError, load_dataset, split
from gsbench.estimators import parse_estimator
from gsbench.models import MODELS, ModelConfig
from gsbench.runs import Store, run_training
from gsbench.settings.recipe import Recipe
from gsbench.settings.run import SETTINGS, make_run
from gsbench.training.minibatches import Batches
from gsbench.training.trainer import Evaluation, Trainer, Training

pytestmark = pytest.mark.usefixtures("loaded_once")

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
    """A `stop` that is true after n steps."""
    asked = []
    return lambda: asked.append(0) or len(asked) == n


# For each setting, one of these is allowed and differs from the value in `tiny`.
VALUES = (True, False, 3, 5, 0.3, 0.7, (-3.0, 2.0), "gumbel-softmax", "cuda:0")


def other_value(setting, value):
    for candidate in (*setting.names, *VALUES):
        with contextlib.suppress(ValueError):
            if setting.checked(candidate) != value:
                return candidate
    raise AssertionError(f"no value for {setting.name}")


def test_no_two_settings_share_a_key():
    fields = tiny().record_fields()
    asked = [s for name, s in SETTINGS.items() if name not in ("backend", "threads")]  # these belong to the machine
    others = {s.name: other_value(s, fields[s.record]) for s in asked}
    keys = {tiny().key, tiny(estimator="labels-only").key, *(tiny(**{name: v}).key for name, v in others.items())}
    assert len(keys) == len(others) + 2


def test_a_setting_named_at_its_default_leaves_the_key():
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name != "learning_rate"}
    assert tiny(**defaults, learning_rate=3e-3, n_mc=1, epochs=None).key == tiny().key


@pytest.mark.parametrize("broken", ["record", "checkpoint"])
def test_a_failing_write_leaves_the_old_content(tmp_path, monkeypatch, broken):
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


def test_a_run_that_failed_at_its_end_resumes_there(tmp_path, monkeypatch):
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
@pytest.mark.parametrize("dtype", ["float32", "float16"])  # float16 has wide parameters besides
def test_a_state_is_all_that_a_training_needs(dtype, norm):
    dataset = load_dataset("synthetic", 3)
    parts = split(dataset, 4)

    def make(seed):
        bk = ChainerBackend("cpu", dtype)
        bk.loss_scale = bk.loss_scale and 1.0  # the usual scale overflows on some processors
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


# Runs that cannot resume: the error names the file and says what to do, and the record keeps its figures

# A checkpoint with all kinds of arrays: running statistics, Polyak's averages of statistics and parameters, moments.
NETWORKS = {"units": 8, "d_a": 3, "d_z": 3, "norm": "batch"}
AVERAGED = {
    "preset": "tuned", "adversarial": 0.0, "pseudo_labels": 0.0, "labelled_batch": 10, "classifier_units": 8,
    **NETWORKS,
}  # fmt: skip


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A store with a run that was stopped after three of four steps, and the record of the same run without a stop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gsbench.runs.run.load_dataset", functools.cache(load_dataset))
        folder = tmp_path_factory.mktemp("stopped")
        whole = run_training(tiny(**AVERAGED), Store(folder / "whole"))
        run_training(tiny(**AVERAGED), Store(folder / "stopped"), stop=steps_then_stop(3))
        yield Store(folder / "stopped"), tiny(**AVERAGED), whole


@pytest.fixture
def copied(stopped, tmp_path):
    """A copy of the store, which a test may damage, and the run's record from the stop."""
    store, settings, whole = stopped
    copy = Store(tmp_path)
    copy.run(settings.key).mkdir()
    for name in ("record.jsonl", "checkpoint.npz"):
        (copy.run(settings.key) / name).write_bytes((store.run(settings.key) / name).read_bytes())
    return copy, settings, whole, store.record(settings.key)


MEASURED = ("step", "epoch", "train_seconds", "curve_step", "curve_accuracy", "curve_loss", "validation_accuracy",
            "live_peak_bytes", "resumed", "validation_examples")  # fmt: skip


def fails_and_keeps_the_figures(copied, *says):
    store, settings, _, before = copied
    assert len(before["curve_step"]) == 2
    for _ in range(2):  # the second failure is no worse than the first
        with pytest.raises(DataFileError) as error:
            run_training(settings, store)
        record = store.record(settings.key)
        assert record["status"] == "failed"
        for text in says:
            assert text in str(error.value)
            assert text in record["reason"]
        assert {name: record[name] for name in MEASURED} == {name: before[name] for name in MEASURED}
        assert not (store.run(settings.key) / "images.npz").exists()


def ends_as_one_that_was_not_stopped(copied, resumed):
    store, settings, whole, _ = copied
    record = run_training(settings, store)
    for name in ("parameters_checksum", "test_accuracy", "curve_step", "curve_accuracy", "curve_loss", "step"):
        assert record[name] == whole[name], name
    assert (record["status"], record["reason"], record["resumed"]) == ("ok", "", resumed)


def with_a_byte_changed(content):
    return content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]


@pytest.mark.parametrize(
    "damage", [with_a_byte_changed, lambda content: content[:-1000], lambda content: b"", lambda content: b"nonsense"]
)
def test_a_damaged_checkpoint_is_refused_and_the_curve_stays(copied, damage):
    store, settings, *_ = copied
    path = store.run(settings.key) / "checkpoint.npz"
    path.write_bytes(damage(path.read_bytes()))
    fails_and_keeps_the_figures(copied, str(path), "delete the checkpoint, and the same command begins the run anew")
    path.unlink()
    ends_as_one_that_was_not_stopped(copied, resumed=0)


ODD_ARRAYS = {
    "no parameter": ({"parameters/p_x_yz/b3": None}, "it has no array 'parameters/p_x_yz/b3'"),
    "no statistics": ({"running/q_y_ax/mean1": None}, "it has no array 'running/q_y_ax/mean1'"),
    "no averages": ({"polyak/q_y_ax/W_x": None}, "it has no array 'polyak/q_y_ax/W_x'"),
    "no averages of the statistics": ({"polyak_running/q_y_ax/var2": None}, "no array 'polyak_running/q_y_ax/var2'"),
    "no first moment": ({"adam/m/q_y_ax/W_x": None}, "it has no array 'adam/m/q_y_ax/W_x'"),
    "no second moment": ({"adam/v/q_y_ax/W_x": None}, "it has no array 'adam/v/q_y_ax/W_x'"),
    "no number of updates": ({"adam/updates": None}, "it has no array 'adam/updates'"),
    "no number of steps": ({"steps": None}, "it has no array 'steps'"),
    "no seconds": ({"train_seconds": None}, "it has no array 'train_seconds'"),
    "another shape": ({"parameters/q_y_ax/b1": np.zeros(9, np.float32)}, "is float32 (9,), and should be float32 (8,)"),
    "a scalar": ({"parameters/q_y_ax/b1": np.float32(0)}, "is float32 (), and should be float32 (8,)"),
    "another dtype": ({"running/q_y_ax/mean1": np.zeros(8)}, "is float64 (8,), and should be float32 (8,)"),
    "text": ({"polyak/q_y_ax/b1": np.array(["a"] * 8)}, "should be float32 (8,)"),
    "steps that are none": ({"steps": np.asarray(3.0)}, "its array 'steps' is float64"),
    "several steps": ({"steps": np.asarray([3])}, "its array 'steps' is int64 (1,)"),
    "too many steps": ({"steps": np.asarray(7), "adam/updates": np.asarray(7)}, "it is of step 7, and the run has 4"),
    "other updates": ({"adam/updates": np.asarray(2)}, "it is of step 3, after 2 updates"),
    "no step": ({"steps": np.asarray(0), "adam/updates": np.asarray(0)}, "it is of step 0, after 0 updates"),
    "odd seconds": ({"train_seconds": np.asarray(np.nan)}, "after 3 updates and nan seconds"),
    "one too many": ({"polyak/q_y_ax/W9": np.zeros(1)}, "it has an array 'polyak/q_y_ax/W9', and the run has none"),
}


@pytest.mark.parametrize("name", ODD_ARRAYS)
def test_a_checkpoint_without_one_of_its_arrays_or_with_odd_ones_is_refused(copied, name):
    store, settings, *_ = copied
    changed, why = ODD_ARRAYS[name]
    arrays, meta = store.checkpoint(settings.key)
    arrays = {key: value for key, value in {**arrays, **changed}.items() if value is not None}
    store.write_checkpoint(settings.key, arrays, meta)
    fails_and_keeps_the_figures(copied, "checkpoint.npz is not a checkpoint of this run", why, "delete the checkpoint")


def test_a_checkpoint_from_before_curves_had_the_calls_of_f_is_resumed(copied):
    store, settings, *_ = copied
    arrays, meta = store.checkpoint(settings.key)
    assert {"calls_of_f"} < {*meta["log"][0]}
    meta["log"] = [{name: value for name, value in point.items() if name != "calls_of_f"} for point in meta["log"]]
    store.write_checkpoint(settings.key, arrays, meta)
    ends_as_one_that_was_not_stopped(copied, resumed=1)


def test_any_array_that_is_missing_is_named(copied):
    store, settings, *_ = copied
    arrays, _ = store.checkpoint(settings.key)
    bk, dataset = ChainerBackend(), load_dataset("glyphs", 2)
    model = MODELS["adgm"](bk, ModelConfig(n_classes=2, **NETWORKS), 0)
    training = Training(
        Trainer(model, parse_estimator("marginalize"), Recipe(alpha=1.0, polyak=0.9)),
        Batches(bk, dataset, split(dataset, 2), 10),
    )
    training.restore(arrays)
    state = training.state()
    for key in arrays:
        with pytest.raises(ValueError, match=f"it has no array '{re.escape(key)}'"):
            training.restore({name: value for name, value in arrays.items() if name != key})
    assert all((value == state[key]).all() for key, value in training.state().items())  # nothing was restored


ODD_META = {
    "of an older version": ({"dataset_checksum": None}, "an older gsbench wrote it"),
    "no log": ({"log": None}, "its log is a NoneType"),
    "an empty log": ({"log": []}, "its log has no evaluation"),
    "an odd log": ({"log": [5]}, "its log has no evaluation, or one with other fields"),
    "a log with other fields": ({"log": [{"step": 1}]}, "its log has no evaluation, or one with other fields"),
    "a loss that is text": ({"loss": "3"}, "its loss is a str"),
    "a run id that is a number": ({"run_id": 3}, "its run_id is a int"),
    "figures that are a list": ({"figures": []}, "its figures is a list"),
    "true for a number": ({"resumed": True}, "its resumed is a bool"),
    "a checksum that is none": ({"dataset_checksum": 7}, "its dataset_checksum is a int"),
}


@pytest.mark.parametrize("name", ODD_META)
def test_odd_values_beside_the_arrays_are_refused(copied, name):
    store, settings, *_ = copied
    changed, why = ODD_META[name]
    arrays, meta = store.checkpoint(settings.key)
    meta = {key: value for key, value in {**meta, **changed}.items() if value is not None}
    store.write_checkpoint(settings.key, arrays, meta)
    fails_and_keeps_the_figures(copied, "checkpoint.npz is not a checkpoint of this run", why, "delete the checkpoint")


@pytest.mark.parametrize(
    "meta", [None, np.zeros(3), np.frombuffer(b"{", np.uint8), np.frombuffer(b"[]", np.uint8), np.asarray(5),
             np.frombuffer(b"\xff\xfe", np.uint8), np.frombuffer(b"[" * 100_000, np.uint8)],
)  # fmt: skip
def test_meta_that_cannot_be_read_is_refused(copied, meta):
    store, settings, *_ = copied
    arrays, _ = store.checkpoint(settings.key)
    path = store.run(settings.key) / "checkpoint.npz"
    np.savez(path, **arrays, **({} if meta is None else {"meta": meta}))
    fails_and_keeps_the_figures(copied, str(path), "'meta'", "delete the checkpoint")


def test_a_run_does_not_resume_with_other_data(copied, monkeypatch):
    """The data differ in one pixel or one label: a record belongs to one data set."""
    store, settings, *_ = copied
    dataset = load_dataset("glyphs", 2)
    images, labels = dataset.images.copy(), dataset.labels.copy()
    images[5, 3, 3] ^= 1
    first, second = np.flatnonzero(labels == 0)[0], np.flatnonzero(labels == 1)[0]
    labels[[first, second]] = labels[[second, first]]
    for changed in ({"images": images}, {"labels": labels}):
        other = dataclasses.replace(dataset, **changed)
        with monkeypatch.context() as patch:
            patch.setattr("gsbench.runs.run.load_dataset", lambda *arguments, other=other, **options: other)
            fails_and_keeps_the_figures(
                copied, str(store.run(settings.key) / "checkpoint.npz"), "is of other data: glyphs (", dataset.checksum,
                other.checksum, "put the former data back, and the same command goes on", "or delete the checkpoint",
            )  # fmt: skip
    ends_as_one_that_was_not_stopped(copied, resumed=1)  # with the former data


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (DataFileError("data/omniglot28.npz is damaged"),
         "data/omniglot28.npz is damaged; put the former file back, and the same command goes on from "),
        (DataFileError("data/omniglot28.npz is damaged"), "checkpoint.npz"),
    ],
)  # fmt: skip
def test_a_data_file_that_is_damaged_on_resume_leaves_the_curve(copied, monkeypatch, error, says):
    def fail(*arguments, **options):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("gsbench.runs.run.load_dataset", fail)
        fails_and_keeps_the_figures(copied, says)
    ends_as_one_that_was_not_stopped(copied, resumed=1)


@pytest.mark.parametrize(
    ("where", "status"),
    [("runs.run.load_dataset", "failed"), ("runs.training_run.split", "failed"),
     ("meters.case.Batches", "out-of-memory"), ("runs.training_run.estimate_step_bytes", "too-large")],
)  # fmt: skip
def test_whatever_else_fails_before_a_step_leaves_the_curve(copied, monkeypatch, where, status):
    store, settings, _, before = copied

    def fail(*arguments, **options):
        if status == "too-large":
            return 10**18
        raise MemoryError("no more") if status == "out-of-memory" else OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(f"gsbench.{where}", fail)
        if status == "failed":
            with pytest.raises(OSError, match="the disk is gone"):
                run_training(settings, store)
        else:
            run_training(settings, store)
    record = store.record(settings.key)
    assert record["status"] == status
    assert {name: record[name] for name in MEASURED} == {name: before[name] for name in MEASURED}
    ends_as_one_that_was_not_stopped(copied, resumed=1)


def test_a_run_that_is_begun_anew_and_fails_on_its_way_has_its_own_figures(copied, monkeypatch):
    store, settings, *_ = copied
    store.drop_checkpoint(settings.key)
    advance = Training.advance

    def fail(self):
        if self.steps == 2:
            raise OSError("the disk is gone")
        return advance(self)

    monkeypatch.setattr(Training, "advance", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        run_training(settings, store)
    record = store.record(settings.key)
    assert (record["status"], record["step"], record["curve_step"], record["resumed"]) == ("failed", 2, [0, 2], 0)


# Records that cannot be read

ODD_RECORDS = [
    b"", b"\n", b"{", b'{"status": "ok"', b"[]", b"{}", b"5", b"null", b"true", b'"ok"', b'[{"status": "ok"}]',
    b'{"status": 5}', b'{"status": null}', b'{"status": ["ok"]}', b'{"status": "ok", "step": "7"}',
    b'{"status": "ok", "step": true}', b'{"status": "ok", "reason": 3}', b'{"status": "ok", "test_accuracy": []}',
    b'{"status": "ok", "loss": NaN}', b'{"status": "ok", "loss": -Infinity}', b'{"status": "ok"}\n{"status": "ok"}\n',
    b"\xff\xfe", b"\x00" * 100, b'{"a": ' + b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("content", ODD_RECORDS, ids=range(len(ODD_RECORDS)))
def test_a_run_with_an_unreadable_record_counts_as_unfinished(tmp_path, content):
    store = Store(tmp_path)
    assert (store.record("a"), store.problem("a")) == (None, "")
    store.run("a").mkdir()
    path = store.run("a") / "record.jsonl"
    path.write_bytes(content)
    assert store.record("a") is None
    assert not store.finished("a")
    assert store.problem("a").startswith(f"{path} is no record of a run: ")
    assert store.with_figures_kept("a", {"status": "failed"}) == {"status": "failed"}
    store.write_record("a", {"status": "ok"})
    assert (store.record("a"), store.problem("a"), store.finished("a")) == ({"status": "ok"}, "", True)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"status": "ok", "ste'])
def test_a_run_with_a_torn_record_resumes_from_its_checkpoint(copied, content):
    store, settings, *_ = copied
    (store.run(settings.key) / "record.jsonl").write_bytes(content)
    ends_as_one_that_was_not_stopped(copied, resumed=1)


def test_the_command_says_that_a_record_is_torn_and_makes_the_run(tmp_path, capsys):
    options = ["train", "--preset", "small", "--classes", "2", "--labels", "2", "--batch", "10", "--threads", "1"]
    options += ["--steps", "4", "--evaluate-every", "2", "--validation-images", "20", "--test-draws", "1"]
    path = Store(tmp_path).run(tiny().key) / "record.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert main([*options, "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert f"{path} is no record of a run: " in printed.err
    assert "The run counts as unfinished" in printed.err
    assert printed.out.startswith("ok; step 4")
    assert Store(tmp_path).finished(tiny().key)
