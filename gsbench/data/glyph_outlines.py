"""Outlines of the DejaVu fonts → 64×64 images of ink coverage, the same bytes on every machine.

matplotlib ships the DejaVu fonts and offers their glyphs in two forms. The *bitmaps* that its FreeType draws differ
between versions of matplotlib. The unhinted, unscaled *outlines* do not: they are the integers of the font file.
So gsbench draws the outlines itself, with integers and single IEEE operations only (+ − × ÷ floor), which every
processor must round alike. It uses no sine, no matrix product, and no sum of floats whose order a SIMD unit may
choose. Hence the checksum in a record proves that two machines trained on the same images.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

# The faces are listed because matplotlib's own search falls back on LastResort, which draws any character as a box.
FACES = (
    "DejaVuSans",
    "DejaVuSerif",
    "DejaVuSansMono",
    "DejaVuSans-Oblique",
    "DejaVuSerif-Italic",
    "DejaVuSansMono-Oblique",
    "DejaVuSans-Bold",
    "DejaVuSerif-Bold",
    "DejaVuSansMono-Bold",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono-BoldOblique",
)
SIZE = 64  # side of a drawn glyph in pixels
BOX = 40  # longer side of the ink in pixels
ROWS = 4  # scan lines per pixel
STEPS = 64  # per pixel: the crossing of an edge and a scan line is rounded to 1/STEPS pixel
CHORDS = 4  # straight pieces per quadratic curve

MOVE, LINE, CURVE, CLOSE = 1, 2, 3, 79  # the path codes of matplotlib that TrueType outlines use
NO_SCALE, NO_HINTING = 1, 2  # FreeType's load flags


def draw_faces(code_point: int) -> np.ndarray:
    """uint8 [F, 64, 64]: the character in each of `FACES` that has it, with soft edges and peak 255.

    Raises ValueError if no face has the character or if it has no ink.
    """
    outlines = [outline(face, code_point) for face in FACES]
    drawn = [coverage(segments) for segments in outlines if segments is not None]
    if not drawn:
        raise ValueError(f"no DejaVu face draws U+{code_point:04X}")
    return soften(np.stack(drawn))


def outline(face: str, code_point: int) -> np.ndarray | None:
    """float64 [S, 4]: the outline as segments x0, y0, x1, y1 in font units, or None if the face lacks it."""
    font, characters = _open_face(face)
    if code_point not in characters:
        return None
    font.load_char(code_point, flags=_load_flags())
    vertices, codes = font.get_path()
    return None if len(codes) == 0 else _flatten(vertices * 64.0, np.asarray(codes))  # back from 1/64 units


def coverage(segments: np.ndarray) -> np.ndarray:
    """uint8 [64, 64]: the ink in each pixel. The outline is centred and its longer side is scaled to 40 pixels.

    A scan line has ink where its winding number is not 0. Each edge adds ±1 to the winding number at the pixel where
    the scan line crosses it; the crossing's fraction of a pixel splits this ±1 between the pixel and the next one.
    The running sum along the line is then the ink. All sums are of integers.
    """
    x, y = _fit(segments)
    edge, row = _crossings(y)
    run = np.where(y[:, 1] == y[:, 0], 1.0, y[:, 1] - y[:, 0])
    slope = (x[:, 1] - x[:, 0]) / run
    where = np.floor((x[edge, 0] + (row + 0.5 - y[edge, 0]) * slope[edge]) * STEPS + 0.5).astype(np.int64)
    pixel, fraction = where // STEPS, where % STEPS
    winding = np.where(y[:, 1] > y[:, 0], 1, -1)[edge]
    width = SIZE + 2
    at = row * width + pixel
    change = np.bincount(
        np.concatenate([at, at + 1]),
        weights=np.concatenate([winding * (STEPS - fraction), winding * fraction]),
        minlength=SIZE * ROWS * width,
    )  # float64 holds these integers exactly: they are far below 2^53
    ink = np.cumsum(change.astype(np.int32).reshape(SIZE * ROWS, width), axis=1)[:, :SIZE]
    lines = np.minimum(np.abs(ink), STEPS).reshape(SIZE, ROWS, SIZE)
    glyphs: np.ndarray = np.minimum(lines.sum(axis=1), 255).astype(np.uint8)  # ROWS * STEPS = 256
    return glyphs


def soften(images: np.ndarray) -> np.ndarray:
    """uint8 [F, 64, 64] → the same: the filter 1 4 6 4 1 twice along each axis, then peak 255."""
    soft = images.astype(np.int32)
    for _ in range(2):
        soft = (_filter(soft) + 128) >> 8
    peak = soft.max(axis=(1, 2), keepdims=True)
    softened: np.ndarray = ((soft * 255 + peak // 2) // peak).astype(np.uint8)
    return softened


@cache
def _open_face(face: str) -> tuple[Any, dict[int, int]]:
    import gsbench.matplotlib_import  # noqa: F401, I001 (before matplotlib)
    import matplotlib  # imported here and below, so that --help does not wait for it
    from matplotlib import ft2font

    # Before matplotlib 3.11 the default factor of 8 divides the x of unscaled outlines. Since 3.11 it is deprecated.
    old = matplotlib.__version_info__[:2] < (3, 11)
    options: dict[str, Any] = {"hinting_factor": 1} if old else {}
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    font = ft2font.FT2Font(str(folder / f"{face}.ttf"), **options)
    return font, dict(font.get_charmap())


def _load_flags() -> Any:
    from matplotlib import ft2font

    flags = NO_SCALE | NO_HINTING
    return ft2font.LoadFlags(flags) if hasattr(ft2font, "LoadFlags") else flags  # an enumeration since 3.10


def _flatten(points: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Points [P, 2] and their path codes [P] → segments [S, 4]."""
    index = np.arange(len(codes))
    begin = points[np.maximum.accumulate(np.where(codes == MOVE, index, 0))]  # first point of each point's contour
    last = points[np.maximum(index - 1, 0)]
    pieces = [np.hstack([last, points])[codes == LINE], np.hstack([last, begin])[codes == CLOSE]]
    control = np.flatnonzero(codes == CURVE)[::2]  # a curve has two points: the control point, then the end
    p0, p1, p2 = points[control - 1], points[control], points[control + 1]
    start = p0
    for chord in range(1, CHORDS + 1):
        t = chord / CHORDS
        end = ((1 - t) * (1 - t)) * p0 + (2 * t * (1 - t)) * p1 + (t * t) * p2
        pieces.append(np.hstack([start, end]))
        start = end
    return np.concatenate(pieces)


def _fit(segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments in font units → x in pixels, y in scan lines from the top, each [S, 2], centred."""
    x, y = segments[:, ::2], segments[:, 1::2]
    left, right, bottom, top = x.min(), x.max(), y.min(), y.max()
    scale = BOX / max(right - left, top - bottom)
    return (x - (left + right) / 2) * scale + SIZE / 2, (((bottom + top) / 2 - y) * scale + SIZE / 2) * ROWS


def _crossings(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (edge, scan line) that cross, each int64 [C]; scan line r lies at y = r + 1/2."""
    first = np.ceil(y.min(axis=1) - 0.5).astype(np.int64)
    count = np.ceil(y.max(axis=1) - 0.5).astype(np.int64) - first
    edge = np.repeat(np.arange(len(y)), count)
    return edge, np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]


def _filter(images: np.ndarray) -> np.ndarray:
    """The binomial filter 1 4 6 4 1 along both axes, times 256: the sum of neighbours, four times."""
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    for _ in range(4):
        images = images[:, 1:] + images[:, :-1]
        images = images[:, :, 1:] + images[:, :, :-1]
    return images
