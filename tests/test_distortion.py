"""Distorted images: the effect of a random map on points and on the amount of ink."""

import numpy as np
import pytest

from gsbench.training.distortion import LOG_SCALE, SHEAR, SHIFT, TURN, distorted, shifted


def blob(row, column):
    """A soft dot, uint8 [28, 28]."""
    at = np.arange(28)
    return (255 * np.exp(-((at[:, None] - row) ** 2 + (at - column) ** 2) / 8)).astype(np.uint8)


def centres(images):
    """[n, 2]: rows and columns of the centres of mass, from the middle of the image."""
    ink = images.astype(float)
    at, whole = np.arange(28) - 13.5, ink.sum(axis=(1, 2))
    return np.stack([(ink * at[:, None]).sum(axis=(1, 2)) / whole, (ink * at).sum(axis=(1, 2)) / whole], -1)


class Fixed:
    """A generator whose uniform draws are these six numbers: turn, shear, two scales, down, right."""

    def __init__(self, *values):
        self.values = np.array(values, float)

    def uniform(self, low, high, shape):
        assert (low, high) == (-1, 1)
        return np.repeat(self.values[:, None], shape[1], axis=1)


@pytest.mark.parametrize("amount", [1.0, 0.5])
@pytest.mark.parametrize("which", range(6))
def test_each_draw_does_its_own(which, amount):
    places = np.array([[3.0, 5.0], [-4.0, 2.0]])  # from the middle: down, right
    images = np.stack([blob(13.5 + r, 13.5 + c) for r, c in places])
    values = np.zeros(6)
    values[which] = 1.0
    found = centres(distorted(images, amount, Fixed(*values)))
    angle, factor = amount * TURN, np.exp(amount * LOG_SCALE)
    back = {  # from a pixel of the result to its place in the image
        0: np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]),
        1: np.array([[1, 0], [amount * SHEAR, 1]]),
        2: np.diag([factor, 1]),
        3: np.diag([1, factor]),
    }.get(which, np.eye(2))
    offset = amount * SHIFT * np.array([which == 4, which == 5])
    expected = np.linalg.solve(back, (places - offset).T).T
    np.testing.assert_allclose(found, expected, atol=0.15)


def test_amount_zero_leaves_images_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    assert (distorted(images, 0.0, np.random.default_rng(1)) == images).all()


def test_each_image_has_a_map_of_its_own_and_paper_comes_in():
    images = np.repeat(blob(13.5, 20.0)[None], 50, axis=0)
    made = distorted(images, 1.0, np.random.default_rng(0))
    assert (made.dtype, made.shape) == (np.uint8, images.shape)
    assert len(np.unique(made, axis=0)) == 50
    inked = distorted(np.full((20, 28, 28), 200, np.uint8), 1.0, np.random.default_rng(0))
    assert (inked == 0).any()
    assert inked.max() <= 200


def test_the_same_seed_gives_the_same_images():
    images = np.repeat(blob(10, 12)[None], 5, axis=0)
    first, again, other = (distorted(images, 1.0, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first == again).all()
    assert not (first == other).all()


def test_images_are_shifted_and_paper_comes_in():
    image = np.zeros((1, 7, 5), np.uint8)
    image[0, 3, 2] = 9
    rng = np.random.default_rng(0)
    moved = shifted(np.repeat(image, 2000, axis=0), 2, rng)
    assert (moved.shape, moved.dtype) == ((2000, 7, 5), np.uint8)
    _, rows, columns = np.nonzero(moved)
    places, counts = np.unique(np.stack([rows - 3, columns - 2]), axis=1, return_counts=True)
    assert {tuple(place) for place in places.T} == {(i, j) for i in range(-2, 3) for j in range(-2, 3)}
    assert counts.sum() == 2000  # nothing wraps round, nothing is lost
    assert counts.min() > 40  # 80 of each are expected
    edge = np.full((1, 3, 3), 7, np.uint8)
    assert {int(one.sum()) for one in shifted(np.repeat(edge, 200, axis=0), 1, rng)} == {63, 42, 28}
