"""The tables of docs/explanation/results.md say what the kept records say."""

from __future__ import annotations

import collections
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from gsbench.records import text
from gsbench.records.frame import make_curves, make_frame
from gsbench.records.reading import read_files
from gsbench.records.reference import reference
from gsbench.report.predicted import percent_after, predictions
from gsbench.report.training_runs import finished_runs, paired_by_seed
from gsbench.report.verdict import LEAST_SPREAD

pytestmark = pytest.mark.newest

ROOT = Path(__file__).parent.parent
EXPLANATIONS = ROOT / "docs" / "explanation"
PAGE = (EXPLANATIONS / "results.md").read_text(encoding="utf-8")
PRICED = (0, 100, 200, 400, 700, 1000, 1500)
RATES = (0.001, 0.003, 0.01)
TRIALS = (("glyphs", 10, (0, 1, 2)), ("glyphs", 100, (0, 1, 2)), ("omniglot", 242, (0, 1)))
COLUMNS = [*(("glyphs", k) for k in (10, 20, 50, 100, 200, 500)), ("omniglot", 242), ("mnist", 10)]


def table(name):
    """The rows of the table that stands under the comment: its first cell, which is a name, and the others."""
    text = PAGE.split(f"<!-- {name} -->")[1].split("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.strip().splitlines()[2:]]
    return {cells[0].strip("`"): cells[1:] for cells in rows}


def final_accuracies():
    """(data set, K, estimator, learning rate) → seed → percent, of the reference and of the trials beside it."""
    found = collections.defaultdict(dict)
    for run in reference()["runs"]:
        case = (run["dataset"], run["n_classes"], run["estimator"], reference()["conditions"]["learning_rate"])
        found[case][run["seed"]] = 100 * run["accuracy"][-1]
    for run in read_files([ROOT / "reports" / "reference-curves" / "trials.jsonl"]).records:
        case = (run["dataset"], run["n_classes"], run["estimator"], run["learning_rate"])
        found[case][run["seed"]] = 100 * run["validation_accuracy"]
    return found


def with_spread(found, column):
    """The cells of a column by estimator. Those within the spread of the best one's seeds are bold, as in a verdict."""
    names = {run["estimator"] for run in reference()["runs"]}
    ends = {name: [*found[(*column, name, RATES[1])].values()] for name in names}
    best = max(ends.values(), key=lambda own: np.mean(own) if own else 0)
    least = min(np.mean(best) - LEAST_SPREAD, min(best))
    cells = {}
    for name, own in ends.items():
        mean = f"{np.mean(own):.1f}" if own else "–"
        spread = f"<br>{min(own):.1f}–{max(own):.1f}" if len(own) > 1 else ""
        cells[name] = (f"**{mean}**" if own and np.mean(own) >= least else mean) + spread
    return cells


def cell_of(name, column):
    return with_spread(final_accuracies(), column)[name]


def test_final_accuracies_are_those_of_the_reference_curves():
    shown = table("final accuracy")
    seeds = shown.pop("seeds")
    assert set(shown) == {run["estimator"] for run in reference()["runs"]}
    columns = [with_spread(final_accuracies(), column) for column in COLUMNS]
    for name, cells in shown.items():
        assert cells == [column[name] for column in columns], name
    for column, told in zip(COLUMNS, seeds, strict=True):
        runs = [run["estimator"] for run in reference()["runs"] if (run["dataset"], run["n_classes"]) == column]
        counts = {runs.count(name) for name in runs}
        assert told == (f"{min(counts)} to {max(counts)}" if len(counts) > 1 else str(*counts)), column


def test_the_words_on_500_classes_are_those_of_the_reference_curves():
    shown, found = " ".join(PAGE.split()), final_accuracies()
    runs = [run for run in reference()["runs"] if run["n_classes"] == 500]
    own = sorted((run["step"][-1], run["accuracy"][-1]) for run in runs if run["estimator"] == "sum-and-relax")
    steps, ends = text.listed([f"{step:,}" for step, _ in own]), text.listed([f"{100 * end:.1f}" for _, end in own])
    assert f"runs of `sum-and-relax` ended after {steps} steps, at {ends} %" in shown
    assert max(run["step"][-1] for run in runs if run["estimator"] == "marginalize-streamed") < 5400
    ours, of_sum = (
        np.mean([*found["glyphs", 500, name, RATES[1]].values()]) for name in ("sum-and-relax", "marginalize-streamed")
    )
    assert f"the exact sum ends {ours - of_sum:.0f} points below" in shown
    after = {
        name: np.mean([100 * np.interp(4200, run["step"], run["accuracy"]) for run in runs if run["estimator"] == name])
        for name in ("marginalize-streamed", "sum-and-relax")
    }
    told = " %, and `sum-and-relax` ".join(f"{percent:.1f}" for percent in after.values())
    assert f"after 4,200 steps it has {told} %" in shown


def test_the_words_on_who_is_within_the_spread_are_those_of_the_reference_curves():
    """Of the estimators that the words name: the columns of glyphs whose cell is bold."""
    bold = {
        name: [k for dataset, k in COLUMNS if dataset == "glyphs" and cell_of(name, (dataset, k)).startswith("**")]
        for name in ("sum-and-relax", "marginalize-streamed", "sum-and-sample", "sum-and-sample(mass=0.999)")
    }
    assert bold == {
        "sum-and-relax": [10, 20, 50, 100, 200, 500],
        "marginalize-streamed": [10, 20, 50, 100, 200],
        "sum-and-sample": [10, 20, 50, 100, 500],
        "sum-and-sample(mass=0.999)": [10, 20, 50, 100],
    }
    assert cell_of("sum-and-relax", ("omniglot", 242)).startswith("**")


def test_the_words_on_the_limit_are_those_of_the_reference_curves():
    limit = reference()["conditions"]["budget_steps"]
    assert sum(run["step"][-1] == limit for run in reference()["runs"]) == 3
    assert f"or for {limit:,} steps, which three runs reached" in " ".join(PAGE.split())


def test_learning_rates_are_those_of_the_trials():
    found, shown = final_accuracies(), table("learning rates")
    assert set(shown) == {run["estimator"] for run in reference()["runs"]}
    for name, cells in shown.items():
        assert cells == [f"{found['glyphs', 50, name, rate][0]:.1f}" for rate in RATES], name
        assert max(cells) == cells[1] or name == "gumbel-softmax"
    three = [np.mean([found["glyphs", 50, "gumbel-softmax", rate][seed] for seed in range(3)]) for rate in RATES[1:]]
    assert f"it ended lower: at {three[1]:.1f} %, compared with {three[0]:.1f} % for 0.003" in PAGE


def of_settings(found, name):
    """The means over the seeds of the trials."""
    for dataset, k, seeds in TRIALS:
        ends = found[dataset, k, name, RATES[1]]
        yield f"{np.mean([ends[seed] for seed in seeds]):.1f}"


def test_settings_of_sum_and_relax_are_those_of_the_trials():
    found, shown = final_accuracies(), table("settings")
    assert len(shown) > 4
    for name, cells in shown.items():
        assert cells == [*of_settings(found, name)], name


def calls(name, dataset, k):
    """Calls of f for an example, mean over seeds, by training step."""
    own = [r for r in reference()["runs"] if (r["dataset"], r["n_classes"], r["estimator"]) == (dataset, k, name)]
    for step in PRICED:
        yield f"{np.mean([run['calls_of_f'][run['step'].index(step)] for run in own]):.3g}"


@pytest.mark.parametrize(
    ("shown", "name"),
    [("price", "sum-and-sample(mass=0.999)"), ("price with most", "sum-and-relax(mass=0.99,most=8)")],
)
def test_the_price_of_a_mass_is_that_of_the_reference_curves(shown, name):
    rows = table(shown)
    assert list(rows) == [told_column(column) for column in COLUMNS]
    for column in COLUMNS:
        assert rows[told_column(column)] == [*calls(name, *column)], column


def told_column(column):
    dataset, k = column
    return f"{ {'mnist': 'MNIST', 'omniglot': 'Omniglot'}.get(dataset, dataset)}, K = {k}"


def quality(record):
    """`0.27, 5.9`: relative bias and variance, with two digits."""
    low, high, square = (record[f"logits_squared_bias{end}"] or 0.0 for end in ("_low", "_high", ""))
    bias = f"{math.sqrt(square):.2f}" if low > 0 else f"< {math.sqrt(high):.2f}" if high > 1e-4 else "0"
    variance = record["logits_variance"]
    return f"{bias}, {'< 0.001' if variance < 0.001 else f'{variance:.2g}' if variance < 10 else f'{variance:.0f}'}"


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("gradients by training", [(100, steps) for steps in (0, 100, 400, 1500)]),
        ("gradients by class count", [(k, 1500) for k in (10, 50, 200)]),
    ],
)
def test_qualities_of_gradients_are_those_of_the_kept_records(name, cases):
    records = read_files([ROOT / "reports" / "gradients" / "run.jsonl"]).records
    found = {(r["estimator"], r["n_classes"], r["training_steps"]): r for r in records}
    shown = table(name)
    assert set(shown) == {estimator for estimator, *_ in found}
    for estimator, cells in shown.items():
        assert cells == [quality(found[(estimator, *case)]) for case in cases], estimator


def blog_runs(backend):
    """The kept runs of the source's experiment."""
    records = read_files(sorted((ROOT / "reports" / "mnist-blog").rglob("*.jsonl"))).records
    rows = finished_runs(make_frame([record for record in records if record["backend"] == backend]))
    return rows.sort_values("seed")


def test_the_pairs_of_the_sources_experiment_are_those_of_the_kept_records():
    rows, shown = blog_runs("torch"), table("pairs of the source")
    assert list(shown) == ["marginalize", "gumbel-softmax"]
    for name, cells in shown.items():
        own = rows[rows["estimator"] == name]
        assert list(own["seed"]) == [0, 1, 2, 3, 4]
        accuracies = 100 * own[["validation_accuracy", "test_accuracy"]].to_numpy()
        assert cells == [f"{validation:.1f}, {test:.1f}" for validation, test in [*accuracies, accuracies.mean(0)]]
    steps, seconds = (rows.groupby("estimator")[field].mean() for field in ("step", "train_seconds"))
    assert set(steps) == {10_000}
    assert 0.5 < seconds["gumbel-softmax"] / seconds["marginalize"] < 0.6  # little more than half


def told_difference(part):
    """How far the draw ended below the sum: the mean, and the interval's ends below and above. In points."""
    found = paired_by_seed(blog_runs("torch"), "gumbel-softmax", "marginalize", f"{part}_accuracy")
    assert found.pairs == 5
    assert found.low < found.mean < 0 < found.high
    return (f"{100 * abs(share):.1f}" for share in (found.mean, found.low, found.high))


def test_the_sentence_to_quote_has_the_interval_of_the_pairs():
    shown = " ".join(PAGE.replace("\n> ", "\n").split())
    mean, below, above = told_difference("test")
    assert f"ended {mean} points of test accuracy below the exact sum, as the mean of five pairs of runs" in shown
    assert f"of runs (95 % interval: from {below} points below to {above} points above)" in shown
    assert f"it is at most {below} points worse in the mean" in shown
    mean, below, above = told_difference("validation")
    assert f"the draw ended {mean} points below (from {below} below to {above} above)" in shown


def test_another_backend_and_precision_changed_the_sources_experiment_by_less_than_two_points():
    ends = {name: blog_runs(name).set_index(["estimator", "seed"])["test_accuracy"] for name in ("torch", "chainer")}
    differences = (ends["torch"] - ends["chainer"]).dropna()
    assert len(differences) == 4
    assert differences.abs().max() < 0.02
    names = ("marginalize", "gumbel-softmax")
    told = [" % and ".join(f"{100 * end:.1f}" for end in ends["chainer"][name]) for name in names]
    assert f"{told[0]} % for the sum, {told[1]} % for the draw" in " ".join(PAGE.split())


def test_the_columns_of_the_table_are_those_of_the_reference():
    text = PAGE.split("<!-- final accuracy -->")[1]
    head = text.strip().splitlines()[0]
    assert [int(k) for k in re.findall(r"\d+", head)] == [k for _, k in COLUMNS]
    assert {(run["dataset"], run["n_classes"]) for run in reference()["runs"]} == set(COLUMNS)
    assert json.dumps(reference()["conditions"]["labelled_per_class"]) == "5"


PREDICTED = ROOT / "reports" / "predicted"


def told_on_predictions():
    return " ".join((EXPLANATIONS / "measurement.md").read_text(encoding="utf-8").split())


def predicted_runs(session):
    """By K: the accuracy by second that this session predicts for sum-and-relax, and the runs of it."""
    frame = make_frame(records := read_files([PREDICTED / f"{session}.jsonl"]).records)
    rows = predictions(frame, make_curves(records, frame))
    rows = rows[rows["estimator"] == "sum-and-relax"]
    runs = read_files([PREDICTED / "runs.jsonl"]).records
    found = {k: (own, [run for run in runs if run["n_classes"] == k]) for k, own in rows.groupby("n_classes")}
    assert {k: len(of_k) for k, (_, of_k) in found.items()} == {30: 3, 100: 3, 200: 3}
    known = {(run["n_classes"], run["seed"]) for run in reference()["runs"]}
    assert not known & {(run["n_classes"], run["seed"]) for run in runs}
    return found


def shares_of_time(session):
    """The least and the greatest time of a run, as a share of the predicted one."""
    shares = [
        run["curve_seconds"][-1] / np.interp(run["curve_step"][-1], own["step"], own["seconds"])
        for own, runs in predicted_runs(session).values()
        for run in runs
    ]
    return f"{min(shares):.2f} to {max(shares):.2f}"


def agrees(own, seconds, percent):
    """Whether an accuracy is within 2 points of the predicted one, or reached within 15 % of the predicted time."""
    early, late = (percent_after(own, seconds * factor) for factor in (1 / 1.15, 1.15))
    return abs(percent - percent_after(own, seconds)) <= 2 or early <= percent <= late


def test_the_words_on_predicted_time_are_those_of_the_kept_runs():
    assert f"They took {shares_of_time('session')} times the predicted time" in told_on_predictions()
    assert f"took {shares_of_time('slowed')} times the time that it predicted" in told_on_predictions()
    slowed = read_files([PREDICTED / "slowed.jsonl"]).records
    busiest = max(record.get("other_cores") or 0 for record in slowed)
    assert f"(`other_cores` is at most {busiest:.2f})" in told_on_predictions()


def test_the_words_on_predicted_accuracy_are_those_of_the_kept_runs():
    agreed, others, ends = [], [], []
    for k, (own, runs) in predicted_runs("session").items():
        curves = [(np.array(run["curve_seconds"]), 100 * np.array(run["curve_accuracy"])) for run in runs]
        times = np.unique(np.concatenate([seconds for seconds, _ in curves]))
        for at in times[(times > 0) & (times <= min(seconds[-1] for seconds, _ in curves))]:
            mean = np.mean([np.interp(at, seconds, percent) for seconds, percent in curves])
            agreed.append(agrees(own, at, mean))
            if not agreed[-1]:
                others.append((k, at, abs(mean - percent_after(own, at))))
        ends += [abs(percent[-1] - percent_after(own, seconds[-1])) for seconds, percent in curves]
    shown = told_on_predictions()
    assert f"at {sum(agreed)} of {len(agreed)} evaluations" in shown
    assert all(k == 30 and at < 2 for k, at, _ in others)
    assert len(others) == 3
    assert f"up to {max(off for *_, off in others):.1f} points off" in shown
    assert f"A single run ended up to {max(ends):.1f} points from the prediction" in shown
