"""What users write, read and checked: one strict parser for each kind of value, and one form of message for each fault.

The commands, the options of `pytest bench/`, the spellings of estimators and the settings' own checks all use it.
Numbers are written in the digits 0 to 9: Python's own `int` and `float` also take `1_0` and the digits of other
scripts, which are more often a slip than meant.
"""

from __future__ import annotations

import difflib
import math
import numbers
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST = 2**63 - 1  # the largest integer of TOML and NumPy
LONGEST_SECONDS = 1e9  # some 30 years
SHOWN = 80  # characters of a wrong value shown in a message
BLANKS = " \t"

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}

_INTEGER = r"[+-]?[0-9]+"
_UNSIGNED = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
NUMBER = rf"[+-]?{_UNSIGNED}(?:[eE][+-]?[0-9]+)?"  # as `number` reads it
_SIZE = rf"({_UNSIGNED})\s*([A-Za-z]*)"


class SettingError(ValueError):
    """A setting has a value that cannot be used.

    template   the message, in which each setting stands in braces: `{n_classes} must be >= 2`. Who shows the message
               can spell the setting as its user did, such as `--classes`
    rest       what follows, as it is: it may repeat what the user wrote
    """

    def __init__(self, template: str, rest: str = "") -> None:
        super().__init__(template, rest)
        self.template, self.rest = template, rest

    @property
    def fields(self) -> list[str]:
        """The settings that the message names."""
        return re.findall(r"\{(\w+)\}", self.template)

    def told(self, spell: Callable[[str], str]) -> str:
        """The message with each setting as `spell` spells it."""
        return re.sub(r"\{(\w+)\}", lambda match: spell(match[1]), self.template) + self.rest

    def __str__(self) -> str:
        return self.told(str)


def shown(value: Any) -> str:
    """A wrong value for a message: text in quotes, long values cut."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "an integer of more than 4,300 digits"
    if len(text) <= SHOWN:
        return text
    return f"{text[: SHOWN // 2]}…{text[-SHOWN // 4 :]} ({len(text):,} characters)"


def not_known(name: Any, known: Iterable[str]) -> str:
    """The end of a message such as "unknown estimator …": the name, the known names, and a close one of them."""
    known = list(known)
    return f"{shown(name)}; known: {', '.join(known)}{did_you_mean(name, known)}"


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """`; did you mean '--classes'?`, or nothing if no known name is close. Case is ignored."""
    if not isinstance(name, str) or len(name) > SHOWN:
        return ""
    lower = {each.lower(): each for each in known}
    return "".join(f"; did you mean {lower[found]!r}?" for found in difflib.get_close_matches(name.lower(), lower, n=1))


# Numbers


@dataclass(frozen=True)
class Range:
    """The numbers that a setting allows: finite ones from `least` (or above `above`) to `most` (or below `below`).

    whole   integers alone
    """

    whole: bool = False
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def __contains__(self, value: Any) -> bool:
        if not self._is_number(value) or not self._fits(value):
            return False
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def _is_number(self, value: Any) -> bool:
        kind = numbers.Integral if self.whole else numbers.Real
        return isinstance(value, kind) and not isinstance(value, bool)

    def _fits(self, value: Any) -> bool:
        """Whether NumPy can hold the value: no integer of hundreds of digits, only finite numbers."""
        return abs(int(value)) <= LARGEST if isinstance(value, numbers.Integral) else math.isfinite(value)

    @property
    def _kind(self) -> str:
        if self.whole:
            return "an integer"
        return "a finite number" if self.most is None and self.below is None else "a number"

    def _bounds(self, value: Any) -> str:
        """The bounds in words. Implicit ones (finite, within NumPy's integers) are named if `value` breaks them."""
        bounds = ((">=", self.least), (">", self.above), ("<=", self.most), ("<", self.below))
        said = [f"{sign} {bound:.12g}" for sign, bound in bounds if bound is not None]
        if self._is_number(value) and not self._fits(value):
            largest = f">= {-LARGEST}" if value < 0 else f"<= {LARGEST}"
            said.append(largest if isinstance(value, numbers.Integral) else "finite")
        return " and ".join(said)

    def check(self, name: str, value: Any, or_none: bool = False) -> None:
        """Raises SettingError if the value of the setting `name` is neither in the range nor an allowed None."""
        if value in self or (or_none and value is None):
            return
        allowed = self._bounds(value) if self._is_number(value) else f"{self._kind} {self._bounds(value)}".strip()
        raise SettingError(f"{{{name}}} must be {allowed}", f", got {shown(value)}")

    def read(self, text: str) -> Any:
        """The number in the text. Raises ValueError that says what is allowed."""
        value = _integer(text) if self.whole else _number(text)
        if value not in self:
            allowed = f"{self._kind} {self._bounds(value if self.whole else None)}".strip()
            raise ValueError(f"must be {allowed}, got {shown(text)}")
        return value


def _integer(text: str) -> int | None:
    """The integer in the text; None if it is not one."""
    text = text.strip(BLANKS)
    if not re.fullmatch(_INTEGER, text):
        return None
    return int(text[:4000])  # Python reads at most 4,300 digits; so many are too large anyway


def _number(text: str) -> float | None:
    text = text.strip(BLANKS)
    return float(text) + 0.0 if re.fullmatch(NUMBER, text) else None  # -0 is 0


def whole(least: int | None = None, most: int | None = None) -> Range:
    """Integers from `least` to `most`."""
    return Range(whole=True, least=least, most=most)


SEED = whole(0)
SECONDS = Range(above=0, most=LONGEST_SECONDS)


def number(text: str) -> float:
    """Any finite number. Raises ValueError that says what is allowed."""
    return float(Range().read(text))


def byte_count(text: str) -> int:
    """The bytes of "8GiB", "500MB" or a plain number of bytes. Raises ValueError that says what is allowed."""
    match = re.fullmatch(_SIZE, text.strip(BLANKS))
    unit = UNITS.get(match[2].upper()) if match else None
    size = float(match[1]) * unit if match and unit else 0.0
    if not UNITS["MB"] <= size <= LARGEST:
        most = " and at most 8EiB" if size > LARGEST else ""
        raise ValueError(f"must be a size of at least 1MB{most}, such as 500MB, 8GiB or 8000000000, got {shown(text)}")
    return int(size)


# Lists


def parts(text: str) -> list[str]:
    """The parts of a comma-separated list without the blanks around them. Commas in parentheses do not separate.

    A part may be empty: `10,` is most likely a list whose end was lost, and no reader of parts takes an empty one.
    """
    pieces: list[list[str]] = [[]]
    depth = 0
    for character in text:
        depth = max(0, depth + {"(": 1, ")": -1}.get(character, 0))
        if character == "," and not depth:
            pieces.append([])
        else:
            pieces[-1].append(character)
    return ["".join(piece).strip(BLANKS) for piece in pieces]


def integers(what: str, least: int, example: str) -> Callable[[str], tuple[int, ...]]:
    """A parser of comma-separated integers >= `least`, such as "50,10" → (10, 50): sorted, each once."""

    def parse(text: str) -> tuple[int, ...]:
        values = [_integer(part) for part in parts(text)]
        range_ = whole(least)
        if any(value not in range_ for value in values):
            most = f" and <= {LARGEST}" if any(value is not None and value > LARGEST for value in values) else ""
            raise ValueError(f"{what} are integers >= {least}{most} such as {example}, got {shown(text)}")
        return tuple(sorted({value for value in values if value is not None}))

    return parse


# Names and paths


def name(what: str, known: Iterable[str]) -> Callable[[str], str]:
    """A parser of one known name."""
    known = tuple(known)

    def parse(text: str) -> str:
        if text.strip(BLANKS) not in known:
            raise ValueError(f"unknown {what} {not_known(text, known)}")
        return text.strip(BLANKS)

    return parse


def names(what: str, known: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """A parser of comma-separated known names, each once."""
    one = name(what, known)
    return lambda text: tuple(dict.fromkeys(map(one, parts(text))))


def path(text: str) -> Path:
    """A path that a file or folder can have, whether or not it exists. Raises ValueError."""
    if not text:
        raise ValueError("must be the name of a file or folder, got ''")
    try:
        os.lstat(text)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except (OSError, ValueError) as error:  # too long, or with a character that no name can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"must be the name of a file or folder, got {shown(text)}: {reason}") from None
    return Path(text)


def expanded(path: str | Path, named_by: str) -> Path:
    """The path with `~` and `~user` replaced by home folders. Raises ValueError if there is none.

    named_by   where the path was named, for the message: an option or an environment variable
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{named_by} {str(path)!r} cannot be used: {error}") from None


def figure_path(text: str) -> Path:
    """A path whose name ends in .png or .svg."""
    found = path(text)
    if found.suffix not in (".png", ".svg"):
        raise ValueError(f"a figure's name ends in .png or .svg, got {shown(text)}")
    return found
