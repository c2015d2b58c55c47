"""Grids of runs: options of which some are lists, from the command line or a TOML file."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gsbench.data import default_classes
from gsbench.runs.settings import RunSettings, make_run
from gsbench.settings import check_class_count

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Options = dict[str, Any]


def read_grids(path: Path) -> list[Options]:
    """The grids of a TOML file: its table [grid], and each table [[also]] with [grid]'s values where it names none.

    Raises ValueError where the file is no TOML or has something else in it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from None
    if unknown := sorted(set(content) - {"grid", "also"}):
        raise ValueError(f"{path} has {unknown[0]!r}; allowed are a table [grid] and tables [[also]]")
    grid, also = content.get("grid", {}), content.get("also", [])
    if not isinstance(grid, dict) or not isinstance(also, list) or not all(isinstance(one, dict) for one in also):
        raise ValueError(f"{path}: grid must be a table [grid], also tables [[also]]")
    return [grid, *({**grid, **one} for one in also)]


def make_runs(grids: Iterable[Mapping[str, Any]], data_dir: str | Path | None = None) -> list[RunSettings]:
    """All combinations of the values of each grid, a list being several values; each run once.

    One seed after the other and small K first, so that a sweep that is stopped has whole rows. K None or not named:
    what the data set has by default. Raises ValueError, before any work, where one of the runs cannot be made.
    """
    runs: dict[str, RunSettings] = {}
    for grid in grids:
        axes = [[(name, value) for value in _values(name, given)] for name, given in grid.items()]
        for combination in itertools.product(*axes):
            settings = _make(dict(combination), data_dir)
            runs.setdefault(settings.key, settings)
    return sorted(runs.values(), key=lambda run: (run.case.seed, run.case.n_classes))


def _values(name: str, given: Any) -> list[Any]:
    values = list(given) if isinstance(given, (list, tuple)) else [given]
    if not values:
        raise ValueError(f"{name} needs at least one value, got none")
    return values


def _make(options: Options, data_dir: str | Path | None) -> RunSettings:
    dataset = options.setdefault("dataset", "glyphs")
    if options.get("n_classes") is None:
        options["n_classes"] = default_classes(dataset, data_dir)
    try:
        settings = make_run(options)
    except TypeError as error:  # a value of another type, such as a text for a number
        shown = ", ".join(f"{name} = {value!r}" for name, value in options.items())
        raise ValueError(f"a run cannot be made of {shown}: {error}") from None
    check_class_count(dataset, settings.case.n_classes, data_dir)
    return settings
