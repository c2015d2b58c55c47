"""The page's section on training runs: a table for each task and K, and comparisons of samplers with the sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import names_with
from gsbench.records.order import in_order
from gsbench.records.reading import TRAINING
from gsbench.report.blocks import Block, Columns, Heading, Items, Paragraph, Section, Table
from gsbench.report.training_runs import (
    CONFIDENCE,
    SUBJECT,
    Difference,
    finished_runs,
    over_seeds,
    paired_by_seed,
    subject_title,
    training_rows,
)

FIGURES = (
    "step", "validation_accuracy", "train_seconds", "wall_seconds", "steps_per_second", "peak_bytes", "test_accuracy",
)  # fmt: skip
SAME = 0.0005  # smaller differences of accuracies round to 0.0 percentage points


def training_section(frame: pd.DataFrame) -> Section | None:
    """The tables, and the runs that did not finish; None without training runs."""
    if not (frame["group"] == TRAINING).any():
        return None
    finished, rows = finished_runs(frame), training_rows(frame)
    note = [Paragraph(_note(finished))] if len(finished) else []
    tables = [block for _, own in finished.groupby(SUBJECT, sort=True) for block in _of_subject(own, rows)]
    return Section("Training runs", [*note, *tables, *_not_finished(frame)], "accurate")


def _note(rows: pd.DataFrame) -> str:
    repeated = (rows.groupby([*SUBJECT, "estimator"]).size() > 1).any()
    several = " Several seeds: the mean, and in parentheses the least and the greatest value." if repeated else ""
    return (
        f"The runs that finished. Runs that differ in a setting other than estimator and seed have separate tables."
        f"{several} Training time: minibatches and steps. Wall time: evaluations and checkpoints too. "
        f"{_accuracies(rows)} {text.conditions(rows)}"
    )


def _accuracies(rows: pd.DataFrame) -> str:
    """Sentences on the two accuracies. The test part was not used for any choice."""
    on = {part: _examples(rows, part) for part in ("validation", "test")}
    tested = f" Test accuracy:{on['test']} evaluated once, at the end of the run, and not used for any choice."
    return f"Validation accuracy:{on['validation']} at the end of training.{tested if on['test'] else ''}"


def _examples(rows: pd.DataFrame, part: str) -> str:
    """` of 10,000 examples, q(y|a,x) averaged over 100 draws of a,`; "" if no run was evaluated on the part."""
    rows = rows[rows[f"{part}_accuracy"].notna()]
    if rows.empty:
        return ""
    field = "draws_of_a" if part == "validation" else "test_draws_of_a"
    examples, draws = (text.in_order(text.values(rows, name)) for name in (f"{part}_examples", field))
    parts = [f" of {text.listed(f'{n:,.0f}' for n in examples)} examples" if examples else ""]
    parts += [f"q(y|a,x) averaged over {text.listed(draws)} draw{'' if draws == [1] else 's'} of a"] if draws else []
    return f"{', '.join(parts)},"


def _of_subject(rows: pd.DataFrame, every: pd.DataFrame) -> list[Block]:
    """The table of one task and K under its heading, and a line for each sampler that compares it with the sum. `every`
    is all runs; the table counts the unfinished ones of this subject.
    """
    points = over_seeds(rows, ["estimator"], FIGURES).set_index("estimator")
    first = rows.iloc[0]
    lost = every[(every[SUBJECT] == first[SUBJECT]).all(axis=1) & (every["status"] != "ok")]
    others = [_counts(lost[lost["estimator"] == name]) for name in points.index]
    table = Table.of(TRAINING_COLUMNS, in_order(points.assign(others=others).reset_index(), ["estimator"]))
    lines = against_the_sum(rows, points)
    return [Heading(subject_title(first)), table, *([Items(lines)] if lines else [])]


def _counts(lost: pd.DataFrame) -> str:
    """` (1 diverged, 2 unfinished)`; "" if there are none."""
    counts = lost["status"].value_counts().sort_index()
    return f" ({', '.join(f'{n} {text.status_name(status)}' for status, n in counts.items())})" if len(counts) else ""


def _accuracy(figure: str) -> Callable[[Any], str]:
    """`92.1 % (91.5 to 92.6)`; without the range if there is one run."""
    mean = text.cell(figure, text.percent)
    return lambda point: f"{mean(point)} ({_ends(point, figure)})" if mean(point) and point["runs"] > 1 else mean(point)


def _ends(point: Any, figure: str) -> str:
    return " to ".join(f"{100 * point[f'{figure}_{end}']:.1f}" for end in ("low", "high"))


TRAINING_COLUMNS: Columns = {
    "estimator": text.cell("estimator"),
    "seeds": lambda point: f"{point['seeds']:.0f}{point['others']}",
    "steps": text.cell("step", "{:,.0f}".format), "validation accuracy": _accuracy("validation_accuracy"),
    "training time": text.cell("train_seconds", text.seconds), "wall time": text.cell("wall_seconds", text.seconds),
    "steps/s": text.cell("steps_per_second", text.three_digits), "peak memory": text.cell("peak_bytes", text.size),
    "test accuracy": _accuracy("test_accuracy"),
}  # fmt: skip
NOT_FINISHED: Columns = {
    "run": text.cell("case"), "status": text.cell("status", text.status_name), "reason": text.cell("reason"),
    "step": text.cell("step", "{:,.0f}".format), "validation accuracy": text.cell("validation_accuracy", text.percent),
}  # fmt: skip


def against_the_sum(rows: pd.DataFrame, points: pd.DataFrame) -> list[str]:
    """Sentences for each sampler: how its validation accuracy differs from the exact sum's, and how sure that is. None
    without an exact sum. `points` is `over_seeds` of the rows, indexed by estimator.
    """
    sums, samplers = names_with(rows, "exact_sum"), names_with(rows, "draws_y")
    return [_compared(name, points, sums[0], rows) for name in samplers] if sums else []


def _compared(name: str, points: pd.DataFrame, sum_name: str, rows: pd.DataFrame) -> str:
    sampler, exact = points.loc[name], points.loc[sum_name]
    difference = sampler["validation_accuracy"] - exact["validation_accuracy"]
    if abs(difference) < SAME:
        told = f"as accurate as the sum ({sum_name}) to 0.1 percentage points"
    else:
        told = f"{_points(abs(difference))} percentage points {_word(difference)} than the sum ({sum_name})"
    both = f"{name}: {told}: {_over_seeds(sampler)} compared with {_over_seeds(exact)}"
    validation, test = (paired_by_seed(rows, name, sum_name, f"{part}_accuracy") for part in ("validation", "test"))
    if validation is None:
        return f"{both}; {_overlap(sampler, exact)}."
    tested = f"; in test accuracy, {_between(test)}" if test else ""
    return (
        f"{both}. Paired by seed ({validation.pairs} seeds), the mean difference lies, with {100 * CONFIDENCE:.0f} % "
        f"confidence, {_between(validation)}{tested}."
    )


def _between(difference: Difference) -> str:
    """`between 7.1 points worse and 2.1 points better`."""
    low, high = difference.low, difference.high
    return f"between {_points(abs(low))} points {_word(low)} and {_points(abs(high))} points {_word(high)}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _word(difference: float) -> str:
    return "better" if difference > 0 else "worse"


def _over_seeds(point: pd.Series) -> str:
    """`92.1 % (91.5 to 92.6 over 3 seeds)`."""
    ends = _ends(point, "validation_accuracy")
    spread = f"{ends} over {point['runs']:.0f} seeds" if point["runs"] > 1 else "one seed"
    return f"{text.percent(point['validation_accuracy'])} ({spread})"


def _overlap(first: pd.Series, second: pd.Series) -> str:
    """For runs that cannot be paired by seed."""
    if first["runs"] == 1 or second["runs"] == 1:
        return "one seed does not show the spread between seeds"
    low = max(first["validation_accuracy_low"], second["validation_accuracy_low"])
    high = min(first["validation_accuracy_high"], second["validation_accuracy_high"])
    return "the ranges of the seeds overlap" if low <= high else "the ranges of the seeds do not overlap"


def _not_finished(frame: pd.DataFrame) -> list[Block]:
    """A table of runs that diverged, failed or are unfinished, with their last step; empty if all finished."""
    rows = frame[(frame["group"] == TRAINING) & (frame["status"] != "ok")]
    table = Table.of(NOT_FINISHED, rows.sort_values(["status", "case"], kind="stable"))
    return [Heading("Runs that did not finish"), table] if len(rows) else []
