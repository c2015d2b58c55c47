"""`gsbench plan`: what it prints, draws and refuses."""

import json
import re

import matplotlib.image
import pytest
from plan_fixture import plan_records, true_figure
from records_fixture import make_record, write_lines

import gsbench
from gsbench.cli import main
from gsbench.planner.figure import draw
from gsbench.planner.questions import Crossover, Largest
from gsbench.planner.table import crossover_sentence, duration, largest_sentence
from gsbench.records.text import seconds
from gsbench.report.drawing.sheet import figure_settings


@pytest.fixture
def records_file(tmp_path):
    return str(write_lines(tmp_path / "run.jsonl", plan_records()))


@pytest.mark.usefixtures("wide_terminal")
def test_the_sentence_of_the_help_prints_its_tables(records_file, capsys):
    names = ["--estimators", "marginalize-streamed,gumbel-softmax"]
    assert main(["plan", "--classes", "50,500", *names, "--memory", "8GiB", "--steps", "50000", records_file]) == 0
    out, err = capsys.readouterr()
    for heading in (
        "Predicted, with 95 % intervals",
        "The exact sum compared with samplers",
        "What fits",
        "A whole training run",
    ):
        assert heading in out
    number, unit = seconds(true_figure("step", "marginalize-streamed", 500)).split()
    assert re.search(rf"^500 +marginalize-streamed +{number} \[.*\] {unit}\*", out, re.MULTILINE)
    assert "* extrapolated" in out
    assert "step: gumbel-softmax is 2.00 times cheaper than marginalize-streamed from K = " in out
    assert "marginalize-streamed: up to K = " in out
    assert re.search(r"training step +gumbel-softmax +10, 20, 50, 100 +0.0 % at K = ", out)
    assert "These records come from another machine than this one." in err


def test_the_mark_of_what_extrapolates_is_explained_wherever_it_stands(records_file, capsys):
    """Here only a sentence about memory has the mark, and no prediction above it."""
    for more, last in ((["--memory", "8GiB"], "* extrapolated: beyond the measured class counts or sizes"), ([], None)):
        names = ["--estimators", "marginalize-streamed"]
        assert main(["plan", "--classes", "50", *names, *more, records_file]) == 0
        out = capsys.readouterr().out
        assert out.count("*") == (2 if last else 0)
        assert last is None or out.splitlines()[-1] == last


def test_json_is_strict_and_alone_on_stdout(records_file, capsys):
    assert main(["plan", "--classes", "50", "--json", records_file]) == 0
    out, err = capsys.readouterr()

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    told = json.loads(out, parse_constant=refuse)
    step = next(p for p in told["predictions"] if (p["metric"], p["estimator"]) == ("step", "gumbel-softmax"))
    assert step["value"] == pytest.approx(true_figure("step", "gumbel-softmax", 50), rel=1e-5)
    assert step["extrapolates"] == []
    assert told["shape"]["units"] == 500
    assert told["largest"] == []
    assert "another machine" in err


def test_quiet_says_nothing_on_stderr(records_file, capsys):
    assert main(["plan", "--quiet", "--classes", "500", records_file]) == 0
    out, err = capsys.readouterr()
    assert "Predicted" in out
    assert err == ""


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_figure_is_drawn_the_same_each_time(records_file, tmp_path, suffix, capsys):
    written = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.{suffix}"
        assert main(["plan", "--classes", "500", "--figure", str(path), records_file]) == 0
        written.append(path.read_bytes())
    assert written[0] == written[1]
    if suffix == "png":
        assert matplotlib.image.imread(path).shape[1] > 1000


def test_the_figure_shows_points_curves_errors_and_the_crossover(records_file):
    plan = gsbench.plan([records_file], classes=[5, 500])
    with figure_settings():
        step, memory = draw(plan).axes
    assert [ax.get_title() for ax in (step, memory)] == ["training step", "peak of live arrays"]
    styles = [(line.get_linestyle(), line.get_marker()) for line in step.get_lines()]
    assert styles.count(("--", "None")) == 2  # the whole curve, under
    assert styles.count(("-", "None")) == 2  # where it was measured
    assert styles.count(("None", "x")) == 8  # each class count predicted without it
    assert styles.count((":", "None")) == 1
    (label,) = (text.get_text() for text in step.texts)
    found = next(c for c in plan.crossovers if c.metric == "step")
    assert label == f"K = {found.n_classes}: 2.00 × cheaper"
    solid = next(line for line in step.get_lines() if line.get_linestyle() == "-")
    assert (min(solid.get_xdata()), max(solid.get_xdata())) == (10, 100)
    assert len(step.patches) == 2  # shaded below 10 and beyond 100


def test_a_figure_of_other_sizes_has_no_points(records_file):
    plan = gsbench.plan([records_file], classes=[50, 80], batch=300)
    with figure_settings():
        step = draw(plan).axes[0]
    assert {line.get_marker() for line in step.get_lines()} == {"None"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--classes", "1"], "class counts are integers >= 2 such as 10,100, got '1'"),
        (["--classes", "ten"], "got 'ten'"),
        (["--memory", "8 apples"], "must be a size of at least 1MB, such as 500MB, 8GiB or 8000000000, got '8 apples'"),
        (["--memory", "3"], "at least 1MB"),
        (["--memory", "9" * 400], "at least 1MB and at most 8EiB"),
        (["--memory", "1_0GB"], "at least 1MB"),
        (["--memory", "１GB"], "at least 1MB"),
        (["--classes", "9" * 400], "class counts are integers >= 2 and <= 9223372036854775807"),
        (["--classes", "１０"], "got '１０'"),
        (["--steps", "9" * 400], "argument --steps: must be an integer <= 9223372036854775807, got '999"),
        (["--batch", "9" * 400], "argument --batch: must be an integer <= 9223372036854775807, got '999"),
        (["--epochs", "1e400"], "argument --epochs: must be a finite number, got '1e400'"),
        (["--estimators", "gumble"], "unknown estimator 'gumble'"),
        (["--figure", "plan.pdf"], "a figure's name ends in .png or .svg, got 'plan.pdf'"),
    ],
)
def test_an_option_that_cannot_be_read_is_exit_code_2(arguments, why, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["plan", *arguments, "nowhere.jsonl"])
    assert stop.value.code == 2
    assert why in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere.jsonl"], "no such file: nowhere.jsonl"),
        (["--no-calibrate"], "no record of time or memory of this machine under '.benchmarks'"),
        (["--ratio", "-1", "run.jsonl"], "--ratio must be >= 1 and <= 1000000000, got -1.0"),
        (["--ratio", "0.5", "run.jsonl"], "--ratio must be >= 1 and <= 1000000000, got 0.5"),
        (["--epochs", "1e308", "--examples", "10", "run.jsonl"], "--epochs must be > 0 and <= 1000000000, got 1e+308"),
        (["--classes", "9223372036854775807", "run.jsonl"], "--classes must be integers >= 2 and <= 1,000,000,000,000"),
        (["--layers", "9223372036854775807", "run.jsonl"], "--layers must be >= 1 and <= 1000, got 92233720"),
        (["--device", "tpu", "run.jsonl"], "unknown --device 'tpu'; allowed: cpu, cuda:N"),
        (["--epochs", "2", "run.jsonl"], "--epochs needs --examples"),
        (["--preset", "huge", "run.jsonl"], "unknown --preset 'huge'"),
        (["--model", "m3", "run.jsonl"], "unknown --model 'm3'; known: adgm, m2"),
        (["--preset", "smal", "run.jsonl"], "; did you mean 'small'?"),
        (["--dtype", "float64", "run.jsonl"], "no record of time or memory in run.jsonl, dtype float64"),
        (["--model", "m2", "run.jsonl"], "or measure with --calibrate"),
        (["--figure", "none/plan.png", "run.jsonl"], "there is no folder 'none'"),
        (["few.jsonl"], "or measure with --calibrate"),
    ],
)
def test_what_cannot_be_planned_is_said_in_a_line_and_exit_code_2(
    tmp_path, monkeypatch, records_file, capsys, arguments, why
):
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "few.jsonl", [make_record("step", step_seconds=1.0)])
    if "--no-calibrate" in arguments:
        monkeypatch.chdir(tmp_path.parent)
    assert main(["plan", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gsbench: error: ")
    assert why in err


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["plan", "--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert "gsbench plan --classes 500 --estimators marginalize-streamed,gumbel-softmax" in told
    assert "exit codes: 0 done, 2 unusable arguments or files" in told


# Sentences


def test_sentences_of_crossovers():
    def told(verdict, at, low, high, beyond=()):
        ends = ("step", "draw", "sum", 2.0, verdict, at, low, high, 2, 1000, beyond)
        return crossover_sentence(Crossover(*ends)).removeprefix("step: draw is 2.00 times cheaper than sum")

    even = Crossover("step", "draw", "sum", 1.0, "from", 12, 11, 14, 2, 1000, ())
    assert crossover_sentence(even) == "step: draw is as cheap as sum from K = 12 on (95 % interval: 11 to 14)"
    assert told("from", 12, 11, 14) == " from K = 12 on (95 % interval: 11 to 14)"
    assert told("from", 12, 11, None, ("K",)) == " from K = 12 on (95 % interval: 11 to beyond 1,000) *"
    assert told("always", 2, 2, 2) == ": always for K = 2 to 1,000"
    assert told("always", 2, 2, 9) == ": always for K = 2 to 1,000; certain from K = 9"
    assert told("always", 2, 2, None) == ": always for K = 2 to 1,000; certain nowhere"
    nowhere = "step: nowhere from K = 2 to 1,000 is draw 2.00 times cheaper than sum"
    assert told("never", None, None, None) == nowhere
    assert told("never", None, 900, None) == f"{nowhere}; its interval allows it from K = 900 on"


def test_sentences_of_what_fits():
    def told(low, at, high):
        return largest_sentence(Largest("process", "sum", 2**33, at, low, high))

    assert told(90, 100, 1200) == "sum: up to K = 100 fits 8.00 GiB (whole process) (95 % interval: 90 to 1,200)"
    assert told(0, 0, 3) == "sum: not even K = 2 fits 8.00 GiB (whole process) (95 % interval: 0 to 3)"
    assert told(90, None, None).startswith("sum: up to K = more than 1,000,000 fits")


@pytest.mark.parametrize(
    ("value", "told"),
    [(12.0, "12.0 s"), (119.0, "119 s"), (2070.0, "34.5 min"), (27000.0, "7.50 h"), (276480.0, "3.20 d")],
)
def test_durations(value, told):
    assert duration(value) == told
