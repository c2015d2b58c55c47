"""The answer of a report in one or two sentences, with its conditions, as far as the records give one.

All numbers of the answer have the same preset. Numbers of the benchmark are cells of the one-glance table, so the two
cannot differ. Numbers of training runs are means from the training tables.

An accuracy is given only if the model has learnt something, see `least_learnt`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gsbench.records import text
from gsbench.records.frame import names_with
from gsbench.records.order import by_estimator
from gsbench.records.reading import TRAINING, ends_at_a_step
from gsbench.report.glance import ACCURACY, KEY, glance_cells, rows_of
from gsbench.report.training_runs import SUBJECT, finished_runs, over_seeds, subject_title
from gsbench.settings.run import LABELS_ONLY

SAMPLER = "gumbel-softmax"  # the exact sum is compared with it
FORM = "{}: {}"  # of a device and its name
SHORT = 60.0  # seconds of training


def answer(frame: pd.DataFrame, judged: bool = False) -> list[str]:
    """Two paragraphs: the cost of the exact sum relative to one Gumbel-Softmax draw, and the results of training runs.

    The cost is taken at the largest K at which both were measured. The text says what the records lack. After a verdict
    (`judged`), which speaks of accuracy, it says nothing of the accuracy of short runs.
    """
    cost, preset = _cost(frame, judged)
    found = [paragraph for paragraph in (cost, _trained(frame, preset, bool(cost))) if paragraph]
    return found or [f"These records do not say what an exact sum costs beside {SAMPLER}: no two were measured alike."]


def least_learnt(n_classes: float, alone: float) -> float:
    """The least accuracy that counts as learnt: max(`alone`/2, 2/K). Guessing gives 1/K.

    `alone` is the accuracy of training on labels alone, nan if unknown. If it is unknown or below 2/K, it is no guide,
    and the threshold is half-way from 1/K to 1.
    """
    if alone >= 2 / n_classes:
        return max(alone / 2, 2 / n_classes)
    return (1 + 1 / n_classes) / 2


@dataclass(frozen=True)
class Pair:
    """An exact sum compared with the sampler, in one series of one model at one K: the ratio in words, its rows."""

    series: str
    model: str
    k: float
    sum: str
    told: str
    rows: pd.DataFrame


def _cost(frame: pd.DataFrame, judged: bool) -> tuple[str, str]:
    """The paragraph on costs, and its preset; both "" if nothing was measured."""
    # If nothing was timed in pairs, the ratio is that between separate medians, with the fastest sum.
    time = _paired(frame) or _ratio(frame, "step", "step_seconds", "the time", text.seconds, ", medians, not in pairs")
    memory = _memory(frame, time)
    first = time or memory
    if first is None:
        return "", ""
    rows = first.rows
    preset = text.listed(text.values(rows, "preset") or [text.NOT_MEASURED])
    parts = _costs(time, memory)
    if not judged:
        parts.append(_accuracy(frame, first) or f"no accuracy of both was measured with preset {preset}")
    under = pd.concat([pair.rows for pair in (time, memory) if pair])
    models = text.listed(text.model_name(model) for model in text.values(under, "model"))
    where = f"On this machine ({text.devices(rows, FORM)}), at K = {first.k:,.0f}"
    return f"{where}, {'; '.join(parts)}. ({models}, {text.settings(under)}.){_elsewhere(frame, time)}", preset


def _elsewhere(frame: pd.DataFrame, time: Pair | None) -> str:
    """A sentence with the ratios of full steps in the other series of the same model and K; "" if there are none."""
    if time is None:
        return ""
    cells = glance_cells(frame)
    ratios = cells[cells.index.get_level_values("figure") == "speedup"]
    told = [
        f"{text.times(ratio)} in {series}"
        for (series, model, k, name, _), ratio in ratios.items()
        if (model, k, name) == (time.model, time.k, SAMPLER) and series != time.series
    ]
    return f" The step of the sum takes {text.listed(told)}." if told else ""


def _costs(time: Pair | None, memory: Pair | None) -> list[str]:
    """The time and the memory of the sum in words. `memory` and `time` belong to the same sum."""
    if time and memory and time.k == memory.k:
        return [f"{time.sum} takes {time.told} and {memory.told} of {SAMPLER}"]
    elsewhere = f"at K = {memory.k:,.0f} " if time and memory else ""
    return [
        f"{time.sum} takes {time.told} of {SAMPLER}" if time else "the time was not measured",
        f"{elsewhere}{memory.sum} takes {memory.told} of {SAMPLER}" if memory else "the memory was not measured",
    ]


def _largest(places: Iterable[Any]) -> tuple[str, str, float]:
    """The (series, model, K) with the largest K; of several, the first model and then the first series."""
    series, model, k = min(places, key=lambda place: (-place[2], place[1], place[0]))
    return series, model, k


def _of(rows: pd.DataFrame, place: Sequence[Any]) -> pd.DataFrame:
    return rows[(rows[KEY] == pd.Series(place, index=KEY)).all(axis=1)]


def _paired(frame: pd.DataFrame) -> Pair | None:
    """The time ratio from paired timings of the full step; of the unlabelled bound if the step has none."""
    for timed, what in (("step", "the time"), ("bound", "the time, in the unlabelled bound alone,")):
        rows = rows_of(frame, "speedup", "speedup", timed)
        rows = rows[(rows["estimator"] == SAMPLER) & (rows["baseline_exact_sum"] == 1)]
        sums = {place: set(own["baseline"]) for place, own in rows.groupby(KEY)}
        known = [place for place, names in sums.items() if len(names) == 1]
        if known:
            place = _largest(known)
            cells = glance_cells(frame, timed)
            figures = ("speedup", "speedup_low", "speedup_high")
            ratio, low, high = (cells.get((*place, SAMPLER, figure), math.nan) for figure in figures)
            told = f"{text.times(ratio)}{text.interval(low, high)} {what}"
            return Pair(*place, next(iter(sums[place])), told, _of(rows, place))
    return None


def _memory(frame: pd.DataFrame, time: Pair | None) -> Pair | None:
    """The memory ratio of the sum, series and model of `time`; at the same K if it was measured there."""
    places = [frame]
    if time:
        own = frame[(frame["series"] == time.series) & (frame["model"] == time.model)]
        own = own[own["estimator"].isin([time.sum, SAMPLER])]
        places = [own[own["n_classes"] == time.k], own]
    found = (_ratio(rows, "memory", "peak_bytes", "the memory", text.size) for rows in places)
    return next(filter(None, found), None)


def _ratio(
    frame: pd.DataFrame, group: str, figure: str, what: str, write: Callable[[float], str], note: str = ""
) -> Pair | None:
    """The ratio of the cheapest exact sum to the sampler, at the largest K at which both were measured."""
    cells = glance_cells(frame)
    found = cells[cells.index.get_level_values("figure") == figure].droplevel("figure").unstack("estimator")
    sums = [name for name in names_with(frame, "exact_sum") if name in found]
    if SAMPLER not in found or not sums:
        return None
    both = found[(found[SAMPLER] > 0) & found[sums].notna().any(axis=1)]
    if both.empty:
        return None
    place = _largest(both.index)
    cheapest = both.loc[place, sums].astype(float).idxmin()
    least, draw = both.loc[place, cheapest], both.loc[place, SAMPLER]
    rows = _of(rows_of(frame, group, figure), place)
    told = f"{text.times(least / draw)} {what} ({write(least)} against {write(draw)}{note})"
    return Pair(*place, cheapest, told, rows[rows["estimator"].isin([cheapest, SAMPLER])])


def _accuracy(frame: pd.DataFrame, first: Pair) -> str:
    """The accuracies of a sum and of the sampler after some seconds of training, as in the one-glance table, or why
    there are none. Joint run, model and preset are the same as in `first`, and so is K if models were trained at it.
    """
    rows = rows_of(frame[~ends_at_a_step(frame)], TRAINING, "validation_accuracy")
    for field in ("joint_run", "model", "preset"):
        rows = rows[rows[field].isin(first.rows[field])]
    tasks = _with_both(rows)
    tasks = [task for task in tasks if task[2] == first.k] or tasks
    if not tasks:
        return ""
    *place, task = min(tasks, key=lambda at: (-at[2], at[1], at[0], at[3]))
    _, model, k = place
    own = _of(rows, place)
    own = own[own["task"] == task]
    cells = glance_cells(frame)
    reached = {name: cells.get((*place, name, ACCURACY + task)) for name in by_estimator(own["estimator"])}
    sums = names_with(own, "exact_sum")
    exact = first.sum if first.sum in sums else sums[0]
    elsewhere = "" if first.k == k else f", K = {k:,.0f}"
    where = f"{text.model_name(model)} on {task}{elsewhere}"
    seconds = own[own["estimator"].isin([exact, SAMPLER])]["train_seconds"]
    after = _after(seconds)
    behind, mark = _behind({name: reached[name] for name in (exact, SAMPLER)}, k, reached.get(LABELS_ONLY, math.nan))
    if behind:
        return f"no accuracy is given, because {text.listed(behind)} had not reached {mark}{after} ({where})"
    told = [f"{name} {text.percent(reached[name])}" for name in (exact, SAMPLER, LABELS_ONLY) if name in reached]
    begins = " (so short a run shows where training begins, not where it ends)" if seconds.max() < SHORT else ""
    return f"accuracy{after} ({where}): {text.listed(told)}{begins}"


def _with_both(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Each (series, model, K, task) that has accuracies of an exact sum and of the sampler."""
    sums, draws = rows[rows["exact_sum"] == 1], rows[rows["estimator"] == SAMPLER]
    keys = [set(own[[*KEY, "task"]].itertuples(index=False, name=None)) for own in (sums, draws)]
    return sorted(keys[0] & keys[1])


def _behind(reached: Mapping[str, float], k: float, alone: float) -> tuple[list[str], str]:
    """The estimators whose accuracy does not count as learnt, and the accuracy that they needed, in words."""
    mark = f"half of {LABELS_ONLY}" if alone >= 2 / k else "half-way from guessing to always right"
    return [name for name, accuracy in reached.items() if accuracy < least_learnt(k, alone)], mark


def _after(seconds: pd.Series) -> str:
    """` after 8.01 s of training`; a range if the times differ by more than a tenth."""
    low, high = seconds.min(), seconds.max()
    if pd.isna(low):
        return ""
    told = text.seconds(high) if high <= 1.1 * low else f"{text.seconds(low)} to {text.seconds(high)}"
    return f" after {told} of training"


def _trained(frame: pd.DataFrame, preset: str, after_cost: bool) -> str:
    """The paragraph on training runs: the final accuracy of each estimator at the largest K, and its time.

    Only runs of `preset` count, if it is not "". After the paragraph on costs, which gives the accuracies of runs that
    end by the clock, only runs that end at a step count.
    """
    every = finished_runs(frame)
    every = every[ends_at_a_step(every)] if after_cost else every
    rows = every[every["preset"] == preset] if preset else every
    others = every.groupby(SUBJECT).ngroups - 1
    if rows.empty:
        found = text.values(every, "preset")
        return f"The training runs are of other presets ({text.listed(found)}): see below." if found else ""
    at_largest = rows[rows["n_classes"] == rows["n_classes"].max()]
    sizes = at_largest.groupby(SUBJECT)["estimator"].nunique()
    model, task, k = sizes.index[int(sizes.to_numpy().argmax())]
    own = at_largest[(at_largest["model"] == model) & (at_largest["task"] == task)]
    points = over_seeds(own, ["estimator"], ["validation_accuracy", "wall_seconds"]).set_index("estimator")
    alone = points["validation_accuracy"].get(LABELS_ONLY, math.nan)
    names = sorted(by_estimator(points.index), key=lambda name: name == LABELS_ONLY)  # the reference comes last
    behind, mark = _behind({name: points.loc[name, "validation_accuracy"] for name in names}, k, alone)
    told = [_came_to(name, points.loc[name]) for name in names if name not in behind]
    told += [f"{text.listed(behind)} did not reach {mark}"] if behind else []
    more = f" {others} other subject{'s' if others > 1 else ''}: see below." if others else ""
    where = f"Trained on this machine ({text.devices(own, FORM)}), {subject_title(own.iloc[0])}"
    return f"{where}: {'; '.join(told)}.{more}"


def _came_to(name: str, point: pd.Series) -> str:
    """`marginalize 97.1 % (3 seeds, 1.2 h each)`."""
    n = int(point["runs"])
    seeds = f"{n} seed{'s' if n > 1 else ''}"
    wall = "" if pd.isna(point["wall_seconds"]) else f", {_hours(point['wall_seconds'])}{' each' if n > 1 else ''}"
    return f"{name} {text.percent(point['validation_accuracy'])} ({seeds}{wall})"


def _hours(seconds: float) -> str:
    for scale, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * scale:
            return f"{float(f'{seconds / scale:.2g}'):,g} {unit}"
    return text.seconds(seconds)
