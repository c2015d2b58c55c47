"""`mnist` and `fashion-mnist`: 60,000 + 10,000 images of 28×28 in ten classes, read or downloaded once.

The data folder has a folder `mnist` or `fashion-mnist` with the four IDX files under their usual names, gzipped or not.
Without such a folder, the files are downloaded from a public mirror to the cache folder. In both cases the unpacked
bytes must have the SHA-256 of the published files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch  # type: ignore[import-untyped]

from gsbench.data.base import TEST, TRAIN, Dataset, Whereabouts, check_n_classes
from gsbench.data.idx import read_idx
from gsbench.data.locations import CACHE_VARIABLE, HOW_TO_NAME, cache_folder
from gsbench.files import draft_folder, is_of_the_disk, writing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IdxFile:
    """One published file: its name without .gz, the shape of its array, and its checksums."""

    name: str
    shape: tuple[int, ...]
    gz_md5: str  # of the gzipped file on the mirrors
    sha256: str  # of the unpacked bytes


@dataclass(frozen=True)
class IdxSet:
    """A published data set of four IDX files."""

    name: str
    mirrors: tuple[str, ...]  # tried in turn: the address of a file is mirror + "NAME.gz"
    train_images: IdxFile
    train_labels: IdxFile
    test_images: IdxFile
    test_labels: IdxFile
    class_names: tuple[str, ...]
    licence: str
    source: str
    version: str = "1"

    @property
    def files(self) -> tuple[IdxFile, ...]:
        return self.train_images, self.train_labels, self.test_images, self.test_labels


MNIST = IdxSet(
    name="mnist",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    train_images=IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    train_labels=IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "d53e105ee54ea40749a09fcbcd1e9432",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    test_images=IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "9fb629c4189551a2d022fa330f9573f3",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    test_labels=IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "ec29112dd5afa0611ce80d1b7f02629c",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    class_names=tuple("0123456789"),
    licence="CC BY-SA 3.0 (Yann LeCun, Corinna Cortes, Christopher J. C. Burges)",
    source="http://yann.lecun.com/exdb/mnist/",
)

FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
    train_images=IdxFile(
        "train-images-idx3-ubyte",
        (60_000, 28, 28),
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    train_labels=IdxFile(
        "train-labels-idx1-ubyte",
        (60_000,),
        "25c81989df183df01b3e8a0aad5dffbe",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    test_images=IdxFile(
        "t10k-images-idx3-ubyte",
        (10_000, 28, 28),
        "bef4ecab320f06d8554ea6380940ec79",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    test_labels=IdxFile(
        "t10k-labels-idx1-ubyte",
        (10_000,),
        "bb300cfdad3c16e7a12a480ee83cd310",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    licence="MIT (Zalando SE)",
    source="https://github.com/zalandoresearch/fashion-mnist",
)


def load_idx_set(idx_set: IdxSet, n_classes: int, folder: Path | None = None) -> Dataset:
    """The first `n_classes` classes of a set, from `folder`/NAME if there is such a folder, else downloaded once.

    Raises ValueError if K is not 2 … 10, DataFileError if a file is not the published one,
    FileNotFoundError if a file is missing, ConnectionError if a download fails.
    """
    check_n_classes(idx_set.name, n_classes, len(idx_set.class_names))
    local = _local(idx_set, folder)
    if folder is not None and local is None and not _kept(idx_set):
        where = cache_folder() / idx_set.name
        log.warning("there is no folder %r in %s: %s is downloaded to %s", idx_set.name, folder, idx_set.name, where)
    train_images = _read(idx_set, idx_set.train_images, local)
    train_labels = _read(idx_set, idx_set.train_labels, local)
    test_images = _read(idx_set, idx_set.test_images, local)
    test_labels = _read(idx_set, idx_set.test_labels, local)
    whole = Dataset(
        name=idx_set.name,
        version=idx_set.version,
        images=np.concatenate([train_images, test_images]),
        labels=np.concatenate([train_labels, test_labels]).astype(np.int64),
        part=np.repeat(np.array([TRAIN, TEST], np.uint8), [len(train_labels), len(test_labels)]),
        class_names=idx_set.class_names,
        licence=idx_set.licence,
        source=idx_set.source,
    )
    return whole.first_classes(n_classes)


def find_idx_set(idx_set: IdxSet, folder: Path | None = None) -> Whereabouts:
    """Where `load_idx_set` would read the files from. Their checksums are not checked."""
    local = _local(idx_set, folder)
    if local is not None:
        try:
            for file in idx_set.files:
                _find(local, file.name)
        except FileNotFoundError as error:
            return Whereabouts("missing", f"{error}: put it there, or remove that folder, and gsbench downloads it")
        return Whereabouts("present", str(local))
    if _kept(idx_set):
        return Whereabouts("present", f"downloaded before, to {cache_folder() / idx_set.name}")
    host = idx_set.mirrors[0].split("/")[2]
    return Whereabouts("download", f"downloaded from {host} when it is first read")


def _local(idx_set: IdxSet, folder: Path | None) -> Path | None:
    """The set's folder in the data folder, or None if it does not exist."""
    return folder / idx_set.name if folder is not None and (folder / idx_set.name).is_dir() else None


def _kept(idx_set: IdxSet) -> bool:
    """Whether all files were downloaded before."""
    return all((cache_folder() / idx_set.name / f"{file.name}.gz").is_file() for file in idx_set.files)


def _read(idx_set: IdxSet, file: IdxFile, local: Path | None) -> np.ndarray:
    path = _download(idx_set, file) if local is None else _find(local, file.name)
    below = len(idx_set.class_names) if len(file.shape) == 1 else None  # one dimension: these are the labels
    return read_idx(path, file.shape, below=below, sha256=file.sha256)


def _find(local: Path, name: str) -> Path:
    for path in _candidates(local, name):
        if path.is_file():
            return path
    raise FileNotFoundError(f"there is no {name} or {name}.gz in {local}")


def _candidates(local: Path, name: str) -> Iterator[Path]:
    for spelling in (name, name.replace("-idx", ".idx")):  # some mirrors write train-images.idx3-ubyte
        yield local / spelling
        yield local / f"{spelling}.gz"


def _download(idx_set: IdxSet, file: IdxFile) -> Path:
    """The gzipped file in the cache folder. It is downloaded if it is missing or damaged.

    The download goes to a draft folder, which the next download removes if this process is killed. The file moves to
    the cache when its checksum is right. Raises ConnectionError if the download fails, WriteError if the disk does.
    """
    kept = cache_folder() / idx_set.name / f"{file.name}.gz"
    if _is_whole(kept, file):
        return kept
    failures, quiet = [], not log.isEnabledFor(logging.WARNING)
    for handler in pooch.get_logger().handlers:  # pooch's logger caches its first level: it is outside logging's tree
        handler.setLevel(logging.ERROR if quiet else logging.INFO)
    with writing(kept, f"{CACHE_VARIABLE} names the cache folder"):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with draft_folder(kept.parent) as draft:
            for mirror in idx_set.mirrors:
                url = f"{mirror}{kept.name}"
                try:
                    pooch.retrieve(
                        url, known_hash=f"md5:{file.gz_md5}", fname=kept.name, path=draft, progressbar=not quiet
                    )
                except (OSError, ValueError) as error:  # no network, no such file, or a wrong checksum
                    if is_of_the_disk(error):
                        raise
                    failures.append(f"{url}: {error}")
                else:
                    os.replace(draft / kept.name, kept)
                    return kept
    raise ConnectionError(
        f"could not download {file.name}.gz of {idx_set.name}; {HOW_TO_NAME}, "
        f"with the four files in its folder {idx_set.name!r}.\n" + "\n".join(failures)
    )


def _is_whole(kept: Path, file: IdxFile) -> bool:
    try:
        return bool(pooch.file_hash(str(kept), alg="md5") == file.gz_md5)
    except OSError:  # the file is missing or unreadable
        return False
