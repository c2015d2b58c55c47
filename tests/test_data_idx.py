"""mnist and fashion-mnist: the reader on small files, the download from a local server, the real files."""

from __future__ import annotations

import dataclasses
import errno
import gzip
import hashlib
import logging
import os
import shutil
import struct
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pooch
import pytest

from gsbench.cli.remarks import heard
from gsbench.data import TEST, TRAIN, DataFileError, load_dataset
from gsbench.data.idx import read_idx
from gsbench.data.mnist import FASHION_MNIST, MNIST, IdxFile, IdxSet, load_idx_set


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GSBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


def idx_bytes(array, type_code=8):
    return (
        bytes([0, 0, type_code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    )


def packed(content):
    return gzip.compress(content, mtime=0)


TRAIN_LABELS = np.arange(40, dtype=np.uint8) % 10
TEST_LABELS = np.arange(20, dtype=np.uint8) % 10
CONTENT = {
    "train-images-idx3-ubyte": idx_bytes(
        np.arange(40 * 12, dtype=np.uint64).astype(np.uint8).reshape(40, 4, 3)
    ),
    "train-labels-idx1-ubyte": idx_bytes(TRAIN_LABELS),
    "t10k-images-idx3-ubyte": idx_bytes(np.full((20, 4, 3), 7, np.uint8)),
    "t10k-labels-idx1-ubyte": idx_bytes(TEST_LABELS),
}


def idx_file(name, *shape):
    content = CONTENT[name]
    return IdxFile(name, shape, hashlib.md5(packed(content)).hexdigest(), hashlib.sha256(content).hexdigest())


TINY = IdxSet(
    name="tiny",
    mirrors=("http://127.0.0.1:9/",),  # nothing listens there
    train_images=idx_file("train-images-idx3-ubyte", 40, 4, 3),
    train_labels=idx_file("train-labels-idx1-ubyte", 40),
    test_images=idx_file("t10k-images-idx3-ubyte", 20, 4, 3),
    test_labels=idx_file("t10k-labels-idx1-ubyte", 20),
    class_names=tuple("0123456789"),
    licence="none",
    source="this test",
)


def write_all(folder: Path, *, gz: bool):
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / (f"{name}.gz" if gz else name)).write_bytes(packed(content) if gz else content)
    return folder


# ---------------------------------------------------------------- the reader


@pytest.mark.parametrize("gz", [True, False])
def test_a_folder_of_idx_files_is_read(tmp_path, gz):
    write_all(tmp_path / "tiny", gz=gz)
    data = load_idx_set(TINY, 10, tmp_path)
    assert data.images.shape == (60, 4, 3)
    np.testing.assert_array_equal(data.images[1], [[12, 13, 14], [15, 16, 17], [18, 19, 20], [21, 22, 23]])
    assert (data.images[40:] == 7).all()
    np.testing.assert_array_equal(data.labels, np.concatenate([TRAIN_LABELS, TEST_LABELS]))
    np.testing.assert_array_equal(data.part, [TRAIN] * 40 + [TEST] * 20)


def test_the_other_usual_spelling_is_found(tmp_path):
    folder = write_all(tmp_path / "tiny", gz=False)
    for path in list(folder.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert len(load_idx_set(TINY, 10, tmp_path).images) == 60


def test_fewer_classes_are_the_first_digits(tmp_path):
    write_all(tmp_path / "tiny", gz=True)
    whole, data = load_idx_set(TINY, 10, tmp_path), load_idx_set(TINY, 4, tmp_path)
    assert data.class_names == ("0", "1", "2", "3")
    np.testing.assert_array_equal(data.images, whole.images[whole.labels < 4])
    np.testing.assert_array_equal(data.labels, [0, 1, 2, 3] * 6)
    np.testing.assert_array_equal(data.part, [TRAIN] * 16 + [TEST] * 8)


GOOD = idx_bytes(np.arange(24, dtype=np.uint8).reshape(4, 3, 2))
BROKEN = {
    "empty": (b"", "is truncated: 0 bytes"),
    "header cut": (GOOD[:9], "is truncated: its header takes 16 bytes, it has 9"),
    "values cut": (GOOD[:-1], r"has 39 bytes, but its header \(4, 3, 2\) asks for 40"),
    "too long": (GOOD + b"x", r"has 41 bytes, but its header \(4, 3, 2\) asks for 40"),
    "floats": (idx_bytes(np.zeros(4, ">f4"), type_code=0x0D), "begins with 00000d01, not 000008"),
    "a web page": (b"<html>not found</html>", "is no IDX file of unsigned bytes"),
    "gzip cut": (packed(GOOD)[:-9], "is truncated or damaged"),
    "gzip cut short": (packed(GOOD)[:5], "is truncated or damaged"),
    "gzip altered": (packed(GOOD)[:-6] + b"\0\0" + packed(GOOD)[-4:], "is truncated or damaged"),
    "gzip of a cut file": (packed(GOOD[:-1]), "has 39 bytes"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_an_error_that_names_it(tmp_path, what):
    content, message = BROKEN[what]
    path = tmp_path / "some-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "train-images-idx3-ubyte",
            np.zeros((39, 4, 3), np.uint8),
            r"shape \(39, 4, 3\), expected \(40, 4, 3\)",
        ),
        (
            "t10k-images-idx3-ubyte",
            np.zeros((20, 3, 4), np.uint8),
            r"shape \(20, 3, 4\), expected \(20, 4, 3\)",
        ),
        ("train-labels-idx1-ubyte", np.full(40, 10, np.uint8), r"holds the label 10, allowed are 0 … 9"),
        ("train-labels-idx1-ubyte", TRAIN_LABELS[::-1].copy(), "is not the published file"),
        ("t10k-images-idx3-ubyte", np.full((20, 4, 3), 8, np.uint8), "is not the published file"),
    ],
)
def test_a_wrong_file_is_an_error_that_names_it(tmp_path, name, array, message):
    folder = write_all(tmp_path / "tiny", gz=False)
    (folder / name).write_bytes(idx_bytes(array))
    with pytest.raises(DataFileError, match=message) as caught:
        load_idx_set(TINY, 10, tmp_path)
    assert str(folder / name) in str(caught.value)


def test_a_missing_file_is_an_error_that_names_it_and_is_not_downloaded(tmp_path, own_cache):
    folder = write_all(tmp_path / "tiny", gz=True)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz in .*tiny"
    ):
        load_idx_set(TINY, 10, tmp_path)
    assert not own_cache.exists()


# ---------------------------------------------------------------- the download


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, counts the requests, and can truncate its answers."""

    requests: list[str] = []  # noqa: RUF012
    cut = False

    def do_GET(self):
        type(self).requests.append(self.path)
        if not self.cut:
            return super().do_GET()
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror(tmp_path):
    """A mirror of the tiny set: its handler class, its folder and its address."""
    folder = write_all(tmp_path / "served", gz=True)
    handler = type("OneHandler", (Handler,), {"requests": [], "cut": False})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield handler, folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def from_mirrors(*urls):
    return dataclasses.replace(TINY, mirrors=urls)


def test_files_are_downloaded_once(tmp_path, mirror, own_cache):
    handler, folder, url = mirror
    first = load_idx_set(from_mirrors(url), 10, None)
    assert sorted(handler.requests) == sorted(f"/{name}.gz" for name in CONTENT)
    second = load_idx_set(from_mirrors(url), 10, tmp_path)  # a data folder without a folder `tiny`
    assert len(handler.requests) == 4
    assert first.checksum == second.checksum
    assert sorted(os.listdir(own_cache / "tiny")) == sorted(os.listdir(folder))


def test_a_download_although_a_data_folder_is_named_is_remarked(tmp_path, mirror, own_cache, caplog):
    """The remark comes once, with the download, and not if no folder is named or the folder has the set."""
    url = mirror[2]
    load_idx_set(from_mirrors(url), 10, None)
    shutil.rmtree(own_cache)
    write_all(tmp_path / "with" / "tiny", gz=True)
    load_idx_set(from_mirrors(url), 10, tmp_path / "with")
    assert caplog.messages == []
    for _ in range(2):
        load_idx_set(from_mirrors(url), 10, tmp_path)
    remark = f"there is no folder 'tiny' in {tmp_path}: tiny is downloaded to {own_cache / 'tiny'}"
    assert caplog.messages == [remark]
    assert caplog.records[0].name.startswith("gsbench.")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_quiet_download_says_nothing(tmp_path, mirror, capsys, quiet):
    with heard(quiet=quiet):
        load_idx_set(from_mirrors(mirror[2]), 10, tmp_path)
    assert ("tiny is downloaded" in capsys.readouterr().err) == (not quiet)
    assert [handler.level for handler in pooch.get_logger().handlers] == [logging.ERROR if quiet else logging.INFO]


def test_the_next_mirror_is_asked_if_one_fails(mirror):
    handler, _, url = mirror
    assert len(load_idx_set(from_mirrors(f"{url}gone/", url), 10, None).images) == 60
    assert len(handler.requests) == 8


@pytest.mark.parametrize("fault", ["cut", "altered"])
def test_a_wrong_download_leaves_no_file(mirror, own_cache, fault):
    handler, folder, url = mirror
    path = folder / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    if fault == "cut":
        handler.cut = True
    else:
        path.write_bytes(packed(idx_bytes(np.zeros((40, 4, 3), np.uint8))))
    with pytest.raises(ConnectionError, match=r"could not download train-images-idx3-ubyte\.gz of tiny"):
        load_idx_set(from_mirrors(url), 10, None)
    assert list((own_cache / "tiny").iterdir()) == []
    handler.cut = False
    path.write_bytes(whole)
    assert len(load_idx_set(from_mirrors(url), 10, None).images) == 60


def test_a_download_altered_on_disk_is_fetched_again(mirror, own_cache):
    handler, _, url = mirror
    checksum = load_idx_set(from_mirrors(url), 10, None).checksum
    kept = own_cache / "tiny" / "train-images-idx3-ubyte.gz"
    kept.write_bytes(kept.read_bytes()[:-3])
    assert load_idx_set(from_mirrors(url), 10, None).checksum == checksum
    assert len(handler.requests) == 5


def test_the_next_download_cleans_up_after_a_killed_one(mirror, own_cache):
    draft = own_cache / "tiny" / ".gsbench-0"
    draft.mkdir(parents=True)
    (draft / "lock").touch()
    (draft / "tmpx3k_9").write_bytes(b"half")
    load_idx_set(from_mirrors(mirror[2]), 10, None)
    assert sorted(os.listdir(own_cache / "tiny")) == sorted(f"{name}.gz" for name in CONTENT)


def test_a_download_that_cannot_be_kept_is_no_failure_of_the_network(mirror, own_cache, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch, "retrieve", full)
    kept = own_cache / "tiny" / "train-images-idx3-ubyte.gz"
    with pytest.raises(OSError, match="No space left on device") as caught:
        load_idx_set(from_mirrors(mirror[2]), 10, None)
    assert str(caught.value) == (
        f"{kept} cannot be written: No space left on device; free some space, or name another place "
        "(GSBENCH_CACHE names the cache folder)"
    )
    assert list((own_cache / "tiny").iterdir()) == []


def test_a_failed_download_says_how_to_do_without():
    with pytest.raises(ConnectionError, match="GSBENCH_DATA") as caught:
        load_idx_set(TINY, 10, None)
    assert "'tiny'" in str(caught.value)
    assert "http://127.0.0.1:9/train-images-idx3-ubyte.gz" in str(caught.value)


def test_too_many_classes_are_refused_before_any_download():
    with pytest.raises(ValueError, match="'tiny' has 10 classes, got n_classes=11"):
        load_idx_set(TINY, 11, None)


# ---------------------------------------------------------------- the published files


@pytest.mark.parametrize("idx_set", [MNIST, FASHION_MNIST], ids=lambda s: s.name)
def test_the_published_files(idx_set):
    folder = os.environ.get("GSBENCH_DATA")
    if not folder or not (Path(folder) / idx_set.name).is_dir():
        pytest.skip(f"no folder {idx_set.name} in $GSBENCH_DATA")
    data = load_dataset(idx_set.name)
    per_class = {
        "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        "fashion-mnist": [6000] * 10,
    }
    assert data.images.shape == (70_000, 28, 28)
    assert np.bincount(data.labels[data.part == TRAIN]).tolist() == per_class[idx_set.name]
    assert (data.part == TEST).sum() == 10_000
