"""The settings of a training run as options of a command."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from gsbench.cli.values import number, option, path, whole
from gsbench.presets import PRESETS
from gsbench.recipe import Recipe
from gsbench.runs.run import CHECKPOINT_SECONDS
from gsbench.values import parts

DEFAULT_STORE = Path("runs")

# What each of these reads, and says of itself; the defaults are the preset's.
OF_CASE: dict[str, tuple[Any, str]] = {
    "model": (str, "adgm (Maaløe et al. 2016) or m2 (Kingma et al. 2014)"),
    "batch": (whole, "unlabelled examples in a minibatch"),
    "n_mc": (whole, "Monte-Carlo draws of a and z"),
    "binarize": (str, "dynamic: pixels drawn anew for each minibatch; none: as they are"),
    "dtype": (str, "float32, float64; float16 on a CUDA device"),
    "device": (str, "cpu, cuda:N"),
    "backend": (str, "the framework: chainer"),
    "threads": (whole, "threads of the linear algebra library; default: all cores"),
}
OF_EVALUATION: dict[str, tuple[Any, str]] = {
    "evaluate_every": (whole, "steps between evaluations; default: an epoch"),
    "validation_images": (whole, "images of the validation part, drawn at random; default: all"),
    "validation_draws": (whole, "draws of a over which q(y|a,x) is averaged on the way"),
    "test_draws": (whole, "the same on the test part, at the end"),
}
BUDGETS: dict[str, tuple[Any, str]] = {
    "epochs": (number, "end after so many epochs"),
    "steps": (whole, "end after so many steps"),
    "seconds": (number, "end after so many seconds of training"),
}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def add_run_options(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """Preset, budgets, and all that a recipe and an evaluation have.

    several   whether preset, data set and budgets take several values each, and the preset has no default
    """
    read_name = several_of(str) if several else str
    parser.add_argument(
        "--preset", type=read_name, default=None if several else "default",
        help=f"networks, recipe and budget: {', '.join(PRESETS)}",
    )  # fmt: skip
    parser.add_argument("--dataset", type=read_name, help="glyphs, mnist, fashion-mnist, omniglot")
    parser.add_argument(
        "--data-dir", type=path, metavar="DIR", help="the data folder (or the environment variable GSBENCH_DATA)"
    )
    parser.add_argument("--labels", dest="labelled_per_class", type=whole, metavar="n", help="labels a class")
    parser.add_argument(
        "--runs", type=path, default=DEFAULT_STORE, metavar="DIR", help="where runs are kept (default: %(default)s)"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=option(CHECKPOINT_SECONDS.read), default=60.0, metavar="S",
        help="seconds between checkpoints (default: %(default)g)",
    )  # fmt: skip
    of_budget = {name: (several_of(kind) if several else kind, text) for name, (kind, text) in BUDGETS.items()}
    _add_group(parser, "budget (the first that is spent ends the run; in place of the preset's)", of_budget)
    _add_group(parser, "recipe (in place of the preset's)", _of_recipe())
    _add_group(parser, "case", OF_CASE)
    _add_group(parser, "evaluation", OF_EVALUATION)


def several_of(kind: Any) -> Any:
    """A list with commas of what `kind` reads."""

    def read(text: str) -> list[Any]:
        return [kind(part) for part in parts(text)]

    return read


def _add_group(parser: argparse.ArgumentParser, title: str, options: dict[str, tuple[Any, str]]) -> None:
    group = parser.add_argument_group(title)
    for name, (read, text) in options.items():
        if read is bool:
            group.add_argument(_flag(name), action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            group.add_argument(_flag(name), type=read, metavar="X", help=text.replace("%", "%%"))


def _of_recipe() -> dict[str, tuple[Any, str]]:
    """The fields of Recipe: their types are spelled `float`, `int | None`, `bool`."""
    kinds: dict[str, Any] = {"float": number, "int": whole, "bool": bool}
    fields = dataclasses.fields(Recipe)
    return {field.name: (kinds[str(field.type).split(" ")[0]], field.metadata["setting"].help) for field in fields}


def options_of_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of the settings of a run, for `make_run`."""
    names = [*BUDGETS, *_of_recipe(), *OF_CASE, *OF_EVALUATION, "preset", "dataset", "labelled_per_class"]
    given = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}
