"""The allowed imports between modules, read from the import statements."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Container, Iterator
from pathlib import Path

import pytest

import gsbench

pytestmark = pytest.mark.newest

PACKAGE = Path(gsbench.__file__).parent
FRAMEWORKS = {"chainer", "chainerx", "cupy", "cupyx", "torch", "jax", "flax", "pyro", "tensorflow"}
OUTSIDE = {"pytest", "bench", "tests", "conftest"}

# The order in which data flows. Each module or package of gsbench may import the ones above it, and none below it.
ORDER = [
    "values",
    "registry",
    "fields",
    "matplotlib_import",
    "files",
    "limits",
    "shown",
    "version",
    "extras",
    "backends",
    "categorical",
    "data",
    "models",
    "estimators",
    "on_tensors",
    "settings",
    "training",
    "meters",
    "racing",
    "checks",
    "records",
    "compare",
    "gallery",
    "report",
    "planner",
    "runs",
    "process",
    "cli",
    "__main__",
]


def imports(path: Path) -> Iterator[str]:
    """The full names that a file imports anywhere: `from a import b` gives "a.b"."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(
                    f"{path.name}:{node.lineno}: write the import out, beginning with gsbench"
                )
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path: Path, package: Path) -> str:
    """The top-level module or package to which a file belongs; "" for gsbench/__init__.py."""
    part = path.relative_to(package).parts[0].removesuffix(".py")
    return "" if part == "__init__" else part


def files(package: Path) -> list[Path]:
    """The files of gsbench. In a wheel the benchmark lies in its folder, of which it is no part."""
    return sorted(path for path in package.rglob("*.py") if room(path, package) != "bench")


def forbidden_imports(package: Path, names: set[str], allowed_in: str = "") -> list[str]:
    """The places where a file outside the room `allowed_in` imports one of the top-level `names`."""
    return [
        f"{path.relative_to(package)} imports {name}"
        for path in files(package)
        for name in imports(path)
        if name.split(".")[0] in names and (not allowed_in or room(path, package) != allowed_in)
    ]


def against_the_way(package: Path, order: list[str]) -> list[str]:
    """The places where a file imports a room of gsbench that stands below its own in `order`, and rooms that
    `order` lacks.
    """
    # The package itself is the door to all rooms. tests/test_plan.py checks that it opens a room only on request.
    rank = {"": len(order), **{name: i for i, name in enumerate(order)}}
    rooms = {room(path, package) for path in files(package)}
    found = [f"{name}: place it in the order" for name in sorted(rooms - set(rank))]
    for path in files(package):
        here = room(path, package)
        for name in imports(path):
            there = name.split(".")[1] if name.startswith("gsbench.") else ""
            if there and there in rooms and here in rank and rank.get(there, -1) > rank[here]:
                found.append(f"{path.relative_to(package)} imports {name}")
    return found


def circle(package: Path) -> list[str]:
    """A circle of modules: each imports the next, anywhere in the file, and the last is the first. Empty if there is
    none.
    """
    dotted = {".".join(("gsbench", *p.relative_to(package).with_suffix("").parts)): p for p in files(package)}
    modules = {name.removesuffix(".__init__"): path for name, path in dotted.items()}
    graph = {
        name: {target for full in imports(path) if (target := _module_of(full, modules)) and target != name}
        for name, path in modules.items()
        if name != "gsbench"  # the door, which opens the rooms when asked
    }
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def _module_of(full_name: str, modules: Container[str]) -> str:
    """`gsbench.a.b.name` → `gsbench.a.b`, or the module of that very name."""
    return next((name for name in (full_name, full_name.rpartition(".")[0]) if name in modules), "")


def test_no_framework_outside_the_backends():
    assert forbidden_imports(PACKAGE, FRAMEWORKS, allowed_in="backends") == []


def test_gsbench_imports_neither_pytest_nor_bench_nor_tests():
    assert forbidden_imports(PACKAGE, OUTSIDE) == []


def test_the_data_goes_one_way():
    assert against_the_way(PACKAGE, ORDER) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle(PACKAGE) == []


def test_the_oracle_imports_nothing_of_the_code():
    assert {name.split(".")[0] for name in imports(Path(__file__).with_name("oracles.py"))} <= {
        "__future__",
        "collections",
        "contextlib",
        "itertools",
        "math",
        "numpy",
        "re",
        "typing",
    }


# The tests above find every fault


@pytest.fixture
def house(tmp_path):
    """A package with every fault in it."""
    (tmp_path / "backends").mkdir()
    files = {
        "__init__.py": "",
        "backends/__init__.py": "import chainer\n",
        "models.py": "def late():\n    from chainer import functions\n    from gsbench import objective\n",
        "objective.py": "import gsbench.models\nimport numpy, pytest\n",
        "attic.py": "import numpy\n",
    }
    for name, source in files.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    return tmp_path


def test_faults_are_found(house):
    assert forbidden_imports(house, FRAMEWORKS, allowed_in="backends") == [
        "models.py imports chainer.functions"
    ]
    assert forbidden_imports(house, OUTSIDE) == ["objective.py imports pytest"]
    assert against_the_way(house, ["backends", "models", "objective"]) == [
        "attic: place it in the order",
        "models.py imports gsbench.objective",
    ]


def test_a_circle_is_found_though_a_function_hides_it(tmp_path):
    (tmp_path / "a").mkdir()
    files = {
        "__init__.py": "",
        "a/__init__.py": "from gsbench.a.one import thing\n",
        "a/one.py": "def thing():\n    from gsbench.a import two\n",
        "a/two.py": "import numpy\nfrom gsbench.a.one import thing\n",
    }
    for name, source in files.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    assert set(circle(tmp_path)) == {"gsbench.a.one", "gsbench.a.two"}
    (tmp_path / "a/one.py").write_text("thing = 1\n", encoding="utf-8")
    assert circle(tmp_path) == []


def test_relative_imports_are_refused(tmp_path):
    (tmp_path / "models.py").write_text("from . import objective\n", encoding="utf-8")
    with pytest.raises(AssertionError, match=r"models\.py:1: write the import out"):
        against_the_way(tmp_path, ["models"])
