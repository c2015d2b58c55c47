"""`gsbench report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gsbench.cli.values import path

TRAINING = "training runs"
EXAMPLES = """examples:
  gsbench report                                        the newest run under .benchmarks
  gsbench report before.jsonl after.jsonl --name both   two runs side by side
  gsbench report runs/ --name training                  a store of training runs
  xdg-open "$(gsbench report)"                          and opens the page

exit codes: 0 written, 2 a file cannot be used or nothing was found
"""


def add_report(commands: Any) -> None:
    """`gsbench report [FILE …]`."""
    parser = commands.add_parser(
        "report",
        help="tables and figures from saved benchmark files",
        description="Reads saved benchmark files (the newest run, or the named files) and writes report.html, a page "
        "with the answer, figures and tables that needs no network and no other file. It also writes the report as "
        "Markdown, a summary, the figures (PNG, SVG), the tables in LaTeX and the records (CSV, Parquet). It prints "
        "the page's path.",
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "files", nargs="*", type=path, metavar="FILE",
        help=".json or .jsonl, or a folder of them, such as a store of training runs; several runs share one page",
    )  # fmt: skip
    parser.add_argument(
        "--storage", type=path, default=Path(".benchmarks"), metavar="DIR",
        help="folder in which the newest run is searched if no file is named (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--name", help="the report's name (default: the time at which the newest run began)")
    parser.add_argument(
        "--output", type=path, default=Path("reports"), metavar="DIR",
        help="the report is written to DIR/NAME/ (default: %(default)s)",
    )  # fmt: skip
    parser.set_defaults(run=run_report)


def run_report(arguments: argparse.Namespace) -> None:
    from gsbench.cli.remarks import remark
    from gsbench.records.reading import ends_at_a_step
    from gsbench.report import read_runs, write_report  # pandas and matplotlib take a second: not for --help

    reading = read_runs(arguments.files, arguments.storage)
    for notice in reading.notices:
        remark(notice)
    page = write_report(reading, name=arguments.name, output=arguments.output)
    # The training runs of a store have one record each, so they are counted together.
    names = [TRAINING if ends_at_a_step(record) else record["run_id"] for record in reading.records]
    for name in dict.fromkeys(names):
        own = zip(names, reading.records, strict=True)
        statuses = [record["status"] for of, record in own if of == name]
        what = name if name == TRAINING else f"run {name}"
        count = "1 record" if len(statuses) == 1 else f"{len(statuses):,} records"
        remark(f"{what}: {count}, {statuses.count('ok'):,} of them ok")
    print(page)
