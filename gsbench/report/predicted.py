"""Accuracy by second on this machine: accuracy by step of training runs, times the seconds a step measured here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gsbench.records.frame import names_with
from gsbench.records.reading import TRAINING, ends_at_a_step
from gsbench.records.reference import WORK, reference, reference_curves, takes_reference
from gsbench.report.glance import KEY, rows_of
from gsbench.report.training_runs import RUN, crossing, finished_runs
from gsbench.settings.run import LABELS_ONLY

DATASET = "glyphs"  # the data set of the reference that has every K
OWN, REFERENCE = "training runs of these records", "reference curves"


@dataclass(frozen=True)
class Curve:
    """Accuracy by step of one estimator at one K: accuracy [seeds, steps], and the calls of f [steps] if they follow
    the logits. The curve of a seed goes on with its last accuracy after its end.
    """

    steps: np.ndarray
    seeds: tuple[Any, ...]
    accuracy: np.ndarray
    calls: np.ndarray | None

    @classmethod
    def of(cls, points: pd.DataFrame) -> Curve | None:
        """The curve of points with `seed`, `step`, `accuracy` and `calls_of_f`; None if no accuracy is known."""
        points = points.dropna(subset=["accuracy"]).sort_values("step")
        if points.empty:
            return None
        steps, runs = np.unique(points["step"]), dict(list(points.groupby("seed")))
        accuracy = [np.interp(steps, own["step"], own["accuracy"]) for own in runs.values()]
        calls = [np.interp(steps, own["step"], own["calls_of_f"]) for own in runs.values()]
        follows = points["calls_of_f"].notna().all()
        return cls(steps, tuple(runs), np.array(accuracy), np.mean(calls, axis=0) if follows else None)


@dataclass(frozen=True)
class Known:
    """What is known of accuracy by step at one K: from where, of which data, by estimator.

    alone   final accuracy (share) of training on the labels alone; nan if unknown
    """

    source: str
    dataset: str
    labelled_per_class: float
    alone: float
    curves: dict[str, Curve]


def predictions(frame: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by second: a row for each evaluation, with the fields of the timed step, and

    step, seconds                            of training steps with their minibatches, without evaluations
    percent, percent_low, percent_high       accuracy: mean, least and greatest over the seeds
    final, final_low, final_high, seeds      the same at the end of the curve; the number of seeds
    source, dataset, labelled_per_class      whose accuracy by step it is (OWN or REFERENCE), and of which data
    alone                                    the final accuracy of training on the labels alone, in percent

    A case has rows if its step was timed and its accuracy by step is known, and if the same holds for another
    estimator of its series, model and K. The accuracy is that of training runs in the records if they have one task and
    the case's work for two of the estimators or more. Otherwise it is the reference's, interpolated in log K between
    its class counts.
    """
    found = []
    for _, rows in rows_of(frame, "step", "step_seconds").groupby(KEY, sort=True):
        cases = {str(name): own.iloc[0].to_dict() for name, own in rows.groupby("estimator", sort=False)}
        known = _own(frame, curves, cases) or _reference(frame, cases)
        if known:
            seconds = _timed(frame, rows)
            minibatch = rows["minibatch_seconds"].fillna(0).median()  # older records lack it
            found += [_points(known, name, cases[name], minibatch + _step_seconds(known, name, seconds, cases))
                      for name in known.curves]  # fmt: skip
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _timed(frame: pd.DataFrame, rows: pd.DataFrame) -> dict[str, float]:
    """Seconds of a step by estimator. Where it was timed in pairs with a baseline, it is the baseline's seconds divided
    by the paired speed-up, because separate medians also differ by what other programs did. Of the baseline's medians,
    by itself and in the pairs, the least counts: other programs only add to a time.
    """
    medians = {str(name): float(of) for name, of in rows.groupby("estimator")["step_seconds"].median().items()}
    pairs = rows_of(frame, "speedup", "speedup", "step")
    pairs = pairs[(pairs[KEY] == rows[KEY].iloc[0]).all(axis=1) & pairs["baseline"].isin(medians)]
    for baseline, seconds in pairs.groupby("baseline")["baseline_seconds"].min().dropna().items():
        medians[baseline] = min(medians[baseline], float(seconds))
    ratios = pairs.groupby(["estimator", "baseline"])["speedup"].median()
    return medians | {name: medians[baseline] / ratio for (name, baseline), ratio in ratios.items() if name in medians}


def _points(known: Known, name: str, case: Mapping[Any, Any], step_seconds: np.ndarray) -> pd.DataFrame:
    """step_seconds [steps]: of a step at each evaluation."""
    curve = known.curves[name]
    between = (step_seconds[1:] + step_seconds[:-1]) / 2 * np.diff(curve.steps)
    seconds = curve.steps[0] * step_seconds[0] + np.concatenate([[0.0], np.cumsum(between)])
    percent = 100 * curve.accuracy
    ends = percent[:, -1]
    return pd.DataFrame({
        **case, "step": curve.steps, "seconds": seconds, "percent": percent.mean(axis=0),
        "percent_low": percent.min(axis=0), "percent_high": percent.max(axis=0), "final": ends.mean(),
        "final_low": ends.min(), "final_high": ends.max(), "seeds": len(percent), "source": known.source,
        "dataset": known.dataset, "labelled_per_class": known.labelled_per_class, "alone": 100 * known.alone,
    })  # fmt: skip


def _step_seconds(
    known: Known, name: str, seconds: Mapping[str, float], cases: Mapping[str, Mapping[Any, Any]]
) -> np.ndarray:
    """Seconds of a step at each evaluation. If the calls of f follow the logits, the time is linear in them, through
    this estimator and the cheapest one of fixed calls. Without such a one, it is the time that was measured.
    """
    curve, own, calls = known.curves[name], seconds[name], cases[name]["calls_of_f"]
    fixed = [
        (seconds[other], cases[other]["calls_of_f"])
        for other, of_other in known.curves.items()
        if of_other.calls is None and cases[other]["calls_of_f"] < calls
    ]
    if curve.calls is None or not fixed:
        return np.full(len(curve.steps), own)
    cheapest, of_cheapest = min(fixed)
    slope = max(own - cheapest, 0) / (calls - of_cheapest)
    return cheapest + slope * np.maximum(curve.calls - of_cheapest, 0)


def _known(
    source: str, dataset: str, labels: float, alone: Curve | None, names: Mapping[str, str],
    curve_of: Callable[[str], Curve | None],
) -> Known | None:  # fmt: skip
    """What is known of `names` (estimator → the estimator whose curve it has). None if fewer than two have a curve."""
    made = {name: curve for name, of in names.items() if (curve := curve_of(of))}
    at_end = float(alone.accuracy[:, -1].mean()) if alone else float("nan")
    return Known(source, dataset, labels, at_end, made) if len(made) > 1 else None


def _own(frame: pd.DataFrame, curves: pd.DataFrame, cases: Mapping[str, Mapping[Any, Any]]) -> Known | None:
    """From the training runs that end at a step and have the cases' work and K: of the task with the most estimators.
    Of two runs of one seed the later one counts. All exact sums have one curve.
    """
    runs = finished_runs(frame[(frame["group"] == TRAINING) & ends_at_a_step(frame)])
    case = next(iter(cases.values()))
    for field in (field for field in (*WORK, "n_classes") if field in runs):
        runs = runs[runs[field].isna() if pd.isna(case[field]) else runs[field] == case[field]]
    sums, found = set(names_with(frame, "exact_sum")), []
    for _, own in runs.groupby("task", sort=True):
        own = own.drop_duplicates(["estimator", "seed"], keep="last")
        points = curves.drop(columns=["seed", "estimator"]).merge(own[[*RUN, "seed", "estimator"]], on=RUN)
        there = set(own["estimator"])
        names = {n: n if n in there or n not in sums else next(iter(sorted(sums & there)), n) for n in cases}

        def curve_of(name: str, points: pd.DataFrame = points) -> Curve | None:
            return Curve.of(points[points["estimator"] == name])

        first = own.iloc[0]
        found.append(_known(
            OWN, first["dataset"], first["labelled_per_class"], curve_of(LABELS_ONLY), names, curve_of
        ))  # fmt: skip
    return max(filter(None, found), key=lambda known: len(known.curves), default=None)


def _reference(frame: pd.DataFrame, cases: Mapping[str, Mapping[Any, Any]]) -> Known | None:
    """From the reference: of the case's data set if it has runs of it at this K, else of DATASET. All exact sums have
    one curve.
    """
    case = next(iter(cases.values()))
    if not takes_reference(case):
        return None
    every, k = reference_curves(), case["n_classes"]
    of_case = every[(every["dataset"] == case["dataset"]) & (every["n_classes"] == k)]
    of_data = every[every["dataset"] == DATASET] if of_case.empty else of_case
    dataset = DATASET if of_case.empty else str(case["dataset"])
    sums = names_with(frame, "exact_sum")

    def curve_of(name: str) -> Curve | None:
        points = of_data[of_data["estimator"] == name]
        counts = points["n_classes"]
        below, above = counts[counts <= k].max(), counts[counts >= k].min()
        if pd.isna(below) or pd.isna(above):
            return None
        lower, upper = (Curve.of(points[counts == at]) for at in (below, above))
        if below == above or not lower or not upper:
            return lower
        return _between(lower, upper, np.log(k / below) / np.log(above / below))

    labels = reference()["conditions"]["labelled_per_class"]
    names = {name: "marginalize-streamed" if name in sums else name for name in cases}
    return _known(REFERENCE, dataset, labels, curve_of(LABELS_ONLY), names, curve_of)


def _between(lower: Curve, upper: Curve, share: float) -> Curve | None:
    """The curve at `share` of the way from `lower` to `upper`, for the seeds that both have; None if there are none."""
    steps = np.union1d(lower.steps, upper.steps)
    seeds = tuple(seed for seed in lower.seeds if seed in upper.seeds)
    if not seeds:
        return None

    def mixed(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        return (1 - share) * np.interp(steps, lower.steps, low) + share * np.interp(steps, upper.steps, high)

    pairs = [(lower.accuracy[lower.seeds.index(seed)], upper.accuracy[upper.seeds.index(seed)]) for seed in seeds]
    calls = None if lower.calls is None or upper.calls is None else mixed(lower.calls, upper.calls)
    return Curve(steps, seeds, np.array([mixed(*pair) for pair in pairs]), calls)


def seconds_to(own: pd.DataFrame, percent: float) -> float:
    """Seconds until the mean curve first reaches an accuracy; nan if it does not."""
    return crossing(own["seconds"].to_numpy(), own["percent"].to_numpy(), percent)


def percent_after(own: pd.DataFrame, seconds: float) -> float:
    """The accuracy of the mean curve after so many seconds; the last one if the curve ended before."""
    return float(np.interp(seconds, own["seconds"], own["percent"]))
