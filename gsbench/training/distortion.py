"""Distortions of images that resemble the variation of handwriting and keep the class."""

from __future__ import annotations

import numpy as np

# Limits at amount 1, in both directions.
TURN, SHEAR, LOG_SCALE, SHIFT = 0.35, 0.3, 0.15, 3.0  # radians, a share, a logarithm, pixels


def shifted(images: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Each image moved by −most to most pixels down and right; vacated pixels become paper. uint8 [n, H, W] → same."""
    n, height, width = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most)))
    down, right = rng.integers(0, 2 * most + 1, (2, n, 1, 1))
    rows, columns = down + np.arange(height)[:, None], right + np.arange(width)
    moved: np.ndarray = padded[np.arange(n)[:, None, None], rows, columns]
    return moved


def distorted(images: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Each image under a random affine map about its centre. uint8 [n, H, W] → same

    At amount 1 an image is turned by up to 20°, sheared by up to 0.3, scaled by up to about 15 % along each axis and
    moved by up to 3 pixels along each axis. `amount` multiplies these limits. Pixels are interpolated linearly; beyond
    the edge is paper.
    """
    from scipy.ndimage import affine_transform  # a third of a second, which few need

    n, *size = images.shape
    turn, shear, scale_y, scale_x, down, right = amount * rng.uniform(-1, 1, (6, n))
    cos, sin = np.cos(TURN * turn), np.sin(TURN * turn)
    rotation = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)  # [n, 2, 2]
    scaled = np.exp(LOG_SCALE * np.stack([scale_y, scale_x], -1))[:, None] * np.eye(2)
    sheared = np.eye(2) + SHEAR * shear[:, None, None] * np.array([[0.0, 0.0], [1.0, 0.0]])
    maps = rotation @ sheared @ scaled
    middle = (np.array(size) - 1) / 2
    offsets = middle - maps @ middle + SHIFT * np.stack([down, right], -1)
    made = np.empty_like(images)
    for image, matrix, offset, target in zip(images, maps, offsets, made, strict=True):
        affine_transform(image, matrix, offset, output=target, order=1)
    return made
