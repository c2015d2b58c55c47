"""Tables for a terminal: they say what their cells say, and are no wider than the terminal."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import pytest
from rich.cells import cell_len

from gsbench.cli import main
from gsbench.records.reading import read_files
from gsbench.report.blocks import Table
from gsbench.report.glance import glance_text
from gsbench.report.verdict import verdict_text
from gsbench.report.writers.terminal import wrapped, written

REPORTS = Path(__file__).parent.parent / "reports"
NAMES = ["gumbel-softmax", "sum-and-relax(mass=0.99,most=8)", "marginalize-streamed"]
LINES = ("step", "speed-up")
WIDE = Table(["K", "", *NAMES], [[("10",), LINES, *[("1 ms", "1.00 × [0.9, 1.1]")] * 3]] * 2, "ADGM", keys=2)


def widest(text):
    return max(map(cell_len, text.splitlines()))


def blocks(text):
    return [part.splitlines() for part in text.split("\n\n")]


def test_a_plain_table_has_a_line_of_hyphens_under_its_headers():
    assert written(Table(["K", "m"], [[10, "–"], [100, "1"]])) == "K    m\n---- -\n10   –\n100  1"


def test_a_row_of_several_lines_has_a_line_under_it_and_no_hidden_character_is_shown():
    table = Table(["a\x1b", "b"], [[("1", "2\n"), "x"], ["3", ("[red]y[/]", "z")]], "Title\t")
    assert written(table) == "\n".join([
        "Title\\t",
        "a\\x1b  b",
        "------ ---------",
        "1      x",
        "2\\n",
        "------ ---------",
        "3      [red]y[/]",
        "       z",
    ])  # fmt: skip


def test_a_table_that_fits_is_not_split():
    ((title, head, *_),) = blocks(written(WIDE, 120))
    assert (title, head.split()) == ("ADGM", ["K", *NAMES])


def test_a_table_with_keys_that_is_too_wide_has_some_of_its_columns_under_the_others():
    shown = written(WIDE, 80)
    (title, head, *lines), second = blocks(shown)
    assert (title, head.split(), second[0].split()) == ("ADGM", ["K", *NAMES[:2]], ["K", NAMES[2]])
    assert re.split("  +", lines[1]) == ["10", "step", "1 ms", "1 ms"]
    assert re.split("  +", lines[2]) == ["", "speed-up", *["1.00 × [0.9, 1.1]"] * 2]
    assert len(second) == len(lines) + 1
    assert widest(shown) <= 80


def test_columns_that_belong_together_are_not_parted():
    heads = [f"{state} {name}" for state in "ab" for name in ("bias", "variance", "time")]
    table = Table(["K", *heads], [["10", *["0.123"] * 6]], keys=1, together=3)
    assert [re.split("  +", part[0])[1:] for part in blocks(written(table, 50))] == [heads[:3], heads[3:]]


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("keys", [0, 1])
def test_no_line_is_wider_than_the_terminal_and_no_text_is_lost(width, keys):
    cells = ["a sentence of some words, to be wrapped", "marginalize-streamed", "αβγ " * 9, "x" * 90]
    shown = written(Table(["K", "name", "text", "long"], [cells], "a title of " + "many words " * 12, keys=keys), width)
    assert widest(shown) <= width
    for cell in cells:
        rest = iter(re.sub(r"\s|-", "", shown))
        assert all(c in rest for c in re.sub(r"\s|-", "", cell))  # in this order


def test_a_name_stays_whole_if_there_is_room_beside_it():
    table = Table(["estimator", "told"], [["marginalize-streamed", "some words " * 9]])
    assert "marginalize-streamed  some words" in written(table, 60)


def test_the_width_is_the_terminals(monkeypatch):
    monkeypatch.setenv("COLUMNS", "44")
    assert 30 < widest(written(WIDE)) <= 44
    assert 30 < widest(wrapped("some words " * 20)) <= 44


@pytest.mark.parametrize("report", ["verdict", "reference", "backends"])
def test_verdict_and_glance_of_a_kept_report_fit_80_columns(report):
    records = read_files([REPORTS / report]).records
    assert widest(verdict_text(records)) <= 80
    assert widest(glance_text(records)) <= 80


@pytest.mark.parametrize(
    ("command", "least"),
    [
        ("compare {reference} {backends}", 20),
        ("gallery --classes 20 --taus 0.01,0.1,1,10,100", 40),
        ("list estimators", 20),
        ("doctor", 15),
    ],
)
def test_what_a_command_prints_fits_80_columns(command, least, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reference").symlink_to(REPORTS / "reference")
    (tmp_path / "backends").symlink_to(REPORTS / "backends")
    main(shlex.split(command.format(reference="reference", backends="backends")))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= least
    assert [line for line in lines if cell_len(line) > 80] == []


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "JUPYTER_COLUMNS"])
def test_the_environment_changes_nothing_but_the_width(monkeypatch, variable):
    plain = written(WIDE, 50)
    monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("TERM", "dumb")
    assert written(WIDE, 50) == plain
    assert "\x1b" not in plain


def test_a_notebook_gets_the_text_too(monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert written(Table(["K", "m"], [[10, "–"]])) == "K   m\n--- -\n10  –"


def test_names_beside_a_long_header_stay_whole():
    head = ["estimator", "a header of so many words that it is longer than what it stands above", "told"]
    assert "marginalize-streamed" in written(Table(head, [["marginalize-streamed", "–", "some words " * 9]]), 60)


def test_split_tables_keep_their_keys():
    used = dataclasses.replace(WIDE, headers=["", *WIDE.headers], rows=[["", *row] for row in WIDE.rows], keys=3).used()
    assert (used.headers, used.keys) == (WIDE.headers, 2)
