"""Grids of runs: options from the command line or a TOML file, some of them lists of values."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gsbench.data import default_classes
from gsbench.registry import load_plugins
from gsbench.settings.case import check_class_count
from gsbench.settings.run import SETTINGS, RunSettings, make_run
from gsbench.values import LARGEST, SettingError, did_you_mean, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Options = dict[str, Any]
CONTENT = {"plugins", "grid", "also"}  # of a TOML file


def read_grids(path: Path) -> list[Options]:
    """The grids of a TOML file: its table [grid], and its tables [[also]], each completed with the values of [grid].

    A list `plugins` before them names plug-ins, which are loaded. A file's path is relative to the TOML file's folder.
    Raises ValueError if the file cannot be read, is no TOML, has any other content, or if a plug-in cannot be loaded.
    """
    try:
        # Editors of Windows begin a file with a byte order mark.
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(f"no such file: {path}; a grid is a TOML file with a table [grid]") from None
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from None
    except ValueError:  # Python refuses longer integers
        raise ValueError(f"{path} has an integer of more than 4,300 digits; allowed are those <= {LARGEST}") from None
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply to be read; allowed are lists of values, not of lists") from None
    if unknown := sorted(set(content) - CONTENT):
        close = did_you_mean(unknown[0], sorted(CONTENT))
        allowed = "a list plugins, a table [grid] and tables [[also]]"
        raise ValueError(f"{path} has {shown(unknown[0])}; allowed are {allowed}{close}")
    plugins = content.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(name, str) for name in plugins):
        raise ValueError(f"{path}: plugins must be a list of files and modules, got {shown(plugins)}")
    load_plugins(str(path.parent / name) if name.endswith(".py") else name for name in plugins)
    grid, also = content.get("grid", {}), content.get("also", [])
    if not isinstance(grid, dict) or not isinstance(also, list) or not all(isinstance(one, dict) for one in also):
        raise ValueError(f"{path}: grid must be a table [grid], also tables [[also]]")
    return [grid, *({**grid, **one} for one in also)]


def make_runs(grids: Iterable[Mapping[str, Any]], data_dir: str | Path | None = None) -> list[RunSettings]:
    """All combinations of the values of each grid, without repeated runs. A list gives several values.

    Runs are sorted by seed, then by K, so that a sweep that is stopped has whole rows. K defaults to the data set's
    default. Raises ValueError, before any work, if one of the runs cannot be made.
    """
    runs: dict[str, RunSettings] = {}
    for grid in grids:
        axes = [[(name, value) for value in _values(name, given)] for name, given in grid.items()]
        for combination in itertools.product(*axes):
            settings = _make(dict(combination), data_dir)
            runs.setdefault(settings.key, settings)
    return sorted(runs.values(), key=lambda run: (run.case.seed, run.case.n_classes))


def _values(name: str, given: Any) -> list[Any]:
    is_pair = name in SETTINGS and SETTINGS[name].kind is tuple
    if not isinstance(given, (list, tuple)) or (is_pair and not any(isinstance(v, (list, tuple)) for v in given)):
        return [given]
    if not given:
        raise SettingError(f"{{{name}}} needs at least one value", ", got none")
    return list(given)


def _make(options: Options, data_dir: str | Path | None) -> RunSettings:
    for name, value in options.items():
        if name in SETTINGS:  # an unknown name is refused with the run
            SETTINGS[name].checked(value)
    dataset = options.setdefault("dataset", "glyphs")
    options.setdefault("n_classes", default_classes(dataset, data_dir))
    settings = make_run(options)
    check_class_count(dataset, settings.case.n_classes, data_dir)
    return settings
