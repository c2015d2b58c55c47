"""`omniglot`: handwritten characters of many alphabets, each drawn by 20 people (Lake et al., 2015).

The file `omniglot/omniglot28.npz` in the data folder contains, for n images of C characters,
  images       uint8 [n, H, W], 0 is the paper;
  labels       integers [n], 0 … C-1;
  class_names  strings [C], "Alphabet/characterNN";
  drawers      integers [n], 1 … 20: who drew the image.

The parts have different drawers (1-12 train, 13-16 validation, 17-20 test), so that a model is tested on
the handwriting of people whom it has not seen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gsbench.data.base import TEST, TRAIN, VALIDATION, DataFileError, Dataset, Whereabouts, check_n_classes
from gsbench.data.locations import HOW_TO_NAME, read_arrays

NAME = "omniglot"
VERSION = "1"
FILE = Path("omniglot") / "omniglot28.npz"
ARRAYS = ("images", "labels", "class_names", "drawers")
LAST_TRAIN, LAST_VALIDATION, LAST_DRAWER = 12, 16, 20
LICENCE = "MIT (Brenden Lake, 2015)"
SOURCE = "https://github.com/brendenlake/omniglot"


def load_omniglot(n_classes: int, folder: Path | None = None) -> Dataset:
    """The first `n_classes` characters of the file in the data folder.

    Raises FileNotFoundError if the file is missing, DataFileError if it is damaged or does not have the form
    above, ValueError if K is below 2 or above the number of characters.
    """
    path = _path(folder)
    arrays = read_arrays(path, ARRAYS)
    names = _names(path, arrays)
    check_n_classes(NAME, n_classes, len(names))
    try:
        labels, drawers = _integers(arrays, "labels"), _integers(arrays, "drawers")
        whole = Dataset(NAME, VERSION, arrays["images"], labels, _part(drawers), names, LICENCE, SOURCE)
        if whole.images.shape[1:] != (28, 28):
            raise ValueError(f"images must be [n, 28, 28], got {list(whole.images.shape)}")
    except ValueError as error:
        raise DataFileError(f"{path} is not of the right form: {error}") from error
    return whole.first_classes(n_classes)


def count_omniglot(folder: Path | None = None) -> int:
    """The number of characters in the file. Only their names are read."""
    path = _path(folder)
    return len(_names(path, read_arrays(path, ["class_names"], besides=ARRAYS)))


def find_omniglot(folder: Path | None = None) -> Whereabouts:
    try:
        return Whereabouts("present", str(_path(folder)))
    except FileNotFoundError as error:
        return Whereabouts("missing", f"{error}; its format: python -m pydoc gsbench.data.omniglot")


def _path(folder: Path | None) -> Path:
    if folder is None:
        raise FileNotFoundError(f"omniglot is read from the data folder: {HOW_TO_NAME}, with {FILE} in it")
    if not (folder / FILE).is_file():
        raise FileNotFoundError(f"there is no {FILE} in the data folder {folder}")
    return folder / FILE


def _names(path: Path, arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    names = arrays["class_names"]
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataFileError(
            f"{path} is not of the right form: class_names must be strings with 1 dimension, got {names.dtype} "
            f"{names.shape}"
        )
    return tuple(map(str, names))


def _integers(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if arrays[name].dtype.kind not in "iu" or arrays[name].ndim != 1:
        raise ValueError(f"{name} must be integers with 1 dimension, got {arrays[name].dtype} {arrays[name].shape}")
    return arrays[name].astype(np.int64)


def _part(drawers: np.ndarray) -> np.ndarray:
    """uint8 [n]: the part of each image, which depends on its drawer."""
    if drawers.min(initial=1) < 1 or drawers.max(initial=1) > LAST_DRAWER:
        raise ValueError(f"drawers must be 1 … {LAST_DRAWER}, got {drawers.min()} … {drawers.max()}")
    part = np.select([drawers <= LAST_TRAIN, drawers <= LAST_VALIDATION], [TRAIN, VALIDATION], TEST)
    return part.astype(np.uint8)
