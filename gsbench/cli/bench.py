"""`gsbench bench` runs pytest on the benchmark's folder. gsbench itself imports neither."""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gsbench.cli.parser import CommandParser
from gsbench.cli.values import path
from gsbench.process import STOPPED
from gsbench.values import did_you_mean

EXAMPLES = """examples:
  gsbench bench
  gsbench bench --preset small --classes 10,30,100 -k "not gradient"
  gsbench bench --classes 7,333 --estimators 'marginalize,gumbel-softmax(tau=0.5)'
  gsbench bench --collect-only                       (list the cases)

All of pytest's and pytest-benchmark's options work as well: -k chooses cases by name, --benchmark-max-time sets the
seconds of a case, --benchmark-storage the folder. Records go to .benchmarks in the working folder, each as soon as it
is measured. The session is also saved there, as by --benchmark-autosave. No settings file of pytest's is read.
exit codes: 0 done, 1 a case failed, 2 unusable arguments or no case of that name, 3 an error of pytest, 130 stopped by
Ctrl-C
"""
UNUSABLE, NO_CASE = 4, 5  # pytest's exit codes
CODES = {2: STOPPED, UNUSABLE: 2, NO_CASE: 2}  # 2: it was stopped


def add_bench(commands: Any) -> None:
    """`gsbench bench`."""
    parser = commands.add_parser(
        "bench",
        help="run the benchmark, with its own options and pytest's",
        description="Measures time, memory, accuracy and the quality of gradients of each estimator at each class "
        "count, and saves the records. `gsbench report` shows them.",
        epilog=EXAMPLES,
        fill=fill,
        passes_on=True,
    )
    parser.set_defaults(run=run_bench)


def fill(parser: CommandParser) -> None:
    """The benchmark's own options, for --help and completion. The benchmark itself reads and checks them."""
    group = parser.add_argument_group("what is measured")
    of_all_commands = {text for action in parser._actions for text in action.option_strings}
    for option in described():
        if option["option"] in of_all_commands:
            continue
        kind = path if option["metavar"] in ("DIR", "FILE") else str
        group.add_argument(
            option["option"], type=kind, metavar=option["metavar"], help=option["help"].replace("%", "%%")
        )


@functools.cache
def described() -> list[dict[str, str]]:
    """The benchmark's own options. Another process reads them, because gsbench does not import the benchmark."""
    command = [sys.executable, str(folder() / "described.py")]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found


def folder() -> Path:
    """The benchmark's folder: inside an installed package, beside the package in a source tree."""
    package = Path(__file__).resolve().parents[1]
    inside, beside = package / "bench", package.parent / "bench"
    return inside if inside.is_dir() else beside


def run_bench(arguments: argparse.Namespace) -> int:
    """Runs pytest in this process, so that Ctrl-C, standard streams and memory are as under the command `pytest`."""
    bench = folder()
    # A list of the cases has nothing to save, of which pytest-benchmark would warn.
    saving = [] if "--collect-only" in arguments.passed_on else ["--benchmark-autosave"]
    loudness = ["-q"] * arguments.quiet + ["-v"] * arguments.verbose
    sys.path.insert(0, str(bench))
    sys.argv = ["gsbench bench", *_of_pytest(bench), *saving, *loudness, *arguments.passed_on]
    try:
        runpy.run_module("pytest", run_name="__main__")
    except SystemExit as ended:
        code = int(ended.code or 0)
        _explain(code, arguments.passed_on)
        return CODES.get(code, code)
    return 0


def _explain(code: int, passed_on: Sequence[str]) -> None:
    """What pytest does not say: which option was meant, and that no case has the name."""
    from gsbench.cli.remarks import failure, remark  # with tqdm, which --help does not need

    if code == NO_CASE:
        remark("no case was chosen: gsbench bench --collect-only lists the cases, from whose names -k chooses")
    if code == UNUSABLE:
        known = _known_options()
        names = [text.partition("=")[0] for text in passed_on if text.startswith("--")]
        for name in names:
            if name not in known and (close := did_you_mean(name, known)):
                failure(f"gsbench bench has no option {name!r}{close}")


def _known_options() -> list[str]:
    """The options that pytest's help names: the benchmark's own, pytest's, and those of pytest's plug-ins."""
    bench = folder()
    command = [sys.executable, "-m", "pytest", *_of_pytest(bench), "--help"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (bench, bench.parent)))}
    with tempfile.TemporaryDirectory() as empty:  # pytest-benchmark makes a folder where it starts
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, check=False)
    return sorted(set(re.findall(r"--[a-z][\w-]*", done.stdout)))


def _of_pytest(bench: Path) -> list[str]:
    """Arguments of pytest. Cases have the same names everywhere, bench/test_step.py::…, because the folder above the
    benchmark is pytest's root.
    """
    return ["-c", str(bench / "benchmark.ini"), "--rootdir", str(bench.parent), "-p", "options", str(bench)]
