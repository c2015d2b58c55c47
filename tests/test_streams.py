"""A stream without Unicode prints readable replacements and never raises a UnicodeEncodeError."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from records_fixture import make_record, write_lines

from gsbench.cli import main, make_parser
from gsbench.cli.completion import subparsers
from gsbench.cli.streams import READABLE, make_readable, readable, readable_streams

PACKAGE = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Σ_k q_k ≥ 1 − ε", "sum_k q_k >= 1 - epsilon"),
        ("1.02 × [0.9, 1.1]…", "1.02 x [0.9, 1.1]..."),
        ("τ, Τ, φ, ∂f → 0", "tau, Tau, phi, df -> 0"),
        ("Maaløe, Élan, ŷ", "Maaloe, Elan, y"),
        ("½ |w|² ‖x‖ ± 3 °", "1/2 |w|2 ||x|| +- 3  degrees"),
        ("10 µs, μ", "10 mus, mu"),
        ("p̄ ₁ ᵀ", "p 1 T"),
        ("一", "\\u4e00"),
    ],
)
def test_replacements(text, told):
    assert "".join(c if c.isascii() else readable(c) for c in text) == told


def test_all_that_the_package_prints_has_a_reading():
    """Tests every character in the source. None of them needs an escape, as a Chinese character would."""
    files = [*(PACKAGE / "gsbench").rglob("*.py"), *(PACKAGE / "bench").rglob("*.py")]
    characters = {c for file in files for c in file.read_text(encoding="utf-8") if not c.isascii()}
    assert len(characters) > 30
    for character in sorted(characters):
        assert "\\" not in readable(character), character


def test_replacements_leave_json_valid():
    assert not {'"', "\\", "\n"} & set("".join(map(readable, READABLE)))
    assert all(map(str.isascii, READABLE.values()))


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", "τ × 2 → é".encode()),
        ("cp1252", b"tau \xd7 2 -> \xe9"),
        ("latin-1", b"tau \xd7 2 -> \xe9"),
        ("ascii", b"tau x 2 -> e"),
        ("cp437", b"\xe7 x 2 -> \x82".replace(b"\xe7", "τ".encode("cp437"))),
    ],
)
def test_characters_of_the_encoding_stay(encoding, written):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    assert make_readable(stream)
    stream.write("τ × 2 → é")
    stream.flush()
    assert stream.buffer.getvalue() == written


@pytest.mark.parametrize(("encoding", "written"), [("utf-8", b"a\xff"), ("ascii", b"a\xff"), ("utf-16-le", b"a\0")])
def test_the_bytes_of_a_path_stay_where_they_can(encoding, written):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    make_readable(stream)
    stream.write(os.fsdecode(b"a\xff"))
    stream.flush()
    assert stream.buffer.getvalue().startswith(written)


def test_a_handler_that_the_user_chose_stays():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    assert not make_readable(stream)
    assert not make_readable(None)  # a closed one
    assert not make_readable(io.StringIO())


def test_streams_are_as_before_in_the_end(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)
    with readable_streams():
        print("τ")
    assert stream.errors == "strict"
    with pytest.raises(UnicodeEncodeError):
        stream.write("τ")


@pytest.fixture
def printed(monkeypatch):
    """The bytes that a command prints on stdout and stderr in an encoding, and its exit code."""

    def run(arguments, encoding="ascii"):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2)]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", streams[0])
            patch.setattr(sys, "stderr", streams[1])
            try:
                code = main(arguments)
            except SystemExit as stop:
                code = stop.code
        return code, *(stream.buffer.getvalue() for stream in streams)

    return run


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", [[], *([name] for name in subparsers(make_parser()))], ids=" ".join)
def test_every_help(printed, command, encoding):
    code, out, err = printed([*command, "--help"], encoding)
    assert (code, err) == (0, b"")
    assert b"\\u" not in out
    assert out.decode(encoding).startswith("usage: gsbench")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["list"], 0, "sum_k q_k f(e_k), exactly, with all K*B rows in one"),
        (["list", "estimators"], 0, "softmax((log q + g)/tau)"),
        (["list", "presets"], 0, "a falling tau"),
        (["gallery", "--taus", "0.5", "--draws", "2"], 0, "mean at tau = 0.5"),
        (["gallery", "--taus", "τ"], 2, "such as 0.1,1,5, got 'tau'"),
        (["gallery", "--draws", "1000000000000000"], 2, "--draws x --classes = 1,000,000,000,000,000 x 6 need about"),
        (["compare", "a.jsonl", "b.jsonl"], 0, "1.00 x"),
        (["train", "--estimator", "Σ"], 2, "--estimator: unknown estimator 'sum'; known: marginalize"),
        (["train", "--estimator", "marginalize(τ=1)"], 2, "has no setting 'tau=1'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_results_and_errors(tmp_path, monkeypatch, printed, arguments, code, told):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        write_lines(tmp_path / f"{name}.jsonl", [make_record("step", step_seconds=0.1)])
    found, out, err = printed(arguments)
    assert found == code, err
    assert told in re.sub(r"\s+", " ", (out + err).decode("ascii"))
    assert b"\\u" not in out + err


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("arguments", [["list", "--json"], ["gallery", "--taus", "1", "--json"]], ids=" ".join)
def test_json_is_the_same_in_every_encoding(tmp_path, monkeypatch, printed, arguments):
    monkeypatch.chdir(tmp_path)
    results = [json.loads(printed(arguments, encoding)[1]) for encoding in ("utf-8", "cp1252", "ascii")]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}],
)
def test_a_process_of_its_own(environment):
    command = [sys.executable, "-m", "gsbench", "list", "estimators"]
    others = {name: value for name, value in os.environ.items() if name != "PYTHONIOENCODING"}  # tox sets it
    done = subprocess.run(command, capture_output=True, env={**others, **environment}, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"g)/tau)" in done.stdout
