"""The quality of the gradients in the report: their figures, their tables and their colours."""

import contextlib
import functools
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from records_fixture import (
    GRADED,
    NO_DRAWS,
    PART_SHARE,
    SOME_GRADED,
    STATES,
    STEP_SECONDS,
    gradient_bias,
    gradient_records,
    gradient_variance,
    make_record,
    make_run,
)
from report_fixture import blank

from gsbench.records.frame import make_curves, make_frame
from gsbench.report import gaps
from gsbench.report.blocks import Fold
from gsbench.report.drawing.axes import plain_number, side_by_side
from gsbench.report.drawing.sheet import figure_settings
from gsbench.report.drawing.styles import KNOWN, estimator_styles, make_look
from gsbench.report.figures import FIGURES
from gsbench.report.gaps import records_table
from gsbench.report.glance import glance_cells, glance_text
from gsbench.report.gradient_table import bias_text, gradient_section
from gsbench.report.gradients import gradient_rows, of_part, state_title, states_of
from gsbench.report.page import make_page
from gsbench.report.writers import markdown

pytestmark = pytest.mark.slow

ENDS = ("", "_low", "_high")
KS = (10, 20, 50, 100, 200)
NAMES = ("gradient_bias", "gradient_variance", "gradient_price", "gradient_pareto")
RECORDS = gradient_records(KS)
STYLES = estimator_styles(GRADED)
STATE_NAMES = {"initial": "initial parameters", "trained": "after 200 steps"}
PANELS = [(part, state) for part in PART_SHARE for state in STATES]  # in the order of a figure's axes


def draw_all(names, records):
    """The figures of these records by their names, None for what there is nothing to draw of."""
    frame = make_frame(records)
    curves, look = make_curves(records, frame), make_look(frame["estimator"], frame["series"])
    with figure_settings():
        return {name: FIGURES[name].draw(frame, curves, look) for name in names}


def draw(name, records):
    return draw_all([name], records)[name]


@functools.cache
def drawn_from_all(name):
    return draw(name, RECORDS)


@functools.cache
def points_from_all(part):
    return of_part(gradient_rows(make_frame(RECORDS)), part)


@functools.cache
def tables_from_all():
    return gradient_tables(make_frame(RECORDS))


def in_state(rows, state):
    return rows[rows["state"] == STATE_NAMES[state]]


def points(axes, estimator):
    """What is drawn of an estimator: [n, 2], of all its lines together, by x."""
    lines = [
        line.get_xydata()
        for line in axes.lines
        if (line.get_color(), line.get_marker()) == STYLES[estimator] and len(line.get_xdata())
    ]
    return np.array(sorted(map(tuple, np.concatenate(lines)))) if lines else np.empty((0, 2))


def bars(axes, estimator):
    """The ends [n, 2] of the bars of an estimator."""
    drawn = [c for c in axes.containers if (c.lines[0].get_color(), c.lines[0].get_marker()) == STYLES[estimator]]
    return np.concatenate([[bar[:, 1] for bar in c.lines[2][0].get_segments()] for c in drawn])


def dashed(axes):
    (line,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    return line.get_xydata()


def record(estimator="gumbel-softmax", **changes):
    (found,) = [r for r in gradient_records([10], estimators=[estimator]) if r["state"] == "initial"]
    return {**found, **changes}


# --- the frame ---


def test_the_fields_of_a_gradient_are_numbers_and_its_state_is_text():
    frame = make_frame([record(estimator_m=5), record("gumbel-rao", estimator_conditional_draws=10)])
    assert frame["estimator_m"].tolist() == [5, None]
    assert frame["estimator_conditional_draws"].tolist() == [None, 10]
    assert frame["state"].tolist() == ["initial", "initial"]
    assert frame["training_estimator"].tolist() == ["", ""]
    for name in ("logits_squared_bias", "phi_variance_low", "theta_total_variance", "q_perplexity", "calls_of_f"):
        assert frame[name].dtype == "float64", name
    assert frame["theta_exact_norm"].tolist() == [0.01, 0.01]
    assert frame["series"].unique().tolist() == [""]


def test_the_state_makes_no_series_and_gradients_no_column_of_the_glance():
    frame = make_frame(RECORDS)
    assert frame["series"].unique().tolist() == [""]
    assert glance_cells(frame).empty


@pytest.mark.usefixtures("wide_terminal")
def test_a_terminal_shows_bias_and_variance_of_each_state_by_k_and_estimator():
    title, states, headers, _, *lines = glance_text(RECORDS).splitlines()
    assert title.startswith("Gradient with respect to the logits")
    assert headers.split() == ["K", *("bias", "variance", "time") * 2]
    assert [state.strip() for state in states.split(":")] == ["initial parameters", "after 200 steps", ""]
    assert len(lines) == len(KS) * len(GRADED)
    (exact, *_), line = lines, next(line for line in lines if line.split()[:3] == ["ADGM", "50", "gumbel-softmax"])
    assert exact.split()[:5] == ["ADGM", "10", "marginalize", "0", "0"]
    bias, variance = (figure("gumbel-softmax", 50, "initial") for figure in (gradient_bias, gradient_variance))
    assert float(line.split()[3]) == pytest.approx(bias, rel=0.01)
    assert float(line.split()[4]) == pytest.approx(variance, rel=0.01)
    assert "0 (to " in next(line for line in lines if "score-function" in line)
    assert glance_text([r for r in RECORDS if r["state"] == "initial"]).splitlines()[2].split() == headers.split()[:4]
    assert glance_text([{**r, "status": "failed"} for r in RECORDS]) == ""


def missing(frame):
    return markdown.written(gaps.missing(frame, {}))


def gradient_tables(frame):
    return markdown.written(gradient_section(frame).blocks)


def with_bias(*squared, **changes):
    """A record whose squared bias and its ends are these."""
    return record(**{f"logits_squared_bias{end}": s for end, s in zip(ENDS, squared, strict=True)}, **changes)


def test_a_bias_is_0_where_its_interval_reaches_0_or_no_y_is_drawn():
    given = [(0.04, 0.01, 0.09), (0.04, -0.01, 0.09), (-0.01, -0.04, -0.001), (1e-12, 1e-13, 4e-12), (0.04, None, None)]
    rows = [with_bias(*squared, n_classes=i) for i, squared in enumerate(given, 2)]
    found = of_part(gradient_rows(make_frame(rows)), "logits")
    assert found["bias"].tolist() == pytest.approx([0.2, 0, 0, 1e-6, 0.2], rel=1e-9)
    nan = float("nan")  # a record without ends has no interval, which is not one of no width
    assert found["bias_low"].tolist() == pytest.approx([0.1, 0, 0, np.sqrt(1e-13), nan], rel=1e-9, nan_ok=True)
    assert found["bias_high"].tolist() == pytest.approx([0.3, 0.3, 0, 2e-6, nan], rel=1e-9, nan_ok=True)
    assert found["error"].tolist() == pytest.approx(np.sqrt([0.24, 0.24, 0.2, 0.2, 0.24]))
    undrawn = [{**row, "draws_y": False, "gradient_draws": 1, "logits_variance": 0.0} for row in (rows[0], rows[3])]
    found = of_part(gradient_rows(make_frame(undrawn)), "logits")
    assert found["bias"].tolist() == found["error"].tolist() == [pytest.approx(0.2), 0]  # rounding, and no more
    assert found["bias_high"].tolist() == [pytest.approx(0.3), 0]


def test_several_seeds_are_one_point_their_median():
    given = [record(seed=seed, case=str(seed), logits_variance=v) for seed, v in enumerate([1.0, 5.0, 2.0])]
    assert of_part(gradient_rows(make_frame(given)), "logits")["variance"].tolist() == [2.0]
    for name, plot in draw_all(NAMES, given).items():
        assert "Several seeds: medians." in plot.caption
        assert "seeds" not in drawn_from_all(name).caption
    assert "Several seeds: medians." in gradient_tables(make_frame(given))
    assert "seeds" not in tables_from_all()


def test_medians_are_of_the_squared_bias_before_anything_is_0():
    squared = [(0.01, -0.02, 0.04), (0.04, 0.01, 0.09), (-0.03, -0.09, 0.01), (0.05, 0.02, 0.16)]
    given = [with_bias(*ends, seed=i, case=str(i)) for i, ends in enumerate(squared)]
    three, four = (of_part(gradient_rows(make_frame(rows)), "logits").iloc[0] for rows in (given[:3], given))
    assert [three[f"bias{end}"] for end in ENDS] == [0, 0, pytest.approx(0.2)]  # the median low end is -0.02
    assert [four[f"bias{end}"] for end in ENDS] == [0, 0, pytest.approx(np.sqrt(0.065))]  # that of four -0.005


def test_trainings_that_differ_are_not_one_point():
    trainings = [(200, "sum-and-sample"), (1000, "sum-and-sample"), (200, "marginalize")]
    given = [record(), *(
        record(state="trained", case=str(i), training_steps=steps, training_estimator=name, logits_variance=1.0 + i)
        for i, (steps, name) in enumerate(trainings)
    )]  # fmt: skip
    for known, names in (
        (given[:3], ["initial parameters", "after 200 steps", "after 1,000 steps"]),
        (given, ["initial parameters", "after 200 steps with marginalize", "after 200 steps with sum-and-sample",
                 "after 1,000 steps with sum-and-sample"]),
    ):  # fmt: skip
        rows = gradient_rows(make_frame(known))
        assert states_of(rows) == names
        assert set(of_part(rows, "logits")["state"]) == set(names)
        titles = [ax.get_title().split("\n")[0] for ax in draw("gradient_variance", known).figure.axes[: len(names)]]
        assert titles == [f"ADGM, {name}: q flat" for name in names]
    points = of_part(rows, "logits").set_index("state")["variance"]
    assert [points[name] for name in names[1:]] == [3.0, 1.0, 2.0]


# --- the figures ---


def test_the_bias_is_drawn_where_its_interval_is_above_0():
    figure = drawn_from_all("gradient_bias").figure
    places = side_by_side(GRADED, KS)
    for ax, (part, state) in zip(figure.axes, PANELS, strict=True):
        own = in_state(points_from_all(part), state)
        for name in GRADED:
            of_name = own[own["estimator"] == name].sort_values("n_classes")
            found = points(ax, name)
            np.testing.assert_allclose(found[:, 0], np.array(KS) * places[name])
            np.testing.assert_allclose(found[:, 1], of_name["bias"])
    expected = [gradient_bias("reinmax", k, "initial") for k in KS]
    np.testing.assert_allclose(points(figure.axes[0], "reinmax")[:, 1], expected)


def test_unbiased_estimators_stand_at_0_with_a_bar_up_to_the_end_of_their_interval():
    figure = drawn_from_all("gradient_bias").figure
    first = figure.axes[0]
    for name in ("score-function", "sum-and-sample(m=5)"):
        assert not points(first, name)[:, 1].any()
        ends = [(0, np.sqrt(0.8 * 0.003 * gradient_variance(name, k, "initial"))) for k in KS]
        np.testing.assert_allclose(bars(first, name), ends)
    for name in NO_DRAWS:
        assert not points(first, name)[:, 1].any()
        assert not bars(first, name).any()
    assert first.get_yscale() == "symlog"
    assert first.get_ylim()[0] < 0
    assert "0" in [first.yaxis.get_major_formatter()(tick, 0) for tick in first.get_yticks()]


def test_the_variance_leaves_out_what_draws_no_y_and_says_so():
    plot = drawn_from_all("gradient_variance")
    for ax, (part, state) in zip(plot.figure.axes, PANELS, strict=True):
        for name in set(GRADED) - set(NO_DRAWS):
            variances = np.array([gradient_variance(name, k, state, part) for k in KS])
            np.testing.assert_allclose(points(ax, name)[:, 1], variances)
            np.testing.assert_allclose(bars(ax, name), np.stack([0.8 * variances, 1.3 * variances], axis=1))
        for name in NO_DRAWS:
            assert not len(points(ax, name))
        np.testing.assert_allclose(dashed(ax), [(k, 0.25 * PART_SHARE[part]) for k in KS])
    assert "have no variance and no point: marginalize, marginalize-streamed and sparsemax." in plot.caption
    assert "100 repetitions in 20 blocks, bars: 99 % bootstrap intervals (nominal: in simulations they" in plot.caption
    assert "new draws of a and ε_z, from 20 repetitions, without an interval" in plot.caption


def test_the_price_is_variance_times_time_beside_the_time_of_the_exact_sum():
    plot = drawn_from_all("gradient_price")
    parts = [("logits", state) for state in STATES] + [("theta", state) for state in STATES]
    for ax, (part, state) in zip(plot.figure.axes, parts, strict=True):
        prices = [gradient_variance("score-function(draws=6)", k, state, part) * 20 * (0.5 + 0.3) for k in KS]
        np.testing.assert_allclose(points(ax, "score-function(draws=6)")[:, 1], prices)
        np.testing.assert_allclose(dashed(ax), [(k, 1e3 * STEP_SECONDS["adgm"] * (0.5 + 0.05 * k)) for k in KS])
        assert ax.get_yscale() == "log"
    assert "a whole bound for each draw; several draws in one step (draws=…) share part of the cost" in plot.caption


def test_the_faster_exact_sum_is_the_yardstick():
    faster = [record(name, bound_seconds=s) for name, s in (("marginalize", 3.0), ("marginalize-streamed", 2.0))]
    plot = draw("gradient_price", [*faster, record()])
    assert dashed(plot.figure.axes[0])[:, 1].tolist() == [2000, 2000]


def fronts_in(axes):
    return [line.get_xydata() for line in axes.lines if line.get_drawstyle() == "steps-pre"]


def test_the_pareto_front_is_that_of_brute_force():
    """Of those that differ in the temperature alone, and so do the same work, the one with the least error counts."""
    rng = np.random.default_rng(3)
    records = gradient_records([10])
    for r in records:
        r["bound_seconds"] *= rng.uniform(0.3, 3)
    plot = draw("gradient_pareto", records)
    for ax, state in zip(plot.figure.axes, STATES, strict=True):
        own = in_state(of_part(gradient_rows(make_frame(records)), "logits"), state)
        own = own[own["elsewhere"] == 0]
        assert {"gumbel-softmax(tau=0.1)", "gumbel-rao(tau=0.1)"} < set(own["estimator"])
        work = own["estimator"].replace({f"{name}(tau=0.1)": name for name in ("gumbel-softmax", "gumbel-rao")})
        rivals = own.loc[own.groupby(work)["error"].idxmin(), ["milliseconds", "error"]].to_numpy()
        beaten = [any((o <= p).all() and (o < p).any() for o in rivals) for p in rivals]
        expected = sorted(map(tuple, rivals[~np.array(beaten)]), reverse=True)  # from the exact sum to the fastest
        (stairs,) = fronts_in(ax)
        np.testing.assert_allclose(stairs[1:-1], expected)
        np.testing.assert_allclose(stairs[0], (ax.get_xlim()[1], 0))
        np.testing.assert_allclose(stairs[-1], (expected[-1][0], ax.get_ylim()[1]))
        given = own[["milliseconds", "error"]].to_numpy()
        np.testing.assert_allclose(points(ax, "gumbel-softmax"), given[own["estimator"] == "gumbel-softmax"])
    assert "the grey line is the Pareto front" in plot.caption
    assert "Estimators that differ in the temperature alone do the same work" in plot.caption


def test_points_of_the_same_work_have_no_front():
    """Their times differ by noise."""
    fast = record("gumbel-softmax(tau=0.1)", bound_seconds=1.0, logits_variance=2.0)
    good = record("gumbel-softmax", bound_seconds=2.0, logits_variance=1.0)
    plot = draw("gradient_pareto", [fast, good])
    assert not fronts_in(plot.figure.axes[0])
    assert plot.caption.startswith("Down and to the left is better. ")
    assert len(plot.points) == 2


def test_the_exact_sums_stand_at_0_and_another_bound_is_left_out_of_the_errors():
    plot = drawn_from_all("gradient_pareto")
    titles = [ax.get_title().split(",")[1] for ax in plot.figure.axes[::2]]
    assert titles == [" K = 10", " K = 20", " K = 100", " K = 200"]
    for ax in plot.figure.axes:
        assert points(ax, "marginalize-streamed")[:, 1].tolist() == [0]
        assert [written.get_text() for written in ax.texts] == ["exact: 0"]
        assert not len(points(ax, "sparsemax"))
    assert "4 of 5 class counts are shown" in plot.caption
    assert "Left out: sparsemax, whose exact gradient belongs to another bound." in plot.caption


def test_a_small_error_of_draws_is_not_called_exact():
    figure = draw("gradient_pareto", [record(logits_squared_bias=-1e-12, logits_variance=1e-12)]).figure
    assert points(figure.axes[0], "gumbel-softmax")[0, 1] == pytest.approx(1e-6)
    assert not figure.axes[0].texts
    silent = draw("gradient_pareto", [record(logits_squared_bias=-1e-12, logits_variance=0.0)]).figure
    assert not silent.axes[0].texts


def test_an_axis_from_0_has_few_decades_however_small_the_smallest():
    given = [record(logits_squared_bias=v, logits_variance=0.0, n_classes=10, estimator=name)
             for name, v in (("gumbel-softmax", 1e-24), ("reinmax", 1.0))]  # fmt: skip
    ticks = draw("gradient_pareto", given).figure.axes[0].get_yticks()
    assert 0 in ticks
    assert min(tick for tick in ticks if tick) == pytest.approx(1e-6)


def test_the_titles_tell_the_shape_of_q_by_what_was_measured():
    initial, trained = (ax.get_title() for ax in drawn_from_all("gradient_bias").figure.axes[:2])
    assert initial == "ADGM, initial parameters: q flat\nperplexity of q: 9.80 of 10 … 196 of 200"
    assert trained == "ADGM, after 200 steps: q peaked\nperplexity of q: 2.00 of 10 … 4.90 of 200"
    between = gradient_rows(make_frame([record(q_perplexity=6.0), record(q_perplexity=7.5, case="b")]))
    title = state_title(between, "ADGM", "initial parameters")
    assert title == "ADGM, initial parameters\nperplexity of q: 6.00–7.50 of 10"


def test_each_model_and_each_data_set_has_panels_of_its_own():
    models = draw("gradient_variance", gradient_records([10, 20], ("adgm", "m2"), SOME_GRADED)).figure
    titles = [ax.get_title().split(",")[0] for ax in models.axes]
    assert titles == ["ADGM", "ADGM", *[""] * 4, "M2", "M2", *[""] * 4]
    np.testing.assert_allclose(points(models.axes[6], "gumbel-softmax")[:, 1], [0.2, 0.2 * np.sqrt(2)])
    sets = [r for name in ("glyphs", "omniglot") for r in gradient_records([10], estimators=SOME_GRADED, dataset=name)]
    titles = [ax.get_title().split(",")[0] for ax in draw("gradient_price", sets).figure.axes]
    assert titles == ["ADGM on glyphs"] * 2 + [""] * 2 + ["ADGM on omniglot"] * 2 + [""] * 2


def test_ticks_are_numbers_without_powers_of_ten():
    assert [plain_number(value) for value in (0, 1e-7, 1e-5, 1e-4, 0.25, 5000)] == [
        *("0", "0.0000001", "0.00001", "0.0001", "0.25", "5,000"),
    ]


@pytest.mark.parametrize("ks", [(10,), (10, 20), (2, 3, 1000)])
def test_the_points_of_one_k_take_less_room_than_there_is_to_the_next(ks):
    places = list(side_by_side(GRADED, ks).values())
    assert len(set(places)) == len(GRADED)
    assert np.prod(places) == pytest.approx(1)
    nearest = min(np.diff(np.log(ks)), default=1)
    assert np.log(max(places) / min(places)) < nearest


def test_two_series_are_two_lines():
    other = [{**r, "run_id": "other", "machine_gpu": "NVIDIA H200"} for r in gradient_records([10, 100])]
    figure = draw("gradient_variance", [*RECORDS, *other]).figure
    dashes = {line.get_linestyle() for line in figure.axes[0].lines if line.get_color() == STYLES["gumbel-rao"][0]}
    assert {"-", "--"} < dashes
    assert any("NVIDIA H200" in entry.get_text() for entry in figure.legends[0].get_texts())


@pytest.mark.parametrize(
    ("records", "drawn"),
    [
        ([record("sparsemax")], ["gradient_bias"]),
        ([record("marginalize")], ["gradient_bias", "gradient_pareto"]),
        ([record(bound_seconds=None)], ["gradient_bias", "gradient_variance"]),
        ([record(baseline=None, q_perplexity=None, dataset=None, gradient_blocks=None, confidence=None)], [*NAMES]),
        ([record(logits_squared_bias_low=None, logits_variance_low=None, logits_variance_high=None)], [*NAMES]),
        ([record(state="midway", training_steps=None)], [*NAMES]),
        ([record(), {**record("marginalize"), "state": "trained", "case": "b"}], [*NAMES]),
        ([record(logits_squared_bias=None)], ["gradient_bias", "gradient_variance", "gradient_price"]),
        ([record(state=None)], []),
    ],
    ids=["sparsemax", "exact", "untimed", "bare", "no-ends", "state", "half", "two-parts", "stateless"],
)
def test_odd_gradients_are_drawn_without_a_warning(records, drawn):
    plots = draw_all(NAMES, records)
    assert [name for name, plot in plots.items() if plot] == drawn
    for name in drawn:
        with figure_settings():
            plots[name].figure.set_dpi(40)
            FigureCanvasAgg(plots[name].figure).draw()
    assert bool(gradient_section(make_frame(records))) == bool(drawn)


# --- the page ---


def tables_of(records):
    """The tables of the page by part, each its rows of cells with the headers first."""
    folds = [block for block in gradient_section(make_frame(records)).blocks if isinstance(block, Fold)]
    tables = [table for fold in folds for table in fold.blocks]
    return {part: [table.headers, *table.rows] for part, table in zip(PART_SHARE, tables, strict=True)}


def test_the_tables_have_a_line_for_each_state_k_and_estimator():
    tables = tables_of(RECORDS)
    costs = ["perplexity of q", "calls of f", "time", "peak memory"]
    errors = ["relative bias", "relative variance", "total variance", "cosine"]
    assert tables["logits"][0] == ["model", "parameters", "K", "estimator", *costs, *errors]
    assert tables["theta"][0] == ["model", "parameters", "K", "estimator", *errors]
    for rows in tables.values():
        assert len(rows) == 1 + 2 * len(KS) * len(GRADED)
        assert [row[3] for row in rows[1:15]] == [*GRADED]
    found = {tuple(row[1:4]): row[4:] for row in tables["logits"][1:]}
    assert found["initial parameters", "10", "marginalize"] == [
        *("9.80", "10", "20.0 ms", "40.0 MiB", "0", "0", "0.250", "1.000"),
    ]
    assert found["initial parameters", "10", "gumbel-softmax"][4:] == [
        *("0.300 [0.300, 0.301]", "0.200 [0.160, 0.260]", "0.450", "0.913"),
    ]
    assert found["after 200 steps", "20", "score-function"][4] == "0 within noise (up to 0.0521)"
    assert found["after 200 steps", "100", "sparsemax"][1] == "21"


def test_the_page_says_what_sparsemax_is_held_against_and_stands_without_a_pareto_figure():
    told = "sparsemax is compared with the exact sum of its own bound, not of q's."
    assert told in tables_from_all()
    assert told in drawn_from_all("gradient_bias").caption
    assert told not in gradient_tables(make_frame([record()]))
    frame = make_frame([record("sparsemax")])
    page = markdown.whole(make_page("a", (), frame, make_curves([], frame), {"gradient_pareto": None}))
    assert page.index("## The gradients in numbers") < page.index("## Missing")
    assert "- figure `gradient_pareto`: the records have nothing to draw it from" in page


def test_the_note_says_what_the_figures_do_not():
    told = tables_from_all()
    for part in (
        "one or more in a hundred such intervals miss the true value",
        "99 % bootstrap intervals (nominal: in simulations they covered 95 % or more)",
        "new draws of a and ε_z too, from 20 repetitions, without an interval",
        "Peak memory: of a full training step at the initial parameters.",
        "one minibatch of training and, except the total variance, one draw of a and ε_z. Another --seed",
        "come from training with sum-and-sample, also for sparsemax, which has another bound.",
        "each estimator by itself; the figure of the speed-up has times in pairs",
    ):
        assert part in told
    bare = gradient_tables(make_frame([record(confidence=0.9, total_draws=None)]))
    assert "90 % bootstrap intervals; one or more in a hundred" in bare  # no other level was simulated
    assert "new draws of a and ε_z too, without an interval." in bare
    assert "training with" not in bare
    assert "sparsemax" not in gradient_tables(make_frame([r for r in RECORDS if r["estimator"] != "sparsemax"]))


def test_a_peak_that_was_not_measured_and_a_trainings_alpha_do_no_harm():
    trained = [{**r, "live_peak_bytes": None, "alpha": 12.5} for r in RECORDS if r["state"] == "trained"]
    lines = {tuple(row[1:4]): row for row in tables_of(trained)["logits"][1:]}
    assert lines["after 200 steps", "10", "sparsemax"][7] == "–"
    assert make_frame([*RECORDS[:1], *trained])["alpha"].tolist()[:2] == [None, 12.5]


@pytest.mark.parametrize(
    ("ends", "written"),
    [
        ((0.123, 0.11, 0.135, True), "0.123 [0.110, 0.135]"),
        ((0.0, 0.0, 0.0123, True), "0 within noise (up to 0.0123)"),
        ((0.0, 0.0, 0.0, True), "0 within noise"),
        ((0.0, 0.0, 0.0, False), "0"),
        ((0.5, float("nan"), float("nan"), True), "0.500"),
        ((0.0, 0.0, float("nan"), True), "0 within noise (no upper end)"),
    ],
)
def test_a_bias_is_written_as_what_it_shows(ends, written):
    assert bias_text(*ends) == written


OTHERS_AT_10 = [r for r in RECORDS if r["n_classes"] == 10 and r["estimator"] != "straight-through"]


def unseen(**changes):
    """Of 100 draws no two differed: g* + d with ‖d‖² = 0.01 ‖g*‖²."""
    ends = {"squared_bias": 0.01, "squared_bias_low": 0.0, "squared_bias_high": None, "variance": 0.0,
            "variance_low": 0.0, "variance_high": None}  # fmt: skip
    ends |= changes
    figures = {f"{part}_{name}": value for part in PART_SHARE for name, value in ends.items()}
    return record("straight-through", gradient_draws=100, gradient_blocks=20, **figures)


# The second is a record as it was written before: intervals of no width.
@pytest.mark.parametrize(
    "changes", [{}, {"squared_bias_low": 0.01, "squared_bias_high": 0.01, "variance": 1e-16, "variance_high": 1e-16}]
)
def test_noise_that_no_draw_showed_is_told_as_not_seen(changes):
    records = [*OTHERS_AT_10, unseen(**changes)]
    told = gradient_tables(make_frame(records))
    line = next(line for line in told.splitlines() if line.startswith("|") and "straight-through" in line)
    assert "none seen in 100 draws" in line
    assert "0 within noise (no upper end)" in line
    share = "No two of 100 draws of straight-through (K = 10) differed: noise in fewer than 4.5 % of the draws"
    assert share in told
    with blank() if changes else contextlib.nullcontext():  # both have the same points
        plots = draw_all(NAMES, records)
    assert all(share in plot.caption for plot in plots.values())
    assert "none seen in 100 draws" in records_table(make_frame(records)).rows[-1]
    assert "No two of" not in tables_from_all()


def test_an_interval_without_an_upper_end_is_told_and_drawn_without_one():
    low, few = 0.002, {"variance": 0.04, "variance_low": 0.002}
    records = [*OTHERS_AT_10, unseen(**few)]
    told = gradient_tables(make_frame(records))
    assert "0.0400 [0.00200 or more]" in told
    sentence = "Of straight-through (K = 10) too few draws differed for an upper end of bias and variance: "
    assert f"{sentence}there is no upper end." in told
    plot = draw("gradient_variance", records)
    assert f"{sentence}there is no bar above the point." in plot.caption
    shown = plot.points
    own = shown[(shown["name"] == "straight-through") & shown["panel"].str.contains("initial")]
    assert own["y"].tolist() == pytest.approx([0.04] * 3)
    assert own["low"].tolist() == pytest.approx([low] * 3)
    assert own["high"].isna().all()
    biases = draw("gradient_bias", records).points
    own = biases[(biases["name"] == "straight-through") & biases["panel"].str.contains("initial")]
    assert own["y"].tolist() == [0.0] * 3
    assert own["high"].isna().all()


def test_records_from_before_gradients_were_measured_make_a_report_that_says_so():
    records = [r for r in make_run(models=["m2"], ks=(10,), accuracy_ks=(10,)) if r["group"] != "gradient"]
    frame = make_frame(records)
    plots = {name: draw(name, records) for name in NAMES}
    assert not any(plots.values())
    page = markdown.whole(make_page("a", (), frame, make_curves(records, frame), plots))
    assert "- group `gradient` (bias and variance of the gradients): no record" in page
    assert "The gradients in numbers" not in page


def test_a_skipped_gradient_is_told_with_its_reason_and_is_in_no_figure():
    bare = {"estimator": "reinmax", "state": "initial", "baseline": "", "status": "skipped"}
    skipped = make_record("gradient", **bare, reason="with batch norm it is not defined")
    frame = make_frame([skipped])
    assert not any(draw(name, [skipped]) for name in NAMES)
    assert gradient_section(frame) is None
    assert "with batch norm it is not defined" in markdown.written([gaps.not_ok(frame)])
    assert "group `gradient` (bias and variance of the gradients): none of its 1 cases ended well" in missing(frame)


def test_a_state_that_a_killed_run_did_not_reach_is_named():
    kept = [r for r in RECORDS if (r["state"], r["estimator"], r["n_classes"]) != ("trained", "reinmax", 200)]
    lines = missing(make_frame(kept)).splitlines()
    assert "- group `gradient`, ADGM: no record of reinmax at K = 200 (trained)" in lines
    assert not [line for line in missing(make_frame(RECORDS)).splitlines() if "`gradient`" in line]


def test_the_conditions_have_the_states_and_the_training():
    found = dict(gaps.conditions(make_frame(RECORDS)).rows)
    assert found["state"] == "initial, trained"
    assert found["training_steps"] == "0, 200"
    assert found["training_estimator"] == "sum-and-sample"
    counts = gaps.conditions(make_frame([record(estimator_draws=n, case=str(n)) for n in (10, 2, 1.5)]))
    assert ["estimator_draws", "1.5, 2, 10"] in counts.rows


# --- colours ---

# Machado, Oliveira and Fernandes 2009: how linear RGB looks to readers without one kind of cone.
SIGHT = {
    "all": np.eye(3),
    "deuteranopia": np.array([[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]]),
    "protanopia": np.array([[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]]),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour, sight):
    """CIE L*a*b* of a colour as such a reader sees it."""
    seen = SIGHT[sight] @ np.array(to_rgb(colour)) ** 2.2
    x, y, z = np.cbrt(TO_XYZ @ np.clip(seen, 0, 1) / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_the_colours_of_the_known_estimators_can_be_told_apart(sight):
    pairs = combinations([colour for colour, _ in KNOWN.values()], 2)
    assert min(np.linalg.norm(lab(a, sight) - lab(b, sight)) for a, b in pairs) > 15
    assert len({marker for _, marker in KNOWN.values()}) == len(KNOWN)


def test_a_name_with_settings_has_a_shade_of_its_estimators_colour_and_another_marker():
    for name in GRADED:
        colour, marker = STYLES[name]
        base, of_base = KNOWN[name.split("(")[0]]
        if name in KNOWN:
            assert (colour, marker) == (base, of_base)
            continue
        assert marker != of_base
        assert colour != base
        nearest = min((c for c, _ in KNOWN.values()), key=lambda c: np.linalg.norm(hue(c) - hue(colour)))
        assert nearest == base, name
    assert len(set(STYLES.values())) == len(KNOWN) + 5


def hue(colour):
    """The direction in which a colour leaves grey; black has none."""
    away = np.array(to_rgb(colour)) - np.mean(to_rgb(colour))
    return away / max(np.linalg.norm(away), 1e-9)


def test_styles_do_not_depend_on_the_order_of_names_and_many_variants_differ():
    many = [f"gumbel-softmax(tau=0.{i:02d})" for i in range(1, 22)]
    styles = estimator_styles([*many, "mine", "mine(tau=2)", *GRADED])
    assert styles == estimator_styles(reversed([*many, "mine", "mine(tau=2)", *GRADED]))
    assert len({styles[name] for name in [*many, "gumbel-softmax", "mine", "mine(tau=2)"]}) == 24
    assert estimator_styles([])["reinmax"] == KNOWN["reinmax"]


def test_the_legend_of_a_default_run_is_legible():
    figure = drawn_from_all("gradient_bias").figure
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    entries = figure.legends[0].get_texts()
    assert [entry.get_text() for entry in entries][:14] == [*GRADED]
    boxes = [entry.get_window_extent(renderer) for entry in entries]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert max(box.x1 for box in boxes) < figure.bbox.width
    panels = max(ax.get_tightbbox(renderer).y1 for ax in figure.axes)
    assert min(box.y0 for box in boxes) > panels


@pytest.mark.parametrize("figure", ["gradient_variance", "gradient_price"])
def test_a_caption_speaks_of_the_dashed_line_only_if_there_is_one(figure):
    drawn = gradient_records((10, 100), estimators=("gumbel-softmax", "score-function"))
    exact = gradient_records((10, 100), estimators=("marginalize",))
    assert "dashed line" not in draw(figure, drawn).caption
    with blank():
        assert "dashed line" in draw(figure, [*drawn, *exact]).caption
