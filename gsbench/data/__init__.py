"""Data sets, one small file each, and their semi-supervised split.

`DATASETS` names them. Adding one takes a file with a function that gives a `Dataset`, and a line below.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gsbench.data.base import TEST, TRAIN, VALIDATION, DataFileError, Dataset, DataSource
from gsbench.data.glyphs import count_glyphs, load_glyphs
from gsbench.data.locations import data_folder
from gsbench.data.mnist import FASHION_MNIST, MNIST, load_idx_set
from gsbench.data.omniglot import count_omniglot, load_omniglot
from gsbench.data.split import Split, split
from gsbench.data.synthetic import load_synthetic


def _always(n: int) -> Callable[[Path | None], int]:
    return lambda folder: n


DATASETS: dict[str, DataSource] = {
    "glyphs": DataSource(lambda k, folder, seed: load_glyphs(k), _always(count_glyphs()), _always(10)),
    "mnist": DataSource(lambda k, folder, seed: load_idx_set(MNIST, k, folder), _always(10), _always(10)),
    "fashion-mnist": DataSource(
        lambda k, folder, seed: load_idx_set(FASHION_MNIST, k, folder), _always(10), _always(10)
    ),
    "omniglot": DataSource(
        lambda k, folder, seed: load_omniglot(k, folder), count_omniglot, default=count_omniglot
    ),
    "synthetic": DataSource(
        lambda k, folder, seed: load_synthetic(k, seed), count=lambda folder: None, default=_always(10)
    ),
}


def load_dataset(
    name: str, n_classes: int | None = None, *, data_dir: str | Path | None = None, seed: int = 0
) -> Dataset:
    """The data set `name` with its first `n_classes` classes.

    `n_classes` None: 10 of glyphs and synthetic, all of the others. `data_dir` None: the folder named by the
    environment variable GSBENCH_DATA, if any. `seed` matters to `synthetic` only: the others are fixed sets.
    Raises ValueError for an unknown name or more classes than there are, FileNotFoundError for a missing
    folder or file, DataFileError for a damaged file, ConnectionError where a download fails.
    """
    source, folder = _source(name), data_folder(data_dir)
    return source.load(source.default(folder) if n_classes is None else n_classes, folder, seed)


def count_classes(name: str, data_dir: str | Path | None = None) -> int | None:
    """The most classes that `load_dataset` can give, or None where any number can be had.

    No image is read or made. Raises as `load_dataset` does.
    """
    return _source(name).count(data_folder(data_dir))


def default_classes(name: str, data_dir: str | Path | None = None) -> int:
    """How many classes `load_dataset` gives where no number is named. Raises as it does."""
    return _source(name).default(data_folder(data_dir))


def _source(name: str) -> DataSource:
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name]


__all__ = [
    "DATASETS",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "DataFileError",
    "DataSource",
    "Dataset",
    "Split",
    "count_classes",
    "default_classes",
    "load_dataset",
    "split",
]
