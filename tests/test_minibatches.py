"""The streams of a seed, the order of examples, and minibatches: a step's minibatch is the same at every request."""

import numpy as np
import pytest

from gsbench.backends import load_backend
from gsbench.data import load_dataset, split
from gsbench.training.minibatches import UNLABELLED, Batches, Order, pixels, stream_seed

K = 3


@pytest.fixture(scope="module")
def data():
    dataset = load_dataset("synthetic", K)
    return dataset, split(dataset, labelled_per_class=4)


@pytest.fixture(scope="module")
def bk():
    return load_backend("chainer", "cpu", "float32")


def order(n, batch, seed=0):
    return Order(np.arange(n) + 5, batch, seed, UNLABELLED)


def test_streams_and_positions_of_a_seed_differ():
    seeds = {stream_seed(seed, stream, at) for seed in range(4) for stream in range(6) for at in range(3)}
    assert len(seeds) == 4 * 6 * 3


def test_pixels_are_scaled_or_drawn_anew():
    images = np.full((1, 28, 28), 51, np.uint8)  # 0.2
    rng = np.random.default_rng(0)
    assert pixels(images, "none", rng) == pytest.approx(np.full((1, 784), 0.2))
    drawn = np.concatenate([pixels(images, "dynamic", rng) for _ in range(50)])
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(0.2, abs=0.01)
    assert len(np.unique(drawn, axis=0)) == 50


def test_black_and_white_pixels_are_never_flipped():
    images = np.array([[[0, 255]]], np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        assert pixels(images, "dynamic", rng).tolist() == [[0.0, 1.0]]


def test_all_examples_come_before_one_comes_again():
    index = order(10, 4)
    passes = np.concatenate([index.at(step) for step in range(5)])  # 20 examples: two passes
    assert sorted(passes[:10]) == sorted(passes[10:]) == list(range(5, 15))
    assert list(passes[:10]) != list(passes[10:])


def test_any_step_can_be_asked_for_at_any_time():
    there, again = order(10, 4), order(10, 4)
    forwards = [there.at(step).tolist() for step in range(30)]
    assert [again.at(step).tolist() for step in reversed(range(30))] == forwards[::-1]
    assert [order(10, 4, seed=1).at(step).tolist() for step in range(30)] != forwards


@pytest.mark.parametrize("step", [0, 1, 2, 9])
def test_a_minibatch_may_be_larger_than_the_set(step):
    assert sorted(np.bincount(order(3, 7).at(step) - 5).tolist()) in ([2, 2, 3], [1, 3, 3])


def test_minibatches_without_examples_are_refused():
    with pytest.raises(ValueError, match="no examples"):
        order(0, 4)


def test_batches_have_labelled_and_unlabelled_examples_apart(bk, data):
    dataset, parts = data
    batches = Batches(bk, dataset, parts, batch=6, seed=1, binarize="none")
    batch = batches.at(0)
    labelled = dataset.images[parts.labelled].reshape(-1, 784).astype(np.float32) / 255
    for x, y in zip(batch.x_labelled, batch.y, strict=True):
        match = np.flatnonzero((labelled == x).all(axis=1))
        assert dataset.labels[parts.labelled][match[0]] == y
    unlabelled = dataset.images[parts.unlabelled].reshape(-1, 784).astype(np.float32) / 255
    assert all((unlabelled == x).all(axis=1).any() for x in batch.x_unlabelled)
    assert batches.steps_per_epoch == len(parts.unlabelled) / 6


def test_same_seed_and_step_same_batch(bk, data):
    a, b, c = (Batches(bk, *data, batch=5, seed=seed) for seed in (1, 1, 2))
    a.at(0)
    first, same, other, next_one = a.at(3), b.at(3), c.at(3), b.at(4)
    assert (first.x_unlabelled == same.x_unlabelled).all()
    assert (first.x_labelled == same.x_labelled).all()
    assert (first.y == same.y).all()
    assert not (first.x_unlabelled == other.x_unlabelled).all()
    assert not (first.x_unlabelled == next_one.x_unlabelled).all()


def test_fewer_labelled_examples_than_unlabelled_ones(bk, data):
    batches = Batches(bk, *data, batch=6, labelled_batch=2)
    assert (batches.at(0).x_labelled.shape, batches.at(0).y.shape) == ((2, 784), (2,))
    assert batches.at(0).x_unlabelled.shape == (6, 784)
    whole = Batches(bk, *data, batch=6, binarize="none").at(0)
    fewer = Batches(bk, *data, batch=6, labelled_batch=2, binarize="none").at(0)
    assert (fewer.x_unlabelled == whole.x_unlabelled).all()


def test_both_halves_of_a_batch_are_shifted(bk, data):
    still = Batches(bk, *data, batch=8, binarize="none").at(0)
    moved = Batches(bk, *data, batch=8, binarize="none", shift=2).at(0)
    for name in ("x_labelled", "x_unlabelled"):
        assert not (getattr(still, name) == getattr(moved, name)).all()
    assert (still.y == moved.y).all()
