"""The semi-supervised split: a few labelled images a class, many unlabelled, a validation set, the test set.

The default is the one usual on MNIST: 100 labelled, 49,900 unlabelled, 10,000 validation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gsbench.data.base import TEST, TRAIN, VALIDATION, Dataset, check_seed, raw_bits
from gsbench.values import SettingError

TRAIN_PER_VALIDATION = 6  # one train image in six goes to validation where the data set has no part for it


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into the `images` of a data set: int64, ascending, disjoint, read-only; together all images."""

    labelled: np.ndarray  # [n a class · K]
    unlabelled: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        for indices in (self.labelled, self.unlabelled, self.validation, self.test):
            indices.flags.writeable = False


def split(
    dataset: Dataset, labelled_per_class: int = 10, n_validation: int | None = None, seed: int = 0
) -> Split:
    """Split the train part into exactly `labelled_per_class` labelled a class, validation, and the rest.

    `n_validation` images are taken from the train part, from each class its share (largest remainder). None
    stands for the data set's own validation part where it has one, which then leaves the train part alone,
    else for one sixth. The random order of a class depends on the seed and the class alone, so with the same
    validation set fewer labels are a subset of more.
    Raises ValueError where a class has too few images, or where `n_validation` contradicts an own validation
    part.
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
    """int64 [K]: how many train images of each class go to validation."""
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
    """Share n out in proportion to counts [K]: rounded down, what is left to the largest remainders."""
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
