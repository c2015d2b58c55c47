"""The tables of a report in LaTeX."""

from __future__ import annotations

from collections.abc import Iterable

from gsbench.report.markup import Table, tables_of
from gsbench.report.page import Section
from gsbench.shown import visible

PREAMBLE = (
    "% The tables of the gsbench report {name}.\n"
    "% In the preamble: \\usepackage{{booktabs}}; wide ones fit with \\usepackage{{graphicx}} and \\resizebox.\n"
)
LEFT_OUT = ("Conditions", "Skipped, failed and too large", "Missing", "Files")
WRITTEN = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "×": r"$\times$", "–": "--", "µ": r"$\mu$", "τ": r"$\tau$", "²": r"\textsuperscript{2}",
    "·": r"$\cdot$", "ε": r"$\varepsilon$", "φ": r"$\varphi$", "θ": r"$\theta$", "√": r"$\surd$", "≥": r"$\geq$",
    "ŷ": r"$\hat{y}$", "…": r"\dots{}", "ø": r"{\o}", "[": "{[}", "]": "{]}",
}  # fmt: skip


def escaped(text: str) -> str:
    """Plain text as LaTeX prints it."""
    return "".join(WRITTEN.get(character, character) for character in visible(text))


def make_latex(name: str, sections: Iterable[Section]) -> str:
    """All the tables but those of what is missing and of the conditions, each a table environment with a caption."""
    tables = [
        _table(table, section)
        for section in sections
        if section.title not in LEFT_OUT
        for table in tables_of(section.body, section.title)
    ]
    return "\n".join([PREAMBLE.format(name=visible(" ".join(name.split()))), *tables])


def _table(table: Table, section: Section) -> str:
    caption = section.title if table.title == section.title else f"{section.title}: {table.title}"
    rows = [table.headers, *table.rows]
    head, *lines = [" & ".join(escaped(cell) for cell in row) + r" \\" for row in rows]
    ruled = ["\\toprule", head, "\\midrule", *lines, "\\bottomrule"]
    tabular = "\n".join([f"\\begin{{tabular}}{{{'l' * len(table.headers)}}}", *ruled, "\\end{tabular}"])
    return f"\\begin{{table}}\n\\centering\n\\caption{{{escaped(caption)}}}\n{tabular}\n\\end{{table}}\n"

