"""The settings of a training run as options of a command."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gsbench.cli.values import option, path
from gsbench.fields import Setting, settings_of
from gsbench.runs.run import CHECKPOINT_SECONDS
from gsbench.settings.case import NETWORKS, Settings
from gsbench.settings.recipe import Recipe
from gsbench.settings.run import SETTINGS, RunSettings
from gsbench.values import parts

DEFAULT_STORE = Path("runs")
# The settings that name a run: `train` takes one value of each, `sweep` takes lists.
OWN = ("estimator", "n_classes", "seed")
FIRST = ("preset", "dataset", "labelled_per_class")
_RUN = settings_of(RunSettings)
GROUPS: dict[str, Mapping[str, Setting]] = {
    "budget (the run ends when the first one is spent; replaces the preset's)": {
        name: s for name, s in _RUN.items() if s.about == "budget"
    },
    "recipe (a preset replaces these defaults, an option replaces both)": settings_of(Recipe),
    "networks (a preset replaces these defaults, an option replaces both)": NETWORKS,
    "case": {name: s for name, s in settings_of(Settings).items() if name not in (*OWN, *FIRST)},
    "evaluation": {name: s for name, s in _RUN.items() if s.about == "evaluation"},
}


def add_run_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """The settings of a run except OWN, the folder of runs, and the time between checkpoints.

    several   whether each takes several values, with commas
    """
    add_settings(parser, (SETTINGS[name] for name in FIRST), several)
    parser.add_argument(
        "--data-dir", type=path, metavar="DIR", help="the data folder (or the environment variable GSBENCH_DATA)"
    )
    parser.add_argument(
        "--runs", type=path, default=DEFAULT_STORE, metavar="DIR", help="where runs are kept (default: %(default)s)"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=option(CHECKPOINT_SECONDS.read), default=60.0, metavar="S",
        help="seconds between checkpoints (default: %(default)g)",
    )  # fmt: skip
    for title, settings in GROUPS.items():
        add_settings(parser.add_argument_group(title), settings.values(), several)


def add_settings(group: Any, settings: Iterable[Setting], several: bool = False) -> None:
    """An option for each setting. An absent option is None, so that the setting's declared default applies."""
    for s in settings:
        flag, text = f"--{s.option.replace('_', '-')}", f"{s.help}{_default(s)}".replace("%", "%%")
        if s.kind is bool:
            group.add_argument(flag, dest=s.name, action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            read = several_of(s.read) if several and s.kind is not tuple else s.read
            group.add_argument(flag, dest=s.name, type=option(read), metavar="X", help=text)


def _default(s: Setting) -> str:
    """The declared default, for a setting whose help does not say it. A preset may have another one."""
    if s.default is None or s.default is dataclasses.MISSING or "default" in s.help:
        return ""
    if s.kind is bool:
        return f" (default: {'yes' if s.default else 'no'})"
    return f" (default: {s.default:g})" if isinstance(s.default, float) else f" (default: {s.default})"


def several_of(read: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A parser of comma-separated values; `read` parses each of them."""
    return lambda text: [read(part) for part in parts(text)]


def options_of_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """The given settings of a run, for `make_run`."""
    return {name: value for name in SETTINGS if (value := getattr(arguments, name)) is not None}
