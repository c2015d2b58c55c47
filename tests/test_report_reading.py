"""Reading benchmark files: the records that are used, the notices, and the files that are refused by name."""

import json
import os

import pytest
from records_fixture import (
    make_record,
    make_run,
    training_record,
    training_records,
    write_lines,
    write_saved,
    write_store,
)

from gsbench.records.frame import make_frame
from gsbench.records.reading import IMAGES, ReportError, ends_at_a_step, read_files, read_newest, unique

RUN = make_run(models=["m2"], ks=[10, 20], accuracy_ks=[10])


def test_both_kinds_give_the_same_records(tmp_path):
    lines = read_files([write_lines(tmp_path / "a.jsonl", RUN)])
    saved = read_files([write_saved(tmp_path / "a.json", RUN)])
    assert lines.records == saved.records == tuple(RUN)
    assert lines.notices == saved.notices == ()


def test_the_same_run_in_both_kinds_is_taken_once(tmp_path):
    paths = [write_lines(tmp_path / "a.jsonl", RUN), write_saved(tmp_path / "a.json", RUN)]
    assert read_files(paths).records == tuple(RUN)


def test_of_two_records_of_one_case_the_later_one_counts(tmp_path):
    early = make_record("step", 0, step_seconds=1.0)
    late = make_record("step", 5, step_seconds=2.0)
    for order in ([early, late], [late, early]):
        (record,) = read_files([write_lines(tmp_path / "a.jsonl", order)]).records
        assert record["step_seconds"] == 2.0


def test_the_same_case_of_two_runs_is_two_records(tmp_path):
    other = [{**record, "run_id": "other"} for record in RUN]
    paths = [write_lines(tmp_path / "a.jsonl", RUN), write_lines(tmp_path / "b.jsonl", other)]
    assert len(read_files(paths).records) == 2 * len(RUN)


def test_without_our_key_the_extra_infos_count(tmp_path):
    records = read_files([write_saved(tmp_path / "old.json", RUN, ours=False)]).records
    assert {record["group"] for record in records} == {"bound", "step"}
    assert len(records) == 16


@pytest.mark.parametrize("rest", ['{"schema_version": 1, "run_', '{"case": "caf\udcc3'])
def test_a_cut_off_last_line_is_dropped_and_told(tmp_path, rest):
    path = write_lines(tmp_path / "a.jsonl", RUN)
    path.write_bytes(path.read_bytes() + rest.encode("utf-8", "surrogateescape"))
    reading = read_files([path])
    assert reading.records == tuple(RUN)
    (notice,) = reading.notices
    assert notice.startswith(f"Left out: a.jsonl, the last line (line {len(RUN) + 1}): it ")


def test_a_whole_last_line_without_its_end_counts(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", RUN[:-1], rest=json.dumps(RUN[-1]))
    assert read_files([path]).records == tuple(RUN)


def test_empty_lines_are_nothing(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", RUN)
    path.write_text("\n" + path.read_text() + "\n")
    assert read_files([path]).records == tuple(RUN)


BEGIN = '{"schema_version": 1, "run_'
CUT_OFF = "it was cut off, as when the disk is full or a run is killed."
OURS = [{"schema_version": 1, **record} for record in RUN[:4]]  # in the order in which gsbench writes fields
DEEP = "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("no json", "it is not JSON (Expecting value: line 1 column 1 (char 0))."),
        (BEGIN, CUT_OFF),
        ("\0\0\0", "it is not JSON (Expecting value: line 1 column 1 (char 0))."),
        (DEEP, "it is nested too deeply to be read."),
        ("[1]", "it is a JSON list, not an object."),
        ("5", "it is a JSON int, not an object."),
        ("null", "it is a JSON NoneType, not an object."),
        ("{}", "it has schema_version None, this gsbench reads 1."),
        ('{"schema_version": 2}', "it has schema_version 2, this gsbench reads 1."),
        ('{"schema_version": true}', "it has schema_version True, this gsbench reads 1."),
        ('{"schema_version": 1}', "run_id must be text of 1 to 200 characters, got None."),
        (json.dumps(make_record("step", case=3)), "case must be text of 1 to 200 characters, got 3."),
        (json.dumps(make_record("step", status="fine")), "status must be one of ok, unfinished, diverged, "),
        (json.dumps(make_record("step", n_classes=0)), "n_classes must be a whole number from 2 to 1e+15, got 0."),
        (json.dumps(make_record("step", step_seconds=float("inf"))), "step_seconds must be a number from 1e-12 to"),
    ],
)
def test_any_other_bad_line_is_left_out_and_a_notice_names_file_and_line(tmp_path, line, why):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(RUN[0]), line, json.dumps(RUN[1])]) + "\n")
    reading = read_files([path])
    assert reading.records == (RUN[0], RUN[1])
    (notice,) = reading.notices
    assert notice.startswith(f"Left out: a.jsonl, line 2: {why}")
    assert notice.endswith("Delete it to be rid of this notice; what was in it can be measured again.")


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        (BEGIN + json.dumps(OURS[1]), OURS[1:2]),  # a torn line, and the next record appended to it
        (BEGIN + BEGIN + json.dumps(OURS[1]) + BEGIN, OURS[1:2]),
        (json.dumps(OURS[1]) + json.dumps(OURS[2]), OURS[1:3]),  # whole records without an end of line between them
        (json.dumps(OURS[1]) + "  " + BEGIN, OURS[1:2]),
        (BEGIN + json.dumps({**OURS[1], "reason": BEGIN}), [{**OURS[1], "reason": BEGIN}]),
    ],
)
def test_whole_records_in_a_torn_line_count(tmp_path, line, whole):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(RUN[0]), line, json.dumps(RUN[3])]) + "\n")
    reading = read_files([path])
    assert reading.records == (RUN[0], *whole, RUN[3])
    torn = [f"Left out: a.jsonl, line 2: {CUT_OFF}"] if line.startswith(BEGIN + "{") or line.endswith(BEGIN) else []
    assert [notice.split(" Delete")[0] for notice in reading.notices] == torn


def test_bytes_that_are_no_text_make_a_record_torn(tmp_path):
    path = tmp_path / "a.jsonl"
    bad = json.dumps({**RUN[1], "reason": "caf?"}).encode().replace(b"caf?", b"caf\xc3")
    path.write_bytes(json.dumps(RUN[0]).encode() + b"\n" + bad + b"\n")
    reading = read_files([path])
    assert reading.records == (RUN[0],)
    assert len(reading.notices) == 1
    assert "a.jsonl, line 2: it is not JSON ('utf-8' codec can't decode byte 0xc3 in position" in reading.notices[0]


def test_of_many_bad_lines_a_few_are_told_and_the_others_counted(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [RUN[0], *({**RUN[1], "batch": -i} for i in range(1, 12))])
    *told, last = read_files([path]).notices
    assert [notice.split(" must")[0] for notice in told] == [f"Left out: a.jsonl, line {i}: batch" for i in range(2, 7)]
    assert last == "Left out: a.jsonl, 6 more lines or records of it."


def test_a_bad_record_of_a_saved_file_is_named_by_its_number(tmp_path):
    path = write_saved(tmp_path / "a.json", [RUN[0], {**RUN[1], "dtype": 3}, RUN[2]])
    reading = read_files([path])
    assert reading.records == (RUN[0], RUN[2])
    assert "Left out: a.json, record 2: dtype must be text of 1 to 200 characters, got 3." in reading.notices[0]


def test_halves_of_surrogate_pairs_are_written_out_and_a_path_of_images_in_a_record_is_dropped(tmp_path):
    record = {**RUN[0], "estimator": "a\ud83d", "mine": {"\ud800": ["\udfff"]}, IMAGES: "/etc/passwd"}
    (read,) = read_files([write_lines(tmp_path / "a.jsonl", [record])]).records
    assert read["estimator"] == "a\\ud83d"
    assert read["mine"] == {"\\ud800": ["\\udfff"]}
    assert IMAGES not in read


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", b"\x89PNG", "it is not JSON"),
        ("a.json", b"[]", "it holds a JSON list"),
        (
            "a.json",
            b'{"benchmarks": [{"name": "x", "extra_info": {}}, 7]}',
            "it has neither 'gsbench_records' nor",
        ),
        ("a.json", b'{"benchmarks": null}', "it has neither 'gsbench_records' nor"),
        ("a.json", b'{"gsbench_records": 3}', "'gsbench_records' is a JSON int"),
        ("a.json", b'{"gsbench_records": []}', "it holds no whole record"),
        ("a.jsonl", b"", "it holds no whole record"),
        ("a.jsonl", b'{"schema_v', "it holds no whole record"),
        ("a.json", DEEP.encode(), "it is nested too deeply to be read"),
        ("a.jsonl", b"[]\n{}\n", "line 1: it is a JSON list, not an object"),
    ],
)
def test_a_file_without_records_is_an_error_and_beside_others_a_notice(tmp_path, name, content, why):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReportError) as error:
        read_files([path])
    assert f"{path} is no gsbench benchmark file: " in str(error.value)
    assert why in str(error.value)
    good = write_lines(tmp_path / "good.jsonl", RUN)
    reading = read_files([path, good])
    assert reading.records == tuple(RUN)
    (notice,) = reading.notices
    assert notice.startswith(f"Left out: {name} is no gsbench benchmark file: ")
    assert why in notice


def test_a_file_of_another_kind_is_an_error_beside_others_too(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("")
    with pytest.raises(ReportError, match=r"a\.csv is no gsbench benchmark file: .*, allowed: \.jsonl and \.json$"):
        read_files([write_lines(tmp_path / "good.jsonl", RUN), path])


def test_a_missing_file_is_named(tmp_path):
    for name, what in (("nowhere.jsonl", "file"), ("nowhere", "file or folder")):
        with pytest.raises(ReportError, match=rf"^no such {what}: .*{name}$"):
            read_files([write_lines(tmp_path / "good.jsonl", RUN), tmp_path / name])


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", RUN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathlib.Path.read_bytes", lambda _: (_ for _ in ()).throw(PermissionError(13, "no right")))
        with pytest.raises(ReportError, match=r"cannot read .*a\.jsonl: no right"):
            read_files([path])


STORE = training_records((10, 100), seeds=(0, 1))


def test_a_folder_stands_for_all_its_files_in_depth(tmp_path):
    write_store(tmp_path / "runs", STORE)
    write_saved(tmp_path / "runs" / "more" / "bench.json", RUN)
    reading = read_files([tmp_path / "runs"])
    assert sorted(r["case"] for r in reading.records) == sorted(r["case"] for r in [*STORE, *RUN])
    assert reading.notices == ()
    both = read_files([tmp_path / "runs", write_lines(tmp_path / "one.jsonl", STORE[:1])])
    assert len(both.records) == len(reading.records)


def test_torn_and_foreign_files_in_a_folder_are_left_out_and_named(tmp_path):
    store = write_store(tmp_path / "runs", STORE)
    torn = store / STORE[0]["case"] / "record.jsonl"
    torn.write_bytes(torn.read_bytes()[:100])
    (store / "package.json").write_text('{"name": "other"}')
    (store / "notes.txt").write_text("not looked at")
    reading = read_files([store])
    assert {r["case"] for r in reading.records} == {r["case"] for r in STORE[1:]}
    first, second = sorted(reading.notices)
    assert "\n  the last line (line 1): it was cut off" in first
    assert first.startswith(f"Left out: {STORE[0]['case']}/record.jsonl is no gsbench benchmark file: it holds no")
    assert second.startswith("Left out: package.json is no gsbench benchmark file: it has neither")
    assert str(tmp_path) not in first + second  # a page is published; the reader's folders are not


def test_a_folder_without_a_benchmark_file_is_an_error_that_names_it_and_what_was_left_out(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ReportError, match=r"no benchmark file under '.*empty': allowed are \.jsonl and \.json$"):
        read_files([empty])
    (empty / "bad.json").write_text("[]")
    with pytest.raises(ReportError, match=r"no benchmark file under (.|\n)*Left out: bad\.json is no"):
        read_files([empty])


@pytest.mark.parametrize(
    ("budgets", "at_a_step"),
    [
        ({"budget_steps": 400}, True),
        ({"budget_steps": None, "budget_epochs": 2.5, "budget_seconds": 60.0}, True),
        ({"budget_steps": None, "budget_seconds": 60.0}, False),
        ({"budget_steps": None}, False),  # an old short run of the benchmark
    ],
)
def test_runs_that_end_by_the_clock_count_once_in_each_session_others_once_in_all(budgets, at_a_step):
    records = [training_record(run_id=run_id, **budgets) for run_id in ("a", "b")]
    assert [ends_at_a_step(record) for record in records] == [at_a_step] * 2
    assert ends_at_a_step(make_frame(records)).tolist() == [at_a_step] * 2
    assert len(unique(records)) == (1 if at_a_step else 2)
    assert not ends_at_a_step(make_record("step", budget_steps=400))


def test_of_a_training_run_that_was_begun_anew_the_newest_counts_whatever_its_run_id(tmp_path):
    old = training_record(run_id="a", recorded_at="2026-01-02T10:00:00Z", validation_accuracy=0.1)
    new = training_record(run_id="b", recorded_at="2026-01-02T11:00:00Z", validation_accuracy=0.2)
    for order in ([old, new], [new, old]):
        (record,) = read_files([write_lines(tmp_path / "a.jsonl", order)]).records
        assert (record["run_id"], record["validation_accuracy"]) == ("b", 0.2)


def test_a_training_run_carries_the_path_of_the_images_in_its_own_folder(tmp_path):
    store = write_store(tmp_path / "runs", STORE[:2])
    images = store / STORE[0]["case"] / "images.npz"
    images.write_bytes(b"any")
    read = {r["case"]: r for r in read_files([store]).records}
    assert read[STORE[0]["case"]] == {**STORE[0], IMAGES: str(images)}
    assert read[STORE[1]["case"]] == STORE[1]
    # If one file has records of many runs, the images beside it may belong to any of them.
    images.rename(tmp_path / "images.npz")
    assert read_files([write_lines(tmp_path / "all.jsonl", STORE[:1])]).records == (STORE[0],)


def renamed(run_id, day):
    return [{**record, "run_id": run_id, "recorded_at": record["recorded_at"].replace("01-02", day)} for record in RUN]


def test_the_newest_run_is_the_one_recorded_last_in_all_its_files(tmp_path):
    write_lines(tmp_path / "deep" / "er" / "new.jsonl", renamed("new", "03-04")[:30])
    write_saved(tmp_path / "Linux" / "0001_new.json", renamed("new", "03-04")[20:])
    write_lines(tmp_path / "old.jsonl", renamed("old", "02-03"), rest='{"cut')
    reading = read_newest(tmp_path)
    assert {record["run_id"] for record in reading.records} == {"new"}
    assert len(reading.records) == len(RUN)
    assert reading.notices == ()  # the cut-off line belongs to another run


def test_of_two_runs_at_once_the_one_written_to_last_is_the_newest(tmp_path):
    def at(run_id, *times):
        return [make_record("step", run_id=run_id, case=t, recorded_at=f"2026-05-01T{t}:00Z") for t in times]

    write_lines(tmp_path / "a.jsonl", at("long", "10:00", "12:00", "10:30"))
    write_lines(tmp_path / "b.jsonl", at("short", "11:00", "11:30"))
    assert read_newest(tmp_path).records[0]["run_id"] == "long"


def test_without_times_the_newest_file_counts(tmp_path):
    def untimed(run_id):
        return [{**record, "run_id": run_id, "recorded_at": None} for record in RUN]

    for run_id, time in (("a", 2_000_000_000), ("b", 1_000_000_000)):
        path = write_lines(tmp_path / f"{run_id}.jsonl", untimed(run_id))
        os.utime(path, (time, time))
    assert {record["run_id"] for record in read_newest(tmp_path).records} == {"a"}


def test_the_letter_z_and_an_offset_are_both_understood(tmp_path):
    write_lines(tmp_path / "a.jsonl", [make_record("step", run_id="a", recorded_at="2026-05-01T12:00:00Z")])
    write_lines(tmp_path / "b.jsonl", [make_record("step", run_id="b", recorded_at="2026-05-01T13:30:00+02:00")])
    assert read_newest(tmp_path).records[0]["run_id"] == "a"


def test_a_bad_file_in_the_storage_is_left_out_and_told(tmp_path):
    write_lines(tmp_path / "good.jsonl", RUN)
    (tmp_path / "foreign.json").write_text('{"benchmarks": []}')
    reading = read_newest(tmp_path)
    assert reading.records == tuple(RUN)
    (notice,) = reading.notices
    assert notice.startswith("Left out: foreign.json is no gsbench benchmark file")
    assert str(tmp_path) not in notice  # a page is published; the reader's folders are not


@pytest.mark.parametrize("exists", [True, False])
def test_no_run_is_an_error_that_says_how_to_make_one(tmp_path, exists):
    storage = tmp_path if exists else tmp_path / "nowhere"
    with pytest.raises(ReportError, match=r"no benchmark run under .*gsbench bench"):
        read_newest(storage)


def test_a_folder_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    write_lines(tmp_path / "good.jsonl", RUN)
    write_lines(tmp_path / "locked" / "newer.jsonl", RUN)
    scan = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scan(path)

    monkeypatch.setattr("os.scandir", scandir)
    for reading in (read_newest(tmp_path), read_files([tmp_path])):
        assert reading.records == tuple(RUN)
        assert reading.notices == (
            "Left out: the folder locked cannot be read (Permission denied). Look at its rights.",
        )


def test_a_link_that_leads_nowhere_is_told_and_a_pipe_is_passed_over(tmp_path):
    write_lines(tmp_path / "good.jsonl", RUN)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (notice,) = read_files([tmp_path]).notices
    assert notice.startswith("Left out: no such file: gone.jsonl. ")
