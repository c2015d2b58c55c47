"""The settings that tell rows apart, and labels made from them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from gsbench.records.text import plain


def distinguishing(rows: pd.DataFrame, fields: Sequence[str]) -> list[str]:
    """The fewest fields, in the given order, that tell apart as many rows as all fields together.

    A field with one value apart from nulls does not tell rows apart.
    """
    chosen: list[str] = []
    kinds = 1
    for field in fields:
        if rows[field].nunique() > 1 and (more := len(rows[[*chosen, field]].drop_duplicates())) > kinds:
            chosen, kinds = [*chosen, field], more
    return chosen


def settings_labels(rows: pd.DataFrame, fields: Sequence[str], heads: Sequence[str]) -> list[str]:
    """Each row's head and settings, such as `glyphs, labelled_per_class 20`. Nulls are left out."""
    columns = [["" if pd.isna(value) else f"{field} {plain(value)}" for value in rows[field]] for field in fields]
    return [", ".join(filter(None, parts)) for parts in zip(heads, *columns, strict=True)]
