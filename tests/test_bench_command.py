"""`gsbench bench`: the same cases as `pytest bench/`, from any folder, whatever settings of pytest lie there."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from gsbench.cli import main
from gsbench.cli.bench import described, folder

ROOT = Path(__file__).parent.parent
CASES = ["--classes", "2,3", "--preset", "small", "--collect-only", "-q"]


@pytest.fixture
def given(monkeypatch):
    """Runs the command with pytest replaced, which ends with `code`. Returns its exit code and pytest's arguments."""

    def run(*arguments, code=0):
        def end(module, run_name):
            assert (module, run_name) == ("pytest", "__main__")
            raise SystemExit(code)

        monkeypatch.setattr(runpy, "run_module", end)
        monkeypatch.setattr(sys, "argv", sys.argv)
        monkeypatch.setattr(sys, "path", sys.path[:])
        return main([*arguments]), sys.argv[1:]

    return run


def test_arguments_go_on_as_they_were_given(given):
    words = ["--classes", "2,3", "-k", "a or b", "-q", "--estimators=gumbel-softmax(tau=0.5)", "--", "-v", "", "--co"]
    code, passed = given("bench", *words)
    assert code == 0
    assert passed[-len(words) :] == words
    assert str(folder()) in passed
    assert "--benchmark-autosave" in passed
    assert "--benchmark-autosave" not in given("bench", "--collect-only")[1]
    assert given("-q", "bench")[1][-1] == "-q"
    assert given("--verbose", "bench")[1][-1] == "-v"


@pytest.mark.parametrize(("pytests", "ours"), [(0, 0), (1, 1), (2, 130), (3, 3), (4, 2), (5, 2), (None, 0)])
def test_exit_codes_mean_what_those_of_other_commands_do(given, pytests, ours):
    assert given("bench", code=pytests)[0] == ours


def test_the_options_are_the_benchmark_s_own(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--classes", "2", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    options = [option["option"] for option in described()]
    assert {"--classes", "--estimators", "--drop-x", "--peers"} <= set(options)
    for option in options:
        assert f"  {option} " in text
    assert "default: 10,20,50,100,200" in " ".join(text.split())
    assert "--junit" not in text
    assert len(text.splitlines()) < 150


def bench(cwd, *arguments, code=0):
    command = [sys.executable, "-m", "gsbench", "bench", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_cases_are_those_of_pytest_and_what_lies_in_the_folder_changes_nothing(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('of the user')")
    (tmp_path / "options.py").write_text("raise RuntimeError('of the user')")
    (tmp_path / "data").mkdir()
    command = [sys.executable, "-m", "pytest", "bench/", *CASES]
    expected = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout
    cases = re.findall(r"^bench/.*", expected, re.M)
    assert len(cases) > 30
    before = {*folder().rglob("*")}
    found = re.findall(r"^bench/.*", bench(tmp_path, *CASES, "--data-dir", "data"), re.M)
    assert found == cases
    assert not {".pytest_cache", "__pycache__"} & {path.name for path in tmp_path.iterdir()}
    new = [path for path in {*folder().rglob("*")} - before if "pytest" in path.name]
    assert new == []


@pytest.mark.slow
def test_what_is_wrong_with_an_argument_is_told(tmp_path):
    assert "class counts are integers >= 2 such as 10,50,333, got '1'" in bench(tmp_path, "--classes", "1", code=2)
    told = bench(tmp_path, "--class", "10", "--tb", "short", "--durations=3", code=2)
    assert "has no option '--class'; did you mean '--classes'?" in told
    assert told.count("did you mean") == 1
    assert list(tmp_path.iterdir()) == []
    chosen = ["--preset", "small", "--classes", "2", "-k", "nosuch"]
    assert "no case was chosen: gsbench bench --collect-only lists the cases" in bench(tmp_path, *chosen, code=2)
