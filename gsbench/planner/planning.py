"""`gsbench.plan`: records, or a quick calibration where there are none → what a step will cost, and what follows."""

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
from gsbench.recipe import steps_of
from gsbench.report import make_frame, read_runs
from gsbench.report.drawing.styles import by_estimator
from gsbench.report.reading import ReportError, read_files

DEFAULT_CLASSES = (10, 20, 50, 100, 200, 500, 1000)
RANGE = 10  # the crossover is looked for up to this many times the largest class count measured


def load_results(paths: Sequence[str | Path] = (), storage: str | Path = ".benchmarks") -> pd.DataFrame:
    """The tidy frame that a report is made from, a row a record: of the files named, or of the newest run under
    `storage`. What is left out is told by the logger "gsbench". Raises ValueError where a file is missing or is no
    benchmark file."""
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

    paths       files or folders of records; none: all under `storage` that are of this machine
    classes     K, the class counts to predict
    estimators  spellings; None: those whose step was timed, or all that were measured
    ratio       how many times as cheap as the exact sum a sampler has to be
    memory      bytes that a step may hold
    steps, epochs, examples
                the length of a training run: its steps, or its epochs over so many unlabelled examples
    calibrate   True: measure first; None: measure where no record fits and no file is named; False: never
    device, dtype, backend, threads
                of which records are wanted; None: those of this machine, the newest
    shape       model, preset, batch, n_mc, and the settings of the networks on which a step's cost depends, such as
                units, layers, d_a and norm; else as most of the records have

    Raises ValueError for what is not allowed, and where no record fits.
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
        used, notices = _read([new], storage, wanted)  # of today's machine alone: older records may be of a busy one
    if used is None:
        raise ValueError(_nothing(paths, storage, wanted, notices))
    return _answer(used, notices, names, classes, ratio, memory, (steps, epochs, examples), shape)


def _read(
    paths: Sequence[str | Path], storage: str | Path, wanted: dict[str, Any]
) -> tuple[Used | None, tuple[str, ...]]:
    """The observations that fit; of the storage those of this machine alone. And the reader's notices."""
    try:
        reading = read_files([Path(path) for path in paths or (storage,)])
    except ReportError as error:
        if paths:
            raise
        return None, (str(error),)
    used = observe(make_frame(reading.records), wanted, only_here=not paths)
    return used, reading.notices


def _nothing(paths: Sequence[Any], storage: Any, wanted: dict[str, Any], notices: Sequence[str]) -> str:
    where = f"in {', '.join(map(str, paths))}" if paths else f"of this machine under {str(storage)!r}"
    asked = "".join(f", {name} {value}" for name, value in wanted.items())
    return "\n  ".join([f"no record of time or memory {where}{asked}; measure some with --calibrate", *notices])


def _shape(used: Used | None, given: dict[str, Any]) -> Shape:
    """What was asked for; what was not is as in most observations (of the model and preset that were asked for)."""
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
    if put_together := [name for name in asked if name in derived and ("step", name) in curves]:
        names_told = ", ".join(put_together)
        remarks.append(f"Not timed but put together, its bound and what a step has besides: the step of {names_told}.")
    remarks += [
        f"The cost of {name} follows the logits: predicted is that at the first steps."
        for name in asked
        if parse_estimator(name).calls_follow_logits
    ]
    if not curves:
        raise ValueError(
            f"nothing of {', '.join(asked) or shape.model} was measured at two class counts; measure with --calibrate"
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
    """The estimators that the plan is about; those that were asked for must be defined for the shape."""
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
    """Why the estimator is not defined for the shape; empty where it is."""
    try:
        shape.settings(name, 2)
    except ValueError as error:
        return str(error)
    return ""


def _curves(rows: pd.DataFrame, asked: Sequence[str], shape: Shape) -> dict[tuple[str, str], Curve]:
    """By metric and estimator. Those of the samplers' times lean on an exact sum's, asked for or not, and those of
    steps on their own bounds.
    """
    sums = [n for n in by_estimator(rows["estimator"]) if parse_estimator(n).exact and not _why_not(n, shape)]
    exact: dict[tuple[str, str], Curve] = {}
    for name in sums:
        exact |= _of_estimator(rows, name, shape, {})
    leant_on = {metric: _baseline(exact, metric, sums) for metric in TIMED}
    made: dict[tuple[str, str], Curve] = {}
    for name in asked:
        made |= _of_estimator(rows, name, shape, {} if name in sums else leant_on)
    return made


def _of_estimator(
    rows: pd.DataFrame, name: str, shape: Shape, leant_on: Mapping[str, Curve | None]
) -> dict[tuple[str, str], Curve]:
    """The curves of one estimator, in the order of METRICS."""
    bound = make_curve(rows, "bound", name, shape, leant_on.get("bound"))
    others = {
        metric: make_curve(rows, metric, name, shape, leant_on.get(metric), bound if metric == "step" else None)
        for metric in METRICS
        if metric != "bound"
    }
    made = {**others, "bound": bound}
    return {(metric, name): curve for metric in METRICS if (curve := made[metric])}


def _baseline(curves: dict[tuple[str, str], Curve], metric: str, asked: Sequence[str]) -> Curve | None:
    """The exact sum at its best: one that frees the rows of f as it goes before one that holds all."""
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
    """The limit of a host bounds a whole process, that of a device what is allocated there."""
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
