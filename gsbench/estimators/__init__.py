"""The estimators by name. A new estimator needs a file with an `Estimator` class and a line in `ESTIMATORS`."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Sequence
from typing import Any

from gsbench.estimators.base import FLAGS, NO_FACTS, Y_ENTERS, ClassNumbers, Estimate, Estimator
from gsbench.estimators.gumbel_rao import GumbelRao
from gsbench.estimators.gumbel_softmax import GumbelSoftmax
from gsbench.estimators.marginalize import Marginalize
from gsbench.estimators.marginalize_streamed import MarginalizeStreamed
from gsbench.estimators.reinmax import ReinMax
from gsbench.estimators.score_function import ScoreFunction
from gsbench.estimators.softmax_straight_through import SoftmaxStraightThrough
from gsbench.estimators.sparsemax import Sparsemax
from gsbench.estimators.straight_through import StraightThrough
from gsbench.estimators.sum_and_relax import SumAndRelax
from gsbench.estimators.sum_and_sample import SumAndSample
from gsbench.estimators.unordered_set import UnorderedSet
from gsbench.estimators.zgr import Zgr
from gsbench.fields import kind_of
from gsbench.registry import Registry, class_fault
from gsbench.values import BLANKS, did_you_mean, not_known, number, parts, shown, whole

_NAME = re.compile(r"[\w-]+")


def _fault(thing: Any) -> str:
    """What is wrong with a registered class. All settings need defaults, because a name alone spells an estimator."""
    if fault := class_fault(Estimator)(thing):
        return fault
    if not _NAME.fullmatch(thing.name):
        return f"needs a name of letters, digits, - and _, got {thing.name!r}"
    if fault := _settings_fault(thing):
        return fault
    if not (isinstance(thing.biased, tuple) and set(thing.biased) <= {"value", "gradient"}):
        return f'needs biased = ("value",), ("gradient",), both or (), got {thing.biased!r}'
    if thing.y_enters not in Y_ENTERS:
        return f"needs one of {', '.join(Y_ENTERS)} as y_enters, got {thing.y_enters!r}"
    return ""


def _settings_fault(thing: type[Estimator]) -> str:
    """What is wrong with a setting. Settings are spelled on the command line and stand in records."""
    settings = dataclasses.fields(thing)
    if bare := [setting.name for setting in settings if setting.default is dataclasses.MISSING]:
        return f"needs a default for {', '.join(bare)}"
    if taken := [setting.name for setting in settings if hasattr(Estimator, setting.name)]:
        return f"has a setting named {taken[0]}, which is a fact of every estimator: write {taken[0]}: ClassVar[…]"
    try:
        hints = typing.get_type_hints(thing)
    except NameError as error:
        return f"has an annotation that cannot be read: {error}"
    for setting in settings:
        kind, _ = kind_of(hints[setting.name])
        if kind not in (int, float, str, bool):
            return f"needs settings that are int, float, str or bool, got {setting.name}: {setting.type}"
    return ""


ESTIMATORS: Registry[type[Estimator]] = Registry(
    "estimator",
    (
        Marginalize,
        MarginalizeStreamed,
        GumbelSoftmax,
        StraightThrough,
        GumbelRao,
        ReinMax,
        ScoreFunction,
        SumAndSample,
        SumAndRelax,
        UnorderedSet,
        Zgr,
        SoftmaxStraightThrough,
        Sparsemax,
    ),
    _fault,
)

_SPELLING = re.compile(rf"({_NAME.pattern})\s*(?:\((.*)\))?", re.DOTALL)
_WORDS = {"None": None, "True": True, "False": False}


def _value(text: str) -> int | float | str | None:
    """The text as an integer, another number, None, True or False; otherwise unchanged, for the setting's own check."""
    for read in (whole().read, number):
        try:
            return read(text)
        except ValueError:
            pass
    return _WORDS.get(text.strip(BLANKS), text.strip(BLANKS))


def parse_estimator(text: str, besides: Sequence[str] = ()) -> Estimator:
    """The estimator that `text` spells: a name, or a name with settings such as `gumbel-softmax(tau=0.5,draws=2)`.

    besides   further names that the caller accepts; the error message lists them

    Raises ValueError with the names or settings that are allowed.
    """
    match = _SPELLING.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"cannot read estimator {shown(text)}; write a name, or name(setting=value,…)")
    name, arguments = match.groups()
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {not_known(name, [*ESTIMATORS, *besides])}")
    known = [field.name for field in dataclasses.fields(ESTIMATORS[name])]
    settings: dict[str, int | float | str | None] = {}
    for part in parts(arguments) if arguments and arguments.strip() else []:
        key, equals, value = part.partition("=")
        key = key.strip(BLANKS)
        if not equals or key not in known:
            close = did_you_mean(key, known)
            raise ValueError(f"estimator {name!r} has no setting {shown(part)}; settings: {', '.join(known)}{close}")
        if key in settings:
            raise ValueError(f"estimator {shown(text)}: {key} must be given once, got it twice")
        settings[key] = _value(value)
    try:
        return ESTIMATORS[name](**settings)
    except ValueError as error:
        raise ValueError(f"estimator {shown(text)}: {error}") from error


def baseline_fields(text: str) -> dict[str, Any]:
    """Record fields of the estimator that others are timed in pairs with: its spelling, and whether it is exact."""
    return {"baseline": text, "baseline_exact_sum": parse_estimator(text).exact}


def parse_estimators(text: str) -> list[Estimator]:
    """The estimators of a comma-separated list, without repeats. Commas within parentheses belong to settings."""
    spellings = parts(text)
    if not all(spellings):
        where = "no estimator" if not any(spellings) else "an empty place"
        raise ValueError(f"{where} in {shown(text)}; known: {', '.join(ESTIMATORS)}")
    return list(dict.fromkeys(parse_estimator(each) for each in spellings))


__all__ = [
    "ESTIMATORS",
    "FLAGS",
    "NO_FACTS",
    "ClassNumbers",
    "Estimate",
    "Estimator",
    "baseline_fields",
    "parse_estimator",
    "parse_estimators",
]
