"""Records say what an estimator is: an exact sum under any name is treated as one."""

import dataclasses
import json
import re
from collections import Counter
from typing import ClassVar

import pytest
from plan_fixture import plan_records
from records_fixture import gradient_records, make_record, make_run, peer_records, training_records, write_lines
from report_fixture import blank

import gsbench
from gsbench.estimators import ESTIMATORS, NO_FACTS, parse_estimator
from gsbench.estimators.marginalize_streamed import MarginalizeStreamed
from gsbench.records import order
from gsbench.records.facts import with_facts
from gsbench.records.frame import make_frame, names_with, works
from gsbench.report import make_report
from gsbench.report.drawing import styles
from gsbench.settings.case import Settings
from gsbench.settings.run import make_run as make_training_run

KNOWN_SUM, NEW_SUM = "marginalize-streamed", "one-by-one"  # with the same place in lists sorted by name
FACTS = [
    ("marginalize", True, False, False, False, 10),
    ("marginalize(class_noise=independent)", False, False, True, False, 10),
    ("marginalize-streamed", True, False, False, False, 10),
    ("gumbel-softmax(draws=3)", False, False, True, True, 3),
    ("straight-through", False, False, True, True, 1),
    ("gumbel-rao", False, False, True, True, 1),
    ("reinmax", False, False, True, False, 1),
    ("score-function", False, False, True, False, 2),
    ("sum-and-sample(m=5)", False, False, True, False, 6),
    ("sum-and-sample(mass=0.9)", False, False, True, False, None),
    ("sum-and-relax", False, False, True, False, 2),
    ("sum-and-relax(m=20)", False, False, True, False, 10),
    ("unordered-set(k=3)", False, False, True, False, 3),
    ("zgr", False, False, True, False, 1),
    ("softmax-straight-through", False, False, True, False, 1),
    ("sparsemax", False, True, False, False, None),
]
NAMES = ("exact_sum", "own_bound", "draws_y", "gumbel_softmax", "calls_of_f")


@dataclasses.dataclass(frozen=True)
class OneByOne(MarginalizeStreamed):
    """An exact sum whose name does not say so."""

    name: ClassVar[str] = NEW_SUM


@pytest.mark.parametrize(("name", *NAMES), FACTS)
def test_a_case_records_the_facts_of_its_estimator(name, exact_sum, own_bound, draws_y, gumbel_softmax, calls_of_f):
    fields = Settings(estimator=name, n_classes=10, threads=1).record_fields()
    assert [fields[fact] for fact in NAMES] == [exact_sum, own_bound, draws_y, gumbel_softmax, calls_of_f]
    old = make_record("step", estimator=name, n_classes=10)
    assert {fact: with_facts(old)[fact] for fact in NAMES} == {fact: fields[fact] for fact in NAMES}


@pytest.mark.parametrize(
    ("spelled", "work"),
    [
        ("gumbel-softmax", "gumbel-softmax"),
        ("gumbel-softmax(tau=0.5)", "gumbel-softmax"),
        ("gumbel-softmax(tau=0.5,draws=2)", "gumbel-softmax(draws=2)"),
        ("gumbel-rao(tau=2.0,draws=2,conditional_draws=5)", "gumbel-rao(draws=2,conditional_draws=5)"),
        ("marginalize-streamed(chunk=5)", "marginalize-streamed(chunk=5)"),
        ("sum-and-relax(mass=0.9,most=8,tau=0.5)", "sum-and-relax(mass=0.9,most=8)"),
    ],
)
def test_a_temperature_does_not_change_the_work(spelled, work):
    fields = Settings(estimator=spelled, threads=1).record_fields()
    assert fields["work"] == work
    frame = make_frame([make_record("step", estimator=spelled), make_record("step", estimator="labels-only")])
    assert works(frame) == {spelled: work, "labels-only": "labels-only"}


def test_the_facts_cover_every_estimator():
    assert {parse_estimator(name).name for name, *_ in FACTS} == set(ESTIMATORS)


def test_training_on_the_labels_alone_is_no_sum_and_draws_nothing():
    fields = make_training_run({"estimator": "labels-only", "preset": "small", "threads": 1}).record_fields()
    assert {name: fields[name] for name in NO_FACTS} == NO_FACTS
    assert with_facts(make_record("training", estimator="labels-only")).items() >= NO_FACTS.items()


def test_a_records_facts_about_its_estimator_count_under_any_name():
    told = {"exact_sum": False, "draws_y": True}
    assert with_facts(make_record("step", estimator="marginalize", **told)).items() >= told.items()
    unknown = with_facts(make_record("step", estimator="of a plug-in"))
    assert not set(NAMES) & set(unknown)
    assert names_with(make_frame([make_record("step", estimator="of a plug-in")]), "exact_sum") == []


def test_a_baseline_is_told_to_be_the_exact_sum_or_not():
    sums = [with_facts(make_record("speedup", baseline=name)) for name in ("marginalize", "gumbel-softmax", "plain")]
    assert [record.get("baseline_exact_sum") for record in sums] == [True, False, None]


def records_of(name):
    """Every kind of record that has an exact sum, of the known one or of the same under another name."""
    records = [
        *make_run(("adgm",), (KNOWN_SUM, "gumbel-softmax", "straight-through"), (10, 100), (100,), gradients=False),
        *gradient_records((10, 100), estimators=(KNOWN_SUM, "gumbel-softmax", "sum-and-sample", "sparsemax")),
        *peer_records((10,)),
        *training_records((10,), (KNOWN_SUM, "gumbel-softmax", "labels-only")),
    ]
    records = [record for record in records if record["estimator"] != "marginalize"]
    facts = {"exact_sum": True, "own_bound": False, "draws_y": False, "gumbel_softmax": False}
    for record in records if name != KNOWN_SUM else ():
        if record["estimator"] == KNOWN_SUM:
            record |= facts
        if record.get("baseline") == KNOWN_SUM:
            record["baseline_exact_sum"] = True
    return json.loads(json.dumps(records).replace(KNOWN_SUM, name))


def told(folder, name):
    """The page in Markdown and the numbers of its figures, with the sum under its known name and without padding."""
    page = make_report([write_lines(folder / f"{name}.jsonl", records_of(name))], name=name, output=folder)
    data = json.loads(re.search(r'id="drawn">(.*?)</script>', page.read_text(), re.DOTALL)[1])
    numbers = {figure: Counter(csv.splitlines()) for figure, csv in data.items()}
    text = re.sub(r"[ -]+", " ", page.with_name("report.md").read_text().replace(name, KNOWN_SUM))
    return text, json.loads(json.dumps(numbers).replace(name, KNOWN_SUM))


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_an_exact_sum_under_any_name_is_one_in_the_answer_the_tables_and_the_figures(tmp_path, monkeypatch):
    with blank():  # figures of the known sum are drawn elsewhere
        expected = told(tmp_path, KNOWN_SUM)
    places = {NEW_SUM if name == KNOWN_SUM else name: style for name, style in styles.KNOWN.items()}
    monkeypatch.setattr(styles, "KNOWN", places)
    own = tuple(NEW_SUM if name == KNOWN_SUM else name for name in order.OWN)
    monkeypatch.setattr(order, "OWN", own)  # so that it has the same place in every table
    assert told(tmp_path, NEW_SUM) == expected


def test_a_plan_uses_a_registered_sum(tmp_path, monkeypatch):
    monkeypatch.setitem(ESTIMATORS, NEW_SUM, OneByOne)
    asked = [NEW_SUM, "gumbel-softmax"]
    records = write_lines(tmp_path / "a.jsonl", plan_records(estimators=asked))
    plan = gsbench.plan([records], classes=[1000], estimators=asked)
    assert {found.baseline for found in plan.crossovers} == {NEW_SUM}
