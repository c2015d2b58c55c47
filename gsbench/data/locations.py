"""The folders in which data sets are looked for and kept, and the reader of .npz files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import platformdirs

from gsbench.data.base import DataFileError
from gsbench.data.npz import read_npz
from gsbench.values import expanded

DATA_VARIABLE = "GSBENCH_DATA"
CACHE_VARIABLE = "GSBENCH_CACHE"
HOW_TO_NAME = f"name the data folder by --data-dir (data_dir in Python) or the environment variable {DATA_VARIABLE}"


def data_folder(data_dir: str | Path | None = None) -> Path | None:
    """The folder that `data_dir` names, else the one that $GSBENCH_DATA names, else None.

    Raises FileNotFoundError if that is not a folder, ValueError for `~user` if there is no such user.
    """
    named_by, name = "--data-dir or data_dir", data_dir
    if name is None:
        named_by, name = f"${DATA_VARIABLE}", os.environ.get(DATA_VARIABLE) or None
    if name is None:
        return None
    folder = expanded(name, named_by)
    if not folder.is_dir():
        raise FileNotFoundError(f"the data folder {str(folder)!r} (from {named_by}) is not a folder")
    return folder


def cache_folder() -> Path:
    """The folder for data sets that are made or downloaded: $GSBENCH_CACHE, else the user's cache folder."""
    return expanded(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("gsbench"), f"${CACHE_VARIABLE}")


def read_arrays(
    path: Path, names: Iterable[str] | None = None, besides: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The arrays `names` of an .npz file, or all of them. The file may also contain the arrays `besides`.

    The CRC-32 of each array is checked before the array is read: see `gsbench.data.npz`. Raises FileNotFoundError if
    there is no such file. Raises DataFileError, which names the file, if it is damaged, lacks an array or has others.
    """
    with open(path, "rb") as file:
        try:
            return read_npz(file, names, besides)
        except MemoryError:
            raise
        except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds of errors for a damaged file
            raise DataFileError(f"{path} is damaged or not of the right form: {error}") from error
