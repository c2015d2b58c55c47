"""`gsbench list`: lists estimators, models, data sets, presets, figures and peers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import textwrap
from collections.abc import Callable
from typing import Any

LEAST_COLUMNS, MOST_COLUMNS = 60, 110  # of the descriptions

# The peers live in bench/, because only the benchmark uses them. gsbench does not import that folder.
PEERS = {
    "plain-chainer": "The ADGM as one writes it in Chainer, with its own layers. For both; needs the extra chainer.",
    "plain-torch": "The same in PyTorch. For marginalize and gumbel-softmax; needs the extra peers.",
    "split-torch": "PyTorch written well: x once, rows of W_y, fused Adam. For both; needs the extra peers.",
    "plain-jax": "The ADGM in JAX, mapped over the classes, with jit. For both; needs the extra jax.",
    "pyro-parallel": "The sum by Pyro's enumeration, all classes at once. Needs the extra peers.",
    "pyro-sequential": "The sum by Pyro's enumeration, one class at a time. Needs the extra peers.",
}

EXAMPLES = """examples:
  gsbench list
  gsbench list estimators
  gsbench list data-sets --json
"""

Entry = dict[str, Any]  # name and text; some kinds also have settings and more


def add_list(commands: Any) -> None:
    """`gsbench list [KIND]`."""
    parser = commands.add_parser(
        "list",
        help="list estimators, models, data sets, presets, figures and peers",
        description="Lists all names, one per line; with a KIND, describes each one with its settings and defaults.",
        epilog=EXAMPLES,
    )
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="one of the lists (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON: a list of entries for each kind")
    parser.set_defaults(run=run_list)


def run_list(arguments: argparse.Namespace) -> None:
    listed = {kind: make() for kind, make in KINDS.items() if arguments.kind in (None, kind)}
    if arguments.json:
        print(json.dumps(listed, allow_nan=False))
        return
    columns = max(LEAST_COLUMNS, shutil.get_terminal_size().columns)
    if arguments.kind:
        print(f"{arguments.kind}:\n{in_paragraphs(listed[arguments.kind], min(columns, MOST_COLUMNS))}")
        return
    from gsbench.cli.remarks import remark  # with tqdm, which --help does not need

    print("\n\n".join(f"{kind}:\n{in_lines(entries, columns)}" for kind, entries in listed.items()), flush=True)
    remark("gsbench list KIND shows one of these whole, with settings and their defaults")


def first_sentence(doc: str | None) -> str:
    """The first sentence of a docstring in one line: up to a full stop before a capital letter, or the paragraph."""
    paragraph = " ".join((doc or "").strip().split("\n\n")[0].split())
    return re.split(r"(?<=\.)\s+(?=[A-Z])", paragraph)[0]


def in_lines(entries: list[Entry], columns: int) -> str:
    """A line for each entry: its name and as much of its text as fits."""
    indent = _indent(entries)
    return "\n".join(
        f"  {entry['name']}".ljust(indent) + textwrap.shorten(entry["text"], columns - indent, placeholder=" …")
        for entry in entries
    )


def in_paragraphs(entries: list[Entry], columns: int) -> str:
    """The name, and beside it the whole text and all other fields, wrapped."""
    indent = _indent(entries)
    return "\n".join(_paragraph(entry, indent, columns) for entry in entries)


def _indent(entries: list[Entry]) -> int:
    return max(len(entry["name"]) for entry in entries) + 4


def _paragraph(entry: Entry, indent: int, columns: int) -> str:
    text = entry["text"]
    if entry.get("settings"):
        text += f" Settings: {', '.join(f'{name}={_short(value)}' for name, value in entry['settings'].items())}."
    if "most_classes" in entry:
        text += f" K: {entry['classes']}. Licence: {entry['licence']}."
    start = f"  {entry['name']}".ljust(indent)
    return textwrap.fill(text, columns, initial_indent=start, subsequent_indent=" " * indent, break_on_hyphens=False)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({','.join(map(_short, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _estimators() -> list[Entry]:
    from gsbench.estimators import ESTIMATORS

    return [
        {
            "name": name,
            "text": first_sentence(estimator.__doc__) + _origin(ESTIMATORS, name),
            "settings": {field.name: field.default for field in dataclasses.fields(estimator)},
        }
        for name, estimator in ESTIMATORS.items()
    ]


def _models() -> list[Entry]:
    import sys

    from gsbench.models import MODELS

    return [
        {
            "name": name,
            "text": f"{first_sentence(sys.modules[model.__module__].__doc__)} {first_sentence(model.__doc__)}".strip()
            + _origin(MODELS, name),
        }
        for name, model in MODELS.items()
    ]


def _data_sets() -> list[Entry]:
    from gsbench.data import DATASETS

    entries = []
    for name, source in DATASETS.items():
        text = first_sentence(source.doc).split(": ", 1)[-1]  # without the names that stand before it
        try:
            most, classes = source.count(_no_folder), ""
        except FileNotFoundError:
            most, classes = None, "as many as its file has"
        entries.append(
            {
                "name": name,
                "text": text + _origin(DATASETS, name),
                "most_classes": most,
                "classes": classes or (f"2 to {most:,}" if most else "2 or more"),
                "licence": source.licence,
            }
        )
    return entries


def _no_folder() -> None:
    """The entries of data sets. They do not depend on this machine's data folder."""


def _presets() -> list[Entry]:
    from gsbench.settings.presets import PRESETS

    return [
        {"name": name, "text": preset.text, "settings": {**preset.networks, **preset.run}}
        for name, preset in PRESETS.items()
    ]


def _figures() -> list[Entry]:
    from gsbench.report.figures import FIGURES
    from gsbench.report.page import QUESTIONS

    return [
        {"name": name, "text": _title(figure, QUESTIONS) + _origin(FIGURES, name)} for name, figure in FIGURES.items()
    ]


def _peers() -> list[Entry]:
    return [{"name": name, "text": text} for name, text in PEERS.items()]


def _title(figure: Any, questions: dict[str, str]) -> str:
    """The figure's question, after its title if that does not depend on the records."""
    title = getattr(figure, "title", None)
    return f"{title}. {questions[figure.question]}" if isinstance(title, str) else questions[figure.question]


def _origin(registry: Any, name: str) -> str:
    return "" if name in registry.own else " (From a plug-in.)"


KINDS: dict[str, Callable[[], list[Entry]]] = {
    "estimators": _estimators,
    "models": _models,
    "data-sets": _data_sets,
    "presets": _presets,
    "figures": _figures,
    "peers": _peers,
}
