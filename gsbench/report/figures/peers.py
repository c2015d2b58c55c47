"""The speed of gsbench relative to formulations in use today."""

from __future__ import annotations

import pandas as pd

from gsbench.records import text
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.forest import Forest
from gsbench.report.drawing.shapes import Metric
from gsbench.report.figures.metrics import PEER_SPEED
from gsbench.report.peer_table import TIMED, TITLE, lost_name, peer_rows, timed_note, versions

KINDS = {True: "the exact sum", False: "sampling"}
USUAL = "unlabelled-step"  # lines do not name this usual case of `timed`
KEY = ["column", "panel", "heading", "y", "kind", "estimator", "series"]


def _points(rows: pd.DataFrame) -> pd.DataFrame:
    """A panel for the exact sums and one for sampling; each (model, K) has a heading and a line for each peer."""
    several = rows["model"].nunique() > 1
    place = {name: i for i, name in enumerate(TIMED)}
    is_sum = rows["exact_sum"] == 1
    ok = rows["status"] == "ok"
    points = rows.assign(
        panel="gsbench: " + is_sum.map(KINDS), column=(~is_sum).astype(int),
        heading=[f"{f'{text.model_name(m)}, ' if several else ''}K = {k:,.0f}"
                 for m, k in zip(rows["model"], rows["n_classes"], strict=True)],
        y=[_line(*row) for row in zip(rows["baseline"], rows["timed"], strict=True)],
        kind=[*("" if fits else lost_name(row) for fits, row in zip(ok, rows.itertuples(), strict=True))],
        x=rows["speedup"], x_low=rows["speedup_low"], x_high=rows["speedup_high"],
        place=[place.get(timed, 9) for timed in rows["timed"]],
    ).sort_values(["model", "n_classes", "place", "baseline"], kind="stable")  # fmt: skip
    medians = points.groupby(KEY, sort=False, as_index=False)[["x", "x_low", "x_high"]].median()
    return medians.assign(row=0, note=medians["kind"])


def _line(peer: str, timed: str) -> str:
    return peer if timed == USUAL else f"{peer}, {TIMED.get(timed, timed)}".rstrip(", ")


def _caption(rows: pd.DataFrame, _: pd.DataFrame) -> str:
    ok = rows[rows["status"] == "ok"]
    return (
        "Timed in pairs, the peer and gsbench alternating in one process, from equal weights: median of the pairs' "
        f"ratios, bars: {text.interval_name(ok)} interval; right of the line gsbench is faster. {timed_note(rows)} "
        f"{versions(ok)}"
    )


FIGURES = (
    Figure(
        60, "peers", "whom", "peer", TITLE, rows=lambda frame, _: peer_rows(frame), points=_points,
        shape=Forest(PEER_SPEED.with_direction(), Metric("peer"), panel=(3.3, 0), share={"sharex": True}),
        caption=_caption, missed="if its group was measured",
    ),
)  # fmt: skip
