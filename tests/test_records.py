"""Records are flat, whole and at once on the disk."""

import json

import pytest

from gsbench.backends import load_backend
from gsbench.machine import machine_fields
from gsbench.records import SCHEMA_VERSION, Record, RecordFile, new_run_id
from gsbench.settings import Settings


def make(**changes):
    fields = {
        "run_id": "r1",
        "group": "step",
        "case": "test_step[adgm-10-marginalize]",
        "settings": Settings(threads=1).record_fields(),
        "machine": machine_fields(load_backend()),
        "figures": {"step_seconds": 0.25},
    }
    return Record(**{**fields, **changes})


def test_a_record_is_flat_and_has_its_conditions():
    flat = make().flat()
    assert flat["schema_version"] == SCHEMA_VERSION
    assert (flat["status"], flat["reason"], flat["step_seconds"]) == ("ok", "", 0.25)
    assert not any(isinstance(value, dict) for value in flat.values())
    for key in (
        "clock",
        "machine_cpu",
        "machine_blas",
        "freed_memory",
        "numpy_version",
        "chainer_version",
        "python_version",
        "machine_os",
    ):
        assert flat[key], key
    for key in (
        "cupy_version",
        "cuda_version",
        "machine_gpu",
        "gsbench_commit",
        "seed",
        "n_classes",
        "threads",
    ):
        assert key in flat, key
    assert json.loads(json.dumps(flat)) == flat


def test_unknown_groups_and_statuses_are_refused():
    with pytest.raises(ValueError, match="unknown group 'speed'; known: bound"):
        make(group="speed")
    with pytest.raises(ValueError, match="unknown status 'fine'; known: ok"):
        make(status="fine")


def test_each_record_is_a_line_on_the_disk_at_once(tmp_path):
    file = RecordFile(tmp_path / "new" / "folder" / "run.jsonl")
    for case in ("a", "b"):
        file.append(make(case=case))
        last = file.path.read_text().splitlines()[-1]
        assert json.loads(last)["case"] == case
    assert len(file.path.read_text().splitlines()) == 2


def test_a_figure_that_is_not_finite_is_refused_before_anything_is_written(tmp_path):
    file = RecordFile(tmp_path / "run.jsonl")
    with pytest.raises(ValueError, match="JSON"):
        file.append(make(figures={"step_seconds": float("nan")}))
    assert not file.path.exists()


def test_run_ids_differ():
    assert len({new_run_id() for _ in range(50)}) == 50
