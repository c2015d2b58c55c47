"""`gsbench completion`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")

EXAMPLES = """examples:
  gsbench completion bash > ~/.local/share/bash-completion/completions/gsbench
  gsbench completion zsh > ~/.zfunc/_gsbench         (a folder of $fpath)
  gsbench completion tcsh > ~/.gsbench.tcsh          (then source it from ~/.tcshrc)
"""


def add_completion(commands: Any) -> None:
    """`gsbench completion SHELL`."""
    parser = commands.add_parser(
        "completion",
        help="what makes a shell complete gsbench's commands and options",
        description="Prints the completion of a shell, to be kept where the shell looks for it.",
        epilog=EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run_completion)


def run_completion(arguments: argparse.Namespace) -> None:
    import shtab

    from gsbench.cli import make_parser

    parser = filled(make_parser())
    for action in _actions(parser):
        if action.type is Path:
            action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
    print(shtab.complete(parser, arguments.shell))


def filled(parser: Any) -> Any:
    """The parser with all options of its commands, which otherwise are added when they are used."""
    parser.fill()
    for of_command in subparsers(parser).values():
        of_command.fill()
    return parser


def subparsers(parser: Any) -> dict[str, Any]:
    """The parsers of the commands by name."""
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(actions[0].choices) if actions else {}


def _actions(parser: Any) -> Iterator[Any]:
    yield from parser._actions
    for of_command in subparsers(parser).values():
        yield from of_command._actions
