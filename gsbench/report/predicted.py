"""Accuracy by second on this machine: accuracy by step of training runs, times the seconds a step measured here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gsbench.records.frame import names_with
from gsbench.records.reading import TRAINING, ends_at_a_step
from gsbench.records.reference import WORK, reference_curves, takes_reference
from gsbench.report.glance import KEY, rows_of
from gsbench.report.training_runs import RUN, crossing

DATASET = "glyphs"  # the data set of the reference that has every K
OWN, REFERENCE = "training runs of these records", "reference curves"


@dataclass(frozen=True)
class Curve:
    """Accuracy by step of one estimator at one K: steps [points], accuracy [seeds, points], and the calls of f
    [points] if they follow the logits. The curve of a seed goes on with its last accuracy after its end.
    """

    steps: np.ndarray
    accuracy: np.ndarray
    calls: np.ndarray | None
    source: str

    @classmethod
    def of(cls, points: pd.DataFrame, run: list[str], source: str) -> Curve:
        """The curve of points with `step`, `accuracy` and `calls_of_f`; `run` are the columns that tell runs apart."""
        points = points.dropna(subset=["accuracy"])
        steps = np.unique(points["step"])
        runs = [own.sort_values("step") for _, own in points.groupby(run)]
        accuracy = [np.interp(steps, own["step"], own["accuracy"]) for own in runs]
        calls = [np.interp(steps, own["step"], own["calls_of_f"]) for own in runs]
        follows = points["calls_of_f"].notna().all()
        return cls(steps, np.array(accuracy), np.mean(calls, axis=0) if follows else None, source)


def predictions(frame: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """Accuracy by second: a row for each evaluation, with the fields of the timed step, and

    seconds                                  of training, without evaluations
    percent, percent_low, percent_high       accuracy: mean, least and greatest over the seeds
    final, final_low, final_high, seeds      the same at the end of the curve; the number of seeds
    source                                   whose accuracy by step it is: OWN or REFERENCE

    A case has rows if its step was timed and its accuracy by step is known: from training runs in the records with the
    same work, or else from the reference, which is interpolated in log K between its class counts.
    """
    timed = rows_of(frame, "step", "step_seconds")
    found = []
    for _, rows in timed.groupby(KEY, sort=True):
        cases = {name: own.iloc[0].to_dict() for name, own in rows.groupby("estimator", sort=False)}
        seconds = _timed(frame, rows)
        for name, case in cases.items():
            curve = _own_curve(frame, curves, case) or (_reference(frame, case) if takes_reference(case) else None)
            if curve:
                found.append(_points(curve, case, _step_seconds(curve, name, seconds, cases)))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _timed(frame: pd.DataFrame, rows: pd.DataFrame) -> dict[str, float]:
    """Seconds of a step by estimator. Where it was timed in pairs with a baseline, it is the baseline's time divided by
    the paired speed-up, because separate medians also differ by what other programs did.
    """
    seconds = {str(name): float(of) for name, of in rows.groupby("estimator")["step_seconds"].median().items()}
    pairs = rows_of(frame, "speedup", "speedup", "step")
    pairs = pairs[(pairs[KEY] == rows[KEY].iloc[0]).all(axis=1)]
    for (name, baseline), ratio in pairs.groupby(["estimator", "baseline"])["speedup"].median().items():
        if name in seconds and baseline in seconds:
            seconds[name] = seconds[baseline] / ratio
    return seconds


def _points(curve: Curve, case: Mapping[Any, Any], step_seconds: np.ndarray) -> pd.DataFrame:
    """step_seconds [points]: of a step at each evaluation."""
    between = (step_seconds[1:] + step_seconds[:-1]) / 2 * np.diff(curve.steps)
    seconds = curve.steps[0] * step_seconds[0] + np.concatenate([[0.0], np.cumsum(between)])
    percent = 100 * curve.accuracy
    ends = percent[:, -1]
    return pd.DataFrame({
        **case, "seconds": seconds, "percent": percent.mean(axis=0), "percent_low": percent.min(axis=0),
        "percent_high": percent.max(axis=0), "final": ends.mean(), "final_low": ends.min(), "final_high": ends.max(),
        "seeds": len(percent), "source": curve.source,
    })  # fmt: skip


def _step_seconds(
    curve: Curve, name: str, seconds: Mapping[str, float], cases: Mapping[str, Mapping[Any, Any]]
) -> np.ndarray:
    """Seconds of a step at each evaluation. If the calls of f follow the logits, the step's time is linear in them,
    through the two estimators measured here: this one, and the cheapest whose calls do not follow the logits.
    """
    own, calls = seconds[name], cases[name]["calls_of_f"]
    if curve.calls is None or pd.isna(calls):
        return np.full(len(curve.steps), own)
    fixed = [(seconds[n], case["calls_of_f"]) for n, case in cases.items() if n != name and case["calls_of_f"] < calls]
    draw, of_draw = min(fixed, default=(0.0, 0.0))
    return draw + (own - draw) / (calls - of_draw) * np.maximum(curve.calls - of_draw, 0)


def _own_curve(frame: pd.DataFrame, curves: pd.DataFrame, case: Mapping[Any, Any]) -> Curve | None:
    """The curve of the training runs that end at a step and have the case's work, estimator and K."""
    runs = frame[(frame["group"] == TRAINING) & (frame["status"] == "ok") & ends_at_a_step(frame)]
    for field in (field for field in (*WORK, "n_classes", "estimator") if field in runs):
        runs = runs[runs[field].isna() if pd.isna(case[field]) else runs[field] == case[field]]
    points = curves.merge(runs[RUN].drop_duplicates(), on=RUN) if len(runs) else curves.iloc[:0]
    return Curve.of(points, RUN, OWN) if len(points) else None


def _reference(frame: pd.DataFrame, case: Mapping[Any, Any]) -> Curve | None:
    """The reference's curve at the case's K. All exact sums have one curve."""
    points = reference_curves()
    points = points[points["dataset"] == DATASET]
    sums = {*names_with(frame, "exact_sum"), "marginalize-streamed"}
    same = sums if case["estimator"] in sums else {case["estimator"]}
    points, k = points[points["estimator"].isin(same)], case["n_classes"]
    counts = points["n_classes"]
    below, above = counts[counts <= k].max(), counts[counts >= k].min()
    if pd.isna(below) or pd.isna(above):
        return None
    lower, upper = (Curve.of(points[points["n_classes"] == at], ["seed"], REFERENCE) for at in (below, above))
    return lower if below == above else _between(lower, upper, np.log(k / below) / np.log(above / below))


def _between(lower: Curve, upper: Curve, share: float) -> Curve:
    """The curve at `share` of the way from `lower` to `upper`, seed by seed."""
    steps, seeds = np.union1d(lower.steps, upper.steps), min(len(lower.accuracy), len(upper.accuracy))

    def mixed(of_lower: np.ndarray, of_upper: np.ndarray) -> np.ndarray:
        both = (np.interp(steps, curve.steps, of) for curve, of in ((lower, of_lower), (upper, of_upper)))
        low, high = both
        return (1 - share) * low + share * high

    accuracy = np.array([mixed(lower.accuracy[i], upper.accuracy[i]) for i in range(seeds)])
    follows = lower.calls is not None and upper.calls is not None
    return Curve(steps, accuracy, mixed(lower.calls, upper.calls) if follows else None, REFERENCE)  # type: ignore[arg-type]


def seconds_to(own: pd.DataFrame, percent: float) -> float:
    """Seconds until the mean curve first reaches an accuracy; nan if it never does."""
    return crossing(own["seconds"].to_numpy(), own["percent"].to_numpy(), percent)


def percent_after(own: pd.DataFrame, seconds: float) -> float:
    """The accuracy of the mean curve after so many seconds; the last one if the curve ended before."""
    return float(np.interp(seconds, own["seconds"], own["percent"]))
