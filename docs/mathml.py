"""Formulas of the pages as MathML, which browsers typeset themselves: a page needs no network and no script."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

FUNCTION = re.compile(r"<m[io]>(?:log|exp|argmax)</m[io]>(?=<m(?:i|sub)>)")


def mathml(formula: str, display: str) -> str:
    """LaTeX as MathML, with a thin space between a function and an argument without brackets."""
    return FUNCTION.sub(r'\g<0><mspace width="0.17em" />', convert(formula, display=display))


def inline(visitor: Any, node: nodes.math) -> None:
    """A formula in a sentence."""
    visitor.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(visitor: Any, node: nodes.math_block) -> None:
    """A formula of its own, which scrolls sideways where it is wider than the window."""
    visitor.body.append(f'<div class="formula">{mathml(node.astext(), "block")}</div>')
    raise nodes.SkipNode
