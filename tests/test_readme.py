"""The commands and options that the README and the pages name exist. (`pytest docs` runs the pages' Python.)"""

import importlib
import re
import shlex
from pathlib import Path
from unittest.mock import Mock

import pytest
from options import add_options

from gsbench.cli import main, make_parser
from gsbench.records.frame import make_curves, make_frame
from gsbench.records.reading import read_files
from gsbench.report.verdict import verdict_sentence, verdict_table, verdicts

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
COMMANDS = sorted({line.strip() for path in PAGES for line in re.findall(r"^ *gsbench .*$", path.read_text(), re.M)})
# The commands that need only a kept file.
QUICK = [command for command in COMMANDS if command.startswith("gsbench plan reports/")]


def benchmark_options():
    """The options that gsbench adds to `pytest bench/`, without their dashes."""
    parser = Mock()
    add_options(parser)
    return [call.args[0].removeprefix("--") for call in parser.getgroup.return_value.addoption.call_args_list]


def test_the_commands_name_environments_that_exist():
    tox = (ROOT / "tox.ini").read_text()
    for environment in set(re.findall(r"tox (?:-q )?-e (\w+)", README)):
        assert f"[testenv:{environment}]" in tox, environment


def test_the_gate_runs_the_test_command():
    command = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox -p 2"
    assert f"    {command}\n" in README
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(command)


def test_the_tables_have_every_option_of_the_benchmark():
    named = re.findall(r"^\| `--([\w-]+)", (ROOT / "docs/reference/benchmark.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(benchmark_options())


def test_the_figures_and_pages_that_are_linked_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_shown_can_be_given(command):
    assert callable(make_parser().parse_args(shlex.split(command)[1:]).run)


def test_the_benchmark_s_options_that_are_shown_exist():
    options = benchmark_options()
    for path in PAGES:
        for line in re.findall(r"^ *(?:pytest bench/|gsbench bench).*$", path.read_text(), re.MULTILINE):
            for option in re.findall(r" --([\w-]+)", line):
                assert option.startswith("benchmark-") or option in options, (path.name, option)


@pytest.mark.parametrize("command", QUICK)
def test_a_quick_command_that_is_shown_works(command, tmp_path, monkeypatch, capsys):
    (tmp_path / "reports").symlink_to(ROOT / "reports", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out


def test_the_verdict_of_the_readme_is_that_of_the_kept_report():
    records = read_files([ROOT / "reports" / "verdict" / "run.jsonl"]).records
    frame = make_frame(records)
    found = verdicts(frame, make_curves(records, frame))
    table = verdict_table(frame, found)
    for (k,), _, *cells in table.rows:
        use, exact, draw = (f"{time}, {memory}, {accuracy}" for _, time, accuracy, memory in cells)
        assert f"| {k} | `{cells[0][0]}` | {use} | {exact} (`{cells[1][0]}`) | {draw} |" in README
    assert verdict_sentence(found).partition(" (ADGM")[0] in " ".join(README.split())


def test_the_reference_sets_indices_below_and_above_the_line(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    rendered = importlib.import_module("rendering").rendered
    formula = rendered("Σ_{k ∈ C} q_k f(e_k), p^{D−s}(S)").strip()
    assert formula == r"Σ\ :sub:`k ∈ C`\  q\ :sub:`k`\  f(e\ :sub:`k`\ ), p\ :sup:`D−s`\ (S)"
    assert rendered("log_q_y and n_classes, gsbench.x_y").strip() == r"log\_q\_y and n\_classes, gsbench.x\_y"
    assert rendered("`q_y`").strip("\n") == r"\ ``q_y``\ "
