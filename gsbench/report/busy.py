"""What other programs did to a run's times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gsbench.report.text import plain

ROOM = 0.25  # cores: what is always going on


def busy_notice(records: Sequence[Mapping[str, Any]]) -> str:
    """A sentence where other programs took cores that cases needed; else nothing."""
    measured = [record for record in records if record.get("status") == "ok"]
    told = [record for record in measured if record.get("other_cores") is not None]
    crowded = [record for record in told if _crowded(record)]
    if not crowded:
        return ""
    most = max(crowded, key=lambda record: record["other_cores"])
    cases = f"{len(crowded)} of {len(told)} cases" if len(told) > 1 else "the one case"
    return (
        f"Other programs computed while {cases} were measured (up to {most['other_cores']:.1f} of "
        f"{plain(most['machine_cores'])} cores): those times are too long, and times of two cases that were not "
        "measured in pairs cannot be held against each other."
    )


def _crowded(record: Mapping[str, Any]) -> bool:
    others, cores, threads = (float(record.get(name) or 0) for name in ("other_cores", "machine_cores", "threads"))
    return cores > 0 and others > ROOM and others + max(threads, 1.0) > cores + ROOM
