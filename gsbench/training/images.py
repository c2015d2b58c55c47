"""Images from a trained model: reconstructions, analogies and samples, as grids of pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gsbench.data import DataFileError
from gsbench.data.locations import read_arrays
from gsbench.files import write_whole
from gsbench.models import Draws, Labels, Model

MOST_CLASSES = 20  # shown if no classes are named
NAMES = ("originals", "reconstructions", "analogies", "samples", "classes")


def image_grids(
    model: Model,
    x: np.ndarray,
    labels: np.ndarray | None = None,
    seed: int = 0,
    n_images: int = 10,
    n_samples: int = 10,
    classes: Sequence[int] | None = None,
    draws_of_a: int = 10,
) -> dict[str, np.ndarray]:
    """Grids of images, as NumPy arrays of uint8: 0 is paper, 255 is full ink.

    originals        [n, H, W]     rows of x
    reconstructions  [n, H, W]     each original decoded from its own class ŷ and its own z
    analogies        [n, C, H, W]  each original decoded from its own z and every class shown
    samples          [m, C, H, W]  one z ~ N(0, I) for each row, with every class shown
    classes          int [C]       the numbers of the classes shown

    A decoded pixel is its mean under p(x|y,z), 255 σ(logit). ŷ is the argmax of q(y|a,x), averaged over `draws_of_a`
    draws of a. z is the mean of q(z|a,x,ŷ), with a at the mean of q(a|x). The seed enters through ŷ and the samples
    alone; samples of one seed have the same z for every x. Batch norm uses its running averages.

    x          pixels [n', D_x] in [0, 1], D_x a square number
    labels     int [n'] of x, or None. The rows shown are evenly spaced in x, which is first sorted by labels if given
    n_images   n; all of x if it has fewer rows
    n_samples  m
    classes    the classes shown; None: at most 20, evenly spaced among the K

    Raises ValueError if no images can be made from these arguments.
    """
    bk, config, side = model.bk, model.config, _side(model.config.n_pixels)
    shown = _classes_shown(config.n_classes, classes)
    _check_counts(n_images=n_images, n_samples=n_samples, draws_of_a=draws_of_a)
    x = x[_rows_shown(x, labels, n_images)]
    rng = bk.generator(seed)
    with model.evaluating():
        z_prior = bk.normal(rng, (1, 1, n_samples, config.d_z))
        pixels = bk.array(x)
        y = Labels(bk.integers(bk.to_numpy(model.q_y(pixels, rng, draws_of_a)).argmax(axis=1)))
        z = model.encode(pixels, y)  # [1, 1, n, D_z]
        every = Draws(bk.integers(shown)[None, :, None])  # the same for all examples
        reconstructions, analogies, samples = (
            _mean_pixels(bk.to_numpy(model.decode(y_shown, z_shown)))[0]
            for y_shown, z_shown in ((y, z), (every, z), (every, z_prior))
        )
    return {
        "originals": _bytes(x).reshape(-1, side, side),
        "reconstructions": _bytes(reconstructions).reshape(-1, side, side),
        "analogies": _bytes(analogies.swapaxes(0, 1)).reshape(-1, len(shown), side, side),
        "samples": _bytes(samples.swapaxes(0, 1)).reshape(-1, len(shown), side, side),
        "classes": shown,
    }


def write_images(path: Path, grids: Mapping[str, np.ndarray]) -> None:
    """Writes the result of `image_grids` into an .npz file, completely or not at all."""
    arrays: dict[str, Any] = {name: grids[name] for name in NAMES}
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))


def read_images(path: Path) -> dict[str, np.ndarray]:
    """The grids that `write_images` wrote.

    Raises FileNotFoundError if there is no such file, and DataFileError if it is damaged, lacks an array, or holds an
    array of the wrong shape or dtype.
    """
    grids = read_arrays(path, NAMES)
    shapes = {name: grids[name].shape for name in NAMES}
    n, m, shown = (shapes[name][:1] for name in ("originals", "samples", "classes"))
    side = shapes["originals"][1:]
    expected = {
        "originals": (*n, *side),
        "reconstructions": (*n, *side),
        "analogies": (*n, *shown, *side),
        "samples": (*m, *shown, *side),
        "classes": shown,
    }
    pixels_are_bytes = all(grids[name].dtype == np.uint8 for name in NAMES if name != "classes")
    if shapes != expected or len(side) != 2 or not pixels_are_bytes or not all(map(math.prod, shapes.values())):
        told = ", ".join(f"{name} {grids[name].dtype}{list(shape)}" for name, shape in shapes.items())
        raise DataFileError(f"{path} is damaged or not of the right form: it holds {told}")
    return grids


def _side(n_pixels: int) -> int:
    side = math.isqrt(n_pixels)
    if side * side != n_pixels:
        raise ValueError(f"images are square here: n_pixels must be a square number such as 784, got {n_pixels}")
    return side


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be >= 1, got {count}")


def _evenly(n: int, most: int) -> np.ndarray:
    """At most `most` of the numbers 0, …, n − 1: the middles of equal intervals. int [min(n, most)]"""
    count = min(n, most)
    return (2 * np.arange(count) + 1) * n // (2 * max(count, 1))


def _classes_shown(n_classes: int, classes: Sequence[int] | None) -> np.ndarray:
    if classes is None:
        return _evenly(n_classes, MOST_CLASSES)
    shown = np.array(classes, dtype=np.int64)
    if shown.ndim != 1 or not shown.size or shown.min() < 0 or shown.max() >= n_classes:
        raise ValueError(f"classes must be one or more of 0 to {n_classes - 1}, got {list(classes)}")
    return shown


def _rows_shown(x: np.ndarray, labels: np.ndarray | None, n_images: int) -> np.ndarray:
    """The numbers of the rows of x that are shown. No draw is involved, so that all seeds show the same rows."""
    if not len(x):
        raise ValueError("there are no images to show: x must have at least one row")
    if labels is None:
        return _evenly(len(x), n_images)
    if len(labels) != len(x):
        raise ValueError(f"labels must be one for each row of x, {len(x)}, got {len(labels)}")
    rows: np.ndarray = np.argsort(labels, kind="stable")[_evenly(len(x), n_images)]
    return rows


def _mean_pixels(logits: np.ndarray) -> np.ndarray:
    """σ(l) = (1 + tanh(l/2))/2, which cannot overflow."""
    return (1 + np.tanh(logits.astype(np.float64) / 2)) / 2


def _bytes(pixels: np.ndarray) -> np.ndarray:
    """Pixels in [0, 1] as uint8, rounded."""
    return np.rint(255 * pixels.astype(np.float64)).astype(np.uint8)
