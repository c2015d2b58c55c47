"""The labels of a report's sessions, and the decision which sessions are read as one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gsbench.fields import about, settings_of
from gsbench.records.reading import Record, ends_at_a_step, recorded_at
from gsbench.settings.case import Settings

# Sessions that are read as one must agree in these fields. The commit may differ: the page names all commits.
SETUP = (
    "machine_cpu", "machine_cores", "machine_memory_bytes", "machine_os", "machine_gpu", "machine_blas",
    "machine_blas_threads", "python_version", "numpy_version", "scipy_version", "gsbench_version", "freed_memory",
)  # fmt: skip
# What identifies a measurement within a session. The name of a case does not tell how it was computed.
CASE = ("group", "case", *about(settings_of(Settings), "session"))
# A session has the versions of its backend and of its peers' frameworks alone. Versions that both have must agree.
FRAMEWORKS = ("chainer_version", "cupy_version", "torch_version", "pyro_version", "jax_version")

_NOISE = re.compile(r"\((R|TM|C)\)|\bCPU\b|\bProcessor\b|\b\d+-Core\b|@.*", re.IGNORECASE)


@dataclass(frozen=True)
class SessionLabels:
    """The label of a session, and the label of its joint session, which is the label of the first session in it."""

    label: str
    joint: str


def label_sessions(records: Sequence[Record]) -> dict[str, SessionLabels]:
    """`run_id` → its labels, in the order in which the sessions began.

    Sessions are read as one, a joint session, if their machine and versions agree and if they complete one another: no
    two of them share more than half of the smaller one's cases. Sessions that repeat each other stay separate, so that
    they can be compared.

    Training runs that end at a step count as one session if they have one setup, whatever their ids.
    """
    names = _names(records)
    own: dict[str, list[Record]] = {}
    for record in records:
        own.setdefault(names[record["run_id"]], []).append(record)
    labels = _labels(own)
    joints: list[list[str]] = []
    for run_id in labels:
        fitting = (ids for ids in joints if all(_complete(own[run_id], own[other]) for other in ids))
        joint = next(fitting, None)
        if joint is None:
            joints.append(joint := [])
        joint.append(run_id)
    firsts = {run_id: labels[joint[0]] for joint in joints for run_id in joint}
    ranks = {name: rank for rank, name in enumerate(labels)}
    order = sorted(names, key=lambda run_id: ranks[names[run_id]])
    return {run_id: SessionLabels(labels[names[run_id]], firsts[names[run_id]]) for run_id in order}


def _names(records: Sequence[Record]) -> dict[str, str]:
    """`run_id` → itself; for a training run that ends at a step, the `run_id` of the first of the same setup."""
    setups: dict[tuple[object, ...], str] = {}
    names: dict[str, str] = {}
    for record in records:
        run_id = record["run_id"]
        if ends_at_a_step(record):
            names.setdefault(run_id, setups.setdefault(tuple(record.get(field) for field in SETUP), run_id))
        else:
            names[run_id] = run_id
    return names


def _complete(session: Sequence[Record], other: Sequence[Record]) -> bool:
    """Whether two sessions have the same setup and mostly different cases."""
    if not any(_first(session, field) for field in ("machine_cpu", "machine_gpu")):
        return False  # the machine is unknown
    if any(_first(session, field) != _first(other, field) for field in SETUP):
        return False
    for field in FRAMEWORKS:
        both = {_first(session, field), _first(other, field)} - {None}
        if len(both) > 1:
            return False
    cases, others = _cases(session), _cases(other)
    return len(cases & others) <= min(len(cases), len(others)) / 2


def _first(records: Sequence[Record], field: str) -> object:
    """The first known value of a field. A case that failed early may lack it."""
    return next((record[field] for record in records if record.get(field) is not None), None)


def _cases(records: Sequence[Record]) -> set[tuple[Any, ...]]:
    return {tuple(record.get(field) for field in CASE) for record in records if record["status"] == "ok"}


def _labels(sessions: dict[str, list[Record]]) -> dict[str, str]:
    """The machine and the start of each session, in the order of the starts. Equal labels get the id appended."""
    starts, machines = {}, {}
    for run_id, records in sessions.items():
        times = [time.isoformat() for time in map(recorded_at, records) if time]
        starts[run_id] = min(times, default="")
        named = (record.get("machine_gpu") or record.get("machine_cpu") for record in records)
        machines[run_id] = next(filter(None, named), "unknown machine")
    order = sorted(starts, key=lambda run_id: (starts[run_id], run_id))
    labels = {i: ", ".join(filter(None, [short_machine(machines[i]), starts[i][:16].replace("T", " ")])) for i in order}
    taken = list(labels.values())
    return {i: label if taken.count(label) == 1 else f"{label} ({i})" for i, label in labels.items()}


def short_machine(machine: str) -> str:
    """`Intel(R) Xeon(R) CPU @ 2.20GHz` → `Intel Xeon`."""
    return " ".join(_NOISE.sub(" ", machine).split()) or machine
