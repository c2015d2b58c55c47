"""One contract for every data set; and tests of the registry, the record and the data folder."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from gsbench.data import (
    DATASETS,
    TEST,
    TRAIN,
    VALIDATION,
    Dataset,
    count_classes,
    default_classes,
    find_dataset,
    glyphs,
    load_dataset,
)
from gsbench.data.locations import cache_folder

FROM_FOLDER = ("mnist", "fashion-mnist", "omniglot")  # the others are made here


def skip_without_files(name):
    folder = os.environ.get("GSBENCH_DATA")
    if name in FROM_FOLDER and not (folder and (Path(folder) / name).is_dir()):
        pytest.skip(f"no folder {name} in $GSBENCH_DATA")


@pytest.fixture(params=list(DATASETS))
def name(request, monkeypatch):
    skip_without_files(request.param)
    # Glyphs are made one by one. 50 and 10 per class, as with the most classes, are enough for these tests.
    monkeypatch.setattr(glyphs, "TRAIN_IMAGES", 0)
    monkeypatch.setattr(glyphs, "TEST_IMAGES", 0)
    return request.param


def test_every_data_set_keeps_the_contract(name):
    data = load_dataset(name, 5)
    n = len(data.images)
    assert (data.name, data.n_classes, len(data.class_names)) == (name, 5, 5)
    assert (data.images.dtype, data.images.ndim) == (np.uint8, 3)
    assert (data.labels.dtype, data.labels.shape) == (np.int64, (n,))
    assert (data.part.dtype, data.part.shape) == (np.uint8, (n,))
    for part in np.unique(data.part):
        assert np.unique(data.labels[data.part == part]).tolist() == [0, 1, 2, 3, 4]
    assert {TRAIN, TEST} <= set(data.part.tolist()) <= {TRAIN, VALIDATION, TEST}
    assert data.images.max() > 128 > data.images.min()
    assert all([data.version, data.licence, data.source])
    for array in (data.images, data.labels, data.part):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_same_seed_gives_the_same_bytes(name, tmp_path, monkeypatch):
    """The set is made, read from the cache (if it has one), and made again."""
    checksums = [load_dataset(name, 3, seed=1).checksum for _ in range(2)]
    monkeypatch.setenv("GSBENCH_CACHE", str(tmp_path))
    checksums.append(load_dataset(name, 3, seed=1).checksum)
    assert len(set(checksums)) == 1


def test_more_classes_than_there_are_is_an_error_that_says_how_many(name):
    most = count_classes(name)
    if most is None:
        assert load_dataset(name, 3000).n_classes == 3000
        return
    with pytest.raises(ValueError, match=f"data set '{name}' has {most} classes, got n_classes={most + 1}"):
        load_dataset(name, most + 1)


@pytest.mark.parametrize("n_classes", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(name, n_classes):
    with pytest.raises(ValueError, match=f"n_classes must be at least 2, got {n_classes}"):
        load_dataset(name, n_classes)


def test_default_numbers_of_classes(name):
    expected = {"glyphs": 10, "mnist": 10, "fashion-mnist": 10, "omniglot": 242, "synthetic": 10}
    assert load_dataset(name).n_classes == expected[name]


def test_classes_that_can_be_had():
    names = ("glyphs", "mnist", "fashion-mnist", "synthetic")
    assert [count_classes(name) for name in names] == [1200, 10, 10, None]


def test_an_unknown_name_is_an_error_that_names_the_known():
    message = "unknown data set 'minst'; known: glyphs, mnist, fashion-mnist, omniglot, synthetic"
    for call in (load_dataset, count_classes):
        with pytest.raises(ValueError, match=message):
            call("minst")


# ---------------------------------------------------------------- synthetic


def test_synthetic_depends_on_its_seed():
    a, b = load_dataset("synthetic", 4, seed=0), load_dataset("synthetic", 4, seed=1)
    assert (a.images != b.images).mean() == pytest.approx(255 / 256, abs=1e-3)
    assert (a.labels != b.labels).mean() == pytest.approx(3 / 4, abs=0.02)
    with pytest.raises(ValueError, match="seed must be >= 0, got -1"):
        load_dataset("synthetic", 4, seed=-1)


def test_synthetic_is_uniform_balanced_and_the_same_on_every_machine():
    data = load_dataset("synthetic", 10)
    assert np.bincount(data.labels[data.part == TRAIN]).tolist() == [6000] * 10
    assert np.bincount(data.labels[data.part == TEST]).tolist() == [1000] * 10
    values = np.bincount(data.images.ravel(), minlength=256)
    assert values / data.images.size == pytest.approx(1 / 256, rel=0.02)
    assert data.checksum == "2b1e6dc56ab63b00"


# ---------------------------------------------------------------- the record


def record(**change):
    fields = {
        "images": np.zeros((4, 2, 3), np.uint8),
        "labels": np.array([0, 1, 1, 0]),
        "part": np.array([0, 0, 1, 2], np.uint8),
        "class_names": ("a", "b"),
    }
    return Dataset(name="x", version="1", licence="none", source="here", **{**fields, **change})


def test_the_checksum_is_over_images_labels_and_part():
    content = bytes(24) + np.array([0, 1, 1, 0], "<i8").tobytes() + bytes([0, 0, 1, 2])
    assert record().checksum == hashlib.sha256(content).hexdigest()[:16]
    changed = record(part=np.array([0, 0, 2, 2], np.uint8))
    assert changed.checksum != record().checksum


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((4, 6), np.uint8)}, "images of data set 'x' must be uint8 with 3 dimension"),
        ({"images": np.zeros((4, 2, 3))}, r"images .* got float64 \(4, 2, 3\)"),
        ({"labels": np.zeros(4, np.int32)}, "labels of data set 'x' must be int64"),
        ({"labels": np.array([0, 1, 2, 0])}, "labels of data set 'x' must be 0 … 1, got 0 … 2"),
        ({"labels": np.array([0, 1, -1, 0])}, "labels of data set 'x' must be 0 … 1, got -1 … 1"),
        ({"labels": np.array([0, 0, 1, 1])}, "no train image of class 1"),
        ({"part": np.array([0, 0, 1, 3], np.uint8)}, "part of data set 'x' must be 0, 1 or 2, got 3"),
        ({"part": np.array([0, 0], np.uint8)}, r"differ in length: \[4, 4, 2\]"),
    ],
)
def test_a_record_of_another_form_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        record(**change)


# ---------------------------------------------------------------- the folders


def test_a_data_folder_that_does_not_exist_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"gone' \(from --data-dir or data_dir\) is not a folder"):
        load_dataset("mnist", data_dir=tmp_path / "gone")
    monkeypatch.setenv("GSBENCH_DATA", str(tmp_path / "lost"))
    with pytest.raises(FileNotFoundError, match=r"lost' \(from \$GSBENCH_DATA\) is not a folder"):
        load_dataset("mnist")


def test_the_environments_data_folder_is_checked_only_when_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("GSBENCH_DATA", str(tmp_path / "lost"))
    assert load_dataset("synthetic", 3).n_classes == 3
    assert [count_classes(name) for name in ("glyphs", "synthetic")] == [1200, None]
    assert default_classes("glyphs") == 10
    for name in ("mnist", "fashion-mnist", "omniglot"):
        for call in (load_dataset, count_classes, default_classes, find_dataset):
            with pytest.raises(FileNotFoundError, match=r"lost' \(from \$GSBENCH_DATA\) is not a folder"):
                call(name)
    with pytest.raises(FileNotFoundError, match=r"gone' \(from --data-dir or data_dir\) is not a folder"):
        count_classes("glyphs", tmp_path / "gone")  # a folder that the call names is checked at once


def test_the_argument_goes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("GSBENCH_DATA", str(tmp_path / "lost"))
    (tmp_path / "here").mkdir()
    with pytest.raises(FileNotFoundError, match=r"in the data folder .*here"):
        load_dataset("omniglot", data_dir=str(tmp_path / "here"))


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GSBENCH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("GSBENCH_CACHE")
    assert "gsbench" in cache_folder().parts


def test_a_missing_home_is_an_error_that_says_who_named_it(monkeypatch):
    with pytest.raises(ValueError, match=r"^--data-dir or data_dir '~nosuchuser/x' cannot be used: "):
        count_classes("mnist", "~nosuchuser/x")
    monkeypatch.setenv("GSBENCH_DATA", "~nosuchuser/x")
    with pytest.raises(ValueError, match=r"^\$GSBENCH_DATA '~nosuchuser/x' cannot be used: "):
        count_classes("mnist")
    monkeypatch.setenv("GSBENCH_CACHE", "~nosuchuser/x")
    with pytest.raises(ValueError, match=r"^\$GSBENCH_CACHE '~nosuchuser/x' cannot be used: "):
        cache_folder()
