"""Prints the options of `options.py` as JSON, for `gsbench bench --help` and the completion of a shell."""

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # the folder of the package `gsbench`, which may not be installed

from options import add_options


def described() -> list[dict[str, Any]]:
    """Each option with its metavar, and its help with all defaults."""
    parser = argparse.ArgumentParser(add_help=False)
    group = SimpleNamespace(addoption=parser.add_argument)
    add_options(SimpleNamespace(getgroup=lambda *_: group))  # type: ignore[arg-type]
    return [
        {"option": a.option_strings[0], "metavar": a.metavar, "help": (a.help or "") % vars(a)} for a in parser._actions
    ]


if __name__ == "__main__":
    json.dump(described(), sys.stdout)
