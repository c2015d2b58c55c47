"""The random streams of a run's seed, and the minibatches that feed its steps."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from gsbench.backends.base import Array, Backend
from gsbench.data import Dataset, Split
from gsbench.training.distortion import distorted, shifted

# The streams of a run's seed. Draws from one stream never change the draws from another.
PARAMETERS, NOISE, LABELLED, UNLABELLED, BINARIZATION, EVALUATION, FIXED_NOISE, DRAWS_OF_Y = range(8)


def stream_seed(seed: int, stream: int, *position: int) -> int:
    """The seed of a stream of the run, or of a position in it such as a step. Position 0 has the stream's own seed."""
    return int(np.random.SeedSequence([seed, stream, *position]).generate_state(1, np.uint64)[0])


def pixels(images: np.ndarray, binarize: str, rng: np.random.Generator) -> np.ndarray:
    """Images uint8 [n, H, W] as float32 [n, H·W]: pixels/255 for "none", Bernoulli draws from these for "dynamic".

    Examples of float32 [n, …] stay as they are, as [n, D_x].
    """
    if images.dtype == np.float32:
        return images.reshape(len(images), -1)
    x = images.reshape(len(images), -1).astype(np.float32) / 255
    return x if binarize == "none" else (rng.random(x.shape, dtype=np.float32) < x).astype(np.float32)


class Order:
    """The order in which a run sees the entries of `index`: shuffled passes, one directly after another.

    A step's minibatch depends only on the seed and the step's number, so that a run can resume at any step.
    """

    def __init__(self, index: np.ndarray, batch: int, seed: int, stream: int) -> None:
        if len(index) == 0:
            raise ValueError("there are no examples to make minibatches of")
        self._index, self._batch = index, batch
        self._key = (seed, stream)
        # A batch that is larger than the set spans several passes.
        self._pass = functools.lru_cache(maxsize=2)(self._shuffle)

    def _shuffle(self, number: int) -> np.ndarray:
        return np.random.default_rng(stream_seed(*self._key, number)).permutation(self._index)

    def at(self, step: int) -> np.ndarray:
        """The entries of the minibatch of a step, 0, 1, …"""
        n, start = len(self._index), step * self._batch
        first, last = start // n, (start + self._batch - 1) // n
        passes = np.concatenate([self._pass(number) for number in range(first, last + 1)])
        return passes[start - first * n :][: self._batch]


@dataclass(frozen=True)
class Batch:
    """The data of a step, on the device: labelled x [B_l, D_x] with y int [B_l], unlabelled x [B, D_x] and, if a
    distortion is set, distorted copies of the unlabelled images."""

    x_labelled: Array
    y: Array
    x_unlabelled: Array
    x_distorted: Array | None = None


class Batches:
    """The minibatches of a run: `batch` unlabelled and `labelled_batch` (None: as many) labelled examples each.

    Each minibatch's images are moved by up to `shift` pixels and binarised anew. `distortion` > 0 adds copies of the
    unlabelled images, distorted by that amount.
    """

    def __init__(
        self,
        bk: Backend,
        dataset: Dataset,
        split: Split,
        batch: int,
        seed: int = 0,
        binarize: str = "dynamic",
        labelled_batch: int | None = None,
        shift: int = 0,
        distortion: float = 0.0,
    ) -> None:
        if (shift or distortion) and not dataset.is_pixels:
            raise ValueError(f"shift and distortion are for images; data set {dataset.name!r} has other examples")
        self._bk, self._dataset, self._binarize, self._seed = bk, dataset, binarize, seed
        self._shift, self._distortion = shift, distortion
        self._labelled = Order(split.labelled, labelled_batch or batch, seed, LABELLED)
        self._unlabelled = Order(split.unlabelled, batch, seed, UNLABELLED)
        self.steps_per_epoch = len(split.unlabelled) / batch

    def at(self, step: int) -> Batch:
        """The minibatch of a step, 0, 1, …; every call for the same step returns the same one."""
        labelled, unlabelled = self._labelled.at(step), self._unlabelled.at(step)
        rng = np.random.default_rng(stream_seed(self._seed, BINARIZATION, step))
        x_labelled, x_unlabelled = (self._moved(index, rng) for index in (labelled, unlabelled))
        x_distorted = self._distorted(unlabelled, rng) if self._distortion else None
        return Batch(x_labelled, self._bk.integers(self._dataset.labels[labelled]), x_unlabelled, x_distorted)

    def _moved(self, index: np.ndarray, rng: np.random.Generator) -> Array:
        images = self._dataset.images[index]
        return self._pixels(shifted(images, self._shift, rng) if self._shift else images, rng)

    def _distorted(self, index: np.ndarray, rng: np.random.Generator) -> Array:
        return self._pixels(distorted(self._dataset.images[index], self._distortion, rng), rng)

    def _pixels(self, images: np.ndarray, rng: np.random.Generator) -> Array:
        return self._bk.array(pixels(images, self._binarize, rng))
