"""Writes figures as text: units, numbers, names, and the conditions of the measurements."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from gsbench.fields import settings_of
from gsbench.settings.case import Settings
from gsbench.shown import printable, visible

NOT_MEASURED = "\N{EN DASH}"
EXACT_SUM = "the exact sum"
MODEL_NAMES = {"adgm": "ADGM", "m2": "M2"}
DATASET_NAMES = {"mnist": "MNIST", "omniglot": "Omniglot"}
STATUS_NAMES = {"too-large": "too large", "out-of-memory": "out of memory"}

_CASE = settings_of(Settings)
# The settings that a caption names: field → text, with `{}` for the value.
CAPTIONS = {
    s.record: s.caption for kind in ("work", "session", "task") for s in _CASE.values() if s.about == kind and s.caption
}


def seconds(value: float) -> str:
    """Three digits and a suitable unit: 840 µs, 12.3 ms, 1.70 s."""
    scale, unit = next((pair for pair in ((1.0, "s"), (1e-3, "ms")) if value >= pair[0]), (1e-6, "µs"))
    return f"{three_digits(value / scale)} {unit}"


def size(value: float) -> str:
    """Bytes in a suitable binary unit: 12.0 MiB, 3.40 GiB."""
    units = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
    scale, unit = next((pair for pair in units if value >= pair[0]), (1, "B"))
    return f"{three_digits(value / scale)} {unit}"


def three_digits(value: float) -> str:
    """At least three digits, never in powers of ten: 0.00123, 1.70, 12.3, 8,130."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    rounded = abs(float(f"{value:.3g}"))  # so that 99.96 becomes 100
    decimals = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{value:,.{decimals}f}"


def times(value: float) -> str:
    """A ratio: 9.90 ×."""
    return f"{three_digits(value)} \N{MULTIPLICATION SIGN}"


def percent(value: float) -> str:
    """A fraction as a percentage with one decimal: 0.9213 → 92.1 %."""
    return f"{100 * value:.1f} %"


def measure(value: float, write: Callable[[float], str]) -> str:
    """The value as text from `write`, or NOT_MEASURED."""
    return NOT_MEASURED if pd.isna(value) else write(value)


def cell(field: str, write: Callable[[Any], str] | None = None, none: str = "") -> Callable[[Mapping[Any, Any]], str]:
    """A function that writes a row's field; `none` if the row has no value."""
    return lambda row: none if row[field] is None or pd.isna(row[field]) else (write or plain)(row[field])


def interval(low: float, high: float, write: Callable[[float], str] = three_digits) -> str:
    """The interval after a figure: ` [9.10, 13.0]`; "" without an interval."""
    return "" if pd.isna(low) or pd.isna(high) else f" [{write(low)}, {write(high)}]"


def speedup(row: Mapping[Any, Any]) -> str:
    """`9.90 × [9.10, 13.0]`; "" if the row has no speed-up."""
    return cell("speedup", lambda found: times(found) + interval(row["speedup_low"], row["speedup_high"]))(row)


def interval_name(rows: pd.DataFrame) -> str:
    """The kind of the rows' intervals: `99 % bootstrap`."""
    levels = values(rows, "confidence")
    return f"{listed(f'{100 * level:g} %' for level in levels)} bootstrap" if levels else "the recorded"


def plain(value: Any) -> str:
    """A setting as text: whole numbers without a point, NOT_MEASURED for null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_MEASURED
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def one_line(value: Any) -> str:
    """`plain` in one line, with hidden characters made visible."""
    return visible(" ".join(plain(value).split()))


def model_name(model: str) -> str:
    return MODEL_NAMES.get(model, model)


def dataset_name(dataset: str) -> str:
    return DATASET_NAMES.get(dataset, dataset)


def status_name(status: str) -> str:
    return STATUS_NAMES.get(status, status)


def baseline_name(rows: pd.DataFrame) -> str:
    """The name of the rows' only baseline; "the exact sum" if there are several or none."""
    names = values(rows, "baseline")
    return names[0] if len(names) == 1 else EXACT_SUM


def values(rows: pd.DataFrame, field: str) -> list[Any]:
    """The distinct values of a field without nulls, in the order of first appearance."""
    return list(rows[field].dropna().unique())


def listed(items: Iterable[Any]) -> str:
    """`10`, `10 and 20`, `10, 20 and 50`."""
    *head, last = [plain(item) for item in items]
    return f"{', '.join(head)} and {last}" if head else last


def conditions(rows: pd.DataFrame) -> str:
    """The device and the settings of the rows, as the end of a figure's caption."""
    told = settings(rows)
    return f"Device: {devices(rows)}." + (f" Settings: {told}." if told else "")


def settings(rows: pd.DataFrame) -> str:
    """`preset small, batch 100, …`: the rows' settings in a caption."""
    found = [(form, in_order(values(rows, field))) for field, form in CAPTIONS.items()]
    return ", ".join(form.format(listed(own)) for form, own in found if own)


def in_order(found: Iterable[Any]) -> list[Any]:
    """Numbers in ascending order, then strings in alphabetical order."""
    return sorted(found, key=lambda value: (isinstance(value, str), value))


def devices(rows: pd.DataFrame, form: str = "{} ({})") -> str:
    """`cpu (AMD EPYC 7B13, 2 threads)`; several devices are joined by semicolons."""
    columns = ["device", "machine_cpu", "machine_gpu", "threads"]
    found = []
    for device, cpu, gpu, threads in rows[columns].drop_duplicates().itertuples(index=False):
        name = plain(cpu) if pd.isna(gpu) else plain(gpu)
        many = f", {plain(threads)} thread{'' if threads == 1 else 's'}" if not pd.isna(threads) else ""
        found.append(form.format(plain(device), name + many))
    return "; ".join(dict.fromkeys(found))


# A cell that begins with one of these is a formula to a spreadsheet. East Asian full-width forms count as well.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def csv_cell(value: Any) -> Any:
    """Text that a spreadsheet shows without computing it: an apostrophe is put before a would-be formula."""
    if not isinstance(value, str):
        return value
    is_formula = value.startswith(_FORMULA) and not re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", value)
    return ("'" if is_formula else "") + printable(value)


def csv_text(table: pd.DataFrame) -> str:
    """The table as CSV. Numbers have 15 digits, which a float64 always keeps; whole numbers have no point."""
    columns = [table.iloc[:, i] for i in range(table.shape[1])]
    written = [c if is_numeric_dtype(c) else pd.Series(list(map(csv_cell, c)), c.index, dtype=object) for c in columns]
    whole = pd.DataFrame(dict(enumerate(written)), index=table.index)
    whole.columns = pd.Index([csv_cell(str(name)) for name in table.columns], dtype=object)
    return str(whole.to_csv(index=False, float_format="%.15g", lineterminator="\n"))
