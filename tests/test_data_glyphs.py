"""The glyph data set: its bytes, its independence of K, its parts against plain oracles, its cache."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from scipy.ndimage import map_coordinates

from gsbench.data import TEST, TRAIN, glyph_outlines, glyph_sampling, glyphs
from gsbench.data.glyph_outlines import coverage, draw_faces, outline, soften
from gsbench.data.glyph_sampling import Distortion, sample_class
from gsbench.data.glyphs import code_points, load_glyphs


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GSBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "glyphs"


def polygon(*corners):
    """Segments [S, 4] of the closed polygon with these corners."""
    corners = np.array(corners, float)
    return np.hstack([corners, np.roll(corners, -1, axis=0)])


# ---------------------------------------------------------------- the set


def test_the_bytes_are_the_same_on_every_machine():
    """If this fails, earlier records used another data set, and VERSION must increase."""
    data = load_glyphs(12, train_per_class=20, test_per_class=5)
    assert (data.version, data.checksum) == ("1", "1593491010672957")


def test_the_outlines_of_all_classes_come_from_the_fonts():
    digest = hashlib.sha256()
    for code_point in code_points():
        segments = [outline(face, code_point) for face in glyph_outlines.FACES]
        kept = [s for s in segments if s is not None]
        assert len(kept) in (4, 8, 12), f"U+{code_point:04X}"
        digest.update(kept[0].astype("<f8").tobytes())
    assert digest.hexdigest()[:16] == "f6b922fe8a6e7165"


def test_classes_are_1200_distinct_characters_and_begin_with_the_digits():
    assert len(set(code_points())) == len(code_points()) == 1200
    assert "".join(map(chr, code_points()[:10])) == "0123456789"
    assert load_glyphs(3, train_per_class=1, test_per_class=1).class_names == ("U+0030", "U+0031", "U+0032")


def test_an_image_depends_neither_on_the_number_of_classes_nor_on_the_number_of_images():
    few = load_glyphs(3, train_per_class=130, test_per_class=2)
    many = load_glyphs(5, train_per_class=135, test_per_class=7)
    for part in (TRAIN, TEST):
        for k in range(3):
            small = few.images[(few.part == part) & (few.labels == k)]
            large = many.images[(many.part == part) & (many.labels == k)]
            np.testing.assert_array_equal(small, large[: len(small)])


def test_train_and_test_and_classes_draw_from_separate_streams():
    faces = draw_faces(ord("0"))
    images = [sample_class(faces, 20, key, Distortion()) for key in ((TRAIN, 0), (TEST, 0), (TRAIN, 1))]
    assert len({image.tobytes() for image in np.concatenate(images)}) == 60
    data = load_glyphs(3, train_per_class=20, test_per_class=20)
    assert len({image.tobytes() for image in data.images}) == 120


@pytest.mark.parametrize(("n_classes", "train", "test"), [(10, 6000, 1000), (7, 8571, 1428), (1200, 50, 10)])
def test_default_sizes(monkeypatch, n_classes, train, test):
    def blank(k, a, b):
        return np.zeros((k * (a + b), 28, 28), np.uint8)

    monkeypatch.setattr(glyphs, "_make_images", blank)
    data = load_glyphs(n_classes)
    assert np.bincount(data.labels[data.part == TRAIN]).tolist() == [train] * n_classes
    assert np.bincount(data.labels[data.part == TEST]).tolist() == [test] * n_classes


def test_the_last_class_is_drawn_like_the_first():
    images = sample_class(draw_faces(code_points()[-1]), 50, (TRAIN, 1199), Distortion())
    ink = images.mean(axis=(1, 2))
    assert images.max() == 255
    assert (ink > 5).all()
    assert (images[:, [0, -1]].mean() + images[:, :, [0, -1]].mean()) < 10  # the margin is paper


def test_ten_labels_a_class_leave_it_about_as_hard_as_mnist():
    """The nearest of 100 labelled images has the right class for 70 % of glyphs (MNIST: 65-73 %)."""
    data = load_glyphs(10, train_per_class=10, test_per_class=50)
    train = data.images[data.part == TRAIN].reshape(100, -1).astype(float)
    test = data.images[data.part == TEST].reshape(500, -1).astype(float)
    distance = (train**2).sum(1) - 2 * test @ train.T
    guess = data.labels[data.part == TRAIN][distance.argmin(axis=1)]
    assert 0.60 < (guess == data.labels[data.part == TEST]).mean() < 0.85


@pytest.mark.parametrize("what", ["train_per_class", "test_per_class"])
def test_an_impossible_number_of_images_is_refused(what):
    with pytest.raises(ValueError, match=f"{what} must be at least 1, got 0"):
        load_glyphs(3, **{what: 0})


# ---------------------------------------------------------------- the rasteriser


def test_no_fallback_font_draws_characters_that_dejavu_lacks():
    assert all(face.startswith("DejaVu") for face in glyph_outlines.FACES)
    with pytest.raises(ValueError, match=r"no DejaVu face draws U\+4E00"):
        draw_faces(0x4E00)


def test_a_square_fills_its_box_exactly():
    expected = np.zeros((64, 64), np.uint8)
    expected[12:52, 12:52] = 255
    np.testing.assert_array_equal(coverage(polygon((0, 0), (0, 100), (100, 100), (100, 0))), expected)


def test_ink_is_in_proportion_to_area():
    triangle = coverage(polygon((0, 0), (1000, 1000), (2000, 0)))  # half of a box of 40 × 20
    assert triangle.sum() / 255 == pytest.approx(400, rel=0.01)


def test_a_hole_is_paper_and_an_overlap_is_ink():
    outer = polygon((0, 0), (0, 40), (40, 40), (40, 0))
    inner = polygon((10, 10), (10, 30), (30, 30), (30, 10))
    hole = coverage(np.concatenate([outer, inner[:, [2, 3, 0, 1]]]))
    assert hole[32, 32] == 0
    assert hole.sum() == 255 * (40 * 40 - 20 * 20)
    np.testing.assert_array_equal(coverage(np.concatenate([outer, inner])), coverage(outer))


@pytest.mark.parametrize(
    ("face", "character"), [("DejaVuSans", "8"), ("DejaVuSerif-Italic", "g"), ("DejaVuSansMono-Bold", "@")]
)
def test_coverage_agrees_with_points_inside_the_outline(face, character):
    segments = outline(face, ord(character))
    low, high = segments[:, :2].min(axis=0), segments[:, :2].max(axis=0)
    unit = (high - low).max() / 40  # font units a pixel
    place = (np.arange(64 * 8) + 0.5) / 8 - 32
    x, y = np.meshgrid((low + high)[0] / 2 + place * unit, (low + high)[1] / 2 - place * unit)
    inside = np.zeros(x.size, int)  # the number of contours
    font, _ = glyph_outlines._open_face(face)
    font.load_char(ord(character), flags=glyph_outlines._load_flags())
    vertices, codes = font.get_path()
    for contour in Outline(vertices * 64, codes).to_polygons(closed_only=True):
        inside += Outline(contour).contains_points(np.column_stack([x.ravel(), y.ravel()]))
    expected = (inside % 2).reshape(64, 8, 64, 8).mean(axis=(1, 3)) * 255
    assert np.abs(coverage(segments) - expected).mean() < 1.0
    assert np.abs(coverage(segments) - expected).max() < 60


def test_softening_is_the_binomial_filter_twice():
    point = np.zeros((1, 64, 64), np.uint8)
    point[0, 30, 20] = 255
    row = np.convolve([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])
    soft = soften(point)[0].astype(float)
    assert soft[30, 20] == 255
    expected = 255 * np.outer(row, row) / row.max() ** 2
    np.testing.assert_allclose(
        soft[26:35, 16:25], expected, atol=255 * 1.5 / 18
    )  # integers of a peak of about 18
    assert soft.sum() == soft[26:35, 16:25].sum()


# ---------------------------------------------------------------- the sampler


def oracle(faces, u, d):
    """One image, float64, from its 41 uniforms: the documented map with sines and SciPy's interpolation."""

    def between(v, low, high):
        return low + (high - low) * v

    angle = 2 * np.arctan(between(u[1], -d.half_angle_tangent, d.half_angle_tangent))
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, between(u[2], -d.shear, d.shear)], [0, 1]])
    aspect = between(u[4], -d.aspect, d.aspect)
    affine = 2 / between(u[3], *d.scale) * np.diag([1 + aspect, 1 - aspect]) @ shear @ rotation
    image = np.empty((28, 28))
    for row in range(28):
        for column in range(28):
            shift = np.array([between(u[5], -d.shift, d.shift), between(u[6], -d.shift, d.shift)])
            x, y = affine @ (np.array([column, row]) - 13.5 - shift) + 31.5
            knot = np.array([[row / 9], [column / 9]])
            x += 2 * map_coordinates(between(u[9:25], -d.elastic, d.elastic).reshape(4, 4), knot, order=1)[0]
            y += 2 * map_coordinates(between(u[25:41], -d.elastic, d.elastic).reshape(4, 4), knot, order=1)[0]
            face = faces[int(u[0] * len(faces))].astype(float)
            image[row, column] = map_coordinates(face, [[y], [x]], order=1, mode="nearest")[0]
    black, gain = 255 * between(u[7], *d.ink_level), 1 / between(u[8], *d.softness)
    return np.clip((image - black) * gain, 0, 255)


@pytest.mark.parametrize(
    "distortion", [Distortion(), Distortion(shear=0.5, scale=(0.5, 0.6), shift=6.0, elastic=4.0)]
)
def test_images_agree_with_a_plain_float64_oracle(distortion):
    faces = draw_faces(ord("5"))
    uniforms = np.random.default_rng(0).random((4, glyph_sampling.UNIFORMS))
    images = glyph_sampling._sample(faces, uniforms, distortion)
    for image, u in zip(images, uniforms, strict=True):
        assert np.abs(image - oracle(faces, u, distortion)).max() < 0.6  # rounding, and float32


def test_every_face_is_drawn_and_about_as_often():
    faces = np.zeros((4, 64, 64), np.uint8)
    faces[:] = np.array([0, 85, 170, 255])[:, None, None]
    flat = Distortion(ink_level=(0.0, 0.0), softness=(1.0, 1.0))
    values, counts = np.unique(sample_class(faces, 400, (TRAIN, 0), flat)[:, 14, 14], return_counts=True)
    assert values.tolist() == [0, 85, 170, 255]
    assert counts.min() > 70


# ---------------------------------------------------------------- the cache


def small():
    return load_glyphs(2, train_per_class=3, test_per_class=2)


def refuse(*_):
    raise AssertionError("drawn anew")


def test_a_set_is_made_once(own_cache, monkeypatch):
    made = small()
    monkeypatch.setattr(glyphs, "draw_faces", refuse)
    kept = small()
    assert kept.checksum == made.checksum
    assert not kept.images.flags.writeable
    assert len(list(own_cache.iterdir())) == 1


# Damage to the content, while the archive itself is whole.
OTHERS = {
    "other images": lambda kept: {"images": 255 - kept["images"]},
    "one number": lambda kept: {"images": np.uint8(3)},
    "fewer images": lambda kept: {"images": kept["images"][:-1]},
    "another shape": lambda kept: {"images": kept["images"].reshape(5, 2, 28, 28)},
    "narrower images": lambda kept: {"images": kept["images"][:, :, :27]},
    "another type": lambda kept: {"images": kept["images"].astype(float)},
    "text": lambda kept: {"images": np.array(["a", "b"])},
    "objects": lambda kept: {"images": np.array([None])},
    "another checksum": lambda kept: {"checksum": "0123456789abcdef"},
    "many checksums": lambda kept: {"checksum": np.array(["0123456789abcdef"] * 2)},
    "a checksum that is a number": lambda kept: {"checksum": 7},
    "one array more": lambda kept: {"labels": np.zeros(10)},
    "no checksum": lambda kept: {"checksum": None},
}


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "flipped", *OTHERS])
def test_a_damaged_cache_is_made_anew(own_cache, monkeypatch, caplog, damage):
    caplog.set_level("INFO", "gsbench")
    made = small()
    assert caplog.messages == []
    (path,) = own_cache.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 3
    flipped = whole[:middle] + bytes([whole[middle] ^ 0x55]) + whole[middle + 1 :]
    contents = {"empty": b"", "cut": whole[:middle], "garbage": b"nonsense" * 99, "flipped": flipped}
    if damage in OTHERS:
        kept = {"images": made.images, "checksum": made.checksum}
        changed = {**kept, **OTHERS[damage](kept)}
        np.savez(path, **{name: array for name, array in changed.items() if array is not None})
    else:
        path.write_bytes(contents[damage])
    assert small().checksum == made.checksum
    (remark,) = caplog.messages
    assert remark.startswith(f"the glyphs kept in the cache are made anew: {path} ")
    monkeypatch.setattr(glyphs, "draw_faces", refuse)
    assert small().checksum == made.checksum  # and it was kept


def test_a_folder_in_place_of_the_cached_file_is_a_warning(own_cache):
    made = small()
    (path,) = own_cache.iterdir()
    path.unlink()
    path.mkdir()
    with pytest.warns(RuntimeWarning, match="not kept in the cache: .*a folder has this name: remove it"):
        assert small().checksum == made.checksum
    assert [p.name for p in own_cache.iterdir()] == [path.name]


def test_the_next_writer_cleans_the_cache_after_killed_processes(own_cache):
    for i in range(8):
        draft = own_cache / f".gsbench-{i}"
        draft.mkdir(parents=True)
        (draft / "lock").touch()
        (draft / "file").write_bytes(b"half")
    small()
    assert len(list(own_cache.iterdir())) == 1


def test_the_file_name_holds_all_settings(monkeypatch):
    names = {glyphs.cache_path(*sizes).name for sizes in ((2, 3, 2), (3, 3, 2), (2, 4, 2), (2, 3, 3))}
    monkeypatch.setattr(glyphs, "DISTORTION", Distortion(shear=0.3))
    names.add(glyphs.cache_path(2, 3, 2).name)
    monkeypatch.setattr(glyphs, "VERSION", "2")
    names.add(glyphs.cache_path(2, 3, 2).name)
    assert len(names) == 6


def test_an_interrupted_write_leaves_nothing(own_cache, monkeypatch):
    def interrupted(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(glyphs.np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small()
    assert list(own_cache.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GSBENCH_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="not kept in the cache"):
        assert len(small().images) == 10
