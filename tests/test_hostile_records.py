"""Records with arbitrary content: every writer shows it as text or leaves it out."""

import csv
import io
import math
import random
import re
from html import unescape
from xml.etree import ElementTree

import pandas as pd
import pytest
from records_fixture import (
    gradient_records,
    make_record,
    make_run,
    memory_figures,
    peer_records,
    speedup_figures,
    training_record,
    write_lines,
)
from report_fixture import png_of

from gsbench.cli import main
from gsbench.compare.table import compare
from gsbench.records.frame import OWN, make_curves, make_frame, without_unknown
from gsbench.records.reading import read_files
from gsbench.records.schema import FIELDS
from gsbench.records.text import csv_cell, csv_text, one_line
from gsbench.report import make_report
from gsbench.report.drawing.sheet import figure_settings, make_sheet
from gsbench.report.drawing.styles import make_look
from gsbench.report.glance import glance_text
from gsbench.report.page import make_page
from gsbench.report.writers import latex, markdown
from gsbench.shown import printable, visible

HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
EVIL = (
    "<script>alert(1)</script>", "![i](http://e.example/x.png)", "[x](javascript:alert(1))", "`c` **b** _i_ ~~s~~",
    "a|b\\|c\\", "# heading", "$5 to $9", "$\\frac{1}{$", "=1+1", "@SUM(1)", "+1-1", "\tx", "\x1b[31mred\x1b[0m",
    "a\x00b", "a\x9bb", "line\nbreak", "\u202egnp", "\u05e2\u05d1\u05e8\u05d9\u05ea", "\U0001f4bb", "_under", "&amp;",
    "x" * 200, "\"q' style=\"a\" id=\"b\" url(#c)", "www.example.com", "{0} %s", "---", "nan",
)  # fmt: skip

# The writers, one by one


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x9b\x7f\u202e\u2028\ufeff\ud800", "\\x9b\\x7f\\u202e\\u2028\\ufeff\\ud800"),
        ("\u05e2\U0001f4bb\u00e9 $5", "\u05e2\U0001f4bb\u00e9 $5"),
    ],
)
def test_nothing_is_hidden(text, written):
    assert visible(text) == written
    assert printable(f"{text}\n{text}").count("\n") == 1 + 2 * text.count("\n")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<script>", "&lt;script&gt;"),
        ("[x](javascript:alert(1))", "[x\\](javascript:alert(1))"),
        ("![i](http://e.example)", "![i\\](http\\://e.example)"),
        ("[x][y] and [x]: z", "[x\\][y] and [x\\]: z"),
        ("1.20 \u00d7 [1.08, 1.44]", "1.20 \u00d7 [1.08, 1.44]"),
        ("`a` | b", "\\`a\\` \\| b"),
        ("a\\|b\\", "a\\\\\\|b\\\\"),
        ("*b* _i_ step_seconds __d__", "\\*b\\* \\_i\\_ step_seconds \\_\\_d\\_\\_"),
        ("~~s~~ and z ~ N(0, I)", "\\~\\~s\\~\\~ and z ~ N(0, I)"),
        ("# h", "\\# h"),
        ("$5 to $9", "\\$5 to \\$9"),
        ("- item", "\\- item"),
        ("12. item", "12\\. item"),
        ("12.5 %", "12.5 %"),
        ("---", "\\---"),
        ("-1", "-1"),
        ("www.example.com", "www\\.example.com"),
        ("a\n b\x1b", "a b\\\\x1b"),
    ],
)
def test_markdown_reads_no_text_as_markup(text, written):
    assert markdown.escaped(text) == written


@pytest.mark.parametrize("text", EVIL)
def test_any_text_comes_back_from_markdown(text):
    """A CommonMark reader sees the original text: entities and escaped characters count as what they stand for."""
    seen = unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown.escaped(text)))
    assert seen == one_line(text) == visible(" ".join(text.split()))


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(1)", "'@SUM(1)"),
        ("+A1", "'+A1"),
        ("-A1", "'-A1"),
        ("\tx", "'\\tx"),
        ("\rx", "'\\rx"),
        ("\uff1d1", "'\uff1d1"),
        ("-1.5e-3", "-1.5e-3"),
        ("+1_0", "'+1_0"),
        ("a=b", "a=b"),
        (-1.5, -1.5),
        (None, None),
        (10**20, 10**20),
    ],
)
def test_a_cell_of_a_csv_file_is_no_formula_and_numbers_stay_numbers(value, written):
    assert csv_cell(value) == written


def test_the_header_of_a_csv_file_is_no_formula_either():
    table = pd.DataFrame({"=f": ["x", None], "n": [1.0, math.nan], "mixed": pd.Series([-3, "=a"], dtype=object)})
    assert csv_text(table) == "'=f,n,mixed\nx,1,-3\n,,'=a\n"


def test_a_figure_sets_no_mathematics_and_its_svg_is_well_formed(tmp_path):
    names = [name for name in EVIL if len(name) < 100]
    with figure_settings():
        look = make_look(names, [""])
        figure, axes = make_sheet(1, 1, title="$a$\x00", handles=look.handles(names, [""]), caption="\x1b $5 to $9")
        for i, name in enumerate(names):
            axes[0, 0].plot([1, 2], [i, i], **look.line(name, ""))
        axes[0, 0].set_title("\x1b")
        for suffix in ("svg", "png"):
            figure.savefig(tmp_path / f"a.{suffix}")
    texts = {element.text for element in ElementTree.parse(tmp_path / "a.svg").iter() if element.tag.endswith("text")}
    assert {"$a$\\x00", "\\x1b $5 to $9", "$\\frac{1}{$", "a\\x00b", " _under", "\\u202egnp"} <= texts


# Whole reports


SMALL_RUN = make_run(("adgm",), ("marginalize-streamed", "gumbel-softmax"), (10, 20), (10,), gradients=False)
NAMES = ("model", "preset", "dataset", "machine_cpu", "gsbench_commit", "dtype", "backend", "device", "machine_blas")


def hostile_run():
    """A small run, and records in which every name is hostile, in different orders."""
    records = []
    for i, name in enumerate(EVIL):
        words = {field: EVIL[(i + shift) % len(EVIL)] for shift, field in enumerate(NAMES)}
        figures = {
            "step": {"step_seconds": 0.1 + i},
            "speedup": speedup_figures("step", 1.0 + i, EVIL[i - 1]),
            "memory": memory_figures("adgm", "marginalize", 10),
            "bound": {"status": "failed", "reason": name},
            name: {},
        }
        group = list(figures)[i % len(figures)]
        record = make_record(group, i, **words, estimator=name, n_classes=10 * (1 + i % 2), **figures[group])
        records.append({**record, "case": f"{i} {name}"[:200], "mine": name, name: i})
    run = {**training_record(), "case": EVIL[0], "estimator": EVIL[3], "reason": EVIL[1], "dataset": EVIL[6]}
    peers = [{**record, "baseline": "\x1b[31mpeer\x1b[0m"} for record in peer_records([10])[:2]]
    pair = make_record("speedup", 99, estimator="gumbel-softmax", **speedup_figures("bound", 3.0, "\x1b[1mbase"))
    return [*records, run, *peers, pair, *SMALL_RUN]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    path = write_lines(folder / "run.jsonl", hostile_run())
    with png_of():
        return make_report([path], name="h", output=folder).parent


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report.md", "summary.md", "report.html", "tables.tex", "records.csv", "curves.csv"])
def test_no_file_has_a_hidden_character(report, name):
    assert HIDDEN.findall((report / name).read_text(encoding="utf-8")) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["report.md", "summary.md"])
def test_markdown_has_no_tags_no_pictures_and_no_links_but_its_own(report, name):
    text = (report / name).read_text(encoding="utf-8")
    assert re.findall(r"<(?!br>|/?details>|/?summary>)", text) == []
    assert [link for link in re.findall(r"(?<!\\)\]\(([^)]*)\)", text) if not re.fullmatch(r"[\w.]+", link)] == []
    assert re.findall(r"(?<!\\)://|(?<!\\)\]:|www\.", text) == []
    assert text.count("&lt;script&gt;") > 1


@pytest.mark.slow
def test_html_has_no_elements_but_its_own(report):
    text = (report / "report.html").read_text(encoding="utf-8")
    assert text.count("<script") == 3
    assert "<script>alert" not in text
    assert "<img" not in text
    links = re.findall(r'href="([^"]*)"', text)
    assert [link for link in links if not re.fullmatch(r"#[\w-]+|[\w.]+|data:,", link)] == []
    assert "style=&quot;a&quot; id=&quot;b&quot; url&#40;#c)" in text  # an SVG contains it whole


@pytest.mark.slow
def test_every_svg_is_well_formed(report):
    paths = list(report.glob("*.svg"))
    assert len(paths) > 3
    for path in paths:
        ElementTree.parse(path)


@pytest.mark.slow
def test_no_cell_of_a_csv_file_begins_a_formula(report):
    for name in ("records.csv", "curves.csv"):
        rows = list(csv.reader(io.StringIO((report / name).read_text(encoding="utf-8"))))
        assert [
            cell for row in rows for cell in row if re.match(r"[=@\t\r]|[+-](?![0-9.]+(e[+-]?[0-9]+)?$)", cell)
        ] == []
    records = pd.read_csv(report / "records.csv")
    assert "'=1+1" in set(records["estimator"])
    assert records["step_seconds"].dtype == "float64"


@pytest.mark.slow
def test_no_command_prints_a_hidden_character(tmp_path, capsys):
    one = write_lines(tmp_path / "a\x1b.jsonl", [*hostile_run(), {**make_record("step"), "batch": "\x1b[2J"}])
    other = write_lines(tmp_path / "b.jsonl", [{**r, "run_id": "o\x1bther"} for r in hostile_run()])
    for command in (
        ["compare", one, other],
        ["compare", one, other, "--markdown"],
        ["compare", one, other, "--json"],
        ["plan", one, "--classes", "10"],
        ["plan", one, "--classes", "10", "--json"],
        ["report", one, tmp_path / "\x1bnowhere.jsonl"],
        ["compare", tmp_path / "no\x1bwhere", other],
    ):
        main([*map(str, command)])
        told = capsys.readouterr()
        assert HIDDEN.findall(told.out + told.err) == [], command
        assert "Traceback" not in told.err
    assert "no such file or folder: " in told.err


# Every field with odd values, in every function that reads a frame

ODD = (
    *(None, True, False, 0, 1, -1, 3.5, 1e308, 1e-320, math.nan, math.inf, -math.inf, 10**20, 10**400, "3", ""),
    *("x" * 10_000, [], [1], ["a"], {}, {"a": [1]}, [[[]]], [None]),
)
BASE = [*SMALL_RUN[:-2], training_record(), training_record("gumbel-softmax")]
UNKNOWN = (*OWN, "_images", "order", "target", "labels", "Index", "count", "machine_x", "x_version", "", "=f", "\x1b")


def all_texts(records, notices=()):
    frame = make_frame(records)
    curves = make_curves(records, frame)
    shown = without_unknown(frame)
    page = make_page("n", notices, shown, curves, {})
    texts = [markdown.whole(page), markdown.summary(page), latex.tables(page), csv_text(frame), glance_text(records)]
    compare({"one": frame, "other": shown})
    return texts


@pytest.mark.parametrize("seed", range(6))
def test_a_record_with_an_odd_value_is_left_out_or_shown_and_the_others_are_reported(tmp_path, seed):
    """A selection of all pairs of field and odd value, each in its own record, all in one file."""
    pairs = [(field, value) for field in (*FIELDS, *UNKNOWN) for value in (*ODD, *EVIL)]
    chosen = random.Random(seed).sample(pairs, 150)
    odd = [{**BASE[i % len(BASE)], "run_id": f"r{i % 2}", "case": f"{i}", f: v} for i, (f, v) in enumerate(chosen)]
    reading = read_files([write_lines(tmp_path / "a.jsonl", [*BASE, *odd])])
    assert [record for record in BASE if record not in reading.records] == []
    told = [
        re.match(r"Left out: a\.jsonl, line \d+: (\w+) must be |.* (\d+) more", notice) for notice in reading.notices
    ]
    assert {name[1] for name in told if name[1]} <= set(FIELDS)
    n_left_out = sum(int(name[2] or 1) for name in told)
    assert len(reading.records) + n_left_out >= len(BASE) + 150 - 5  # a run_id or case may belong to another record
    assert sum(field in UNKNOWN for field, _ in chosen) <= len(reading.records) - len(BASE)
    assert [HIDDEN.findall(text) for text in all_texts(reading.records, reading.notices)] == [[]] * 5


@pytest.mark.parametrize("value", [-1.0, 0.0, 1e30, -1e30])
def test_squares_that_rounding_made_negative_are_no_warning(value):
    records = gradient_records((10, 100), estimators=("marginalize", "gumbel-softmax"))
    for figure in ("variance", "squared_bias", "variance_low", "total_variance"):
        texts = all_texts([{**record, f"logits_{figure}": value} for record in records])  # a warning is an error here
        assert all(texts)


def test_a_field_called_as_a_column_of_the_frame_keeps_its_values():
    frame = make_frame([make_record("step", run="mine", task=3, recorded_run="other")])
    assert frame["recorded_recorded_run"].tolist() == ["mine"]
    assert frame["recorded_run"].tolist() == ["other"]
    assert frame["recorded_task"].tolist() == [3]
    assert frame["run"].tolist() == ["Example Xample, 2026-01-02 03:04"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_the_report_of_the_newest_session_says_what_it_left_out(tmp_path, capsys):
    """If the newest file is unreadable, an older session is shown, and the terminal says so."""
    write_lines(tmp_path / "old.jsonl", [make_record("step", step_seconds=1.0)])
    (tmp_path / "newest.jsonl").write_text("torn")
    assert main(["report", "--storage", str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert told.err.startswith(
        "Left out: newest.jsonl is no gsbench benchmark file: it holds no whole record. Move it "
    )
