"""A user's own data, from a function that makes examples.

    def minibatch(n_classes, size, rng):
        y = rng.integers(n_classes, size=size)
        return means[y] + rng.normal(size=(size, 2)), y      # x [size, …], y int [size]

    DATASETS.register(own_data("blobs", minibatch, n_inputs=2))
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from gsbench.data.base import TEST, TRAIN, VALIDATION, Dataset, DataSource, Folder, Whereabouts, check_n_classes

MakeExamples = Callable[[int, int, np.random.Generator], "tuple[np.ndarray, np.ndarray]"]

EXAMPLES = {TRAIN: 20_000, VALIDATION: 4_000, TEST: 4_000}  # that the function is asked for, at least
OF_A_CLASS = {TRAIN: 100, VALIDATION: 20, TEST: 20}  # and at least so many for each class
SEED = 0


def own_data(
    name: str, make: MakeExamples, n_inputs: int, most_classes: int | None = None, default_classes: int = 10,
    doc: str | None = None, licence: str = "yours", version: str = "1",
) -> DataSource:  # fmt: skip
    """A data set of a user's function, to be registered: `DATASETS.register(own_data("mine", make, n_inputs=2))`.

    make          (K, size, rng) → examples [size, …] and their classes int [size]. Examples of uint8 [size, H, W] are
                  images, which may be binarised; all others become float32 and stay as they are
    n_inputs      D_x, the numbers of an example
    most_classes  the largest K; None: any
    """
    if not callable(make):
        raise ValueError(f"data set {name!r} needs a function of K, size and a generator, got {make!r}")

    def load(n_classes: int, folder: Folder, seed: int) -> Dataset:
        check_n_classes(name, n_classes, most_classes)
        rng = np.random.default_rng(SEED)
        made = [_made(name, make, n_classes, part, n_inputs, rng) for part in EXAMPLES]
        return Dataset(
            name=name,
            version=version,
            images=np.concatenate([x for x, _ in made]),
            labels=np.concatenate([y for _, y in made]),
            part=np.repeat(np.array([*EXAMPLES], np.uint8), [len(y) for _, y in made]),
            class_names=tuple(map(str, range(n_classes))),
            licence=licence,
            source="made by a function of the user",
        )

    return DataSource(
        name=name,
        load=load,
        count=lambda folder: most_classes,
        default=lambda folder: min(default_classes, most_classes or default_classes),
        find=lambda folder: Whereabouts("made", "made by a function of yours"),
        doc=doc or make.__doc__ or "A data set of yours.",
        licence=licence,
        n_inputs=n_inputs,
    )


def _made(
    name: str, make: MakeExamples, n_classes: int, part: int, n_inputs: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The examples of a part. Raises ValueError that says what the function returned and what is needed."""
    size = max(EXAMPLES[part], OF_A_CLASS[part] * n_classes)
    x, y = map(np.asarray, make(n_classes, size, rng))
    wanted = f"the function of data set {name!r} must return {size} examples of {n_inputs} numbers and {size} classes"
    if len(x) != size or math.prod(x.shape[1:]) != n_inputs or y.shape != (size,):
        raise ValueError(f"{wanted}, got arrays {x.shape} and {y.shape}")
    if not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{wanted}, these as integers, got {y.dtype}")
    is_image = x.dtype == np.uint8 and x.ndim == 3
    x = x if is_image else x.astype(np.float32)
    if not is_image and not np.isfinite(x).all():
        raise ValueError(f"{wanted}, all finite; it returned infinities or NaN")
    return x, y.astype(np.int64)
