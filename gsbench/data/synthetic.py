"""`synthetic`: random images with random labels, at any number of classes.

It serves timing only, because there is nothing to learn: the time of a step depends on the number of classes, not on
the content of the images. Jang et al. (2017) timed training in this way.
"""

from __future__ import annotations

import numpy as np

from gsbench.data.base import TEST, TRAIN, Dataset, check_n_classes, check_seed, raw_bits
from gsbench.limits import available_bytes

NAME = "synthetic"
VERSION = "1"
LICENCE = "none needed: random numbers"
HEIGHT = WIDTH = 28
TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000  # of all classes together
FEWEST_TRAIN, FEWEST_TEST = 12, 1  # per class: 2 for validation and 10 labelled


def load_synthetic(n_classes: int, seed: int = 0) -> Dataset:
    """Uniform random images, 28×28, with random labels.

    Each class has 60,000 // K train images, at least 12, and 10,000 // K test images, at least 1,
    in random order. The same seed gives the same bytes.
    Raises ValueError if K is below 2 or the seed below 0.
    """
    check_n_classes(NAME, n_classes, None)
    check_seed(seed)
    n_train = n_classes * max(TRAIN_IMAGES // n_classes, FEWEST_TRAIN)
    n_test = n_classes * max(TEST_IMAGES // n_classes, FEWEST_TEST)
    needed, free = (n_train + n_test) * HEIGHT * WIDTH, available_bytes()
    if needed > free:
        raise MemoryError(f"the images of {NAME!r} need {needed} bytes, {free} are free")
    labels = [_labels(n_train, n_classes, seed, TRAIN), _labels(n_test, n_classes, seed, TEST)]
    return Dataset(
        name=NAME,
        version=VERSION,
        images=_images(n_train + n_test, seed),
        labels=np.concatenate(labels),
        part=np.repeat(np.array([TRAIN, TEST], np.uint8), [n_train, n_test]),
        class_names=tuple(str(k) for k in range(n_classes)),
        licence=LICENCE,
        source=f"made by gsbench with seed {seed}",
    )


def _images(n: int, seed: int) -> np.ndarray:
    """uint8 [n, 28, 28]; each raw number of 64 bits gives eight pixels."""
    bits = raw_bits("synthetic images", seed, size=n * HEIGHT * WIDTH // 8)
    return bits.astype("<u8", copy=False).view(np.uint8).reshape(n, HEIGHT, WIDTH)


def _labels(n: int, n_classes: int, seed: int, part: int) -> np.ndarray:
    """int64 [n]: each class n // K times, in random order."""
    order = np.argsort(raw_bits("synthetic labels", seed, part, size=n), kind="stable")
    return (order % n_classes).astype(np.int64)
