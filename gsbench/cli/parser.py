"""The parser of a command: what all commands share, and options that are added when they are needed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser with --quiet and --verbose, whose epilog is printed as it is written.

    fill   adds the options, once, when the parser is used: a command whose options are those of modules that take long
           to import keeps the --help of the others quick

    --quiet and --verbose stand in the result only where they were given, so that they may stand before a subcommand or
    after it: a default here would undo what the parser above read.
    """

    def __init__(self, *args: Any, fill: Callable[[CommandParser], None] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **kwargs})
        self._fill = fill
        loudness = self.add_mutually_exclusive_group()
        loudness.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS,
            help="no progress and no remarks on stderr: errors only",
        )  # fmt: skip
        loudness.add_argument(
            "-v", "--verbose", action="store_true", default=argparse.SUPPRESS,
            help="more remarks, and where an error came from",
        )  # fmt: skip

    def fill(self) -> None:
        """Adds the options that were put off."""
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    # argparse's own signature has overloads; ours passes everything on.
    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        self.fill()
        return super().parse_known_args(args, namespace)
