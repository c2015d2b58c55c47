"""`gsbench train`: what it prints, its exit codes, and that its options reach the run."""

import os
import re
import signal
import sys

import pytest

from gsbench.cli import main
from gsbench.cli import train as command
from gsbench.runs import Store
from gsbench.settings.case import NETWORKS
from gsbench.settings.presets import PRESETS
from gsbench.settings.recipe import Recipe
from gsbench.settings.run import make_run
from gsbench.training.trainer import Progress

TINY = ["train", "--preset", "small", "--classes", "2", "--labels", "2", "--batch", "10", "--threads", "1",
        "--steps", "3", "--evaluate-every", "2", "--validation-images", "20", "--test-draws", "1"]  # fmt: skip
SETTINGS = {"preset": "small", "dataset": "glyphs", "n_classes": 2, "labelled_per_class": 2, "batch": 10, "threads": 1,
            "steps": 3, "evaluate_every": 2, "validation_images": 20, "test_draws": 1}  # fmt: skip
KEY = make_run(SETTINGS).key


@pytest.fixture
def asked(monkeypatch):
    """The settings and options that the command passes to the run. Nothing is trained."""
    calls = []

    def ask(settings, store, **options):
        calls.append((settings, store, options))
        return {"status": "ok", "reason": ""}

    monkeypatch.setattr(command, "run_training", ask)
    return calls


def test_a_run_prints_one_line_of_results_and_its_folder(tmp_path, capsys):
    options = [*TINY, "--runs", str(tmp_path)]
    assert main(options) == 0
    printed = capsys.readouterr()
    line, folder = printed.out.splitlines()
    assert re.fullmatch(
        r"ok; step 3, epoch 0\.\d+, \d+ s of training; validation accuracy \d+\.\d\d %; test accuracy \d+\.\d\d %", line
    )
    assert folder == str(tmp_path / KEY)
    record = Store(tmp_path).record(KEY)
    assert f"test accuracy {100 * record['test_accuracy']:.2f} %" in line
    assert printed.err.startswith(f"run {KEY} in {tmp_path}\n")
    assert "3/3 steps" in printed.err
    assert "steps/s, loss " in printed.err
    assert "already finished" not in printed.err

    assert main(options) == 0
    again = capsys.readouterr()
    assert again.out == printed.out
    assert again.err == (
        f"run {KEY} in {tmp_path}\nThis run is already finished; delete its folder to repeat it.\n"
    )
    assert main(["--quiet", *options]) == 0
    assert capsys.readouterr() == (printed.out, "")


def test_a_run_that_patience_alone_ends_shows_its_steps(tmp_path, capsys):
    budget = TINY.index("--steps")
    options = [*TINY[:budget], *TINY[budget + 2 :], "--patience", "0.3", "--learning-rate", "1e-6"]
    assert main([*options, "--evaluate-every", "1", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    steps = int(re.match(r"ok; step (\d+),", printed.out)[1])
    assert steps >= 19  # twenty evaluations
    assert f"{steps} steps [" in printed.err


def test_quiet_leaves_the_result_alone(tmp_path, capsys):
    assert main([*TINY, "--runs", str(tmp_path), "-q"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("ok; step 3,")
    assert printed.err == ""


@pytest.mark.parametrize(
    ("status", "code", "line"),
    [
        ("ok", 0, "ok"),
        ("unfinished", 130, "unfinished (why)"),
        ("diverged", 3, "diverged (why)"),
        ("too-large", 4, "too-large (why)"),
        ("out-of-memory", 4, "out-of-memory (why)"),
    ],
)
def test_the_exit_code_is_the_status(tmp_path, monkeypatch, capsys, status, code, line):
    record = {"status": status, "reason": "" if status == "ok" else "why"}
    monkeypatch.setattr(command, "run_training", lambda *arguments, **options: record)
    assert main([*TINY, "--runs", str(tmp_path)]) == code
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == line
    assert ("the same command resumes from there" in printed.err) == (status == "unfinished")


def test_a_run_s_budget_of_seconds_is_followed_in_seconds(capsys):
    settings = make_run({"seconds": 20})
    with command.Bar() as bar:
        bar.start(settings, None, Progress(7, 0.1, 5.0, 0.25, None))
        bar.bar.refresh()
    assert " 25%|" in (shown := capsys.readouterr().err)
    assert "5/20 s" in shown
    assert bar.accuracy == "accuracy 25.0 %"


# Options

OF_CASE = {"model": "m2", "batch": 7, "n_mc": 2, "binarize": "none", "dtype": "float64", "threads": 1}
OF_EVALUATION = {"evaluate_every": 11, "validation_images": 12, "validation_draws": 13, "test_draws": 14}
OF_BUDGET = {"epochs": 2.5, "steps": 9, "seconds": 1.5}


def flags(options):
    return [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def test_options_reach_the_settings(tmp_path, asked):
    options = flags({**OF_CASE, **OF_EVALUATION, **OF_BUDGET})
    options += ["--estimator", "gumbel-softmax(tau=0.5)", "--classes", "3", "--seed", "4", "--labels", "5"]
    assert main(["train", *options, "--runs", str(tmp_path), "--checkpoint-seconds", "8"]) == 0
    ((settings, store, given),) = asked
    for name, value in OF_CASE.items():
        assert getattr(settings.case, name) == value, name
    for name, value in {**OF_EVALUATION, **OF_BUDGET}.items():
        assert getattr(settings, name) == value, name
    case = settings.case
    assert (case.n_classes, case.seed, case.labelled_per_class, case.make_estimator().tau) == (3, 4, 5, 0.5)
    assert (store.folder, given["checkpoint_seconds"], given["data_dir"]) == (tmp_path, 8, None)


def test_options_of_the_networks_take_the_place_of_the_preset_s(tmp_path, asked):
    options = ["--preset", "tuned", "--drop-x", "0.1", "--norm", "none", "--d-z", "9", "--log-var-limits=-4.5,2"]
    assert main(["train", *options, "--runs", str(tmp_path)]) == 0
    config = asked[0][0].case.make_config()
    assert (config.drop_x, config.norm, config.d_z, config.log_var_limits) == (0.1, "none", 9, (-4.5, 2.0))
    assert (config.units, config.drop_hidden) == (128, 0.3)  # the preset's


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_without_options_is_itself(tmp_path, asked, preset):
    assert main(["train", "--preset", preset, "--seed", "3", "--runs", str(tmp_path)]) == 0
    assert asked[0][0] == make_run({"preset": preset, "seed": 3, "dataset": "glyphs", "n_classes": 10})


def test_a_presets_settings_can_be_switched_off(tmp_path, asked):
    assert main(["train", "--preset", "paper", "--no-weight-prior", "--runs", str(tmp_path)]) == 0
    assert PRESETS["paper"].run["weight_prior"]
    assert not asked[0][0].recipe.weight_prior


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in (*OF_CASE, *OF_EVALUATION, *OF_BUDGET, *vars(Recipe()), *NETWORKS):
        assert f"--{name.replace('_', '-')}" in text, name
    for preset in PRESETS:
        assert preset in text
    assert "codes: 0 done, 2 unusable arguments or files, 3 diverged, 4 does not fit into memory, 130 stopped" in text


# Refusals


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--estimator", "guess"], "--estimator: unknown estimator 'guess'"),
        (["--estimator", "label-only"], "; did you mean 'labels-only'?"),
        (["--estimator", "gumbel-softmax(tau=0.5,tau=2)"], "tau must be given once, got it twice"),
        (["--estimator", "gumbel-softmax(tau=-1)"], "tau"),
        (["--preset", "huge"], "unknown --preset 'huge'; known: default"),
        (["--dataset", "mnits"], "unknown --dataset 'mnits'; known: "),
        (["--dataset", "mnits"], "; did you mean 'mnist'?"),
        (["--classes", "0"], "--classes must be >= 2, got 0"),
        (["--drop-x", "1"], "--drop-x must be >= 0 and < 1, got 1.0"),
        (["--norm", "layer"], "unknown --norm 'layer'; known: none, batch"),
        (["--log-var-limits=2,1"], "--log-var-limits must be (low, high) with low < high, got (2.0, 1.0)"),
        (["--shift", "100"], "--shift must be >= 0 and <= 27, got 100"),
        (["--epochs", "1e308"], "--epochs must be > 0 and <= 1000000000, got 1e+308"),
        (["--learning-rate-every", "1e-320"], "--learning-rate-every must be >= 1e-09, got 1e-320"),
        (["--test-draws", "1000000000000"], "--test-draws must be >= 1 and <= 20000, got 1000000000000"),
        (["--data-dir", "~nosuchuser/x"], "'~nosuchuser/x' cannot be used: "),
        (["--dataset", "synthetic"], "no accuracy can be learnt"),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "nowhere"),
        (["--classes", "1"], "--classes must be >= 2, got 1"),
        (["--classes", "100000"], "classes, got 100000"),
        (["--learning-rate", "0"], "--learning-rate must be > 0, got 0.0"),
        (["--polyak", "1"], "--polyak must be >= 0 and < 1, got 1.0"),
        (["--seconds", "-1"], "--seconds must be > 0 and <= 1000000000, got -1.0"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_unusable_arguments_are_one_line_on_stderr_and_exit_code_2(tmp_path, monkeypatch, capsys, options, why):
    monkeypatch.chdir(tmp_path)
    assert main([*TINY, *options, "--quiet"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    error = printed.err.splitlines()[-1]
    assert error.startswith("gsbench: error: ")
    assert why in error
    assert [line for line in printed.err.splitlines() if not line.startswith("run ")] == [error]


def test_limits_that_are_no_pair_of_numbers_are_refused_with_an_example(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*TINY, "--log-var-limits", "2;1"])
    error = "--log-var-limits: must be (low, high) with low < high, such as -4.6,2.3, got '2;1'"
    assert capsys.readouterr().err.splitlines()[-1].endswith(error)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--steps", "many"], "argument --steps: must be an integer, got 'many'"),
        (["--classes", "１０"], "argument --classes: must be an integer, got '１０'"),
        (["--classes", "1_0"], "argument --classes: must be an integer, got '1_0'"),
        (["--batch", "1_0"], "argument --batch: must be an integer, got '1_0'"),
        (["--learning-rate", "nan"], "argument --learning-rate: must be a finite number, got 'nan'"),
        (["--epochs", "inf"], "argument --epochs: must be a finite number, got 'inf'"),
        (["--checkpoint-seconds", "nan"], "argument --checkpoint-seconds: must be a number >= 0 and <= 1000000000"),
        (["--checkpoint-seconds=-5"], "argument --checkpoint-seconds: must be a number >= 0 and <= 1000000000"),
        (["--runs", ""], "argument --runs: must be the name of a file or folder, got ''"),
        (["--colour", "red"], "unrecognized arguments: '--colour red'"),
        (["--learning_rate", "1"], "unrecognized arguments: '--learning_rate 1'; did you mean '--learning-rate'?"),
        (["--labels"], "argument --labels: expected one argument"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(options, why, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", *options])
    assert stop.value.code == 2
    assert f"error: {why}" in " ".join(capsys.readouterr().err.split())


def test_a_run_that_another_process_makes_is_refused_in_one_line(tmp_path, capsys):
    store = Store(tmp_path)
    with store.lock(KEY):
        assert main([*TINY, "--runs", str(tmp_path), "--quiet"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error == f"gsbench: error: another process is making the run {KEY} in {tmp_path}"


def test_a_damaged_checkpoint_is_refused_by_its_name(tmp_path, capsys):
    store = Store(tmp_path)
    store.run(KEY).mkdir()
    (store.run(KEY) / "checkpoint.npz").write_bytes(b"PK\x03\x04 no more")
    assert main([*TINY, "--runs", str(tmp_path), "--quiet"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"gsbench: error: {store.run(KEY) / 'checkpoint.npz'} is damaged")
    assert store.record(KEY)["status"] == "failed"


# Signals


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number, capsys):
    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    seen = []
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    signal.signal(signal.SIGTERM, lambda *arguments: seen.append("ended"))
    try:
        with command.asked_to_stop() as stop:
            assert not stop.is_set()
            os.kill(os.getpid(), number)
            assert stop.wait(5)
            assert "stopping after this step, with a checkpoint" in capsys.readouterr().err
            try:
                os.kill(os.getpid(), number)
                for _ in range(1000):  # Python handles it between two of its own steps
                    pass
            except KeyboardInterrupt:
                seen.append("ended")
        assert seen == ["ended"]
        with command.asked_to_stop() as stop:
            pass
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_run_that_is_asked_to_stop_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    step = command.Bar.step

    def interrupt(self, training, loss):
        step(self, training, loss)
        if training.steps == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(command.Bar, "step", interrupt)
    options = [*TINY, "--runs", str(tmp_path)]
    assert main(options) == 130
    printed = capsys.readouterr()
    assert printed.out.startswith("unfinished (stopped); step 2,")
    assert "Stopped with a checkpoint: the same command resumes from there." in printed.err
    assert (tmp_path / KEY / "checkpoint.npz").exists()
    monkeypatch.undo()
    assert main(options) == 0
    assert capsys.readouterr().out.startswith("ok; step 3,")
    assert Store(tmp_path).record(KEY)["resumed"] == 1
