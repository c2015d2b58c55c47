"""`gsbench completion`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from gsbench.cli.values import figure_path, path

SHELLS = ("bash", "zsh", "fish", "tcsh")

EXAMPLES = """examples:
  gsbench completion bash > ~/.local/share/bash-completion/completions/gsbench
  gsbench completion zsh > ~/.zfunc/_gsbench         (a folder of $fpath)
  gsbench completion fish > ~/.config/fish/completions/gsbench.fish
  gsbench completion tcsh > ~/.gsbench.tcsh          (then source it from ~/.tcshrc)
"""


def add_completion(commands: Any) -> None:
    """`gsbench completion SHELL`."""
    parser = commands.add_parser(
        "completion",
        help="print a script with which a shell completes commands, options and names",
        description="Prints the completion script of a shell. Save it where the shell looks for such scripts.",
        epilog=EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=run_completion)


def run_completion(arguments: argparse.Namespace) -> None:
    import shtab

    parser = filled(arguments.whole_parser)
    for name, of_command in {"": parser, **subparsers(parser)}.items():
        names = _names(name)
        for action in of_command._actions:
            if action.type in (path, figure_path):
                action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
            elif action.dest in names:
                action.choices = names[action.dest]
    print(shtab.complete(parser, arguments.shell))


def _names(command: str) -> dict[str, Sequence[str]]:
    """Destination of an option → its possible values. In a list of values only the first is completed."""
    from gsbench.estimators import ESTIMATORS
    from gsbench.settings.run import LABELS_ONLY, SETTINGS

    learners = [*ESTIMATORS] if command in ("bench", "plan") else [*ESTIMATORS, LABELS_ONLY]
    named = {name: s.names for name, s in SETTINGS.items() if s.names}
    return {**named, "estimator": learners, "estimators": learners}


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
