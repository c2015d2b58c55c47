"""The figure of the temperature: the estimators with a line in it, and the places of its points."""

import numpy as np
from records_fixture import gradient_records

from gsbench.records.frame import make_curves, make_frame
from gsbench.report.drawing.sheet import figure_settings
from gsbench.report.drawing.styles import make_look
from gsbench.report.figures import FIGURES

TAUS = (0.1, 0.5, 1.0, 2.0)


def records(taus=TAUS, ks=(10, 100), name="gumbel-softmax"):
    """Records of one estimator at some temperatures: variance 9/τ², squared bias 0.04 τ², no bias at the lowest."""
    found = []
    for tau in taus:
        spelled = name if tau == 1 else f"{name}(tau={tau})"
        for record in gradient_records(ks, estimators=[name]):
            bias = 0.04 * tau**2
            changes = {
                "case": f"{spelled}-{record['n_classes']}-{record['state']}",
                "estimator": spelled,
                "estimator_tau": tau,
                "logits_squared_bias": bias,
                "logits_squared_bias_low": -bias if tau == min(taus) else bias / 2,
                "logits_squared_bias_high": 2 * bias,
                **{f"logits_variance{end}": 9 / tau**2 for end in ("", "_low", "_high")},
            }
            found.append({**record, **changes})
    return found


def draw(rows):
    frame = make_frame(rows)
    with figure_settings():
        look = make_look(frame["estimator"], frame["series"])
        return FIGURES["gradient_temperature"].draw(frame, make_curves(rows, frame), look)


def drawn_lines(axes):
    """The lines that have markers, as [n, 2] each."""
    return [line.get_xydata() for line in axes.lines if line.get_marker() not in ("None", "_", None)]


def test_points_are_bias_and_deviation_by_temperature():
    plot = draw(records())
    above, _, below, _ = plot.figure.axes
    unseen, *lines = sorted(drawn_lines(above), key=len)[1:]  # two for each K, and no line between them
    np.testing.assert_array_equal(unseen, [(0.1, 0.0)])
    assert len(lines) == 2
    for line in lines:
        np.testing.assert_allclose(line, [(tau, 0.2 * tau) for tau in TAUS[1:]])
    for line in drawn_lines(below):
        np.testing.assert_allclose(line, [(tau, 3 / tau) for tau in TAUS])
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["0.1", "0.5", "1", "2"]


def test_a_bias_that_may_be_0_has_a_bar_up_to_the_end_of_its_interval():
    containers = draw(records(ks=(10,))).figure.axes[0].containers
    unseen, seen = ([segment[:, 1] for segment in c.lines[2][0].get_segments()] for c in containers)
    np.testing.assert_allclose(unseen, [[0, 0.2 * 0.1 * np.sqrt(2)]])
    np.testing.assert_allclose(seen[0], [0.2 * 0.5 * np.sqrt(0.5), 0.2 * 0.5 * np.sqrt(2)])


def test_two_temperatures_are_no_line():
    assert draw(records(taus=(0.1, 1.0))) is None
    assert draw(gradient_records([10], estimators=["score-function", "sparsemax"])) is None


def test_each_relaxation_has_its_colour_and_each_k_its_line():
    rows = [*records(), *records(name="straight-through")]
    plot = draw(rows)
    drawn = [line for line in plot.figure.axes[2].lines if line.get_marker() in ("s", "^")]
    assert len({(line.get_color(), line.get_linestyle()) for line in drawn}) == 4
    labels = [entry.get_text() for entry in plot.figure.legends[0].get_texts()]
    assert labels == ["gumbel-softmax", "straight-through", "K = 10", "K = 100"]
