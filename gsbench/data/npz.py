"""Reader of .npz files that detects every damaged file.

An .npz file is a zip archive with an .npy file for each array. NumPy's own reader stops where the array ends according
to its header. If a damaged header states a smaller array, that reader never reaches the checksum. This reader unpacks
every .npy file completely, which checks its CRC-32, before it reads the header. It also refuses unused bytes: each byte
of the archive must belong to an .npy file or to the directory at the end, each byte of an .npy file to its array.
Formats: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT and `numpy.lib.format`.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Collection, Iterable
from typing import BinaryIO

import numpy as np

SUFFIX = ".npy"
LOCAL_HEADER = struct.Struct("<4s22x2H")  # signature, lengths of the name and of the extra field
SIGNATURE = b"PK\x03\x04"
DESCRIPTOR = 0x08  # a flag: the sizes and the checksum stand after the data once more
DESCRIPTOR_BYTES = (12, 16, 20, 24)
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(
    file: BinaryIO, names: Iterable[str] | None = None, besides: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The arrays `names` of an archive, or all of them. The archive may also contain the arrays `besides`.

    Raises ValueError, or an error of `zipfile` or NumPy, if the archive is damaged, lacks an array, has a further one
    or has one twice. Raises ValueError for arrays of Python objects.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_places(file, members, archive.start_dir)
        found = _by_name(members)
        wanted = list(found) if names is None else list(names)
        for name in wanted:
            if name not in found:
                raise ValueError(f"it has no array {name!r}, only: {', '.join(found) or 'none'}")
        for name in found:
            if name not in wanted and name not in besides:
                raise ValueError(f"it has an array {name!r}, expected: {', '.join(dict.fromkeys([*wanted, *besides]))}")
        return {name: _array(name, archive.read(found[name])) for name in wanted}


def _check_places(file: BinaryIO, members: Iterable[zipfile.ZipInfo], end: int) -> None:
    """Raises ValueError unless the members fill the file without gaps from byte 0 to the directory at `end`."""
    place = 0
    ordered = sorted(members, key=lambda member: member.header_offset)
    for member, following in zip(ordered, [*(m.header_offset for m in ordered[1:]), end], strict=True):
        file.seek(place)
        header = file.read(LOCAL_HEADER.size)
        if member.header_offset != place or len(header) < LOCAL_HEADER.size or not header.startswith(SIGNATURE):
            raise ValueError(f"there is no array at byte {place}")
        _, name, extra = LOCAL_HEADER.unpack(header)
        place += LOCAL_HEADER.size + name + extra + member.compress_size
        if member.flag_bits & DESCRIPTOR and following - place in DESCRIPTOR_BYTES:
            place = following
    if place != end:
        raise ValueError(f"its arrays end at byte {place}, its directory begins at byte {end}")


def _by_name(members: Iterable[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = member.filename.removesuffix(SUFFIX)
        if name == member.filename or member.filename != member.orig_filename:
            raise ValueError(f"it holds {member.orig_filename!r}, which is no array: its name must end in {SUFFIX}")
        if name in found:
            raise ValueError(f"it has the array {name!r} twice")
        found[name] = member
    return found


def _array(name: str, content: bytes) -> np.ndarray:
    """The array of a whole .npy file."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"{name!r} is of version {version} of the format, readable: {', '.join(map(str, HEADERS))}")
    shape, _, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError(f"{name!r} holds Python objects, which only pickle can read")
    held, used = len(content) - stream.tell(), math.prod(shape) * dtype.itemsize
    if held != used:
        raise ValueError(f"{name!r} holds {held} bytes, its header {dtype} {shape} asks for {used}")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)
