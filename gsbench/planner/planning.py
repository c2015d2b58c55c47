"""`gsbench.plan` predicts the cost of a step from records, or from a quick calibration if there are none."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gsbench.estimators import parse_estimator
from gsbench.planner.calibration import TIMED, calibrate
from gsbench.planner.checks import check, check_case
from gsbench.planner.curve import Curve, Prediction, make_curve
from gsbench.planner.observations import Used, observe
from gsbench.planner.questions import Crossover, Largest, crossover, largest
from gsbench.planner.result import Plan, Training
from gsbench.planner.work import METRICS, OF_NETWORKS, Shape
from gsbench.records.order import by_estimator
from gsbench.records.reading import ReportError, read_files
from gsbench.report import make_frame, read_runs
from gsbench.settings.recipe import steps_of

DEFAULT_CLASSES = (10, 20, 50, 100, 200, 500, 1000)
RANGE = 10  # the search for a crossover ends at this many times the largest measured class count


def load_results(paths: Sequence[str | Path] = (), storage: str | Path = ".benchmarks") -> pd.DataFrame:
    """The tidy frame that a report is made from, one row per record, from `paths` or from the newest run under
    `storage`. The logger "gsbench" names what is left out. Raises ValueError if a file is missing or no benchmark file.
    """
    reading = read_runs(paths, storage)
    for notice in reading.notices:
        logging.getLogger("gsbench").warning(notice)
    return make_frame(reading.records)


def plan(
    paths: Sequence[str | Path] = (),
    *,
    storage: str | Path = ".benchmarks",
    classes: Sequence[int] = DEFAULT_CLASSES,
    estimators: Sequence[str] | None = None,
    ratio: float = 2.0,
    memory: int | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    examples: int | None = None,
    calibrate: bool | None = None,
    quiet: bool = True,
    device: str | None = None,
    dtype: str | None = None,
    backend: str | None = None,
    threads: int | None = None,
    **shape: Any,
) -> Plan:
    """Predicts time and memory of a training step from measured records.

    paths       files or folders of records; none: all records of this machine under `storage`
    classes     K, the class counts to predict
    estimators  spellings; None: all estimators whose step was timed, or else all estimators in the records
    ratio       the crossover is the K from which a sampler costs 1/ratio of the exact sum
    memory      the limit in bytes; the plan then gives the largest K whose step fits
    steps, epochs, examples
                the length of a training run: its steps, or its epochs and the number of unlabelled examples
    calibrate   True: measure first; None: measure if no file is named and no record fits; False: never measure
    device, dtype, backend, threads
                use records with these values only; None: the newest records, this machine's first
    shape       model, preset, batch, n_mc, and the network settings on which a step's cost depends, such as units,
                layers, d_a and norm; default: as in most of the records

    Raises ValueError for an argument that is not allowed, and if no record fits.
    """
    names = None if estimators is None else [str(parse_estimator(name)) for name in estimators]
    setup = {"device": device, "dtype": dtype, "backend": backend, "threads": threads}
    wanted = {name: value for name, value in setup.items() if value is not None}
    check(classes, ratio, memory, steps, epochs, examples)
    check_case(names or (), wanted, shape)
    used, notices = _read(paths, storage, wanted)
    if calibrate or (calibrate is None and used is None and not paths):
        like = _shape(used, {**shape, **{n: wanted[n] for n in ("device", "dtype") if n in wanted}})
        new = _calibrated(like, names, storage, wanted, quiet)
        used, notices = _read([new], storage, wanted)  # without older records: the machine may have been busy then
    if used is None:
        raise ValueError(_no_record_message(paths, storage, wanted, notices))
    return _answer(used, notices, names, classes, ratio, memory, (steps, epochs, examples), shape)


def _read(
    paths: Sequence[str | Path], storage: str | Path, wanted: dict[str, Any]
) -> tuple[Used | None, tuple[str, ...]]:
    """The observations that fit, and the reader's notices. From `storage`, only records of this machine fit."""
    try:
        reading = read_files([Path(path) for path in paths or (storage,)])
    except ReportError as error:
        if paths:
            raise
        return None, (str(error),)
    used = observe(make_frame(reading.records), wanted, only_here=not paths)
    return used, reading.notices


def _no_record_message(paths: Sequence[Any], storage: Any, wanted: dict[str, Any], notices: Sequence[str]) -> str:
    where = f"in {', '.join(map(str, paths))}" if paths else f"of this machine under {str(storage)!r}"
    asked = "".join(f", {name} {value}" for name, value in wanted.items())
    return "\n  ".join([f"no record of time or memory {where}{asked}; measure some with --calibrate", *notices])


def _shape(used: Used | None, given: dict[str, Any]) -> Shape:
    """The given fields; the other fields are as in most observations with the given model and preset."""
    if used is None:
        return Shape.of(given)
    shapes = list(used.rows["shape"])
    for name in {"model", "preset"} & set(given):
        shapes = [shape for shape in shapes if getattr(shape, name) == given[name]] or shapes
    most = max(dict.fromkeys(shapes), key=shapes.count).to_dict()
    if {"model", "preset"} & set(given):  # another preset has other networks
        most = {name: value for name, value in most.items() if name not in OF_NETWORKS}
    return Shape.of({**most, **given})


def _calibrated(shape: Shape, names: Sequence[str] | None, storage: Any, wanted: dict[str, Any], quiet: bool) -> Path:
    more = {name: wanted[name] for name in ("backend", "threads") if name in wanted}
    return calibrate(shape, names, storage=storage, quiet=quiet, **more)


def _answer(
    used: Used,
    notices: Sequence[str],
    names: Sequence[str] | None,
    classes: Sequence[int],
    ratio: float,
    memory: int | None,
    length: tuple[int | None, float | None, int | None],
    given: dict[str, Any],
) -> Plan:
    shape = _shape(used, given)
    asked, remarks = _names(used, shape, names)
    curves = _curves(used.rows, asked, shape)
    for metric in ("step", "bound", "memory"):
        if missing := [name for name in asked if (metric, name) not in curves]:
            remarks.append(f"Not measured at two class counts: the {metric} of {', '.join(missing)}.")
    derived = set(used.rows.loc[used.rows["derived"], "estimator"])
    if not_timed := [name for name in asked if name in derived and ("step", name) in curves]:
        listed = ", ".join(not_timed)
        remarks.append(f"The step was not timed but computed, as the bound plus the rest of a step, for: {listed}.")
    remarks += [
        f"The cost of {name} depends on the logits: the prediction holds for the first steps."
        for name in asked
        if parse_estimator(name).calls_follow_logits
    ]
    if not curves:
        counts = ", ".join(f"{k:,.0f}" for k in sorted(used.rows["n_classes"].unique())) or "none"
        raise ValueError(
            f"a plan needs two class counts of {', '.join(asked) or shape.model}; the records have K = {counts}. "
            "Measure another count, or measure with --calibrate"
        )
    predictions = [c.predict(k) for k in sorted(set(classes)) for c in curves.values()]
    beyond = dict.fromkeys(text for p in predictions for text in p.extrapolates)
    if beyond:
        remarks.append(f"Extrapolated: {'; '.join(beyond)}.")
    return Plan(
        used.describe(),
        dict(used.setup),
        shape,
        {key: curve.counts for key, curve in curves.items()},
        tuple(predictions),
        _crossovers(curves, asked, ratio, max(classes)),
        _largest(curves, asked, memory, shape.device),
        _training(predictions, length, shape.batch),
        tuple(found for curve in curves.values() for found in curve.held_out),
        tuple(dict.fromkeys([*notices, *used.remarks, *remarks])),
        tuple(curves.values()),
    )


def _names(used: Used, shape: Shape, names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The estimators of the plan, and remarks. Raises ValueError if one of `names` is not defined for the shape."""
    if names is not None:
        for name in names:
            shape.settings(name, 2)
        return list(dict.fromkeys(names)), []
    rows = used.rows
    timed = rows.loc[(rows["metric"] == "step") & ~rows["derived"], "estimator"]
    why_not = {name: _why_not(name, shape) for name in by_estimator(timed if len(timed) else rows["estimator"])}
    defined = [name for name, text in why_not.items() if not text]
    return defined, [f"Left out: {text}." for text in why_not.values() if text]


def _why_not(name: str, shape: Shape) -> str:
    """Why the estimator is not defined for the shape; "" if it is defined."""
    try:
        shape.settings(name, 2)
    except ValueError as error:
        return str(error)
    return ""


def _curves(rows: pd.DataFrame, asked: Sequence[str], shape: Shape) -> dict[tuple[str, str], Curve]:
    """The curves by metric and estimator. The curve of a sampler's time uses the curve of an exact sum, requested or
    not. The curve of a step uses the curve of its bound.
    """
    sums = [n for n in by_estimator(rows["estimator"]) if parse_estimator(n).exact and not _why_not(n, shape)]
    exact: dict[tuple[str, str], Curve] = {}
    for name in sums:
        exact |= _estimator_curves(rows, name, shape, {})
    baselines = {metric: _baseline(exact, metric, sums) for metric in TIMED}
    made: dict[tuple[str, str], Curve] = {}
    for name in asked:
        made |= _estimator_curves(rows, name, shape, {} if name in sums else baselines)
    return made


def _estimator_curves(
    rows: pd.DataFrame, name: str, shape: Shape, baselines: Mapping[str, Curve | None]
) -> dict[tuple[str, str], Curve]:
    """The curves of one estimator, in the order of METRICS."""
    bound = make_curve(rows, "bound", name, shape, baselines.get("bound"))
    others = {
        metric: make_curve(rows, metric, name, shape, baselines.get(metric), bound if metric == "step" else None)
        for metric in METRICS
        if metric != "bound"
    }
    made = {**others, "bound": bound}
    return {(metric, name): curve for metric in METRICS if (curve := made[metric])}


def _baseline(curves: dict[tuple[str, str], Curve], metric: str, asked: Sequence[str]) -> Curve | None:
    """The best exact sum: one that frees the rows of f comes before one that keeps all rows."""
    sums = [name for name in asked if parse_estimator(name).exact and (metric, name) in curves]
    best = sorted(sums, key=lambda name: not parse_estimator(name).frees_rows)
    return curves[metric, best[0]] if best else None


def _crossovers(
    curves: dict[tuple[str, str], Curve], asked: Sequence[str], ratio: float, most: int
) -> tuple[Crossover, ...]:
    found = []
    for metric in ("step", "bound", "memory"):
        baseline = _baseline(curves, metric, asked)
        if baseline is None:
            continue
        limit = max(most, RANGE * baseline.counts[-1])
        samplers = [name for name in asked if not parse_estimator(name).exact and (metric, name) in curves]
        found += [crossover(baseline, curves[metric, name], ratio, limit) for name in samplers]
    return tuple(found)


def _largest(
    curves: dict[tuple[str, str], Curve], asked: Sequence[str], memory: int | None, device: str
) -> tuple[Largest, ...]:
    """On a CPU the limit applies to the whole process, on a device to the memory that is allocated there."""
    if memory is None:
        return ()
    kinds = ("process", "memory") if device == "cpu" else ("memory",)
    found = [next((curves[kind, name] for kind in kinds if (kind, name) in curves), None) for name in asked]
    return tuple(largest(curve, int(memory)) for curve in found if curve)


def _training(
    predictions: Sequence[Prediction], length: tuple[int | None, float | None, int | None], batch: int
) -> tuple[Training, ...]:
    steps, epochs, examples = length
    if epochs is not None and examples is not None:
        steps = steps_of(epochs, examples / batch)
    if steps is None:
        return ()
    return tuple(
        Training(p.estimator, p.n_classes, steps, steps * p.value, steps * p.low, steps * p.high, p.extrapolates)
        for p in predictions
        if p.metric == "step"
    )
