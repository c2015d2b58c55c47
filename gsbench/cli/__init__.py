"""The command line. A command is a file with a function that adds its parser, and a line in `COMMANDS`.

A command returns the exit code: 0, or what it says it means.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gsbench import __version__
from gsbench.cli.report import add_report
from gsbench.cli.sweep import add_sweep
from gsbench.cli.train import add_train

COMMANDS = (add_train, add_sweep, add_report)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gsbench", description=sys.modules["gsbench"].__doc__)
    parser.add_argument("--version", action="version", version=f"gsbench {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns its exit code: 0, or 2 when what it was given cannot be used, which is said on stderr."""
    arguments = make_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except (ValueError, OSError) as error:
        print(f"gsbench: error: {error}", file=sys.stderr)
        return 2
