"""Records are flat, and each is written to the disk whole and at once."""

import contextlib
import json
import os

import pytest

from gsbench.backends import load_backend
from gsbench.meters.machine import machine_fields
from gsbench.records.record import SCHEMA_VERSION, Record, RecordFile, new_run_id
from gsbench.settings.case import Settings


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


# A disk that is full


@contextlib.contextmanager
def room_for(n_bytes):
    """No file can grow beyond a limit: a write takes the part that fits, and the next write fails."""
    resource = pytest.importorskip("resource", reason="needs the limits of POSIX")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def cases_in(text):
    return [json.loads(line)["case"] for line in text.splitlines()]


@pytest.mark.parametrize("more", [0, 1, 100])
def test_a_disk_that_is_full_for_a_moment_costs_no_record_and_tears_no_line(tmp_path, more):
    file = RecordFile(tmp_path / "run.jsonl")
    file.append(make(case="a"))
    whole = file.path.read_bytes()
    with room_for(len(whole) + more):
        for case in ("b", "c"):
            file.append(make(case=case))
            assert file.path.read_bytes() == whole
            assert "File too large" in file.problem
    assert cases_in("".join(file.waiting)) == ["b", "c"]
    file.append(make(case="d"))
    assert cases_in(file.path.read_text()) == ["a", "b", "c", "d"]
    assert (file.waiting, file.problem, file.unwritten()) == ([], "", "")


def test_waiting_records_are_written_on_request_and_reported_until_then(tmp_path):
    file = RecordFile(tmp_path / "run.jsonl")
    with room_for(100):
        for case in ("a", "b"):
            file.append(make(case=case))
        file.write_waiting()
        told = file.unwritten().splitlines()
    assert told[0] == f"2 records could not be written to {file.path}: {file.problem}"
    assert cases_in("\n".join(told[2:])) == ["a", "b"]
    assert file.path.read_bytes() == b""
    file.write_waiting()
    assert cases_in(file.path.read_text()) == ["a", "b"]


def test_a_torn_line_that_could_not_be_removed_spoils_no_other(tmp_path):
    file = RecordFile(tmp_path / "run.jsonl")
    file.path.write_text('{"torn": ')
    file.append(make(case="a"))
    torn, *lines = file.path.read_text().splitlines(keepends=True)
    assert torn == '{"torn": \n'
    assert cases_in("".join(lines)) == ["a"]


def test_ctrl_c_while_a_record_is_written_leaves_it_to_the_next_time(tmp_path, monkeypatch):
    def stopped(number):
        raise KeyboardInterrupt

    file = RecordFile(tmp_path / "run.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stopped)
        with pytest.raises(KeyboardInterrupt):
            file.append(make(case="a"))
    assert file.path.read_bytes() == b""
    file.write_waiting()
    assert cases_in(file.path.read_text()) == ["a"]


def test_run_ids_differ():
    assert len({new_run_id() for _ in range(50)}) == 50
