"""The settings of a training run as options of a command."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from gsbench.recipe import Recipe
from gsbench.runs import PRESETS

DEFAULT_STORE = Path("runs")

# What each of these reads, and says of itself; the defaults are the preset's.
OF_CASE = {
    "model": (str, "adgm (Maaløe et al. 2016) or m2 (Kingma et al. 2014)"),
    "batch": (int, "unlabelled examples in a minibatch"),
    "n_mc": (int, "Monte-Carlo draws of a and z"),
    "binarize": (str, "dynamic: pixels drawn anew for each minibatch; none: as they are"),
    "dtype": (str, "float32, float64; float16 on a CUDA device"),
    "device": (str, "cpu, cuda:N"),
    "backend": (str, "the framework: chainer"),
    "threads": (int, "threads of the linear algebra library; default: all cores"),
}
OF_EVALUATION = {
    "evaluate_every": (int, "steps between evaluations; default: an epoch"),
    "validation_images": (int, "images of the validation part, drawn at random; default: all"),
    "validation_draws": (int, "draws of a over which q(y|a,x) is averaged on the way"),
    "test_draws": (int, "the same on the test part, at the end"),
}
BUDGETS = {
    "epochs": (float, "end after so many epochs"),
    "steps": (int, "end after so many steps"),
    "seconds": (float, "end after so many seconds of training"),
}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def add_run_options(parser: argparse.ArgumentParser, preset: str | None = "default", budgets: Any = None) -> None:
    """Preset, budgets, and all that a recipe and an evaluation have.

    preset    the one that is taken where none is given, or None
    budgets   makes of a type what reads several values of it; None: a budget takes one value
    """
    parser.add_argument("--preset", default=preset, help=f"networks, recipe and budget: {', '.join(PRESETS)}")
    parser.add_argument("--dataset", help="glyphs, mnist, fashion-mnist, omniglot")
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="the data folder (or the environment variable GSBENCH_DATA)"
    )
    parser.add_argument("--labels", dest="labelled_per_class", type=int, metavar="n", help="labels a class")
    parser.add_argument(
        "--runs", type=Path, default=DEFAULT_STORE, metavar="DIR", help="where runs are kept (default: %(default)s)"
    )
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=60.0, metavar="S",
        help="seconds between checkpoints (default: %(default)g)",
    )  # fmt: skip
    of_budget = {name: (budgets(kind) if budgets else kind, text) for name, (kind, text) in BUDGETS.items()}
    _add_group(parser, "budget (the first that is spent ends the run; in place of the preset's)", of_budget)
    _add_group(parser, "recipe (in place of the preset's)", _of_recipe())
    _add_group(parser, "case", OF_CASE)
    _add_group(parser, "evaluation", OF_EVALUATION)


def _add_group(parser: argparse.ArgumentParser, title: str, options: dict[str, tuple[Any, str]]) -> None:
    group = parser.add_argument_group(title)
    for name, (read, text) in options.items():
        if read is bool:
            group.add_argument(_flag(name), action=argparse.BooleanOptionalAction, default=None, help=text)
        else:
            group.add_argument(_flag(name), type=read, metavar="X", help=text.replace("%", "%%"))


def _of_recipe() -> dict[str, tuple[Any, str]]:
    """The fields of Recipe: their types are spelled `float`, `int | None`, `bool`."""
    kinds: dict[str, Any] = {"float": float, "int": int, "bool": bool}
    fields = dataclasses.fields(Recipe)
    return {field.name: (kinds[str(field.type).split(" ")[0]], field.metadata["help"]) for field in fields}


def options_of_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of the settings of a run, for `make_run`."""
    names = [*BUDGETS, *_of_recipe(), *OF_CASE, *OF_EVALUATION, "preset", "dataset", "labelled_per_class"]
    given = {name: getattr(arguments, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}
