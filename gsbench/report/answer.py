"""The answer of a report in a sentence or two, with its conditions, as far as its records give one."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from gsbench.report import text
from gsbench.report.accuracy import BASELINE, equal_readouts
from gsbench.report.estimator_styles import by_estimator
from gsbench.report.frame import is_sum, measured
from gsbench.report.training_runs import SUBJECT, finished_runs, over_seeds, subject_title

SAMPLER = "gumbel-softmax"  # what the exact sum is held against
SHORT = 60.0  # seconds of training
DRAW = "one Gumbel-Softmax draw"


def answer(frame: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    """Paragraphs: what the exact sum costs beside one Gumbel-Softmax draw, and what training runs came to.

    From the measurements at the largest K that has both; what the records do not have is said.
    """
    paragraphs = [_cost(frame, curves), _trained(frame)]
    found = [paragraph for paragraph in paragraphs if paragraph]
    return found or [f"These records do not say what the exact sum costs beside {DRAW}: neither was measured with it."]


@dataclass(frozen=True)
class Ratio:
    """How many times a draw's figure the sum's is, at one K."""

    series: str
    model: str
    k: float
    told: str
    rows: pd.DataFrame


def _cost(frame: pd.DataFrame, curves: pd.DataFrame) -> str:
    time = _paired(frame) or _medians(frame, "step", "step_seconds", "the time (medians, not in pairs)")
    memory = _memory(frame, time)
    accuracy = _accuracy(curves, time)
    if not (time or memory or accuracy):
        return ""
    first = time or memory
    where = f"On this machine ({_device(first.rows)}), at K = {first.k:,.0f}, " if first else ""
    if time and memory and memory.k == time.k:
        cost = f"the exact sum costs {time.told} of {DRAW} and {memory.told}"
    elif time:
        more = f"; at K = {memory.k:,.0f} it takes {memory.told}" if memory else "; its memory was not measured"
        cost = f"the exact sum costs {time.told} of {DRAW}{more}"
    elif memory:
        cost = f"the exact sum takes {memory.told.replace('its', 'the')} of {DRAW}; its time was not measured"
    else:
        cost = "Of the exact sum and the draw neither time nor memory was measured"
    return f"{where}{cost}; {accuracy or 'its accuracy was not measured'}.{_settings(time, memory)}"


def _device(rows: pd.DataFrame) -> str:
    """`cpu: AMD EPYC, 2 threads`, as at the end of a caption."""
    devices = text.conditions(rows).split(". Settings:")[0].removeprefix("Device: ").rstrip(".")
    return re.sub(r"(\S+) \((.*?)\)(?=;|$)", r"\1: \2", devices)


def _settings(*ratios: Ratio | None) -> str:
    rows = pd.concat([ratio.rows for ratio in ratios if ratio] or [pd.DataFrame()])
    if rows.empty:
        return ""
    told = text.conditions(rows).partition("Settings: ")[2]
    models = text.listed(text.model_name(model) for model in text.values(rows, "model"))
    return f" ({models}, {told.rstrip('.')}.)"


def _paired(frame: pd.DataFrame) -> Ratio | None:
    """From pairs, of the full step; where it was not timed so, of the unlabelled bound."""
    rows = measured(frame, "speedup", "speedup", "timed")
    rows = rows[rows["estimator"] == SAMPLER]
    for timed, what in (("step", "the time"), ("bound", "the time, in the unlabelled bound alone,")):
        own = _at_largest(rows[rows["timed"] == timed])
        if len(own):
            ratio, low, high = own[["speedup", "speedup_low", "speedup_high"]].median()
            spread = "" if pd.isna(low) else f" ({_short(low)} to {_short(high)})"
            return _ratio(own, f"{_short(ratio)} ×{spread} {what}")
    return None


def _ratio(rows: pd.DataFrame, told: str) -> Ratio:
    first = rows.iloc[0]
    return Ratio(first["series"], first["model"], first["n_classes"], told, rows)


def _short(value: float) -> str:
    """Two digits: 10, 8.7."""
    return f"{float(f'{value:.2g}'):,g}"


def _at_largest(rows: pd.DataFrame) -> pd.DataFrame:
    """Those at the largest K, of the first model and series there, real data before made-up ones."""
    if rows.empty:
        return rows
    rows = rows[rows["n_classes"] == rows["n_classes"].max()]
    for field in ("model", "series"):
        rows = rows[rows[field] == sorted(rows[field])[0]]
    real = rows[rows["dataset"] != "synthetic"]
    return real if len(real) else rows


def _memory(frame: pd.DataFrame, time: Ratio | None) -> Ratio | None:
    """At the K of the time, where it was measured there; the cheaper sum counts."""
    if time is not None:
        at = (frame["n_classes"] == time.k) & (frame["model"] == time.model) & (frame["series"] == time.series)
        found = _medians(frame[at], "memory", "peak_bytes", "its memory")
        if found:
            return found
    return _medians(frame, "memory", "peak_bytes", "its memory")


def _medians(frame: pd.DataFrame, group: str, field: str, what: str) -> Ratio | None:
    """The smallest median of the exact sums over that of a draw, at the largest K that has both."""
    rows = measured(frame, group, field)
    sums, draws = rows[is_sum(rows["estimator"])], rows[rows["estimator"] == SAMPLER]
    key = ["series", "model", "n_classes"]
    both = _at_largest(draws.merge(sums[key].drop_duplicates(), on=key))
    if both.empty:
        return None
    first = both.iloc[0]
    of_sum = sums[(sums[key] == first[key]).all(axis=1)]
    least = of_sum.groupby("estimator")[field].median().min()
    return _ratio(pd.concat([both, of_sum]), f"{_short(least / both[field].median())} × {what}")


def _accuracy(curves: pd.DataFrame, time: Ratio | None) -> str:
    """`at equal training time (7.8 s, glyphs, preset small) its accuracy is 6.0 % against 73.8 %, and 70.1 % on the
    labels alone`.
    """
    readouts = equal_readouts(curves)
    readouts = readouts[(readouts["equal"] == "second") & readouts["accuracy"].notna()]
    sums, draws = readouts[is_sum(readouts["estimator"])], readouts[readouts["estimator"] == SAMPLER]
    key = ["series", "model", "task", "n_classes", "at"]
    both = draws.merge(sums, on=key, suffixes=("", "_of_sum"))
    if time is not None:
        both = both[both["series"] == time.series]  # another machine's accuracy is no part of this answer
        at_k = both["n_classes"] == time.k
        both = both[at_k] if at_k.any() else both
    if both.empty:
        return ""
    found = both.sort_values(["n_classes", "model", "series", "task"], ascending=[False, True, True, True]).iloc[0]
    elsewhere = "" if time is not None and found["n_classes"] == time.k else f", K = {found['n_classes']:,.0f}"
    exact = both[(both[key] == found[key]).all(axis=1)]["accuracy_of_sum"].max()
    where = f"{text.model_name(found['model'])} on {found['task']}{elsewhere}"
    against = f"{text.percent(exact)} against {text.percent(found['accuracy'])}"
    alone = readouts[(readouts["estimator"] == BASELINE) & (readouts[key] == found[key]).all(axis=1)]["accuracy"].max()
    against += "" if pd.isna(alone) else f", and {text.percent(alone)} on the labels alone"
    begins = " (so short a training says where a run begins, not where it ends)" if found["at"] < SHORT else ""
    return f"at equal training time ({text.seconds(found['at'])}, {where}) its accuracy is {against}{begins}"


def _trained(frame: pd.DataFrame) -> str:
    """Of training runs: what each estimator came to at the largest K, and how long it took."""
    rows = finished_runs(frame)
    if rows.empty:
        return ""
    at_largest = rows[rows["n_classes"] == rows["n_classes"].max()]
    sizes = at_largest.groupby(SUBJECT)["estimator"].nunique()
    model, task, _ = sizes.index[int(sizes.to_numpy().argmax())]
    own = at_largest[(at_largest["model"] == model) & (at_largest["task"] == task)]
    points = over_seeds(own, ["estimator"], ["validation_accuracy", "wall_seconds"]).set_index("estimator")
    names = sorted(by_estimator(points.index), key=lambda name: name == BASELINE)  # the mark after what it marks
    told = [_came_to(name, points.loc[name]) for name in names]
    others = rows.groupby(SUBJECT).ngroups - 1
    more = f" {others} other subject{'s' if others > 1 else ''}: see below." if others else ""
    return f"Trained on this machine ({_device(own)}), {subject_title(own.iloc[0])}: {'; '.join(told)}.{more}"


def _came_to(name: str, point: pd.Series) -> str:
    """`marginalize 97.1 % (3 seeds, 1.2 h each)`."""
    n = int(point["runs"])
    seeds = f"{n} seed{'s' if n > 1 else ''}"
    wall = "" if pd.isna(point["wall_seconds"]) else f", {_hours(point['wall_seconds'])}{' each' if n > 1 else ''}"
    return f"{name} {text.percent(point['validation_accuracy'])} ({seeds}{wall})"


def _hours(seconds: float) -> str:
    for scale, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * scale:
            return f"{_short(seconds / scale)} {unit}"
    return text.seconds(seconds)
