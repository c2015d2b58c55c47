"""The report as a whole: its folder, its page and its CSV files."""

import dataclasses
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from records_fixture import (
    chunk_records,
    make_record,
    make_run,
    peer_records,
    speedup_figures,
    write_lines,
    write_saved,
)
from report_fixture import WHOLE_RUN as RUN
from report_fixture import drawn_once, no_png, png_of, whole_report  # noqa: F401 (fixtures)

from gsbench.backends import BACKENDS
from gsbench.records.frame import make_curves, make_frame
from gsbench.report import FIGURES, ReportError, gaps, make_report
from gsbench.report.drawing.styles import make_look
from gsbench.report.figures.peers import versions
from gsbench.report.writers import markdown

pytestmark = pytest.mark.slow

# Short runs of one K give no figure of class counts, and no images. A regression needs two runs, and a prediction the
# networks of the reference curves.
OTHERS = (
    "accuracy_by_time", "accuracy_by_classes", "time_to_accuracy", "training_memory", "image_grids", "regression",
    "price_by_step",
)  # fmt: skip
BENCH_FIGURES = [name for name in FIGURES if name not in OTHERS]
FILES = ("report.html", "report.md", "summary.md", "tables.tex", "records.csv", "records.parquet")
STEPS = [record for record in RUN if record["group"] == "step"]  # one figure, quickly drawn


def missing(frame, plots):
    return markdown.written(gaps.missing(frame, plots))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return whole_report(tmp_path_factory)


def page_of(folder):
    return (folder / "report.md").read_text(encoding="utf-8")


def test_the_folder_holds_the_page_the_csv_files_and_every_figure_twice(report):
    names = {f"{name}.{suffix}" for name in (*BENCH_FIGURES, "gallery") for suffix in ("png", "svg")}
    assert {path.name for path in report.iterdir()} == {*FILES, "curves.csv", *names}
    assert [path.name for path in report.parent.iterdir()] == ["whole"]


def test_the_records_survive_the_csv_file(report):
    read = pd.read_csv(report / "records.csv")
    assert len(read) == len(RUN)
    for field in ("step_seconds", "speedup", "live_peak_bytes", "n_classes", "validation_accuracy"):
        expected = np.array([record.get(field) for record in RUN], dtype=float)
        np.testing.assert_allclose(read[field], expected, rtol=1e-14)
    assert read["case"].tolist() == [record["case"] for record in RUN]
    assert ",100.0," not in (report / "records.csv").read_text()
    assert len(pd.read_csv(report / "curves.csv")) == 20 * 10


def test_the_page_opens_with_the_answer_the_glance_and_the_pareto_figure(report):
    answer = (report / "summary.md").read_text(encoding="utf-8").split("\n\n")[1]
    assert answer.startswith("On this machine")
    assert page_of(report).startswith(f"# gsbench report: whole\n\n**{answer}**\n\n")
    headings = re.findall(r"^## (.*)$", page_of(report), re.MULTILINE)
    assert headings[:2] == ["At a glance", "Accuracy against speed"]
    assert headings[-4:] == ["Missing", "Skipped, failed and too large", "Conditions", "Files"]
    glance = page_of(report).split("## ")[2]
    assert "| 120 ms<br>1 (baseline)<br>833<br>75.0 MiB<br>88.9 %" in glance
    assert "as fast as the baseline, marginalize-streamed, timed" in page_of(report)


def test_the_page_shows_every_figure_with_the_device_and_the_settings(report):
    page = page_of(report)
    for name in BENCH_FIGURES:
        caption = page.split(f"]({name}.png)")[1].split("##")[0]
        assert "Device: cpu (Example(R) Xample(TM) CPU @ 2.00GHz, 2 threads)." in caption
        assert "Settings: preset default, batch 100, N_MC = 1, float32, backend chainer" in caption
        if name in ("speedup", "peers", "chunk_sizes", "fraction_of_peak", "gradient_bias", "gradient_variance"):
            assert re.search(r"9[59] % bootstrap interval", caption)
        assert f"[SVG]({name}.svg)" in caption


def test_the_page_names_cut_off_skipped_and_failed_cases(report):
    page = page_of(report)
    assert f"> **Notice.** Left out: run.jsonl, the last line (line {len(RUN) + 1}): it was cut off" in page
    lost = page.split("## Skipped, failed and too large")[1].split("##")[0]
    assert len([line for line in lost.splitlines() if line.startswith("| ")]) == 1 + 5
    assert "| ValueError: a \\| b &lt;c&gt; and a second line |" in lost
    assert re.search(r"\| too large +\| needs 14 GiB of 12 GiB +\| 14.0 GiB +\| 12.0 GiB", lost)
    assert "no data folder is named" in page.split("### Runs that did not finish")[1].split("##")[0]


def test_the_page_holds_our_speedup_against_the_published_one(report):
    table = page_of(report).split("](speedup.png)")[1].split("##")[0]
    assert re.search(r"\| 10 +\| gumbel-softmax +\| 1.50 × +\| 2 × ", table)
    assert re.search(r"\| 100 +\| straight-through +\| 4.80 × +\| 9.9 × ", table)


def cells_of(table):
    """The cells of a Markdown table, row by row, headers first."""
    rows = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in [rows[0], *rows[2:]]]


def test_the_page_has_the_ratios_to_peers_with_times_and_memory(report):
    section = page_of(report).split("## Compared with other formulations")[1].split("## ")[0]
    headers, *rows = cells_of(section)
    assert headers == [
        *("K", "gsbench", "peer", "timed", "times as fast", "peer's time", "gsbench's time", "peer's memory"),
        "gsbench's memory",
    ]
    assert len(rows) == 2 * (4 + 4 + 4)
    memory = ["1.27 GiB (1,000 MiB)", "150 MiB (50.0 MiB)"]
    assert rows[4] == [
        *("10", "marginalize-streamed", "plain-chainer", "unlabelled step", "1.20 × [1.08, 1.44]", "36.0 ms"),
        *("30.0 ms", *memory),
    ]
    assert [row[3] for row in rows[8:12]] == ["unlabelled step", "unlabelled step", "full step", "full step"]
    products = "openblas 0.3.21, 2 threads (gsbench, Chainer); mkl 2024.2, 1 thread (PyTorch)."
    assert section.count(f"Chainer 7.8.1, PyTorch 2.13.0+cpu, Pyro 1.9.1. Matrix products: {products}") == 2


def test_on_a_gpu_no_library_of_the_cpu_is_named():
    rows = make_frame(peer_records([10], device="cuda:0"))
    assert versions(rows) == "Chainer 7.8.1, PyTorch 2.13.0+cpu, Pyro 1.9.1."


@pytest.mark.usefixtures("undrawn")
def test_the_page_says_whose_speedup_is_the_bounds_alone(tmp_path):
    def glance(records):
        page = page_of(make_report([write_lines(tmp_path / "a.jsonl", records)], name="a", output=tmp_path).parent)
        return page.split("## At a glance")[1].split("\n## ")[0]

    pairs = [r for r in RUN if r["group"] == "speedup" and r["model"] == "m2"]
    told = "marginalize: timed in pairs in the bound alone"
    assert told not in glance(pairs)
    assert told in glance([r for r in pairs if (r["estimator"], r["timed"]) != ("marginalize", "step")])


def test_the_page_has_the_share_of_the_peak_and_its_parts(report):
    section = page_of(report).split("](fraction_of_peak.png)")[1].split("## ")[0]
    headers, *rows = cells_of(section)
    assert headers[4:] == ["operations", "time", "per class", "machine's peak", "share of peak"]
    assert len(rows) == 2 * 2 * 4 * 2
    assert rows[10] == [
        *("ADGM", "100", "marginalize-streamed", "bound", "6.72 GFLOP", "84.0 ms", "840 µs"),
        *("160 GFLOP/s (2048x2048x2048)", "50.0 % [45.0, 52.5]"),
    ]


def test_the_page_has_the_short_runs_in_the_tables_of_training_runs(report):
    table = page_of(report).split("### ADGM on glyphs, K = 100, 1,000 labels, preset default")[1].split("###")[0]
    assert re.search(r"\| marginalize +\| 1 +\| 10,000 +\| 88.9 % +\| 2,200 s +\| 4.55 ", table)
    assert re.search(r"\| gumbel-softmax +\| 1 +\| 10,000 +\| 87.9 % +\| 200 s +\| 50.0 ", table)


def test_the_page_has_the_conditions(report):
    conditions = page_of(report).split("## Conditions")[1]
    for field, value in (
        ("machine_memory_bytes", "16.0 GiB"),
        ("gsbench_commit", "0123456789ab"),
        ("numpy_version", "1.23.5"),
        ("dataset", "glyphs, omniglot, synthetic"),
        ("threads", "2"),
    ):
        assert re.search(rf"\| {field} +\| {re.escape(value)} +\|", conditions)
    assert "cupy_version" not in conditions


LABELS = {
    "pareto": [
        "training steps per second → faster",
        "validation accuracy (%) → better",
        "ADGM on glyphs, K = 100, 1,000 labels,",
    ],
    "steps_per_second": [
        "number of classes K",
        "training steps per second",
        "ADGM",
        "does not fit in memory",
    ],
    "speedup": [
        "number of classes K",
        "times as fast as marginalize-streamed",
        "Jang et al. 2017, fig. 5 (GTX Titan X)",
    ],
    "peak_memory": [
        "number of classes K",
        "peak memory, live arrays (MiB)",
        "peak memory, whole process (MiB)",
    ],
    "time_per_class": ["number of classes K", "time of the bound per class (ms)", "ADGM", "marginalize-streamed"],
    "peers": ["times as fast as the peer → faster", "gsbench: the exact sum", "K = 100", "plain-torch, full step"],
    "fraction_of_peak": ["number of classes K", "share of the peak", "ADGM: unlabelled bound", "100 %"],
    "chunk_sizes": ["classes in a chunk", "times as fast as the default chunk", "peak of live arrays (MiB)", "K = 100"],
    "gradient_bias": ["number of classes K", "relative bias", "ADGM, initial parameters: q flat"],
    "gradient_variance": ["relative variance", "perplexity of q: 2.00 of 10 … 3.98 of 100", "other parameters of φ:"],
    "gradient_price": ["variance × time (ms)", "parameters of θ:", "ADGM, after 200 steps: q peaked"],
    "gradient_pareto": ["time of the bound (ms) → slower", "relative error (lower is better)", "exact: 0"],
    "gradient_temperature": ["temperature τ", "relative bias", "relative standard deviation", "gumbel-softmax"],
    "training_curves": ["epoch", "training time (s)", "validation accuracy (%)", "labels-only: 74.9 %"],
}


@pytest.mark.parametrize("name", BENCH_FIGURES)
def test_every_figure_has_its_labels_and_is_not_blank(report, name):
    svg = (report / f"{name}.svg").read_text(encoding="utf-8")
    for label in LABELS[name]:
        assert f">{label}</text>" in svg
    pixels = imread(report / f"{name}.png")
    assert pixels.shape[1] > 1000
    blue = np.abs(pixels[..., :3] - np.array([0x00, 0x72, 0xB2]) / 255).max(axis=2) < 0.02
    light_blue = np.abs(pixels[..., :3] - np.array([0x56, 0xB4, 0xE9]) / 255).max(axis=2) < 0.02
    without_sums = ("gradient_variance", "gradient_price", "gradient_temperature")
    if name in ("chunk_sizes", *without_sums):  # colours stand for K, or nothing is exact
        assert (np.ptp(pixels[..., :3], axis=2) > 0.2).sum() > 200
    else:
        assert blue.sum() > 200
        assert name == "speedup" or light_blue.sum() > 200


def test_the_same_data_give_the_same_files_whatever_the_readers_own_matplotlib_settings(tmp_path, report):
    """All figures as SVG; as PNG, one of each shape and one with pictures."""
    settings = {"lines.linewidth": 9, "axes.facecolor": "red", "savefig.bbox": "tight"}
    drawn = ("pareto", "steps_per_second", "peers", "accuracy_curves", "gallery")
    with matplotlib.rc_context(settings), png_of(*drawn):
        again = make_report([write_saved(tmp_path / "run.json", RUN)], name="whole", output=tmp_path).parent
        assert matplotlib.rcParams["lines.linewidth"] == 9
    for file in report.iterdir():
        if file.stem != "report" and (file.suffix != ".png" or file.stem in drawn):  # a page's notice names the file
            assert file.read_bytes() == (again / file.name).read_bytes(), file.name


@pytest.mark.usefixtures("no_png")
def test_without_any_backend_a_report_lacks_the_gallery_alone(tmp_path, monkeypatch):
    for source in BACKENDS.values():
        monkeypatch.setitem(BACKENDS, source.name, source._replace(package="no_such_framework"))
    folder = make_report([write_saved(tmp_path / "run.json", STEPS)], output=tmp_path).parent
    assert (folder / "steps_per_second.svg").exists()
    assert not (folder / "gallery.svg").exists()


@pytest.mark.usefixtures("no_png")
def test_several_runs_stand_side_by_side(tmp_path):
    other = [{**r, "run_id": "b", "machine_gpu": "NVIDIA H200"} for r in STEPS if r["model"] == "adgm"]
    other = [{**r, "recorded_at": r["recorded_at"].replace("01-02", "02-03")} for r in other]
    paths = [write_saved(tmp_path / "b.json", other), write_lines(tmp_path / "a.jsonl", STEPS)]
    folder = make_report(paths, output=tmp_path / "reports").parent
    assert folder.name.startswith("2026-02-03-")  # the newest one's start
    here, there = sorted(pd.read_csv(folder / "records.csv")["run"].unique())
    assert here.startswith("Example Xample, 2026-01-02")
    assert there.startswith("NVIDIA H200, 2026-02-03")
    page = page_of(folder)
    for title in (f"### ADGM · {here}", f"### ADGM · {there}", f"### M2 · {here}"):
        assert title in page
    assert f"### M2 · {there}" not in page
    assert (folder / "regression.svg").exists()
    ratios = page.split("## Ratio to ")[1].split("## ")[0]
    verdicts = re.findall(r"step_seconds .*\| 1 × .*\| ([a-z ]+[a-z]) *\|", ratios)
    assert len(verdicts) > 3
    assert set(verdicts) == {"not told apart"}
    assert re.search(rf"\|  +\| {here} +\| {there} +\|", page.split("## Conditions")[1])
    frame = pd.read_csv(folder / "records.csv")
    assert frame["run"].value_counts(sort=False).to_dict() == {here: len(STEPS), there: len(other)}
    svg = (folder / "steps_per_second.svg").read_text(encoding="utf-8")
    assert here in svg
    assert there in svg


def later(records, **changes):
    """The same records as another run, a month later."""
    moved = [{**r, "recorded_at": r["recorded_at"].replace("01-02", "02-03"), "run_id": "later"} for r in records]
    return [{**r, **changes} for r in moved]


WHOLE = [record for record in RUN if record["status"] == "ok"]
IN_STEPS = [record for record in WHOLE if record["group"] == "step"]
ELSE = [record for record in WHOLE if record["group"] != "step"]


def test_a_case_of_one_of_two_joint_runs_is_not_missing():
    frame = make_frame([*ELSE, *later(IN_STEPS, gsbench_commit="ba9876543210")])
    assert frame["series"].unique().tolist() == [""]
    assert missing(frame, {}) == "Nothing: every group was measured."
    apart = missing(make_frame([*ELSE, *later(IN_STEPS, machine_cpu="Other CPU")]), {})
    assert "- group `step` (time of the full training step): no record in run Example Xample, 2026-01-02 03:04" in apart
    assert "- group `bound` (time of the unlabelled bound): no record in run Other, 2026-02-03 03:04" in apart


@pytest.mark.usefixtures("undrawn")
def test_the_page_names_the_runs_that_are_read_as_one_and_their_commits(tmp_path):
    other = later([r for r in STEPS if r["n_classes"] == 10], gsbench_commit="ba9876543210", threads=2)
    kept = [r for r in STEPS if r["n_classes"] != 10] + STEPS[:1]
    page = page_of(make_report([write_lines(tmp_path / "a.jsonl", [*kept, *other])], output=tmp_path).parent)
    assert "### ADGM\n" in page
    opening = page.split("## At a glance")[0]
    assert "same versions: 'Example Xample, 2026-01-02 03:04' and 'Example Xample, 2026-02-03 03:04'." in opening
    assert "They come from 2 commits: 0123456789ab and ba9876543210." in opening
    assert "1 case was measured in more than one of them: figures show the median." in opening
    assert re.search(r"\| gsbench_commit +\| 0123456789ab +\| ba9876543210 +\|", page)


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("group", ["bound", "step", "speedup", "memory", "training", "roofline", "gradient"])
def test_a_missing_group_is_named_and_the_rest_is_drawn(group):
    run = make_run(models=["m2"], ks=(10,), accuracy_ks=(10,))
    records = [record for record in run if record["group"] != group]
    frame = make_frame(records)
    look = make_look(frame["estimator"], frame["series"])
    plots = {name: figure.draw(frame, make_curves(records, frame), look) for name, figure in FIGURES.items()}
    undrawn = {
        "bound": [],
        "step": ["steps_per_second"],
        "speedup": ["speedup"],
        "memory": ["peak_memory"],
        "training": [],
        "roofline": ["fraction_of_peak"],
        "gradient": ["gradient_bias", "gradient_variance", "gradient_price", "gradient_pareto"],
    }[group]
    optional = [name for name, figure in FIGURES.items() if figure.missed != "always"]
    assert [name for name, plot in plots.items() if plot is None and name not in optional] == undrawn
    assert not any(f"figure `{name}`" in missing(frame, plots) for name in optional)
    lines = missing(frame, plots).splitlines()
    assert any(line.startswith(f"- group `{group}` (") and line.endswith(": no record") for line in lines)
    for name in undrawn:
        assert f"- figure `{name}`: the records have nothing to draw it from" in lines
    assert "gsbench bench" in lines[-1]


def test_nothing_is_missing_from_a_whole_run():
    whole = [record for record in RUN if record["status"] == "ok"]
    assert missing(make_frame(whole), {}) == "Nothing: every group was measured."


@pytest.mark.parametrize(("group", "figure"), [("peer", "peers"), ("chunk", "chunk_sizes")])
def test_a_figure_of_measured_groups_without_results_is_named(group, figure):
    lines = missing(make_frame([make_record(group, status="skipped")]), {figure: None}).splitlines()
    assert f"- figure `{figure}`: the records have nothing to draw it from" in lines


def test_cases_that_a_killed_run_did_not_reach_are_named():
    lost = ("memory", "straight-through", 100)
    records = [r for r in RUN if r["status"] == "ok" and (r["group"], r["estimator"], r["n_classes"]) != lost]
    lines = missing(make_frame(records), {}).splitlines()
    assert [line for line in lines if line.startswith("- ")] == [
        "- group `memory`, ADGM: no record of straight-through at K = 100",
        "- group `memory`, M2: no record of straight-through at K = 100",
    ]


def test_a_group_that_no_figure_knows_is_named():
    lines = missing(make_frame([make_record("weather", case=str(i)) for i in range(3)]), {})
    assert "- group `weather`: its 3 records stand in records.csv and in no figure" in lines


@pytest.mark.parametrize("status", ["failed", "skipped", "too-large", "out-of-memory"])
def test_a_run_without_a_good_case_still_makes_a_report(tmp_path, status):
    groups = ("bound", "step", "speedup", "memory", "training", "roofline", "gradient")
    records = [make_record(group, status=status, reason="no luck", estimate_bytes=2**40) for group in groups]
    folder = make_report([write_lines(tmp_path / "a.jsonl", records)], name="a", output=tmp_path).parent
    assert page_of(folder).count("no luck") == 7
    assert page_of(folder).count("none of its 1 cases ended well") == 7
    assert not list(folder.glob("*.png"))


def test_a_case_that_failed_before_it_was_known_is_listed(tmp_path):
    bare = {
        "schema_version": 1,
        "run_id": "x",
        "group": "step",
        "case": "c",
        "status": "failed",
        "reason": "early",
    }
    folder = make_report([write_lines(tmp_path / "a.jsonl", [bare])], output=tmp_path / "out").parent
    assert folder.name == "x"
    assert "early" in page_of(folder)


@pytest.mark.usefixtures("undrawn")
def test_a_newer_report_replaces_an_older_one_and_nothing_else(tmp_path):
    first = make_report([write_lines(tmp_path / "a.jsonl", STEPS)], name="a", output=tmp_path / "out").parent
    assert (first / "steps_per_second.png").exists()
    (first / "notes.txt").write_text("mine")
    make_report([write_lines(tmp_path / "b.jsonl", [make_record("step")])], name="a", output=tmp_path / "out")
    assert {path.name for path in first.iterdir()} == {*FILES, "notes.txt"}


@pytest.mark.usefixtures("undrawn")
def test_a_report_that_fails_leaves_the_older_one_whole(tmp_path, monkeypatch):
    folder = make_report([write_lines(tmp_path / "a.jsonl", STEPS)], name="a", output=tmp_path / "out").parent
    before = {file.name: file.read_bytes() for file in folder.iterdir()}

    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setitem(FIGURES, "training_curves", dataclasses.replace(FIGURES["image_grids"], draw=fail))
    for name in ("a", "new"):
        with pytest.raises(RuntimeError, match="no ink"):
            make_report([write_lines(tmp_path / "b.jsonl", STEPS[:2])], name=name, output=tmp_path / "out")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert [file.name for file in folder.parent.iterdir()] == ["a"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b"])
def test_a_name_that_is_no_folders_is_refused(tmp_path, name):
    with pytest.raises(ReportError, match="must be that of one folder"):
        make_report([write_lines(tmp_path / "a.jsonl", RUN[:1])], name=name, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("undrawn")
def test_peers_have_their_own_table_and_are_not_missed_if_not_requested(tmp_path):
    figures = {"baseline": "plain-chainer", "timed": "bound", "speedup": 1.5, "speedup_low": 1.4, "speedup_high": 1.75}
    records = [make_record("peer", n_classes=k, **figures) for k in (100, 10)]
    path = write_lines(tmp_path / "run.jsonl", records)
    page = page_of(make_report([path], output=tmp_path, name="peers").parent)
    table = page.split("## Compared with other formulations")[1].split("##")[0]
    assert cells_of(table) == [
        ["K", "gsbench", "peer", "timed", "times as fast"],
        ["10", "marginalize", "plain-chainer", "bound", "1.50 × [1.40, 1.75]"],
        ["100", "marginalize", "plain-chainer", "bound", "1.50 × [1.40, 1.75]"],
    ]
    assert "`peer`" not in page[page.index("## Missing") :]


@pytest.mark.usefixtures("no_png")
def test_a_report_on_runs_with_several_baselines_names_them_all(tmp_path):
    records = [
        make_record("speedup", estimator="gumbel-softmax", run_id=name, **speedup_figures("step", 3.0, name))
        for name in ("marginalize", "marginalize-streamed")
    ]
    page = page_of(make_report([write_lines(tmp_path / "run.jsonl", records)], output=tmp_path, name="two").parent)
    assert "as fast as the baseline, marginalize or marginalize-streamed, timed" in page
    assert "Timed in pairs, marginalize or marginalize-streamed (the exact sum) and the other alternating" in page
    assert ">times as fast as the exact sum</text>" in (tmp_path / "two" / "speedup.svg").read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_peers_that_did_not_fit_stand_in_the_table_and_those_that_were_skipped_do_not(tmp_path):
    records = peer_records([10])
    for record, status in zip(records, ("too-large", "out-of-memory", "skipped"), strict=False):
        lost = ("speedup", "baseline_seconds", "candidate_seconds", "baseline_process_peak_bytes")
        record.update(dict.fromkeys(lost), status=status, reason="no luck")
    records[4].update(status="too-large", reason="gsbench: no luck")
    page = page_of(make_report([write_lines(tmp_path / "run.jsonl", records)], output=tmp_path, name="a").parent)
    _, *rows = cells_of(page.split("## Compared with other formulations")[1].split("## ")[0])
    assert len(rows) == len(records) - 1
    assert rows[0][1:8] == ["marginalize", "plain-chainer", "unlabelled step", "too large", "", "", ""]
    assert rows[4][1:5] == ["marginalize-streamed", "plain-chainer", "unlabelled step", "out of memory"]
    assert rows[1][2:5] == ["plain-torch", "unlabelled step", "gsbench: too large"]
    assert page.split("## Skipped")[1].count("no luck") == 4


@pytest.mark.usefixtures("no_png")
def test_the_streamed_sum_with_each_of_its_chunks_takes_no_style_from_the_others(tmp_path):
    records = [*STEPS, make_record("step", estimator="mine", step_seconds=1.0)]
    chunks = chunk_records([100], range(1, 30))
    one, two = (
        make_report([write_lines(tmp_path / "run.jsonl", own)], output=tmp_path, name=name).parent
        for name, own in (("one", records), ("two", [*records, *chunks]))
    )
    assert (one / "steps_per_second.svg").read_bytes() == (two / "steps_per_second.svg").read_bytes()
