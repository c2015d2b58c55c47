"""Records → a tidy pandas frame with a row for each record; and accuracy curves with a row for each evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pandas as pd

from gsbench.estimators import FLAGS
from gsbench.fields import about, settings_of
from gsbench.meters.gradient_quality import PARTS
from gsbench.records.facts import with_facts
from gsbench.records.order import by_estimator
from gsbench.records.reading import IMAGES, TRAINING, Record, ReportError, in_one_group
from gsbench.records.schema import CURVES, OF_A_PART
from gsbench.records.schema import FIELDS as KINDS
from gsbench.records.sessions import label_sessions
from gsbench.records.telling_apart import distinguishing, settings_labels
from gsbench.records.training_tasks import known_values, training_tasks
from gsbench.settings.case import NETWORKS, Settings

COMMON = ("schema_version", "run_id", "recorded_at", "group", "case", "status", "reason")
# Settings with a column in every frame. Other settings follow by name, if a record has them.
SETTINGS = (
    "estimator", "model", "preset", "dataset", "dataset_version", "dataset_checksum", "n_classes", "batch",
    "n_mc", "dtype", "device", "backend", "threads", "seed", "binarize", "estimator_tau", "estimator_draws",
    "units", "layers", "d_a", "d_z", "nonlinearity", "norm", "estimator_chunk", "chunk", "estimator_m",
    "estimator_conditional_draws", "state", "training_steps", "training_estimator",
)  # fmt: skip
# Facts of the estimator and of the baseline: see `Estimator.facts`.
FACTS = (*FLAGS, "baseline_exact_sum", "work")
FIGURES = (
    "bound_seconds", "bound_seconds_q1", "bound_seconds_q3", "bound_seconds_min", "step_seconds",
    "step_seconds_q1", "step_seconds_q3", "step_seconds_min", "bound_seconds_as_timed", "step_seconds_as_timed",
    "minibatch_seconds", "rounds", "steps_per_second",
    "examples_per_second", "timed", "baseline", "speedup", "speedup_low", "speedup_high", "confidence",
    "pairs", "live_peak_bytes", "live_meter", "process_peak_bytes", "process_meter", "device_peak_bytes",
    "device_meter", "estimate_bytes", "memory_limit_bytes", "step", "train_seconds", "validation_accuracy",
    "labelled_per_class", "draws_of_a", "baseline_seconds", "candidate_seconds", "baseline_process_peak_bytes",
    "baseline_process_start_bytes", "process_start_bytes", "torch_threads", "baseline_blas", "operations",
    "seconds_per_class", "peak_operations_per_second", "peak_operations_per_second_median", "peak_product",
    "fraction_of_peak", "fraction_of_peak_low", "fraction_of_peak_high", "state_bytes", "gradient_draws",
    "gradient_blocks", "total_draws", "q_perplexity", "calls_of_f", "class_rows_bytes",
    "budget_epochs", "budget_steps", "budget_seconds", "budget_patience", "epoch", "wall_seconds",
    "validation_examples",
    "test_accuracy", "test_examples", "test_draws_of_a", "resumed",
)  # fmt: skip
GRADIENT = tuple(f"{part}_{figure}" for part in PARTS for figure in OF_A_PART)
MACHINE = (
    "clock", "machine_cpu", "machine_cores", "machine_memory_bytes", "machine_os", "machine_gpu", "machine_blas",
    "freed_memory", "python_version", "numpy_version", "scipy_version", "chainer_version", "cupy_version",
    "cuda_version", "torch_version", "pyro_version", "jax_version", "gsbench_version", "gsbench_commit",
)  # fmt: skip
FIELDS = COMMON + SETTINGS + FACTS + FIGURES + GRADIENT + MACHINE  # columns of every frame, in this order
# An estimator's settings stay as recorded, because an estimator may lack them.
NUMBERS = tuple(field for field in FIELDS if not KINDS[field].is_text and not field.startswith("estimator_"))
# Columns that are not fields of a record.
OWN = ("run", "joint_run", "series", "task", "peak_bytes")

_CASE = settings_of(Settings)
# Two measurements of one model in one run that differ in these fields are not comparable: they are two series.
SERIES_FIELDS = [f for f in (*about(_CASE, "session", "work"), *NETWORKS) if f != "model"]



def make_frame(records: Sequence[Record]) -> pd.DataFrame:
    """A frame with a row for each record, ordered by the start of its run, and a column for each field.

    Five columns are added in front:

    - `run`: a short label of the machine and the time;
    - `joint_run`: sessions that complete one another are read as one, under the label of the first: see
      `sessions.label_sessions`;
    - `series`: rows of different series must not share a table or a line. It names the joint run, if there are several,
      and the settings in which measurements of one model differ. It is "" if nothing differs, and for training runs;
    - `task`: see `training_tasks`; "" for other groups than training runs;
    - `peak_bytes`: `device_peak_bytes` if there, else `live_peak_bytes`, else `process_peak_bytes`.

    Every field of the schema has a column: numbers as float64 (null is nan), facts of estimators as 1 and 0 (see
    `with_facts`), text as objects (null is None). Fields outside the schema follow by name, with lists as JSON. A field
    with the name of an added column gets the prefix `recorded_`. The curves are in `make_curves`.
    """
    records = [with_facts(in_one_group(record)) for record in records]
    runs = label_sessions(records)
    records = [record for run_id in runs for record in records if record["run_id"] == run_id]
    others = sorted({key for record in records for key in record} - set(FIELDS) - set(CURVES))
    names = {field: _free_name(field, others) for field in others}
    frame = pd.DataFrame({names.get(field, field): _column(field, records) for field in (*FIELDS, *others)})
    own = [runs[record["run_id"]] for record in records]
    frame.insert(0, "run", pd.Series([run.label for run in own], dtype=object))
    frame.insert(1, "joint_run", pd.Series([run.joint for run in own], dtype=object))
    frame.insert(2, "series", _series(frame))
    frame.insert(3, "task", training_tasks(frame))
    peaks = frame["device_peak_bytes"].fillna(frame["live_peak_bytes"]).fillna(frame["process_peak_bytes"])
    frame.insert(4, "peak_bytes", peaks)
    return frame


def _free_name(field: str, others: Sequence[str]) -> str:
    name = f"recorded_{field}" if field in OWN else field
    while name != field and name in others:
        name = f"recorded_{name}"
    return name


def without_unknown(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame without fields that gsbench does not write, because figures and tables must not use them. Fields about
    the machine and about versions are kept.
    """
    of_machine = [name for name in frame if name.startswith("machine_") or name.endswith("_version")]
    return frame[[name for name in frame if name in (*OWN, *KINDS, IMAGES, *of_machine)]]


def _column(field: str, records: Sequence[Record]) -> pd.Series:
    cells = [record.get(field) for record in records]
    if field not in NUMBERS:
        return pd.Series([json.dumps(c) if isinstance(c, (list, dict)) else c for c in cells], dtype=object)
    try:
        return pd.Series([float("nan") if cell is None else float(cell) for cell in cells], dtype="float64")
    except (TypeError, ValueError, OverflowError):
        bad = next(record for record in records if not isinstance(record.get(field), (int, float, type(None))))
        raise ReportError(f"{field} of case {bad['case']!r} must be a number, got {bad[field]!r}") from None


def _series(frame: pd.DataFrame) -> pd.Series:
    labels = pd.Series([""] * len(frame), dtype=object)
    bench, there = frame[frame["group"] != TRAINING], [field for field in SERIES_FIELDS if field in frame]
    for _, rows in bench.groupby(["joint_run", bench["model"].fillna("")], sort=False):
        known = pd.DataFrame({field: known_values(rows, field) for field in there}, index=rows.index)
        labels[rows.index] = settings_labels(known, distinguishing(known, there), [""] * len(rows))
    if bench["joint_run"].nunique() < 2:
        return labels
    joint = [" · ".join(filter(None, pair)) for pair in zip(bench["joint_run"], labels[bench.index], strict=True)]
    labels[bench.index] = joint
    return labels


def make_curves(records: Sequence[Record], frame: pd.DataFrame) -> pd.DataFrame:
    """The accuracy curves, a row for each evaluation: the group, the case's settings, and `step`, `epoch`, `seconds`,
    `wall_seconds`, `accuracy`, `loss`, `calls_of_f`.
    """
    named = ["group", "run", "series", "task", "run_id", "case", "model", "dataset", "n_classes", "estimator", "seed"]
    cases = {(row["run_id"], row["case"]): row for row in frame[named].to_dict("records")}
    points = [{**cases[record["run_id"], record["case"]], **point} for record in records for point in _points(record)]
    figures = [name.removeprefix("curve_") for name in CURVES]
    curves = pd.DataFrame(points, columns=[*named, *figures])
    return curves.astype(dict.fromkeys([*figures, "n_classes", "seed"], "float64"))


def _points(record: Record) -> list[dict[str, float]]:
    """The evaluations of one record. A null list gives nan. Raises ReportError if lengths differ."""
    lists = {name.removeprefix("curve_"): record[name] for name in CURVES if record.get(name)}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise ReportError(f"the curves of case {record['case']!r} must be of one length, got {lengths}")
    return [dict(zip(lists, point, strict=True)) for point in zip(*lists.values(), strict=True)]


LOST = ("too-large", "out-of-memory")  # statuses of cases that did not fit in memory


def measured(frame: pd.DataFrame, group: str, *needed: str) -> pd.DataFrame:
    """The rows of a group with status "ok" that have an estimator, a model, a class count and all `needed` fields."""
    rows = frame[(frame["group"] == group) & (frame["status"] == "ok")]
    return rows.dropna(subset=["estimator", "model", "n_classes", *needed])


def works(rows: pd.DataFrame) -> dict[str, str]:
    """Estimator → its `work`; estimators without one, such as labels-only, do a work of their own."""
    return dict(zip(rows["estimator"], rows["work"].fillna(rows["estimator"]), strict=True))


def names_with(frame: pd.DataFrame, fact: str) -> list[str]:
    """The estimators with a fact, such as `exact_sum`, in the order of figures and tables."""
    return by_estimator(frame.loc[frame[fact] == 1, "estimator"])
