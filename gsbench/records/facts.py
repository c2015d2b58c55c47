"""Adds facts of estimators to old records that lack them. No other file derives facts from a name."""

from __future__ import annotations

import functools
from typing import Any

from gsbench.estimators import NO_FACTS, Estimator, baseline_fields, parse_estimator
from gsbench.records.reading import Record
from gsbench.settings.run import LABELS_ONLY


def with_facts(record: Record) -> Record:
    """The record with `Estimator.facts` and, if it has a baseline, `baseline_exact_sum`.

    Facts in the record are kept. Facts of an unknown estimator stay null.
    """
    facts = {**_facts(record.get("estimator"), record.get("n_classes")), **_facts_of_baseline(record.get("baseline"))}
    return {**record, **{name: value for name, value in facts.items() if record.get(name) is None}}


@functools.cache
def _facts(name: str | None, n_classes: float | None) -> dict[str, Any]:
    if name == LABELS_ONLY:
        return NO_FACTS
    estimator = _parsed(name or "")
    return estimator.facts(int(n_classes)) if estimator and n_classes else {}


@functools.cache
def _facts_of_baseline(name: str | None) -> dict[str, Any]:
    return baseline_fields(name) if name and _parsed(name) else {}


def _parsed(name: str) -> Estimator | None:
    try:
        return parse_estimator(name)
    except ValueError:
        return None
