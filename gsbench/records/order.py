"""The order of estimators in tables, figures and plans."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from gsbench.estimators import ESTIMATORS
from gsbench.settings.run import LABELS_ONLY

OWN = (*ESTIMATORS.own, LABELS_ONLY)


def family(name: str) -> str:
    """The name without its settings."""
    return name.split("(")[0]


def by_estimator(names: Iterable[str]) -> list[str]:
    """The distinct names: gsbench's own first, in the order of `ESTIMATORS`, each followed by its variants with
    settings, such as `gumbel-softmax(tau=0.5)`; then the others in alphabetical order.
    """
    rank = {name: i for i, name in enumerate(OWN)}
    return sorted(set(names), key=lambda name: (rank.get(family(name), len(rank)), name))


def in_order(rows: pd.DataFrame, by: Sequence[str], **orders: Sequence[str]) -> pd.DataFrame:
    """The rows sorted by these columns: estimators as in `by_estimator`, other columns as in `orders`."""
    orders = {"estimator": by_estimator(rows["estimator"]), **orders}
    ranks = {name: {value: rank for rank, value in enumerate(order)} for name, order in orders.items()}
    return rows.sort_values(
        list(by), kind="stable", key=lambda own: own.map(ranks[own.name]) if own.name in ranks else own
    )
