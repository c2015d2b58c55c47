"""A user's own file adds an estimator, a model, a data set, a backend and a figure, here, in child processes and on a
sweep's workers.
"""

import csv
import hashlib
import io
import json
import os
import re

import pytest
from records_fixture import make_record, timing_figures, write_lines

from gsbench import registry
from gsbench.backends import BACKENDS
from gsbench.cli import main
from gsbench.data import DATASETS, load_dataset
from gsbench.estimators import ESTIMATORS, parse_estimator
from gsbench.estimators.marginalize import Marginalize
from gsbench.limits import available_bytes
from gsbench.meters.child import run_in_child
from gsbench.models import MODELS
from gsbench.registry import Registry, load_plugins, loaded_plugins, named_plugins, plugin_versions
from gsbench.report import make_report
from gsbench.report.figures import FIGURES
from gsbench.runs import Store, cluster
from gsbench.runs.grid import read_grids
from gsbench.runs.sweep import run_sweep
from gsbench.settings.case import Settings
from gsbench.settings.run import make_run

PLUGIN = """
from dataclasses import dataclass, replace

from gsbench.backends import BACKENDS, BackendSource
from gsbench.backends.chainer.backend import ChainerBackend
from gsbench.data import DATASETS, DataSource, Whereabouts, load_dataset
from gsbench.estimators import ESTIMATORS
from gsbench.estimators.marginalize import Marginalize
from gsbench.models import MODELS
from gsbench.models.m2 import M2


@ESTIMATORS.register
@dataclass(frozen=True)
class Enumerate(Marginalize):
    name = "enumerate"


@MODELS.register
class Own(M2):
    name = "own"


DATASETS.register(
    DataSource(
        name="mirrored",
        load=lambda k, folder, seed: mirrored(load_dataset("glyphs", k)),
        count=lambda folder: 1000,
        default=lambda folder: 10,
        find=lambda folder: Whereabouts("made", "made here"),
        doc="Glyphs in a mirror.",
        licence="as the glyphs",
    )
)


def mirrored(glyphs):
    return replace(glyphs, name="mirrored", images=glyphs.images[:, :, ::-1].copy())


class Mine(ChainerBackend):
    name = "mine"


BACKENDS.register(BackendSource("mine", __name__, "Mine"))
"""
FIGURE = """
from gsbench.report.drawing.figure import Figure
from gsbench.report.drawing.shapes import AgainstNumber, Metric
from gsbench.report.figures import FIGURES
from gsbench.records.frame import measured

FIGURES.register(
    Figure(
        15, "steps_an_hour", "fast", "step", "Steps an hour",
        rows=lambda frame, curves: measured(frame, "step", "step_seconds"),
        points=lambda rows: rows.assign(panel="", x=rows["n_classes"], y=3600 / rows["step_seconds"]),
        shape=AgainstNumber(Metric("number of classes K"), Metric("steps an hour", better=1)), caption="Mine.",
    )
)
"""
NAMES = {"estimator": "enumerate", "model": "own", "dataset": "mirrored", "backend": "mine"}


@pytest.fixture
def registries(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_loaded", {})
    before = [(things, dict(things)) for things in (ESTIMATORS, MODELS, DATASETS, BACKENDS, FIGURES)]
    yield
    for things, own in before:
        things.clear()
        things.update(own)


@pytest.fixture
def plugin(tmp_path, registries):
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return str(path)


def test_names_of_a_plugin_are_known_once_it_is_loaded_and_travel_in_settings(plugin):
    with pytest.raises(ValueError, match="unknown model 'own'; known: adgm, m2"):
        Settings(**NAMES, threads=1)
    settings = Settings(**NAMES, threads=1, plugins=(plugin,))
    assert settings.plugins == loaded_plugins() == Settings(threads=1).plugins == (plugin,)
    assert load_plugins([plugin, plugin]) == (plugin, plugin)  # once loaded, it is not loaded again
    digits = hashlib.sha256(PLUGIN.encode()).hexdigest()[:12]
    assert settings.record_fields()["plugins"] == [f"plugin.py {digits}"]
    assert settings.record_fields()["exact_sum"]
    mirrored, glyphs = load_dataset("mirrored", 2), load_dataset("glyphs", 2)
    assert (mirrored.images == glyphs.images[:, :, ::-1]).all()


@pytest.mark.slow
def test_a_figure_of_a_plugin_stands_in_the_report_at_its_place(tmp_path, registries):
    path = tmp_path / "figures.py"
    path.write_text(FIGURE)
    load_plugins([str(path)])
    records = [make_record("step", n_classes=k, **timing_figures("step", k / 1000)) for k in (10, 100)]
    page = make_report([write_lines(tmp_path / "run.jsonl", records)], name="mine", output=tmp_path)
    written = page.with_name("report.md").read_text()
    assert "## Steps an hour\n\n![Steps an hour](steps_an_hour.png)" in written
    assert written.index("## Steps an hour") < written.index("## Training steps per second")
    data = json.loads(re.search(r'id="drawn">(.*?)</script>', page.read_text(), re.DOTALL)[1])["steps_an_hour"]
    rows = csv.DictReader(io.StringIO(data))
    found = {row["number of classes K"]: float(row["steps an hour"]) for row in rows}
    assert found == {"10": 360_000, "100": 36_000}


def test_without_plugins_records_and_names_of_runs_are_what_they_were(registries):
    assert "plugins" not in Settings(threads=1).record_fields()


def test_where_a_plugin_lies_has_no_part_in_the_name_of_a_run(plugin, tmp_path):
    key = make_run({"preset": "small", "threads": 1}).key
    load_plugins([plugin])
    assert make_run({"preset": "small", "threads": 1}).key == key


def test_a_case_of_a_plugin_is_measured_in_a_child_process(plugin):
    settings = Settings(**NAMES, preset="small", batch=10, threads=1, plugins=(plugin,))
    result = run_in_child(settings, limit_bytes=available_bytes())
    assert result.status == "ok", result.reason
    assert result.process_peak_bytes > result.process_start_bytes > 0


@pytest.mark.slow
def test_a_sweep_of_a_plugin_is_made_by_two_workers(plugin, tmp_path):
    load_plugins([plugin])
    tiny = {"preset": "small", "batch": 10, "labelled_per_class": 2, "n_classes": 2, "steps": 3, "evaluate_every": 2,
            "validation_images": 20, "test_draws": 1, "threads": 1}  # fmt: skip
    runs = [make_run({**NAMES, **tiny, "seed": seed}) for seed in range(2)]
    with cluster.local_client(2, 2) as client:
        records = run_sweep(runs, Store(tmp_path / "runs"), client, checkpoint_seconds=1e9)
    assert [(record["status"], record["reason"]) for record in records] == [("ok", "")] * 2
    assert {record["estimator"] for record in records} == {"enumerate"}
    assert {record["dataset_version"] for record in records} == {load_dataset("glyphs", 2).version}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("1/0", "ZeroDivisionError: division by zero"),
        ("from gsbench.models import MODELS\n@MODELS.register\nclass Nameless: pass", "needs a name"),
        (
            "from gsbench.models import MODELS\n@MODELS.register\nclass Taken: name = 'm2'",
            "the model 'm2' is there already; register another name than adgm, m2",
        ),
        (
            "from gsbench.models import MODELS\n@MODELS.register\nclass Odd: name = 'odd'",
            "the model 'odd' must be a class that derives from gsbench.models.base.Model, got <class",
        ),
        (
            "from gsbench.models import MODELS, Model\n@MODELS.register\nclass Odd(Model): name = 'odd'",
            "the model 'odd' lacks _make_networks, bound_of, class_bound, class_logits",
        ),
        (
            "from gsbench.estimators import ESTIMATORS, Estimator\n@ESTIMATORS.register\nclass Odd(Estimator):\n"
            "    name = 'odd'",
            "the estimator 'odd' lacks __call__, calls: see gsbench.estimators.base.Estimator",
        ),
        (
            "from dataclasses import dataclass\nfrom gsbench.estimators import ESTIMATORS\n"
            "from gsbench.estimators.marginalize import Marginalize\n@ESTIMATORS.register\n"
            "@dataclass(frozen=True, kw_only=True)\nclass Odd(Marginalize):\n    name = 'odd'\n    size: int",
            "the estimator 'odd' needs a default for size",
        ),
        (
            "from gsbench.data import DATASETS\nclass Odd: name = 'odd'\nDATASETS.register(Odd())",
            "the data set 'odd' must be a gsbench.data.base.DataSource, got <",
        ),
        (
            "from gsbench.report.figures import FIGURES\nclass Odd: name = 'odd'\nFIGURES.register(Odd())",
            "the figure 'odd' must be a gsbench.report.drawing.figure.Declared, got <",
        ),
    ],
)
def test_a_plugin_that_fails_is_named_with_what_was_wrong(text, told, tmp_path, registries):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"the plug-in .*mine\.py cannot be loaded: ") as raised:
        load_plugins([str(path)])
    assert told in str(raised.value)
    assert loaded_plugins() == ()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere/mine.py", "the plug-in .*nowhere/mine.py cannot be loaded: there is no such file"),
        ("nowhere_to_be_found", "the plug-in nowhere_to_be_found cannot be loaded: ModuleNotFoundError"),
        ("../mine", "a plug-in is a file that ends in .py, or a module such as package.module, got '../mine'"),
        ("", "a plug-in is a file that ends in .py, or a module such as package.module, got ''"),
    ],
)
def test_a_plugin_that_is_not_there_is_named(name, told, registries):
    with pytest.raises(ValueError, match=told):
        load_plugins([name])


def test_a_module_that_can_be_imported_is_a_plugin(plugin, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    load_plugins(["plugin"])
    assert loaded_plugins() == ("plugin",)
    assert isinstance(parse_estimator("enumerate"), Marginalize)


def test_a_registry_keeps_the_order_in_which_things_were_registered():
    class Thing:
        name = "b"

    things = Registry("thing", (Thing,))

    @things.register
    class Other:
        name = "a"

    assert list(things.items()) == [("b", Thing), ("a", Other)]


def test_plugins_come_from_installed_packages_the_environment_and_the_option(tmp_path, monkeypatch):
    """An installed package names a module in its entry points."""
    info = tmp_path / "theirs-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[gsbench.plugins]\ntheirs = theirs.extras\n")
    (info / "RECORD").write_text("theirs/extras.py,,\n")
    (info / "top_level.txt").write_text("theirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("GSBENCH_PLUGINS", os.pathsep.join(["a.py", "", "b"]))
    given = ["train", "--plugin", "c.py", "--plugin=d", "--classes", "10", "--", "--plugin", "e"]
    assert named_plugins(given) == {
        "entry points gsbench.plugins": ["theirs.extras"],
        "$GSBENCH_PLUGINS": ["a.py", "b"],
        "argument --plugin": ["c.py", "d"],
    }
    assert plugin_versions(["theirs.extras", "nowhere"]) == ["theirs.extras 1.2", "nowhere"]


@pytest.mark.parametrize("place", ["option", "environment"])
def test_a_command_knows_the_names_of_a_plugin(place, plugin, monkeypatch, capsys):
    given = ["--plugin", plugin] if place == "option" else []
    if place == "environment":
        monkeypatch.setenv("GSBENCH_PLUGINS", plugin)
    assert main(["list", "--json", *given]) == 0
    listed = json.loads(capsys.readouterr().out)
    for kind, name in (("estimators", "enumerate"), ("models", "own"), ("data-sets", "mirrored")):
        (entry,) = [entry for entry in listed[kind] if entry["name"] == name]
        assert entry["text"].endswith("(From a plug-in.)")
    assert main([*given, "completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in ("enumerate", "mirrored", "--plugin"))


def test_a_command_refuses_a_plugin_that_is_not_there(registries, capsys):
    assert main(["list", "--plugin", "nowhere/mine.py"]) == 2
    assert "argument --plugin: the plug-in" in capsys.readouterr().err


def test_a_grid_names_its_plugins_with_paths_from_its_own_folder(plugin, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    grid = tmp_path / "grid.toml"
    grid.write_text('plugins = ["plugin.py"]\n[grid]\nestimator = "enumerate"\n')
    assert read_grids(grid) == [{"estimator": "enumerate"}]
    assert loaded_plugins() == (plugin,)


@pytest.mark.parametrize("plugins", ['"plugin.py"', "[1]"])
def test_the_plugins_of_a_grid_are_a_list_of_names(plugins, tmp_path):
    (tmp_path / "grid.toml").write_text(f"plugins = {plugins}\n")
    with pytest.raises(ValueError, match="plugins must be a list of files and modules, got"):
        read_grids(tmp_path / "grid.toml")


@pytest.mark.slow
def test_a_plugin_is_measured_by_the_benchmark_and_trained(plugin, tmp_path, session, capsys):
    """With its memory case, in a child process, and the report of both."""
    case = ["--plugin", plugin, "--preset", "small", "--classes", "2", "--dataset", "mirrored", "--threads", "1",
            "--batch", "5"]  # fmt: skip
    ended = session(
        f"--benchmark-storage=file://{tmp_path}/bench", *case, "--models", "own", "--estimators",
        "enumerate,gumbel-softmax", "--benchmark-max-time", "0.05", "--benchmark-min-rounds", "3", "-k",
        "test_step or test_memory",
    )  # fmt: skip
    assert ended.ret == 0, ended.stdout + ended.stderr
    (file,) = (tmp_path / "bench" / "records").glob("*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(record["group"], record["status"]) for record in records].count(("memory", "ok")) == 2
    assert {tuple(record["plugins"]) for record in records} == {tuple(plugin_versions([plugin]))}
    train = ["--labels", "2", "--steps", "2", "--evaluate-every", "2", "--validation-images", "20", "--test-draws", "1"]
    trained = ["--model", "own", "--estimator", "enumerate", "--runs", str(tmp_path / "runs")]
    assert main(["train", *case, *train, *trained]) == 0
    assert main(["report", str(file), str(tmp_path / "runs"), "--output", str(tmp_path), "--name", "r"]) == 0
    capsys.readouterr()
    assert "enumerate" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")


def test_the_benchmark_refuses_a_plugin_that_is_not_there(session):
    ended = session("--plugin", "nowhere/mine.py")
    assert ended.ret == 4
    assert "argument --plugin: the plug-in" in ended.stderr


def test_a_plugin_that_was_changed_has_runs_of_its_own(plugin, monkeypatch):
    load_plugins([plugin])
    given = {"estimator": "enumerate", "preset": "small", "threads": 1}
    first = make_run(given).key
    assert make_run(given).key == first
    monkeypatch.setitem(registry._loaded, plugin, "plugin.py 0123456789ab")
    assert make_run(given).key != first
