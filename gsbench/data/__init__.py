"""Data sets, one small file each, and their semi-supervised split.

`DATASETS` names them. A new data set needs a file with a function that returns a `Dataset`, and an entry below.
"""

from __future__ import annotations

from pathlib import Path

from gsbench.data import glyphs, mnist, omniglot, synthetic
from gsbench.data.base import TEST, TRAIN, VALIDATION, DataFileError, Dataset, DataSource, Folder, Whereabouts
from gsbench.data.glyphs import count_glyphs, find_glyphs, load_glyphs
from gsbench.data.locations import data_folder
from gsbench.data.mnist import FASHION_MNIST, MNIST, IdxSet, find_idx_set, load_idx_set
from gsbench.data.omniglot import count_omniglot, find_omniglot, load_omniglot
from gsbench.data.split import Split, split
from gsbench.data.synthetic import load_synthetic
from gsbench.registry import Registry, instance_fault
from gsbench.values import SettingError, not_known


def _ten(folder: Folder) -> int:
    folder()  # raises if the data folder that the user named is not a folder, before any work
    return 10


def _idx_source(name: str, idx_set: IdxSet) -> DataSource:
    return DataSource(
        name=name,
        load=lambda k, folder, seed: load_idx_set(idx_set, k, folder()),
        count=_ten,
        default=_ten,
        find=lambda folder: find_idx_set(idx_set, folder()),
        doc=mnist.__doc__,
        licence=idx_set.licence,
    )


DATASETS: Registry[DataSource] = Registry(
    "data set",
    (
        DataSource(
            name="glyphs",
            load=lambda k, folder, seed: load_glyphs(k),
            count=lambda folder: count_glyphs(),
            default=lambda folder: 10,
            find=lambda folder: find_glyphs(),
            doc=glyphs.__doc__,
            licence=glyphs.LICENCE,
        ),
        _idx_source("mnist", MNIST),
        _idx_source("fashion-mnist", FASHION_MNIST),
        DataSource(
            name="omniglot",
            load=lambda k, folder, seed: load_omniglot(k, folder()),
            count=lambda folder: count_omniglot(folder()),
            default=lambda folder: count_omniglot(folder()),
            find=lambda folder: find_omniglot(folder()),
            doc=omniglot.__doc__,
            licence=omniglot.LICENCE,
        ),
        DataSource(
            name="synthetic",
            load=lambda k, folder, seed: load_synthetic(k, seed),
            count=lambda folder: None,
            default=lambda folder: 10,
            find=lambda folder: Whereabouts("made", "made here whenever it is read"),
            doc=synthetic.__doc__,
            licence=synthetic.LICENCE,
        ),
    ),
    instance_fault(DataSource),
)


def load_dataset(
    name: str, n_classes: int | None = None, *, data_dir: str | Path | None = None, seed: int = 0
) -> Dataset:
    """The data set `name` with its first `n_classes` classes.

    `n_classes` None: 10 classes of glyphs and synthetic, all classes of the other sets. `data_dir` None: the folder
    that the environment variable GSBENCH_DATA names, if it is set. Only `synthetic` depends on `seed`.
    Raises ValueError for an unknown name or more classes than the set has, FileNotFoundError for a missing
    folder or file, DataFileError for a damaged file, ConnectionError if a download fails.
    """
    source, folder = _source(name), _folder(data_dir)
    return source.load(source.default(folder) if n_classes is None else n_classes, folder, seed)


def count_classes(name: str, data_dir: str | Path | None = None) -> int | None:
    """The largest number of classes that `load_dataset` accepts, or None if it accepts any number.

    No image is read or made. Raises the errors of `load_dataset`.
    """
    return _source(name).count(_folder(data_dir))


def default_classes(name: str, data_dir: str | Path | None = None) -> int:
    """The number of classes that `load_dataset` returns without `n_classes`. Raises the same errors."""
    return _source(name).default(_folder(data_dir))


def find_dataset(name: str, data_dir: str | Path | None = None) -> Whereabouts:
    """Where `load_dataset` would take the data set from. Nothing is read, made or downloaded.

    Raises ValueError for an unknown name, FileNotFoundError if the data folder is not a folder.
    """
    return _source(name).find(_folder(data_dir))


def _source(name: str) -> DataSource:
    if name not in DATASETS:
        raise SettingError("{dataset}", f": unknown data set {not_known(name, DATASETS)}")
    return DATASETS[name]


def _folder(data_dir: str | Path | None) -> Folder:
    """`data_dir` is checked at once. The environment's folder is checked only when a data set reads it: the variable
    may have been set long ago for something else.
    """
    if data_dir is None:
        return data_folder
    folder = data_folder(data_dir)
    return lambda: folder


__all__ = [
    "DATASETS",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "DataFileError",
    "DataSource",
    "Dataset",
    "Split",
    "Whereabouts",
    "count_classes",
    "default_classes",
    "find_dataset",
    "load_dataset",
    "split",
]
