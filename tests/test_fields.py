"""Everything that follows from a setting's declaration: first in a dataclass of this file, then for all of a run."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gsbench.cli.completion import _names
from gsbench.compare.cases import OF_RUNS
from gsbench.fields import about, check_all, recorded, setting, settings_of
from gsbench.records import frame, text
from gsbench.records import training_tasks as training_settings
from gsbench.records.schema import FIELDS
from gsbench.runs.grid import make_runs, read_grids
from gsbench.settings.case import NETWORKS, Settings
from gsbench.settings.presets import PRESETS
from gsbench.settings.run import SETTINGS, RunSettings, make_run
from gsbench.values import Range, SettingError, whole

REPORTS = Path(__file__).parent.parent / "reports"


def refuse_x(value):
    if value == "x":
        raise SettingError("{word} is x")


@dataclass(frozen=True)
class Dough:
    eggs: int = setting(2, "eggs of a dough", whole(0, 9), about="work")
    heat: float = setting(180, "°C", Range(above=0), record="heat_celsius", caption="at {} °C")
    pan: str | None = setting(None, "which pan", ("round", "square"), about="task", option="tin")
    word: str = setting("hm", "what is said", refuse_x)
    sweet: bool = setting(True, "with sugar")
    span: tuple[float, float] | None = setting(None, "low,high")
    other: int = 3

    def __post_init__(self):
        check_all(self)


def test_a_declaration_has_names_type_and_default():
    found = settings_of(Dough)
    assert [*found] == ["eggs", "heat", "pan", "word", "sweet", "span"]  # other fields are no settings
    assert {name: (s.kind, s.or_none, s.default) for name, s in found.items()} == {
        "eggs": (int, False, 2),
        "heat": (float, False, 180),
        "pan": (str, True, None),
        "word": (str, False, "hm"),
        "sweet": (bool, False, True),
        "span": (tuple, True, None),
    }
    assert [(s.option, s.record) for s in found.values()][:3] == [
        ("eggs", "eggs"),
        ("heat", "heat_celsius"),
        ("tin", "pan"),
    ]
    assert (found["pan"].names, found["word"].names, found["eggs"].names) == (("round", "square"), (), ())
    assert about(found, "task", "work") == ("pan", "eggs")


def test_values_are_brought_into_one_form():
    assert recorded(Dough(heat=200, span=[-1, 2])) == {
        "eggs": 2, "heat_celsius": 200.0, "pan": None, "word": "hm", "sweet": True, "span": [-1.0, 2.0],
    }  # fmt: skip
    made = Dough(heat=200, span=[-1, 2])
    assert (type(made.heat), made.span) == (float, (-1.0, 2.0))
    assert made == Dough(heat=200.0, span=(-1.0, 2.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"eggs": 10}, "eggs must be >= 0 and <= 9, got 10"),
        ({"eggs": 1.5}, "eggs must be an integer >= 0 and <= 9, got 1.5"),
        ({"eggs": True}, "eggs must be an integer >= 0 and <= 9, got True"),
        ({"eggs": None}, "eggs must be an integer >= 0 and <= 9, got None"),
        ({"heat": "hot"}, "heat must be a finite number > 0, got 'hot'"),
        ({"heat": float("nan")}, "heat must be > 0 and finite, got nan"),
        ({"pan": "squar"}, "unknown pan 'squar'; known: round, square; did you mean 'square'?"),
        ({"pan": ["round"]}, "unknown pan ['round']; known: round, square"),
        ({"word": 3}, "word must be text, got 3"),
        ({"word": "x"}, "word is x"),
        ({"sweet": 1}, "sweet must be true or false, got 1"),
        ({"span": (2, 1)}, "span must be (low, high) with low < high, got (2, 1)"),
        ({"span": "ab"}, "span must be (low, high) with low < high, got 'ab'"),
        ({"span": [0, True]}, "span must be (low, high) with low < high, got [0, True]"),
    ],
)
def test_bad_values_are_refused_and_the_error_says_what_is_allowed(given, message):
    with pytest.raises(SettingError) as error:
        Dough(**given)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [("eggs", "3", 3), ("heat", "2e2", 200.0), ("pan", "round", "round"), ("span", "-1, 2.5", (-1.0, 2.5))],
)
def test_options_are_parsed_according_to_their_kind(name, written, read):
    assert settings_of(Dough)[name].read(written) == read


@pytest.mark.parametrize(
    ("name", "written", "message"),
    [
        ("eggs", "1_0", "must be an integer, got '1_0'"),
        ("heat", "inf", "must be a finite number, got 'inf'"),
        ("span", "1,b", r"must be \(low, high\) with low < high, such as -4.6,2.3, got '1,b'"),
    ],
)
def test_text_that_is_no_value_is_refused(name, written, message):
    with pytest.raises(ValueError, match=message):
        settings_of(Dough)[name].read(written)


# All settings of a run


def test_every_default_is_allowed():
    for name, s in SETTINGS.items():
        if s.default is not dataclasses.MISSING and name != "threads":
            assert s.checked(s.default) == s.default, name


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_a_field_in_the_schema_an_option_s_text_and_tells_runs_apart(name):
    s = SETTINGS[name]
    assert FIELDS[s.record].is_text == (s.kind is str)
    assert s.help
    told = {*training_settings.OF_TASK, *training_settings.BUDGETS, *training_settings.OTHERS}
    assert (s.record in told) == (name not in ("estimator", "n_classes", "seed"))


def test_the_lists_that_reports_read():
    """Each of the networks' settings tells series apart, because networks may differ from the preset's."""
    session = {"device", "threads", "dtype", "backend"}
    assert set(frame.SERIES_FIELDS) == {*session, "preset", "batch", "n_mc", *NETWORKS}
    assert set(OF_RUNS) == session
    assert {
        "clip_norm", "clip_element", "labelled_batch", "init_std", "output_std", "log_var_limits", "classifier_units",
        "evaluate_every_steps", "validation_images", "budget_epochs", "budget_patience", "budget_steps",
        "budget_seconds",
    } == training_settings.NULL_IS_OFF  # fmt: skip
    assert list(text.CAPTIONS) == ["preset", "batch", "n_mc", "dtype", "backend", "dataset", "labelled_per_class"]


def test_completion_knows_the_names_of_every_setting_that_has_some():
    named = _names("train")
    assert named["norm"] == ("none", "batch")
    assert named["preset"] == tuple(PRESETS)
    assert {"model", "dataset", "dtype", "backend", "binarize", "nonlinearity", "init", "estimator"} < set(named)


@pytest.mark.parametrize("report", ["classes", "mnist-blog", "tuned"])
def test_a_kept_record_says_all_of_its_run_and_the_run_keeps_its_name(report, monkeypatch):
    """If a new setting at its default changed a run's name, every kept run would be made anew."""
    monkeypatch.setattr("gsbench.settings.case.available_cores", lambda: 10**6)  # records come from other machines
    of_record = {name: s.record for name, s in SETTINGS.items() if not s.filled}
    lines = [line for path in (REPORTS / report).rglob("*.jsonl") for line in path.read_text("utf-8").splitlines()]
    for record in map(json.loads, lines):
        assert make_run({n: record[f] for n, f in of_record.items() if f in record}).key == record["case"]
    assert len(lines) >= 4


def test_a_setting_of_the_networks_enters_the_key_where_it_is_changed():
    plain = make_run({"preset": "tuned", "threads": 1})
    assert make_run({"preset": "tuned", "threads": 1, "drop_x": 0.2, "norm": "batch"}).key == plain.key  # the preset's
    keys = {make_run({"preset": "tuned", "threads": 1, "drop_x": share}).key for share in (0, 0.1, 0.2)}
    assert len(keys) == 3
    assert plain.key in keys


def test_any_setting_of_the_networks_can_be_an_axis_of_a_grid(tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text('[grid]\npreset = "small"\nthreads = 1\ndrop_x = [0, 0.2]\nlog_var_limits = [-4.5, 2]\n')
    runs = make_runs(read_grids(path))
    assert [run.case.make_config().drop_x for run in runs] == [0.0, 0.2]
    assert {run.case.make_config().log_var_limits for run in runs} == {(-4.5, 2.0)}
    assert [run.record_fields()["drop_x"] for run in runs] == [0.0, 0.2]
    path.write_text("[grid]\nthreads = 1\nlog_var_limits = [[-4.5, 2], [-1, 1]]\n")
    assert len(make_runs(read_grids(path))) == 2


def test_the_records_of_a_run_have_each_setting_once():
    fields = make_run({"preset": "small", "threads": 1, "evaluate_every": 7, "seconds": 3}).record_fields()
    assert {s.record for s in SETTINGS.values()} <= set(fields)
    assert (fields["evaluate_every_steps"], fields["budget_seconds"], fields["budget_steps"]) == (7, 3.0, None)
    assert "networks" not in fields
    assert {s.record for s in settings_of(RunSettings).values()} & {
        s.record for s in settings_of(Settings).values()
    } == set()
