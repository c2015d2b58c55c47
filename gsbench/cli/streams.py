"""Readable replacements for characters that a stream cannot encode, instead of a UnicodeEncodeError."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

HANDLER = "gsbench.readable"

# Characters for which neither Unicode's decompositions nor its letter names give a replacement. No replacement has a
# double quote or a backslash, so that printed JSON stays valid.
READABLE = {
    "Σ": "sum", "∂": "d", "∇": "grad ", "√": "sqrt", "∞": "inf", "×": "x", "·": "*", "÷": "/", "±": "+-", "−": "-",
    "–": "-", "—": "-", "‖": "||", "→": "->", "←": "<-", "≥": ">=", "≤": "<=", "≠": "!=", "≈": "~", "∈": " in ",
    "⟨": "<", "⟩": ">", "⌊": "floor(", "⌋": ")", "⌈": "ceil(", "⌉": ")", "…": "...", "°": " degrees",
    "ø": "o", "Ø": "O", "ß": "ss", "€": "EUR", "⁄": "/", "“": "'", "”": "'", "„": "'", "‘": "'", "’": "'",
}  # fmt: skip


def readable(character: str) -> str:
    """A character in ASCII: `tau` for τ, `->` for →, `e` for é. Without such a form it is an escape: `\\u4e00`."""
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
    """The error handler: replaces one character. Bytes of a path that are not text are written unchanged."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character, after = error.object[error.start], error.start + 1
    is_byte = "\udc80" <= character <= "\udcff"  # os.fsdecode keeps undecodable bytes as these characters
    if is_byte and "a".encode(error.encoding) == b"a":
        return character.encode("ascii", "surrogateescape"), after
    return readable(character), after


codecs.register_error(HANDLER, _replace)


def make_readable(stream: Any) -> bool:
    """Makes the stream replace characters that its encoding lacks. Returns False if the stream was left unchanged.

    A handler that the user chose stays. Python's own handlers are strict, surrogateescape and, for stderr,
    backslashreplace. The streams of a notebook have no handlers, and a closed stream is None.
    """
    own = {"strict", "surrogateescape"} | ({"backslashreplace"} if stream in (sys.stderr, sys.__stderr__) else set())
    if not hasattr(stream, "reconfigure") or stream.errors not in own:
        return False
    stream.reconfigure(errors=HANDLER)
    return True


@contextmanager
def readable_streams() -> Iterator[None]:
    """Applies `make_readable` to stdout and stderr inside the block."""
    before = [(stream, getattr(stream, "errors", None)) for stream in (sys.stdout, sys.stderr)]
    changed: list[tuple[Any, Any]] = [(stream, errors) for stream, errors in before if make_readable(stream)]
    try:
        yield
    finally:
        for stream, errors in changed:
            with suppress(OSError, ValueError):  # it was closed, or its disk is full, which was reported before
                stream.reconfigure(errors=errors)
