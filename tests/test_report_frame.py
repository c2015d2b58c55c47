"""The tidy frame, the curves and the one-glance table."""

import re

import pytest
from records_fixture import (
    ESTIMATORS,
    MEBIBYTE,
    PEERS,
    accuracy_figures,
    make_record,
    make_run,
    peer_records,
    speedup_figures,
    step_seconds,
    timing_figures,
    true_speedup,
)

from gsbench.records import text
from gsbench.records.frame import FIELDS, make_curves, make_frame
from gsbench.records.order import by_estimator
from gsbench.records.reading import ReportError
from gsbench.report.drawing.styles import KNOWN, make_look
from gsbench.report.glance import glance_blocks, glance_cells, glance_text
from gsbench.report.writers import markdown

RUN = make_run()
FRAME = make_frame(RUN)
ON_GLYPHS = "accuracy on glyphs, 10 labels a class, preset default"


def test_a_row_a_record_and_a_column_a_field():
    assert len(FRAME) == len(RUN)
    assert set(FIELDS) < set(FRAME.columns)
    assert not [name for name in FRAME if name.startswith("curve_")]
    steps = FRAME[(FRAME["group"] == "step") & (FRAME["status"] == "ok")]
    expected = [
        step_seconds(m, e, int(k)) for m, e, k in steps[["model", "estimator", "n_classes"]].itertuples(index=False)
    ]
    assert steps["step_seconds"].tolist() == pytest.approx(expected)


def test_fields_outside_the_schema_are_kept():
    frame = make_frame(
        [make_record("step", class_layers=5, log_var_limits=[-1.0, 2.0]), make_record("peer", peer="pyro")]
    )
    assert frame["class_layers"].tolist()[0] == 5
    assert frame["log_var_limits"].tolist() == ["[-1.0, 2.0]", None]
    assert frame["peer"].tolist() == [None, "pyro"]


def test_a_number_that_is_none_is_an_error_that_names_the_case():
    with pytest.raises(ReportError, match=r"batch of case 'test_step.*' must be a number, got 'many'"):
        make_frame([make_record("step", batch="many")])


def test_one_run_in_one_setting_has_nothing_to_tell_apart():
    assert FRAME["run"].unique().tolist() == ["Example Xample, 2026-01-02 03:04"]
    assert FRAME["series"].unique().tolist() == [""]


def test_settings_that_differ_name_the_series_and_the_run_joins_them_where_there_are_several():
    records = [
        make_record("step", batch=batch, preset=preset, case=f"{batch}{preset}", run_id=run_id)
        for run_id in ("b", "a")
        for batch, preset in ((100, "default"), (200, "blog"), (200, "default"))
    ]
    one, two = make_frame(records[:3]), make_frame(records)
    assert one["series"].tolist() == [
        "preset default, batch 100",
        "preset blog, batch 200",
        "preset default, batch 200",
    ]
    # Both runs began at once on one machine, so only their ids tell them apart, in their order.
    label = "Example Xample, 2026-01-02 03:04"
    assert two["run"].tolist() == [f"{label} (a)"] * 3 + [f"{label} (b)"] * 3
    assert two["series"][0] == f"{label} (a) · preset default, batch 100"


def test_a_field_that_follows_from_another_is_not_repeated():
    records = [
        make_record("step", case=preset, preset=preset, units=units, norm=norm)
        for preset, units, norm in (("default", 500, None), ("blog", 300, "batch"), ("small", 20, "batch"))
    ]
    assert make_frame(records)["series"].tolist() == ["preset default", "preset blog", "preset small"]


def test_runs_stand_in_the_order_of_their_start_under_the_name_of_their_device():
    late = make_record("step", run_id="a", recorded_at="2026-05-01T00:00:00Z", machine_gpu="NVIDIA H200")
    frame = make_frame([late, make_record("step", run_id="b")])
    assert frame["run"].unique().tolist() == [
        "Example Xample, 2026-01-02 03:04",
        "NVIDIA H200, 2026-05-01 00:00",
    ]


def runs_at(*counts, **changes):
    """A run for each tuple of class counts, one day apart. The changes apply to the second run."""
    return [
        make_record("step", n_classes=k, run_id=f"r{i}", recorded_at=f"2026-01-0{i + 2}T00:00:00Z", **own)
        for i, ks in enumerate(counts)
        for own in ([changes] if i == 1 else [{}])
        for k in ks
    ]


@pytest.mark.parametrize(
    "changes",
    [{}, {"gsbench_commit": "f" * 12}, {"torch_version": "2.13.0", "pyro_version": "1.9.1"}],
    ids=["alike", "commit", "with-peers"],
)
def test_runs_that_complete_one_another_are_one_series(changes):
    frame = make_frame(runs_at((10, 20), (50, 100), (200, 10), **changes))
    assert frame["run"].nunique() == 3
    assert frame["joint_run"].unique().tolist() == ["Example Xample, 2026-01-02 00:00"]
    assert frame["series"].unique().tolist() == [""]


@pytest.mark.parametrize(
    "changes",
    [
        {"machine_cpu": "Other"}, {"machine_gpu": "NVIDIA H200"}, {"machine_memory_bytes": 2**30},
        {"machine_blas": "mkl 2024.2"}, {"freed_memory": "kept"}, {"numpy_version": "2.4.6"},
        {"gsbench_version": "0.2.0"}, {"machine_cpu": None},
    ],
    ids=["cpu", "gpu", "memory", "blas", "freed", "numpy", "gsbench", "unknown"],
)  # fmt: skip
def test_runs_of_another_machine_or_other_versions_are_never_one(changes):
    frame = make_frame(runs_at((10, 20), (50, 100), **changes))
    assert frame["joint_run"].tolist() == frame["run"].tolist()
    assert frame["series"].nunique() == 2


def test_runs_with_peers_of_two_versions_are_not_one_even_beside_one_without():
    records = runs_at((10,), (20,), (50,), torch_version="2.12.0")
    records[2]["torch_version"] = "2.13.0"
    assert make_frame(records)["joint_run"].nunique() == 2


def test_machines_without_a_name_are_not_taken_for_one():
    records = [{**record, "machine_cpu": None} for record in runs_at((10,), (20,))]
    assert make_frame(records)["joint_run"].nunique() == 2


@pytest.mark.parametrize(
    ("second", "joint"),
    [((20, 50), 1), ((10, 20, 50), 2), ((10, 20), 2), ((10,), 2), ((), 1)],
    ids=["half", "two-thirds", "all", "all-of-the-smaller", "none"],
)
def test_runs_that_repeat_each_other_stand_side_by_side(second, joint):
    records = runs_at((10, 20, 30), second)
    records.append({**make_record("step", run_id="r1", status="failed"), "recorded_at": "2026-01-03T00:00:00Z"})
    assert make_frame(records)["joint_run"].nunique() == joint


@pytest.mark.parametrize(
    ("changes", "series"),
    [
        ({"backend": "torch", "chainer_version": None, "torch_version": "2"}, ["backend chainer", "backend torch"]),
        ({"dtype": "float64"}, ["dtype float32", "dtype float64"]),
    ],
    ids=["backend", "dtype"],
)
def test_sessions_of_two_backends_or_dtypes_are_read_as_one_with_a_series_each(changes, series):
    """Their cases have the same names but are different measurements."""
    frame = make_frame(runs_at((10, 20), (10, 20), **changes))
    assert frame["joint_run"].nunique() == 1
    assert sorted(frame["series"].unique()) == series


def test_old_short_runs_are_training_runs():
    old = make_record("accuracy", **accuracy_figures("marginalize", 10, 0.1))
    frame = make_frame([old, make_record("step")])
    assert frame["group"].tolist() == ["training", "step"]
    assert frame["case"].tolist() == [old["case"], "test_step[adgm-glyphs-10-marginalize]"]
    assert frame["task"].tolist() == ["glyphs, 10 labels a class, preset default", ""]
    assert make_curves([old], frame)["group"].unique().tolist() == ["training"]


def test_runs_that_end_by_the_clock_on_two_machines_are_two_tasks():
    """An old record does not state its seconds. It may belong to a run like the others, on the same machine."""
    run = {"labelled_per_class": 10, "validation_accuracy": 0.5}
    records = [
        make_record("training", run_id=run_id, case=str(budget), machine_cpu=run_id, budget_seconds=budget, **run)
        for run_id, budget in (("a", 8.0), ("b", 8.0), ("b", None))
    ]
    head, same = "glyphs, 10 labels a class, preset default", make_frame([records[0], {**records[0], "case": "c"}])
    assert same["task"].tolist() == [head, head]
    assert make_frame(records[:2])["task"].tolist() == [
        f"{head}, run {machine}, 2026-01-02 03:04" for machine in ("a", "b")
    ]
    budgets = ("budget 8 s", "budget some seconds")
    assert make_frame(records[1:])["task"].tolist() == [f"{head}, {budget}" for budget in budgets]


def glance_table(frame):
    """The cells of the one-glance table: a row for each (series, model, n_classes), a column for each figure."""
    return glance_cells(frame).unstack(["estimator", "figure"])


def test_accuracies_in_another_preset_stand_in_the_one_table_and_say_so():
    timed = make_record("step", preset="default", units=500, **timing_figures("step", 0.1))
    learnt = make_record("training", preset="small", units=50, labelled_per_class=10, validation_accuracy=0.75)
    frame = make_frame([timed, learnt])
    assert frame["series"].tolist() == ["", ""]
    assert frame["task"].tolist() == ["", "glyphs, 10 labels a class, preset small"]
    (row,) = glance_table(frame)["marginalize"].to_dict("records")
    assert row["step_seconds"] == 0.1
    assert row["accuracy on glyphs, 10 labels a class, preset small"] == 0.75


def test_synthetic_data_count_in_the_glance_where_no_other_were_timed():
    common = {"estimator": "gumbel-softmax", "timed": "step"}
    drawn = make_record("speedup", dataset="glyphs", speedup=3.0, **common)
    random = make_record("speedup", dataset="synthetic", speedup=5.0, **common)
    alone = make_record("speedup", dataset="synthetic", speedup=7.0, n_classes=20, **common)
    table = glance_table(make_frame([random, drawn, alone]))
    assert table["gumbel-softmax", "speedup"].tolist() == [3.0, 7.0]


def test_the_peak_is_the_devices_if_there_is_one():
    records = [
        make_record("memory", live_peak_bytes=2, process_peak_bytes=3, device_peak_bytes=1),
        make_record("memory", live_peak_bytes=2, process_peak_bytes=3, case="b"),
        make_record("memory", process_peak_bytes=3, case="c"),
    ]
    assert make_frame(records)["peak_bytes"].tolist() == [1, 2, 3]


def test_the_curves_have_a_row_an_evaluation():
    curves = make_curves(RUN, FRAME)
    accuracies = [record for record in RUN if record["group"] == "training" and record["status"] == "ok"]
    assert len(curves) == sum(len(record["curve_step"]) for record in accuracies)
    first = curves[curves["case"] == accuracies[0]["case"]]
    for name in ("step", "epoch", "seconds", "accuracy"):
        assert first[name].tolist() == accuracies[0][f"curve_{name}"]


def test_a_curve_without_epochs_is_a_curve_and_one_of_two_lengths_is_an_error():
    points = {
        "curve_step": [1, 2],
        "curve_seconds": [0.1, 0.2],
        "curve_accuracy": [0.5, 0.6],
        "curve_epoch": None,
    }
    records = [make_record("training", **points)]
    curves = make_curves(records, make_frame(records))
    assert curves["accuracy"].tolist() == [0.5, 0.6]
    assert curves["epoch"].isna().all()
    records[0]["curve_step"] = [1]
    with pytest.raises(ReportError, match=r"curves of case 'test_training.*' must be of one length, got"):
        make_curves(records, make_frame(records))


def test_the_glance_table_holds_every_figure():
    table = glance_table(FRAME)
    assert table.index.names == ["series", "model", "n_classes"]
    for model in ("adgm", "m2"):
        for k in (10, 20, 50, 100, 200):
            row = table.loc[("", model, k)]
            for name in ESTIMATORS:
                assert row[name, "step_seconds"] == pytest.approx(step_seconds(model, name, k))
                assert row[name, "examples_per_second"] == pytest.approx(100 / step_seconds(model, name, k))
            for name in ("marginalize", "gumbel-softmax", "straight-through"):  # the step, not the bound
                times = true_speedup(name, k)
                found = [row[name, f"speedup{end}"] for end in ("", "_low", "_high")]
                assert found == pytest.approx([times, 0.93 * times, 1.08 * times])
    assert table.loc[("", "adgm", 50), ("marginalize", "peak_bytes")] == 130 * MEBIBYTE
    assert table.loc[("", "m2", 10), ("labels-only", ON_GLYPHS)] == pytest.approx(0.779, abs=2e-3)
    assert set(table.columns.unique("estimator")) == {*ESTIMATORS, "labels-only"}


def test_several_seeds_and_data_sets_of_a_cell_give_their_median():
    records = [
        make_record("step", case=str(seed), seed=seed, dataset=data, **timing_figures("step", seconds))
        for seed, data, seconds in ((0, "glyphs", 1.0), (1, "glyphs", 5.0), (0, "mnist", 2.0))
    ]
    assert glance_table(make_frame(records))["marginalize", "step_seconds"].tolist() == [2.0]


@pytest.mark.usefixtures("wide_terminal")
def test_the_glance_text_has_a_row_for_each_k_and_a_column_for_each_estimator():
    shown = glance_text(RUN)
    adgm, m2, gradients = shown.split("\n\n")
    assert gradients.startswith("Gradient")
    assert adgm.startswith("ADGM\n")
    assert m2.startswith("M2\n")
    lines = [re.split("  +", line) for line in adgm.splitlines()]
    assert lines[1] == ["K", *ESTIMATORS, "labels-only"]
    start = next(i for i, line in enumerate(lines) if line[0] == "100")
    assert lines[start] == ["100", "step", "220 ms", "120 ms", "20.0 ms", "25.0 ms", "–"]
    assert lines[start + 1][1:4] == ["speed-up", "0.545 × [0.507, 0.589]", "1 (baseline)"]
    assert lines[start + 1][4:6] == ["6.00 × [5.58, 6.48]", "4.80 × [4.46, 5.18]"]
    assert lines[start + 2][1:5] == ["examples/s", "455", "833", "5,000"]
    assert lines[start + 3][1:5] == ["peak memory", "230 MiB", "75.0 MiB", "35.0 MiB"]
    assert lines[start + 4][1:] == [ON_GLYPHS, "88.9 %", "88.9 %", "87.9 %", "86.9 %", "74.9 %"]


def test_each_table_of_the_glance_has_the_baseline_that_its_own_records_name():
    old = [make_record("speedup", estimator="gumbel-softmax", **speedup_figures("step", 3.0, "marginalize"))]
    old.append(make_record("step", **timing_figures("step", 0.3)))
    new = [make_record("speedup", estimator="marginalize", preset="small", **speedup_figures("step", 0.5))]
    new.append(make_record("step", estimator="marginalize-streamed", preset="small", **timing_figures("step", 0.1)))
    first, second = glance_text([*old, *new]).split("\n\n")
    cells = [re.split("  +", line) for line in (first + second).splitlines() if "speed-up" in line]
    assert cells == [
        ["", "speed-up", "1 (baseline)", "3.00 × [2.79, 3.24]"],
        ["", "speed-up", "0.500 × [0.465, 0.540]", "1 (baseline)"],
    ]


def test_the_glance_shows_the_status_of_a_case_without_a_figure():
    shown = glance_text(RUN)
    assert "too large (14.0 GiB)" in shown
    assert "failed" in shown
    assert "skipped" in shown


@pytest.mark.parametrize("status", ["failed", "skipped", "out-of-memory"])
def test_a_glance_at_cases_that_all_came_to_nothing(status):
    shown = glance_text([make_record("step", status=status)])
    assert text.status_name(status) in shown
    assert glance_table(make_frame([make_record("step", status=status)])).empty


def test_a_glance_without_records_is_empty():
    assert glance_text([]) == ""
    assert glance_table(make_frame([])).empty
    assert glance_text([make_record("step", model=None, n_classes=None, status="failed")]) == ""


def test_a_speedup_without_its_interval_stands_alone():
    record = make_record("speedup", estimator="gumbel-softmax", **speedup_figures("step", 3.0))
    del record["speedup_low"], record["speedup_high"]
    assert " 3.00 ×" in glance_text([record])
    assert "[" not in glance_text([record])


def test_the_glance_in_markdown_breaks_lines_within_cells():
    shown = markdown.written(glance_blocks(FRAME))
    assert "<br>speed-up<br>" in shown
    assert "### ADGM\n" in shown


def test_the_streamed_sum_follows_the_sum_and_a_name_with_settings_its_name_without():
    names = ["other", "labels-only", "gumbel-softmax(tau=0.5)", "marginalize-streamed", "gumbel-softmax", "marginalize"]
    assert by_estimator(names) == [
        "marginalize",
        "marginalize-streamed",
        "gumbel-softmax",
        "gumbel-softmax(tau=0.5)",
        "labels-only",
        "other",
    ]


@pytest.mark.usefixtures("wide_terminal")
def test_the_ratios_to_peers_stand_under_the_glance_with_a_column_for_each_peer():
    lost = {"n_classes": 20, "baseline": "plain-chainer", "timed": "unlabelled-step", "status": "out-of-memory"}
    shown = glance_text([*RUN, *peer_records([10]), make_record("peer", **lost)]).split("\n\n")[-2]
    title, headers, _, *lines = shown.splitlines()
    assert title == "Compared with other formulations: how many times as fast as each of them"
    assert re.split("  +", headers) == ["K", "gsbench", "timed", *PEERS]
    assert [re.split("  +", line.strip())[:4] for line in lines] == [
        ["10", "marginalize", "unlabelled step", "0.857 × [0.771, 1.03]"],
        ["10", "marginalize-streamed", "unlabelled step", "1.20 × [1.08, 1.44]"],
        ["10", "gumbel-softmax", "unlabelled step", "0.857 × [0.771, 1.03]"],
        ["10", "gumbel-softmax", "full step", "0.857 × [0.771, 1.03]"],
        ["20", "marginalize", "unlabelled step", "out of memory"],
    ]
    assert glance_text([make_record("peer", status="skipped", baseline="plain-torch")]) == ""


def test_styles_are_fixed_for_known_names_and_differ_for_all_others():
    others = [f"estimator-{i}" for i in range(24)]
    look = make_look([*others, *KNOWN], ["", "b", "c", "d"])
    assert {name: look.estimators[name] for name in KNOWN} == KNOWN
    assert len(set(look.estimators.values())) == 24 + len(KNOWN)
    assert make_look(reversed(others), [""]).estimators[others[3]] == look.estimators[others[3]]
    assert len({line for line, _ in look.series.values()}) == 4


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (text.seconds(0.00084), "840 µs"),
        (text.seconds(0.0123), "12.3 ms"),
        (text.seconds(1.7), "1.70 s"),
        (text.seconds(0), "0 µs"),
        (text.size(12 * MEBIBYTE), "12.0 MiB"),
        (text.size(100), "100 B"),
        (text.size(3.4 * 2**40), "3.40 TiB"),
        (text.three_digits(8130.2), "8,130"),
        (text.three_digits(99.96), "100"),
        (text.three_digits(0.9996), "1.00"),
        (text.three_digits(0.00123), "0.00123"),
        (text.percent(0.9213), "92.1 %"),
        (text.listed([10.0, 20, "x"]), "10, 20 and x"),
        (markdown.escaped("a|b\n<c> & *d*"), "a\\|b &lt;c&gt; &amp; \\*d\\*"),
    ],
)
def test_figures_are_written_with_their_units(written, expected):
    assert written == expected
