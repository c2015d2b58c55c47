"""Text from files, which may hold anything, as it can be shown."""

from __future__ import annotations

import re

# Control characters, what turns the direction of text round, halves of surrogate pairs, and what XML does not allow.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]")


def visible(text: str) -> str:
    """Text in one line in which nothing is hidden: an escape character is written `\\x1b`, an end of line `\\n`."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def printable(text: str) -> str:
    """The same of each line, for a terminal or a figure."""
    return "\n".join(map(visible, text.split("\n")))
