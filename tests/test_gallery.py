"""The Gumbel-Softmax gallery: its numbers compared with plain NumPy, their behaviour, its figure, its command."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gsbench.backends import BACKENDS, load_backend
from gsbench.cli import gallery as command
from gsbench.cli import main
from gsbench.gallery import SEED, TAUS, logits_of, make_gallery, random_logits, rows, total_variation
from gsbench.report.drawing.sheet import figure_settings
from gsbench.report.figures.gallery import draw_gallery


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


# The numbers


@pytest.mark.parametrize("logits", [[1.0, 0.5, -2.0], list(range(-20, 20)), [1e4, 0.0, 1e4 - 1]])
def test_draws_equal_the_definition(logits):
    """softmax((log π + g)/τ) in plain float64, with the noise from the generator's next draws."""
    gallery = make_gallery(logits, taus=(5.0, 0.1, 1.0), draws=12, seed=7)
    g = -np.log(np.random.default_rng(7).standard_exponential((12, len(logits))))
    pi = softmax(np.array(logits))
    np.testing.assert_allclose(gallery.probabilities, pi, rtol=1e-12, atol=1e-300)
    assert gallery.taus == (0.1, 1.0, 5.0)
    for i, tau in enumerate(gallery.taus):
        s = softmax((np.array(logits) - max(logits) + g) / tau)  # a constant in the logits changes nothing
        np.testing.assert_allclose(gallery.first[i], s[0], rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(gallery.means[i], s.mean(axis=0), rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(gallery.mean_largest[i], s.max(axis=1).mean(), rtol=1e-9)
        if i == 0:
            np.testing.assert_allclose(gallery.shown, s[:10], rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(gallery.from_categorical, np.abs(gallery.means - pi).sum(axis=1) / 2, rtol=1e-9)
    np.testing.assert_allclose(gallery.from_uniform, np.abs(gallery.means - 1 / len(pi)).sum(axis=1) / 2, rtol=1e-9)


@pytest.mark.parametrize("name", BACKENDS)
def test_each_backend_alone_draws_the_same(monkeypatch, name):
    if not BACKENDS[name].is_installed:
        pytest.skip(f"{BACKENDS[name].package} is not installed")
    expected = make_gallery(logits_of([0.5, 0.5, 0.0]), draws=12)
    monkeypatch.setattr("gsbench.gallery.load_backend", lambda _, *where: load_backend(name, *where))
    gallery = make_gallery(logits_of([0.5, 0.5, 0.0]), draws=12)
    np.testing.assert_allclose(gallery.probabilities, expected.probabilities, rtol=1e-12)
    np.testing.assert_allclose(gallery.means, expected.means, rtol=1e-9, atol=1e-300)


def test_the_default_is_the_sources():
    gallery = make_gallery()
    assert gallery.n_classes == 6
    assert gallery.taus == TAUS == (0.1, 1.0, 5.0, 100.0)
    assert (gallery.draws, len(gallery.shown)) == (100, 10)
    assert gallery.probabilities.max() == pytest.approx(0.8, abs=0.005)
    again = make_gallery(random_logits(6, SEED), seed=SEED)
    np.testing.assert_array_equal(gallery.means, again.means)


def test_the_mean_tends_to_the_categorical_at_a_low_and_to_uniform_at_a_high_temperature():
    draws = 40_000
    gallery = make_gallery(logits_of([0.5, 0.3, 0.15, 0.05]), taus=(0.01, 1.0, 1000.0), draws=draws, seed=3)
    pi = gallery.probabilities
    # At τ = 0.01 a draw is one-hot unless its two largest sums are very near: the counts are almost binomial.
    spread = np.sqrt(pi * (1 - pi) / draws)
    assert (np.abs(gallery.means[0] - pi) < 4.5 * spread + 0.002).all()
    assert gallery.mean_largest[0] > 0.99
    # At a high one s = 1/K + (x − x̄)/(K τ) + O(1/τ²), x = log π + g, whose mean is log π less its mean.
    expected = 1 / 4 + (np.log(pi) - np.log(pi).mean()) / (4 * 1000.0)
    noise = np.pi / np.sqrt(6) / (4 * 1000.0) / np.sqrt(draws)
    np.testing.assert_allclose(gallery.means[2], expected, atol=5 * noise + 1e-5)
    assert gallery.from_uniform[2] == pytest.approx(np.abs(expected - 1 / 4).sum() / 2, rel=0.05)
    assert (np.diff(gallery.from_categorical) > 0.01).all()
    assert (np.diff(gallery.from_uniform) < -0.01).all()
    assert (np.diff(gallery.mean_largest) < 0).all()


def test_a_class_without_probability_is_never_drawn():
    gallery = make_gallery(logits_of([0.5, 0.0, 0.5]), draws=200)
    assert gallery.probabilities.tolist() == [0.5, 0.0, 0.5]
    assert gallery.means[:, 1].tolist() == [0.0] * 4
    np.testing.assert_allclose(gallery.means.sum(axis=1), 1)


def test_random_logits_come_from_a_layer_of_scale_3():
    logits = np.array([random_logits(2000, seed) for seed in range(30)])
    # Given x the variance is 9 |x|²/10, whose mean over x is 9; |x|²/10 varies by √(2/10).
    assert logits.var(axis=1).mean() == pytest.approx(9, abs=4 * 9 * np.sqrt(0.2 / 30))
    assert random_logits(6, 1).tolist() != random_logits(6, 2).tolist()


def test_total_variation_runs_from_0_to_1():
    assert total_variation(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1
    assert total_variation(np.array([[0.25, 0.75]]), np.array([0.5, 0.5])).tolist() == [0.25]


def test_the_rows_are_all_that_is_drawn():
    gallery = make_gallery([0.0, 1.0], draws=3, taus=(1.0, 2.0))
    table = pd.DataFrame(rows(gallery))
    assert table.groupby("panel").size().to_dict() == {
        "categorical": 2, "one draw": 4, "draws at the lowest tau": 6, "mean of draws": 4,
    }  # fmt: skip
    mean = table[(table["panel"] == "mean of draws") & (table["tau"] == 2)]
    assert mean["value"].tolist() == gallery.means[1].tolist()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"logits": [1.0]}, "logits must be two or more numbers"),
        ({"logits": [1.0, float("nan")]}, "logits must be two or more numbers, not all -inf and none nan or inf"),
        ({"logits": [1.0, float("inf")]}, "none nan or inf"),
        ({"logits": [-float("inf")] * 2}, "not all -inf"),
        ({"taus": [1.0, 0.0]}, r"taus must be one or more numbers >= 1e-10, got \[1.0, 0.0\]"),
        ({"taus": [float("nan")]}, r"taus must be one or more numbers >= 1e-10, got \[nan\]"),
        ({"taus": [1e-310]}, r"taus must be one or more numbers >= 1e-10, got \[1e-310\]"),
        ({"taus": []}, "taus must be one or more numbers >= 1e-10"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_impossible_galleries_are_refused(options, why):
    with pytest.raises(ValueError, match=why):
        make_gallery(**options)


@pytest.mark.parametrize(
    ("probabilities", "why"),
    [
        ([0.5, 0.6], "must sum to 1, got .*, whose sum is 1.1"),
        ([1.5, -0.5], "two or more numbers >= 0"),
        ([1.0], "two or more numbers"),
        ([0.0, 0.0], "must sum to 1"),
        ([0.5, float("nan")], "two or more numbers >= 0"),
    ],
)
def test_numbers_that_are_no_distribution_are_refused(probabilities, why):
    with pytest.raises(ValueError, match=why):
        logits_of(probabilities)


def test_probabilities_that_were_rounded_will_do():
    np.testing.assert_allclose(make_gallery(logits_of([0.33, 0.33, 0.33])).probabilities, 1 / 3)


# The figure


def drawn(gallery):
    with figure_settings():
        plot = draw_gallery(gallery)
        FigureCanvasAgg(plot.figure).draw()
    return plot, [ax for ax in plot.figure.axes if ax.get_visible()]


@pytest.mark.parametrize(("n_classes", "draws"), [(2, 1), (6, 100), (10, 3), (30, 3), (100, 3), (3000, 3)])
def test_every_panel_has_the_y_axis_from_0_to_1(n_classes, draws):
    gallery = make_gallery(random_logits(n_classes), draws=draws)
    plot, panels = drawn(gallery)
    assert len(panels) == 1 + 4 + min(10, draws) + 4
    for ax in panels:
        assert ax.get_ylim() == (0, 1)
        assert ax.get_xlim() == (-0.6, n_classes - 0.4)
        assert all(0 <= tick <= n_classes - 1 or not ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]
                   for tick in ax.get_xticks())  # fmt: skip
    assert "Jang et al. 2017" in plot.caption
    assert ("are not drawn" in plot.caption) == (n_classes > 40)


def test_the_bars_are_the_numbers():
    gallery = make_gallery(draws=3, taus=(0.5, 2.0))
    _, panels = drawn(gallery)
    heights = [[bar.get_height() for bar in ax.containers[0]] for ax in panels]
    expected = [gallery.probabilities, *gallery.first, *gallery.shown, *gallery.means]
    np.testing.assert_array_equal(heights, expected)


def test_lines_in_place_of_bars_have_the_numbers_too():
    gallery = make_gallery(random_logits(50), draws=1, taus=(1.0,))
    _, panels = drawn(gallery)
    for ax, values in zip(panels, [gallery.probabilities, gallery.first[0], gallery.first[0]], strict=False):
        seen = np.flatnonzero(values >= 1e-3)
        tops = [segment[1] for segment in ax.collections[0].get_segments()]
        np.testing.assert_allclose(tops, np.stack([seen, values[seen]], axis=1))


@pytest.mark.parametrize("n_taus", [1, 5, 6, 12])
def test_any_number_of_temperatures_has_its_panels(n_taus):
    taus = np.linspace(0.5, 3, n_taus)
    plot, panels = drawn(make_gallery([0.0, 1.0], taus=taus, draws=1))
    assert len(panels) == 1 + 2 * n_taus + 1
    titles = [ax.get_title() for ax in panels]
    for tau in taus:
        assert sum(title.startswith(f"τ = {tau:g}:") for title in titles) == 2
    bottom = [text.get_window_extent().y0 for text in plot.figure.texts]
    assert min(bottom) >= 0


# The command


@pytest.fixture
def undrawn(monkeypatch):
    """The command without its files, which take seconds to draw."""
    monkeypatch.setattr(command, "write_gallery", lambda gallery, folder: [folder / name for name in command.FILES])


@pytest.mark.usefixtures("wide_terminal")
def test_the_command_writes_figure_and_numbers_and_prints_a_table(tmp_path, capsys):
    folder = tmp_path / "made" / "here"
    assert main(["gallery", "--output", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert sorted(path.name for path in folder.iterdir()) == ["gallery.csv", "gallery.png", "gallery.svg"]
    lines = out.splitlines()
    assert lines[-1] == str(folder / "gallery.png")
    gallery = make_gallery()
    assert "Jang et al. 2017" in lines[0]
    (row,) = [line.split() for line in lines if line.startswith("2 ")]
    assert row == ["2", *(f"{x:.3f}" for x in (gallery.probabilities[2], *gallery.means[:, 2]))]
    (off,) = [line.split() for line in lines if line.startswith("distance to the categorical")]
    assert off[-4:] == [f"{x:.3f}" for x in gallery.from_categorical]
    table = pd.read_csv(folder / "gallery.csv")
    assert len(table) == 6 * (1 + 4 + 10 + 4)
    before = (folder / "gallery.svg").read_bytes()
    assert main(["gallery", "--output", str(folder)]) == 0
    assert (folder / "gallery.svg").read_bytes() == before


def test_the_table_of_many_classes_has_the_likeliest_and_the_rest_in_sum(tmp_path, capsys, undrawn):
    assert main(["gallery", "--classes", "40", "--taus", "1", "--output", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    gallery = make_gallery(random_logits(40), taus=(1.0,))
    likeliest = np.sort(gallery.probabilities)[::-1]
    (rest,) = [line.split() for line in lines if "others" in line]
    assert rest[:3] == ["29", "others", f"{likeliest[11:].sum():.3f}"]


def test_the_numbers_as_json(tmp_path, capsys, undrawn):
    options = ["--probabilities", "0.7,0.3,0", "--taus", "2,0.5", "--draws", "20", "--seed", "4"]
    assert main(["gallery", *options, "--json", "--output", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    gallery = make_gallery(logits_of([0.7, 0.3, 0.0]), taus=(2, 0.5), draws=20, seed=4)
    assert found["logits"][2] is None
    assert found["probabilities"] == gallery.probabilities.tolist()
    assert [entry["tau"] for entry in found["by_tau"]] == [0.5, 2]
    assert found["by_tau"][1]["mean"] == gallery.means[1].tolist()
    assert found["by_tau"][0]["mean_off_categorical"] == gallery.from_categorical[0]
    assert found["draws_at_lowest_tau"] == gallery.shown.tolist()
    assert len(found["files"]) == 3


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--classes", "1"], "--classes must be >= 2, got 1"),
        (["--probabilities", "0.5,0.2"], "--probabilities must sum to 1"),
        (["--logits=-1"], "--logits must be two or more"),
        (["--taus", "0"], "--taus must be one or more numbers >= 1e-10"),
        (["--taus", ",".join(map(str, range(1, 102)))], "--taus must be at most 100 temperatures, got 101"),
        (["--draws", "0"], "--draws must be >= 1"),
        (["--seed", "-1"], "--seed must be >= 0, got -1"),
        (["--draws", "1000000000000000"], "--draws × --classes = 1,000,000,000,000,000 × 6 need about 2.68e+08 GiB"),
        (["--classes", "1000000000000"], "--draws × --classes = 1 × 1,000,000,000,000 need about"),
        (["--draws", "9223372036854775807", "--classes", "9223372036854775807"], "need about"),
    ],
)
def test_unusable_arguments_are_exit_code_2_and_nothing_is_written(tmp_path, capsys, options, why):
    assert main(["gallery", *options, "--output", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--logits", "1_0,2"], "--logits: must be numbers with commas between them, such as 0.1,1,5, got '1_0,2'"),
        (["--logits", "１,2"], "got '１,2'"),
        (["--taus", "1,"], "got '1,'"),
        (["--draws", "9" * 400], "argument --draws: must be an integer <= 9223372036854775807, got '999"),
        (["--taus", "a,b"], "argument --taus: must be numbers with commas between them, such as 0.1,1,5, got 'a,b'"),
        (["--classes", "3", "--logits", "1,2"], "not allowed with argument"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(options, why, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["gallery", *options])
    assert stop.value.code == 2
    assert why in " ".join(capsys.readouterr().err.split())
