"""Training runs, prepared for figures and tables: grouped by task and K, with the spread over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gsbench.compare.intervals import student
from gsbench.records import text
from gsbench.records.frame import measured
from gsbench.records.reading import TRAINING, ends_at_a_step
from gsbench.records.training_tasks import task_head
from gsbench.settings.run import LABELS_ONLY

SUBJECT = ["model", "task", "n_classes"]  # fields that identify a panel or a table
RUN = ["run_id", "case"]  # fields that identify a training run
CONFIDENCE = 0.95  # of a difference paired by seed
SHARE_OF_WORST = 0.95  # the target of `times_to_target`, as a share of the lowest final accuracy
Points = list[tuple[np.ndarray, np.ndarray]]  # (x, y) of each run


def training_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """All training runs with a known task, whatever their status. `labels`, the number of labels, is added."""
    rows = frame[frame["group"] == TRAINING].dropna(subset=["model", "dataset", "n_classes", "estimator"])
    return rows.assign(labels=rows["labelled_per_class"] * rows["n_classes"])


def finished_runs(frame: pd.DataFrame, *needed: str) -> pd.DataFrame:
    """The training runs that finished and have a final validation accuracy and all `needed` fields."""
    return training_rows(measured(frame, TRAINING, "validation_accuracy", *needed))


def subject_title(row: Any) -> str:
    """`ADGM on MNIST, K = 10, 100 labels, preset blog`, and other settings that distinguish its task."""
    model, data = text.model_name(row["model"]), text.dataset_name(row["dataset"])
    more = row["task"].removeprefix(task_head(row))
    return f"{model} on {data}, K = {row['n_classes']:,.0f}, {row['labels']:,.0f} labels, preset {row['preset']}{more}"


def over_seeds(rows: pd.DataFrame, by: Sequence[str], figures: Sequence[str]) -> pd.DataFrame:
    """A row for each value of `by`: the mean of each figure over its runs, and the least and the greatest value as
    `<figure>_low` and `<figure>_high`; `runs` and `seeds` are their numbers.
    """
    groups = rows.groupby(list(by), sort=True)
    parts = [groups[f].agg(["mean", "min", "max"]).set_axis([f, f"{f}_low", f"{f}_high"], axis=1) for f in figures]
    counts = pd.DataFrame({"runs": groups.size(), "seeds": groups["seed"].nunique()})
    return pd.concat([*parts, counts], axis=1).reset_index()


@dataclass(frozen=True)
class Difference:
    """The mean over `pairs` seeds of the difference of two estimators, and its interval at CONFIDENCE."""

    pairs: int
    mean: float
    low: float
    high: float


def paired_by_seed(rows: pd.DataFrame, name: str, other: str, figure: str) -> Difference | None:
    """The difference `name` minus `other` in `figure`, over the seeds that both have; None if these are fewer than two.

    Two runs of one seed share labels, order of the minibatches and first parameters, so that their difference scatters
    less than they do. The interval is Student's: mean ± t s / √n, with the standard deviation s of the n differences.
    Of several runs of an estimator with one seed the last one counts.
    """
    known = rows.dropna(subset=[figure]).drop_duplicates(["estimator", "seed"], keep="last")
    of_seed = {estimator: own.set_index("seed")[figure] for estimator, own in known.groupby("estimator")}
    if name not in of_seed or other not in of_seed:
        return None
    differences = (of_seed[name] - of_seed[other]).dropna()
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return None
    half = student(CONFIDENCE, n - 1) * float(differences.std()) / n**0.5
    return Difference(n, mean, mean - half, mean + half)


def seeds_sentence(rows: pd.DataFrame, means: str = "mean", ends: str = "bars") -> str:
    """`Mean over 3 seeds; bars from the least to the greatest.`; `One seed each.`"""
    counts = rows.groupby([*SUBJECT, "estimator"])["seed"].nunique()
    fewest, most = counts.min(), counts.max()
    if most <= 1:
        return "One seed each."
    number = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{means.capitalize()} over {number} seeds; {ends} from the least to the greatest of them."


def mean_curve(runs: Points) -> pd.DataFrame:
    """The runs' `mean`, `low` and `high` at every `x` of any run, within the range that all runs cover.

    A run is interpolated linearly between its points. Each run's x must ascend.
    """
    first, last = max(x[0] for x, _ in runs), min(x[-1] for x, _ in runs)
    grid = np.unique(np.concatenate([x for x, _ in runs]))
    grid = grid[(grid >= first) & (grid <= last)]
    values = np.array([np.interp(grid, x, y) for x, y in runs])  # [runs, points]
    return pd.DataFrame({"x": grid, "mean": values.mean(0), "low": values.min(0), "high": values.max(0)})


def crossing(x: np.ndarray, accuracy: np.ndarray, target: float) -> float:
    """The x at which the accuracy first reaches the target, linear between evaluations; nan if it never does."""
    reached = np.flatnonzero(accuracy >= target)
    if not reached.size:
        return float("nan")
    i = reached[0]
    if i == 0:
        return float(x[0])
    share = (target - accuracy[i - 1]) / (accuracy[i] - accuracy[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1]))


def targets(rows: pd.DataFrame) -> pd.DataFrame:
    """The `target` of each SUBJECT: SHARE_OF_WORST times the lowest final accuracy of its runs.

    `labels-only` is a reference, not a competitor: it sets the target only if there are no other estimators.
    """
    has_rivals = (rows["estimator"] != LABELS_ONLY).groupby([rows[name] for name in SUBJECT]).transform("any")
    rivals = rows[(rows["estimator"] != LABELS_ONLY) | ~has_rivals]
    worst = rivals.groupby(SUBJECT)["validation_accuracy"].min()
    return (SHARE_OF_WORST * worst).rename("target").reset_index()


def times_to_target(rows: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The runs that reach the `target` of their subject, with the `seconds` of training until then.

    Runs that end by the clock are left out, because the machine would set their target.
    """
    rows = rows[ends_at_a_step(rows)]
    rows = rows.merge(targets(rows), on=SUBJECT)
    points = curves[curves["group"] == TRAINING].dropna(subset=["seconds", "accuracy"])
    of_run = {run: (own["seconds"].to_numpy(), own["accuracy"].to_numpy()) for run, own in points.groupby(RUN)}
    runs = zip(rows[RUN].itertuples(index=False, name=None), rows["target"], strict=True)
    seconds = [crossing(*of_run[run], target) if run in of_run else np.nan for run, target in runs]
    return rows.assign(seconds=np.array(seconds, dtype=float)).dropna(subset=["seconds"])
