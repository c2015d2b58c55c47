"""`gsbench check` compares a plug-in's estimators, models and data sets with brute force."""

from __future__ import annotations

import argparse

from gsbench.cli.parser import CommandParser
from gsbench.registry import load_plugins

FAILED = 1  # exit code

EXAMPLES = """examples:
  gsbench check my_estimator.py
  gsbench check my_package.models my_data.py

An estimator is compared with a loop over the classes, in value, entropy and gradients; a model with finite
differences, and its streamed sum with the sum in one batch. An estimator with a bias declares it:
biased = ("value", "gradient"). Its checks run in the default backend; gsbench doctor says which one that is.
exit codes: 0 all checks passed, 1 a check failed, 2 a plug-in cannot be loaded or registers nothing
"""


def fill(parser: CommandParser) -> None:
    """The options of `gsbench check`."""
    parser.description = "Checks what plug-ins register, and prints a verdict on each check of each thing."
    parser.epilog = EXAMPLES
    parser.add_argument("plugins", nargs="+", metavar="FILE.py|MODULE", help="a plug-in, as for --plugin")
    parser.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    load_plugins(arguments.plugins)
    from gsbench.checks import check_registered

    failed = skipped = total = 0
    for verdict in check_registered():
        total += 1
        failed += bool(verdict.problem)
        skipped += bool(verdict.skipped)
        thing = f"{verdict.kind} {verdict.name}"
        word, told = ("FAILED", verdict.problem) if verdict.problem else ("ok", verdict.check)
        if verdict.skipped:
            word, told = "skipped", f"{verdict.check}: {verdict.skipped}"
        print(f"{word:7} {thing} {told}", flush=True)
    if not total:
        names = ", ".join(arguments.plugins)
        raise ValueError(
            f"{names}: no estimator, model or data set is registered; register one, such as with @ESTIMATORS.register"
        )
    print(f"{total - failed - skipped} of {total} checks passed{f', {skipped} skipped' if skipped else ''}")
    return FAILED if failed else 0
