"""Makes text from files safe to show: such text may contain any character."""

from __future__ import annotations

import re

# Control characters, characters that change the direction of text, lone surrogates, and characters that XML forbids.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")


def visible(text: str) -> str:
    """The text in one line with visible control characters: an escape is `\\x1b`, an end of line `\\n`."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(text: str) -> str:
    """Applies `visible` to each line, for a terminal or a figure."""
    return "\n".join(map(visible, text.split("\n")))
