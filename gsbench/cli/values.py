"""Values of options, read and checked: for the commands and for the options of the benchmark."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def integers(what: str, least: int, example: str) -> Callable[[str], tuple[int, ...]]:
    """A parser of comma-separated integers >= `least`, such as "50,10" → (10, 50): sorted, each once."""

    def parse(text: str) -> tuple[int, ...]:
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not parts or any(not re.fullmatch("[0-9]+", part) or int(part) < least for part in parts):
            raise argparse.ArgumentTypeError(f"{what} are integers >= {least} such as {example}, got {text!r}")
        return tuple(sorted({int(part) for part in parts}))

    return parse


def byte_count(text: str) -> int:
    """ "8GiB", "500MB" or a plain number of bytes."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    size = int(float(match[1]) * UNITS[match[2].upper()]) if match and match[2].upper() in UNITS else 0
    if size < UNITS["MB"]:
        raise argparse.ArgumentTypeError(
            f"must be a size of at least 1MB, such as 500MB, 8GiB or 8000000000, got {text!r}"
        )
    return size


def figure_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"a figure's name ends in .png or .svg, got {text!r}")
    return path
