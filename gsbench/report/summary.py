"""A report in short, in Markdown, to paste into an issue."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gsbench.report import text
from gsbench.report.frame import MACHINE
from gsbench.report.glance import glance_markdown
from gsbench.report.reading import TRAINING
from gsbench.report.text import markdown_cell
from gsbench.report.training_table import training_section

SIZES = ("machine_memory_bytes",)


def make_summary(name: str, answer: Sequence[str], frame: pd.DataFrame) -> str:
    """The answer, the one-glance table, or of training runs alone theirs, and the machine with its versions."""
    trained = training_section(frame).partition("\n\n")[2] if (frame["group"] == TRAINING).all() else ""
    parts = [
        f"**gsbench report: {markdown_cell(name)}**",
        *(markdown_cell(paragraph) for paragraph in answer),
        glance_markdown(frame) or trained,
        _machine(frame),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _machine(frame: pd.DataFrame) -> str:
    """`cpu: AMD EPYC; cores: 2; …`, what differs between the records one after the other."""
    found = {field: text.values(frame, field) for field in MACHINE}
    told = [
        f"{field.removeprefix('machine_').removesuffix('_bytes').replace('_', ' ')}: "
        + ", ".join(text.size(value) if field in SIZES else text.plain(value) for value in values)
        for field, values in found.items()
        if values
    ]
    return f"Machine: {markdown_cell('; '.join(told))}."
