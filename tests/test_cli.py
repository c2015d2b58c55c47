"""The command line: what it prints, where it writes, and how it refuses."""

import dataclasses
import errno
import os
import re
import shlex
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from plan_fixture import plan_records
from records_fixture import make_record, timing_figures, write_lines, write_saved

import gsbench
from gsbench import cli
from gsbench.cli import main, make_parser, remarks
from gsbench.cli.completion import filled, subparsers
from gsbench.cli.values import figure_path, path
from gsbench.data import glyphs
from gsbench.files import ADVICE
from gsbench.report import FIGURES
from gsbench.settings.run import make_run

RECORDS = [make_record("bound", i, case=str(i)) for i in range(9)]  # no figure is drawn of these


def test_the_command_reports_the_newest_run_and_prints_the_pages_path(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / ".benchmarks" / "a.jsonl", RECORDS)
    assert main(["report"]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed.replace("\\", "/") == "reports/2026-01-02-030400/report.html"
    assert (tmp_path / printed).exists()


def test_the_command_takes_files_a_name_and_a_folder(tmp_path, capsys):
    paths = [
        str(write_lines(tmp_path / "a.jsonl", RECORDS)),
        str(write_saved(tmp_path / "b.json", [{**record, "run_id": "b"} for record in RECORDS])),
    ]
    paths.append(str(write_lines(tmp_path / "c.jsonl", [{**RECORDS[0], "run_id": "c"}])))
    assert main(["report", *paths, "--name", "both", "--output", str(tmp_path / "out")]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "out" / "both" / "report.html")
    assert "run b: 9 records, 9 of them ok\nrun c: 1 record, 1 of them ok\n" in err
    assert len(pd.read_csv(tmp_path / "out" / "both" / "records.csv")) == 19


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["report", "nowhere.json"], "no such file: nowhere.json"),
        (["report", "bad.json"], "bad.json is no gsbench benchmark file: it is not JSON"),
        (["report", "--storage", "nowhere"], "no benchmark run under 'nowhere'"),
        (["report", "good.jsonl", "--name", "a/b"], "must be that of one folder, text of at most 200 bytes"),
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


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["reprot"], "unknown command 'reprot'; known: bench, train, sweep, report, compare, plan"),
        (["reprot"], "; did you mean 'report'?"),
        (["list", "estimator"], "gsbench list: error: unknown kind 'estimator'; known: estimators, models"),
        (["list", "estimator"], "; did you mean 'estimators'?"),
        (["list", "data_sets"], "; did you mean 'data-sets'?"),
        (["completion", "bsh"], "unknown shell 'bsh'; known: bash, zsh, fish, tcsh; did you mean 'bash'?"),
        (["gallery", "--clases", "3"], "unrecognized arguments: '--clases 3'; did you mean '--classes'?"),
        (["doctor", "--jsn=1"], "unrecognized arguments: '--jsn=1'; did you mean '--json'?"),
        (["doctor", "nonsense"], "unrecognized arguments: 'nonsense'"),
    ],
)
def test_a_wrong_name_is_told_the_one_that_is_meant(arguments, told, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert told in capsys.readouterr().err


# Values that no option allows. Some were once read as other values, or ended in tracebacks.
NO_VALUES = ["", "nan", "１０", "1_0", "0x10", "9" * 400, "5,", "{seed}", "\0", "x\udcff"]
NO_PATHS = ["", "a\0b", "a" * 300]
# These take any text; other tests cover them.
ANY_TEXT = {"report": ("name",), "sweep": ("scheduler",)}
BASES = {"compare": ["compare", "a.jsonl", "b.jsonl"], "sweep": ["sweep", "--dry-run"]}


@pytest.mark.parametrize("name", ["train", "sweep", "report", "compare", "plan", "gallery", "doctor"])
def test_every_option_refuses_bad_values_and_is_named(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    tried = 0
    for action in commands()[name]._actions:
        option = next((text for text in action.option_strings if text.startswith("--")), "")
        if action.nargs == 0 or not option or option == "--help" or action.dest in ANY_TEXT.get(name, ()):
            continue
        for value in NO_PATHS if action.type in (path, figure_path) else NO_VALUES:
            try:
                code = main([*BASES.get(name, [name]), f"{option}={value}"])
            except SystemExit as stop:
                code = stop.code
            out, err = capsys.readouterr()
            assert (code, out) == (2, ""), (option, value)
            assert option in err.splitlines()[-1], (option, value, err)
            assert len(err.splitlines()[-1]) < 1000, (option, value)
            tried += 1
    assert tried >= 3
    assert list(tmp_path.iterdir()) == []


def test_a_request_larger_than_memory_is_an_error_without_traceback(probe, capsys):
    def run(given):
        raise MemoryError("Unable to allocate 7.28 TiB")

    probe(run)
    assert main(["probe"]) == 2
    assert capsys.readouterr().err == "gsbench: error: this does not fit into memory: Unable to allocate 7.28 TiB\n"


def test_the_module_runs_and_tells_its_version():
    command = [sys.executable, "-m", "gsbench", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"gsbench {gsbench.__version__}\n"


# All commands

PYTHON = [sys.executable, "-m", "gsbench"]
NAMES = ["bench", "train", "sweep", "report", "compare", "plan", "gallery", "list", "doctor", "completion"]


def commands():
    return subparsers(filled(make_parser()))


def test_help_is_quick_and_imports_no_slow_module():
    slow = ("numpy", "pandas", "matplotlib", "scipy", "chainer", "pooch", "distributed", "torch", "shtab")
    code = (
        "import sys; from gsbench.cli import main\n"
        "try: main(['--help'])\n"
        f"finally: print([m for m in {slow!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"
    for name in NAMES:
        assert f"\n    {name} " in done.stdout
    codes = "exit codes: 0 done, 1 a check or a run failed, 2 unusable arguments or files, 130 stopped"
    assert codes in " ".join(done.stdout.split())


@pytest.mark.parametrize("name", [None, *commands()])
def test_every_help_ends_with_examples(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"] if name else ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "\nexamples:\n  gsbench " in text
    assert "--quiet" in text
    assert "--verbose" in text


def examples():
    epilogs = [make_parser().epilog, *(parser.epilog for parser in commands().values())]
    lines = [line.strip() for epilog in epilogs for line in (epilog or "").splitlines()]
    return [re.split(r"   |  (?=\()| > ", line)[0] for line in lines if line.startswith("gsbench ")]


@pytest.mark.parametrize("line", examples())
def test_the_examples_can_be_read(line):
    arguments = shlex.split(line)[1:]
    if arguments[0] == "COMMAND":
        return
    assert callable(make_parser().parse_args(arguments).run)


def test_names_of_commands_equal_those_in_the_help():
    assert set(NAMES) <= set(commands())


@pytest.fixture
def probe(monkeypatch):
    """A command `probe` that does what a test tells it to do."""

    def install(run):
        def add(commands):
            commands.add_parser("probe").set_defaults(run=run)

        monkeypatch.setattr(cli, "COMMANDS", (add,))

    return install


@pytest.mark.parametrize(
    ("arguments", "heard"),
    [
        (["probe"], ["a remark", "a failure"]),
        (["-q", "probe"], ["a failure"]),
        (["probe", "--quiet"], ["a failure"]),
        (["--verbose", "probe"], ["a remark", "a detail", "a failure"]),
        (["probe", "-v"], ["a remark", "a detail", "a failure"]),
    ],
)
def test_quiet_and_verbose_stand_before_the_command_or_after_it(probe, capsys, arguments, heard):
    def run(given):
        remarks.remark("a remark")
        remarks.detail("a detail")
        remarks.failure("a failure")
        remarks.progress_bar(total=3, desc="bar").close()
        print("the result")

    probe(run)
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == "the result\n"
    assert [line for line in err.splitlines() if line.startswith("a ")] == heard
    assert ("bar" in err) == ("a remark" in heard)
    assert remarks.log.handlers == []


def test_errors_are_a_line_and_with_verbose_a_traceback(probe, capsys):
    def run(given):
        raise ValueError("tau must be > 0")

    probe(run)
    for arguments in (["probe"], ["-q", "probe"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err == "gsbench: error: tau must be > 0\n"
    assert main(["probe", "-v"]) == 2
    error = capsys.readouterr().err
    assert "Traceback (most recent call last)" in error
    assert error.endswith("gsbench: error: tau must be > 0\n")


@pytest.mark.parametrize("arguments", [["-q", "probe", "-v"], ["-v", "probe", "-q"], ["probe", "-q", "-v"]])
def test_quiet_and_verbose_exclude_each_other(probe, capsys, arguments):
    probe(lambda given: 0)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2


def test_the_code_of_a_command_is_the_programs(probe):
    for returned, code in ((None, 0), (0, 0), (1, 1), (3, 3)):
        probe(lambda given, returned=returned: returned)
        assert main(["probe"]) == code


def test_ctrl_c_is_130_and_no_traceback(probe, capsys):
    def run(given):
        raise KeyboardInterrupt

    probe(run)
    assert main(["probe"]) == 130
    assert capsys.readouterr().err == "gsbench: stopped\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and signals are POSIX's")
def test_a_reader_that_goes_away_leaves_no_traceback():
    process = subprocess.Popen([*PYTHON, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


def test_a_connection_that_breaks_is_an_error_and_no_closed_pipe(probe, capsys):
    def run(given):
        raise BrokenPipeError("the scheduler went away")

    probe(run)
    assert main(["probe"]) == 2
    assert capsys.readouterr().err == "gsbench: error: the scheduler went away\n"


def test_help_wraps_its_paragraphs_and_leaves_its_examples(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    text = capsys.readouterr().out
    paragraphs = text[text.index("conditions:") :]
    assert all(len(line) < 60 for line in paragraphs.splitlines())
    assert "\nmetrics: " in paragraphs
    assert "\n  gsbench compare old/ new/ --fail-if 'validation_accuracy<90%' --require-all --json\n" in text


# Completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_completion_knows_commands_and_their_options(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("gsbench", *NAMES, "adversarial-radius" if shell != "tcsh" else "train", "probabilities"):
        assert word in script, word


ASKING = {  # shell → commands that print how it would complete <words> after it has read <script>
    "bash": """source <script>
    COMP_WORDS=(<words>); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    $(complete -p gsbench | sed 's/.*-F \\([^ ]*\\).*/\\1/')
    echo "${COMPREPLY[@]}"
    """,
    "fish": "source <script>; complete -C '<words>' | string replace -r '\\t.*' ''; true",
}


@pytest.mark.parametrize(
    "shell",
    [pytest.param(s, marks=pytest.mark.skipif(shutil.which(s) is None, reason=f"there is no {s}")) for s in ASKING],
)
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("gsbench gallery --pro", ["--probabilities"]),
        ("gsbench list mod", ["models"]),
        ("gsbench report a.", ["a.jsonl"]),
        ("gsbench train --adversarial-", ["--adversarial-radius"]),
        ("gsbench train --estimator str", ["straight-through"]),
        ("gsbench train --preset tu", ["tuned"]),
        ("gsbench sweep --estimators labels", ["labels-only"]),
        ("gsbench plan --estimators la", []),
        ("gsbench bench --benc", []),
        ("gsbench bench --cl", ["--classes", "--classifier-units", "--class-layers"]),
        ("gsbench bench --estimators gumb", ["gumbel-softmax", "gumbel-rao"]),
        ("gsbench bench --preset tu", ["tuned"]),
    ],
)
def test_a_shell_completes(tmp_path, capsys, shell, words, completed):
    main(["completion", shell])
    script = tmp_path / f"gsbench.{shell}"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "a.jsonl").touch()
    ask = ASKING[shell].replace("<script>", str(script)).replace("<words>", words)
    options = {"capture_output": True, "text": True, "check": True, "timeout": 60, "cwd": tmp_path}
    done = subprocess.run([shell, "-c", ask], **options)
    assert set(completed) <= set(done.stdout.split())
    assert "labels-only" not in done.stdout or "labels-only" in completed
    assert ("a.jsonl" in done.stdout) == ("a.jsonl" in completed)


# The disk

TINY_RUN = "train --preset small --classes 2 --labels 2 --batch 10 --threads 1 --steps 2 --test-draws 1"
TINY_SETTINGS = {"n_classes": 2, "labelled_per_class": 2, "batch": 10, "threads": 1, "steps": 2, "test_draws": 1}
KEY = make_run({"preset": "small", **TINY_SETTINGS}).key
WRITING = {  # commands that write; OUT is replaced by a path in the test's folder
    "report": ("report a.jsonl --name x --output OUT", "x"),
    "gallery": ("gallery --classes 2 --taus 1 --draws 1 --output OUT", "gallery.png"),
    "plan": ("plan --classes 10 --figure OUT/plan.png p.jsonl", "plan.png"),
    "compare": ("compare a.jsonl b.jsonl --figure OUT/ratios.svg", "ratios.svg"),
    "train": (f"{TINY_RUN} --runs OUT", "record.jsonl"),
}


def texts(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run_on(tmp_path, monkeypatch, capsys):
    """Runs a command of `WRITING` and returns its exit code and its output."""
    monkeypatch.chdir(tmp_path)
    write_lines(tmp_path / "a.jsonl", [make_record("step", **timing_figures("step", 0.1))])
    write_lines(tmp_path / "b.jsonl", [make_record("step", run_id="b", **timing_figures("step", 0.2))])
    write_lines(tmp_path / "p.jsonl", plan_records(estimators=["marginalize-streamed"]))
    undrawn = dataclasses.replace(FIGURES["image_grids"], name="steps_per_second", draw=lambda *_: None)
    monkeypatch.setitem(FIGURES, "steps_per_second", undrawn)  # one figure, the gallery, is enough
    monkeypatch.setattr(glyphs, "TRAIN_IMAGES", 0)  # the fewest, because they are made at once
    monkeypatch.setattr(glyphs, "TEST_IMAGES", 0)
    glyphs.load_glyphs(2)
    (tmp_path / "out").mkdir()

    def run(name):
        code = main(["--quiet", *shlex.split(WRITING[name][0].replace("OUT", "out"))])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
@pytest.mark.parametrize("name", WRITING)
def test_a_disk_that_fails_is_one_line_that_names_the_file_and_old_files_stay(
    tmp_path, monkeypatch, run_on, name, number
):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    old = {"out/plan.png": b"old", "out/ratios.svg": b"old", "out/gallery.csv": b"old", "out/x/report.html": b"old"}
    for name_of_file, content in old.items():
        (tmp_path / name_of_file).parent.mkdir(exist_ok=True)
        (tmp_path / name_of_file).write_bytes(content)
    before = texts(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    code, out, err = run_on(name)
    assert code == 2
    assert re.fullmatch(rf"gsbench: error: (\S*){WRITING[name][1]} cannot be written: {os.strerror(number)}; .*\n", err)
    assert ADVICE[number] in err
    assert ("Predicted" in out) == (name == "plan")  # their measurement may have taken a minute
    after = texts(tmp_path)
    assert {path for path in after if path not in before} == ({f"out/{KEY}/lock"} if name == "train" else set())
    assert {path: after[path] for path in before} == before
    assert not list(tmp_path.rglob(".gsbench-*"))


@pytest.mark.parametrize("name", WRITING)
def test_a_folder_in_place_of_a_file_is_an_error_and_nothing_is_written(tmp_path, run_on, name):
    place = {"report": "x/report.html", "train": f"{KEY}/record.jsonl"}.get(name, WRITING[name][1])
    (tmp_path / "out" / place).mkdir(parents=True)
    code, _, err = run_on(name)
    assert code == 2
    assert re.match(rf"gsbench: error: \S*{place}( cannot be written)?: ", err)
    assert "folder" in err
    assert "remove it" in err
    assert "Traceback" not in err
    left = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left - {f"{KEY}/lock"} == set()


@pytest.mark.parametrize("name", WRITING)
def test_a_file_in_place_of_a_folder_is_told(tmp_path, run_on, name):
    (tmp_path / "out").rmdir()
    (tmp_path / "out").write_text("mine")
    code, _, err = run_on(name)
    assert code == 2
    assert re.match(r"gsbench: error: out\S*( cannot be written)?: ", err)
    assert "there is no folder 'out'" in err or "a file has the name of a folder that is needed" in err
    assert (tmp_path / "out").read_text() == "mine"
