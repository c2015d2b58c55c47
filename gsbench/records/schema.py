"""The fields of a record with their allowed values: one table, which checks records when they are read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

from gsbench.estimators import ESTIMATORS, FLAGS
from gsbench.fields import Setting, kind_of, settings_of
from gsbench.meters.gradient_quality import PARTS
from gsbench.models import ModelConfig
from gsbench.records.record import SCHEMA_VERSION, STATUSES
from gsbench.settings.case import Settings
from gsbench.settings.recipe import Recipe
from gsbench.settings.run import RunSettings
from gsbench.values import Range, shown

LONGEST = 200  # characters of a name
LONGEST_REASON = 100_000
DEEPEST = 20  # lists in lists, in a field that is not in the table


@dataclass(frozen=True)
class Kind:
    """The values that a field may hold: `allowed` in words, `holds` as a test of a value that is not null."""

    allowed: str
    holds: Callable[[Any], bool]
    is_text: bool = False


def text(least: int = 0, most: int = LONGEST) -> Kind:
    """Text of so many characters."""
    allowed = f"text of {least} to {most:,} characters"
    return Kind(allowed, lambda v: isinstance(v, str) and least <= len(v) <= most, is_text=True)


def number(least: float, most: float) -> Kind:
    """A finite number. true and false are not numbers."""
    return Kind(f"a number from {least:g} to {most:g}", lambda v: _is_number(v) and least <= v <= most)


def whole(least: float, most: float = 1e15) -> Kind:
    """A whole number. 10.0 counts as whole, because some programs that write JSON do not distinguish it from 10."""
    return Kind(
        f"a whole number from {least:g} to {most:g}", lambda v: _is_number(v) and least <= v <= most and v == int(v)
    )


def listed(kind: Kind, nulls: bool = False) -> Kind:
    """A list of values that `kind` allows, or also of nulls."""

    def holds(value: Any) -> bool:
        return isinstance(value, list) and all(kind.holds(v) if v is not None else nulls for v in value)

    return Kind(f"a list, each entry {kind.allowed}{' or null' if nulls else ''}", holds)


def ascending(kind: Kind) -> Kind:
    """A list of numbers none of which is smaller than the one before it."""
    own = listed(kind)
    return Kind(
        f"{own.allowed}, none smaller than the one before it",
        lambda v: own.holds(v) and all(a <= b for a, b in itertools.pairwise(v)),
    )


def one_of(*allowed: str) -> Kind:
    return Kind(f"one of {', '.join(allowed)}", lambda v: isinstance(v, str) and v in allowed, is_text=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # not nan


NAME, TEXT = text(1), text()
FLAG = Kind("true or false", lambda v: isinstance(v, bool))
FINITE = number(0, 1.7e308)
COUNT, FROM_ZERO, BYTES = whole(1), whole(0), whole(0, 1e30)
MEASURED = number(1e-12, 1e12)  # cannot be 0, such as the time of a step
AMOUNT = number(0, 1e12)
SHARE = number(0, 1)
SQUARED = number(-1e30, 1e30)  # an unbiased estimate of a square may be negative

# The parts of a gradient, and the figures of each of them.
OF_A_PART = {
    **dict.fromkeys(("squared_bias", "squared_bias_low", "squared_bias_high"), SQUARED),
    **dict.fromkeys(("variance", "variance_low", "variance_high", "total_variance"), SQUARED),
    "cosine": number(-1.001, 1.001),
    "exact_norm": number(0, 1e30),
}

# The lists of a training run's evaluations. All lists of a record have the same length.
CURVES: dict[str, Kind] = {
    "curve_step": ascending(FROM_ZERO),
    "curve_epoch": ascending(AMOUNT),
    "curve_seconds": ascending(AMOUNT),
    "curve_wall_seconds": ascending(AMOUNT),
    "curve_accuracy": listed(SHARE, nulls=True),
    "curve_loss": listed(number(-1e300, 1e300), nulls=True),
    "curve_calls_of_f": listed(AMOUNT, nulls=True),
}


def _of_setting(s: Setting) -> Kind:
    """The values of a setting in a record. Older versions may have allowed a wider range, so that only two things are
    checked: its sign, and whether it is a share.
    """
    if s.kind is float or s.filled:
        is_share = isinstance(s.check, Range) and 1 in (s.check.most, s.check.below)
        return SHARE if is_share else FINITE
    if s.kind is int:
        return whole(s.check.least or 0) if isinstance(s.check, Range) else FROM_ZERO
    return {str: NAME, bool: FLAG, tuple: listed(number(-1.7e308, 1.7e308))}[s.kind]


# A setting of a plug-in's estimator. It may have the name of another estimator's setting and be of another type.
OF_PLUGIN = Kind(
    f"a finite number, text of at most {LONGEST} characters, true or false",
    lambda v: TEXT.holds(v) or FLAG.holds(v) or (_is_number(v) and abs(v) <= 1.7e308),
)


def _of_estimators() -> dict[str, Kind]:
    """The values of the settings of the package's own estimators in a record."""
    kinds = {int: COUNT, float: FINITE, str: TEXT, bool: FLAG}
    return {
        f"estimator_{field.name}": kinds[kind_of(get_type_hints(made)[field.name])[0]]
        for made in (ESTIMATORS[name] for name in ESTIMATORS.own)
        for field in dataclasses.fields(made)
    }


OF_ESTIMATORS = _of_estimators()
REQUIRED = ("run_id", "group", "case", "status")  # every other field may be null

# Every field that gsbench writes. A field that is not here may hold anything.
FIELDS: dict[str, Kind] = {
    "schema_version": whole(SCHEMA_VERSION, SCHEMA_VERSION),
    **dict.fromkeys(("run_id", "group", "case"), NAME),
    "recorded_at": TEXT,
    "status": one_of(*STATUSES),
    "reason": text(0, LONGEST_REASON),
    # the case
    **dict.fromkeys(("dataset_version", "dataset_checksum"), TEXT),
    **{
        s.record: _of_setting(s)
        for declared in (Settings, ModelConfig, Recipe, RunSettings)
        for s in settings_of(declared).values()
    },
    "seed": whole(0, 1e38),  # older records have seeds too large for NumPy
    **OF_ESTIMATORS,
    **dict.fromkeys((*FLAGS, "baseline_exact_sum"), FLAG),
    "work": TEXT,
    "plugins": listed(NAME),
    "chunk": COUNT,
    "state": NAME,
    "training_steps": FROM_ZERO,
    "training_estimator": TEXT,
    # a training run's optimiser
    **dict.fromkeys(("adam_beta2", "adam_epsilon"), SHARE),
    "adam_epsilon_form": TEXT,
    "torch_matmul_precision": TEXT,
    # times
    **{
        f"{timed}_seconds{of}": MEASURED
        for timed in ("bound", "step")
        for of in ("", "_q1", "_q3", "_min", "_as_timed")
    },
    "minibatch_seconds": MEASURED,
    **dict.fromkeys(("baseline_seconds", "candidate_seconds", "seconds_per_class"), MEASURED),
    **dict.fromkeys(("steps_per_second", "examples_per_second"), AMOUNT),
    **dict.fromkeys(("rounds", "pairs", "product_runs"), COUNT),
    **dict.fromkeys(("timed", "baseline"), NAME),
    "speedup": MEASURED,
    **dict.fromkeys(("speedup_low", "speedup_high"), AMOUNT),
    "confidence": number(0.001, 0.999999),
    "other_cores": number(0, 1e6),
    # memory
    **dict.fromkeys(("live_peak_bytes", "process_peak_bytes", "device_peak_bytes", "state_bytes"), BYTES),
    "device_reserved_bytes": BYTES,
    **dict.fromkeys(("baseline_process_peak_bytes", "baseline_process_start_bytes", "process_start_bytes"), BYTES),
    **dict.fromkeys(("estimate_bytes", "memory_limit_bytes", "class_rows_bytes"), BYTES),
    **dict.fromkeys(("live_meter", "process_meter", "device_meter"), TEXT),
    # the share of the machine's peak
    "operations": number(0, 1e30),
    **dict.fromkeys(("peak_operations_per_second", "peak_operations_per_second_median"), number(1e-12, 1e30)),
    **dict.fromkeys(("peak_product", "largest_product"), TEXT),
    **dict.fromkeys(("fraction_of_peak", "fraction_of_peak_low", "fraction_of_peak_high"), AMOUNT),
    # gradients
    **{f"{part}_{figure}": kind for part in PARTS for figure, kind in OF_A_PART.items()},
    **dict.fromkeys(("gradient_draws", "gradient_blocks", "total_draws"), FROM_ZERO),
    **dict.fromkeys(("q_perplexity", "calls_of_f"), number(0, 1e15)),
    # training runs and accuracies
    "step": FROM_ZERO,
    **dict.fromkeys(("epoch", "train_seconds", "wall_seconds"), AMOUNT),
    **dict.fromkeys(("validation_accuracy", "test_accuracy"), SHARE),
    **dict.fromkeys(("validation_examples", "test_examples"), COUNT),
    "resumed": FROM_ZERO,
    "parameters_checksum": TEXT,
    "curve_draws_of_a": COUNT,
    **CURVES,
    # the machine
    **dict.fromkeys(("machine_cpu", "machine_os", "machine_gpu", "machine_blas", "baseline_blas"), TEXT),
    **dict.fromkeys(("freed_memory", "clock"), TEXT),
    **dict.fromkeys(("machine_cores", "machine_blas_threads", "torch_threads"), COUNT),
    "machine_memory_bytes": BYTES,
    "gsbench_commit": TEXT,
    **{
        f"{package}_version": TEXT
        for package in (
            *("python", "numpy", "scipy", "matplotlib", "pytest_benchmark", "chainer", "cupy", "cuda", "torch"),
            *("pyro", "jax", "gsbench"),
        )
    },
}


def fault(record: Any) -> str:
    """What is wrong with a record, in words: the field, what is allowed there, and what it holds; "" if nothing is.

    `record` is what JSON gives.
    """
    if not isinstance(record, dict):
        return f"it is a JSON {type(record).__name__}, not an object"
    version = record.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        return f"it has schema_version {shown(version)}, this gsbench reads {SCHEMA_VERSION}"
    is_own = str(record.get("estimator")).partition("(")[0] in ESTIMATORS.own
    for field, kind in FIELDS.items():
        value = record.get(field)
        if field in OF_ESTIMATORS and not is_own:
            kind = OF_PLUGIN
        if not (kind.holds(value) if value is not None else field not in REQUIRED):
            return f"{field} must be {kind.allowed}, got {shown(value)}"
    if deep := next((field for field, value in record.items() if not _is_flat(value, DEEPEST)), None):
        return f"{shown(deep)} must hold lists at most {DEEPEST} deep"
    return _uneven(record)


def _uneven(record: Mapping[str, Any]) -> str:
    lengths = {name: len(record[name]) for name in CURVES if record.get(name)}
    told = ", ".join(f"{name} {length}" for name, length in lengths.items())
    return f"its curves must be of one length, got {told}" if len(set(lengths.values())) > 1 else ""


def _is_flat(value: Any, levels: int) -> bool:
    if not isinstance(value, (list, dict)):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_flat(one, levels - 1) for one in inner)
