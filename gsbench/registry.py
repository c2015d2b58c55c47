"""Registries of named things, which users' code can extend: estimators, models, data sets, backends, figures.

A plug-in is a Python file, or a module that can be imported, which registers things when it is imported:

    from gsbench.estimators import ESTIMATORS, Estimator

    @ESTIMATORS.register
    class MySum(Estimator):
        name = "my-sum"
        …

`load_plugins` imports plug-ins. `Settings` holds the names of all plug-ins that a process has loaded, so that child
processes and the workers of a sweep load the same ones.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

Thing = TypeVar("Thing")

_loaded: list[str] = []  # in this process, in the order of loading


class Registry(dict[str, Thing]):
    """The things of one kind by name, in the order of lists and help: the package's own, then the plug-ins'.

    kind    what they are, such as "estimator", for messages
    own     the names of the package's own
    """

    def __init__(self, kind: str, own: Iterable[Thing]) -> None:
        super().__init__()
        self.kind = kind
        for thing in own:
            self.register(thing)
        self.own = tuple(self)

    def register(self, thing: Thing) -> Thing:
        """Adds a thing under its `name` and returns it, so that it serves as a decorator. Raises ValueError if the name
        is taken or missing.
        """
        name = getattr(thing, "name", None)
        if not isinstance(name, str) or not name:
            raise ValueError(f"a registered {self.kind} needs a name, such as name = 'mine'; got {thing!r}")
        if name in self:
            raise ValueError(f"the {self.kind} {name!r} is there already; register another name than {', '.join(self)}")
        self[name] = thing
        return thing


def load_plugins(names: Iterable[str]) -> tuple[str, ...]:
    """Imports plug-ins that this process has not imported yet: paths that end in .py, and names of modules.

    Returns the names, with absolute paths for files. Raises ValueError that names the plug-in if it cannot be imported
    or registers an invalid thing.
    """
    whole = tuple(map(_absolute, names))
    for name in whole:
        if name not in _loaded:
            _import(name)
            _loaded.append(name)
    return whole


def loaded_plugins() -> tuple[str, ...]:
    """The plug-ins of this process, in the order in which they were loaded."""
    return tuple(_loaded)


def _absolute(name: str) -> str:
    return str(Path(name).resolve()) if name.endswith(".py") else name


def _import(name: str) -> None:
    module = f"gsbench_plugin_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    try:
        if not name.endswith(".py"):
            importlib.import_module(name)
            return
        spec = importlib.util.spec_from_file_location(module, name)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[module] = importlib.util.module_from_spec(spec)  # dataclasses look their module up there
        spec.loader.exec_module(sys.modules[module])
    except Exception as error:  # a plug-in may raise anything
        sys.modules.pop(module, None)
        raise ValueError(f"the plug-in {name} cannot be loaded: {type(error).__name__}: {error}") from error
