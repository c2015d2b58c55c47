"""Training runs against the number of classes, and the images that they write."""

import math

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from records_fixture import SEEDS, final_accuracy, training_record, training_records

from gsbench.records.frame import make_curves, make_frame
from gsbench.records.reading import IMAGES, Reading
from gsbench.report.drawing.sheet import figure_settings
from gsbench.report.drawing.styles import make_look
from gsbench.report.figures import FIGURES
from gsbench.report.figures.images import without_damaged_images
from gsbench.training.images import write_images

COLOURS = {"marginalize": "#0072B2", "gumbel-softmax": "#D55E00", "labels-only": "#000000"}
BY_CLASSES = ("accuracy_by_classes", "time_to_accuracy", "training_memory")
SWEEP = training_records()


def draw(figure, records):
    frame = make_frame(records)
    look = make_look(frame["estimator"].dropna(), frame["series"])
    with figure_settings():
        return FIGURES[figure].draw(frame, make_curves(records, frame), look)


def lines_in(axes):
    """Colour → the y of the drawn line with markers, without the ends of bars."""
    return {ln.get_color(): ln.get_xydata()[:, 1] for ln in axes.lines if ln.get_marker() not in ("None", "_", "|")}


def bars_in(axes, colour):
    """The ends [n, 2] of the error bars of the line in this colour."""
    (container,) = [c for c in axes.containers if c.lines[0].get_color() == colour]
    return np.array([segment[:, 1] for segment in container[2][0].get_segments()])


def shown(plot):
    return [ax for ax in plot.figure.axes if ax.get_visible()]


def test_final_accuracies_are_means_over_seeds_with_bars_from_the_least_to_the_greatest():
    plot = draw("accuracy_by_classes", SWEEP)
    (panel,) = shown(plot)
    assert panel.get_title() == "ADGM on glyphs, 10 labels a class, preset small"
    for name, colour in COLOURS.items():
        middle = np.array([final_accuracy(name, k) for k in (10, 100, 1000)])
        np.testing.assert_allclose(lines_in(panel)[colour], 100 * (middle + np.mean(SEEDS)))
        np.testing.assert_allclose(bars_in(panel, colour), 100 * np.stack([middle - 0.01, middle + 0.02], axis=1))
    assert "Mean over 3 seeds; bars from the least to the greatest of them." in plot.caption


def test_only_runs_that_came_to_their_end_count():
    lost = [{**record, "status": status} for record, status in zip(SWEEP, ("unfinished", "diverged"), strict=False)]
    (panel,) = shown(draw("accuracy_by_classes", [*lost, *SWEEP[2:]]))
    assert lines_in(panel)["#0072B2"][0] == pytest.approx(100 * final_accuracy("marginalize", 10, 2))


@pytest.mark.parametrize("figure", BY_CLASSES)
def test_one_class_count_is_no_line(figure):
    assert draw(figure, training_records(ks=[10])) is None
    assert draw(figure, training_records(ks=[10, 20])) is not None


def test_a_data_set_of_one_class_count_stands_beside_those_of_its_preset():
    alone = [training_record("marginalize", 242, dataset="omniglot"), training_record("marginalize", 10, preset="blog")]
    alone.append(training_record("gumbel-softmax", 242, dataset="omniglot", validation_accuracy=0.77))
    panels = shown(draw("accuracy_by_classes", [*alone, *SWEEP]))
    assert [panel.get_title() for panel in panels] == [
        "ADGM on glyphs, 10 labels a class, preset small",
        "ADGM on Omniglot, 10 labels a class, preset small",
    ]
    low, high = panels[1].get_ylim()
    assert high - low == pytest.approx(2)  # near points are not spread over the axis


def test_runs_that_end_by_the_clock_set_no_target():
    short = training_records(ks=(10, 20), budget_steps=None, budget_seconds=8.0)
    assert draw("time_to_accuracy", short) is None
    assert draw("accuracy_by_classes", short) is not None


def test_the_time_is_until_a_share_of_the_worst_final_accuracy_without_labels_only():
    records = [
        *training_records(ks=[10, 100], estimators=["marginalize"], seconds=300.0),
        *training_records(ks=[10, 100], estimators=["gumbel-softmax"], seconds=20.0),
        *training_records(ks=[10, 100], estimators=["labels-only"], seconds=5.0),
    ]
    plot = draw("time_to_accuracy", records)
    (panel,) = shown(plot)
    for name, seconds in (("marginalize", 300.0), ("gumbel-softmax", 20.0)):
        targets = [0.95 * final_accuracy("gumbel-softmax", k, 0) for k in (10, 100)]
        times = [
            [seconds * target / final_accuracy(name, k, seed) for seed in range(3)]
            for target, k in zip(targets, (10, 100), strict=True)
        ]
        np.testing.assert_allclose(lines_in(panel)[COLOURS[name]], np.mean(times, axis=1))
        ends = [[min(own), max(own)] for own in times]
        np.testing.assert_allclose(bars_in(panel, COLOURS[name]), ends)
    assert COLOURS["labels-only"] not in lines_in(panel)
    assert "95 % of the lowest final accuracy" in plot.caption


def test_the_first_crossing_counts():
    """0.8 is crossed at 15 s, lost, and crossed again."""
    shaky = {"curve_accuracy": [0.0, 0.7, 0.9, 0.1, 0.8 / 0.95], "validation_accuracy": 0.8 / 0.95, "seconds": 40.0}
    records = [training_record("marginalize", k, **shaky) for k in (10, 20)]
    (panel,) = shown(draw("time_to_accuracy", records))
    np.testing.assert_allclose(lines_in(panel)["#0072B2"], [15.0, 15.0])


def test_memory_is_the_devices_if_it_was_read():
    records = [training_record("marginalize", k, live_peak_bytes=5, device_peak_bytes=3 * 2**20 * k) for k in (10, 100)]
    records += [training_record("gumbel-softmax", k) for k in (10, 100)]
    (panel,) = shown(draw("training_memory", records))
    np.testing.assert_allclose(lines_in(panel)["#0072B2"], [30, 300])
    np.testing.assert_allclose(lines_in(panel)["#D55E00"], [10, 100])


# Images


def grids(ink=0, n=7, n_classes=3, m=6, side=4):
    """Each image has one shade: `ink` plus a number for its place."""
    number = np.arange(n)
    shades = {
        "originals": ink + number,
        "reconstructions": ink + 20 + number,
        "analogies": ink + 40 + 4 * number[:, None] + np.arange(n_classes),
        "samples": ink + 80 + 4 * np.arange(m)[:, None] + np.arange(n_classes),
    }
    images = {name: np.broadcast_to(s[..., None, None], (*s.shape, side, side)) for name, s in shades.items()}
    return {name: image.astype(np.uint8) for name, image in images.items()} | {"classes": np.arange(n_classes) + 5}


def with_images(folder, record, **made):
    path = folder / f"{record['case']}.npz"
    write_images(path, grids(**made))
    return {**record, IMAGES: str(path)}


def shades_in(panel):
    """(column, row), in whole images → the shade of the image drawn there."""
    found = {}
    for image in panel.images:
        left, _, _, top = image.get_extent()
        found[math.floor(left), math.floor(top)] = int(image.get_array()[0, 0])
    return found


def test_the_images_of_the_best_run_stand_in_their_places(tmp_path):
    records = [with_images(tmp_path, training_record(seed=seed), ink=100 * (seed == 2)) for seed in range(3)]
    plot = draw("image_grids", records)
    (panel,) = plot.figure.axes
    shades = shades_in(panel)
    assert len(shades) == 5 * (2 + 3) + 4 * 3
    originals = [shades[0, row] for row in range(5)]
    assert originals == [100, 102, 103, 104, 106]  # 5 of 7, from the first to the last, of seed 2
    assert [shades[1, row] for row in range(5)] == [120, 122, 123, 124, 126]
    assert [shades[3 + c, 1] for c in range(3)] == [140 + 8, 140 + 9, 140 + 10]
    assert [shades[3 + c, 5] for c in range(3)] == [180, 181, 182]
    names = [written.get_text() for written in panel.texts]
    assert names == ["original", "recon-\nstruction", "5", "6", "7", "samples:\none z a row"]
    case, run = panel.get_title(loc="left").splitlines()
    assert case == "ADGM on glyphs, 10 labels a class, preset small, K = 10"
    assert run == "marginalize, seed 2: 92.0 % on the validation part"


def test_ink_is_dark_and_paper_is_light(tmp_path):
    plot = draw("image_grids", [with_images(tmp_path, training_record())])
    image = plot.figure.axes[0].images[0]
    paper, ink = (np.mean(image.cmap(image.norm(value))[:3]) for value in (0, 255))
    assert paper > 0.99
    assert ink < 0.05


def test_images_that_cannot_be_read_are_told_and_the_next_best_run_is_shown(tmp_path):
    records = [with_images(tmp_path, training_record(seed=seed), ink=10 * seed) for seed in range(3)]
    path = tmp_path / f"{records[2]['case']}.npz"
    path.write_bytes(path.read_bytes()[:100])
    reading = without_damaged_images(Reading(tuple(records)))
    plot = draw("image_grids", reading.records)
    assert shades_in(plot.figure.axes[0])[0, 0] == 10
    (notice,) = reading.notices
    assert notice.startswith(f"Left out: {tmp_path.name}/{path.name} is damaged or not of the right form: ")


def test_there_are_no_images_without_a_finished_run_that_left_some(tmp_path):
    assert draw("image_grids", SWEEP) is None
    unfinished = with_images(tmp_path, training_record(status="unfinished"))
    assert draw("image_grids", [unfinished, *SWEEP[:1]]) is None


def test_at_most_four_runs_are_shown(tmp_path):
    records = [with_images(tmp_path, training_record(k=k)) for k in (10, 20, 50, 100, 200, 500)]
    plot = draw("image_grids", records)
    titles = [ax.get_title(loc="left").splitlines()[0] for ax in plot.figure.axes]
    assert [title.split("K = ")[1] for title in titles] == ["10", "50", "100", "500"]
    assert "4 of 6 are shown." in plot.caption


def test_nothing_lies_outside(tmp_path):
    twenty = with_images(tmp_path, training_record(k=50), n_classes=20, n=10)
    for figure, records in (*((figure, SWEEP) for figure in BY_CLASSES), ("image_grids", [twenty])):
        plot = draw(figure, records)
        FigureCanvasAgg(plot.figure).draw()
        width, height = plot.figure.get_size_inches() * plot.figure.dpi
        box = plot.figure.get_tightbbox().get_points() * plot.figure.dpi
        assert (box >= 0).all(), figure
        assert (box[1] <= (width, height)).all(), figure


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_the_words_at_the_bottom_of_a_panel_cover_no_point(shift):
    """A slow, accurate estimator and a fast, inaccurate one: the latter's point lies near the words."""
    records = [
        training_record(name, 10, seed, seconds, validation_accuracy=accuracy + seed / 100)
        for name, seconds, accuracy in (("marginalize", 400.0, 0.9), ("gumbel-softmax", 10.0, 0.5 + shift))
        for seed in (0, 1)
    ] + [training_record("labels-only", 10, validation_accuracy=0.477)]
    plot = draw("pareto", records)
    (panel,) = shown(plot)
    plot.figure.canvas.draw()
    (words,) = [text for text in panel.texts if "labels-only: 47.7 %" in text.get_text()]
    ends = [segment for bars in panel.collections for segment in bars.get_segments()]
    assert ends
    lowest = panel.transData.transform(np.concatenate(ends))[:, 1].min()
    assert words.get_window_extent().y1 < lowest - 3  # half of a marker, in pixels
