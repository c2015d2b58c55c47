"""The figures: what is drawn, what is told, and that nothing is cut off or warned of."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from records_fixture import make_record, make_run, speedup_figures, true_speedup

from gsbench.report.figures import FIGURES
from gsbench.report.frame import make_curves, make_frame
from gsbench.report.style import figure_settings, make_look

RUN = make_run(ks=(10, 100))
OTHER = [{**record, "run_id": "other"} for record in make_run(models=["adgm"], ks=(10, 100), speed=20)]


def draw(name, records):
    frame = make_frame(records)
    look = make_look(frame["estimator"].dropna(), frame["series"])
    with figure_settings():
        return FIGURES[name](frame, make_curves(records, frame), look)


def lines_in(axes):
    """The data of the lines drawn, by colour."""
    return {
        line.get_color(): line.get_xydata() for line in axes.lines if line.get_marker() not in ("None", "_", "|", "x")
    }


def test_nothing_in_a_figure_lies_outside_it():
    for name in FIGURES:
        plot = draw(name, [*RUN, *OTHER])
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
    by_epoch, by_second = draw("accuracy_curves", RUN).figure.axes[:2]
    np.testing.assert_allclose(lines_in(by_epoch)["#0072B2"][-1], (20, 100 * 0.9187), atol=0.1)
    np.testing.assert_allclose(lines_in(by_second)["#D55E00"][:, 0], 0.02 * 500 * np.arange(1, 21))


def bars_in(axes, number):
    """The ends [n, 2] of the error bars of the numbered line."""
    (bars,) = axes.containers[number][2]
    return np.array([segment[:, 1] for segment in bars.get_segments()])


def test_the_bars_are_the_quartiles_and_the_interval():
    rates = bars_in(draw("steps_per_second", RUN).figure.axes[0], 0)
    np.testing.assert_allclose(rates, [(1 / (s * 1.05), 1 / (s * 0.97)) for s in (0.04, 0.22)])
    times = np.array([true_speedup("gumbel-softmax", k) for k in (10, 100)])
    interval = bars_in(draw("speedup", RUN).figure.axes[0], 0)
    np.testing.assert_allclose(interval, np.stack([0.93 * times, 1.08 * times], axis=1))


def test_the_published_points_stand_beside_m2_on_synthetic_alone():
    plot = draw("speedup", RUN)
    with_theirs = {ax.get_title(): lines_in(ax) for ax in plot.figure.axes if "#000000" in lines_in(ax)}
    (title,) = with_theirs
    assert title == "M2 on synthetic: full training step\nto be held against Jang et al."
    np.testing.assert_allclose(with_theirs[title]["#000000"], [(10, 2.0), (100, 9.9)])
    ours = [(k, true_speedup("gumbel-softmax", k)) for k in (10, 100)]
    np.testing.assert_allclose(with_theirs[title]["#D55E00"], ours)
    assert "arXiv 1611.01144" in plot.caption


def test_the_published_points_are_drawn_where_m2_was_not_measured():
    plot = draw("speedup", [record for record in RUN if record["model"] == "adgm"])
    (theirs,) = [ax for ax in plot.figure.axes if "#000000" in lines_in(ax)]
    assert theirs.get_title().startswith("M2 on synthetic")
    assert "not measured in these records" in [written.get_text() for written in theirs.texts]


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


def test_what_is_left_out_of_a_figure_is_told():
    many = make_run(models=["m2"], ks=(10,), accuracy_ks=range(2, 16))
    for name, left in (("pareto", "2 of 14"), ("accuracy_curves", "8 of 14")):
        plot = draw(name, many)
        assert f"{left} panels are left out; see the CSV files." in plot.caption
        titles = " ".join(ax.get_title() for ax in plot.figure.axes)
        assert "K = 2" in titles
        assert "K = 15" in titles


def test_a_case_that_does_not_fit_is_marked_with_what_it_needs():
    live = draw("peak_memory", RUN).figure.axes[0]
    (mark,) = [line for line in live.lines if line.get_marker() == "x"]
    assert mark.get_xdata()[0] == 500
    assert "needs 14.0 GiB" in [written.get_text() for written in live.texts]


@pytest.mark.parametrize(
    "records",
    [
        make_run(models=["adgm"], estimators=["marginalize"], ks=(10,), accuracy_ks=(10,)),
        make_run(models=["m2"], ks=(2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 1000), accuracy_ks=(2, 3, 5)),
        [make_record("speedup", estimator="other", **{**speedup_figures("bound", 1.0), "speedup_low": None})],
        [make_record("step", step_seconds=0.5, step_seconds_q1=None, step_seconds_q3=None, threads=None)],
        [make_record("step", step_seconds=0.0), make_record("memory", live_peak_bytes=0)],
        [make_record("accuracy", step=1, train_seconds=0.0, validation_accuracy=0.0)],
        [make_record("accuracy", step=1, train_seconds=1.0, validation_accuracy=0.5, curve_accuracy=[0.5])],
        [make_record("accuracy", estimator="labels-only", step=1, train_seconds=1.0, validation_accuracy=0.5)],
    ],
    ids=["single", "many", "odd-speedup", "no-quartiles", "zeros", "no-time", "no-curve", "labels-only"],
)
def test_odd_records_are_drawn_without_a_warning(records):
    for name in FIGURES:
        plot = draw(name, records)
        if plot:
            with figure_settings():
                plot.figure.set_dpi(40)
                FigureCanvasAgg(plot.figure).draw()


def test_the_axis_of_epochs_ends_soon_after_the_estimators_where_labels_only_goes_on():
    def run(estimator, last):
        curve = {"curve_step": [0, 1], "curve_epoch": [0.0, last], "curve_seconds": [0.0, 1.0]}
        return make_record("accuracy", estimator=estimator, **curve, curve_accuracy=[0.1, 0.8])

    plot = draw("accuracy_curves", [run("marginalize", 0.4), run("labels-only", 9.0)])
    by_epoch = plot.figure.axes[0]
    assert 0.4 < by_epoch.get_xlim()[1] < 1
    assert "labels-only may go on" in plot.caption
    alone = draw("accuracy_curves", [run("marginalize", 0.4), run("labels-only", 0.5)])
    assert alone.figure.axes[0].get_xlim()[1] > 0.5
