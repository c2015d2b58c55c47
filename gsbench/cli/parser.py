"""The argument parser of all commands. A command can add its options late, when it is used."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from gsbench import registry
from gsbench.values import did_you_mean, not_known, shown

HEADS = ("exit codes:", "metrics:", "conditions:", "ok:")  # of lines that begin a paragraph


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps the paragraphs of a description or an epilog. What is indented stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(self._filled(text.splitlines(), width))

    def _filled(self, lines: Iterable[str], width: int) -> Iterator[str]:
        paragraph: list[str] = []
        for line in [*lines, ""]:
            ends = line[:1] in ("", " ") or line.startswith(HEADS)
            if paragraph and ends:
                yield textwrap.fill(" ".join(paragraph), width, break_long_words=False, break_on_hyphens=False)
                paragraph = []
            if line[:1] in ("", " "):
                yield line
            else:
                paragraph.append(line)


class CommandParser(argparse.ArgumentParser):
    """An ArgumentParser with --quiet, --verbose and --plugin, whose texts are wrapped but for their examples.

    fill        adds the options, once, when the parser is used, so that the slow imports of one command do not delay
                the --help of the others
    passes_on   the command's arguments are for another program, and stand in the result's `passed_on` as they were
                given. The options of `fill` are for --help and completion

    These options have no default, so that they may stand before a subcommand or after it: a default of the subcommand
    would overwrite the value that the main parser has read.
    """

    def __init__(
        self,
        *args: Any,
        fill: Callable[[CommandParser], None] | None = None,
        passes_on: bool = False,
        **kwargs: Any,
    ) -> None:
        own = {"formatter_class": _Formatter, "allow_abbrev": False}
        super().__init__(*args, **{**own, **kwargs})
        self._fill, self._passes_on = fill, passes_on
        self.set_defaults(parser=self)  # in the result: the parser of the command
        loudness = self.add_mutually_exclusive_group()
        loudness.add_argument(
            "-q", "--quiet", action="store_true", default=argparse.SUPPRESS,
            help="print errors only, no progress and no remarks",
        )  # fmt: skip
        loudness.add_argument(
            "-v", "--verbose", action="store_true", default=argparse.SUPPRESS,
            help="print more remarks, and the traceback of an error",
        )  # fmt: skip
        # Only for --help and for errors: `registry.named_plugins` reads it before there is a parser.
        self.add_argument(
            registry.OPTION, action="append", default=argparse.SUPPRESS, metavar="FILE.py|MODULE", help=registry.HELP
        )

    def fill(self) -> None:
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    # argparse's own signature has overloads; ours passes everything on.
    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        given = [*(args or ())]
        if self._passes_on and not {"-h", "--help"}.intersection(given):
            return argparse.Namespace(parser=self, run=self.get_default("run"), passed_on=given), []
        self.fill()
        return super().parse_known_args(args, namespace)

    def spelled(self, field: str) -> str:
        """The option of a setting, such as --classes for n_classes, or the setting's own name if it has no option."""
        spellings = (text for a in self._actions if a.dest == field for text in a.option_strings)
        return next((text for text in spellings if text.startswith("--")), field)

    def refuse_arguments(self, arguments: Sequence[str]) -> None:
        """Exits with an error that names these unknown arguments and the option that is closest to the first one."""
        options = [text for action in self._actions for text in action.option_strings if text.startswith("--")]
        first = next((argument for argument in arguments if argument.startswith("-")), "")
        close = did_you_mean(first.partition("=")[0], options)
        self.error(f"unrecognized arguments: {shown(' '.join(arguments))}{close}")

    # argparse's own message has no "did you mean".
    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = action.metavar if isinstance(action.metavar, str) else action.dest
            raise argparse.ArgumentError(None, f"unknown {what.lower()} {not_known(value, action.choices)}")
