"""The verdict: which estimator to use at each K, by the time that it takes to nearly the best accuracy here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from gsbench.records import text
from gsbench.records.busy import crowded_rows
from gsbench.records.frame import make_curves, make_frame, measured, names_with
from gsbench.records.order import by_estimator
from gsbench.records.reading import Record
from gsbench.records.reference import reference
from gsbench.report.answer import least_learnt
from gsbench.report.blocks import Block, Fold, Notice, Paragraph, Table
from gsbench.report.glance import KEY, glance_cells
from gsbench.report.predicted import OWN, REFERENCE, percent_after, predictions, seconds_to
from gsbench.report.writers.terminal import wrapped, written

SAMPLER = "gumbel-softmax"
SHARE = 0.95  # of the best final accuracy: the time until then decides
SHARES = (0.5, 0.8, 0.9, 0.95)
TIMES = {"1 min": 60.0, "5 min": 300.0, "30 min": 1800.0, "1 h": 3600.0}
LEAST_SPREAD = 1.0  # percentage points; final accuracies as near as this are equal
LINES = ("estimator", f"time to {100 * SHARE:.0f} %", "final accuracy", "peak memory")  # of a cell of the table


@dataclass(frozen=True)
class Verdict:
    """The choice at one K of one series and model, among the estimators that were measured.

    points   the predictions by estimator, in the order of tables
    best     the greatest final accuracy (percent)
    use      of the estimators that end within LEAST_SPREAD of it, or within its seeds' spread, the one with the least
             `time`
    exact    the exact sum with the shortest step; None if none was measured
    """

    series: str
    model: str
    k: float
    points: dict[str, pd.DataFrame]
    best: float
    use: str
    exact: str | None

    @property
    def target(self) -> float:
        return SHARE * self.best

    def time(self, name: str | None) -> float:
        """Seconds to the target; nan if the curve ends before, or if the estimator was not measured."""
        return seconds_to(self.points[name], self.target) if name in self.points else math.nan

    def final(self, name: str) -> float:
        return float(self.points[name]["final"].iloc[0])


def verdicts(frame: pd.DataFrame, curves: pd.DataFrame) -> list[Verdict]:
    """A verdict for each series, model and K at which an exact sum or the sampler was measured, and another estimator.
    There is none if the best of them has not learnt: see `least_learnt`.
    """
    rows = predictions(frame, curves)
    sums, found = set(names_with(frame, "exact_sum")), []
    for (series, model, k), own in rows.groupby(KEY, sort=True) if len(rows) else ():
        points = {str(name): of.reset_index(drop=True) for name, of in own.groupby("estimator", sort=False)}
        ends = {name: of.iloc[0] for name, of in points.items()}
        top = max(ends.values(), key=lambda end: float(end["final"]))
        best = float(top["final"])
        if not {*sums, SAMPLER} & set(points) or best < 100 * least_learnt(k, top["alone"] / 100):
            continue
        spread = max(LEAST_SPREAD, best - top["final_low"])
        equal = [name for name in points if ends[name]["final"] >= best - spread]
        times = {name: seconds_to(points[name], SHARE * best) for name in equal}
        use = min(times, key=lambda name: math.inf if math.isnan(times[name]) else times[name])
        exact = min(sums & set(points), key=lambda name: points[name]["seconds"].iloc[-1], default=None)
        found.append(Verdict(series, model, float(k), points, best, use, exact))
    return found


def without_verdict(frame: pd.DataFrame) -> str:
    """Why there is no verdict on the steps that were timed; "" if no step was."""
    timed = measured(frame, "step", "step_seconds")
    if timed.empty:
        return ""
    known, counts = reference()["conditions"], sorted({run["n_classes"] for run in reference()["runs"]})
    return (
        "There is no verdict on accuracy. It needs two estimators, one of them an exact sum or gumbel-softmax, and "
        f"gsbench's reference curves, which are for {text.model_name(known['model'])}, preset {known['preset']}, batch "
        f"{known['batch']}, K = {counts[0]} to {counts[-1]}. Training runs of the same case in the records serve too."
    )


def verdict_sentence(found: list[Verdict]) -> str:
    """One sentence for the largest K; "" without a verdict."""
    if not found:
        return ""
    one = max(found, key=lambda verdict: verdict.k)
    several = len({verdict.series for verdict in found}) > 1
    rivals = [name for name in (one.exact, SAMPLER) if name and name != one.use and name in one.points]
    told = [f"{name} {_reached(one, name)}" for name in rivals]
    compared = f"; {' and '.join(told)}" if told else ""
    data, of_use = one.points[one.use].iloc[0], text.seconds(one.time(one.use))
    return (
        f"At K = {one.k:,.0f}, use {one.use}: it comes to {one.target:.0f} % accuracy, which is {100 * SHARE:.0f} % of "
        f"the best, in {of_use} of training on this machine{compared}. ({text.model_name(one.model)} on "
        f"{text.dataset_name(data['dataset'])}, preset {data['preset']}{f', {one.series}' if several else ''}.)"
    )


def _reached(verdict: Verdict, name: str) -> str:
    seconds, least = verdict.time(name), verdict.time(verdict.use)
    if math.isnan(seconds):
        return f"does not in {_steps(verdict.points[name])} (it ends at {verdict.final(name):.0f} %)"
    return f"takes {text.seconds(seconds)}" + (f" ({text.times(seconds / least)})" if least > 0 else "")


def _steps(of: pd.DataFrame) -> str:
    return f"{of['step'].iloc[-1]:,.0f} steps"


def verdict_table(frame: pd.DataFrame, found: list[Verdict]) -> Table:
    """A row for each K: the estimator to use, and time, final accuracy and memory of it, the sum and the sampler."""
    cells, several = glance_cells(frame), len({verdict.series for verdict in found}) > 1
    rows = []
    for one in found:
        names = (one.use, one.exact, SAMPLER)
        memory = [cells.get((one.series, one.model, int(one.k), name, "peak_bytes"), math.nan) for name in names]
        sizes = [text.measure(size, text.size) for size in memory]
        columns = [
            (name or text.NOT_MEASURED, _time(one, name), _final(one, name), size)
            for name, size in zip(names, sizes, strict=True)
        ]
        where = ([one.series] if several else []) + [f"{one.k:,.0f}"]
        rows.append([*((cell,) for cell in where), LINES, *columns])
    head = [*(["series"] if several else []), "K", "quantity"]
    return Table([*head, "use", "the sum", "a draw"], rows, "Which estimator to use", keys=len(head))


def _time(verdict: Verdict, name: str | None) -> str:
    return _until(verdict.points[name], verdict.target) if name in verdict.points else text.NOT_MEASURED


def _final(verdict: Verdict, name: str | None) -> str:
    return f"{verdict.final(name):.1f} %" if name in verdict.points else text.NOT_MEASURED


def unsure(frame: pd.DataFrame, found: list[Verdict]) -> str:
    """A sentence for under the verdict if other programs computed while its steps were timed; else ""."""
    judged = pd.DataFrame([(one.series, one.model, one.k) for one in found], columns=KEY)
    timed = (frame["group"] == "step") | ((frame["group"] == "speedup") & (frame["timed"] == "step"))
    rows = frame[timed & (frame["status"] == "ok")].merge(judged, on=KEY)
    if not (crowded := sum(crowded_rows(rows))):
        return ""
    return (
        f"Other programs computed while {crowded} of the {len(rows)} steps and pairs of steps behind this verdict were "
        "timed. It may be wrong: measure again on a quiet machine."
    )


def not_judged(frame: pd.DataFrame, found: list[Verdict]) -> str:
    """A sentence on the estimators that were timed, but whose accuracy is not known; else ""."""
    judged = pd.DataFrame(
        [(one.series, one.model, one.k, name) for one in found for name in one.points], columns=[*KEY, "estimator"]
    )
    timed = measured(frame, "step", "step_seconds").merge(judged[KEY].drop_duplicates(), on=KEY)
    left = timed.merge(judged, on=[*KEY, "estimator"], how="left", indicator=True)
    names = by_estimator(left[left["_merge"] == "left_only"]["estimator"])
    if not names:
        return ""
    return (
        f"The verdict leaves out {text.listed(names)}, whose accuracy is not known. Make training runs of all that are "
        "to be compared, by gsbench sweep, and report their folder together with these records."
    )


def verdict_blocks(frame: pd.DataFrame, found: list[Verdict]) -> list[Block]:
    """The table, how sure it is and how it was made, and folded tables for each K; or why there is no verdict."""
    if not found:
        return [Paragraph(why)] if (why := without_verdict(frame)) else []
    warned = [Notice(told) for told in (unsure(frame, found), not_judged(frame, found)) if told]
    return [*warned, verdict_table(frame, found), Paragraph(verdict_note(found)), *verdict_details(found)]


def verdict_text(records: Sequence[Record]) -> str:
    """The sentence and the table for a terminal, or why there is none; "" if no step was timed."""
    frame = make_frame(records)
    found = verdicts(frame, make_curves(records, frame))
    if not found:
        return wrapped(without_verdict(frame))
    sentences = (verdict_sentence(found), unsure(frame, found), not_judged(frame, found))
    return "\n\n".join([*map(wrapped, filter(None, sentences)), written(verdict_table(frame, found))])


def verdict_note(found: list[Verdict]) -> str:
    """How the verdict was made, for under its table."""
    parts = [
        f"Time to {100 * SHARE:.0f} %: seconds of training until {100 * SHARE:.0f} % of the best final accuracy of the "
        f"estimators measured at this K. Of those that end within {LEAST_SPREAD:.0f} point of the best, or within the "
        "spread of its seeds, the one to use takes the least time. The seconds of a step were measured here. They come "
        "from pairs with the exact sum, where there are pairs. The seconds of a minibatch are added, where they are "
        "known."
    ]
    known = reference()["conditions"]
    told = {
        REFERENCE: f"gsbench's own training runs (backend {known['backend']}, {known['dtype']}). Each of them ended "
        f"where its accuracy no longer rose, or after {known['budget_steps']:,} steps. Between their class counts the "
        "accuracy is interpolated",
        OWN: "the training runs in these records",
    }
    for source, whose in told.items():
        ends = [of.iloc[0] for one in found for of in one.points.values() if of["source"].iloc[0] == source]
        for dataset, labels in dict.fromkeys((end["dataset"], end["labelled_per_class"]) for end in ends):
            counts = sorted({int(end["seeds"]) for end in ends})
            seeds = f"{text.listed(counts)} seed{'' if counts == [1] else 's'}"
            data = f"{text.dataset_name(dataset)}, {labels:.0f} labels a class, mean over {seeds}"
            parts.append(f"The accuracy by step ({data}) is that of {whose}.")
    return " ".join(parts)


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
            ), Paragraph(
                f"To: time to a share of {one.best:.1f} %, the best final accuracy. After the end of a curve its last "
                "accuracy is shown."
            )],
        )
        for one in found
    ]  # fmt: skip


def _spread(of: pd.DataFrame) -> str:
    row = of.iloc[0]
    return f"{row['final']:.1f} % [{row['final_low']:.1f}, {row['final_high']:.1f}]"


def _until(of: pd.DataFrame, percent: float) -> str:
    seconds = seconds_to(of, percent)
    return f"not in {_steps(of)}" if math.isnan(seconds) else text.seconds(seconds)
