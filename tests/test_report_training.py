"""Training runs in a report: the fields that tell them apart, their curves and front, the tables and the page."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.image import imread
from records_fixture import (
    cut_short,
    final_accuracy,
    make_record,
    make_run,
    training_record,
    training_records,
    write_lines,
    write_store,
)

from gsbench.records.frame import make_curves, make_frame
from gsbench.report import gaps, make_report, read_runs
from gsbench.report.drawing.sheet import figure_settings
from gsbench.report.drawing.styles import make_look
from gsbench.report.figures import FIGURES
from gsbench.report.training_runs import (
    crossing,
    mean_curve,
    over_seeds,
    paired_by_seed,
    seeds_sentence,
    subject_title,
    targets,
)
from gsbench.report.training_table import against_the_sum, training_section
from gsbench.report.writers import markdown
from gsbench.training.images import write_images

pytestmark = pytest.mark.slow

BLUE, ORANGE, BLACK = "#0072B2", "#D55E00", "#000000"
# The price by step needs calls of f that change: tests/test_report_figures.py has it.
TRAINING_FIGURES = [n for n, figure in FIGURES.items() if figure.group == "training" and n != "price_by_step"]
SWEEP = training_records((10, 100))


def draw_all(names, records):
    """Name → figure of these records, or None without anything to draw."""
    frame = make_frame(records)
    curves, look = make_curves(records, frame), make_look(frame["estimator"].dropna(), frame["series"])
    with figure_settings():
        return {name: FIGURES[name].draw(frame, curves, look) for name in names}


def draw(name, records):
    return draw_all([name], records)[name]


def curve_in(axes, colour):
    """The means drawn in this colour: the line with markers."""
    (line,) = [ln for ln in axes.lines if ln.get_color() == colour and ln.get_marker() not in ("None", "x", "_", "|")]
    return line.get_xydata()


def others_in(axes, colour, marker):
    return [ln.get_xydata() for ln in axes.lines if ln.get_color() == colour and ln.get_marker() == marker]


# The fields that tell runs apart


def tasks_of(*records):
    frame = make_frame([{**record, "case": str(i)} for i, record in enumerate(records)])
    return frame["task"].tolist()


HEAD = "glyphs, 10 labels a class, preset small"


def test_the_task_is_the_data_the_labels_and_the_preset():
    mnist = training_record(dataset="mnist", labelled_per_class=5, preset="blog")
    assert tasks_of(training_record(), mnist) == [HEAD, "MNIST, 5 labels a class, preset blog"]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ({"threads": 1}, {"threads": 2}, ["threads 1", "threads 2"]),
        ({"clip_norm": None}, {"clip_norm": 5.0}, ["clip_norm none", "clip_norm 5"]),
        ({"learning_rate": 3e-4}, {"learning_rate": 3e-3}, ["learning_rate 0.0003", "learning_rate 0.003"]),
        (
            {"budget_steps": None, "budget_seconds": 60.0},
            {"budget_steps": 2000, "budget_epochs": 20},
            ["budget 60 s", "budget 20 epochs or 2,000 steps"],
        ),
    ],
    ids=["threads", "clip", "rate", "budget"],
)
def test_another_setting_is_another_task(first, second, told):
    assert tasks_of(training_record(**first), training_record(**second)) == [f"{HEAD}, {more}" for more in told]


def test_seeds_estimators_and_settings_that_follow_from_k_do_not_make_a_task():
    records = [
        training_record(name, k, seed, alpha=600 / k) for name in ("marginalize", "labels-only") for k in (10, 100)
        for seed in (0, 1)
    ]  # fmt: skip
    assert set(tasks_of(*records)) == {HEAD}


def test_an_unknown_field_does_not_tell_runs_apart():
    early = training_record(seed=0, alpha=None, validation_accuracy=None, status="too-large")
    assert set(tasks_of(early, training_record(alpha=60.0))) == {HEAD}
    older = training_record(seed=0)  # written before this setting existed
    assert set(tasks_of(older, training_record(shift=0))) == {HEAD}


def test_training_runs_change_no_label_of_the_other_groups():
    bench = make_run(models=["m2"], ks=(10,), accuracy_ks=(10,), gradients=False)
    elsewhere = training_records(units=7, batch=3, machine_cpu="Other", model="m2", labelled_per_class=3)
    both, alone = make_frame([*bench, *elsewhere]), make_frame(bench)
    own = both[both["run_id"] == bench[0]["run_id"]].reset_index(drop=True)
    for column in ("series", "task"):
        assert own[column].tolist() == alone[column].tolist()
    assert set(both.loc[both["group"] == "training", "series"]) == {""}


def test_training_runs_of_one_setup_are_one_run_however_many_ids_they_have():
    frame = make_frame(SWEEP)
    assert frame["run_id"].nunique() == len(SWEEP)
    assert frame["run"].nunique() == 1
    assert make_frame([*SWEEP, training_record(run_id="x", machine_cpu="Other")])["run"].nunique() == 2


def test_a_title_has_the_model_the_data_k_and_all_labels():
    records = [training_record(k=1000, dataset="mnist", threads=threads, case=str(threads)) for threads in (1, 2)]
    rows = make_frame(records)
    row = rows.assign(labels=rows["labelled_per_class"] * rows["n_classes"]).iloc[1]
    assert subject_title(row) == "ADGM on MNIST, K = 1,000, 10,000 labels, preset small, threads 2"


# Means over seeds


def test_a_mean_curve_goes_as_far_as_all_do_and_is_linear_between_evaluations():
    runs = [(np.array([0.0, 2.0, 4.0]), np.array([0.0, 4.0, 8.0])), (np.array([0.0, 3.0]), np.array([0.0, 12.0]))]
    mean = mean_curve(runs)
    assert mean["x"].tolist() == [0, 2, 3]
    assert mean["low"].tolist() == [0, 4, 6]
    assert mean["mean"].tolist() == [0, 6, 9]
    assert mean["high"].tolist() == [0, 8, 12]


@pytest.mark.parametrize(
    ("target", "expected"), [(0.5, 15.0), (0.2, 10.0), (0.0, 0.0), (0.9, 30.0), (0.91, math.nan)]
)  # fmt: skip
def test_the_first_crossing_is_linear_between_evaluations(target, expected):
    found = crossing(np.array([0.0, 10.0, 20.0, 30.0]), np.array([0.0, 0.2, 0.8, 0.9]), target)
    assert found == pytest.approx(expected, nan_ok=True)


def test_the_target_is_a_share_of_the_lowest_end_of_the_estimators():
    rows = make_frame(SWEEP)
    found = targets(rows).set_index("n_classes")["target"]
    assert found.tolist() == pytest.approx([0.95 * final_accuracy("gumbel-softmax", k, 0) for k in (10, 100)])
    alone = targets(rows[rows["estimator"] == "labels-only"])["target"]
    assert alone.tolist() == pytest.approx([0.95 * final_accuracy("labels-only", k, 0) for k in (10, 100)])


def test_seeds_are_counted_in_words():
    def told(*seeds):
        of_estimators = zip(("marginalize", "gumbel-softmax"), seeds, strict=True)
        records = [training_record(name, seed=seed) for name, own in of_estimators for seed in own]
        return seeds_sentence(make_frame(records))

    assert told((0,), (1,)) == "One seed each."
    assert told((0, 1), (0, 1)) == "Mean over 2 seeds; bars from the least to the greatest of them."
    assert told((0,), (0, 1, 2)).startswith("Mean over 1 to 3 seeds;")


# The curves


def test_the_curves_are_means_with_bands_by_epoch_and_by_second():
    records = [{**r, "curve_seconds": [s * (1 + r["seed"]) for s in r["curve_seconds"]]} for r in SWEEP]
    plot = draw("training_curves", records)
    assert len(plot.figure.axes) == 4
    by_epoch, by_second = plot.figure.axes[:2]
    assert by_epoch.get_title(loc="left") == "ADGM on glyphs, K = 10, 100 labels, preset small"
    ends = [100 * final_accuracy("marginalize", 10, seed) for seed in range(3)]
    shares = np.arange(5) / 4
    np.testing.assert_allclose(curve_in(by_epoch, BLUE), np.stack([4 * shares, np.mean(ends) * shares], axis=1))
    band = by_epoch.collections[0].get_paths()[0].get_extents()
    np.testing.assert_allclose([band.x1, band.y1], [4, max(ends)])
    # Seeds of 100, 200 and 300 s: the mean ends at 100 s, where the other two are at a half and at a third.
    mean = curve_in(by_second, BLUE)
    np.testing.assert_allclose(mean[-1], [100, (ends[0] + ends[1] / 2 + ends[2] / 3) / 3])
    assert sorted(line[-1, 0] for line in others_in(by_second, BLUE, "None")) == [200, 300]
    assert plot.caption.startswith("Lines: mean over 3 seeds; bands from the least to the greatest of them.")
    assert "diverged" not in plot.caption


def test_one_seed_has_no_band():
    plot = draw("training_curves", training_records((10,), seeds=(0,)))
    assert [len(ax.collections) for ax in plot.figure.axes] == [0, 0]
    assert "One seed each." in plot.caption


def test_a_short_run_counts_in_the_mean_while_it_lasts_and_longer_runs_continue_as_thin_lines():
    early = {("marginalize", 0): "diverged", ("gumbel-softmax", 1): "unfinished"}
    records = [
        cut_short(r, early[r["estimator"], r["seed"]], 3) if (r["estimator"], r["seed"]) in early else r for r in SWEEP
    ]
    plot = draw("training_curves", records)
    by_epoch = plot.figure.axes[0]
    for colour in (BLUE, ORANGE):
        assert curve_in(by_epoch, colour)[-1, 0] == 2
        went_on = others_in(by_epoch, colour, "None")
        assert [line[:, 0].tolist() for line in went_on] == [[2, 3, 4], [2, 3, 4]]
    (cross,) = others_in(by_epoch, BLUE, "x")
    np.testing.assert_allclose(cross, [[2, 50 * final_accuracy("marginalize", 10, 0)]])
    assert not others_in(by_epoch, ORANGE, "x")
    assert curve_in(by_epoch, BLACK)[-1, 0] == 4
    assert "labels-only" not in [label.get_text() for label in plot.figure.legends[0].get_texts()]
    for told in ("×: diverged.", "Some runs are unfinished", "thin lines show the seeds that went on"):
        assert told in plot.caption
    assert "diverged" in [label.get_text() for label in plot.figure.legends[0].get_texts()]


def test_a_seed_that_has_hardly_begun_does_not_hide_the_others():
    records = [cut_short(SWEEP[0], "unfinished", 1), *SWEEP[1:]]
    assert curve_in(draw("training_curves", records).figure.axes[0], BLUE)[-1, 0] == 4


@pytest.mark.parametrize(("slow", "scale"), [(500.0, "linear"), (5000.0, "log")])
def test_seconds_are_logarithmic_where_they_span_much(slow, scale):
    records = [training_record(), training_record("gumbel-softmax", seconds=slow)]
    by_second = draw("training_curves", records).figure.axes[1]
    assert by_second.get_xscale() == scale
    assert curve_in(by_second, BLUE)[0, 0] == (0 if scale == "linear" else 25)


def test_accuracies_begin_below_the_ends_and_a_lower_labels_only_is_written():
    by_epoch = draw("training_curves", SWEEP).figure.axes[0]
    low, high = by_epoch.get_ylim()
    assert low == pytest.approx(79 - 2 * (92 - 79))
    assert 92 < high < 100
    assert [written.get_text() for written in by_epoch.texts] == ["labels-only: 30.3 %"]
    alone = [r for r in SWEEP if r["estimator"] == "labels-only"]
    plot = draw("training_curves", alone)
    assert not plot.figure.axes[0].texts
    assert [label.get_text() for label in plot.figure.legends[0].get_texts()] == ["labels-only"]


def test_many_rows_are_spread_and_told():
    plot = draw("training_curves", training_records(range(10, 25), ["marginalize"], [0]))
    assert len(plot.figure.axes) == 2 * 12
    assert "3 of 15 panels are left out; see the CSV files." in plot.caption


# The front


def test_the_front_is_of_means_with_bars_both_ways_and_labels_only_in_words():
    records = [{**r, "steps_per_second": 10.0 * (1 + r["seed"])} for r in SWEEP if r["n_classes"] == 10]
    (panel,) = draw("pareto", records).figure.axes
    mean = 100 * np.mean([final_accuracy("marginalize", 10, seed) for seed in range(3)])
    (container,) = [c for c in panel.containers if c.lines[0].get_color() == BLUE]
    np.testing.assert_allclose(container.lines[0].get_xydata(), [[20, mean]])
    along, up = (bar.get_segments()[0] for bar in container.lines[2])
    np.testing.assert_allclose(along[:, 0], [10, 30])
    np.testing.assert_allclose(up[:, 1], [89, 92])
    assert BLACK not in {c.lines[0].get_color() for c in panel.containers}
    assert [written.get_text() for written in panel.texts] == ["labels-only: 30.3 %"]
    (front,) = [ln for ln in panel.lines if ln.get_color() == "#999999"]
    assert front.get_ydata()[0] == pytest.approx(mean)  # marginalize beats gumbel-softmax at the same speed
    assert len(front.get_xdata()) == 3


# The tables and the page


def section_of(records):
    return markdown.written(training_section(make_frame(records)).blocks)


def rows_of(section, title):
    """The cells of the table under a title, headers first."""
    table = section.split(f"### {title}\n")[1].split("###")[0]
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in [lines[0], *lines[2:]]]


def test_the_table_has_means_and_ends_with_the_test_accuracy_apart():
    section = section_of(SWEEP)
    headers, first, *_ = rows_of(section, "ADGM on glyphs, K = 100, 1,000 labels, preset small")
    assert headers == [
        *("estimator", "seeds", "steps", "validation accuracy", "training time", "wall time", "steps/s"),
        *("peak memory", "test accuracy"),
    ]
    assert first == [
        *("marginalize", "3", "400", "80.3 % (79.0 to 82.0)", "100 s", "109 s", "4.00", "100 MiB"),
        "75.3 % (74.0 to 77.0)",
    ]
    assert "Test accuracy: of 5,000 examples, q(y\\|a,x) averaged over 100 draws of a," in section
    assert "evaluated once, at the end of the run, and not used for any choice." in section
    assert section.count("\n### ") == 2


def test_one_seed_has_no_ends_and_no_test_part_no_column():
    section = section_of([training_record(test_accuracy=None, test_examples=None)])
    headers, row = rows_of(section, "ADGM on glyphs, K = 10, 100 labels, preset small")
    assert headers[-1] == "peak memory"
    assert row[3] == "90.0 %"
    assert "Test accuracy" not in section


def told_of(exact, sampler, name="gumbel-softmax"):
    """The sentences about these accuracies of the seeds."""
    records = [
        training_record(estimator, seed=seed, validation_accuracy=accuracy, test_accuracy=None)
        for estimator, accuracies in (("marginalize", exact), (name, sampler))
        for seed, accuracy in enumerate(accuracies)
    ]
    frame = make_frame(records)
    points = over_seeds(frame, ["estimator"], ["validation_accuracy"])
    return against_the_sum(frame, points.set_index("estimator"))


@pytest.mark.parametrize(
    ("exact", "sampler", "expected"),
    [
        (
            (0.91, 0.93), (0.930, 0.934),
            "1.2 percentage points better than the sum (marginalize): 93.2 % (93.0 to 93.4 over 2 seeds) compared "
            "with 92.0 % (91.0 to 93.0 over 2 seeds). Paired by seed (2 seeds), the mean difference lies, with 95 % "
            "confidence, between 9.0 points worse and 11.4 points better.",
        ),
        (
            (0.91, 0.93, 0.92), (0.8, 0.82, 0.812),
            "10.9 percentage points worse than the sum (marginalize): 81.1 % (80.0 to 82.0 over 3 seeds) compared "
            "with 92.0 % (91.0 to 93.0 over 3 seeds). Paired by seed (3 seeds), the mean difference lies, with 95 % "
            "confidence, between 11.2 points worse and 10.6 points worse.",
        ),
        (
            (0.91, 0.93), (0.8,),
            "12.0 percentage points worse than the sum (marginalize): 80.0 % (one seed) compared with 92.0 % (91.0 to "
            "93.0 over 2 seeds); one seed does not show the spread between seeds.",
        ),
        (
            (0.92,), (0.9204,),
            "as accurate as the sum (marginalize) to 0.1 percentage points: 92.0 % (one seed) compared with 92.0 % "
            "(one seed); one seed does not show the spread between seeds.",
        ),
    ],
    ids=["better", "worse", "one seed", "same"],
)  # fmt: skip
def test_a_sampler_is_compared_with_the_sum_in_words_that_suit_either_sign(exact, sampler, expected):
    assert told_of(exact, sampler) == [f"gumbel-softmax: {expected}"]


@pytest.mark.parametrize(
    ("seeds", "overlap"), [((0.90, 0.94), "overlap"), ((0.8, 0.85), "do not overlap")], ids=["overlap", "apart"]
)
def test_runs_without_a_common_seed_are_compared_by_their_ranges(seeds, overlap):
    own = [training_record("marginalize", seed=seed, validation_accuracy=0.91 + seed / 50) for seed in (0, 1)]
    others = [
        {**training_record("gumbel-softmax", validation_accuracy=accuracy), "seed": seed}
        for seed, accuracy in enumerate(seeds, start=2)
    ]
    frame = make_frame([*own, *others])
    (told,) = against_the_sum(frame, over_seeds(frame, ["estimator"], ["validation_accuracy"]).set_index("estimator"))
    assert told.endswith(f"; the ranges of the seeds {overlap}.")


def test_the_difference_paired_by_seed_has_the_interval_of_a_paired_t_test():
    of_seed = {3: (0.924, 0.86), 0: (0.808, 0.823), 8: (0.9, 0.88), 1: (0.91, 0.87)}
    records = [
        {**training_record(estimator, test_accuracy=accuracy), "seed": seed}
        for estimator, place, seeds in (("marginalize", 0, [0, 1, 3, 8]), ("gumbel-softmax", 1, [8, 3, 1, 0]))
        for seed, accuracy in ((seed, of_seed[seed][place]) for seed in seeds)
    ]
    alone = [{**training_record("gumbel-softmax", test_accuracy=0.1), "seed": 9}]
    earlier = [{**training_record("marginalize", test_accuracy=0.2), "seed": 8}]
    rows = make_frame([*earlier, *records, *alone])
    found = paired_by_seed(rows, "gumbel-softmax", "marginalize", "test_accuracy")
    exact, draw = np.array([*of_seed.values()]).T
    differences = draw - exact
    low, high = scipy.stats.t.interval(0.95, 3, loc=differences.mean(), scale=scipy.stats.sem(differences))
    assert found.pairs == 4
    np.testing.assert_allclose(
        [found.mean, found.low, found.high], [differences.mean(), low, high], rtol=1e-12
    )


def test_the_difference_in_test_accuracy_is_told_beside_that_in_validation_accuracy():
    records = [
        training_record(estimator, seed=seed, validation_accuracy=value, test_accuracy=value - 0.2 - 0.01 * seed * sign)
        for estimator, sign, value in (("marginalize", 1, 0.9), ("gumbel-softmax", -1, 0.85))
        for seed in range(2)
    ]
    frame = make_frame(records)
    (told,) = against_the_sum(frame, over_seeds(frame, ["estimator"], ["validation_accuracy"]).set_index("estimator"))
    assert "between 5.0 points worse and 5.0 points worse; in test accuracy, " in told
    assert told.endswith("between 16.7 points worse and 8.7 points better.")


def test_neither_labels_only_nor_another_bounds_sum_is_a_sampler_and_without_a_sum_nothing_is_said():
    assert told_of((0.9,), (0.8,), "labels-only") == []
    assert told_of((0.9,), (0.8,), "sparsemax") == []
    assert told_of((), (0.8,)) == []


def test_unfinished_runs_are_listed_with_the_reason_and_count_in_no_mean():
    lost = [cut_short(SWEEP[0], "diverged", 3), cut_short(SWEEP[1], "unfinished", 2)]
    bare = {"step": None, "validation_accuracy": None, "status": "too-large", "reason": "needs | much"}
    section = section_of([*lost, *SWEEP[2:], training_record(k=9999, **bare)])
    _, first, *_ = rows_of(section, "ADGM on glyphs, K = 10, 100 labels, preset small")
    assert first[1:4] == ["1 (1 diverged, 1 unfinished)", "400", "92.0 %"]
    assert "K = 9,999" not in section
    listed = section.split("### Runs that did not finish")[1]
    assert re.search(rf"\| {lost[0]['case']} +\| diverged +\| diverged early +\| 200 +\| 44.5 %", listed)
    assert re.search(rf"\| {lost[1]['case']} +\| unfinished +\| unfinished early +\| 100 +\| 22.5 %", listed)
    assert re.search(r"\| too large +\| needs \\\| much +\|  +\|  +\|", listed)


IMAGES = {
    **{name: np.full((3, 28, 28), 200, np.uint8) for name in ("originals", "reconstructions")},
    **{name: np.full((3, 4, 28, 28), 90, np.uint8) for name in ("analogies", "samples")},
    "classes": np.arange(4),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a report on a store of training runs alone: one diverged, one unfinished, one with images."""
    folder = tmp_path_factory.mktemp("training")
    records = [cut_short(SWEEP[0], "diverged", 3), cut_short(SWEEP[1], "unfinished", 2), *SWEEP[2:]]
    records = [{**record, "learning_rate": 0.003, "tau_decay": 0.999, "clip_norm": None} for record in records]
    store = write_store(folder / "runs", records)
    write_images(store / SWEEP[2]["case"] / "images.npz", IMAGES)
    return make_report([store], name="trained", output=folder / "reports").parent


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", "scalars"])
def test_damaged_images_are_named_and_the_others_are_drawn(tmp_path, content):
    store = write_store(tmp_path / "runs", SWEEP[:2])
    for record in SWEEP[:2]:
        write_images(store / record["case"] / "images.npz", IMAGES)
    damaged = store / SWEEP[0]["case"] / "images.npz"
    if content == "scalars":
        np.savez(damaged, **dict.fromkeys(IMAGES, np.uint8(3)))
    else:
        damaged.write_bytes(content)
    reading = read_runs([store])
    (notice,) = reading.notices
    assert notice.startswith(f"Left out: {SWEEP[0]['case']}/images.npz is damaged or not of the right form: ")
    assert notice.endswith("The record beside it counts; make the run again to have its images.")
    assert {record["case"]: "_images" in record for record in reading.records} == {
        SWEEP[0]["case"]: False,
        SWEEP[1]["case"]: True,
    }
    assert draw("image_grids", reading.records) is not None


def page_of(folder):
    return (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_on_training_runs_alone_has_their_figures_and_tables_and_misses_nothing(report):
    names = {f"{name}.{suffix}" for name in (*TRAINING_FIGURES, "gallery") for suffix in ("png", "svg")}
    assert {path.name for path in report.iterdir()} == {
        *("report.html", "report.md", "summary.md", "tables.tex", "records.csv", "records.parquet", "curves.csv"),
        *names,
    }
    page = page_of(report)
    headings = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert headings[:3] == ["Accuracy against speed", "Validation accuracy as training goes on", "Training runs"]
    assert headings[-4:] == ["Missing", "Skipped, failed and too large", "Conditions", "Files"]
    assert "Nothing: these are training runs alone." in page
    assert "None, except for training runs that did not finish." in page
    assert f"| run_id  | {min(r['run_id'] for r in SWEEP)} … " in re.sub(" +[|]", "  |", page)
    for field, value in (("budget_steps", "400"), ("learning_rate", "0.003"), ("tau_decay", "0.999")):
        assert re.search(rf"\| {field} +\| {value} +\|", page)
    for name in TRAINING_FIGURES:
        caption = page.split(f"]({name}.png)")[1].split("##")[0]
        assert "Device: cpu (Example(R) Xample(TM) CPU @ 2.00GHz, 2 threads). Settings: preset small," in caption


@pytest.mark.parametrize("name", TRAINING_FIGURES)
def test_no_figure_of_training_runs_is_blank(report, name):
    pixels = imread(report / f"{name}.png")
    if name == "image_grids":
        assert (pixels[..., :3].max(axis=2) < 0.5).sum() > 10_000
        return
    blue = np.abs(pixels[..., :3] - np.array([0x00, 0x72, 0xB2]) / 255).max(axis=2) < 0.02
    assert blue.sum() > 200


def test_the_csv_files_have_the_figures_and_the_curves_and_no_path(report):
    frame = pd.read_csv(report / "records.csv")
    assert len(frame) == len(SWEEP)
    assert not [name for name in frame if name.startswith(("curve_", "_"))]
    assert "images.npz" not in (report / "records.csv").read_text()
    by_case = frame.set_index("case")
    for field in ("test_accuracy", "wall_seconds", "budget_steps", "steps_per_second", "epoch"):
        assert by_case.loc[SWEEP[2]["case"], field] == pytest.approx(SWEEP[2][field])
    curves = pd.read_csv(report / "curves.csv")
    assert set(curves["group"]) == {"training"}
    own = curves[curves["case"] == SWEEP[2]["case"]]
    for name in ("step", "epoch", "seconds", "wall_seconds", "accuracy"):
        np.testing.assert_allclose(own[name], SWEEP[2][f"curve_{name}"])
    assert own["loss"].isna().tolist() == [True, False, False, False, False]


@pytest.mark.usefixtures("undrawn")
def test_beside_a_benchmark_the_training_runs_stand_under_its_accuracies_and_in_none_of_its_tables(tmp_path):
    bench = [r for r in make_run(models=["m2"], ks=(10,), accuracy_ks=(10,), gradients=False) if r["status"] == "ok"]
    trained = training_records((10,), seeds=(0,), model="m2", recorded_at="2026-01-02T05:00:00Z")
    pages = [
        page_of(make_report([write_lines(tmp_path / f"{name}.jsonl", own)], name=name, output=tmp_path).parent)
        for name, own in (("alone", bench), ("both", [*bench, *trained]))
    ]
    alone, both = (page.split("## At a glance")[1].split("\n## ")[0] for page in pages)
    assert alone == both
    headings = [re.findall(r"^## (.*)$", page, re.MULTILINE) for page in pages]
    assert headings[0] == headings[1]
    assert headings[1][headings[1].index("Training runs") - 1] == "Validation accuracy as training goes on"
    titles = [re.findall(r"^### (.* labels, .*)$", page, re.MULTILINE) for page in pages]
    short, whole = (f"M2 on glyphs, K = 10, 100 labels, preset {preset}" for preset in ("default", "small"))
    assert titles == [[short], [short, whole]]


def test_the_figures_show_short_runs_of_the_benchmark_beside_training_runs():
    short = [r for r in make_run(models=["m2"], ks=(10,), accuracy_ks=(10,)) if r["group"] == "training"]
    for name, ends in (("pareto", ("M2 on glyphs, K = 10, 100 labels,\npreset default",)), ("training_curves", ())):
        plot = draw(name, [*short, *SWEEP])
        titles = [ax.get_title(loc=side) for ax in plot.figure.axes for side in ("left", "center")]
        assert {"ADGM", "M2"} == {title.split(" on ")[0] for title in titles if title}
        assert set(ends) <= set(titles)


def test_figures_that_training_runs_lack_are_missed_and_a_benchmark_needs_no_training():
    plots = dict.fromkeys(FIGURES)
    failed = make_frame([training_record(status="failed")])
    assert markdown.written(gaps.missing(failed, plots)).splitlines() == [
        "- figure `pareto`: the records have nothing to draw it from",
        "- figure `training_curves`: the records have nothing to draw it from",
    ]
    bench = markdown.written(gaps.missing(make_frame([make_record("step")]), plots))
    assert [name for name in TRAINING_FIGURES if f"`{name}`" in bench] == []


ODD = {
    "no-curve": [{k: v for k, v in training_record().items() if not k.startswith("curve_")}],
    "one-point": [cut_short(training_record(), "unfinished", 1)],
    "all-diverged": [cut_short(r, "diverged", 2) for r in SWEEP],
    "labels-only": [training_record("labels-only", k) for k in (10, 100)],
    "no-speed": [training_record(k=k, steps_per_second=None, train_seconds=None) for k in (10, 100)],
    "no-epochs": [training_record(curve_epoch=None, curve_seconds=None)],
    "zero": [training_record(k=k, validation_accuracy=0.0, curve_accuracy=[0.0] * 5) for k in (10, 100)],
    "bare": [{"schema_version": 1, "run_id": "x", "group": "training", "case": "c", "status": "failed", "reason": ""}],
}


@pytest.mark.parametrize("records", ODD.values(), ids=ODD)
def test_odd_training_runs_are_drawn_and_told_without_a_warning(records):
    for plot in draw_all(TRAINING_FIGURES, records).values():
        if plot:
            with figure_settings():
                plot.figure.set_dpi(40)
                FigureCanvasAgg(plot.figure).draw()
    assert section_of(records)
