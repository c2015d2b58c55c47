"""The command line: what it prints, where it writes, and how it refuses."""

import subprocess
import sys

import pandas as pd
import pytest
from records_fixture import make_record, write_lines, write_saved

import gsbench
from gsbench.cli import main

RECORDS = [make_record("bound", i, case=str(i)) for i in range(9)]  # no figure is drawn of these


def test_the_command_reports_the_newest_run_and_prints_the_pages_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / ".benchmarks" / "a.jsonl", RECORDS)
    assert main(["report"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed.replace("\\", "/") == "reports/2026-01-02-030400/report.md"
    assert (tmp_path / printed).exists()


def test_the_command_takes_files_a_name_and_a_folder(tmp_path, capsys):
    paths = [
        str(write_lines(tmp_path / "a.jsonl", RECORDS)),
        str(write_saved(tmp_path / "b.json", [{**record, "run_id": "b"} for record in RECORDS])),
    ]
    assert main(["report", *paths, "--name", "both", "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "both" / "report.md")
    assert len(pd.read_csv(tmp_path / "out" / "both" / "records.csv")) == 18


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["report", "nowhere.json"], "no such file: nowhere.json"),
        (["report", "bad.json"], "bad.json is no gsbench benchmark file: it is not JSON"),
        (["report", "--storage", "nowhere"], "no benchmark run under 'nowhere'"),
        (["report", "good.jsonl", "--name", "a/b"], "must be that of one folder"),
        (["report", "good.jsonl", "--output", "bad.json"], "bad.json"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, why):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("no")
    write_lines(tmp_path / "good.jsonl", RECORDS)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gsbench: error: ")
    assert why in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["dance"], ["report", "--nonsense"]])
def test_a_wrong_command_line_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_module_runs_and_tells_its_version():
    command = [sys.executable, "-m", "gsbench", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"gsbench {gsbench.__version__}\n"


def test_the_command_line_does_not_load_what_it_does_not_need():
    code = "import sys, gsbench.cli; print([m for m in ('pandas', 'matplotlib', 'chainer') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"
