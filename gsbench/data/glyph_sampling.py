"""Drawn glyphs, 64×64 → 28×28 images, each under its own random affine and elastic map.

Like `glyph_outlines`, this module uses single IEEE operations only, so that the images are the same bytes everywhere:
the rotation uses the tangent of half the angle, not a sine, and the elastic field is a sum of products in a fixed
order, not a matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gsbench.data.base import raw_bits
from gsbench.data.glyph_outlines import SIZE

WIDTH = 28  # side of an image in pixels
ZOOM = 2  # pixels of a drawn glyph per pixel of an image, at scale 1
GRID = 4  # control points per side of the elastic field
UNIFORMS = 9 + 2 * GRID * GRID  # random numbers per image
CHUNK = 128  # images that are made at once: their float32 maps fit into the processor's cache


@dataclass(frozen=True)
class Distortion:
    """Ranges of the random maps. Lengths are in pixels of the 28×28 image. A single number r means −r … r.

    With the defaults, the set at K = 10 is about as hard as MNIST.
    """

    half_angle_tangent: float = 0.10510423526567646  # tan(6°): rotation by −12° … 12°
    shear: float = 0.25
    scale: tuple[float, float] = (0.85, 1.10)
    aspect: float = 0.15
    shift: float = 1.0
    elastic: float = 1.2
    ink_level: tuple[float, float] = (0.22, 0.45)  # coverage that becomes black, between 0 and 1
    softness: tuple[float, float] = (0.35, 0.60)  # change of coverage from black to white, between 0 and 1


def sample_class(faces: np.ndarray, n: int, key: tuple[int, int], distortion: Distortion) -> np.ndarray:
    """uint8 [n, 28, 28]: n images of one class, from its drawn `faces` uint8 [F, 64, 64].

    `key` (part, class) selects the random stream. Image i depends only on `key` and i, not on n.
    """
    bits = raw_bits("glyphs", *key, size=n * UNIFORMS)
    uniforms = ((bits >> np.uint64(11)) * 2.0**-53).reshape(n, UNIFORMS)  # in [0, 1)
    images = np.empty((n, WIDTH, WIDTH), np.uint8)
    for start in range(0, n, CHUNK):
        images[start : start + CHUNK] = _sample(faces, uniforms[start : start + CHUNK], distortion)
    return images


def _sample(faces: np.ndarray, uniforms: np.ndarray, distortion: Distortion) -> np.ndarray:
    """uint8 [n, 28, 28] from uniforms [n, 41]."""
    face, level, softness = uniforms[:, 0], uniforms[:, 7], uniforms[:, 8]
    x, y = _affine(uniforms[:, 1:7], distortion)
    _bend(x, uniforms[:, 9:25], distortion.elastic)
    _bend(y, uniforms[:, 25:41], distortion.elastic)
    images = _look_up(faces, (face * len(faces)).astype(np.int32), x, y)
    black = 255 * _between(level, *distortion.ink_level)
    gain = 1 / _between(softness, *distortion.softness)
    images -= _per_image(black)
    images *= _per_image(gain)
    images += 0.5  # so that the cast rounds
    return np.clip(images, 0, 255, out=images).astype(np.uint8)


def _affine(uniforms: np.ndarray, distortion: Distortion) -> tuple[np.ndarray, np.ndarray]:
    """The position x, y (float32 [n, 28, 28]) of each pixel in the drawn glyph, before the elastic map.

    glyph = (2 / scale) · aspect · shear · rotation · (image − shift), both measured from their centres.
    """
    turn, shear, scale, aspect, shift_x, shift_y = uniforms.T
    t = _around(turn, distortion.half_angle_tangent)
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    shear, aspect = _around(shear, distortion.shear), _around(aspect, distortion.aspect)
    zoom = ZOOM / _between(scale, *distortion.scale)
    zoom_x, zoom_y = zoom * (1 + aspect), zoom * (1 - aspect)
    shift_x, shift_y = _around(shift_x, distortion.shift), _around(shift_y, distortion.shift)
    x = _plane(zoom_x * (cos - shear * sin), zoom_x * (sin + shear * cos), shift_x, shift_y)
    y = _plane(-(zoom_y * sin), zoom_y * cos, shift_x, shift_y)
    return x, y


def _plane(by_x: np.ndarray, by_y: np.ndarray, shift_x: np.ndarray, shift_y: np.ndarray) -> np.ndarray:
    """float32 [n, 28, 28]: one coordinate, by_x (column − shift_x) + by_y (row − shift_y) + centre."""
    pixel = np.arange(WIDTH, dtype=np.float32) - np.float32((WIDTH - 1) / 2)
    offset = (SIZE - 1) / 2 - by_x * shift_x - by_y * shift_y
    column = by_x.astype(np.float32)[:, None] * pixel  # [n, 28]
    row = by_y.astype(np.float32)[:, None] * pixel + offset.astype(np.float32)[:, None]  # [n, 28]
    plane: np.ndarray = column[:, None, :] + row[:, :, None]
    return plane


def _bend(coordinate: np.ndarray, uniforms: np.ndarray, elastic: float) -> None:
    """Adds the bilinear field of 4×4 control values (`uniforms` [n, 16]) to `coordinate` [n, 28, 28] in place."""
    values = _around(uniforms, ZOOM * elastic).astype(np.float32).reshape(-1, GRID, GRID)
    place = np.arange(WIDTH) / (WIDTH - 1) * (GRID - 1)
    tent = np.maximum(0, 1 - np.abs(place - np.arange(GRID)[:, None])).astype(np.float32)  # [4, 28]
    rows = np.zeros((len(values), WIDTH, GRID), np.float32)
    for i in range(GRID):
        rows += tent[i][None, :, None] * values[:, i, None, :]
    for j in range(GRID):
        coordinate += rows[:, :, j, None] * tent[j]


def _look_up(faces: np.ndarray, face: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float32 [n, 28, 28]: faces[face] at (x, y), interpolated bilinearly; points beyond the edge take its value."""
    for coordinate in (x, y):
        np.clip(coordinate, 0, SIZE - 1.01, out=coordinate)
    column, row = x.astype(np.int32), y.astype(np.int32)
    x, y = x - column.astype(np.float32), y - row.astype(np.float32)
    at = face[:, None, None] * np.int32(SIZE * SIZE) + row * np.int32(SIZE) + column
    ink = faces.reshape(-1)
    upper, upper_right = ink.take(at).astype(np.float32), ink.take(at + 1).astype(np.float32)
    lower, lower_right = ink.take(at + SIZE).astype(np.float32), ink.take(at + SIZE + 1).astype(np.float32)
    upper += (upper_right - upper) * x
    lower += (lower_right - lower) * x
    values: np.ndarray = upper + (lower - upper) * y
    return values


def _between(uniform: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + (high - low) * uniform


def _around(uniform: np.ndarray, reach: float) -> np.ndarray:
    return _between(uniform, -reach, reach)


def _per_image(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]
