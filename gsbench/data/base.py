"""The `Dataset` record that every data set returns, and the checks that all data sets share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

TRAIN, VALIDATION, TEST = 0, 1, 2


class DataFileError(ValueError):
    """A data file is truncated, altered, or has the wrong form. The message names the file."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images, or other examples, with their labels, complete and read-only.

    Every class 0 … K-1 has at least one image in the train part. The arrays that are passed in become read-only.
    Raises ValueError if a dtype, a shape, a label or a part is not as stated below.
    """

    name: str
    version: str
    images: np.ndarray  # uint8 [n, H, W], 0 is the paper and 255 is full ink; or float32 [n, …], taken as they are
    labels: np.ndarray  # int64 [n], 0 … K-1
    part: np.ndarray  # uint8 [n], TRAIN, VALIDATION or TEST
    class_names: tuple[str, ...]  # [K]
    licence: str
    source: str

    def __post_init__(self) -> None:
        if self.is_pixels:
            _check_form(self.name, "images", self.images, np.uint8, 3)
        _check_form(self.name, "labels", self.labels, np.int64, 1)
        _check_form(self.name, "part", self.part, np.uint8, 1)
        _check_values(self)
        for array in (self.images, self.labels, self.part):
            array.flags.writeable = False

    @property
    def is_pixels(self) -> bool:
        """Whether the examples are images of uint8, which are divided by 255 and may be binarised."""
        return self.images.dtype != np.float32

    @property
    def is_square(self) -> bool:
        """Whether the examples are square images."""
        return self.is_pixels and self.images.shape[1] == self.images.shape[2]

    @property
    def n_classes(self) -> int:
        """The number K of classes."""
        return len(self.class_names)

    @cached_property
    def checksum(self) -> str:
        """The first 16 hex digits of the SHA-256 over the bytes of images, labels (little-endian) and part."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        digest.update(np.ascontiguousarray(self.part).data)
        return digest.hexdigest()[:16]

    @property
    def record_fields(self) -> dict[str, str]:
        """The fields of a record about the data, besides their name."""
        return {"dataset_version": self.version, "dataset_checksum": self.checksum}

    def first_classes(self, n_classes: int) -> Dataset:
        """The same data set with the images of the classes 0 … n_classes − 1 only."""
        check_n_classes(self.name, n_classes, self.n_classes)
        if n_classes == self.n_classes:
            return self
        keep = self.labels < n_classes
        return replace(
            self,
            images=self.images[keep],
            labels=self.labels[keep],
            part=self.part[keep],
            class_names=self.class_names[:n_classes],
        )


Folder = Callable[[], Path | None]  # returns the data folder, or None if none is named; raises if it is not a folder


@dataclass(frozen=True)
class Whereabouts:
    """Where a data set's images come from on this machine.

    state   "made": gsbench makes them here; "present": they are read from files on this machine; "download": they are
            fetched when they are first read; "missing": the user must do something first
    text    where they are, or what to do
    """

    state: str
    text: str


@dataclass(frozen=True)
class DataSource:
    """How the registry loads one data set.

    The functions take `Folder`, not a path: a data folder that does not exist must not stop a data set that needs none.
    """

    name: str
    load: Callable[[int, Folder, int], Dataset]  # (n_classes, folder, seed)
    count: Callable[[Folder], int | None]  # the most classes that it has, None = any number
    default: Callable[[Folder], int]  # the number of classes if the user names none
    find: Callable[[Folder], Whereabouts]  # reads, makes and downloads nothing
    doc: str | None  # the first sentence says what the data set is
    licence: str
    n_inputs: int = 28 * 28  # D_x, the numbers of an example


def check_n_classes(name: str, n_classes: int, most: int | None) -> None:
    """Raise ValueError unless 2 <= n_classes <= most (`most` None: no upper limit)."""
    if n_classes < 2:
        raise ValueError(f"n_classes must be at least 2, got {n_classes}")
    if most is not None and n_classes > most:
        raise ValueError(f"data set {name!r} has {most} classes, got n_classes={n_classes}")


def check_seed(seed: int) -> None:
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")


def raw_bits(purpose: str, *key: int, size: int) -> np.ndarray:
    """uint64 [size]: raw output of PCG64. NumPy promises never to change this stream.

    The purpose and the key select the stream, so that two purposes never share random bits.
    The methods of `numpy.random.Generator` carry no such promise, so data sets and splits use these bits instead.
    """
    seed = np.random.SeedSequence([int.from_bytes(purpose.encode(), "big"), *key])
    return np.random.PCG64(seed).random_raw(size)


def _check_form(name: str, what: str, array: np.ndarray, dtype: type, ndim: int) -> None:
    if array.dtype != dtype or array.ndim != ndim:
        wanted = f"{np.dtype(dtype)} with {ndim} dimension(s)"
        raise ValueError(f"{what} of data set {name!r} must be {wanted}, got {array.dtype} {array.shape}")


def _check_values(data: Dataset) -> None:
    lengths = [len(data.images), len(data.labels), len(data.part)]
    if len(set(lengths)) != 1:
        raise ValueError(f"images, labels and part of data set {data.name!r} differ in length: {lengths}")
    if data.part.max(initial=0) > TEST:
        raise ValueError(f"part of data set {data.name!r} must be 0, 1 or 2, got {data.part.max()}")
    if data.labels.min(initial=0) < 0 or data.labels.max(initial=0) >= data.n_classes:
        span = f"{data.labels.min()} … {data.labels.max()}"
        raise ValueError(f"labels of data set {data.name!r} must be 0 … {data.n_classes - 1}, got {span}")
    counts = np.bincount(data.labels[data.part == TRAIN], minlength=data.n_classes)
    if not counts.all():
        raise ValueError(f"data set {data.name!r} has no train image of class {np.argmin(counts)}")
