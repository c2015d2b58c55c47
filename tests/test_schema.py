"""The table of a record's fields: gsbench's own records pass, and an error names a value that is not allowed."""

import json
import math
from pathlib import Path

import pytest
from records_fixture import make_record, make_run, peer_records, training_records

from gsbench.estimators import ESTIMATORS
from gsbench.records import frame
from gsbench.records.schema import FIELDS, LONGEST, REQUIRED, fault
from gsbench.settings.presets import PRESETS
from gsbench.settings.run import LABELS_ONLY
from gsbench.settings.run import make_run as make_training_run

KEPT = sorted(Path(__file__).parents[1].glob("reports/**/*.jsonl"))
NUMBERS = [field for field, kind in FIELDS.items() if not kind.is_text and kind.holds(10)]
DEEP = json.loads("[" * 22 + "]" * 22)
TEXTS = [field for field, kind in FIELDS.items() if kind.is_text]


@pytest.mark.skipif(not KEPT, reason="an installed gsbench has no kept reports")
def test_every_record_of_the_kept_reports_passes_and_has_no_other_field():
    records = [json.loads(line) for path in KEPT for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(records) > 400
    assert {fault(record) for record in records} == {""}
    assert {field for record in records for field in record} - set(FIELDS) == set()


def test_the_records_of_the_tests_pass():
    for record in [*make_run(), *peer_records([10]), *training_records()]:
        assert fault(record) == ""


@pytest.mark.parametrize("preset", PRESETS)
def test_the_settings_of_a_run_are_in_the_table(preset):
    for name in (*ESTIMATORS, LABELS_ONLY):
        norm_free = {"model": "m2"} if name == "sparsemax" else {}
        options = {"preset": preset, "dataset": "glyphs", "estimator": name, "threads": 1, "steps": 5, **norm_free}
        try:
            fields = make_training_run(options).record_fields()
        except ValueError:
            continue  # not defined for this preset's networks
        assert set(fields) <= set(FIELDS)
        assert fault(make_record("training", **fields)) == ""


def test_every_column_of_the_frame_is_in_the_table():
    assert set(frame.FIELDS) <= set(FIELDS)


def test_null_is_allowed_except_in_required_fields():
    record = make_record("step")
    for field in FIELDS:
        told = fault({**record, field: None})
        assert bool(told) == (field in (*REQUIRED, "schema_version")), field


@pytest.mark.parametrize("field", TEXTS)
def test_a_text_is_neither_number_nor_list_and_not_too_long(field):
    for value in (3, 0.5, True, [], ["a"], {}, math.nan, "x" * 100_001):
        told = fault({**make_record("step"), field: value})
        assert told.startswith(f"{field} must be ")
        assert ", got " in told


@pytest.mark.parametrize("field", NUMBERS)
def test_a_number_is_no_text_no_flag_and_finite(field):
    for value in ("3", "", True, False, [1], {}, math.nan, math.inf, -math.inf, 10**400, -(10**400)):
        assert fault({**make_record("step"), field: value}).startswith(f"{field} must be a ")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("n_classes", (2, 10.0, 10**15), (1, 0, -1, 3.5, 10**16)),
        ("step_seconds", (1e-9, 3, 1e6), (0, -1, 1e-13)),
        ("speedup", (0.01, 99), (0, -2)),
        ("speedup_low", (0, 1), (-0.1,)),
        ("validation_accuracy", (0, 1, 0.5), (-0.01, 1.01, 50)),
        ("confidence", (0.5, 0.99), (0, 1, 95)),
        ("logits_squared_bias", (-0.1, 0.5), (1e31,)),
        ("weight_prior", (True, False), (0, 1, "true")),
        ("curve_accuracy", ([], [0.1, None]), ([1.5], 0.1, ["0.1"], [[0.1]])),
        ("curve_step", ([], [0, 1, 1]), ([1, 0], [None], [0.5])),
        ("log_var_limits", ([-4.5, 2.5],), ([None], 3, "[1,2]")),
        ("case", ("x" * LONGEST,), ("", "x" * (LONGEST + 1))),
        ("reason", ("", "x" * 10_000), ("x" * 100_001,)),
        (
            "a_field_of_another",
            (3, "x", [1], {"a": [None]}, math.inf, 10**400),
            (DEEP,),
        ),
    ],
)
def test_the_values_that_a_field_allows(field, good, bad):
    assert [value for value in good if fault({**make_record("step"), field: value})] == []
    assert [value for value in bad if not fault({**make_record("step"), field: value})] == []


def test_the_curves_of_a_record_are_of_one_length():
    told = fault(make_record("training", curve_step=[1, 2], curve_accuracy=[0.5]))
    assert told == "its curves must be of one length, got curve_step 2, curve_accuracy 1"


def test_a_message_is_short_and_in_one_line():
    told = fault(make_record("step", batch="\x1b[2J\n" + "x" * 10_000))
    assert told.startswith("batch must be a whole number from 1 to 1e+15, got '\\x1b[2J\\nxxx")
    assert told.endswith("(10,011 characters)")
    assert told.isprintable()
    assert len(told) < 150
    told = fault(make_record("step", batch=["\x1b[2J\n\u202e"] * 100))
    assert told.isprintable()
    assert len(told) < 150


def test_a_plugin_s_setting_may_be_of_another_type_than_that_of_its_name():
    record = {**make_record("step", estimator="mine(tau=cold)"), "estimator_tau": "cold", "estimator_m": -1.5}
    assert fault(record) == ""
    assert fault({**record, "estimator": "gumbel-softmax"}).startswith("estimator_tau must be a number")
    assert fault({**record, "estimator_tau": [1]}).startswith("estimator_tau must be a finite number, text of")
