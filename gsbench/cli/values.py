"""The parsers of `gsbench.values` as argparse types, for the options of the commands and of the benchmark."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from gsbench import values


def option(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A parser for argparse, which prints "argument --classes: " and the message of the ValueError."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


whole, number = option(values.whole().read), option(values.number)
byte_count, seconds = option(values.byte_count), option(values.SECONDS.read)
path, figure_path = option(values.path), option(values.figure_path)


def at_least(least: int) -> Callable[[str], int]:
    """An integer >= `least`."""
    return option(values.whole(least).read)


def integers(what: str, least: int, example: str) -> Callable[[str], tuple[int, ...]]:
    """See `gsbench.values.integers`."""
    return option(values.integers(what, least, example))


def one_of(what: str, known: Any) -> Callable[[str], str]:
    """One of the known names."""
    return option(values.name(what, known))


def some_of(what: str, known: Any) -> Callable[[str], tuple[str, ...]]:
    """Comma-separated known names, each at most once."""
    return option(values.names(what, known))
