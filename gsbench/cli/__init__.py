"""The command line. A command is a file with a function that adds its parser, and a line in `COMMANDS`.

A command returns its exit code; its --help explains the codes. It prints its result on stdout and everything else
through `gsbench.cli.remarks`.
"""

from __future__ import annotations

import argparse
import importlib
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gsbench.cli.bench import add_bench
from gsbench.cli.compare import add_compare
from gsbench.cli.completion import add_completion
from gsbench.cli.doctor import add_doctor
from gsbench.cli.gallery import add_gallery
from gsbench.cli.list import add_list
from gsbench.cli.parser import CommandParser
from gsbench.cli.report import add_report
from gsbench.cli.streams import readable_streams
from gsbench.process import NO_READER, STOPPED, drop_stdout, hear_ctrl_c
from gsbench.registry import load_named_plugins
from gsbench.shown import printable
from gsbench.values import SettingError
from gsbench.version import __version__


def later(name: str, help: str) -> Callable[[Any], None]:
    """A command whose module gsbench.cli.NAME is imported when it is used. Its `fill(parser)` adds the options.

    Options that come from the settings of a run need slow imports such as NumPy.
    """

    def fill(parser: CommandParser) -> None:
        importlib.import_module(f"gsbench.cli.{name}").fill(parser)

    return lambda commands: commands.add_parser(name, help=help, fill=fill)


COMMANDS = (
    add_bench,
    later("train", "make one training run; an interrupted run resumes"),
    later("sweep", "make a grid of training runs, on this machine or on a Dask cluster"),
    add_report,
    add_compare,
    later("plan", "predict time and memory at any class count from measured records"),
    add_gallery,
    add_list,
    later("check", "compare a plug-in's estimators, models and data sets with brute force"),
    add_doctor,
    add_completion,
)

EPILOG = """examples:
  gsbench doctor                                   check this installation
  gsbench list estimators                          list what can be compared
  gsbench gallery --classes 20 --taus 0.1,1,10     draw Gumbel-Softmax samples
  gsbench bench --preset small --classes 10,100    measure, and keep the records
  gsbench train --dataset mnist --preset blog --estimator gumbel-softmax
  gsbench report                                   make tables and figures of the newest run
  gsbench COMMAND --help                           explain a command, with examples

Results go to stdout, progress and remarks to stderr.
exit codes: 0 done, 1 a check or a run failed, 2 unusable arguments or files, 130 stopped by Ctrl-C; a command with more
exit codes lists them in its --help
"""


def make_parser() -> CommandParser:
    parser = CommandParser(prog="gsbench", description=sys.modules["gsbench"].__doc__, epilog=EPILOG)
    parser.set_defaults(quiet=False, verbose=False, whole_parser=parser)
    parser.add_argument("--version", action="version", version=f"gsbench {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code. With unusable arguments or files it is 2, and stderr says why."""
    with readable_streams():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    try:
        return _run(argv)
    except KeyboardInterrupt:
        print("gsbench: stopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        drop_stdout()
        return NO_READER


def _run(argv: Sequence[str] | None) -> int:
    try:
        load_named_plugins(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        print(f"gsbench: error: {printable(str(error))}", file=sys.stderr)
        return 2
    parser = make_parser()
    arguments, more = parser.parse_known_args(argv)
    if more:
        arguments.parser.refuse_arguments(more)
    if arguments.quiet and arguments.verbose:
        parser.error("--quiet and --verbose exclude each other")
    from gsbench.cli.remarks import heard  # tqdm, which --help does not need

    with heard(arguments.quiet, arguments.verbose):
        hear_ctrl_c()
        try:
            code = int(arguments.run(arguments) or 0)
            sys.stdout.flush()
            return code
        except (ValueError, OSError) as error:
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                raise
            return _refuse(error, arguments)
        except MemoryError as error:
            return _refuse(MemoryError(f"this does not fit into memory: {error}"), arguments)


def _nobody_reads() -> bool:
    """Whether the reader of our stdout has closed it. A BrokenPipeError may also come from another connection."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # poll reports a closed pipe without being asked for it
        return bool(poll.poll(0))
    except (AttributeError, OSError):  # Windows has no poll; or stdout is not a file
        return False


def _refuse(error: Exception, arguments: argparse.Namespace) -> int:
    if arguments.verbose:
        import traceback

        traceback.print_exception(type(error), error, error.__traceback__)
    from gsbench.files import explain  # filelock, which --help does not need

    if isinstance(error, SettingError):
        told = error.told(arguments.parser.spelled)
    else:
        told = explain(error) if isinstance(error, OSError) else str(error)
    print(f"gsbench: error: {printable(told)}", file=sys.stderr)
    return 2
