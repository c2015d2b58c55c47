"""Declares each setting once, as a field of a frozen dataclass. The field holds everything about the setting:

    tau_decay: float = setting(1.0, "an estimator's τ is multiplied by this after each epoch", Range(above=0, most=1))

The type, the default and the declaration determine its check and message, its option, its kind in a TOML file, its
field in a record, and whether two runs with different values are told apart.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass
from typing import Any

from gsbench.values import Range, SettingError, not_known, number, parts, shown, whole

_DECLARED = "setting"  # the key of a field's metadata
PAIR = "must be (low, high) with low < high"


@dataclass(frozen=True)
class Declared:
    """A field's declaration of its setting.

    help      the help of its option
    check     a `Range`; the names that are known; a function that raises SettingError; None: anything of its type
    about     the aspect of a measurement that it sets: "session" how it is computed, "work" the cost of a step, "task"
              the problem behind an accuracy, "evaluation" how accuracy is measured, "budget" the end of a run; "" none
    option    the name of its option; "": its own
    record    the name of its field in a record; "": its own
    caption   its words in a caption, with {} for its value; "": none
    filled    None stands for a number that the run computes and writes into its record
    """

    help: str
    check: Range | Collection[str] | Callable[[Any], Any] | None = None
    about: str = ""
    option: str = ""
    record: str = ""
    caption: str = ""
    filled: bool = False


@dataclass(frozen=True)
class Setting(Declared):
    """A setting as `settings_of` finds it. `kind` is int, float, bool or str, or tuple: a pair (low, high)."""

    name: str = ""
    kind: type = str
    or_none: bool = False
    default: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that it allows; empty if it is not a name or allows any."""
        return () if self.check is None or isinstance(self.check, Range) or callable(self.check) else (*self.check,)

    def checked(self, value: Any) -> Any:
        """The value in its one form, so that records of the same run agree. Raises SettingError that says what is
        allowed.
        """
        if value is None and self.or_none:
            return None
        if self.kind in (int, float):
            allowed = self.check if isinstance(self.check, Range) else Range(whole=self.kind is int)
            allowed.check(self.name, value)
            return self.kind(value) + 0  # -0.0 is 0
        if self.kind is tuple:
            is_pair = isinstance(value, (list, tuple)) and len(value) == 2 and all(v in Range() for v in value)
            if not is_pair or not value[0] < value[1]:
                raise SettingError(f"{{{self.name}}} {PAIR}", f", got {shown(value)}")
            return tuple(map(float, value))
        if self.names and (not isinstance(value, str) or value not in self.names):
            raise SettingError(f"unknown {{{self.name}}}", f" {not_known(value, self.names)}")
        if not isinstance(value, self.kind):
            allowed_kind = "true or false" if self.kind is bool else "text"
            raise SettingError(f"{{{self.name}}} must be {allowed_kind}", f", got {shown(value)}")
        if callable(self.check):
            self.check(value)
        return value

    def read(self, text: str) -> Any:
        """The value in an option's text, of the setting's kind. `checked` does the rest. Raises ValueError."""
        readers: dict[type, Callable[[str], Any]] = {int: whole().read, float: number, tuple: _pair}
        return readers.get(self.kind, str)(text)


def _pair(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(number, parts(text)))
    except ValueError:
        raise ValueError(f"{PAIR}, such as -4.6,2.3, got {shown(text)}") from None


def setting(default: Any, help: str, check: Any = None, *, factory: Any = MISSING, **more: Any) -> Any:
    """A dataclass field with the entries of `Declared`. default MISSING: the setting must be given."""
    declared = Declared(help, check, **more)
    field: Any = dataclasses.field
    return field(default=default, default_factory=factory, metadata={_DECLARED: declared})


def kind_of(hint: Any) -> tuple[type, bool]:
    """The type that an annotation names, and whether it allows None: `float | None` gives float and True."""
    either = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    kind = next(one for one in either if one is not type(None))
    return typing.get_origin(kind) or kind, type(None) in either


@functools.cache
def settings_of(cls: type) -> Mapping[str, Setting]:
    """The settings of a dataclass by name, in the order of its fields. Fields that declare no setting are left out."""
    hints = typing.get_type_hints(cls)
    found = {}
    for field in dataclasses.fields(cls):
        if declared := field.metadata.get(_DECLARED):
            kind, or_none = kind_of(hints[field.name])
            told = {**vars(declared), "option": declared.option or field.name, "record": declared.record or field.name}
            found[field.name] = Setting(**told, name=field.name, kind=kind, or_none=or_none, default=field.default)
    return types.MappingProxyType(found)


def check_all(instance: Any) -> None:
    """Checks every setting of a dataclass that is being made and converts it to its one form. Raises SettingError."""
    cls: Any = type(instance)
    for name, declared in settings_of(cls).items():
        object.__setattr__(instance, name, declared.checked(getattr(instance, name)))


def recorded(instance: Any) -> dict[str, Any]:
    """The settings of a dataclass as in a record. Pairs are lists, as in JSON."""
    cls: Any = type(instance)
    values = {s.record: getattr(instance, name) for name, s in settings_of(cls).items()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def about(settings: Mapping[str, Setting], *kinds: str) -> tuple[str, ...]:
    """The fields in records of the settings that are about one of these, in this order."""
    return tuple(s.record for kind in kinds for s in settings.values() if s.about == kind)
