"""Which settings tell rows apart, and the labels made of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gsbench.report.text import plain


def distinguishing(rows: pd.DataFrame, fields: Sequence[str]) -> list[str]:
    """The fewest fields, taken in their order, that tell apart all that the fields can tell apart.

    A field that is null in some rows and has one value in all others tells nothing.
    """
    chosen: list[str] = []
    kinds = 1
    for field in fields:
        if rows[field].nunique() > 1 and (more := len(rows[[*chosen, field]].drop_duplicates())) > kinds:
            chosen, kinds = [*chosen, field], more
    return chosen


def settings_labels(rows: pd.DataFrame, fields: Sequence[str], heads: Sequence[str]) -> list[str]:
    """For each row its head and its settings, such as `glyphs, labelled_per_class 20`; nulls are left out."""
    columns = [["" if pd.isna(value) else f"{field} {plain(value)}" for value in rows[field]] for field in fields]
    return [", ".join(filter(None, parts)) for parts in zip(heads, *columns, strict=True)]
