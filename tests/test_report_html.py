"""The report as one HTML page: its content, and that no text in the records can change its structure."""

import csv
import io
import itertools
import json
import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb
from matplotlib.figure import Figure
from records_fixture import (
    make_record,
    memory_figures,
    speedup_figures,
    training_records,
    write_lines,
)
from report_fixture import WHOLE_RUN as RUN
from report_fixture import whole_report

from gsbench.records.busy import busy_notice
from gsbench.records.frame import make_frame
from gsbench.report import blocks, make_report
from gsbench.report.answer import answer, least_learnt
from gsbench.report.blocks import Code, Fold, Heading, Items, Link, Notice, Paragraph, Section, Table, titled
from gsbench.report.drawing.points import alt_text
from gsbench.report.drawing.points import csv as csv_of
from gsbench.report.drawing.sheet import Plot
from gsbench.report.figures import FIGURES
from gsbench.report.glance import glance_tables
from gsbench.report.page import MORE, QUESTIONS, of_plot
from gsbench.report.writers import html, latex, markdown
from gsbench.report.writers.html.svg import PAPER, contrast, in_the_dark

VOID = {"meta", "link", "br", "img", "input", "hr"}
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&|`*_[a](b)"


class Page(HTMLParser):
    """The elements of a page in their order, with attributes and text. All tags must be closed."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.found, self.open = [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        element = {"tag": tag, **dict(attributes), "text": "", "in": [outer["tag"] for outer in self.open]}
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, text):
        for element in self.open:
            element["text"] += text

    def all(self, tag, **attributes):
        return [e for e in self.found if e["tag"] == tag and all(e.get(k) == v for k, v in attributes.items())]

    def one(self, tag, **attributes):
        (element,) = self.all(tag, **attributes)
        return element


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return whole_report(tmp_path_factory)


@pytest.fixture(scope="module")
def source(report):
    return (report / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def test_the_page_opens_with_the_answer_and_the_pareto_figure_then_follows_the_questions(page):
    headings = [(e["tag"], e["text"]) for e in page.found if e["tag"] in ("h1", "h2", "h3")]
    titles = [text for tag, text in headings if tag == "h2" and text]
    assert headings[:2] == [("h1", "whole"), ("h2", "The answer")]
    assert headings[2:4] == [("h3", "Accuracy against speed"), ("h3", "At a glance")]
    assert titles == ["The answer", *QUESTIONS.values(), "All records"]
    levels = [int(e["tag"][1]) for e in page.found if re.fullmatch("h[1-6]", e["tag"])]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_page_needs_nothing_beside_itself(source, page):
    assert not page.all("img") + page.all("iframe") + page.all("object")
    assert not [e for e in page.all("script") if "src" in e]
    for element in page.found:
        for name in ("src", "href", "data", "srcset", "action"):
            target = element.get(name)
            assert not target or target.startswith(("#", "data:")) or re.fullmatch(r"[\w-]+\.\w+", target), target
    assert not re.search(r"url\(\s*['\"]?(?!#|data:)", source)
    assert "@import" not in source
    assert len(source.encode()) < 2_000_000


def test_links_lead_to_existing_files(page, report):
    ids = [e["id"] for e in page.found if "id" in e]
    assert [name for name, n in Counter(ids).items() if n > 1] == []
    for element in page.found:
        target = element.get("href") or ""
        if target.startswith("#"):
            assert target[1:] in ids
        elif target and not target.startswith("data:"):
            assert (report / target).exists()
        for name in ("for", "aria-labelledby", "aria-describedby"):
            assert not element.get(name) or element[name] in ids
    assert set(re.findall(r"url\(#([^)]+)\)", str(page.found))) <= set(ids)


def test_every_figure_is_there_once_with_an_alternative_text(page, report):
    keys = {path.stem for path in report.glob("*.svg")}
    assert len(keys) > 12
    figures = page.all("figure")
    assert sorted(figure["data-figure"] for figure in figures) == sorted(keys)
    drawings = [e for e in page.all("svg") if e.get("role") == "img"]
    assert len(drawings) == len(keys)
    for key in keys:
        alt = page.one("p", id=f"{key}-alt")["text"]
        assert re.search(r"\bpanels?\b.*Drawn are .*: from .* to ", alt), alt
    assert "gumbel-softmax" in page.one("p", id="speedup-alt")["text"]
    buttons = [e["data-save"] for e in page.all("button") if "data-save" in e]
    assert Counter(buttons) == dict.fromkeys(("svg", "png", "csv"), len(keys))


def test_the_svgs_have_their_title_for_readers_who_save_one(source):
    (speedup,) = re.findall(r'<svg[^>]*aria-labelledby="speedup-title".*?</svg>', source)
    assert speedup.count('class="told"') == 2
    whole, shown = (re.search(rf'{name}="([^"]*)"', speedup)[1].split() for name in ("data-whole", "viewBox"))
    assert whole[2] == shown[2]
    assert float(shown[3]) < float(whole[3]) - 20
    assert "#0072b2" not in speedup
    assert "var(--c0072b2)" in speedup


def test_every_colour_is_set_for_light_and_for_dark(source):
    used = set(re.findall(r"var\(--c([0-9a-f]{6})\)", source))
    parts = re.findall(r":root[^{]*\{(--c[^}]*)\}", source)
    light, dark = (dict(re.findall(r"--c([0-9a-f]{6}):(#[0-9a-f]{6})", part)) for part in parts)
    assert used == set(light) == set(dark)
    assert all(light[name] == f"#{name}" for name in used)
    assert dark["ffffff"] == PAPER


@pytest.mark.parametrize("colour", ["#000000", "#444444", "#0072b2", "#332288", "#882255", "#7a4b1e", "#440154"])
def test_in_the_dark_a_colour_is_legible_and_of_its_own_hue(colour):
    assert contrast(in_the_dark(colour), PAPER) > 3.1
    light, dark = (to_rgb(one) for one in (colour, in_the_dark(colour)))
    if max(light) > min(light):
        assert rgb_to_hsv(dark)[0] == pytest.approx(rgb_to_hsv(light)[0], abs=0.02)


def test_contrast_follows_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)
    assert in_the_dark("#56b4e9") == "#56b4e9"


def tables_of(page):
    """The rows of each table's body, each the elements of its cells."""
    rows = [e for e in page.found if e["tag"] in ("tbody", "tr", "td") and ("tbody" in e["in"] or e["tag"] == "tbody")]
    tables = []
    for element in rows:
        if element["tag"] == "tbody":
            tables.append([])
        elif element["tag"] == "tr":
            tables[-1].append([])
        else:
            tables[-1][-1].append(element)
    return tables


def data_of(page):
    drawn_there = json.loads(page.one("script", id="drawn")["text"])
    return {key: pd.read_csv(io.StringIO(text)) for key, text in drawn_there.items()}


def test_the_csv_of_a_figure_has_the_points_that_it_shows(page):
    data = data_of(page)
    speedup = data["speedup"]
    records = [r for r in RUN if r["group"] == "speedup" and r["timed"] == "step" and r["dataset"] == "glyphs"]
    assert records
    own = speedup[speedup["panel"] == "ADGM on glyphs: full training step"].set_index(["name", "number of classes K"])
    value = "times as fast as marginalize-streamed"
    for record in (r for r in records if r["model"] == "adgm"):
        row = own.loc[(record["estimator"], record["n_classes"])]
        found = [row[value], row[f"{value} low"], row[f"{value} high"]]
        np.testing.assert_allclose(found, [record[f] for f in ("speedup", "speedup_low", "speedup_high")], rtol=1e-9)
    assert len(own) == len([r for r in records if r["model"] == "adgm"])
    jang = speedup[speedup["name"].str.startswith("Jang")]
    assert dict(zip(jang["number of classes K"], jang[value], strict=True)) == {10: 2.0, 100: 9.9}


def test_points_that_stand_side_by_side_have_the_k_that_was_measured(page):
    bias = data_of(page)["gradient_bias"]
    assert set(bias["number of classes K"]) == {10, 100}
    assert set(bias["y_axis"]) == {"q's logits: relative bias"} or len(set(bias["y_axis"])) == 3


def test_all_csv_files_are_whole(page):
    for key, text in json.loads(page.one("script", id="drawn")["text"]).items():
        header, *rows = csv.reader(io.StringIO(text))
        assert rows, key
        assert {len(row) for row in rows} == {len(header)}
        assert header[0] == "panel"
        assert not [row for row in rows if row[1].startswith("_")]


def test_points_are_published_with_the_name_of_an_axis_that_all_panels_share():
    points = pd.DataFrame(
        [("left", "a", "along", 1.5, "up", 2.0, 1.9), ("right", "a", "along", 3.0, "down", 4.0, None)],
        columns=["panel", "name", "x_axis", "x", "y_axis", "y", "low"],
    )
    assert csv_of(points).splitlines() == [
        "panel,name,along,y_axis,y,low", "left,a,1.5,up,2,1.9", "right,a,3,down,4,",
    ]  # fmt: skip
    one = points.assign(y_axis="up")
    assert csv_of(one).splitlines()[0] == "panel,name,along,up,up low"
    told = alt_text("Title", one)
    assert told.startswith("Title. 2 panels: left, right. Drawn are a. along: from 1.5 to 3. up: from 2 to 4.")
    named = one.assign(y=["first", "second"])  # as the lines of a forest are
    assert "up. The numbers are in the CSV." in alt_text("Title", named)
    assert alt_text("Digits", pd.DataFrame()).startswith("Digits. Images")


def test_all_records_are_in_a_table(page):
    rows = [e for e in page.all("tr") if "tbody" in e["in"]]
    ok_of = [e for e in page.all("span") if "data-count" in e]
    assert ok_of[-1]["text"] == f"{len(RUN)} rows"
    assert len(rows) > len(RUN)


def test_headers_are_buttons_and_counts_are_told(page):
    assert len(page.all("th")) == len([e for e in page.all("button") if "data-sort" in e]) > 20
    assert len(page.all("table")) == len(page.all("input", type="search"))
    assert all(e["aria-live"] == "polite" for e in page.all("span") if "data-count" in e)
    assert page.one("html")["lang"] == "en"
    assert page.all("a")[0]["text"] == "Skip to the answer"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The page of a report whose records have markup in every text."""
    texts = {"estimator": f"gumbel{EVIL}", "machine_cpu": EVIL, "reason": EVIL, "preset": EVIL, "case": EVIL}
    names = ("estimator", "machine_cpu", "preset")
    records = [
        make_record("step", i, **{n: texts[n] for n in names}, n_classes=k, step_seconds=0.1 * k, case=f"{i}{EVIL}")
        for i, k in enumerate((10, 100))
    ]
    records.append(make_record("memory", 3, **texts, status="failed"))
    records.append(make_record(EVIL, 4, case=EVIL))
    folder = tmp_path_factory.mktemp("hostile")
    return make_report([write_lines(folder / "run.jsonl", records)], name="a&b'", output=folder)


def test_markup_in_records_is_text(hostile):
    source = hostile.read_text(encoding="utf-8")
    found = Page(source)
    assert len(found.all("script")) == 3
    assert not found.all("img")
    assert not [e for e in found.found for name in e if name.startswith("on")]
    assert any(EVIL in e["text"] for e in found.all("td"))
    table = pd.read_csv(io.StringIO(json.loads(found.one("script", id="drawn")["text"])["steps_per_second"]))
    assert all(name.startswith(f"gumbel{EVIL}") for name in table["name"])
    assert len(table) == 2
    assert found.one("title")["text"] == "gsbench report: a&b'"


def test_hostile_records_make_other_files_that_can_be_read(hostile):
    read = pd.read_parquet(hostile.parent / "records.parquet")
    assert read["case"].tolist()[-1] == EVIL
    latex = (hostile.parent / "tables.tex").read_text(encoding="utf-8")
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") > 0
    assert not re.search(r"(?<!\\)[#$]", re.sub(r"\$\\[a-z]+\$", "", latex))


def test_the_records_survive_parquet_and_the_tables_latex(report):
    read = pd.read_parquet(report / "records.parquet")
    frame = make_frame(RUN)
    assert read["case"].tolist() == frame["case"].tolist()
    np.testing.assert_array_equal(read["step_seconds"], frame["step_seconds"])
    assert read["n_classes"].dtype == np.float64
    latex = (report / "tables.tex").read_text(encoding="utf-8")
    assert r"\caption{At a glance: ADGM}" in latex
    assert r"100 & speed-up & 0.545 $\times$ {[}0.507, 0.589{]} & 1 (baseline) & 6.00 $\times$ {[}5.58" in latex
    for table in latex.split(r"\begin{tabular}")[1:]:
        rows = [line for line in table.split(r"\end")[0].splitlines() if line.endswith(r"\\")]
        assert len({row.count(" & ") for row in rows}) == 1


def test_latex_escapes_text_that_looks_like_a_command():
    assert latex.escaped("50 % of a_b & {c} \\d 2 × ~^#$ <µs>") == (
        r"50 \% of a\_b \& \{c\} \textbackslash{}d 2 $\times$ \textasciitilde{}\textasciicircum{}\#\$ "
        r"\textless{}$\mu$s\textgreater{}"
    )


# Every kind of block except a figure, which the reports above have. The texts contain characters of every markup.
EVERY = [
    Heading("On | x"),
    Paragraph(["A ", Code("b"), " of <c> * d: ", Link("records.csv"), ", ", Code("`e`")]),
    Table(["", "a|b"], [["<i>", ("1 * 2", "x_y")], ["c\\", ""]]),
    Items(["one", ["two ", Code("2")]]),
    Fold("More of q(y|x) & p", [Table(["K", "m"], [[10.0, None]])]),
    Notice("n < m"),
]
IN_MARKDOWN = r"""### On \| x

A `b` of &lt;c&gt; \* d: [records.csv](records.csv), \`e\`

|         | a\|b     |
|---------|----------------|
| &lt;i&gt; | 1 \* 2<br>x_y |
| c\\     |                |

- one
- two `2`

<details><summary>More of q(y|x) &amp; p</summary>

| K   | m   |
|-----|-----|
| 10  | –   |

</details>

> **Notice.** n &lt; m"""
IN_LATEX = r"""
\begin{table}
\centering
\caption{Odd \_: On \textbar{} x}
\begin{tabular}{ll}
\toprule
 & a\textbar{}b \\
\midrule
\textless{}i\textgreater{} & 1 * 2 \\
\textless{}i\textgreater{} & x\_y \\
c\textbackslash{} &  \\
\bottomrule
\end{tabular}
\end{table}

\begin{table}
\centering
\caption{Odd \_: More of q(y\textbar{}x) \& p}
\begin{tabular}{ll}
\toprule
K & m \\
\midrule
10 & -- \\
\bottomrule
\end{tabular}
\end{table}
"""


def without_padding(table):
    return re.sub(r" +\|", " |", re.sub(r"-+\|", "-|", table))


def test_the_writers_make_the_same_of_every_block():
    section = Section("Odd _", EVERY, "fast")
    sections = [section, Section("Gone", EVERY, "machine")]
    page = blocks.Page("odd\nname", ["An *answer*"], [], [], sections, EVERY[:1], EVERY[2])
    assert without_padding(markdown.written(EVERY)) == without_padding(IN_MARKDOWN)
    head = "# gsbench report: odd name\n\n**An \\*answer\\***\n\n## Odd \\_\n\n"
    assert markdown.whole(page).startswith(head + IN_MARKDOWN[:10])
    assert markdown.summary(page) == "**gsbench report: odd name**\n\nAn \\*answer\\*\n\n### On \\| x\n"
    head, preamble, written = latex.tables(page).split("\n", 2)
    assert head == "% The tables of the gsbench report odd name."
    assert "booktabs" in preamble
    assert written == IN_LATEX
    found = Page(html.whole(page, {}))
    one, more, *_, all_records = ([[cell["text"] for cell in row] for row in rows] for rows in tables_of(found))
    assert one == all_records == [["<i>", "1 * 2"], ["<i>", "x_y"], ["c\\", ""]]
    assert more == [["10", "–"]]
    assert [e["text"] for e in found.all("h4")] == ["On | x", "On | x"]
    assert [e["text"] for e in found.all("code")] == ["b", "`e`", "2"] * 2
    regions = [e for e in found.all("div", role="region") if "aria-label" in e]
    assert [e["aria-label"] for e in regions][:2] == ["On | x", "More of q(y|x) & p"]
    summaries = ["More of q(y|x) & p", "More: Gone", "More of q(y|x) & p", "Show"]
    assert [e["text"] for e in found.all("summary")] == summaries
    assert found.all("p", **{"class": "notice"})[0]["text"] == "Notice. n < m"
    assert found.all("a", href="records.csv")[0]["text"] == "records.csv"


def test_a_table_has_the_title_of_the_heading_or_the_fold_above_it():
    bare = Table(["K"], [])
    first, _, second, fold, third = titled([bare, Heading("h"), bare, Fold("f", [bare]), bare], "section")
    assert [table.title for table in (first, second, fold.blocks[0], third)] == ["section", "h", "f", "h"]


def test_empty_columns_are_left_out():
    table = Table(["a", "b", "c"], [[1, "", ""], [2, "", 0]], "t")
    assert table.used() == Table(["a", "c"], [[1, ""], [2, 0]], "t")


def test_a_section_more_is_a_line_and_has_its_figure_saved_and_inlined(tmp_path, monkeypatch):
    figure = Figure()
    figure.subplots().plot([1, 2], [3, 4], label="a line")
    plot = Plot("One more figure", "Its caption.", figure)
    monkeypatch.setitem(MORE, "extra", lambda frame: of_plot("extra", plot, "more", [Table(["a"], [["b"]])]))
    monkeypatch.setitem(MORE, "nothing", lambda frame: None)
    written = make_report([write_lines(tmp_path / "a.jsonl", [make_record("weather")])], name="a", output=tmp_path)
    found = Page(written.read_text(encoding="utf-8"))
    assert found.one("figure")["data-figure"] == "extra"
    assert "What else?" in [e["text"] for e in found.all("h2")]
    assert (written.parent / "extra.png").exists()
    assert "## One more figure\n\n![One more figure](extra.png)" in (written.parent / "report.md").read_text()


def test_every_figure_belongs_to_a_question():
    assert {figure.question for figure in FIGURES.values()} <= set(QUESTIONS)


def told(records):
    return answer(make_frame(records))


def test_the_answer_is_of_the_largest_k_with_its_conditions():
    (sentence,) = told(RUN)
    assert sentence.startswith(
        "On this machine (cpu: Example(R) Xample(TM) CPU @ 2.00GHz, 2 threads), at K = 100, marginalize-streamed takes "
        "6.00 × [5.58, 6.48] the time and 2.14 × the memory (75.0 MiB against 35.0 MiB) of gumbel-softmax; accuracy "
        "after 200 s to 1,200 s of training (ADGM on glyphs, 10 labels a class, preset default): "
    )
    assert "preset default, batch 100, N_MC = 1, float32" in sentence


def test_every_figure_of_the_answer_stands_in_the_one_glance_table():
    """There is one source: the box and the table have the same speed, memory and accuracy, to the last digit."""
    lines = {line for table in glance_tables(make_frame(RUN)) for row in table.rows for cell in row for line in cell}
    (sentence,) = told(RUN)
    figures = re.findall(r"[\d.]+ × \[[\d.]+, [\d.]+\]|[\d.]+ MiB|[\d.]+ %", sentence)
    assert len(figures) == 1 + 2 + 3
    assert [figure for figure in figures if figure not in lines] == []


def pair(k, times=3.0, **more):
    return make_record(
        "speedup", k, estimator="gumbel-softmax", n_classes=k, **speedup_figures("step", times), **more
    )


def test_the_answer_names_missing_measurements():
    (sentence,) = told([pair(10), pair(50, 4.0)])
    assert "at K = 50, marginalize-streamed takes 4.00 × [3.72, 4.32] the time of gumbel-softmax; " in sentence
    assert "the memory was not measured; no accuracy of both was measured with preset default." in sentence
    (nothing,) = told([make_record("bound", bound_seconds=1.0)])
    assert nothing.startswith("These records do not say")


def memories(k, *estimators, **more):
    return [
        make_record("memory", 1, estimator=name, n_classes=k, **more, **memory_figures("adgm", name, k))
        for name in estimators
    ]


def accuracies(k, values, seconds=100.0, **more):
    figures = {"labelled_per_class": 10, "draws_of_a": 1, "step": 10, "train_seconds": seconds}
    return [
        make_record("training", 2, **{"estimator": n, "n_classes": k, "validation_accuracy": v, **figures, **more})
        for n, v in values.items()
    ]


TASK = "glyphs, 10 labels a class, preset default"
GOOD = {"marginalize-streamed": 0.9, "gumbel-softmax": 0.8, "labels-only": 0.6}


def test_the_answer_names_another_k_for_memory_and_accuracy():
    names = ("marginalize", "marginalize-streamed", "gumbel-softmax")
    (sentence,) = told([pair(100), *memories(10, *names), *accuracies(10, GOOD)])
    assert "; at K = 10 marginalize-streamed takes 2.31 × the memory (70.5 MiB against 30.5 MiB) of gumbel" in sentence
    assert f"accuracy after 100 s of training (ADGM on {TASK}, K = 10): marginalize-streamed 90.0 %, " in sentence


def test_the_memory_belongs_to_the_sum_whose_time_is_given():
    """Not the memory of the other sum, which takes less."""
    slow = make_record("speedup", 9, estimator="gumbel-softmax", **speedup_figures("step", 9.0, "marginalize"))
    (sentence,) = told([slow, *memories(10, "marginalize", "gumbel-softmax")])
    assert "marginalize takes 9.00 × [8.37, 9.72] the time and 1.64 × the memory (50.0 MiB against 30.5" in sentence
    (sentence,) = told([slow, *memories(10, "marginalize-streamed", "gumbel-softmax")])
    assert "the memory was not measured" in sentence


def test_the_answer_covers_one_preset():
    """The answer names no memory, accuracy or training run of the other preset."""
    small = {"preset": "small"}
    others = [*memories(10, "marginalize-streamed", "gumbel-softmax", **small), *accuracies(10, GOOD, **small)]
    trained = training_records((10,), seeds=(0, 1))
    cost, runs = told([pair(10), *others, *trained])
    assert "the memory was not measured; no accuracy of both was measured with preset default. (" in cost
    assert "preset small" not in cost
    assert runs == "The training runs are of other presets (small): see below."
    cost, runs = told([pair(10, **small), *trained])
    assert runs.startswith("Trained on this machine")


def test_the_answer_gives_the_accuracy_of_labels_alone():
    without = {name: GOOD[name] for name in ("marginalize-streamed", "gumbel-softmax")}
    (with_them,), (alone,) = (told([pair(10), *accuracies(10, values)]) for values in (GOOD, without))
    assert "): marginalize-streamed 90.0 %, gumbel-softmax 80.0 % and labels-only 60.0 %. (" in with_them
    assert "marginalize-streamed 90.0 % and gumbel-softmax 80.0 %. (" in alone
    assert "so short a run" in told([pair(10), *accuracies(10, GOOD, seconds=8.0)])[0]


@pytest.mark.parametrize(
    ("k", "alone", "least"),
    [
        (10, 0.8, 0.4),
        (10, 0.3, 0.2),  # half of it would be less than twice guessing
        (1000, 0.6, 0.3),
        (10, float("nan"), 0.55),
        (10, 0.19, 0.55),  # labels alone have not learnt anything either
        (2, 0.9, 0.75),
    ],
)
def test_the_accuracy_that_counts_as_learnt(k, alone, least):
    assert least_learnt(k, alone) == pytest.approx(least)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({**GOOD, "marginalize-streamed": 0.29}, "marginalize-streamed had not reached half of labels-only"),
        ({**GOOD, "gumbel-softmax": 0.1}, "gumbel-softmax had not reached half of labels-only"),
        (
            {"marginalize-streamed": 0.54, "gumbel-softmax": 0.5},
            "marginalize-streamed and gumbel-softmax had not reached half-way from guessing to always right",
        ),
        (
            {"marginalize-streamed": 0.15, "gumbel-softmax": 0.9, "labels-only": 0.1},
            "marginalize-streamed had not reached half-way from guessing to always right",
        ),
    ],
)
def test_no_accuracy_is_given_that_was_not_learnt(values, why):
    (sentence,) = told([pair(10), *accuracies(10, values)])
    assert f"no accuracy is given, because {why} after 100 s of training (ADGM on {TASK}). (" in sentence
    assert " %" not in sentence


def test_training_runs_too_give_no_accuracy_that_was_not_learnt():
    records = training_records((10,), seeds=(1,))
    for record in records:
        if record["estimator"] == "gumbel-softmax":
            record["validation_accuracy"] = 0.14  # labels-only: 0.3
    (sentence,) = told(records)
    assert "marginalize 90.0 % (1 seed, 109 s); labels-only 30.0 % (1 seed, 109 s); " in sentence
    assert sentence.endswith("; gumbel-softmax did not reach half of labels-only.")
    assert "14.0 %" not in sentence


@pytest.mark.parametrize(
    ("others", "threads", "cases"),
    [
        ([1.0, 0.6, 0.1], 2, "2 of 3 cases were"),
        ([1.0, 0.6, 0.1], 1, None),  # one core is left for one thread
        ([1.5, None], 1, "the one case was"),
        ([0.2, 0.0], 2, None),
        ([None], 2, None),
    ],
)
def test_a_notice_names_cases_whose_cores_other_programs_took(others, threads, cases):
    records = [make_record("step", i, other_cores=cores, threads=threads) for i, cores in enumerate(others)]
    told = busy_notice(records)
    assert bool(told) == bool(cases)
    if cases:
        assert f"Other programs computed while {cases} measured (up to {max(filter(None, others))} of 2" in told


def test_no_notice_about_unmeasured_load():
    assert not busy_notice([make_record("step", other_cores=2.0, threads=2, status="too-large")])


def test_the_answer_has_no_accuracy_of_another_machine():
    """The answer is about the first of two machines; only the second has trained."""
    other = {"run_id": "20260202T030405-fedcba", "machine_cpu": "Another CPU"}
    trained = accuracies(10, GOOD, **other)
    (sentence,) = told([pair(10), make_record("step", 1, step_seconds=1.0, **other), *trained])
    assert "no accuracy of both was measured with preset default" in sentence
    assert " %" not in sentence


def test_the_answer_from_the_bound_alone_or_from_medians_says_so():
    bound = make_record("speedup", estimator="gumbel-softmax", n_classes=10, **speedup_figures("bound", 2.0))
    assert "takes 2.00 × [1.86, 2.16] the time, in the unlabelled bound alone, of gumbel-softmax; " in told([bound])[0]
    steps = [
        make_record("step", estimator=name, step_seconds=seconds)
        for name, seconds in (("marginalize", 0.6), ("marginalize-streamed", 0.4), ("gumbel-softmax", 0.1))
    ]
    expected = "marginalize-streamed takes 4.00 × the time (400 ms against 100 ms, medians, not in pairs) of gumbel-"
    assert expected in told(steps)[0]


def test_pairs_with_two_baselines_are_not_in_the_answer():
    """It is unknown which baseline a pair belongs to; the medians are unambiguous."""
    pairs = [
        make_record("speedup", estimator="gumbel-softmax", **speedup_figures("step", times, baseline))
        for times, baseline in ((3.0, "marginalize"), (2.0, "marginalize-streamed"))
    ]
    assert told(pairs)[0].startswith("These records do not say")


def test_the_answer_has_the_ratio_of_every_backend_and_dtype():
    series = (("torch", "bfloat16", 5.0), ("torch", "float32", 20.0), ("chainer", "float32", 10.0))
    (sentence,) = told([pair(100, times, backend=backend, dtype=dtype) for backend, dtype, times in series])
    assert "takes 5.00 × [" in sentence
    others = "10.0 × in dtype float32, backend chainer and 20.0 × in dtype float32, backend torch."
    assert sentence.endswith(f" The step of the sum takes {others}")
