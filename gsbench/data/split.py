"""The semi-supervised split: a few labelled images a class, many unlabelled images, a validation set, the test set.

The default on MNIST is the usual split: 100 labelled, 49,900 unlabelled, 10,000 validation images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gsbench.data.base import TEST, TRAIN, VALIDATION, Dataset, check_seed, raw_bits
from gsbench.values import SettingError

TRAIN_PER_VALIDATION = 6  # one train image in six, if the data set has no validation part


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into the `images` of a data set: int64, ascending, disjoint, read-only. Together they are all images."""

    labelled: np.ndarray  # [labelled_per_class · K]
    unlabelled: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        for indices in (self.labelled, self.unlabelled, self.validation, self.test):
            indices.flags.writeable = False


def split(
    dataset: Dataset, labelled_per_class: int = 10, n_validation: int | None = None, seed: int = 0
) -> Split:
    """Splits the train part into validation, exactly `labelled_per_class` labelled images a class, and the rest.

    `n_validation` images of the train part become validation; each class gives its share (largest remainder).
    `n_validation` None: the data set's own validation part and no train image; without such a part, one sixth of the
    train part. The random order of a class depends only on the seed and the class. So a split with fewer labels has a
    subset of the labels of a split with more, if the validation sets are the same.
    Raises ValueError if a class has too few images or if `n_validation` contradicts the data set's own validation part.
    """
    if labelled_per_class < 1:
        raise ValueError(f"labelled_per_class must be at least 1, got {labelled_per_class}")
    check_seed(seed)
    train = np.flatnonzero(dataset.part == TRAIN)
    own_validation = np.flatnonzero(dataset.part == VALIDATION)
    counts = np.bincount(dataset.labels[train], minlength=dataset.n_classes)  # [K]
    taken = _validation_counts(dataset.name, counts, len(own_validation), n_validation)
    _check_enough(dataset.name, counts, taken, labelled_per_class)
    by_class = np.split(train[np.argsort(dataset.labels[train], kind="stable")], np.cumsum(counts)[:-1])
    shuffled = [_shuffle(indices, seed, k) for k, indices in enumerate(by_class)]
    cuts = [np.split(order, [v, v + labelled_per_class]) for order, v in zip(shuffled, taken, strict=True)]
    validation, labelled, unlabelled = zip(*cuts, strict=True)
    return Split(
        labelled=_join(labelled),
        unlabelled=_join(unlabelled),
        validation=_join([own_validation, *validation]),
        test=np.flatnonzero(dataset.part == TEST),
    )


def _validation_counts(name: str, counts: np.ndarray, n_own: int, n_validation: int | None) -> np.ndarray:
    """int64 [K]: the number of train images of each class that go to validation."""
    if n_own:
        if n_validation not in (None, n_own):
            raise ValueError(
                f"data set {name!r} has a validation part of its own with {n_own} images: "
                f"n_validation must be None or {n_own}, got {n_validation}"
            )
        return np.zeros_like(counts)
    total = int(counts.sum())
    n = total // TRAIN_PER_VALIDATION if n_validation is None else n_validation
    if not 0 <= n <= total:
        raise ValueError(f"n_validation must be 0 … {total}, the train images of {name!r}, got {n}")
    return _largest_remainder(counts, n)


def _largest_remainder(counts: np.ndarray, n: int) -> np.ndarray:
    """Distributes n in proportion to counts [K]: rounds down and gives the remainder to the largest fractions."""
    shares, remainders = np.divmod(counts * n, counts.sum())
    missing = n - int(shares.sum())
    shares[np.argsort(-remainders, kind="stable")[:missing]] += 1
    return shares


def _check_enough(name: str, counts: np.ndarray, taken: np.ndarray, labelled_per_class: int) -> None:
    left = counts - taken
    k = int(np.argmin(left))
    if left[k] < labelled_per_class:
        has = f"class {k} of {name!r} has {counts[k]} train images, of which {taken[k]} go to validation"
        raise SettingError("{labelled_per_class}", f"={labelled_per_class} is more than there are: {has}")


def _shuffle(indices: np.ndarray, seed: int, k: int) -> np.ndarray:
    return indices[np.argsort(raw_bits("split", seed, k, size=len(indices)), kind="stable")]


def _join(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return np.sort(np.concatenate(pieces))
