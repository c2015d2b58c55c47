"""Files of arrays are read whole or not at all, whichever bit is changed."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gsbench.data import DataFileError
from gsbench.data.locations import read_arrays

ARRAYS = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "p/W": np.linspace(0, 1, 5), "s": np.asarray("abc")}
SAVED = pytest.mark.parametrize("save", [np.savez, np.savez_compressed])


def outcome(path, names=None):
    """"same" or "found": an error that names the file. Anything else fails."""
    try:
        read = read_arrays(path, names)
    except DataFileError as error:
        assert str(error).startswith(f"{path} is damaged or not of the right form: ")  # noqa: PT017
        return "found"
    assert {name: (array.dtype, array.tolist()) for name, array in read.items()} == {
        name: (array.dtype, array.tolist()) for name, array in ARRAYS.items()
    }
    return "same"


@SAVED
def test_any_changed_bit_is_found_or_changes_nothing(tmp_path, save):
    """Bits in the headers of the archive and of its arrays, which are most of this file, and in the data."""
    path = tmp_path / "a.npz"
    save(path, **ARRAYS)
    whole = path.read_bytes()
    assert outcome(path) == "same"
    seen = {"same": 0, "found": 0}
    with open(path, "rb+", buffering=0) as file:
        for at in range(len(whole)):
            for bit in range(8):
                file.seek(at)
                file.write(bytes([whole[at] ^ (1 << bit)]))
                seen[outcome(path, [None, list(ARRAYS)][bit % 2])] += 1
            file.seek(at)
            file.write(whole[at : at + 1])
    assert seen["found"] > seen["same"] > 0
    assert path.read_bytes() == whole


@SAVED
def test_a_file_cut_anywhere_is_found(tmp_path, save):
    path = tmp_path / "a.npz"
    save(path, **ARRAYS)
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        assert outcome(path) == "found"


def npy(array, head=None):
    """The bytes of an .npy file, with another header if one is given."""
    file = io.BytesIO()
    if head is None:
        np.save(file, array)
    else:
        np.lib.format.write_array_header_1_0(file, {"fortran_order": False, **head})
        file.write(array.tobytes())
    return file.getvalue()


def packed(path, members, **settings):
    with zipfile.ZipFile(path, "w", **settings) as archive, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of names that occur twice
        for name, content in members:
            archive.writestr(name, content)
    return path


WHOLE = npy(np.arange(8, dtype=np.int32))


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("a.npy", npy(np.arange(8, dtype=np.int32), {"descr": "<i4", "shape": (7,)}))], "holds 32 bytes, .* for 28"),
        ([("a.npy", npy(np.arange(8, dtype=np.int32), {"descr": "<i4", "shape": (9,)}))], "holds 32 bytes, .* for 36"),
        ([("a.npy", npy(np.arange(8, dtype=np.int32), {"descr": "<i2", "shape": (8,)}))], "holds 32 bytes, .* for 16"),
        ([("a.npy", npy(np.arange(2, dtype=np.int32), {"descr": "<i4", "shape": (10**12,)}))], "holds 8 bytes"),
        ([("a.npy", WHOLE + b"\0")], "holds 33 bytes"),
        ([("a.npy", WHOLE[:-1])], "holds 31 bytes"),
        ([("a.npy", WHOLE), ("a.npy", WHOLE)], "has the array 'a' twice"),
        ([("a.npy", WHOLE), ("b.npy", WHOLE)], "has an array 'b', expected: a, c"),
        ([("b.npy", WHOLE)], "has no array 'a', only: b"),
        ([("a.npy", WHOLE), ("notes.txt", b"x")], "holds 'notes.txt', which is no array"),
        ([("a", WHOLE)], "holds 'a', which is no array"),
        ([("a.npy", b"\x93NUMPY\x03\x00" + WHOLE[8:])], r"is of version \(3, 0\) of the format"),
        ([("a.npy", npy(np.zeros(1), {"descr": "|O", "shape": (1,)}))], "holds Python objects, which only pickle"),
        ([("a.npy", b"")], "a.npz is damaged"),
    ],
)
def test_an_archive_of_another_form_is_refused(tmp_path, members, why):
    path = packed(tmp_path / "a.npz", members)
    with pytest.raises(DataFileError, match=why) as caught:
        read_arrays(path, ["a"], besides=["c"])
    assert str(path) in str(caught.value)


def test_bytes_that_belong_to_no_array_are_refused(tmp_path):
    path = packed(tmp_path / "a.npz", [("a.npy", WHOLE), ("b.npy", WHOLE)])
    whole = path.read_bytes()
    path.write_bytes(b"before" + whole)
    with pytest.raises(DataFileError, match="there is no array at byte 0"):
        read_arrays(path)
    directory = whole.index(b"PK\x01\x02")
    second = whole.index(b"PK\x01\x02", directory + 1)
    altered = bytearray(whole)
    altered[directory + 32] = whole.index(b"PK\x05\x06") - second  # a remark's length: it spans the second
    path.write_bytes(altered)
    assert np.load(path).files == ["a"]  # the array that it would be taken for
    with pytest.raises(DataFileError, match="its arrays end at byte"):
        read_arrays(path)


def test_requested_arrays_are_read_in_their_order_and_others_may_be_there(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    assert list(read_arrays(path, ["s", "a"], besides=["p/W", "more"])) == ["s", "a"]
    empty = {"none": np.zeros((3, 0)), "f": np.asfortranarray(ARRAYS["a"]), "two": np.zeros(2, "<i2,<f4")}
    np.savez(path, **empty)
    for name, array in read_arrays(path).items():
        right = empty[name]
        assert (array.dtype, array.shape, array.tolist()) == (right.dtype, right.shape, right.tolist())
        assert array.flags.writeable


def test_a_streamed_archive_is_read(tmp_path):
    """A writer that cannot seek repeats the sizes and the checksum after the data."""

    class Pipe(io.RawIOBase):
        def writable(self):
            return True

        def write(self, part):
            written.append(bytes(part))
            return len(part)

    written: list[bytes] = []
    with zipfile.ZipFile(Pipe(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", WHOLE)
        archive.writestr("b.npy", WHOLE)
    path = tmp_path / "a.npz"
    path.write_bytes(b"".join(written))
    assert read_arrays(path)["b"].tolist() == list(range(8))


def test_no_file_is_no_damaged_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz")


def test_the_real_omniglot_with_one_bit_changed(tmp_path):
    """NumPy's own reader returns 4,840 wrong images."""
    real = Path(os.environ.get("GSBENCH_DATA") or "nowhere") / "omniglot" / "omniglot28.npz"
    if not real.is_file():
        pytest.skip("no folder omniglot in $GSBENCH_DATA")
    content = bytearray(real.read_bytes())
    content[194] ^= 8
    path = tmp_path / "omniglot28.npz"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=r"omniglot28\.npz is damaged"):
        read_arrays(path)
