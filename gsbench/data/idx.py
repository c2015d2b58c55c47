"""Reader of IDX files, the format in which MNIST and similar data sets are published.

An IDX file consists of two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32,
and the values. This reader reads unsigned bytes (type 8) only, because these data sets use no other type.
See http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from gsbench.data.base import DataFileError

UNSIGNED_BYTES = 8
GZIP_MAGIC = b"\x1f\x8b"


def read_idx(
    path: Path, shape: tuple[int, ...] | None = None, *, below: int | None = None, sha256: str | None = None
) -> np.ndarray:
    """The whole array (uint8, read-only) of the IDX file `path`, which may be gzipped.

    Checks the arguments that are given: the array has this `shape`, all values are `below` this number, the unpacked
    bytes have this SHA-256. Raises DataFileError, which names the file and says what is wrong with it.
    """
    content = _unpacked(path)
    values = _parsed(path, content)
    if shape is not None and values.shape != shape:
        raise DataFileError(f"{path} holds an array of shape {values.shape}, expected {shape}")
    if below is not None and values.max(initial=0) >= below:
        raise DataFileError(f"{path} holds the label {values.max()}, allowed are 0 … {below - 1}")
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise DataFileError(
            f"{path} is not the published file: the SHA-256 of its content is {found}, expected {sha256}"
        )
    return values


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataFileError(f"{path} is truncated or damaged: {error}") from error


def _parsed(path: Path, content: bytes) -> np.ndarray:
    if len(content) < 4:
        raise DataFileError(f"{path} is truncated: {len(content)} bytes are too few for an IDX file")
    if content[:3] != bytes([0, 0, UNSIGNED_BYTES]):
        raise DataFileError(
            f"{path} is no IDX file of unsigned bytes: it begins with {content[:4].hex()}, not 000008"
        )
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise DataFileError(f"{path} is truncated: its header takes {header} bytes, it has {len(content)}")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    size = header + math.prod(shape)
    if len(content) != size:
        raise DataFileError(f"{path} has {len(content)} bytes, but its header {shape} asks for {size}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
