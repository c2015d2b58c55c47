"""Serves pytest-benchmark's own options: checks them before any measurement, and saves whatever happens."""

from __future__ import annotations

import importlib.util
import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

GROUPINGS = ("group", "name", "func", "fullname", "fullfunc", "param")


def check_before(config: pytest.Config) -> None:
    """Raises pytest.UsageError for errors that pytest-benchmark would find only after all measurements."""
    path = config.getoption("benchmark_json")
    # pytest-benchmark 4 has opened the file already.
    if isinstance(path, Path) and (path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK)):
        raise pytest.UsageError(f"--benchmark-json must name a file that can be written, got {str(path)!r}")
    if config.getoption("benchmark_histogram") and importlib.util.find_spec("pygal") is None:
        raise pytest.UsageError("--benchmark-histogram needs pygal: pip install 'pytest-benchmark[histogram]'")


def check_compared(config: pytest.Config) -> None:
    """Raises pytest.UsageError if there is no saved session to compare with."""
    session = _session(config)
    if session.compare_fail and not session.compared_mapping:
        raise pytest.UsageError(
            "--benchmark-compare-fail needs --benchmark-compare, and a saved session that it finds in "
            f"{str(session.storage)!r}"
        )


def check_grouping(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """Raises pytest.UsageError if benchmarks cannot be grouped as requested."""
    for label in config.getoption("benchmark_group_by").split(","):
        name = label.removeprefix("param:")
        if name == label and label not in GROUPINGS:
            raise pytest.UsageError(
                f"--benchmark-group-by must be of {', '.join(GROUPINGS)} or param:NAME, got {label!r}"
            )
        for item in items if name != label else ():
            params = item.callspec.params if hasattr(item, "callspec") else {}
            if name not in params:
                raise pytest.UsageError(
                    f"--benchmark-group-by={label}: {item.name} has no parameter {name!r}, it has {', '.join(params)}; "
                    "choose cases that have it with -k"
                )


def tell_other_machine(session: Any, machine: dict[str, Any], compared: dict[str, Any]) -> None:
    """Warns that a saved session is from another machine, if pytest-benchmark cannot.

    It names the storage relative to the working folder, which fails for a storage elsewhere.
    """
    machine, other = json.loads(json.dumps(machine)), compared["machine_info"]
    names = sorted(name for name in {*machine, *other} if machine.get(name) != other.get(name))
    warnings.warn(
        f"Benchmark machine_info is different from the saved one, in {', '.join(names)} (location: {session.storage})",
        stacklevel=2,
    )


def save(config: pytest.Config) -> str:
    """Saves what was measured, for --benchmark-save, -autosave and -json, and says why it could not, or "".

    A benchmark that was stopped within its first round has no data, and pytest-benchmark no figures of it.
    """
    session, problems = _session(config), []
    session.benchmarks[:] = filter(None, session.benchmarks)
    asked = {name: getattr(session, name) for name in ("json", "save", "autosave")}
    for now in (["json"], ["save", "autosave"]):  # one place may have room although the other has none
        vars(session).update({name: asked[name] if name in now else None for name in asked})
        try:
            session.handle_saving()
        except OSError as error:
            problems.append(f"pytest-benchmark's own file could not be written whole: {error}")
    vars(session).update(dict.fromkeys(asked))  # it is done
    return "\n".join(problems)


def _session(config: pytest.Config) -> Any:
    return config._benchmarksession  # type: ignore[attr-defined]
