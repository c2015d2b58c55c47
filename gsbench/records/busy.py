"""How other programs disturbed a run's times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from gsbench.records.text import plain

ROOM = 0.25  # cores: the usual load of an idle machine


def busy_notice(records: Sequence[Mapping[str, Any]]) -> str:
    """A sentence that warns if other programs took cores that cases needed; else ""."""
    measured = [record for record in records if record.get("status") == "ok"]
    told = [record for record in measured if record.get("other_cores") is not None]
    crowded = [record for record in told if is_crowded(record)]
    if not crowded:
        return ""
    most = max(crowded, key=lambda record: record["other_cores"])
    cases = f"{len(crowded)} of {len(told)} cases were" if len(told) > 1 else "the one case was"
    return (
        f"Other programs computed while {cases} measured (up to {most['other_cores']:.1f} of "
        f"{plain(most['machine_cores'])} cores): those times are too long. Times of two cases "
        "that were not measured in pairs cannot be compared."
    )


def is_crowded(record: Mapping[str, Any]) -> bool:
    """Whether other programs took cores that the case needed; False if the record does not say."""
    names = ("other_cores", "machine_cores", "threads")
    others, cores, threads = (0.0 if pd.isna(value := record.get(name)) else float(value or 0) for name in names)
    return cores > 0 and others > ROOM and others + max(threads, 1.0) > cores + ROOM


def crowded_rows(frame: pd.DataFrame) -> list[bool]:
    """`is_crowded` for each row of a tidy frame. A case too short to tell takes the value of the case before it in the
    same session, or of the case after it if there is none before.
    """
    if "other_cores" not in frame:
        return [False] * len(frame)
    known = pd.to_numeric(frame["other_cores"]).groupby(frame["run_id"], sort=False, dropna=False)
    others = known.transform(lambda of_session: of_session.ffill().bfill())
    return [is_crowded(row) for row in frame.assign(other_cores=others).to_dict("records")]
