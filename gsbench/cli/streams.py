"""What is printed where a stream has no Unicode: readable replacements in place of a UnicodeEncodeError."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

HANDLER = "gsbench.readable"

# What neither Unicode's own decompositions nor the names of its letters say. No quotation mark and no backslash:
# JSON that is printed stays JSON.
READABLE = {
    "Σ": "sum", "∂": "d", "∇": "grad ", "√": "sqrt", "∞": "inf", "×": "x", "·": "*", "÷": "/", "±": "+-", "−": "-",
    "–": "-", "—": "-", "‖": "||", "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "∈": " in ",
    "⟨": "<", "⟩": ">", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "…": "...", "°": " degrees",
    "ø": "o", "Ø": "O", "ß": "ss", "€": "EUR", "⁄": "/", "“": "'", "”": "'", "„": "'", "‘": "'", "’": "'",
}  # fmt: skip


def readable(character: str) -> str:
    """A character in ASCII: `tau` for τ, `->` for →, `e` for é; what has no such form as an escape, `\\u4e00`."""
    if character in READABLE:
        return READABLE[character]
    if unicodedata.combining(character):
        return ""
    plain = unicodedata.normalize("NFKD", character)
    if character != plain:
        return "".join(c if c.isascii() else readable(c) for c in plain)
    script, _, letter = unicodedata.name(character, "").partition(" ")
    if script == "GREEK" and letter.startswith(("SMALL LETTER ", "CAPITAL LETTER ")):
        word = letter.split()[2].lower()
        return word.capitalize() if letter.startswith("CAPITAL") else word
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    """The handler: one character at a time. The bytes of a path that are no text are written as they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, after = error.object[error.start], error.start + 1
    is_byte = "\udc80" <= character <= "\udcff"  # as os.fsdecode keeps it
    if is_byte and "a".encode(error.encoding) == b"a":
        return character.encode("ascii", "surrogateescape"), after
    return readable(character), after


codecs.register_error(HANDLER, _replace)


def make_readable(stream: Any) -> bool:
    """From now on the stream replaces what its encoding lacks; False where it stays as it is.

    A handler that the user chose stays: Python's own choices are strict, and escapes for stderr. A notebook's streams
    have no handlers, and a closed one is None.
    """
    own = {"strict", "surrogateescape"} | ({"backslashreplace"} if stream in (sys.stderr, sys.__stderr__) else set())
    if not hasattr(stream, "reconfigure") or stream.errors not in own:
        return False
    stream.reconfigure(errors=HANDLER)
    return True


@contextmanager
def readable_streams() -> Iterator[None]:
    """While this lasts, stdout and stderr are readable."""
    before = [(stream, getattr(stream, "errors", None)) for stream in (sys.stdout, sys.stderr)]
    changed: list[tuple[Any, Any]] = [(stream, errors) for stream, errors in before if make_readable(stream)]
    try:
        yield
    finally:
        for stream, errors in changed:
            with suppress(OSError, ValueError):  # it was closed, or its disk is full, which was told before
                stream.reconfigure(errors=errors)
