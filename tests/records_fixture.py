"""Records and benchmark files for the tests of the report. A formula gives every figure here; none was
measured.

The step time in all of them is STEP_SECONDS[model] times COST plus K times a share A_CLASS of it. The speed-up of a
sampling estimator of cost 1 at K is therefore 1 + K / 10 over `marginalize` and 1 + K / 20 over
`marginalize-streamed`: a test can say what a table must show.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ESTIMATORS = ("marginalize", "marginalize-streamed", "gumbel-softmax", "straight-through")
COST = {"straight-through": 1.25}
# The estimators of group "gradient": relative bias, and variance at K = 10, of the logits' gradient.
GRADED = {
    "marginalize": (0.0, 0.0),
    "marginalize-streamed": (0.0, 0.0),
    "gumbel-softmax": (0.3, 0.2),
    "gumbel-softmax(draws=6)": (0.3, 0.035),
    "gumbel-softmax(tau=0.1)": (0.05, 2.0),
    "straight-through": (0.4, 0.4),
    "gumbel-rao": (0.4, 0.15),
    "gumbel-rao(tau=0.1)": (0.15, 0.8),
    "reinmax": (0.1, 0.3),
    "score-function": (0.0, 4.0),
    "score-function(draws=6)": (0.0, 0.8),
    "sum-and-sample": (0.0, 1.0),
    "sum-and-sample(m=5)": (0.0, 0.1),
    "sparsemax": (0.0, 0.0),
}
SOME_GRADED = ("marginalize", "marginalize-streamed", "gumbel-softmax", "gumbel-softmax(tau=0.1)", "sum-and-sample")
# The figure of the temperature needs three temperatures. No default run has the middle one.
TAUS = {"gumbel-softmax": 1.0, "gumbel-softmax(tau=0.5)": 0.5, "gumbel-softmax(tau=0.1)": 0.1}
QUALITY = {**GRADED, "gumbel-softmax(tau=0.5)": (0.15, 0.6)}
NO_DRAWS = ("marginalize", "marginalize-streamed", "sparsemax")
STATES = ("initial", "trained")
PART_SHARE = {"logits": 1.0, "phi": 0.1, "theta": 0.3}  # of the logits' bias and variance
A_CLASS = {"marginalize": 0.1, "marginalize-streamed": 0.05}
PEERS = ("plain-chainer", "plain-torch", "pyro-parallel", "pyro-sequential")
STEP_SECONDS = {"adgm": 0.020, "m2": 0.008}
MEBIBYTE = 2**20
MACHINE = {
    "machine_cpu": "Example(R) Xample(TM) CPU @ 2.00GHz",
    "machine_cores": 2,
    "machine_memory_bytes": 16 * 2**30,
    "machine_os": "Linux 6.1",
    "machine_gpu": None,
    "machine_blas": "openblas 0.3.21",
    "python_version": "3.11.4",
    "numpy_version": "1.23.5",
    "scipy_version": "1.9.3",
    "chainer_version": "7.8.1",
    "cupy_version": None,
    "cuda_version": None,
    "gsbench_version": "0.1.0",
    "gsbench_commit": "0123456789ab",
}


def make_record(group: str, number: int = 0, **fields: Any) -> dict[str, Any]:
    """A flat record with all the common fields; `fields` replace them or join them. The case is made from
    them.
    """
    record = {
        "schema_version": 1,
        "run_id": "20260102T030405-abcdef",
        "recorded_at": f"2026-01-02T03:{4 + number // 60:02d}:{number % 60:02d}.500+00:00",
        "group": group,
        "status": "ok",
        "reason": "",
        "estimator": "marginalize",
        "model": "adgm",
        "preset": "default",
        "dataset": "glyphs",
        "dataset_version": "1",
        "dataset_checksum": "00ff00ff",
        "n_classes": 10,
        "batch": 100,
        "n_mc": 1,
        "dtype": "float32",
        "device": "cpu",
        "backend": "chainer",
        "threads": 2,
        "seed": 0,
        "binarize": "dynamic",
        **MACHINE,
        **fields,
    }
    name = "-".join(str(record[key]) for key in ("model", "dataset", "n_classes", "estimator"))
    more = "".join(f"-{record[key]}" for key in ("timed", "baseline", "state") if key in record)
    return {"case": f"test_{group}[{name}{more}]", **record}


def step_seconds(model: str, estimator: str, k: int) -> float:
    return STEP_SECONDS[model] * (COST.get(estimator, 1.0) + k * A_CLASS.get(estimator, 0.0))


def true_speedup(estimator: str, k: int, baseline: str = "marginalize-streamed") -> float:
    return step_seconds("adgm", baseline, k) / step_seconds("adgm", estimator, k)


def timing_figures(prefix: str, seconds: float) -> dict[str, Any]:
    figures = {
        f"{prefix}_seconds": seconds,
        f"{prefix}_seconds_q1": seconds * 0.97,
        f"{prefix}_seconds_q3": seconds * 1.05,
        f"{prefix}_seconds_min": seconds * 0.95,
        "rounds": 20,
        "examples_per_second": 100 / seconds,
    }
    return figures | ({"steps_per_second": 1 / seconds} if prefix == "step" else {})


def speedup_figures(timed: str, times: float, baseline: str = "marginalize-streamed") -> dict[str, Any]:
    return {
        "timed": timed,
        "baseline": baseline,
        "speedup": times,
        "speedup_low": times * 0.93,
        "speedup_high": times * 1.08,
        "confidence": 0.95,
        "pairs": 15,
    }


def memory_figures(model: str, estimator: str, k: int) -> dict[str, Any]:
    more = {"marginalize": 2.0 * k, "marginalize-streamed": 40 + 0.05 * k}.get(estimator, 0.05 * k)
    live = MEBIBYTE * (30 + more) * STEP_SECONDS[model] / 0.02
    return {
        "live_peak_bytes": int(live),
        "live_meter": "tracemalloc",
        "process_peak_bytes": int(live + 180 * MEBIBYTE),
        "process_meter": "VmHWM",
        "estimate_bytes": int(live * 1.1),
        "memory_limit_bytes": 12 * 2**30,
    }


def accuracy_figures(estimator: str, k: int, seconds_a_step: float, n: int = 20) -> dict[str, Any]:
    """`n` evaluations, one every 500 steps, an epoch each; the accuracy rises to a limit that depends on the
    name.
    """
    limit = {"gumbel-softmax": 0.94, "straight-through": 0.93, "labels-only": 0.81}.get(estimator, 0.95)
    limit -= 0.03 * math.log10(k)
    steps = [500 * (i + 1) for i in range(n)]
    accuracy = [round(limit - (limit - 1 / k) * math.exp(-(i + 1) / 3), 4) for i in range(n)]
    return {
        "budget_seconds": 8.0,
        "step": steps[-1],
        "train_seconds": steps[-1] * seconds_a_step,
        "steps_per_second": 1 / seconds_a_step,
        "validation_accuracy": accuracy[-1],
        "labelled_per_class": 10,
        "draws_of_a": 1,
        "curve_step": steps,
        "curve_epoch": [float(i + 1) for i in range(n)],
        "curve_seconds": [step * seconds_a_step for step in steps],
        "curve_accuracy": accuracy,
    }


def operations(model: str, estimator: str, k: int) -> float:
    """With them `marginalize-streamed` reaches half of a peak of 160 GFLOP/s in a step, a sampling one a quarter."""
    if estimator in A_CLASS:
        return 80e9 * step_seconds(model, "marginalize-streamed", k)
    return 40e9 * step_seconds(model, estimator, k)


def roofline_figures(timed: str, seconds: float, k: int, operations: float) -> dict[str, Any]:
    share = operations / (seconds * 160e9)
    return {
        "timed": timed,
        "operations": int(operations),
        f"{timed}_seconds": seconds,
        "seconds_per_class": seconds / k,
        "peak_operations_per_second": 160e9,
        "peak_operations_per_second_median": 150e9,
        "peak_product": "2048x2048x2048",
        "fraction_of_peak": share,
        "fraction_of_peak_low": 0.9 * share,
        "fraction_of_peak_high": 1.05 * share,
        "confidence": 0.99,
        "rounds": 20,
    }


def peer_figures(times: float, seconds: float, start: int = 100 * MEBIBYTE) -> dict[str, Any]:
    """Our step takes `seconds` and 50 MiB above its start; the peer takes `times` as long and 20 times the memory."""
    return {
        "speedup": times,
        "speedup_low": times * 0.9,
        "speedup_high": times * 1.2,
        "confidence": 0.99,
        "pairs": 9,
        "baseline_seconds": times * seconds,
        "candidate_seconds": seconds,
        "baseline_process_peak_bytes": 3 * start + 1000 * MEBIBYTE,
        "baseline_process_start_bytes": 3 * start,
        "process_peak_bytes": start + 50 * MEBIBYTE,
        "process_start_bytes": start,
        "process_meter": "VmHWM",
        "torch_version": "2.13.0+cpu",
        "torch_threads": 1,
        "baseline_blas": "mkl 2024.2",
        "pyro_version": "1.9.1",
    }


def peer_records(ks: Iterable[int], **common: Any) -> list[dict[str, Any]]:
    """Every peer beside both exact sums, the plain ones beside `gumbel-softmax`, once in the full step as well."""
    records = []
    for k in ks:
        for i, peer in enumerate(PEERS):
            plain = peer.startswith("plain")
            for estimator in ESTIMATORS[: 3 if plain else 2]:
                for timed in ("unlabelled-step", "step")[: 2 if estimator == "gumbel-softmax" else 1]:
                    times = (1.1 + i + k / 100) / (1 if estimator == "marginalize-streamed" else 1.4)
                    figures = peer_figures(times, step_seconds("adgm", estimator, k))
                    case = {"n_classes": k, "estimator": estimator, "baseline": peer, "timed": timed}
                    records.append(make_record("peer", **{**common, **case, **figures}))
    return records


def chunk_records(ks: Iterable[int], chunks: Iterable[int], **common: Any) -> list[dict[str, Any]]:
    """The default chunk has 10 classes: smaller chunks cost time, larger ones memory."""
    records = []
    for k in ks:
        for chunk in (chunk for chunk in chunks if chunk <= k):
            times = 1 / (0.7 + 3 / chunk if chunk < 10 else 0.9 + chunk / 100)
            case = {"n_classes": k, "estimator": f"marginalize-streamed(chunk={chunk})", "chunk": chunk}
            state = MEBIBYTE * (25 + k // 32)
            figures = {
                **{"estimator_chunk": chunk, "bound_seconds": 0.01 * k / times, "state_bytes": state},
                **{key: v for key, v in speedup_figures("bound", times).items() if key != "timed"},
                "live_peak_bytes": state + MEBIBYTE * (5 + 2 * chunk),
            }
            records.append(make_record("chunk", **{**common, **case, **figures}))
    return records


def perplexity(k: int, state: str) -> float:
    return 0.98 * k if state == "initial" else k**0.3


def gradient_bias(estimator: str, k: int, state: str, part: str = "logits") -> float:
    """The bias at K = 10, twice as much at K = 200, and half as much once q is peaked."""
    growth = 1 + math.log10(k / 10) / math.log10(20)
    return QUALITY[estimator][0] * PART_SHARE[part] * growth * (1 if state == "initial" else 0.5)


def gradient_variance(estimator: str, k: int, state: str, part: str = "logits") -> float:
    """The variance grows as √K. It is a fifth of that once q is peaked."""
    return QUALITY[estimator][1] * PART_SHARE[part] * math.sqrt(k / 10) * (1 if state == "initial" else 0.2)


def gradient_figures(estimator: str, k: int, state: str) -> dict[str, Any]:
    """The squared bias is just below 0 for unbiased estimators, and at rounding for estimators without draws."""
    draws, blocks = (1, 1) if estimator in NO_DRAWS else (100, 20)
    figures: dict[str, Any] = {"gradient_draws": draws, "gradient_blocks": blocks, "confidence": 0.99}
    for part, share in PART_SHARE.items():
        squared, variance = (f(estimator, k, state, part) for f in (gradient_bias, gradient_variance))
        squared, noise = squared**2, 0.003 * variance
        squared = 1e-12 if draws == 1 else squared or -0.2 * noise
        figures |= {
            f"{part}_squared_bias": squared,
            f"{part}_squared_bias_low": squared - noise * (0.3 if squared > 0 else 1),
            f"{part}_squared_bias_high": squared + noise,
            f"{part}_variance": variance,
            f"{part}_variance_low": 0.8 * variance,
            f"{part}_variance_high": 1.3 * variance,
            f"{part}_total_variance": 0.25 * share + variance,
            f"{part}_cosine": 1 / math.sqrt(1 + variance),
            f"{part}_exact_norm": 0.01,
        }
    return figures


def gradient_records(
    ks: Iterable[int], models: Iterable[str] = ("adgm",), estimators: Iterable[str] = tuple(GRADED), **common: Any
) -> list[dict[str, Any]]:
    """Each estimator in both states; `sparsemax` calls f for a fifth of the classes, and has another bound."""
    records = []
    for model, k, state, name in itertools.product(models, ks, STATES, estimators):
        calls = {"sum-and-sample(m=5)": 6, "sparsemax": 1 + k / 5}.get(name, 6 if "draws=6" in name else 2)
        calls = float(k) if name.startswith("marginalize") else calls
        figures = {
            "baseline": "sparsemax over all classes" if name == "sparsemax" else "marginalize-streamed",
            "training_steps": 200 if state == "trained" else 0,
            "training_estimator": "sum-and-sample" if state == "trained" else "",
            "q_perplexity": perplexity(k, state),
            "calls_of_f": calls,
            "total_draws": 20,
            **timing_figures("bound", STEP_SECONDS[model] * (0.5 + 0.05 * calls)),
            "live_peak_bytes": int(MEBIBYTE * (30 + calls)),
            "live_meter": "tracemalloc",
            **gradient_figures(name, k, state),
        }
        case = {"model": model, "n_classes": k, "estimator": name, "estimator_tau": TAUS.get(name), "state": state}
        records.append(make_record("gradient", len(records), **{**common, **case, **figures}))
    return records


# The estimators of group "training": the accuracy at the end of a run at K = 10.
TRAINED = {"marginalize": 0.9, "gumbel-softmax": 0.8, "labels-only": 0.3}
SEEDS = (-0.01, 0.0, 0.02)  # the part that each seed adds to the accuracy


def final_accuracy(estimator: str, k: int, seed: int = 1) -> float:
    return TRAINED.get(estimator, 0.7) - 0.1 * math.log10(k / 10) + SEEDS[seed]


def training_record(
    estimator: str = "marginalize", k: int = 10, seed: int = 1, seconds: float = 100.0, **fields: Any
) -> dict[str, Any]:
    """A run whose accuracy rises on a straight line from 0 to its last one, evaluated five times on the way; its
    accuracy on the test part is 0.05 lower.
    """
    shares = [i / 4 for i in range(5)]
    last = final_accuracy(estimator, k, seed)
    name = f"{fields.get('dataset', 'glyphs')}-k{k}-{fields.get('preset', 'small')}-{estimator}-s{seed}"
    own = {
        "run_id": name,
        "case": name,
        "estimator": estimator,
        "n_classes": k,
        "seed": seed,
        "preset": "small",
        "labelled_per_class": 10,
        "budget_steps": 400,
        "step": 400,
        "epoch": 4.0,
        "train_seconds": seconds,
        "wall_seconds": seconds + 9,
        "steps_per_second": 400 / seconds,
        "live_peak_bytes": MEBIBYTE * k,
        "live_meter": "tracemalloc",
        "validation_accuracy": last,
        "validation_examples": 1000,
        "draws_of_a": 1,
        "test_accuracy": last - 0.05,
        "test_examples": 5000,
        "test_draws_of_a": 100,
        "curve_step": [400 * share for share in shares],
        "curve_epoch": [4 * share for share in shares],
        "curve_seconds": [seconds * share for share in shares],
        "curve_wall_seconds": [seconds * share + 1 for share in shares],
        "curve_accuracy": [last * share for share in shares],
        "curve_loss": [None, *(100 - share for share in shares[1:])],
    }
    return make_record("training", **{**own, **fields})


def training_records(
    ks: Iterable[int] = (10, 100, 1000),
    estimators: Iterable[str] = tuple(TRAINED),
    seeds: Iterable[int] = (0, 1, 2),
    **fields: Any,
) -> list[dict[str, Any]]:
    return [training_record(name, k, seed, **fields) for k, name, seed in itertools.product(ks, estimators, seeds)]


def cut_short(record: dict[str, Any], status: str, evaluations: int, **fields: Any) -> dict[str, Any]:
    """The training run as it stood after its first evaluations."""
    curves = {name: values[:evaluations] for name, values in record.items() if name.startswith("curve_")}
    figures = {
        "step": curves["curve_step"][-1],
        "epoch": curves["curve_epoch"][-1],
        "train_seconds": curves["curve_seconds"][-1],
        "validation_accuracy": curves["curve_accuracy"][-1],
        "test_accuracy": None,
    }
    return {**record, **curves, **figures, "status": status, "reason": f"{status} early", **fields}


def write_store(folder: Path, records: Iterable[dict[str, Any]]) -> Path:
    """A store of training runs: a folder for each of them, with its record."""
    for record in records:
        write_lines(folder / record["case"] / "record.jsonl", [record])
    return folder


def make_run(
    models: Iterable[str] = ("adgm", "m2"),
    estimators: Iterable[str] = ESTIMATORS,
    ks: Iterable[int] = (10, 20, 50, 100, 200),
    accuracy_ks: Iterable[int] = (10, 100),
    speed: float = 1.0,
    gradients: bool = True,
    **common: Any,
) -> list[dict[str, Any]]:
    """A whole run: every group except those that must be requested, `gradients` of the first model alone,
    `marginalize` at K = 500 too large, one case failed and one skipped.
    """
    records: list[dict[str, Any]] = []

    def add(group: str, **fields: Any) -> None:
        records.append(make_record(group, len(records), **{**common, **fields}))

    models, estimators, ks = list(models), list(estimators), list(ks)
    baseline = "marginalize-streamed" if "marginalize-streamed" in estimators else "marginalize"
    for model in models:
        for k in ks:
            for name in estimators:
                case = {"model": model, "estimator": name, "n_classes": k}
                seconds = step_seconds(model, name, k) / speed
                add("bound", **case, **timing_figures("bound", 0.7 * seconds))
                add("step", **case, **timing_figures("step", seconds))
                add("memory", **case, **memory_figures(model, name, k))
                needed = operations(model, name, k) / speed
                for timed, factor in (("bound", 0.7), ("step", 1.0)):
                    add("roofline", **case, **roofline_figures(timed, factor * seconds, k, factor * needed))
                if name != baseline:
                    dataset = "synthetic" if model == "m2" else "glyphs"
                    for timed, factor in (("step", 1.0), ("bound", 1.2)):
                        add(
                            "speedup",
                            **case,
                            dataset=dataset,
                            **speedup_figures(timed, factor * true_speedup(name, k, baseline), baseline),
                        )
        large = {"model": model, "n_classes": 500, "estimator": "marginalize", "estimate_bytes": 14 * 2**30}
        for group in ("step", "memory"):
            add(
                group,
                **large,
                status="too-large",
                reason="needs 14 GiB of 12 GiB",
                memory_limit_bytes=12 * 2**30,
            )
    for model in models:
        for k in accuracy_ks:
            for name in [*estimators, "labels-only"]:
                seconds = 0.3 * STEP_SECONDS[model] if name == "labels-only" else step_seconds(model, name, k)
                figures = accuracy_figures(name, k, seconds / speed)
                add("training", model=model, n_classes=k, estimator=name, **figures)
    if gradients:
        records += gradient_records(ks, models[:1], dict.fromkeys([*SOME_GRADED, *TAUS]), **common)
    add("step", n_classes=1000, status="failed", reason="ValueError: a | b <c>\nand a second line")
    lost = {"dataset": "omniglot", "n_classes": 242, "labelled_per_class": 10}
    add("training", **lost, status="skipped", reason="no data folder is named")
    return records


def write_lines(path: Path, records: Iterable[dict[str, Any]], rest: str = "") -> Path:
    """A JSON-lines file that ends in `rest`, without an end of line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + rest, encoding="utf-8")
    return path


def write_saved(path: Path, records: Iterable[dict[str, Any]], ours: bool = True) -> Path:
    """A file like pytest-benchmark's. With `ours` False it has the timings alone, in their `extra_info`, as in
    older files.
    """
    records = list(records)
    timings = [r for r in records if r["group"] in ("bound", "step") and r["status"] == "ok"]
    benchmarks = [
        {"group": r["group"], "name": r["case"], "fullname": r["case"], "extra_info": r, "stats": {}} for r in timings
    ]
    saved = {
        "machine_info": {"node": "example"},
        "commit_info": {"id": "0123456789ab"},
        "benchmarks": benchmarks,
        "datetime": "2026-01-02T03:10:00",
        "version": "5.1.0",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(saved | ({"gsbench_records": records} if ours else {})), encoding="utf-8")
    return path
