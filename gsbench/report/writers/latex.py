"""The tables of a report in LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tabulate import DataRow, Line, TableFormat, tabulate

from gsbench.records.text import one_line
from gsbench.report.blocks import Block, Fold, Page, Table, titled

PREAMBLE = (
    "% The tables of the gsbench report {name}.\n"
    "% In the preamble: \\usepackage{{booktabs}}; wide ones fit with \\usepackage{{graphicx}} and \\resizebox.\n"
)
LEFT_OUT = "machine"  # the question with the sections on missing cases and on conditions
# tabulate's own LaTeX formats escape other characters, or lack booktabs.
WRITTEN = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "×": r"$\times$", "–": "--", "µ": r"$\mu$", "τ": r"$\tau$", "²": r"\textsuperscript{2}",
    "·": r"$\cdot$", "ε": r"$\varepsilon$", "φ": r"$\varphi$", "θ": r"$\theta$", "√": r"$\surd$", "≥": r"$\geq$",
    "ŷ": r"$\hat{y}$", "…": r"\dots{}", "ø": r"{\o}", "[": "{[}", "]": "{]}",
}  # fmt: skip
BOOKTABS = TableFormat(
    lineabove=lambda widths, _: f"\\begin{{tabular}}{{{'l' * len(widths)}}}\n\\toprule",
    linebelowheader=Line("\\midrule", "", "", ""),
    linebetweenrows=None,
    linebelow=Line("\\bottomrule\n\\end{tabular}", "", "", ""),
    headerrow=DataRow("", " & ", r" \\"),
    datarow=DataRow("", " & ", r" \\"),
    padding=0,
    with_header_hide=None,
)


def escaped(text: Any) -> str:
    """Plain text in one line, escaped for LaTeX."""
    return "".join(WRITTEN.get(character, character) for character in one_line(text))


def tables(page: Page) -> str:
    """All tables except those under LEFT_OUT, each as a table environment with a caption."""
    written = [
        _table(table, section.title)
        for section in page.sections
        if section.question != LEFT_OUT
        for table in _tables(titled(section.blocks, section.title))
    ]
    return "\n".join([PREAMBLE.format(name=one_line(page.name)), *written])


def _tables(blocks: Iterable[Block]) -> Iterator[Table]:
    """The tables among the blocks, including folded ones."""
    for block in blocks:
        if isinstance(block, Fold):
            yield from _tables(block.blocks)
        elif isinstance(block, Table):
            yield block


def _table(table: Table, section: str) -> str:
    caption = section if table.title == section else f"{section}: {table.title}"
    head, *rows = [[escaped(cell) for cell in row] for row in (table.headers, *table.row_a_line())]
    tabular = tabulate(rows, headers=head, tablefmt=BOOKTABS, stralign=None, disable_numparse=True)
    return f"\\begin{{table}}\n\\centering\n\\caption{{{escaped(caption)}}}\n{tabular}\n\\end{{table}}\n"
