"""The figures: their points and words, and that nothing is cut off and no warning appears."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from records_fixture import (
    chunk_records,
    make_record,
    make_run,
    peer_figures,
    peer_records,
    speedup_figures,
    step_seconds,
    training_record,
    training_records,
    true_speedup,
)

from gsbench.records.frame import make_curves, make_frame
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.forest import Forest
from gsbench.report.drawing.pareto import pareto_front
from gsbench.report.drawing.shapes import AgainstNumber, Metric
from gsbench.report.drawing.sheet import figure_settings
from gsbench.report.drawing.styles import make_look
from gsbench.report.figures import FIGURES
from gsbench.settings.case import Settings

pytestmark = pytest.mark.slow

RUN = [*make_run(ks=(10, 100)), *peer_records((10, 100)), *chunk_records((10, 100), (1, 10, 100))]
OTHER = [{**record, "run_id": "other"} for record in make_run(models=["adgm"], ks=(10, 100), speed=20, gradients=False)]


def draw_all(names, records):
    """Name → figure of these records, or None without anything to draw."""
    frame = make_frame(records)
    series = frame.loc[frame["group"] != "training", "series"]
    curves, look = make_curves(records, frame), make_look(frame["estimator"].dropna(), series)
    with figure_settings():
        return {name: FIGURES[name].draw(frame, curves, look) for name in names}


def draw(name, records):
    return draw_all([name], records)[name]


def lines_in(axes):
    """Colour → data of the drawn line; of several lines with one colour, the last."""
    return {
        line.get_color(): line.get_xydata() for line in axes.lines if line.get_marker() not in ("None", "_", "|", "x")
    }


# The figure of predictions needs steps with the networks of the reference curves, the figure of prices needs calls of f
# that change during training.
PREDICTED, PRICE = "accuracy_by_time", "price_by_step"
TIMED_SMALL = [
    make_record("step", **Settings(name, preset="small", n_classes=k, threads=1).record_fields(), step_seconds=0.01 * k)
    for name in ("marginalize-streamed", "gumbel-softmax", "sum-and-relax")
    for k in (10, 100)
]
FALLING = [
    training_record("sum-and-sample(mass=0.999)", k, calls_of_f=None, curve_calls_of_f=[k, k / 2, 8, 3, 2])
    for k in (10, 100)
]
ALONE = {PREDICTED: TIMED_SMALL, PRICE: [*FALLING, *training_records((10, 100), seeds=(1,), calls_of_f=1)]}


def test_nothing_in_a_figure_lies_outside_it():
    trained = training_records((10, 100), seeds=(0, 1))
    # image_grids need files that these records lack
    drawn = draw_all(set(FIGURES) - {"image_grids", *ALONE}, [*RUN, *OTHER, *trained])
    for name, plot in {**drawn, **{name: draw(name, records) for name, records in ALONE.items()}}.items():
        plot.figure.canvas.draw()
        width, height = plot.figure.get_size_inches() * plot.figure.dpi
        box = plot.figure.get_tightbbox().get_points() * plot.figure.dpi
        assert (box >= 0).all(), name
        assert (box[1] <= (width, height)).all(), name


def test_the_figures_draw_the_figures():
    rates = lines_in(draw("steps_per_second", RUN).figure.axes[0])
    np.testing.assert_allclose(rates["#0072B2"], [(10, 25.0), (100, 1 / 0.22)])
    np.testing.assert_allclose(rates["#D55E00"], [(10, 50.0), (100, 50.0)])
    live, _, process, _ = draw("peak_memory", RUN).figure.axes
    np.testing.assert_allclose(lines_in(live)["#0072B2"], [(10, 50), (100, 230)])
    np.testing.assert_allclose(lines_in(process)["#0072B2"], [(10, 230), (100, 410)])
    by_epoch, by_second = draw("training_curves", RUN).figure.axes[:2]
    np.testing.assert_allclose(lines_in(by_epoch)["#0072B2"][-1], (20, 100 * 0.9187), atol=0.1)
    np.testing.assert_allclose(lines_in(by_second)["#D55E00"][:, 0], 0.02 * 500 * np.arange(1, 21))


TRAINED = training_records((10, 100, 1000), seeds=(0, 1))


UPRIGHT = [n for n, f in FIGURES.items() if isinstance(f, Figure) and not isinstance(f.shape, Forest)]


@pytest.mark.parametrize("name", UPRIGHT)
def test_the_points_equal_the_drawing_and_moved_markers_are_not_joined(name):
    """A line through markers beside their K would show an order that the numbers do not have."""
    plot = draw(name, ALONE.get(name, [*RUN, *TRAINED]))
    drawn = [line for ax in plot.figure.axes for line in ax.lines if line.get_marker() not in ("None", "_", "|", "x")]
    heights = np.concatenate([line.get_ydata() for line in drawn]).astype(float)
    measured = plot.points.dropna(subset=["x", "y"])
    measured = measured[~measured["name"].str.contains(": |exact sum|labels-only")]
    assert np.isclose(measured["y"].to_numpy()[:, None], heights).any(axis=1).all()
    assert np.isclose(heights[:, None], plot.points["y"].dropna().to_numpy()).any(axis=1).all()
    for line in drawn:
        if line.get_linestyle() != "None" and len(line.get_xdata()) > 1:
            assert np.isin(line.get_xdata(), plot.points["x"]).all()


def test_accuracies_side_by_side_have_their_measured_k_in_the_csv_and_no_line():
    plot = draw("accuracy_by_classes", TRAINED)
    lines = [line for line in plot.figure.axes[0].lines if line.get_marker() in ("o", "s", "D")]
    assert {line.get_linestyle() for line in lines} == {"None"}
    assert {len(line.get_xdata()) for line in lines} == {3}
    assert not np.isin(lines[0].get_xdata(), (10, 100, 1000)).any()
    assert set(plot.points["x"]) == {10, 100, 1000}
    assert "Points of one K stand side by side." in plot.caption


def test_a_figure_is_its_declaration():
    """The declaration determines the files, the place, the question, and whether the figure can be missed."""
    rows = [{"K": 10, "seconds": 2.0}, {"K": 100, "seconds": 20.0}]
    figure = Figure(
        5, "mine", "fast", "step", "My figure", rows=lambda frame, curves: frame,
        points=lambda rows: rows.assign(panel="P", estimator="marginalize", x=rows["K"], y=rows["seconds"]),
        shape=AgainstNumber(Metric("classes"), Metric("seconds", better=-1)), caption=lambda rows, points: "Mine.",
    )  # fmt: skip
    with figure_settings():
        plot = figure.draw(pd.DataFrame(rows), pd.DataFrame(), make_look([], []))
    assert (plot.title, plot.caption) == ("My figure", "Mine.")
    np.testing.assert_allclose(lines_in(plot.figure.axes[0])["#0072B2"], [(10, 2), (100, 20)])
    assert plot.points.to_dict("list") == {
        "panel": ["P", "P"], "name": ["marginalize"] * 2, "x_axis": ["classes"] * 2, "x": [10, 100],
        "y_axis": ["seconds"] * 2, "y": [2.0, 20.0],
    }  # fmt: skip
    places = [figure.place for figure in FIGURES.values()]
    assert places == sorted(set(places))
    assert all(name == figure.name for name, figure in FIGURES.items())


@pytest.mark.parametrize(("better_x", "better_y"), [(1, 1), (-1, -1), (1, -1), (-1, 1)])
def test_the_pareto_front_is_unbeaten_in_both_for_every_direction(better_x, better_y):
    speeds, accuracies = np.array([1.0, 2.0, 3.0, 3.0, 0.5, 2.0]), np.array([0.9, 0.8, 0.7, 0.6, 0.9, 0.8])
    points = pd.DataFrame({"x": better_x * speeds, "y": better_y * accuracies, "work": list("abcdef")})
    assert pareto_front(points, better_x, better_y).index.tolist() == [0, 1, 2]
    assert pareto_front(points[:1], better_x, better_y).empty
    assert pareto_front(points.assign(work="a"), better_x, better_y).empty
    assert pareto_front(points.assign(work=list("abacef")), better_x, better_y).index.tolist() == [0, 1, 3]


def bars_in(axes, number):
    """The ends [n, 2] of the error bars of the numbered line."""
    (bars,) = axes.containers[number][2]
    return np.array([segment[:, 1] for segment in bars.get_segments()])


def test_the_bars_are_the_quartiles_and_the_interval():
    rates = bars_in(draw("steps_per_second", RUN).figure.axes[0], 0)
    np.testing.assert_allclose(rates, [(1 / (s * 1.05), 1 / (s * 0.97)) for s in (0.04, 0.22)])
    times = np.array([true_speedup("marginalize", k) for k in (10, 100)])
    interval = bars_in(draw("speedup", RUN).figure.axes[0], 0)
    np.testing.assert_allclose(interval, np.stack([0.93 * times, 1.08 * times], axis=1))


def test_the_published_points_stand_beside_m2_on_synthetic_alone():
    plot = draw("speedup", RUN)
    with_theirs = {ax.get_title(): lines_in(ax) for ax in plot.figure.axes if "#000000" in lines_in(ax)}
    (title,) = with_theirs
    assert title == "M2 on synthetic: full training step\ncomparable with Jang et al."
    np.testing.assert_allclose(with_theirs[title]["#000000"], [(10, 2.0), (100, 9.9)])
    ours = [(k, true_speedup("gumbel-softmax", k)) for k in (10, 100)]
    np.testing.assert_allclose(with_theirs[title]["#D55E00"], ours)
    assert "arXiv 1611.01144" in plot.caption


def test_the_published_points_are_drawn_where_m2_was_not_measured():
    plot = draw("speedup", [record for record in RUN if record["model"] == "adgm"])
    (theirs,) = [ax for ax in plot.figure.axes if "#000000" in lines_in(ax)]
    assert theirs.get_title().startswith("M2 on synthetic")
    assert "not measured in these records" in [written.get_text() for written in theirs.texts]


def test_the_speedup_says_that_sparsemax_is_of_another_bound():
    given = [make_record("speedup", estimator=name, **speedup_figures("bound", 2.0)) for name in ("mine", "sparsemax")]
    clause = "sparsemax: the sum of its own bound, whose cost depends on the logits."
    assert clause in draw("speedup", given).caption
    assert "sparsemax" not in draw("speedup", given[:1]).caption


def test_a_panel_of_a_speedup_that_was_not_measured_is_not_shown():
    lost = [r for r in RUN if (r["model"], r.get("timed")) != ("m2", "bound")]
    shown = [ax for ax in draw("speedup", lost).figure.axes if ax.get_visible()]
    assert [ax.get_title().split(":")[0] for ax in shown] == ["ADGM on glyphs", "M2 on synthetic", "ADGM on glyphs"]
    assert [ax.get_xlabel() for ax in shown] == ["", "number of classes K", "number of classes K"]
    assert [ax.get_ylabel() != "" for ax in shown] == [True, False, True]


def test_several_runs_differ_by_their_lines():
    axes = draw("steps_per_second", [*RUN, *OTHER]).figure.axes[0]
    dashes = {line.get_linestyle() for line in axes.lines if line.get_color() == "#0072B2" and line.get_marker() == "o"}
    assert dashes == {"-", "--"}


def test_a_figure_says_what_it_leaves_out():
    many = make_run(models=["m2"], ks=(10,), accuracy_ks=range(2, 16), gradients=False)
    for name in ("pareto", "training_curves"):
        plot = draw(name, many)
        assert "2 of 14 panels are left out; see the CSV files." in plot.caption
        titles = " ".join(ax.get_title(loc=side) for ax in plot.figure.axes for side in ("left", "center"))
        assert "K = 2" in titles
        assert "K = 15" in titles


def test_a_case_that_does_not_fit_is_marked_with_what_it_needs():
    live = draw("peak_memory", RUN).figure.axes[0]
    (mark,) = [line for line in live.lines if line.get_marker() == "x"]
    assert mark.get_xdata()[0] == 500
    assert "needs 14.0 GiB" in [written.get_text() for written in live.texts]


def test_of_several_cases_that_do_not_fit_the_smallest_says_what_it_needs():
    ks = (10, 100, 500, 1000, 2000, 5000)
    lost = [make_record("memory", n_classes=k, status="too-large", estimate_bytes=k * 2**20) for k in ks[3:]]
    streamed = [make_record("memory", n_classes=k, estimator="marginalize-streamed", live_peak_bytes=1e8) for k in ks]
    (live,) = draw("peak_memory", [*streamed, *lost]).figure.axes
    assert [line.get_xdata().tolist() for line in live.lines if line.get_marker() == "x"] == [[1000, 2000, 5000]]
    assert [written.get_text() for written in live.texts] == ["needs 1,000 MiB"]
    assert live.texts[0].xy[0] == 1000


@pytest.mark.parametrize("models", [["adgm"], ["adgm", "m2"]])
def test_the_labels_of_a_class_axis_do_not_touch(models):
    ks = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
    records = [make_record("step", model=m, n_classes=k, step_seconds=0.1) for m in models for k in ks]
    plot = draw("steps_per_second", records)
    renderer = FigureCanvasAgg(plot.figure).get_renderer()
    plot.figure.draw(renderer)
    for axes in plot.figure.axes:
        boxes = [label.get_window_extent(renderer) for label in axes.get_xticklabels()]
        assert all(left.x1 + 3 < right.x0 for left, right in pairwise(boxes))
        shown = [label.get_text() for label in axes.get_xticklabels()]
        assert {"10", "100", "1,000", "5,000"} <= set(shown)
        assert len(shown) >= 8


def test_marks_at_the_bottom_stand_below_all_that_is_drawn():
    ks = (10, 100, 1000, 5000)
    records = [make_record("step", estimator="marginalize-streamed", n_classes=k, step_seconds=k) for k in ks]
    records.append(make_record("step", n_classes=5000, status="too-large"))
    axes = draw("steps_per_second", records).figure.axes[0]
    (mark,) = [line for line in axes.lines if line.get_marker() == "x"]
    (_, height), (_, lowest) = (
        axes.transAxes.transform((0, mark.get_ydata()[0])),
        axes.transData.transform((1, 1 / 5000)),
    )
    assert height + 5 < lowest


def test_time_per_class_is_drawn_for_exact_sums():
    plot = draw("time_per_class", RUN)
    adgm, m2 = plot.figure.axes
    assert set(lines_in(adgm)) == {"#0072B2", "#56B4E9"}
    for axes, model in ((adgm, "adgm"), (m2, "m2")):
        for colour, name in (("#0072B2", "marginalize"), ("#56B4E9", "marginalize-streamed")):
            expected = [(k, 0.7e3 * step_seconds(model, name, k) / k) for k in (10, 100)]
            np.testing.assert_allclose(lines_in(axes)[colour], expected)
    assert "falls as 1/K" in plot.caption


def test_time_per_class_is_read_from_the_roofline_where_nothing_else_timed_the_bound():
    other = [record for record in RUN if record["group"] != "bound"]
    axes = draw("time_per_class", other).figure.axes[0]
    np.testing.assert_allclose(lines_in(axes)["#56B4E9"], [(10, 2.1), (100, 0.84)])
    assert draw("time_per_class", [record for record in other if record["group"] != "roofline"]) is None


def test_the_caption_mentions_bars_of_time_per_class_only_if_drawn():
    assert "bars from quartile to quartile" in draw("time_per_class", RUN).caption
    plot = draw("time_per_class", [record for record in RUN if record["group"] != "bound"])
    assert "quartile" not in plot.caption
    assert "over K: median. The exact sums" in plot.caption


@pytest.mark.parametrize(("slowest", "scale"), [(3.0, "linear"), (300.0, "log")])
def test_time_per_class_begins_at_0_unless_the_values_lie_far_apart(slowest, scale):
    records = [make_record("bound", n_classes=k, bound_seconds=k * s) for k, s in ((10, slowest), (100, 1.0))]
    axes = draw("time_per_class", records).figure.axes[0]
    assert axes.get_yscale() == scale
    assert (axes.get_ylim()[0] == 0) == (scale == "linear")
    assert axes.get_ylabel() == "time of the bound per class (s)"


def test_the_share_of_the_peak_is_drawn_from_0_to_1_with_its_interval():
    bound, step, *_ = draw("fraction_of_peak", RUN).figure.axes
    assert bound.get_ylim() == (0, 1)
    np.testing.assert_allclose(lines_in(step)["#56B4E9"], [(10, 0.5), (100, 0.5)])
    np.testing.assert_allclose(lines_in(bound)["#0072B2"], [(10, 0.375), (100, 3 / 11)])
    np.testing.assert_allclose(bars_in(bound, 1), [(0.45, 0.525)] * 2)


def points_of(axes, label):
    """(heading, tick label) → (x, low end, high end) of the points beside the label."""
    found, heading = {}, ""
    labels = [tick.get_text() for tick in axes.get_yticklabels()]
    bars = [
        (point, segment[:, 0])
        for c in axes.containers
        for point, segment in zip(c.lines[0].get_xydata(), c.lines[2][0].get_segments(), strict=True)
    ]
    for y, name in enumerate(labels):
        heading = name if name.startswith("K = ") else heading
        near = [(x, *ends) for (x, at), ends in bars if abs(at - y) < 0.5]
        if name == label:
            found[heading] = near
    return found


def test_peers_have_a_point_for_each_estimator_beside_their_name():
    sums, sampling = draw("peers", RUN).figure.axes
    assert (sums.get_title(), sampling.get_title()) == ("gsbench: the exact sum", "gsbench: sampling")
    found = points_of(sums, "pyro-parallel")
    assert list(found) == ["K = 10", "K = 100"]
    np.testing.assert_allclose(found["K = 10"], [np.array([1, 0.9, 1.2]) * times for times in (3.2 / 1.4, 3.2)])
    np.testing.assert_allclose(found["K = 100"], [np.array([1, 0.9, 1.2]) * times for times in (4.1 / 1.4, 4.1)])
    full = points_of(sampling, "plain-torch, full step")
    np.testing.assert_allclose(full["K = 10"], [np.array([1, 0.9, 1.2]) * 2.2 / 1.4])
    assert not points_of(sampling, "pyro-parallel")


def test_a_peer_that_does_not_fit_is_noted_in_its_line():
    lost = {"baseline": "plain-torch", "timed": "unlabelled-step", "status": "out-of-memory"}
    plot = draw("peers", [*peer_records([10])[:1], make_record("peer", **lost)])
    (axes,) = plot.figure.axes
    (told,) = axes.texts
    assert told.get_text() == "out of memory"
    label = axes.get_yticklabels()[round(told.get_position()[1])]
    assert label.get_text() == "plain-torch"
    assert draw("peers", [make_record("peer", **lost)]) is None


def test_chunks_are_drawn_by_k_with_the_constant_part():
    by_time, by_memory = draw("chunk_sizes", RUN).figure.axes
    times = [line.get_xydata() for line in by_time.lines if line.get_marker() in ("o", "s")]
    np.testing.assert_allclose(times[0], [(1, 1 / 3.7), (10, 1)])
    np.testing.assert_allclose(times[1], [(1, 1 / 3.7), (10, 1), (100, 1 / 1.9)])
    memory = [line.get_xydata() for line in by_memory.lines if line.get_marker() in ("o", "s")]
    np.testing.assert_allclose(memory[1], [(1, 35), (10, 53), (100, 233)])
    state = [line.get_ydata()[0] for line in by_memory.lines if line.get_linestyle() == ":"]
    assert state == [25, 28]


def test_the_memory_of_a_chunk_on_a_gpu_is_the_devices():
    on_a_gpu = [{"device_peak_bytes": r.pop("live_peak_bytes"), **r} for r in chunk_records([100], [1, 10])]
    plot = draw("chunk_sizes", on_a_gpu)
    by_memory = plot.figure.axes[1]
    (memory,) = [line.get_xydata() for line in by_memory.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(memory, [(1, 35), (10, 53)])
    assert by_memory.get_ylabel() == "peak of device (MiB)"
    assert "Memory: peak of device over one step; the dotted line" in plot.caption
    both = draw("chunk_sizes", [*on_a_gpu, *chunk_records([10], [1])])
    assert both.figure.axes[1].get_ylabel() == "peak of live arrays or device (MiB)"


ODD = {
    "single": (
        make_run(models=["adgm"], estimators=["marginalize"], ks=(10,), accuracy_ks=(10,)),
        "training_curves fraction_of_peak gradient_bias gradient_pareto gradient_price gradient_temperature "
        "gradient_variance pareto peak_memory steps_per_second time_per_class",
    ),
    "many": (
        make_run(models=["m2"], ks=(*range(2, 11), 12, 15, 20, 1000), accuracy_ks=(2, 3, 5), gradients=False),
        "pareto steps_per_second speedup time_per_class peak_memory fraction_of_peak "
        "training_curves accuracy_by_classes",
    ),
    "odd-speedup": (
        [make_record("speedup", estimator="other", **{**speedup_figures("bound", 1.0), "speedup_low": None})],
        "speedup",
    ),
    "no-quartiles": (
        [make_record("step", step_seconds=0.5, step_seconds_q1=None, step_seconds_q3=None, threads=None)],
        "steps_per_second",
    ),
    "zeros": ([make_record("step", step_seconds=0.0), make_record("memory", live_peak_bytes=0)], ""),
    "no-time": ([make_record("training", step=1, train_seconds=0.0, validation_accuracy=0.0)], ""),
    "no-curve": (
        [make_record("training", steps_per_second=1.0, validation_accuracy=0.5, curve_accuracy=[0.5])],
        "pareto",
    ),
    "labels-only": (
        [make_record("training", estimator="labels-only", steps_per_second=1.0, validation_accuracy=0.5)],
        "",
    ),
    "two-chunks": ([*chunk_records([2], [1]), *chunk_records([2], [2], model="m2", threads=1)], "chunk_sizes"),
    "bare-chunk": (
        [make_record("chunk", chunk=3, speedup=1.0), make_record("chunk", chunk=3, n_classes=20, live_peak_bytes=9)],
        "chunk_sizes",
    ),
    "bare-peer": ([make_record("peer", baseline="plain-chainer", speedup=0.5)], "peers"),
    "odd-peer": (
        [make_record("peer", baseline="mine", timed="dance", **peer_figures(1.0, 1.0) | {"speedup_low": None})],
        "peers",
    ),
    "bare-roofline": ([make_record("roofline", timed="step", fraction_of_peak=1.5)], "fraction_of_peak"),
    "no-baseline": ([make_record("speedup", estimator="other", timed="step", speedup=2.0)], "speedup"),
}


@pytest.mark.parametrize(("records", "drawn"), ODD.values(), ids=ODD)
def test_odd_records_are_drawn_without_a_warning(records, drawn):
    """Without anything to draw there is no figure; a warning is an error in all tests."""
    plots = draw_all(FIGURES, records)
    assert {name for name, plot in plots.items() if plot} == set(drawn.split())
    for plot in filter(None, plots.values()):
        with figure_settings():
            plot.figure.set_dpi(40)
            FigureCanvasAgg(plot.figure).draw()


def test_the_axis_of_epochs_ends_soon_after_the_estimators_if_labels_only_is_longer():
    def run(estimator, last):
        curve = {"curve_step": [0, 1], "curve_epoch": [0.0, last], "curve_seconds": [0.0, 1.0]}
        return make_record("training", estimator=estimator, **curve, curve_accuracy=[0.1, 0.8])

    plot = draw("training_curves", [run("marginalize", 0.4), run("labels-only", 9.0)])
    by_epoch = plot.figure.axes[0]
    assert 0.4 < by_epoch.get_xlim()[1] < 1
    alone = draw("training_curves", [run("marginalize", 0.4), run("labels-only", 0.5)])
    assert alone.figure.axes[0].get_xlim()[1] > 0.5


def test_the_axis_of_seconds_does_not_end_with_the_epochs():
    curve = {"curve_step": [0, 1, 2], "curve_epoch": [0.0, 0.2, 0.4], "curve_seconds": [0.0, 100.0, 200.0]}
    run = make_record("training", estimator="marginalize", **curve, curve_accuracy=[0.1, 0.7, 0.8])
    by_second = draw("training_curves", [run]).figure.axes[1]
    assert by_second.get_xlim()[1] > 200


def test_the_price_of_a_step_has_the_calls_and_the_time_since_the_evaluation_before():
    """The time of a step is 100 s / 400."""
    plot = draw(PRICE, ALONE[PRICE])
    calls, times = (plot.points[plot.points["y_axis"].str.startswith(axis)] for axis in ("calls", "time"))
    of_mass = calls[(calls["name"] == "sum-and-sample(mass=0.999)") & calls["panel"].str.contains("K = 100,")]
    assert of_mass[["x", "y"]].to_numpy().tolist() == [[0, 100], [100, 50], [200, 8], [300, 3], [400, 2]]
    assert set(calls[calls["name"] == "marginalize"]["y"]) == {1}
    np.testing.assert_allclose(times["y"], 250.0)
    assert len(times) > 8
    assert len(calls) - len(times) == len(calls.groupby(["panel", "name"]))  # the first evaluation has calls alone


def test_a_run_with_one_evaluation_has_calls_but_no_time_of_a_step():
    once = [{**run, **{name: run[name][-1:] for name in run if name.startswith("curve_")}} for run in ALONE[PRICE]]
    points = draw(PRICE, once).points
    assert set(points["y_axis"]) == {"calls of f per example"}


def test_without_calls_that_change_there_is_no_figure_of_prices():
    assert draw(PRICE, training_records((10, 100), seeds=(1,), calls_of_f=1)) is None
