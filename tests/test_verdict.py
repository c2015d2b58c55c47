"""The verdict: accuracy by step of known curves, times the seconds a step of made-up records."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from records_fixture import make_record, speedup_figures

from gsbench.records import reference as reference_module
from gsbench.records.frame import make_curves, make_frame
from gsbench.records.reference import CONDITIONS, reference, reference_curves, takes_reference, write_reference
from gsbench.report.drawing.sheet import figure_settings
from gsbench.report.drawing.styles import make_look
from gsbench.report.figures import FIGURES
from gsbench.report.page import make_page
from gsbench.report.predicted import OWN, REFERENCE, percent_after, predictions, seconds_to
from gsbench.report.verdict import verdict_note, verdict_sentence, verdict_table, verdict_text, verdicts
from gsbench.report.writers import markdown
from gsbench.settings.case import Settings
from gsbench.settings.run import make_run

# Accuracy by step: final·step/(step + half). The sum learns in the fewest steps, the draw ends lower.
FINAL = {"marginalize-streamed": 0.9, "gumbel-softmax": 0.7, "sum-and-relax": 0.895}
HALF = {"marginalize-streamed": 10.0, "gumbel-softmax": 20.0, "sum-and-relax": 20.0}
STEPS = list(range(0, 4001, 100))
SEEDS = (0, 1)


def accuracy(name, step, k, seed):
    return FINAL[name] * step / (step + HALF[name] * math.log10(k)) - 0.002 * seed


def run_record(name, k, seed, curve_accuracy=None, **more):
    given = {"preset": "small", "n_classes": k, "estimator": name, "seed": seed, "threads": 1, "labelled_per_class": 5}
    settings = make_run({**given, **more})
    curve = curve_accuracy or [accuracy(name, step, k, seed) for step in STEPS]
    figures = {
        "curve_step": STEPS, "curve_epoch": [float(s) for s in STEPS], "curve_seconds": [s / 10 for s in STEPS],
        "curve_wall_seconds": [s / 10 for s in STEPS], "curve_accuracy": curve, "curve_loss": [None] * len(STEPS),
        "curve_calls_of_f": [None] * len(STEPS), "validation_accuracy": curve[-1], "step": STEPS[-1],
        "train_seconds": STEPS[-1] / 10, "machine_cpu": f"CPU {seed}", "torch_version": "2", "gsbench_version": "0",
    }  # fmt: skip
    return {**make_record("training", **settings.record_fields()), **figures, "case": settings.key}


@pytest.fixture
def known(tmp_path, monkeypatch):
    """A reference of the formula, at K = 10, 100 and 1,000."""
    records = [run_record(name, k, seed) for name in FINAL for k in (10, 100, 1000) for seed in SEEDS]
    file = tmp_path / "reference.json"
    write_reference([*records, {**records[0], "status": "diverged"}], file)
    monkeypatch.setattr(reference_module, "FILE", file)
    reference.cache_clear(), reference_curves.cache_clear()
    yield file
    reference.cache_clear(), reference_curves.cache_clear()


def own_runs(names, accuracy_of=lambda step: 0.99 if step else 0.01, **changes):
    """Runs of seeds 0 and 1 at K = 100 that learn at once."""
    records = [run_record(name, 100, seed, **changes) for name in names for seed in SEEDS]
    return [{**record, "curve_accuracy": [accuracy_of(step) for step in STEPS]} for record in records]


def timed(name, k, seconds, group="step", **more):
    settings = Settings(name, preset="small", n_classes=k, threads=1)
    figures = {"step_seconds": seconds} if group == "step" else {"live_peak_bytes": seconds}
    return make_record(group, **{**settings.record_fields(), **figures, "live_meter": "tracemalloc", **more})


def a_session(k, of_sum=1.0, of_draw=0.1, **more):
    seconds = {"marginalize-streamed": of_sum, "gumbel-softmax": of_draw, "sum-and-relax": 1.2 * of_draw}
    memory = [timed(name, k, 2**20 * (10 + i), "memory", **more) for i, name in enumerate(seconds)]
    return [*(timed(name, k, s, **more) for name, s in seconds.items()), *memory]


def found(records):
    frame = make_frame(records)
    return frame, make_curves(records, frame)


def exact_seconds(name, k, percent, step_seconds):
    """The inverse of `accuracy`, of the mean over seeds."""
    share = (percent / 100 + 0.002 * np.mean(SEEDS)) / FINAL[name]
    return step_seconds * HALF[name] * math.log10(k) * share / (1 - share)


def test_accuracy_by_second_is_accuracy_by_step_times_the_seconds_of_a_step(known):
    rows = predictions(*found(a_session(100)))
    assert set(rows["estimator"]) == set(FINAL)
    assert set(rows["source"]) == {REFERENCE}
    for name, step in (("marginalize-streamed", 1.0), ("gumbel-softmax", 0.1)):
        own = rows[rows["estimator"] == name]
        np.testing.assert_allclose(own["seconds"], [step * s for s in STEPS])
        expected = [100 * (accuracy(name, s, 100, 0) + accuracy(name, s, 100, 1)) / 2 for s in STEPS]
        np.testing.assert_allclose(own["percent"], expected, atol=0.006)  # four digits are kept
        assert (own["percent_high"] - own["percent_low"]).max() == pytest.approx(0.2, abs=0.02)


def pair(name, k, times, baseline_seconds):
    settings = Settings(name, preset="small", n_classes=k, threads=1)
    figures = {**speedup_figures("step", times), "baseline_seconds": baseline_seconds}
    return make_record("speedup", **{**settings.record_fields(), **figures})


def step_seconds(records):
    rows = predictions(*found(records))
    return {name: own["seconds"].iloc[-1] / STEPS[-1] for name, own in rows.groupby("estimator")}


def test_what_other_programs_add_to_the_sum_s_time_does_not_slow_those_paired_with_it(known):
    """The sum was disturbed when it was timed alone, and in one of the pairs."""
    pairs = [pair("gumbel-softmax", 100, 10.0, 1.0), pair("sum-and-relax", 100, 8.0, 2.5)]
    seconds = step_seconds([*a_session(100, of_sum=9.0, of_draw=0.3), *pairs])
    assert seconds == pytest.approx({"marginalize-streamed": 1.0, "gumbel-softmax": 0.1, "sum-and-relax": 1 / 8})
    without = [{**record, "baseline_seconds": None} for record in pairs]  # as in older records
    seconds = step_seconds([*a_session(100, of_sum=9.0), *without])
    assert seconds == pytest.approx({"marginalize-streamed": 9.0, "gumbel-softmax": 0.9, "sum-and-relax": 9 / 8})


def test_a_verdict_says_that_other_programs_computed(known):
    quiet = a_session(100)
    assert "Other programs" not in verdict_text(quiet)
    crowded = [{**record, "other_cores": 2.0, "machine_cores": 2} for record in quiet[:2]]
    records = [*crowded, *({**record, "other_cores": 0.0, "machine_cores": 2} for record in quiet[2:])]
    told = "Other programs computed while 2 of the 3 steps and pairs of steps behind this verdict were timed."
    assert told in " ".join(verdict_text(records).split())
    page = make_page("x", [], *found(records), {})
    assert page.verdict[0].text.startswith(told)
    assert told in markdown.summary(page)
    assert "Time to 95 %" in markdown.summary(page)


def test_an_estimator_whose_accuracy_is_not_known_is_named(known):
    assert "leaves out" not in verdict_text(a_session(100))
    records = [*a_session(100), timed("zgr", 100, 0.1), timed("sparsemax", 100, 0.1), timed("reinmax", 5000, 0.1)]
    told = "The verdict leaves out zgr and sparsemax, whose accuracy is not known."
    assert told in " ".join(verdict_text(records).split())
    assert told in markdown.summary(make_page("x", [], *found(records), {}))


def test_the_seconds_of_a_minibatch_are_added_to_each_step(known):
    session = a_session(100)
    alone = predictions(*found(session))
    whole = predictions(*found([{**record, "minibatch_seconds": 0.5} for record in session]))
    assert len(whole) > 0
    more = whole["seconds"] - alone["seconds"]
    assert (more - 0.5 * whole["step"]).abs().max() < 1e-9


def test_between_class_counts_the_curve_is_interpolated_in_log_k(known):
    rows = predictions(*found(a_session(30)))
    own = rows[rows["estimator"] == "sum-and-relax"].set_index("seconds")["percent"]
    share = math.log(3) / math.log(10)
    ends = [np.mean([accuracy("sum-and-relax", 1000, k, seed) for seed in SEEDS]) for k in (10, 100)]
    assert own.loc[120.0] == pytest.approx(100 * ((1 - share) * ends[0] + share * ends[1]), abs=0.01)


@pytest.mark.parametrize("k", [5, 2000])
def test_beyond_the_class_counts_nothing_is_predicted(known, k):
    assert predictions(*found(a_session(k))).empty
    assert verdicts(*found(a_session(k))) == []


@pytest.mark.parametrize("changes", [{"preset": "default"}, {"batch": 50}, {"model": "m2"}, {"units": 65}, {"n_mc": 2}])
def test_another_work_takes_no_reference(known, changes):
    record = timed("gumbel-softmax", 100, 0.1)
    assert takes_reference(make_frame([record]).iloc[0].to_dict())
    assert not takes_reference(make_frame([{**record, **changes}]).iloc[0].to_dict())


def test_the_verdict_names_the_fastest_of_those_that_end_as_well_as_the_best(known):
    (one,) = verdicts(*found(a_session(100)))
    assert (one.use, one.exact) == ("sum-and-relax", "marginalize-streamed")
    for name, step in (("marginalize-streamed", 1.0), ("sum-and-relax", 0.12)):
        assert one.time(name) == pytest.approx(exact_seconds(name, 100, one.target, step), rel=0.1)
    assert math.isnan(one.time("gumbel-softmax"))
    (cheap,) = verdicts(*found(a_session(100, of_sum=0.1)))
    assert cheap.use == "marginalize-streamed"


def test_pairs_say_how_estimators_differ_where_they_were_timed_in_pairs(known):
    pair = timed("sum-and-relax", 100, None, timed="step", baseline="marginalize-streamed", baseline_exact_sum=True)
    pair |= {"group": "speedup", "speedup": 4.0, "case": "pair"}
    (one,) = verdicts(*found([*a_session(100), pair]))
    assert one.points["sum-and-relax"]["seconds"].iloc[-1] == pytest.approx(STEPS[-1] * 1.0 / 4.0)


def test_a_sum_in_one_batch_takes_the_curve_of_the_streamed_sum(known):
    (one,) = verdicts(*found([*a_session(100), timed("marginalize", 100, 0.5)]))
    assert one.exact == "marginalize"
    assert one.final("marginalize") == one.final("marginalize-streamed")


def test_own_training_runs_take_the_place_of_the_reference(known):
    """Where one task has two estimators or more; then no curve of the reference stands beside theirs."""
    (one,) = verdicts(*found([*a_session(100), *own_runs(("gumbel-softmax", "marginalize-streamed"))]))
    assert set(one.points) == {"gumbel-softmax", "marginalize-streamed"}
    assert {of["source"].iloc[0] for of in one.points.values()} == {OWN}
    assert one.use == "gumbel-softmax"
    assert one.points["gumbel-softmax"]["seeds"].iloc[0] == 2
    assert "the training runs in these records" in verdict_note([one])


@pytest.mark.parametrize(
    "runs",
    [
        lambda: own_runs(("gumbel-softmax",)),
        lambda: [*own_runs(("gumbel-softmax",)), *own_runs(("sum-and-relax",), labelled_per_class=3)],
        lambda: [*own_runs(("gumbel-softmax",)), *own_runs(("sum-and-relax",), learning_rate=1e-5)],
        lambda: [{**r, "curve_accuracy": [None] * len(STEPS)} for r in own_runs(("gumbel-softmax", "sum-and-relax"))],
        lambda: own_runs(("gumbel-softmax", "sum-and-relax"), units=65),
        lambda: [{**r, "status": "failed"} for r in own_runs(("gumbel-softmax", "sum-and-relax"))],
    ],
    ids=["one estimator", "other labels", "another recipe", "no accuracies", "other networks", "failed"],
)
def test_runs_that_are_not_of_one_task_leave_the_reference(known, runs):
    (one,) = verdicts(*found([*a_session(100), *runs()]))
    assert {of["source"].iloc[0] for of in one.points.values()} == {REFERENCE}
    assert one.use == "sum-and-relax"


def test_runs_that_have_not_learnt_give_no_verdict(known):
    flat = own_runs(("gumbel-softmax", "sum-and-relax"), accuracy_of=lambda step: 0.015)
    assert verdicts(*found([*a_session(100), *flat])) == []


def test_own_sums_have_one_curve(known):
    runs = own_runs(("gumbel-softmax", "marginalize-streamed"))
    (one,) = verdicts(*found([*a_session(100), timed("marginalize", 100, 0.5), *runs]))
    assert set(one.points) == {"gumbel-softmax", "marginalize-streamed", "marginalize"}


def test_a_verdict_needs_an_exact_sum_or_the_sampler(known):
    rows = [timed(name, 100, 0.1) for name in ("sum-and-relax", "sum-and-relax(tau=0.5)")]
    assert verdicts(*found(rows)) == []
    assert len(verdicts(*found([*rows, timed("gumbel-softmax", 100, 0.1)]))) == 1


def test_only_seeds_that_both_class_counts_have_are_interpolated(known):
    kept = json.loads(known.read_text(encoding="utf-8"))
    kept["runs"] = [run for run in kept["runs"] if run["n_classes"] != 100 or run["seed"] == 1]
    known.write_text(json.dumps(kept), encoding="utf-8")
    reference.cache_clear(), reference_curves.cache_clear()
    own = predictions(*found(a_session(30)))
    own = own[own["estimator"] == "gumbel-softmax"]
    assert own["seeds"].iloc[0] == 1
    share = math.log(3) / math.log(10)
    ends = [accuracy("gumbel-softmax", STEPS[-1], k, 1) for k in (10, 100)]
    assert own["final"].iloc[0] == pytest.approx(100 * ((1 - share) * ends[0] + share * ends[1]), abs=0.01)


def test_of_several_series_the_sentence_names_its_own(known):
    records = [*a_session(100), *a_session(100, of_draw=0.05, dtype="bfloat16", run_id="20260103T030405-abcdef")]
    frame, curves = found(records)
    assert frame["series"].nunique() == 2
    sentence = verdict_sentence(verdicts(frame, curves))
    assert any(f", {series}.)" in sentence for series in frame["series"].unique())


def test_calls_that_follow_the_logits_change_the_seconds_of_a_step(known, monkeypatch):
    """20 calls at first, 2 in the end: a step takes 0.1 s and 0.01 s more for each call beyond the draw's one."""
    name = "sum-and-sample(mass=0.99)"
    runs = json.loads(known.read_text(encoding="utf-8"))
    calls = np.linspace(20, 2, len(STEPS)).tolist()
    for run in [run for run in runs["runs"] if run["estimator"] == "sum-and-relax"]:
        runs["runs"].append({**run, "estimator": name, "calls_of_f": calls})
    known.write_text(json.dumps(runs), encoding="utf-8")
    reference.cache_clear(), reference_curves.cache_clear()
    records = [*a_session(100), timed(name, 100, 0.1 + 0.01 * 19, calls_of_f=20.0)]
    rows = predictions(*found(records))
    own = rows[rows["estimator"] == name]
    steps = [100 * (0.1 + 0.01 * ((a + b) / 2 - 1)) for a, b in itertools.pairwise(calls)]
    expected = np.cumsum([0, *steps])
    np.testing.assert_allclose(own["seconds"], expected, rtol=1e-9)


def test_the_sentence_and_the_table_say_the_same_and_the_page_begins_with_them(known):
    frame, curves = found([*a_session(10), *a_session(100)])
    verdict = verdicts(frame, curves)
    sentence, table = verdict_sentence(verdict), verdict_table(frame, verdict)
    assert sentence.startswith("At K = 100, use sum-and-relax: it comes to 85 % accuracy, which is 95 % of the best,")
    assert "gumbel-softmax does not in 4,000 steps (it ends at 69 %)" in sentence
    assert [row[0] for row in table.rows] == [("10",), ("100",)]
    last = table.rows[-1]
    use, exact, draw = last[2:]
    assert use[1] in sentence
    assert (use[0], *use[2:]) == ("sum-and-relax", "88.5 %", "12.0 MiB")
    assert (exact[0], exact[3]) == ("marginalize-streamed", "10.0 MiB")
    assert draw == ("gumbel-softmax", "not in 4,000 steps", "69.2 %", "11.0 MiB")
    page = make_page("x", [], frame, curves, {})
    assert page.answer[0] == sentence
    assert page.verdict[0].rows == table.rows
    assert sentence in markdown.summary(page).replace("\\", "")
    assert sentence in " ".join(verdict_text([*a_session(10), *a_session(100)]).split())


def test_without_a_known_accuracy_there_is_no_verdict(known):
    records = a_session(100, preset="default", units=500)
    assert verdict_text(records).startswith("There is no verdict on accuracy. It needs two estimators")
    (why,) = make_page("x", [], *found(records), {}).verdict
    assert "preset small, batch 100, K = 10 to 1000" in why.text
    assert verdict_text(records).split() == why.text.split()
    assert verdict_text([make_record("memory", live_peak_bytes=1.0)]) == ""


def test_percent_after_a_time_and_time_to_a_percent_are_inverse(known):
    rows = predictions(*found(a_session(100)))
    own = rows[rows["estimator"] == "sum-and-relax"]
    assert percent_after(own, seconds_to(own, 60.0)) == pytest.approx(60.0)
    assert percent_after(own, 1e9) == own["percent"].iloc[-1]


def test_the_figure_draws_a_panel_for_each_k(known):
    frame, curves = found([*a_session(10), *a_session(100)])
    with figure_settings():
        plot = FIGURES["accuracy_by_time"].draw(frame, curves, make_look(frame["estimator"], frame["series"]))
    assert [ax.get_title(loc="left") for ax in plot.figure.axes] == ["ADGM, K = 10", "ADGM, K = 100"]
    assert set(plot.points["name"]) == set(FINAL)
    assert "gsbench's reference curves" in plot.caption
    assert "5 labels a class" in plot.caption  # of the curves; the steps were timed with 10
    assert "10 labels a class" not in plot.caption


# The file


def test_the_reference_of_runs_that_differ_in_a_condition_is_refused(tmp_path):
    records = [run_record("gumbel-softmax", 10, 0), run_record("gumbel-softmax", 10, 1, learning_rate=1.0)]
    with pytest.raises(ValueError, match=r"the runs of the reference must have one learning_rate, got 0\.003, 1\.0"):
        write_reference(records, tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


def test_a_reference_of_no_runs_or_of_two_alike_is_refused(tmp_path):
    with pytest.raises(ValueError, match="needs finished training runs, got none"):
        write_reference([{**run_record("gumbel-softmax", 10, 0), "status": "failed"}], tmp_path / "x.json")
    with pytest.raises(ValueError, match=r"one run of each dataset, .*got several of \('glyphs', 10, 'gumbel"):
        write_reference([run_record("gumbel-softmax", 10, 0)] * 2, tmp_path / "x.json")


def test_earlier_runs_are_kept_unless_they_are_made_anew(tmp_path):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    write_reference([run_record("gumbel-softmax", 10, seed) for seed in (0, 1)], first)
    earlier = json.loads(first.read_text())
    anew = run_record("gumbel-softmax", 10, 1, curve_accuracy=[0.5] * len(earlier["runs"][1]["accuracy"]))
    write_reference([anew, run_record("gumbel-softmax", 10, 2)], second, earlier)
    runs = json.loads(second.read_text())["runs"]
    assert [run["seed"] for run in runs] == [0, 1, 2]
    assert runs[0] == earlier["runs"][0]
    assert set(runs[1]["accuracy"]) == {0.5}
    other = [run_record("gumbel-softmax", 10, 3, learning_rate=1.0)]
    with pytest.raises(ValueError, match=r"one learning_rate, got 0\.003 and 1\.0"):
        write_reference(other, tmp_path / "c.json", earlier)


def test_a_data_set_with_runs_of_its_own_at_this_k_has_its_own_curves(known):
    session = [{**record, "dataset": "mnist"} for record in a_session(10)]
    assert set(predictions(*found(session))["dataset"]) == {"glyphs"}
    write_reference([run_record(name, 10, 0, dataset="mnist") for name in FINAL], known, json.loads(known.read_text()))
    reference.cache_clear()
    reference_curves.cache_clear()
    assert set(predictions(*found(session))["dataset"]) == {"mnist"}
    assert set(predictions(*found(a_session(10)))["dataset"]) == {"glyphs"}


def test_the_packages_reference_is_whole():
    """The conditions of the kept file, its class counts, and curves that have learnt."""
    kept = reference()
    assert set(kept["conditions"]) == set(CONDITIONS)
    curves = reference_curves()
    assert {10, 100} <= set(curves["n_classes"])
    assert {"marginalize-streamed", "gumbel-softmax", "sum-and-relax"} <= set(curves["estimator"])
    assert curves["accuracy"].between(0, 1).all()
    for (_, k), own in curves[curves["estimator"] == "marginalize-streamed"].groupby(["dataset", "n_classes"]):
        assert own.groupby("seed")["accuracy"].last().min() > max(0.3, 5 / k)
        assert (own.groupby("seed")["step"].diff().dropna() > 0).all()
