"""The estimators by name. Adding one is a file with an `Estimator` and a line in `ESTIMATORS`."""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any

from gsbench.estimators.base import ClassNumbers, Estimate, Estimator
from gsbench.estimators.gumbel_rao import GumbelRao
from gsbench.estimators.gumbel_softmax import GumbelSoftmax
from gsbench.estimators.marginalize import Marginalize
from gsbench.estimators.marginalize_streamed import MarginalizeStreamed
from gsbench.estimators.reinmax import ReinMax
from gsbench.estimators.score_function import ScoreFunction
from gsbench.estimators.sparsemax import Sparsemax
from gsbench.estimators.straight_through import StraightThrough
from gsbench.estimators.sum_and_sample import SumAndSample

ESTIMATORS: dict[str, type[Estimator]] = {
    estimator.name: estimator
    for estimator in (
        Marginalize,
        MarginalizeStreamed,
        GumbelSoftmax,
        StraightThrough,
        GumbelRao,
        ReinMax,
        ScoreFunction,
        SumAndSample,
        Sparsemax,
    )
}

_SPELLING = re.compile(r"\s*([\w-]+)\s*(?:\((.*)\))?\s*", re.DOTALL)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, ValueError):
        return text.strip()


def parse_estimator(text: str) -> Estimator:
    """The estimator that `text` spells: a name, or a name with settings such as `gumbel-softmax(tau=0.5,draws=2)`.

    Raises ValueError that names what is known or allowed.
    """
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise ValueError(f"cannot read estimator {text!r}; write a name, or name(setting=value,…)")
    name, arguments = match.groups()
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {name!r}; known: {', '.join(ESTIMATORS)}")
    settings = {}
    for part in filter(str.strip, (arguments or "").split(",")):
        key, equals, value = part.partition("=")
        known = [field.name for field in dataclasses.fields(ESTIMATORS[name])]
        if not equals or key.strip() not in known:
            raise ValueError(f"estimator {name!r} has no setting {part.strip()!r}; settings: {', '.join(known)}")
        settings[key.strip()] = _value(value)
    try:
        return ESTIMATORS[name](**settings)
    except ValueError as error:
        raise ValueError(f"estimator {text!r}: {error}") from error


def parse_estimators(text: str) -> list[Estimator]:
    """The estimators of a comma-separated list (commas within parentheses belong to settings), each once."""
    parts = [part for part in re.split(r",(?![^()]*\))", text) if part.strip()]
    if not parts:
        raise ValueError(f"no estimator in {text!r}; known: {', '.join(ESTIMATORS)}")
    return list(dict.fromkeys(parse_estimator(part) for part in parts))


__all__ = ["ESTIMATORS", "ClassNumbers", "Estimate", "Estimator", "parse_estimator", "parse_estimators"]
