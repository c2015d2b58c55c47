"""The command line. A command is a file with a function that adds its parser, and a line in `COMMANDS`.

A command returns the exit code: 0, or what it says it means. It prints its result on stdout, and all else by
`gsbench.cli.remarks`.
"""

from __future__ import annotations

import argparse
import importlib
import select
import sys
from collections.abc import Callable, Sequence
from typing import Any

from gsbench.cli.compare import add_compare
from gsbench.cli.completion import add_completion
from gsbench.cli.doctor import add_doctor
from gsbench.cli.gallery import add_gallery
from gsbench.cli.list import add_list
from gsbench.cli.parser import CommandParser
from gsbench.cli.report import add_report
from gsbench.cli.streams import readable_streams
from gsbench.process import NO_READER, STOPPED, drop_stdout, hear_ctrl_c
from gsbench.shown import printable
from gsbench.values import SettingError
from gsbench.version import __version__


def later(name: str, help: str) -> Callable[[Any], None]:
    """A command whose module, gsbench.cli.NAME, is imported when the command is used: its `fill(parser)` adds the rest.

    For those whose options are the fields of what they run, which takes NumPy and more to import.
    """

    def fill(parser: CommandParser) -> None:
        importlib.import_module(f"gsbench.cli.{name}").fill(parser)

    return lambda commands: commands.add_parser(name, help=help, fill=fill)


COMMANDS = (
    later("train", "one training run, which can be stopped and gone on with"),
    later("sweep", "a grid of training runs, on this machine or on a Dask cluster"),
    add_report,
    add_compare,
    later("plan", "predicted time and memory at any class count, from measured records"),
    add_gallery,
    add_list,
    add_doctor,
    add_completion,
)

EPILOG = """examples:
  gsbench doctor                                   what is here, and what to do about what is missing
  gsbench list estimators                          what can be compared
  gsbench gallery --classes 20 --taus 0.1,1,10     what a Gumbel-Softmax draw looks like
  gsbench train --dataset mnist --preset blog --estimator gumbel-softmax
  gsbench report                                   tables and figures of the newest run
  gsbench COMMAND --help                           more on a command, with examples

The benchmark itself is run by pytest: pytest bench/ --benchmark-autosave

Results go to stdout, progress and remarks to stderr.
exit codes: 0 done, 1 a check failed or a run did not end well, 2 cannot be used, 130 stopped by Ctrl-C; a command that
has more of them says so in its --help
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
    """Runs a command and returns its exit code; 2 where what it was given cannot be used, which is said on stderr."""
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
    """Whether our stdout is a pipe that its reader has closed: a broken pipe may be some other connection's, too."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # that it is closed is reported unasked
        return bool(poll.poll(0))
    except (AttributeError, OSError):  # no poll on Windows; a stdout that is no file
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
