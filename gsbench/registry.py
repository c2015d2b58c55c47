"""Registries of named things, which users' code can extend: estimators, models, data sets, backends, figures.

A plug-in is a Python file, or a module that can be imported, which registers things when it is imported:

    from gsbench.estimators import ESTIMATORS, Estimator

    @ESTIMATORS.register
    class MySum(Estimator):
        name = "my-sum"
        …

`load_plugins` imports plug-ins. `Settings` holds the names of all plug-ins that a process has loaded, so that child
processes and the workers of a sweep load the same ones.

A command and the benchmark load the plug-ins of `named_plugins` before they look up any name.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

Thing = TypeVar("Thing")

OPTION = "--plugin"  # of every command and of the benchmark
VARIABLE = "GSBENCH_PLUGINS"  # files and modules, separated as in PATH
GROUP = "gsbench.plugins"  # entry points of installed packages: each names a module
HELP = f"load a plug-in, a file or a module that can be imported (repeatable; also ${VARIABLE})"

_loaded: dict[str, str] = {}  # name → version, in this process, in the order of loading


class Registry(dict[str, Thing]):
    """The things of one kind by name, in the order of lists and help: the package's own, then the plug-ins'.

    kind    what they are, such as "estimator", for messages
    own     the names of the package's own
    fault   thing → what is wrong with it, as the end of a sentence about it; "" if it has what the seam needs
    """

    def __init__(self, kind: str, own: Iterable[Thing], fault: Callable[[Any], str] = lambda thing: "") -> None:
        super().__init__()
        self.kind, self.fault = kind, fault
        for thing in own:
            self.register(thing)
        self.own = tuple(self)

    def register(self, thing: Thing) -> Thing:
        """Adds a thing under its `name` and returns it, so that it serves as a decorator. Raises ValueError if the name
        is taken or missing, or if the thing lacks something.
        """
        name = getattr(thing, "name", None)
        if not isinstance(name, str) or not name:
            raise ValueError(f"a registered {self.kind} needs a name, such as name = 'mine'; got {thing!r}")
        if name in self:
            raise ValueError(f"the {self.kind} {name!r} is there already; register another name than {', '.join(self)}")
        if fault := self.fault(thing):
            raise ValueError(f"the {self.kind} {name!r} {fault}")
        self[name] = thing
        return thing


def class_fault(base: type) -> Callable[[Any], str]:
    """The `fault` of a registry of classes that derive from `base`."""

    def fault(thing: Any) -> str:
        if not (isinstance(thing, type) and issubclass(thing, base)):
            return f"must be a class that derives from {base.__module__}.{base.__name__}, got {thing!r}"
        lacking = sorted(getattr(thing, "__abstractmethods__", ()))
        return f"lacks {', '.join(lacking)}: see {base.__module__}.{base.__name__}" if lacking else ""

    return fault


def instance_fault(base: type) -> Callable[[Any], str]:
    """The `fault` of a registry of instances of `base`."""
    return lambda thing: (
        "" if isinstance(thing, base) else f"must be a {base.__module__}.{base.__name__}, got {thing!r}"
    )


def named_plugins(arguments: Sequence[str]) -> dict[str, list[str]]:
    """The plug-ins of installed packages, of the environment variable, and of the option in these arguments, by where
    they are named.
    """
    return {
        f"entry points {GROUP}": sorted(point.value.partition(":")[0] for point in metadata.entry_points(group=GROUP)),
        f"${VARIABLE}": [name for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name],
        f"argument {OPTION}": list(_in(arguments)),
    }


def load_named_plugins(arguments: Sequence[str]) -> None:
    """Loads the `named_plugins`. Raises ValueError that says where the one that cannot be loaded is named."""
    for where, names in named_plugins(arguments).items():
        try:
            load_plugins(names)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error


def _in(arguments: Sequence[str]) -> Iterator[str]:
    """The values of the option. The parsers know the names of things only after plug-ins are loaded."""
    for argument, following in itertools.pairwise([*arguments, ""]):
        if argument == "--":
            return
        if argument == OPTION:
            yield following
        elif argument.startswith(f"{OPTION}="):
            yield argument.partition("=")[2]


def load_plugins(names: Iterable[str]) -> tuple[str, ...]:
    """Imports plug-ins that this process has not imported yet: paths that end in .py, and names of modules.

    Returns the names, with absolute paths for files. Raises ValueError that names the plug-in if it cannot be imported
    or registers an invalid thing.
    """
    whole = tuple(map(_absolute, names))
    for name in whole:
        if name.endswith(".py") and not Path(name).is_file():
            raise ValueError(f"the plug-in {name} cannot be loaded: there is no such file")
        if not all(part.isidentifier() for part in name.split(".")) and not name.endswith(".py"):
            raise ValueError(f"a plug-in is a file that ends in .py, or a module such as package.module, got {name!r}")
    for name in whole:
        if name not in _loaded:
            _import(name)
            _loaded[name] = _with_version(name)  # as it was loaded; the file may change meanwhile
    return whole


def loaded_plugins() -> tuple[str, ...]:
    """The plug-ins of this process, in the order in which they were loaded."""
    return tuple(_loaded)


def plugin_versions(names: Iterable[str]) -> list[str]:
    """For records, as they were loaded: a file's name with the first digits of its SHA-256, a module's name with the
    version of its package.
    """
    return [_loaded.get(name) or _with_version(name) for name in names]


def _with_version(name: str) -> str:
    if name.endswith(".py"):
        return f"{Path(name).name} {hashlib.sha256(Path(name).read_bytes()).hexdigest()[:12]}"
    packages = metadata.packages_distributions().get(name.partition(".")[0], [])
    return f"{name} {metadata.version(packages[0])}" if packages else name


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
