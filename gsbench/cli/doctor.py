"""`gsbench doctor` checks this installation and says what to do about each problem."""

from __future__ import annotations

import argparse
import dataclasses
import json
import warnings
from collections.abc import Iterator
from typing import Any

from gsbench.cli.probes import OK, PROBES, PROBLEM, REINSTALL, Finding, Probe, data_probes
from gsbench.cli.values import path

BROKEN = 1  # exit code
INDENT = 9  # the width of a mark

EXAMPLES = """examples:
  gsbench doctor
  gsbench doctor --data-dir ~/data
  gsbench doctor --json

ok: it works. missing: gsbench works without it. problem: the line says what is wrong.
exit codes: 0 gsbench can be used here, 1 something that gsbench needs is broken
"""


def add_doctor(commands: Any) -> None:
    """`gsbench doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="check this installation, and say what to do about each problem",
        description="Checks Python, the libraries, the processor, the GPU and the data sets, and says what to do about "
        "each problem. It downloads nothing.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "--data-dir", type=path, metavar="DIR", help="the data folder (or the environment variable GSBENCH_DATA)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: whether gsbench can be used, and the findings")
    parser.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    findings = list(examine(arguments.data_dir))
    usable = not any(finding.needed and finding.mark != OK for finding in findings)
    if arguments.json:
        found = [dataclasses.asdict(finding) for finding in findings]
        print(json.dumps({"usable": usable, "findings": found}, allow_nan=False))
    else:
        from gsbench.report.writers.terminal import wrapped

        for finding in findings:
            print(wrapped(str(finding), indent=INDENT))
        print(f"\ngsbench can{'' if usable else 'not'} be used here.")
    return 0 if usable else BROKEN


def examine(data_dir: str | None = None) -> Iterator[Finding]:
    """All findings, in the order in which they are printed."""
    for probe in PROBES:
        yield from guarded(probe)
    yield from guarded(Probe("data sets", lambda: _of_data(data_dir), remedy=REINSTALL))


def _of_data(data_dir: str | None) -> Iterator[Finding]:
    for probe in data_probes(data_dir):
        yield from guarded(probe)


def guarded(probe: Probe) -> Iterator[Finding]:
    """The findings of a probe. An exception of the probe becomes a finding, so that all other probes still run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # imported libraries may warn
            for finding in probe.look():
                yield dataclasses.replace(finding, needed=finding.needed or probe.needed)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        yield Finding(probe.name, PROBLEM, reason, probe.remedy, probe.needed)
