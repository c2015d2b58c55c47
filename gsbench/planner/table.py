"""A plan as text, as JSON and as a frame."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from gsbench.models import MODELS
from gsbench.planner.curve import HeldOut, Prediction
from gsbench.planner.questions import Crossover, Largest
from gsbench.planner.result import Plan
from gsbench.planner.work import METRICS, OF_NETWORKS, Shape
from gsbench.records.text import model_name, percent, seconds, size, three_digits
from gsbench.report.blocks import Table
from gsbench.report.writers.terminal import wrapped, written

TITLES = {"step": "training step", "bound": "bound", "memory": "live arrays", "process": "whole process"}
WRITE: dict[str, Callable[[float], str]] = {"step": seconds, "bound": seconds, "memory": size, "process": size}
SIZES = ("units", "layers", "class_layers", "d_a", "d_z")  # the heading names these in words
BEYOND = "*"  # marks an extrapolated prediction


def _interval(value: float, low: float, high: float, write: Callable[[float], str]) -> str:
    """`130 [116, 146] ms`, or with a unit at each number if they differ."""
    at, start, end = (write(one).rpartition(" ") for one in (value, low, high))
    if at[2] == start[2] == end[2]:
        return f"{at[0]} [{start[0]}, {end[0]}] {at[2]}"
    return f"{write(value)} [{write(low)}, {write(high)}]"


def duration(value: float) -> str:
    """Seconds in the unit that suits a run: 12.0 s, 34.5 min, 7.50 h, 3.20 d."""
    scale, unit = next(pair for pair in ((86400, "d"), (3600, "h"), (60, "min"), (0, "s")) if value >= 2 * pair[0])
    return seconds(value) if unit == "s" else f"{three_digits(value / scale)} {unit}"


def plan_text(plan: Plan) -> str:
    """The plan as text for a terminal: the sections that are not empty, each under its heading."""
    sections = [
        ("", "\n".join(map(wrapped, heading(plan).splitlines()))),
        ("Predicted, with 95 % intervals", _predictions(plan)),
        ("The exact sum compared with samplers", _sentences(crossover_sentence, plan.crossovers)),
        ("What fits", _sentences(largest_sentence, plan.largest)),
        ("A whole training run, without evaluations", _training(plan)),
        ("Errors of the predictions at class counts that were left out of the fit", _held_out(plan)),
    ]
    text = "\n\n".join("\n".join(filter(None, section)) for section in sections if section[1])
    found: tuple[Any, ...] = (*plan.predictions, *plan.crossovers, *plan.largest, *plan.training)
    marked = any(one.extrapolates for one in found)
    return f"{text}\n\n{BEYOND} extrapolated: beyond the measured class counts or sizes" if marked else text


def heading(plan: Plan) -> str:
    s = plan.shape
    own, presets = s.make_config(), Shape.of({"preset": s.preset}).make_config()
    sizes = f"{own.units} units, {own.layers} and {own.class_layers} layers, d_a {own.d_a}, d_z {own.d_z}"
    others = [n for n in OF_NETWORKS if n not in SIZES and getattr(own, n) != getattr(presets, n)]
    sizes += "".join(f", {name} {getattr(own, name)}" for name in others)
    networks = f", preset {s.preset} ({sizes})" if MODELS[s.model].is_configured else ""
    what = f"{model_name(s.model)}{networks}, batch {s.batch}, n_mc {s.n_mc}"
    return f"For {what}\nfrom records of {plan.setup}"


def _predictions(plan: Plan) -> str:
    metrics = [metric for metric in METRICS if any(p.metric == metric for p in plan.predictions)]
    cells: dict[tuple[int, str], dict[str, str]] = {}
    for p in plan.predictions:
        mark = BEYOND if p.extrapolates else ""
        text = _interval(p.value, p.low, p.high, WRITE[p.metric])
        cells.setdefault((p.n_classes, p.estimator), {})[p.metric] = text + mark
    rows = [[f"{k:,}", name, *(found.get(m, "–") for m in metrics)] for (k, name), found in cells.items()]
    return written(Table(["K", "estimator", *(TITLES[m] for m in metrics)], rows, keys=2))


def _sentences(sentence: Callable[[Any], str], of: Sequence[Any]) -> str:
    return "\n".join(wrapped(sentence(one), indent=2) for one in of)


def crossover_sentence(c: Crossover) -> str:
    what = {"step": "step", "bound": "bound", "memory": "peak of live arrays"}[c.metric]
    how = "as cheap as" if c.ratio == 1 else f"{three_digits(c.ratio)} times cheaper than"
    says = f"{what}: {c.estimator} is {how} {c.baseline}"
    span = f"K = {c.least:,} to {c.most:,}"
    if c.verdict == "never":
        reach = f"; its interval allows it from K = {c.low:,} on" if c.low is not None else ""
        pair = f"{c.estimator} {how} {c.baseline}"
        return f"{what}: nowhere from {span} is {pair}{reach}{_mark(c.extrapolates)}"
    high = f"{c.high:,}" if c.high is not None else f"beyond {c.most:,}"
    if c.verdict == "always":
        sure = "" if c.high == c.least else f"; certain from K = {high}" if c.high else "; certain nowhere"
        return f"{says}: always for {span}{sure}{_mark(c.extrapolates)}"
    return f"{says} from K = {c.n_classes:,} on (95 % interval: {c.low:,} to {high}){_mark(c.extrapolates)}"


def largest_sentence(found: Largest) -> str:
    counts = (found.low, found.n_classes, found.high)
    low, at, high = (f"{k:,}" if k is not None else "more than 1,000,000" for k in counts)
    what = f"{size(found.memory_bytes)} ({TITLES[found.metric]})"
    reach = f"(95 % interval: {low} to {high}){_mark(found.extrapolates)}"
    if found.n_classes == 0:
        return f"{found.estimator}: not even K = 2 fits {what} {reach}"
    return f"{found.estimator}: up to K = {at} fits {what} {reach}"


def _mark(extrapolates: Sequence[str]) -> str:
    return f" {BEYOND}" if extrapolates else ""


def _training(plan: Plan) -> str:
    rows = []
    for t in plan.training:
        time = _interval(t.seconds, t.low, t.high, duration) + _mark(t.extrapolates)
        rows.append([f"{t.n_classes:,}", t.estimator, f"{t.steps:,}", time])
    return written(Table(["K", "estimator", "steps", "time"], rows)) if rows else ""


def _held_out(plan: Plan) -> str:
    rows = []
    for metric, name in plan.measured:
        own = [h for h in plan.held_out if (h.metric, h.estimator) == (metric, name)]
        others, larger = ([h for h in own if h.way == way] for way in ("left out", "larger"))
        counts = ", ".join(f"{k:,}" for k in plan.measured[metric, name])
        if own:
            worst = max(others, key=lambda h: abs(h.error))
            rows.append([TITLES[metric], name, counts, _error(worst), _error(larger[0], fitted=True)])
        else:
            rows.append([TITLES[metric], name, counts, "–", "–"])
    headers = ["metric", "estimator", "measured K", "worst error", "error at the largest K, fitted to the smaller half"]
    return written(Table(headers, rows))


def _error(found: HeldOut, fitted: bool = False) -> str:
    shown = round(found.error, 3)
    sign = "+" if shown > 0 else "−" if shown < 0 else ""
    of = f" (from {found.fitted[0]:,} to {found.fitted[-1]:,})" if fitted else ""
    return f"{sign}{percent(abs(shown))} at K = {found.n_classes:,}{of}"


def plan_frame(plan: Plan) -> pd.DataFrame:
    """The predictions, one row each. The columns are the fields of `Prediction`."""
    names = [field.name for field in dataclasses.fields(Prediction)]
    return pd.DataFrame([dataclasses.asdict(found) for found in plan.predictions], columns=names)


def plan_dict(plan: Plan) -> dict[str, Any]:
    """The plan as `--json` prints it. Infinite numbers and nan become None, because JSON has none."""
    held_out = [{**dataclasses.asdict(h), "error": h.error} for h in plan.held_out]
    measured = [{"metric": m, "estimator": name, "n_classes": list(ks)} for (m, name), ks in plan.measured.items()]
    names = ("predictions", "crossovers", "largest", "training")
    answers = {name: [dataclasses.asdict(found) for found in getattr(plan, name)] for name in names}
    head = {
        "setup": plan.setup,
        "conditions": plan.conditions,
        "shape": plan.shape.to_dict(),
        "confidence": 0.95,
        "measured": measured,
    }
    return _strict({**head, **answers, "held_out": held_out, "remarks": list(plan.remarks)})


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
