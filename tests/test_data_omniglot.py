"""omniglot: the split by drawer, and the errors for a missing, damaged or malformed file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gsbench.data import TEST, TRAIN, VALIDATION, DataFileError, count_classes, load_dataset


def arrays(n_classes=5):
    """A small set of the form that the module describes: 20 drawers, image value = class."""
    labels = np.repeat(np.arange(n_classes), 20).astype(np.int16)
    return {
        "images": np.repeat(labels.astype(np.uint8), 28 * 28).reshape(-1, 28, 28),
        "labels": labels,
        "class_names": np.array([f"Greek/character{k + 1:02d}" for k in range(n_classes)]),
        "drawers": np.tile(np.arange(1, 21, dtype=np.uint8), n_classes),
    }


def write(folder: Path, content: dict) -> Path:
    path = folder / "omniglot" / "omniglot28.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **content)
    return path


@pytest.fixture(autouse=True)
def _no_data_folder(request, monkeypatch):
    if "real" not in request.node.name:
        monkeypatch.delenv("GSBENCH_DATA", raising=False)


def test_the_split_is_by_drawer(tmp_path):
    write(tmp_path, arrays())
    data = load_dataset("omniglot", data_dir=tmp_path)
    assert data.n_classes == 5
    np.testing.assert_array_equal(data.part, ([TRAIN] * 12 + [VALIDATION] * 4 + [TEST] * 4) * 5)
    np.testing.assert_array_equal(data.images[:, 0, 0], data.labels)


def test_fewer_classes_are_the_first(tmp_path):
    write(tmp_path, arrays())
    data = load_dataset("omniglot", 3, data_dir=tmp_path)
    assert data.class_names == ("Greek/character01", "Greek/character02", "Greek/character03")
    np.testing.assert_array_equal(data.images[:, 2, 1], np.repeat([0, 1, 2], 20))
    assert [(data.part == p).sum() for p in (TRAIN, VALIDATION, TEST)] == [36, 12, 12]


def test_classes_are_counted_without_the_images(tmp_path):
    write(tmp_path, {"class_names": arrays()["class_names"]})
    assert count_classes("omniglot", tmp_path) == 5
    path = write(tmp_path, {"class_names": np.array("five")})
    with pytest.raises(DataFileError, match=f"{path} is not of the right form: class_names must be strings"):
        count_classes("omniglot", tmp_path)


def test_too_many_classes_say_how_many_there_are(tmp_path):
    write(tmp_path, arrays())
    with pytest.raises(ValueError, match="'omniglot' has 5 classes, got n_classes=6"):
        load_dataset("omniglot", 6, data_dir=tmp_path)


def test_without_a_data_folder_it_is_said_how_to_name_one():
    for call in (load_dataset, count_classes):
        with pytest.raises(FileNotFoundError, match=r"GSBENCH_DATA.*omniglot28\.npz"):
            call("omniglot")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"omniglot28\.npz"):
        load_dataset("omniglot", data_dir=tmp_path)


@pytest.mark.parametrize("damage", ["empty", "cut", "altered", "no archive"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
    path = write(tmp_path, arrays())
    whole = path.read_bytes()
    at = whole.index(b"images.npy") + 60  # in the compressed images
    altered = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
    path.write_bytes(
        {"empty": b"", "cut": whole[:-40], "altered": altered, "no archive": b"text" * 50}[damage]
    )
    with pytest.raises(DataFileError, match=r"omniglot28\.npz is damaged or not of the right form"):
        load_dataset("omniglot", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drawers": np.full(100, 21)}, "drawers must be 1 … 20, got 21 … 21"),
        ({"drawers": np.full(100, 20)}, "no train image of class 0"),
        ({"drawers": np.arange(1, 20)}, "differ in length"),
        ({"labels": np.full(100, 5)}, "labels of data set 'omniglot' must be 0 … 4, got 5 … 5"),
        ({"labels": np.zeros(100)}, "labels must be integers with 1 dimension, got float64"),
        ({"images": np.zeros((100, 28, 28))}, "images of data set 'omniglot' must be uint8"),
        ({"images": np.zeros((99, 28, 28), np.uint8)}, "differ in length"),
        ({"images": np.zeros((100, 32, 32), np.uint8)}, "images must be \\[n, 28, 28\\], got \\[100, 32, 32\\]"),
        ({"images": np.array(["pickled"] * 100, object)}, "pickle"),
        ({"labels": None}, "it has no array 'labels', only: images, class_names, drawers"),
        ({"notes": np.zeros(3)}, "it has an array 'notes', expected: class_names, images, labels, drawers"),
        ({"class_names": np.arange(5)}, r"class_names must be strings with 1 dimension, got int64 \(5,\)"),
        ({"class_names": np.array("five")}, "class_names must be strings with 1 dimension, got <U4"),
        ({"labels": np.zeros((100, 1), int)}, r"labels must be integers with 1 dimension, got int64 \(100, 1\)"),
        ({"images": np.uint8(3)}, "images of data set 'omniglot' must be uint8"),
    ],
)
def test_a_file_of_another_form_is_an_error_that_names_it(tmp_path, change, message):
    content = {name: array for name, array in {**arrays(), **change}.items() if array is not None}
    path = write(tmp_path, content)
    with pytest.raises(DataFileError, match=message) as caught:
        load_dataset("omniglot", data_dir=tmp_path)
    assert str(path) in str(caught.value)


def test_the_real_file():
    folder = os.environ.get("GSBENCH_DATA")
    if not folder or not (Path(folder) / "omniglot").is_dir():
        pytest.skip("no folder omniglot in $GSBENCH_DATA")
    data = load_dataset("omniglot")
    assert data.n_classes == count_classes("omniglot") == 242
    assert np.bincount(data.labels).tolist() == [20] * 242
    assert [(data.part == p).sum() // 242 for p in (TRAIN, VALIDATION, TEST)] == [12, 4, 4]
