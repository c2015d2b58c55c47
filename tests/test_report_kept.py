"""The kept reports, made anew from their records by the command that docs/explanation/reference-report.md shows."""

import csv
import html
import io
import json
import re
from pathlib import Path

import pytest
from report_fixture import no_png  # noqa: F401 (a fixture)

from gsbench.cli import main

REPORTS = Path(__file__).parent.parent / "reports"
KEPT = sorted(page.parent.name for page in REPORTS.glob("*/report.html"))
QUICK = "temperature"  # the others take 15 s each


def words_of(page):
    """The words of a page, without its figures, styles and scripts."""
    without = re.sub(r"<(svg|style|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", without)).split()


def numbers_of(page):
    """Figure → the rows of its CSV, with numbers as numbers."""
    data = json.loads(re.search(r'<script type="application/json" id="drawn">(.*?)</script>', page, re.DOTALL)[1])
    return {name: [list(map(_number, row)) for row in csv.reader(io.StringIO(rows))] for name, rows in data.items()}


def _number(cell):
    try:
        return pytest.approx(float(cell), rel=1e-9)
    except ValueError:
        return cell


def test_every_kept_report_has_its_records():
    assert len(KEPT) == 7
    assert all(list((REPORTS / name).glob("*.jsonl")) for name in KEPT)


@pytest.mark.usefixtures("no_png")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == QUICK else pytest.mark.long) for name in KEPT]
)
def test_a_kept_report_made_anew_shows_the_same(name, tmp_path):
    assert main(["report", str(REPORTS / name), "--name", name, "--output", str(tmp_path)]) == 0
    kept, anew = (folder.joinpath(name, "report.html").read_text() for folder in (REPORTS, tmp_path))
    assert words_of(anew) == words_of(kept)
    assert numbers_of(anew) == numbers_of(kept)
