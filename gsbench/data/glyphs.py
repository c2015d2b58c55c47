"""`glyphs`, the default: images of 1,200 characters, made here from the fonts that matplotlib ships.

K may be any number from 2 to 1,200: the classes are the first K of a fixed list. The list begins with the digits, and
each further character is the one that is least like the characters before it. An image shows a character in a random
DejaVu face, under a random affine and elastic map and with random thickness. The set has a version but no seed: image i
of class k depends neither on K nor on the number of images. Train and test images come from separate random streams.

Difficulty: an MLP with one hidden layer and 10 labels a class classifies about 85 % correctly at K = 10 (77 % on
MNIST), 87 % at K = 100 and 71 % at K = 500. The nearest labelled image is right for 71 % at K = 10 (73 % on MNIST).
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from dataclasses import asdict
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from gsbench.data.base import TEST, TRAIN, DataFileError, Dataset, Whereabouts, check_n_classes
from gsbench.data.glyph_outlines import BOX, CHORDS, FACES, ROWS, SIZE, STEPS, draw_faces
from gsbench.data.glyph_sampling import WIDTH, Distortion, sample_class
from gsbench.data.locations import cache_folder, read_arrays
from gsbench.files import write_whole

log = logging.getLogger(__name__)

NAME = "glyphs"
VERSION = "1"  # increases with any change to the images; a test on their checksum shows one
DISTORTION = Distortion()
TRAIN_IMAGES, TEST_IMAGES = 60_000, 10_000  # of all classes together
FEWEST_TRAIN, FEWEST_TEST = 50, 10  # per class
LICENCE = "DejaVu Fonts Licence (Bitstream Vera and Arev terms; changes are in the public domain)"
SOURCE = "drawn by gsbench from the DejaVu fonts that matplotlib ships"


def load_glyphs(
    n_classes: int, *, train_per_class: int | None = None, test_per_class: int | None = None
) -> Dataset:
    """The first `n_classes` of 1,200 characters, 28×28, class by class: the train part, then the test part.

    `train_per_class` None: 60,000 // K, at least 50. `test_per_class` None: 10,000 // K, at least 10.
    The images are made in a few seconds and then kept in the cache folder.
    Raises ValueError if K is not 2 … 1,200 or a number of images is below 1.
    """
    check_n_classes(NAME, n_classes, count_glyphs())
    if train_per_class is None:
        train_per_class = max(TRAIN_IMAGES // n_classes, FEWEST_TRAIN)
    if test_per_class is None:
        test_per_class = max(TEST_IMAGES // n_classes, FEWEST_TEST)
    for what, n in (("train_per_class", train_per_class), ("test_per_class", test_per_class)):
        if n < 1:
            raise ValueError(f"{what} must be at least 1, got {n}")
    path = cache_path(n_classes, train_per_class, test_per_class)
    cached = _read_cached(path, n_classes, n_classes * (train_per_class + test_per_class), train_per_class)
    if cached is not None:
        return cached
    made = _dataset(_make_images(n_classes, train_per_class, test_per_class), n_classes, train_per_class)
    _keep(path, made)
    return made


def count_glyphs() -> int:
    return len(code_points())


def find_glyphs() -> Whereabouts:
    return Whereabouts("made", f"made here in seconds from the fonts that matplotlib ships, kept in {cache_folder()}")


@cache
def code_points() -> tuple[int, ...]:
    """The characters in class order."""
    lines = (files("gsbench.data") / "glyph_classes.txt").read_text(encoding="ascii").split("\n")
    return tuple(int(line[2:], 16) for line in lines if line.startswith("U+"))


def cache_path(n_classes: int, train_per_class: int, test_per_class: int) -> Path:
    """The file that keeps this set. Its name contains a hash of everything that the images depend on."""
    settings = {
        "version": VERSION,
        "sizes": [n_classes, train_per_class, test_per_class],
        "classes": code_points()[:n_classes],
        "faces": FACES,
        "raster": [SIZE, BOX, ROWS, STEPS, CHORDS, WIDTH],
        "distortion": asdict(DISTORTION),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / NAME / f"{NAME}-v{VERSION}-K{n_classes}-{digest}.npz"


def _make_images(n_classes: int, train_per_class: int, test_per_class: int) -> np.ndarray:
    """uint8 [K · (train + test), 28, 28]: the train images class by class, then the test images class by class."""
    images = np.empty((n_classes * (train_per_class + test_per_class), WIDTH, WIDTH), np.uint8)
    train, test = np.split(images, [n_classes * train_per_class])
    train = train.reshape(n_classes, train_per_class, WIDTH, WIDTH)
    test = test.reshape(n_classes, test_per_class, WIDTH, WIDTH)
    for k, code_point in enumerate(code_points()[:n_classes]):
        faces = draw_faces(code_point)
        train[k] = sample_class(faces, train_per_class, (TRAIN, k), DISTORTION)
        test[k] = sample_class(faces, test_per_class, (TEST, k), DISTORTION)
    return images


def _dataset(images: np.ndarray, n_classes: int, train_per_class: int) -> Dataset:
    n_train = n_classes * train_per_class
    classes = np.arange(n_classes, dtype=np.int64)
    test_labels = np.repeat(classes, (len(images) - n_train) // n_classes)
    labels = np.concatenate([np.repeat(classes, train_per_class), test_labels])
    part = np.full(len(images), TEST, np.uint8)
    part[:n_train] = TRAIN
    names = tuple(f"U+{code_point:04X}" for code_point in code_points()[:n_classes])
    return Dataset(NAME, VERSION, images, labels, part, names, LICENCE, SOURCE)


def _keep(path: Path, data: Dataset) -> None:
    """Writes the images and their checksum. A cache that cannot be written is only a warning: it costs time."""
    try:
        write_whole(path, lambda file: np.savez_compressed(file, images=data.images, checksum=data.checksum))
    except OSError as error:
        warnings.warn(f"the glyphs are not kept in the cache: {error}", RuntimeWarning, stacklevel=3)


def _read_cached(path: Path, n_classes: int, n_images: int, train_per_class: int) -> Dataset | None:
    """The set in the file `path`, or None if the file is missing or damaged. A remark says that it is damaged."""
    try:
        kept = read_arrays(path, ["images", "checksum"])
        images = kept["images"]
        if images.dtype != np.uint8 or images.shape != (n_images, WIDTH, WIDTH):
            raise DataFileError(f"{path} holds images of another form: {images.dtype} {images.shape}")
        data = _dataset(images, n_classes, train_per_class)
        if data.checksum != str(kept["checksum"]):
            raise DataFileError(f"{path} holds images that do not match its checksum")
    except FileNotFoundError:
        return None
    except (OSError, DataFileError) as error:
        log.info("the glyphs kept in the cache are made anew: %s", error)
        return None
    return data
