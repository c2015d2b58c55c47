"""The semi-supervised split."""

from __future__ import annotations

import numpy as np
import pytest

from gsbench.data import TEST, TRAIN, VALIDATION, Dataset, split
from gsbench.data.base import raw_bits

MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def dataset(train, validation=(), test=(1, 1)):
    """A data set with these numbers of images per class and part, in an arbitrary order."""
    labels = np.concatenate([np.repeat(np.arange(len(c)), c) for c in (train, validation, test)]).astype(
        np.int64
    )
    part = np.repeat(np.array([0, 1, 2], np.uint8), [sum(train), sum(validation), sum(test)])
    order = np.argsort(raw_bits("test", size=len(labels)), kind="stable")
    names = tuple(str(k) for k in range(len(train)))
    images = np.zeros((len(labels), 1, 1), np.uint8)
    return Dataset("some", "1", images, labels[order], part[order], names, "none", "here")


def counts(data, indices):
    return np.bincount(data.labels[indices], minlength=data.n_classes).tolist()


def indices_of(s):
    return [s.labelled, s.unlabelled, s.validation, s.test]


def test_the_default_on_the_counts_of_mnist_is_the_usual_one():
    data = dataset(MNIST_COUNTS, test=[1000] * 10)
    s = split(data)
    assert [len(i) for i in indices_of(s)] == [100, 49_900, 10_000, 10_000]
    assert counts(data, s.labelled) == [10] * 10
    shares = np.array(MNIST_COUNTS) / 6
    assert np.abs(np.array(counts(data, s.validation)) - shares).max() < 1


def test_the_parts_are_disjoint_and_make_up_the_whole():
    data = dataset([30, 50, 41], test=(5, 6, 7))
    s = split(data, labelled_per_class=4, n_validation=17)
    np.testing.assert_array_equal(np.sort(np.concatenate(indices_of(s))), np.arange(len(data.labels)))
    for indices in indices_of(s):
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()
        with pytest.raises(ValueError, match="read-only"):
            indices[0] = 0
    assert (data.part[np.concatenate(indices_of(s)[:3])] == TRAIN).all()
    assert (data.part[s.test] == TEST).all()
    assert len(s.validation) == 17


@pytest.mark.parametrize(
    ("n_validation", "expected"),
    [(0, [0, 0, 0]), (10, [2, 3, 5]), (7, [1, 2, 4]), (1, [0, 0, 1]), (2, [0, 1, 1]), (5, [1, 2, 2])],
)
def test_validation_is_shared_by_largest_remainder(n_validation, expected):
    """Shares of 20, 30 and 50 images: 7 is 1.4 + 2.1 + 3.5, 2 is 0.4 + 0.6 + 1, 5 is 1 + 1.5 + 2.5."""
    data = dataset([20, 30, 50])
    assert counts(data, split(data, 1, n_validation).validation) == expected


def test_an_own_validation_part_is_used_and_leaves_the_train_part_alone():
    data = dataset([12, 12], validation=(4, 4), test=(4, 4))
    for n_validation in (None, 8):
        s = split(data, labelled_per_class=10, n_validation=n_validation)
        np.testing.assert_array_equal(s.validation, np.flatnonzero(data.part == VALIDATION))
        assert [counts(data, i) for i in indices_of(s)] == [[10, 10], [2, 2], [4, 4], [4, 4]]
    with pytest.raises(ValueError, match="own with 8 images: n_validation must be None or 8, got 5"):
        split(data, n_validation=5)


def test_the_seed_decides():
    data = dataset([300, 400])
    for a, b in zip(indices_of(split(data, seed=3)), indices_of(split(data, seed=3)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert set(split(data, seed=3).labelled) != set(split(data, seed=4).labelled)


def test_every_image_is_as_likely_to_be_labelled():
    data = dataset([10, 10])
    times = np.zeros(len(data.labels))
    for seed in range(400):
        times[split(data, labelled_per_class=3, n_validation=4, seed=seed).labelled] += 1
    train = times[data.part == TRAIN]
    assert train.mean() == pytest.approx(120)  # of 400 draws of 3 out of 10
    assert np.abs(train - 120).max() < 4.5 * np.sqrt(400 * 0.3 * 0.7)


def test_fewer_labels_are_among_more():
    data = dataset([100, 100, 100])
    few, more = (split(data, labelled_per_class=n, seed=1) for n in (5, 20))
    assert set(few.labelled) < set(more.labelled)
    np.testing.assert_array_equal(few.validation, more.validation)


def test_the_split_is_the_same_on_every_machine():
    s = split(dataset([9, 9]), labelled_per_class=2, n_validation=3)
    assert [i.tolist() for i in (s.labelled, s.validation)] == [[0, 2, 15, 19], [1, 5, 10]]


def test_a_class_may_be_labelled_to_the_last_image():
    data = dataset([5, 5])
    s = split(data, labelled_per_class=5, n_validation=0)
    assert counts(data, s.labelled) == [5, 5]
    assert len(s.unlabelled) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labelled_per_class": 0}, "labelled_per_class must be at least 1, got 0"),
        ({"n_validation": -1}, "n_validation must be 0 … 42, the train images of 'some', got -1"),
        ({"n_validation": 43}, "n_validation must be 0 … 42, the train images of 'some', got 43"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        (
            {"labelled_per_class": 11},
            "labelled_per_class=11 is more than there are: class 1 of 'some' has 12 train images, of which 2 go to "
            "validation",
        ),
    ],
)
def test_impossible_splits_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        split(dataset([30, 12]), **arguments)
