"""Every module can be imported, and every command does its work once, `gsbench bench` too: what the Pythons between the
oldest and the newest are tested for.
"""

import importlib
import json
import pkgutil
import subprocess
import sys

import gsbench
from gsbench.backends import BACKENDS
from gsbench.cli import COMMANDS, main

TINY = ["--preset", "small", "--threads", "1"]
BENCH = [*TINY, "--classes", "2,3", "--batch", "5", "--dataset", "synthetic", "--estimators", "gumbel-softmax",
         "--benchmark-max-time", "0.05", "--benchmark-min-rounds", "3", "-k", "test_step or test_memory"]  # fmt: skip
RUN = [*TINY, "--classes", "2", "--batch", "10", "--labels", "2", "--steps", "2", "--evaluate-every", "2",
       "--validation-images", "20", "--test-draws", "1"]  # fmt: skip


def test_every_module_can_be_imported():
    found = [module.name for module in pkgutil.walk_packages(gsbench.__path__, "gsbench.")]
    assert len(found) > 100
    lacking = [f"gsbench.backends.{name}." for name, source in BACKENDS.items() if not source.is_installed]
    for name in found:
        if not name.startswith(tuple(lacking)):
            importlib.import_module(name)


def test_a_benchmark_and_every_command_do_their_work(capsys, tmp_path):
    given = set()

    def command(name, *words, codes=(0,)):
        given.add(name)
        assert main([name, *map(str, words)]) in codes, capsys.readouterr().err
        return capsys.readouterr().out

    bench = [sys.executable, "-m", "gsbench", "bench", *BENCH]
    given.add("bench")
    ended = subprocess.run(bench, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (file,) = (tmp_path / ".benchmarks" / "records").glob("*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(records) == 4
    assert {(record["group"], record["status"]) for record in records} == {("step", "ok"), ("memory", "ok")}
    assert "report.html" in command("report", file, "--output", tmp_path, "--name", "r")
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 2
    assert "gumbel-softmax" in page
    other = file.with_name("other.jsonl")
    other.write_text(file.read_text().replace(records[0]["run_id"], "other"))
    assert "step_seconds" in command("compare", file, other)
    assert "gumbel-softmax" in command("plan", file, "--classes", "4", "--estimators", "gumbel-softmax")

    command("train", *RUN, "--runs", tmp_path / "train")
    command("sweep", *RUN, "--runs", tmp_path / "sweep", "--workers", "1")
    trained, swept = (
        json.loads(next((tmp_path / name).rglob("record.jsonl")).read_text()) for name in ("train", "sweep")
    )
    assert (trained["status"], trained["step"]) == ("ok", 2)
    assert trained["parameters_checksum"] == swept["parameters_checksum"]

    assert "gumbel-softmax" in command("list")
    assert "backend chainer: " in command("doctor", codes=(0, 1))  # 1 where something is wrong with this machine
    assert "gsbench" in command("completion", "bash")
    command("check", "gsbench.version", codes=(2,))  # which registers nothing; what it would, other tests would find
    command("gallery", "--classes", "3", "--taus", "1", "--draws", "2", "--output", tmp_path / "gallery")
    assert (tmp_path / "gallery" / "gallery.svg").exists()
    assert len(given) == len(COMMANDS)
