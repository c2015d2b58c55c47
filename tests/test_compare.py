"""Comparisons of runs: known answers, the intervals' coverage, and the command."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from records_fixture import ESTIMATORS, MACHINE, make_record, make_run, speedup_figures, timing_figures, write_lines

from gsbench.cli import main
from gsbench.compare.conditions import parse_condition
from gsbench.compare.intervals import (
    METRICS,
    Measured,
    measured_in,
    of_repeats,
    of_sessions,
    ratio_interval,
    verdict,
)
from gsbench.compare.table import TABLE_COLUMNS, compare, regression_table
from gsbench.records.frame import make_curves, make_frame
from gsbench.records.order import by_estimator
from gsbench.report.drawing.sheet import figure_settings
from gsbench.report.drawing.styles import make_look
from gsbench.report.figures.regression import MOST, REGRESSION

OTHER = {"run_id": "20260202T030405-fedcba", "gsbench_commit": "ba9876543210"}
Z99 = 2.5758293


def steps(seconds: float, **fields):
    return make_record("step", **{**timing_figures("step", seconds), **fields})


def table_of(base, new, **options):
    return compare({"base": make_frame(base), "new": make_frame(new)}, **options).table


def files(folder: Path, *runs) -> list[str]:
    return [str(write_lines(folder / f"{i}.jsonl", records)) for i, records in enumerate(runs)]


def test_the_interval_of_a_step_time_equals_the_one_by_hand():
    """Quartiles 0.97 and 1.05 of the median, 20 rounds: sqrt(π/2/20) ln(1.05/0.97)/1.34898 = 0.016464; Student's t of
    19 degrees at 99 % is 2.8609; √2 of the product is 0.06661. Between sessions 10 %, of 10 degrees: 3.16927, so
    √2 · 0.316927 = 0.44820; together 0.45312.
    """
    row = table_of([steps(0.1)], [steps(0.3, **OTHER)]).iloc[0]
    assert (row["metric"], row["base"], row["new"]) == ("step_seconds", 0.1, 0.3)
    assert row["ratio"] == pytest.approx(3)
    assert row["ratio_low"] == pytest.approx(3 * math.exp(-0.45312), rel=1e-4)
    assert row["ratio_high"] == pytest.approx(3 * math.exp(0.45312), rel=1e-4)
    assert (row["verdict"], row["timed"]) == ("slower", "step")
    assert row["interval_from"] == "quartiles, sessions ± 10%"


def test_a_time_of_several_sessions_has_their_spread():
    """The logarithms of 0.1, 0.13 and 0.169 have the standard deviation ln 1.3 = 0.26236, more than 10 %. Student's t
    of 12 degrees at 95 % is 2.17881. The rounds' own 0.016464 · 2.0930 enters √3/3 times.
    """
    several = [steps(x, run_id=str(i), seed=i) for i, x in enumerate((0.1, 0.13, 0.169))]
    row = table_of([steps(0.1)], several, confidence=0.95).iloc[0]
    half = math.hypot(2.17881 * 0.262364 / 3**0.5, 0.016464 * 2.0930 / 3**0.5)
    assert row["new"] == pytest.approx(0.133)
    assert row["new_high"] == pytest.approx(0.133 * math.exp(half), rel=1e-3)
    assert row["interval_from"] == "quartiles, sessions ± 10% and 3 sessions ± 26%"


def test_equal_times_of_quiet_sessions_are_told_apart_no_more_often_than_the_level_says():
    """Sessions differ by 10 %, their nine rounds by 3 %. An earlier version told 65 % of such times apart."""
    rng = np.random.default_rng(3)

    def side(n):
        found = []
        for i in range(n):
            draws = np.exp(0.1 * rng.normal() + 0.03 * rng.normal(size=9))
            found.append(dataclasses.replace(measured_in(quartiles(draws), "step_seconds"), session=str(i)))
        return of_sessions(found, "step_seconds")

    for n in (1, 3):
        verdicts = [verdict("step_seconds", *ratio_interval(side(n), side(n))) for _ in range(400)]
        assert np.mean([told != "not told apart" for told in verdicts]) <= 0.02


def busy(cores, seconds=0.1, **fields):
    return steps(seconds, other_cores=cores, machine_cores=2, threads=2, **fields)


@pytest.mark.parametrize(("base", "new"), [(0.0, 1.5), (1.5, 0.0), (1.9, 1.5)])
def test_times_get_no_verdict_if_other_programs_took_cores(base, new):
    """Two sessions of one commit gave "0.169 × [0.0541, 0.526] faster"."""
    pair = make_record("speedup", estimator="gumbel-softmax", **speedup_figures("step", 4.0))
    ends = {"other_cores": 1.5, "machine_cores": 2, "threads": 2}
    sides = [
        [busy(cores, seconds, **more), {**pair, **more, **ends, "speedup": speedup, "speedup_low": 0.9 * speedup,
                                        "speedup_high": 1.1 * speedup},
         make_record("training", validation_accuracy=0.9, validation_examples=2000, budget_seconds=5, **ends, **more),
         make_record("memory", live_peak_bytes=speedup * 1e6, live_meter="tracemalloc", **ends, **more)]
        for cores, seconds, speedup, more in ((base, 0.5, 4.0, {}), (new, 0.1, 8.0, OTHER))
    ]  # fmt: skip
    verdicts = table_of(*sides).set_index("metric")["verdict"].to_dict()
    untold = "cannot tell: other programs computed"
    assert verdicts["step_seconds"] == untold
    assert verdicts["validation_accuracy"] == untold  # reached within seconds
    assert verdicts["speedup"] == "faster"  # in pairs
    assert verdicts["peak_bytes"] == "more"


@pytest.mark.parametrize(
    ("cores", "verdict"), [(None, "faster"), (0.2, "faster"), (0.3, "cannot tell: other programs computed")]
)
def test_a_case_that_other_programs_left_its_cores_is_told(cores, verdict):
    assert table_of([busy(cores, 0.5)], [busy(0.0, 0.1, **OTHER)])["verdict"][0] == verdict


def test_a_case_too_short_to_tell_is_as_the_one_before_it():
    crowd = make_record("memory", other_cores=1.5, machine_cores=2, threads=2, live_peak_bytes=1e6)
    before, after = (crowd, busy(None, 0.5)), (busy(None, 0.5), crowd)
    for session in (before, after):
        table = table_of(session, [busy(0.0, 0.1, **OTHER)])
        assert table["verdict"][0] == "cannot tell: other programs computed"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-if", "step_seconds>1.2x"], 3),
        (["--fail-if", "step_seconds<0.1x"], 3),
        (["--fail-if", "step_seconds>10h"], 3),
        (["--fail-if", "step_seconds>1.2x", "--strict"], 1),
        (["--fail-if", "step_seconds>9x", "--strict"], 0),
        (["--fail-if", "peak_bytes>2x"], 0),
        (["--fail-if", "step_seconds>1.2x", "--fail-if", "peak_bytes>1.1x"], 1),
    ],
)
def test_a_condition_that_cannot_be_told_has_an_exit_code_of_its_own(tmp_path, capsys, options, code):
    memory = [make_record("memory", live_peak_bytes=size, live_meter="tracemalloc") for size in (1e6, 1.5e6)]
    base, new = [busy(0.0, 0.1), memory[0]], [busy(1.5, 0.5, **OTHER), {**memory[1], **OTHER}]
    assert main(["compare", *files(tmp_path, base, new), *options, "--json"]) == code
    out, err = capsys.readouterr()
    told = "cannot tell for 1 of 1 cases, because other programs took cores"
    untold = any(option.startswith("step_seconds") for option in options) and "--strict" not in options
    assert (told in err) == untold
    assert any(map(len, json.loads(out)["cannot_tell"].values())) == untold


def test_the_figure_shows_rows_without_a_verdict_pale():
    with figure_settings():
        plot = REGRESSION.draw_rows(table_of([busy(0.0, 0.1)], [busy(1.5, 0.5, **OTHER)]), make_look([], []))
    assert "Pale: other programs took cores in one of the two runs, so that no verdict is possible." in plot.caption


def test_speedup_by_hand_keeps_the_level_and_the_asymmetry():
    """Both intervals are 0.93 to 1.08 times their values: MOVER's half-widths are √(ln² 0.93 + ln² 1.08)."""
    base = make_record("speedup", estimator="gumbel-softmax", **speedup_figures("step", 4.0))
    new = make_record("speedup", estimator="gumbel-softmax", **OTHER, **speedup_figures("step", 2.0))
    half = math.hypot(math.log(0.93), math.log(1.08))
    row = table_of([base], [new], confidence=0.95).iloc[0]
    assert row["ratio_low"] == pytest.approx(0.5 * math.exp(-half))
    assert row["ratio_high"] == pytest.approx(0.5 * math.exp(half))
    assert row["verdict"] == "slower"  # a smaller speed-up
    wider = table_of([base], [new]).iloc[0]
    assert wider["ratio_high"] == pytest.approx(0.5 * math.exp(half * Z99 / 1.9599640))


def test_asymmetric_ends_go_to_the_right_sides():
    base, new = Measured(1.0, 0.5, 1.0, "x"), Measured(1.0, 1.0, 3.0, "x")
    low, high = ratio_interval(base, new)
    assert low == pytest.approx(1.0)
    assert high == pytest.approx(math.exp(math.hypot(math.log(2), math.log(3))))


def test_accuracy_has_the_interval_of_its_examples():
    """Wilson at 95 %, 80 of 100: (0.7112, 0.8666)."""
    row = {"validation_accuracy": 0.8, "validation_examples": 100.0}
    found = measured_in(row, "validation_accuracy", 0.95)
    assert (found.low, found.high) == pytest.approx((0.7112, 0.8666), abs=1e-4)


def test_one_reading_has_no_interval_and_no_verdict():
    base, new = (make_record("memory", process_peak_bytes=size, process_meter="VmHWM") for size in (100, 300))
    table = table_of([base], [{**new, **OTHER}])
    assert set(table["metric"]) == {"peak_bytes", "process_peak_bytes"}
    assert (table["ratio"] == 3).all()
    assert table["ratio_low"].isna().all()
    assert set(table["verdict"]) == {"not told apart"}
    assert set(table["interval_from"]) == {"one reading: none"}


def test_counted_bytes_are_told_apart_beyond_a_thousandth():
    def memory(size, **fields):
        return make_record("memory", live_peak_bytes=size, live_meter="tracemalloc", **fields)

    verdicts = [table_of([memory(10**6)], [memory(size, **OTHER)])["verdict"][0] for size in (1_000_500, 1_010_000)]
    assert verdicts == ["not told apart", "more"]


def test_two_meters_are_not_compared():
    base = make_record("memory", live_peak_bytes=100, live_meter="tracemalloc")
    new = make_record("memory", **OTHER, device_peak_bytes=100, device_meter="cupy")
    found = compare({"a": make_frame([base]), "b": make_frame([new])})
    assert found.table.empty
    assert any("peak_bytes" in line or "only in" in line for line in found.missing)


def test_seeds_are_repeats_with_the_interval_of_their_spread():
    """0.8, 0.82, 0.84: mean 0.82, standard error 0.011547, t of 2 degrees at 95 % 4.3027."""
    found = of_repeats([Measured(value, value, value, "x") for value in (0.8, 0.82, 0.84)], 0.95)
    assert found.value == pytest.approx(0.82)
    assert found.source == "spread of 3"
    assert math.log(found.high / found.value) == pytest.approx(4.3027 * 0.011547 / 0.82, rel=1e-4)
    runs = [[make_record("training", case=f"s{s}", seed=s, test_accuracy=a, **more) for s, a in enumerate(accuracies)]
            for more, accuracies in (({}, (0.8, 0.82, 0.84)), (OTHER, (0.81, 0.83, 0.85)))]  # fmt: skip
    table = table_of(*runs)
    assert len(table) == 1
    assert table["new"][0] == pytest.approx(0.83)


def quartiles(samples: np.ndarray) -> dict[str, float]:
    """Quartiles as in pytest-benchmark: medians of the halves, with and without the median itself if n is odd."""
    samples, half = np.sort(samples), len(samples) // 2
    more = half + len(samples) % 2
    ends = [(np.median(part[0]) + np.median(part[1])) / 2
            for part in ((samples[:half], samples[:more]), (samples[-half:], samples[-more:]))]  # fmt: skip
    figures = {"step_seconds": float(np.median(samples)), "step_seconds_q1": ends[0], "step_seconds_q3": ends[1]}
    return {**figures, "rounds": len(samples)}


@pytest.mark.newest
@pytest.mark.parametrize("rounds", [5, 9, 30])
@pytest.mark.parametrize("skewed", [False, True])
def test_the_interval_of_a_time_covers_at_its_level(rounds, skewed):
    """2,000 comparisons of equal times at 95 %: at least 94 %, two standard errors below. Skewed times too."""
    rng = np.random.default_rng(7)

    def side():
        draws = 1 + 0.1 * rng.exponential(size=rounds) if skewed else np.exp(0.1 * rng.normal(size=rounds))
        return measured_in(quartiles(draws), "step_seconds", 0.95)

    intervals = [ratio_interval(side(), side()) for _ in range(2000)]
    covered = np.mean([low <= 1 <= high for low, high in intervals])
    assert covered >= 0.94
    if rounds == 30:
        assert covered <= 0.98  # and it is not so wide that it says nothing


def test_seeds_that_agree_by_chance_do_not_give_an_interval_of_zero_width():
    """Two seeds at 0.9, with 100 examples each: the mean's interval is 1/√2 times the interval of one."""
    one = measured_in({"validation_accuracy": 0.9, "validation_examples": 100.0}, "validation_accuracy")
    found = of_repeats([one, one])
    assert found.value == pytest.approx(0.9)
    assert found.value - found.low == pytest.approx((0.9 - one.low) / 2**0.5)
    assert found.high - found.value == pytest.approx((one.high - 0.9) / 2**0.5)
    bare = Measured(0.9, math.nan, math.nan, "x")
    assert math.isnan(of_repeats([bare, bare]).low)  # and no interval has zero width


@pytest.mark.newest
def test_an_interval_of_several_seeds_covers_at_its_level():
    rng = np.random.default_rng(8)

    def side():
        return of_repeats([Measured(v, v, v, "x") for v in 0.8 + 0.02 * rng.normal(size=4)], 0.95)

    assert np.mean([low <= 1 <= high for low, high in (ratio_interval(side(), side()) for _ in range(1000))]) >= 0.935


def test_a_run_compared_with_itself_has_ratio_1_and_shows_no_difference():
    frame = make_frame(make_run())
    found = compare({"a": frame, "b": frame})
    assert len(found.table) > 100
    assert set(METRICS) - {"test_accuracy"} == set(found.table["metric"])
    assert (found.table["ratio"] == 1).all()
    assert set(found.table["verdict"]) == {"not told apart"}
    assert found.missing == ()


def test_every_case_of_a_slower_run_is_told():
    table = table_of(make_run(), make_run(speed=0.5, **OTHER))
    own = table[table["metric"].isin(["step_seconds", "bound_seconds"]) & table["group"].isin(["step", "bound"])]
    assert len(own) == 2 * 2 * 4 * 5
    assert set(own["verdict"]) == {"slower"}
    assert own["ratio"].to_numpy(dtype=float) == pytest.approx(2.0)
    assert set(table[table["metric"] == "speedup"]["verdict"]) == {"not told apart"}
    assert not table.duplicated(["group", "estimator", "model", "n_classes", "timed", "settings", "metric"]).any()


def test_runs_of_two_backends_are_compared_and_named_after_them():
    torch = {"run_id": "other", "backend": "torch"}
    table = table_of([steps(0.1)], [steps(0.1, **torch)])
    assert list(table["base_run"]) == ["backend chainer"]
    assert list(table["run"]) == ["backend torch"]


def test_two_backends_within_a_run_are_two_cases():
    def both(seconds, **more):
        return [steps(seconds, case=name, backend=name, **more) for name in ("chainer", "torch")]

    table = table_of(both(0.1), both(0.2, **OTHER))
    assert sorted(table["settings"]) == ["backend chainer", "backend torch"]


def test_runs_are_named_by_machine_then_commit_then_date():
    def names(**fields):
        row = table_of([steps(0.1)], [steps(0.1, run_id="other", **fields)]).iloc[0]
        return row["base_run"], row["run"]

    assert names(machine_cpu="Other(R) CPU") == ("Example Xample", "Other")
    assert names(gsbench_commit="ba98") == (f"commit {MACHINE['gsbench_commit']}", "commit ba98")
    assert names(recorded_at="2026-03-04T05:06:07+00:00") == ("2026-01-02 03:04", "2026-03-04 05:06")
    assert names() == ("base", "new")


def test_a_setting_that_an_older_run_lacks_does_not_separate_cases():
    assert len(table_of([steps(0.1)], [steps(0.1, d_a=100, **OTHER)])) == 1
    two = [steps(0.1, case="x", d_a=50, **OTHER), steps(0.1, case="y", d_a=100, **OTHER)]
    assert table_of([steps(0.1)], two).empty  # it is unknown which of the two it was


def test_new_data_separate_accuracies_but_not_times():
    def run(**more):
        return [steps(0.1, **more), make_record("training", validation_accuracy=0.9, **more)]

    table = table_of(run(), run(dataset_version="2", **OTHER))
    assert list(table["metric"]) == ["step_seconds"]


def test_accuracies_of_other_budgets_are_not_compared():
    def run(budget, group="training", **more):
        return [make_record(group, validation_accuracy=0.9, budget_seconds=budget, **more)]

    found = compare({"base": make_frame(run(5.0)), "new": make_frame(run(8.0, **OTHER))})
    assert found.table.empty
    assert "budget_seconds 5: only in" in found.missing[0]
    assert "budget_seconds 8: only in" in found.missing[1]
    assert list(table_of(run(5.0), run(5.0, **OTHER))["metric"]) == ["validation_accuracy"]
    # An old session did not record the budget, and its short runs had another group.
    assert list(table_of(run(None, "accuracy"), run(5.0, **OTHER))["metric"]) == ["validation_accuracy"]


def test_one_run_has_no_table_and_no_figure():
    records = make_run(models=["adgm"], ks=[10], accuracy_ks=[10])
    frame = make_frame(records)
    look = make_look(by_estimator(frame["estimator"].dropna()), frame["series"])
    assert regression_table(frame).empty
    assert list(regression_table(frame).columns) == [*TABLE_COLUMNS]
    assert REGRESSION.draw(frame, make_curves(records, frame), look) is None


def test_the_page_of_two_runs_has_the_table_and_the_figure():
    records = make_run(ks=[10, 20]) + make_run(ks=[10, 20], speed=0.5, **OTHER)
    frame = make_frame(records)
    table = regression_table(frame)
    look = make_look(by_estimator(frame["estimator"].dropna()), frame["series"])
    with figure_settings():
        plot = REGRESSION.draw(frame, make_curves(records, frame), look)
    points = plot.points
    shown = points[points["panel"] == "step_seconds"]
    assert len(shown) == 16
    assert shown["x"].to_numpy() == pytest.approx(2.0)
    own = table[(table["metric"] == "step_seconds") & (table["group"] == "step")]
    assert sorted(shown["x_low"]) == pytest.approx(sorted(own["ratio_low"]))
    assert set(shown["y"]) == {
        f"{name}, {model}, K = {k}" for name in ESTIMATORS for model in ("ADGM", "M2") for k in (10, 20)
    }
    assert "commit 0123456789ab" in plot.title


def test_a_long_figure_keeps_the_cases_furthest_from_1():
    base = [steps(0.1, n_classes=k) for k in range(2, 52)]
    new = [steps(0.1 * (1 + k / 100), n_classes=k, **OTHER) for k in range(2, 52)]
    with figure_settings():
        plot = REGRESSION.draw_rows(table_of(base, new), make_look([], []))
    assert f"The {MOST} cases furthest from 1 of 50." in plot.caption
    assert min(plot.points["x"]) == pytest.approx(1.12)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("step_seconds>1.2x", ("step_seconds", ">", 1.2, True)),
        ("step_seconds>1.2s", ("step_seconds", ">", 1.2, False)),
        ("bound_seconds > 300 ms", ("bound_seconds", ">", 0.3, False)),
        ("bound_seconds>50us", ("bound_seconds", ">", 5e-5, False)),
        ("bound_seconds>50\N{MICRO SIGN}s", ("bound_seconds", ">", 5e-5, False)),
        ("bound_seconds>50\N{GREEK SMALL LETTER MU}s", ("bound_seconds", ">", 5e-5, False)),
        ("train_seconds>2min", ("train_seconds", ">", 120.0, False)),
        (" validation_accuracy < 90 % ", ("validation_accuracy", "<", 0.9, False)),
        ("test_accuracy<0.9new", ("test_accuracy", "<", 0.9, False)),
        ("fraction_of_peak<50%", ("fraction_of_peak", "<", 0.5, False)),
        ("peak_bytes>500MB", ("peak_bytes", ">", 5e8, False)),
        ("peak_bytes>1e9B", ("peak_bytes", ">", 1e9, False)),
        ("process_peak_bytes>8GiB", ("process_peak_bytes", ">", 8 * 2.0**30, False)),
        ("steps_per_second<20/s", ("steps_per_second", "<", 20.0, False)),
        ("speedup<.8×", ("speedup", "<", 0.8, True)),
        ("speedup<3new", ("speedup", "<", 3.0, False)),
    ],
)
def test_conditions_are_parsed(text, parts):
    found = parse_condition(text)
    assert (found.metric, found.sign, found.is_ratio) == (parts[0], parts[1], parts[3])
    assert found.limit == pytest.approx(parts[2])


@pytest.mark.parametrize("text", ["", "step_seconds", "step_seconds=1x", "step_seconds>x", "step_seconds>-1x", ">1x"])
def test_malformed_conditions_say_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"a condition is METRIC>LIMIT or METRIC<LIMIT, .* got "):
        parse_condition(text)


SHARES = "or for the new figure itself %, new, such as 90% or 0.9new"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("step_seconds>1.2", "the limit of 'step_seconds>1.2' has no unit; allowed for step_seconds: x for the ratio"),
        ("step_seconds>1.2", "such as 1.2x, or for the new figure itself s, ms, us, µs, min, h, such as 0.5s"),
        ("step_seconds>20%", "has the unit '%'; allowed for step_seconds: x for"),
        ("step_seconds>500MB", "has the unit 'MB'"),
        ("step_seconds>1.2X", "has the unit 'X'"),
        ("peak_bytes>500", "has no unit; allowed for peak_bytes: x for the ratio new/base, such as 1.2x, or for"),
        ("peak_bytes>1Mb", "has the unit 'Mb'"),
        ("validation_accuracy<0.9", "has no unit; allowed for validation_accuracy: x for the ratio new/base, such as"),
        ("validation_accuracy<0.9", SHARES),
        ("fraction_of_peak<1s", SHARES),
        ("steps_per_second<20", "for the new figure itself /s, such as 20/s"),
        ("speedup<3", "for the new figure itself new, such as 3new"),
        ("speedup<80%", "has the unit '%'"),
    ],
)
def test_a_limit_needs_a_unit_of_its_metric(text, told):
    """'step_seconds>1.2', a ratio whose x was forgotten, was once read as 1.2 seconds, and passed."""
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_condition(text)


def test_an_unknown_metric_lists_the_known():
    with pytest.raises(ValueError, match=r"unknown metric 'step_second' in .*; known: step_seconds, bound_seconds"):
        parse_condition("step_second>1.2x")
    with pytest.raises(ValueError, match="the limit of a ratio must be > 0"):
        parse_condition("speedup>0x")
    with pytest.raises(ValueError, match=r"limit in 'step_seconds>1e999x' must be a finite number, got '1e999'"):
        parse_condition("step_seconds>1e999x")
    with pytest.raises(ValueError, match=r"; did you mean 'step_seconds'\?$"):
        parse_condition("step_second>1.2x")
    for limit in ("１.2", "1_0", "-1", "nan", "0x10"):
        with pytest.raises(ValueError, match="a condition is METRIC>LIMIT or"):
            parse_condition(f"step_seconds>{limit}x")


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([], 0),
        (["--fail-if", "step_seconds>1.2x"], 1),  # the ratio is 3 [1.91, 4.72]
        (["--fail-if", "step_seconds>2x"], 0),
        (["--fail-if", "step_seconds>2x", "--strict"], 1),
        (["--fail-if", "step_seconds>3.1x", "--strict"], 0),
        (["--fail-if", "step_seconds<5x"], 1),
        (["--fail-if", "step_seconds<4x"], 0),
        (["--fail-if", "step_seconds>0.2s"], 1),  # the new one is 0.3 [0.218, 0.413]
        (["--fail-if", "step_seconds>0.25s"], 0),
        (["--fail-if", "step_seconds>250ms", "--strict"], 1),
        (["--fail-if", "step_seconds>4x", "--fail-if", "step_seconds>1.2x"], 1),
        (["--fail-if", "step_seconds>1.2"], 2),
        (["--fail-if", "peak_bytes>1.1x"], 2),
        (["--fail-if", "step_secs>1.1x"], 2),
        (["--fail-if", "step_seconds>"], 2),
    ],
)
def test_exit_codes(tmp_path, capsys, options, code):
    paths = files(tmp_path, [steps(0.1)], [steps(0.3, **OTHER)])
    assert main(["compare", *paths, *options]) == code
    err = capsys.readouterr().err
    assert ("3.00 ×" in err) == (code == 1)
    assert ("error" in err) == (code == 2)


def test_a_metric_that_no_case_has_in_common_is_an_error(tmp_path, capsys):
    paths = files(tmp_path, [steps(0.1)], [steps(0.15, **OTHER)])
    assert main(["compare", *paths, "--fail-if", "peak_bytes>1.1x"]) == 2
    err = capsys.readouterr().err
    where = "both the base and commit ba9876543210; they share: step_seconds"
    assert f"peak_bytes>1.1x: no case has peak_bytes in {where}" in err


def test_one_reading_is_judged_by_its_figure(tmp_path):
    base, new = (make_record("memory", process_peak_bytes=size, process_meter="VmHWM") for size in (100, 120))
    paths = files(tmp_path, [base], [{**new, **OTHER}])
    assert main(["compare", *paths, "--fail-if", "process_peak_bytes>1.1x"]) == 1
    assert main(["compare", *paths, "--fail-if", "process_peak_bytes>1.3x"]) == 0


def test_a_condition_on_the_third_run_holds_too(tmp_path, capsys):
    paths = files(tmp_path, [steps(0.1)], [steps(0.1, **OTHER)], [steps(0.3, run_id="c", gsbench_commit="cc")])
    assert main(["compare", *paths, "--fail-if", "step_seconds>1.5x"]) == 1
    out, err = capsys.readouterr()
    assert "commit cc" in err
    assert "run" in out.splitlines()[4].split()


def test_a_condition_on_a_metric_that_a_new_run_lacks_is_an_error(tmp_path, capsys):
    """A run without a step time does not count as fast enough."""
    bound = make_record("bound", **timing_figures("bound", 0.01))
    runs = [[steps(0.1), bound], [steps(0.1, **OTHER)], [{**bound, "run_id": "c", "gsbench_commit": "cc"}]]
    assert main(["compare", *files(tmp_path, *runs), "--fail-if", "step_seconds>1.5x"]) == 2
    err = capsys.readouterr().err
    assert "no case has step_seconds in both the base and commit cc; they share: bound_seconds" in err


def trained(*accuracies, **fields):
    of_run = {"estimator": "gumbel-softmax", "validation_examples": 1000}
    return [
        make_record("training", seed=seed, **of_run, validation_accuracy=a, **fields)
        for seed, a in enumerate(accuracies)
    ]


@pytest.mark.parametrize("seeds", [1, 2])
def test_an_accuracy_that_fell_to_0_is_told_and_fails(tmp_path, seeds):
    base, new = trained(*[0.9, 0.92][:seeds]), trained(*[0.0, 0.0][:seeds], **OTHER)
    row = table_of(base, new).iloc[0]
    assert (row["new"], row["ratio"]) == (0.0, 0.0)
    paths = files(tmp_path, base, new)
    for condition in ("validation_accuracy<50%", "validation_accuracy<0.9x"):
        assert main(["compare", *paths, "--fail-if", condition]) == 1
    figure = ["--figure", str(tmp_path / "f.png")]
    assert main(["compare", *paths, "--fail-if", "validation_accuracy>0.5new", *figure]) == 0


def test_the_interval_of_an_accuracy_of_0_reaches_from_0_to_wilsons_end():
    """Wilson's upper end of 0 of 1,000 at 99 %: z²/(n + z²) = 0.0065912; the lower end of 900 of 1,000 is 0.87305."""
    row = table_of(trained(0.9), trained(0.0, **OTHER)).iloc[0]
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx((0.0, 0.0065912 / 0.87305), rel=1e-3)
    assert row["verdict"] == "worse"


def test_from_an_accuracy_of_0_any_other_is_infinitely_better(tmp_path, capsys):
    base = trained(0.0)
    assert table_of(base, trained(0.5, **OTHER)).iloc[0]["ratio"] == math.inf
    assert math.isnan(table_of(base, trained(0.0, **OTHER)).iloc[0]["ratio"])
    paths = files(tmp_path, base, trained(0.5, **OTHER))
    assert main(["compare", *paths, "--json", "--fail-if", "validation_accuracy<0.9x"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["ratio"] is None


def test_figures_of_one_run_alone_are_listed_and_may_be_required(tmp_path, capsys):
    lost = steps(0.3, n_classes=500, **OTHER, status="too-large")
    paths = files(tmp_path, [steps(0.1), steps(0.3, n_classes=500)], [steps(0.1, **OTHER), lost])
    assert main(["compare", *paths]) == 0
    ours, theirs = (f"commit {record['gsbench_commit']}" for record in (MACHINE, OTHER))
    line = f"step: marginalize, adgm, K = 500: only in {ours}, too large in {theirs}"
    assert line in capsys.readouterr().err.splitlines()
    assert main(["--quiet", "compare", *paths, "--require-all"]) == 1
    assert line in capsys.readouterr().err.splitlines()
    assert main(["compare", paths[0], paths[0], "--require-all"]) == 0


def test_runs_with_nothing_in_common_and_missing_files_are_errors(tmp_path, capsys):
    paths = files(tmp_path, [steps(0.1)], [steps(0.1, n_classes=20, **OTHER)])
    assert main(["compare", *paths]) == 2
    assert "the runs have no measured case in common" in capsys.readouterr().err
    assert main(["compare", paths[0], str(tmp_path / "none.jsonl")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_json_is_strict_and_whole(tmp_path, capsys):
    records = make_run(models=["adgm"], ks=[10], accuracy_ks=[10])
    paths = files(tmp_path, records, [{**record, **OTHER} for record in records])
    code = main(["compare", *paths, "--json", "--fail-if", "step_seconds>1.2x"])

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    answer = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert code == 0
    assert answer["fails"] is False
    assert answer["conditions"] == {"step_seconds>1.2x": []}
    assert set(answer["rows"][0]) == set(TABLE_COLUMNS)
    assert {row["ratio"] for row in answer["rows"]} == {1.0}
    one = next(row for row in answer["rows"] if row["metric"] == "process_peak_bytes")
    assert one["ratio_low"] is None
    assert one["n_classes"] == 10


def test_markdown_and_plain_say_the_same(tmp_path, capsys):
    paths = files(tmp_path, [steps(0.1)], [steps(0.3, **OTHER)])
    main(["compare", *paths])
    plain = capsys.readouterr().out
    assert "3.00 × [1.91, 4.72]" in plain
    assert "slower" in plain
    assert "100 ms" in plain
    main(["compare", *paths, "--markdown"])
    assert capsys.readouterr().out.splitlines()[3].startswith("| group")


def test_a_figure_is_written_on_request(tmp_path, capsys):
    paths = files(tmp_path, [steps(0.1)], [steps(0.15, **OTHER)])
    assert main(["compare", *paths, "--figure", str(tmp_path / "ratios.png")]) == 0
    assert (tmp_path / "ratios.png").stat().st_size > 5000
    with pytest.raises(SystemExit, match="2"):
        main(["compare", *paths, "--figure", "ratios.gif"])
    assert "ends in .png or .svg, got 'ratios.gif'" in capsys.readouterr().err


def test_help_names_every_metric_and_says_that_runs_are_not_paired(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["compare", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert all(metric in out for metric in METRICS)
    assert "not paired" in out
