"""Image grids compared with the oracle's networks: reconstructions, analogies and samples of both models."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
from core_fixtures import make_model, plain_noise
from oracles import Oracle

from gsbench.data.base import DataFileError
from gsbench.estimators import ESTIMATORS
from gsbench.models import MODELS, Labels
from gsbench.settings.presets import PRESETS
from gsbench.training.images import image_grids, read_images, write_images
from gsbench.training.objective import unlabelled_bound

BOTH = pytest.mark.parametrize("name", list(MODELS))
SIDE, K, N, M, SEED, DRAWS = 3, 5, 6, 4, 7, 3
# Its small initial weights would leave every image the same grey.
BATCH_NORM = {**PRESETS["blog"].networks, "init_std": None}
VARIANTS = {"default": {}, "batch norm": BATCH_NORM}


def make(name, n_classes=K, dtype="float64", **changes):
    """A model whose images differ visibly between classes and between z, and whose ŷ differs between examples."""
    model = make_model(name, n_classes, dtype, n_pixels=SIDE**2, units=32, **changes)
    for key, p in model.parameters.items():
        if key.startswith("q_y_") and "/W" in key:
            p.array[...] *= 3  # else the biases would choose the class
    return model


def make_x(n=N):
    return np.random.default_rng(3).integers(0, 9, (n, SIDE**2)) / 8


def move_running_averages(model):
    for seed in range(20):
        rng = model.bk.generator(seed)
        unlabelled_bound(model, model.bk.array(make_x(8)), ESTIMATORS["marginalize"](), rng)


def running_averages(model):
    return {
        (network.name, layer): (mean.copy(), var.copy())
        for network in model.networks
        for layer, (mean, var) in enumerate(network.running, start=1)
    }


def as_bytes(logits):
    return np.rint(255 / (1 + np.exp(-logits))).astype(np.uint8).reshape(*logits.shape[:-1], SIDE, SIDE)


class Expected:
    """Grids from the oracle, one row and one class at a time."""

    def __init__(self, model, x):
        self.oracle, self.x = Oracle(model), x
        self.oracle.statistics = running_averages(model)
        rng = model.bk.generator(SEED)
        self.z_prior = model.bk.normal(rng, (M, model.config.d_z))
        self.eps_a, _ = plain_noise(model, model.draw_noise(rng, len(x), DRAWS))
        self.n_classes = model.config.n_classes

    def q_y(self, draws):
        return np.mean([oracles.softmax(self.oracle.logits(self.x, self.eps_a[n])) for n in range(draws)], axis=0)

    def z(self, y):
        one_hot = oracles.one_hot(y, self.n_classes)
        if not self.oracle.has_a:
            return self.oracle.gaussian("q_z_xy", x=self.x, y=one_hot)[0]
        a, _ = self.oracle.gaussian("q_a_x", x=self.x)
        return self.oracle.gaussian("q_z_axy", x=self.x, a=a, y=one_hot)[0]

    def decoded(self, y, z):
        return as_bytes(self.oracle.network("p_x_yz", y=oracles.one_hot(y, self.n_classes), z=z))

    def of_classes(self, z, classes):
        return np.stack([self.decoded([k] * len(z), z) for k in classes], axis=1)


def grids_and_expected(name, n_classes=K, **changes):
    model, x = make(name, n_classes, **changes), make_x()
    move_running_averages(model)
    expected = Expected(model, x)
    grids = image_grids(model, x, seed=SEED, n_images=N, n_samples=M, draws_of_a=DRAWS)
    return grids, expected


@pytest.mark.parametrize("variant", VARIANTS)
@BOTH
def test_grids_are_the_oracles(name, variant):
    grids, expected = grids_and_expected(name, **VARIANTS[variant])
    y = expected.q_y(DRAWS).argmax(axis=1)
    z = expected.z(y)
    assert {key: (g.shape, g.dtype) for key, g in grids.items() if key != "classes"} == {
        "originals": ((N, SIDE, SIDE), np.uint8),
        "reconstructions": ((N, SIDE, SIDE), np.uint8),
        "analogies": ((N, K, SIDE, SIDE), np.uint8),
        "samples": ((M, K, SIDE, SIDE), np.uint8),
    }
    assert grids["classes"].tolist() == list(range(K))
    np.testing.assert_array_equal(grids["originals"], np.rint(255 * expected.x).reshape(N, SIDE, SIDE))
    np.testing.assert_array_equal(grids["reconstructions"], expected.decoded(y, z))
    np.testing.assert_array_equal(grids["analogies"], expected.of_classes(z, range(K)))
    np.testing.assert_array_equal(grids["samples"], expected.of_classes(expected.z_prior, range(K)))


@pytest.mark.parametrize("variant", VARIANTS)
@BOTH
def test_the_test_above_notices_another_class_z_or_y(name, variant):
    """Another class, z or ŷ gives other bytes in every image."""
    grids, expected = grids_and_expected(name, **VARIANTS[variant])
    y = expected.q_y(DRAWS).argmax(axis=1)
    assert len(set(y)) > 1
    for key in ("analogies", "samples"):
        rows_of_classes = grids[key].reshape(-1, K, SIDE**2)
        for row in rows_of_classes:
            assert len(np.unique(row, axis=0)) == K
        for of_class in rows_of_classes.swapaxes(0, 1):
            assert len(np.unique(of_class, axis=0)) == len(rows_of_classes)
    assert (expected.decoded(y, expected.z((y + 1) % K)) != grids["reconstructions"]).any(axis=(1, 2)).all()


def test_the_class_comes_from_the_average_over_draws_of_a():
    model, x = make("adgm"), make_x(40)
    expected = Expected(model, x)
    one, averaged = (expected.q_y(draws).argmax(axis=1) for draws in (1, DRAWS))
    assert (one != averaged).any()
    got = image_grids(model, x, seed=SEED, n_images=40, n_samples=M, draws_of_a=DRAWS)
    np.testing.assert_array_equal(got["reconstructions"], expected.decoded(averaged, expected.z(averaged)))


@BOTH
def test_a_reconstruction_is_the_analogy_of_its_own_class(name):
    grids, expected = grids_and_expected(name)
    y = expected.q_y(DRAWS).argmax(axis=1)
    np.testing.assert_array_equal(grids["reconstructions"], grids["analogies"][np.arange(N), y])


@BOTH
def test_batch_norm_takes_its_running_averages_and_leaves_them(name):
    model, x = make(name, **BATCH_NORM), make_x()
    fresh = image_grids(model, x)
    move_running_averages(model)
    before = running_averages(model)
    moved = image_grids(model, x)
    for key in ("reconstructions", "analogies", "samples"):
        assert (fresh[key] != moved[key]).any()
    for key, pair in running_averages(model).items():
        np.testing.assert_array_equal(pair, before[key])
    alone = image_grids(model, x[:1], n_images=1)  # a row does not depend on the others
    np.testing.assert_array_equal(alone["samples"], moved["samples"])
    assert model.training


@BOTH
def test_pixels_are_not_dropped(name):
    x = make_x()
    whole, dropping = (image_grids(make(name, drop_x=drop), x) for drop in (0.0, 0.9))
    for key, grid in whole.items():
        np.testing.assert_array_equal(grid, dropping[key])


@BOTH
def test_same_seed_same_images(name):
    model, x = make(name), make_x()
    first, again, other = (image_grids(model, x, seed=seed) for seed in (0, 0, 1))
    for key, grid in first.items():
        np.testing.assert_array_equal(grid, again[key])
    assert (first["samples"] != other["samples"]).any(axis=(2, 3)).all()
    np.testing.assert_array_equal(first["originals"], other["originals"])


@BOTH
def test_at_most_twenty_classes_that_lie_evenly(name):
    model = make(name, 47)
    grids = image_grids(model, make_x(), n_images=2, n_samples=3)
    classes = grids["classes"]
    assert len(classes) == 20
    assert set(np.diff(classes)) == {2, 3}
    assert classes[0] <= 2
    assert classes[-1] >= 44
    assert grids["analogies"].shape == (2, 20, SIDE, SIDE)
    named = image_grids(model, make_x(), n_images=2, n_samples=3, classes=classes[[4, 17]].tolist())
    np.testing.assert_array_equal(named["classes"], classes[[4, 17]])
    for key in ("analogies", "samples"):
        np.testing.assert_array_equal(named[key], grids[key][:, [4, 17]])
    assert len(image_grids(make(name, 20), make_x())["classes"]) == 20


def test_classes_beyond_the_first_are_the_oracles():
    grids, expected = grids_and_expected("adgm", 47)
    np.testing.assert_array_equal(grids["samples"], expected.of_classes(expected.z_prior, grids["classes"]))


def test_rows_lie_evenly_and_over_the_labels_if_there_are_any():
    model = make("m2")
    x = np.repeat(np.arange(12)[:, None] / 255, SIDE**2, axis=1)  # each row says its number

    def shown(**settings):
        return image_grids(model, x, **settings)["originals"][:, 0, 0].tolist()

    assert shown(n_images=3) == [2, 6, 10]
    assert shown(n_images=99) == list(range(12))
    labels = np.array([2, 1, 0] * 4)
    assert shown(labels=labels, n_images=3) == [8, 7, 6]  # classes 0, 1, 2
    assert [int(labels[row]) for row in shown(labels=labels, n_images=6)] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(("dtype", "most_off"), [("float32", 1), ("float16", 6)])
@BOTH
def test_narrow_dtypes_give_nearly_the_same_samples(name, dtype, most_off):
    model = make(name, dtype=dtype)
    expected = Expected(model, make_x())
    got = image_grids(model, make_x(), seed=SEED, n_samples=M)["samples"]
    off = got.astype(int) - expected.of_classes(expected.z_prior.astype(np.float64), range(K))
    assert abs(off).max() <= most_off


def test_logits_of_any_size_give_ink_or_paper():
    model = make("m2")
    model.p_x_yz.parameters["p_x_yz/b3"].array[...] = np.where(np.arange(SIDE**2) % 2, 1e6, -1e6)
    samples = image_grids(model, make_x())["samples"].reshape(-1, SIDE**2)
    np.testing.assert_array_equal(samples, np.broadcast_to(255 * (np.arange(SIDE**2) % 2), samples.shape))


@BOTH
def test_no_graph_is_kept(name):
    model, x = make(name), make_x()
    y = Labels(model.bk.integers(np.zeros(N)))
    assert model.decode(y, model.encode(model.bk.array(x), y)).creator is not None
    with model.evaluating():
        z = model.encode(model.bk.array(x), y)
        assert z.shape == (1, 1, N, model.config.d_z)
        assert model.decode(y, z).creator is None
    image_grids(model, x)
    assert all(p.grad is None for p in model.parameters.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_images": 0}, "n_images must be >= 1, got 0"),
        ({"n_samples": -1}, "n_samples must be >= 1, got -1"),
        ({"draws_of_a": 0}, "draws_of_a must be >= 1, got 0"),
        ({"classes": [0, 5]}, r"classes must be one or more of 0 to 4, got \[0, 5\]"),
        ({"classes": [-1]}, r"classes must be one or more of 0 to 4, got \[-1\]"),
        ({"classes": []}, r"classes must be one or more of 0 to 4, got \[\]"),
        ({"labels": np.zeros(5)}, "labels must be one for each row of x, 6, got 5"),
        ({"x": make_x(0)}, "x must have at least one row"),
    ],
)
def test_errors_say_what_is_allowed(settings, message):
    with pytest.raises(ValueError, match=message):
        image_grids(make("m2"), **{"x": make_x(), **settings})


def test_only_square_images():
    model = make_model("m2", K)  # of 6 pixels
    with pytest.raises(ValueError, match="n_pixels must be a square number such as 784, got 6"):
        image_grids(model, np.zeros((2, 6)))


# The file


def test_a_file_returns_the_written_grids(tmp_path):
    grids = image_grids(make("m2"), make_x())
    path = tmp_path / "a run" / "images.npz"
    write_images(path, grids)
    assert [file.name for file in path.parent.iterdir()] == ["images.npz"]
    read = read_images(path)
    assert list(read) == ["originals", "reconstructions", "analogies", "samples", "classes"]
    for key, grid in grids.items():
        assert read[key].dtype == grid.dtype
        np.testing.assert_array_equal(read[key], grid)


def test_no_file_damaged_file_and_file_with_objects_are_refused(tmp_path):
    path = tmp_path / "images.npz"
    with pytest.raises(FileNotFoundError):
        read_images(path)
    grids = image_grids(make("m2"), make_x())
    np.savez_compressed(path, **{key: grid for key, grid in grids.items() if key != "samples"})
    with pytest.raises(DataFileError, match="samples"):
        read_images(path)
    np.savez_compressed(path, **{**grids, "samples": np.array([None])})
    with pytest.raises(DataFileError, match="pickle"):
        read_images(path)
    write_images(path, grids)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataFileError, match="damaged"):
        read_images(path)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("originals", np.uint8(3)),  # a scalar
        ("originals", np.zeros((3, 784), np.uint8)),
        ("reconstructions", np.zeros((1, 28, 28), np.uint8)),
        ("analogies", np.zeros((3, 28, 28), np.uint8)),
        ("samples", np.zeros((2, 4, 28, 28), np.float32)),
        ("samples", np.zeros((0, 4, 28, 28), np.uint8)),
        ("samples", np.zeros((2, 4, 14, 14), np.uint8)),
        ("classes", np.int64(4)),
        ("classes", np.arange(5)),
    ],
)
def test_images_of_another_form_are_refused_by_name(tmp_path, name, wrong):
    right = {
        **{name: np.zeros((3, 28, 28), np.uint8) for name in ("originals", "reconstructions")},
        **{name: np.zeros((3, 4, 28, 28), np.uint8) for name in ("analogies", "samples")},
        "classes": np.arange(4),
    }
    path = tmp_path / "images.npz"
    write_images(path, right)
    assert list(read_images(path)) == list(right)
    write_images(path, {**right, name: wrong})
    with pytest.raises(DataFileError, match=rf"images\.npz is damaged or not of the right form: it holds .*{name} "):
        read_images(path)
