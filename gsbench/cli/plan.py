"""`gsbench plan`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gsbench.cli.parser import CommandParser
from gsbench.cli.remarks import is_quiet, remark
from gsbench.cli.run_options import add_settings
from gsbench.cli.values import byte_count, figure_path, integers, number, option, path, whole
from gsbench.estimators import parse_estimators
from gsbench.fields import settings_of
from gsbench.files import check_place
from gsbench.settings.case import NETWORKS, Settings

EXAMPLES = """examples:
  gsbench plan
  gsbench plan --classes 500 --estimators marginalize-streamed,gumbel-softmax --memory 8GiB --steps 50000
  gsbench plan --calibrate --preset small --batch 256 --epochs 20 --examples 60000
  gsbench plan records.jsonl --classes 100,1000 --figure plan.svg --json

A plan needs records of two class counts or more. Without FILE, it uses all records of this machine under --storage that
agree in device, backend, number type and number of threads. If there are none, it measures a few small cases first,
which takes about a minute on a quiet machine.
The table (with --json one JSON object) goes to stdout, everything else to stderr.
exit codes: 0 done, 2 unusable arguments or files
"""

_SETTINGS = (*settings_of(Settings).values(), *NETWORKS.values())
OF_SHAPE, OF_SETUP = ([s for s in _SETTINGS if s.about == about] for about in ("work", "session"))


def fill(parser: CommandParser) -> None:
    """The options of `gsbench plan`."""
    parser.description = (
        "Predicts time and memory of a training step at any class count, batch and model size, with intervals. The "
        "predictions come from records of this machine, or from a quick calibration."
    )
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("files", nargs="*", type=path, metavar="FILE", help="records: .json or .jsonl, or a folder of them")
    add(
        "--classes", type=integers("class counts", 2, "10,100"), metavar="K,…",
        help="class counts (default: 10,20,50,100,200,500,1000)",
    )  # fmt: skip
    add(
        "--estimators", type=option(estimators), metavar="NAME,…",
        help="such as marginalize,'gumbel-softmax(tau=0.5)' (default: all that were measured)",
    )  # fmt: skip
    add("--memory", type=byte_count, metavar="SIZE", help="predict the largest K that fits, such as into 8GiB")
    add(
        "--ratio", type=number, default=2.0, metavar="r",
        help="predict from which K on a sampler is r times cheaper than the exact sum (default: %(default)g)",
    )  # fmt: skip
    add("--steps", type=whole, metavar="N", help="predict the time of a training run of N steps")
    add("--epochs", type=number, metavar="E", help="predict the time of a training run of E epochs; needs --examples")
    add("--examples", type=whole, metavar="n", help="number of unlabelled examples in an epoch")
    add(
        "--calibrate", action=argparse.BooleanOptionalAction, default=None,
        help="measure a few small cases first, which takes about a minute (default: if there are no records)",
    )  # fmt: skip
    add(
        "--storage", type=path, default=Path(".benchmarks"), metavar="DIR",
        help="folder with records; a calibration writes its records there too (default: %(default)s)",
    )  # fmt: skip
    add("--figure", type=figure_path, metavar="FILE", help="draw time and memory against K to this .png or .svg file")
    add("--json", action="store_true", help="print JSON, not tables")
    for title, settings in (
        ("what the plan is for (default: as in most of the records)", OF_SHAPE),
        ("which records to use (default: the newest of this machine)", OF_SETUP),
    ):
        add_settings(parser.add_argument_group(title), settings)
    parser.set_defaults(run=run_plan)


def estimators(text: str) -> list[str]:
    return [str(estimator) for estimator in parse_estimators(text)]


def run_plan(arguments: argparse.Namespace) -> None:
    from gsbench.planner import plan, plan_dict, plan_text, save_figure  # pandas takes a second: not for --help
    from gsbench.planner.planning import DEFAULT_CLASSES

    shape = {s.name: value for s in OF_SHAPE if (value := getattr(arguments, s.name)) is not None}
    setup = {s.name: getattr(arguments, s.name) for s in OF_SETUP}
    names = ("storage", "estimators", "memory", "ratio", "steps", "epochs", "examples", "calibrate")
    given = {name: getattr(arguments, name) for name in names}
    if arguments.figure:
        check_place(arguments.figure)
    classes = arguments.classes or DEFAULT_CLASSES
    found = plan(arguments.files, classes=classes, quiet=is_quiet(), **given, **setup, **shape)
    try:
        if arguments.figure:
            remark(f"figure: {save_figure(found, arguments.figure)}")
    finally:  # print the plan even if the figure cannot be written: it may have taken a minute to measure
        for line in found.remarks:
            remark(line)
        print(json.dumps(plan_dict(found), allow_nan=False, indent=1) if arguments.json else plan_text(found))
