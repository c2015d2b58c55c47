"""The verdict: which estimator to use at each K, by the time that it takes to nearly the best accuracy here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import make_curves, make_frame, names_with
from gsbench.records.reading import Record
from gsbench.records.reference import reference
from gsbench.report.blocks import Block, Fold, Paragraph, Table
from gsbench.report.glance import KEY, glance_cells
from gsbench.report.predicted import OWN, REFERENCE, percent_after, predictions, seconds_to
from gsbench.report.writers.terminal import written

SAMPLER = "gumbel-softmax"
SHARE = 0.95  # of the best final accuracy: the time until then decides
SHARES = (0.5, 0.8, 0.9, 0.95)
TIMES = {"1 min": 60.0, "5 min": 300.0, "30 min": 1800.0, "1 h": 3600.0}
LEAST_SPREAD = 1.0  # percentage points; final accuracies as near as this are equal
NEVER = "never"
LINES = (f"time to {100 * SHARE:.0f} %", "final accuracy", "peak memory")  # of a cell of the table


@dataclass(frozen=True)
class Verdict:
    """The choice at one K of one series and model.

    points   the predictions by estimator, in the order of tables
    best     the greatest final accuracy (percent)
    equal    the estimators whose final accuracy is the best within the seeds' spread
    use      the one of them with the least `time`
    exact    the cheapest exact sum; None if none was timed
    """

    series: str
    model: str
    k: float
    points: dict[str, pd.DataFrame]
    best: float
    equal: list[str]
    use: str
    exact: str | None

    @property
    def target(self) -> float:
        return SHARE * self.best

    def time(self, name: str | None) -> float:
        """Seconds to the target; nan if the estimator never reaches it or was not measured."""
        return seconds_to(self.points[name], self.target) if name in self.points else math.nan

    def final(self, name: str) -> float:
        return float(self.points[name]["final"].iloc[0])


def verdicts(frame: pd.DataFrame, curves: pd.DataFrame) -> list[Verdict]:
    """A verdict for each series, model and K at which an exact sum or the sampler has a rival with a known accuracy."""
    found, rows = [], predictions(frame, curves)
    if rows.empty:
        return []
    sums = names_with(frame, "exact_sum")
    for (series, model, k), own in rows.groupby(KEY, sort=True):
        points = {name: of.reset_index(drop=True) for name, of in own.groupby("estimator", sort=False)}
        if len(points) < 2:
            continue
        finals = {name: of.iloc[0] for name, of in points.items()}
        best = max(finals, key=lambda name: finals[name]["final"])
        top = finals[best]
        spread = max(LEAST_SPREAD, top["final"] - top["final_low"])
        equal = [name for name, of in finals.items() if of["final"] >= top["final"] - spread]
        times = {name: seconds_to(points[name], SHARE * top["final"]) for name in equal}
        known = {name: seconds for name, seconds in times.items() if not pd.isna(seconds)}
        cheapest = [n for n in sums if n in points]
        exact = min(cheapest, key=lambda n: seconds_to(points[n], finals[n]["final"] * SHARE), default=None)
        use = min(known, key=known.__getitem__)
        found.append(Verdict(series, model, float(k), points, float(top["final"]), equal, use, exact))
    return found


def verdict_sentence(found: list[Verdict]) -> str:
    """One sentence for the largest K; "" without a verdict."""
    if not found:
        return ""
    one = max(found, key=lambda verdict: verdict.k)
    rivals = [name for name in (one.exact, SAMPLER) if name and name != one.use and name in one.points]
    told = [f"{name} {_reached(one, name)}" for name in rivals]
    compared = f"; {' and '.join(told)}" if told else ""
    data, of_use = one.points[one.use].iloc[0], text.seconds(one.time(one.use))
    return (
        f"At K = {one.k:,.0f}, use {one.use}: it comes to {one.target:.0f} % accuracy, which is {100 * SHARE:.0f} % of "
        f"the best, in {of_use} of training on this machine{compared}. ({text.model_name(one.model)} on glyphs, preset "
        f"{data['preset']}.)"
    )


def _reached(verdict: Verdict, name: str) -> str:
    seconds = verdict.time(name)
    if pd.isna(seconds):
        return f"never does (it ends at {verdict.final(name):.0f} %)"
    return f"takes {text.seconds(seconds)} ({text.times(seconds / verdict.time(verdict.use))})"


def verdict_table(frame: pd.DataFrame, found: list[Verdict]) -> Table:
    """A row for each K: the estimator to use, and time, final accuracy and memory of it, the sum and the sampler."""
    cells, several = glance_cells(frame), len({verdict.series for verdict in found}) > 1
    rows = []
    for one in found:
        names = (one.use, one.exact, SAMPLER)
        memory = [cells.get((one.series, one.model, int(one.k), name, "peak_bytes"), math.nan) for name in names]
        told = zip(names, memory, strict=True)
        columns = [(_time(one, name), _final(one, name), text.measure(size, text.size)) for name, size in told]
        where = ([one.series] if several else []) + [f"{one.k:,.0f}", one.use]
        rows.append([*((cell,) for cell in where), LINES, *columns])
    head = ["series"] if several else []
    return Table([*head, "K", "use", "", "with it", "with the sum", f"with {SAMPLER}"], rows, "Which estimator to use")


def _time(verdict: Verdict, name: str | None) -> str:
    if name not in verdict.points:
        return text.NOT_MEASURED
    seconds = verdict.time(name)
    return NEVER if pd.isna(seconds) else text.seconds(seconds)


def _final(verdict: Verdict, name: str | None) -> str:
    return f"{verdict.final(name):.1f} %" if name in verdict.points else text.NOT_MEASURED


def verdict_blocks(frame: pd.DataFrame, found: list[Verdict]) -> list[Block]:
    """The table, how it was made, and folded tables for each K. Empty without a verdict."""
    return [verdict_table(frame, found), Paragraph(verdict_note(found)), *verdict_details(found)] if found else []


def verdict_text(records: Sequence[Record]) -> str:
    """The sentence and the table for a terminal; "" without a verdict."""
    frame = make_frame(records)
    found = verdicts(frame, make_curves(records, frame))
    return f"{verdict_sentence(found)}\n\n{written(verdict_table(frame, found))}" if found else ""


def verdict_note(found: list[Verdict]) -> str:
    """How the verdict was made, for under its table."""
    sources = {of["source"].iloc[0] for one in found for of in one.points.values()}
    known = reference()
    parts = [
        f"Time to {100 * SHARE:.0f} %: seconds of training until {100 * SHARE:.0f} % of the best final accuracy at "
        f"this K. Some estimators end within {LEAST_SPREAD:.0f} point of the best accuracy, or within its seeds' "
        "spread. The one to use is the one of them that takes the least time."
    ]
    if REFERENCE in sources:
        parts.append(
            "The seconds of a step were measured here. The accuracy by step is that of gsbench's own training runs on "
            f"glyphs with {known['conditions']['labelled_per_class']} labels a class, the mean over {_seeds(found)}. "
            "Between their class counts it is interpolated."
        )
    if OWN in sources:
        parts.append("Where the records have training runs of the case, the accuracy by step is theirs.")
    return " ".join(parts)


def _seeds(found: list[Verdict]) -> str:
    counts = {int(of["seeds"].iloc[0]) for one in found for of in one.points.values()}
    number = text.listed(sorted(counts)) if len(counts) < 3 else f"{min(counts)} to {max(counts)}"
    return f"{number} seed{'' if counts == {1} else 's'}"


def verdict_details(found: list[Verdict]) -> list[Block]:
    """Folded tables for each K: time to shares of the best accuracy, and accuracy after some times."""
    return [
        Fold(
            f"K = {one.k:,.0f}{f' · {one.series}' if one.series else ''}: all estimators",
            [Table(
                ["estimator", "accuracy in the end", *(f"to {100 * share:.0f} %" for share in SHARES),
                 *(f"after {name}" for name in TIMES)],
                [[name, _spread(of), *(_until(of, share * one.best) for share in SHARES),
                  *(f"{percent_after(of, seconds):.1f} %" for seconds in TIMES.values())]
                 for name, of in one.points.items()],
            ), Paragraph(f"To: time to a share of {one.best:.1f} %, the best final accuracy.")],
        )
        for one in found
    ]  # fmt: skip


def _spread(of: pd.DataFrame) -> str:
    row = of.iloc[0]
    return f"{row['final']:.1f} % [{row['final_low']:.1f}, {row['final_high']:.1f}]"


def _until(of: pd.DataFrame, percent: float) -> str:
    seconds = seconds_to(of, percent)
    return NEVER if pd.isna(seconds) else text.seconds(seconds)
