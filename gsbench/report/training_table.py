"""The section of the page on training runs: a table for each task and K, and the samplers held against the sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from gsbench.report import text
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.frame import names_with
from gsbench.report.reading import TRAINING
from gsbench.report.training_runs import SUBJECT, finished_runs, over_seeds, subject_title, training_rows

HEADERS = (
    "estimator", "seeds", "steps", "validation accuracy", "training time", "wall time", "steps/s", "peak memory",
    "test accuracy",
)  # fmt: skip
FIGURES = (
    "step", "validation_accuracy", "train_seconds", "wall_seconds", "steps_per_second", "peak_bytes", "test_accuracy",
)  # fmt: skip
SAME = 0.0005  # a difference of accuracies that is written as 0.0 percentage points


def training_section(frame: pd.DataFrame) -> str:
    """The tables under a heading, and what did not come to its end; "" where there are no training runs."""
    if not (frame["group"] == TRAINING).any():
        return ""
    finished, rows = finished_runs(frame), training_rows(frame)
    tables = [_of_subject(own, rows) for _, own in finished.groupby(SUBJECT, sort=True)]
    note = [text.markdown_cell(_note(finished))] if len(finished) else []
    return "\n\n".join(["## Training runs", *note, *tables, *_not_finished(frame)])


def _note(rows: pd.DataFrame) -> str:
    several = " Of several seeds: the mean, and from the least to the greatest." if _several(rows) else ""
    return (
        f"Runs that came to their end; those that differ in any setting but the estimator and the seed stand apart."
        f"{several} Training time: of minibatches and steps; wall time: with evaluations and checkpoints. "
        f"{_accuracies(rows)} {text.conditions(rows)}"
    )


def _several(rows: pd.DataFrame) -> bool:
    return bool((rows.groupby([*SUBJECT, "estimator"]).size() > 1).any())


def _accuracies(rows: pd.DataFrame) -> str:
    """What the two accuracies are of, and that the test part chose nothing."""
    on = {part: _examples(rows, part) for part in ("validation", "test")}
    tested = f" Test accuracy, reported apart:{on['test']} evaluated once, at the end of the run; it chose nothing."
    return f"Validation accuracy:{on['validation']} at the end of training.{tested if on['test'] else ''}"


def _examples(rows: pd.DataFrame, part: str) -> str:
    """` of 10,000 examples, q(y|a,x) averaged over 100 draws of a,`; "" where no run was evaluated on the part."""
    rows = rows[rows[f"{part}_accuracy"].notna()]
    if rows.empty:
        return ""
    field = "draws_of_a" if part == "validation" else "test_draws_of_a"
    examples, draws = (text.in_order(text.values(rows, name)) for name in (f"{part}_examples", field))
    parts = [f" of {text.listed(f'{n:,.0f}' for n in examples)} examples" if examples else ""]
    parts += [f"q(y|a,x) averaged over {text.listed(draws)} draw{'' if draws == [1] else 's'} of a"] if draws else []
    return f"{', '.join(parts)},"


def _of_subject(rows: pd.DataFrame, every: pd.DataFrame) -> str:
    """The table of one task and K under its heading, and a line for each sampler beside the sum. `every` are all runs,
    of which those of this subject that did not come to their end are counted.
    """
    points = over_seeds(rows, ["estimator"], FIGURES).set_index("estimator")
    first = rows.iloc[0]
    lost = every[(every[SUBJECT] == first[SUBJECT]).all(axis=1) & (every["status"] != "ok")]
    cells = [_cells(name, points.loc[name], lost[lost["estimator"] == name]) for name in by_estimator(points.index)]
    parts = [f"### {text.markdown_cell(subject_title(first))}", text.table_of_used(HEADERS, cells)]
    lines = [f"- {text.markdown_cell(line)}" for line in against_the_sum(rows, points)]
    return "\n\n".join([*parts, "\n".join(lines)] if lines else parts)


def _cells(name: str, point: pd.Series, lost: pd.DataFrame) -> list[str]:
    others = [f"{n} {text.status_name(status)}" for status, n in lost["status"].value_counts().sort_index().items()]
    return [
        name,
        f"{point['seeds']:.0f}" + (f" ({', '.join(others)})" if others else ""),
        _mean(point, "step", _count),
        _accuracy(point, "validation_accuracy"),
        *(_mean(point, figure, text.seconds) for figure in ("train_seconds", "wall_seconds")),
        _mean(point, "steps_per_second", text.three_digits),
        _mean(point, "peak_bytes", text.size),
        _accuracy(point, "test_accuracy"),
    ]


def _mean(point: pd.Series, figure: str, write: Callable[[float], str]) -> str:
    return "" if pd.isna(point[figure]) else write(point[figure])


def _count(steps: float) -> str:
    return f"{steps:,.0f}"


def _accuracy(point: pd.Series, figure: str) -> str:
    """`92.1 % (91.5 to 92.6)`; without the ends where there is one run."""
    mean = _mean(point, figure, text.percent)
    return f"{mean} ({_ends(point, figure)})" if mean and point["runs"] > 1 else mean


def _ends(point: pd.Series, figure: str) -> str:
    return " to ".join(f"{100 * point[f'{figure}_{end}']:.1f}" for end in ("low", "high"))


def against_the_sum(rows: pd.DataFrame, points: pd.DataFrame) -> list[str]:
    """A sentence for each sampler on how far its mean validation accuracy lies from that of the exact sum over q, and
    on the seeds of both; none where no sum was trained. `points` are `over_seeds` of the rows, by estimator.
    """
    sums, samplers = names_with(rows, "exact_sum"), names_with(rows, "draws_y")
    return [_held_against(name, points.loc[name], sums[0], points.loc[sums[0]]) for name in samplers] if sums else []


def _held_against(name: str, sampler: pd.Series, sum_name: str, exact: pd.Series) -> str:
    difference = sampler["validation_accuracy"] - exact["validation_accuracy"]
    if abs(difference) < SAME:
        told = f"as accurate as the sum ({sum_name}) to 0.1 percentage points"
    else:
        word = "better" if difference > 0 else "worse"
        told = f"{100 * abs(difference):.1f} percentage points {word} than the sum ({sum_name})"
    return f"{name}: {told}: {_over_seeds(sampler)} against {_over_seeds(exact)}; {_overlap(sampler, exact)}."


def _over_seeds(point: pd.Series) -> str:
    """`92.1 % (91.5 to 92.6 over 3 seeds)`."""
    ends = _ends(point, "validation_accuracy")
    spread = f"{ends} over {point['runs']:.0f} seeds" if point["runs"] > 1 else "one seed"
    return f"{text.percent(point['validation_accuracy'])} ({spread})"


def _overlap(first: pd.Series, second: pd.Series) -> str:
    if first["runs"] == 1 or second["runs"] == 1:
        return "one seed does not tell what the seeds do"
    low = max(first["validation_accuracy_low"], second["validation_accuracy_low"])
    high = min(first["validation_accuracy_high"], second["validation_accuracy_high"])
    return "the ranges of the seeds overlap" if low <= high else "the ranges of the seeds lie apart"


def _not_finished(frame: pd.DataFrame) -> list[str]:
    """A table of the runs that diverged, failed or are unfinished, with how far they came; nothing where all ended."""
    rows = frame[(frame["group"] == TRAINING) & (frame["status"] != "ok")]
    if rows.empty:
        return []
    cells = [_line(row) for _, row in rows.sort_values(["status", "case"], kind="stable").iterrows()]
    headers = ["run", "status", "reason", "step", "validation accuracy"]
    return ["### Runs that did not come to their end", text.table_of_used(headers, cells)]


def _line(row: Any) -> list[str]:
    accuracy = _mean(row, "validation_accuracy", text.percent)
    return [row["case"], text.status_name(row["status"]), row["reason"] or "", _mean(row, "step", _count), accuracy]
