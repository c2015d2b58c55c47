"""`gsbench doctor`: its findings and its advice. Nothing that is broken stops it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from peers import PEERS

import gsbench
from gsbench.backends import BACKENDS, load_backend
from gsbench.cli import doctor, main, probes
from gsbench.cli.probes import MISSING, OK, PROBLEM, Finding, Probe
from gsbench.data import DATASETS
from gsbench.data.mnist import MNIST
from gsbench.runs.grid import tomllib


@pytest.fixture(autouse=True)
def no_torch(monkeypatch):
    """PyTorch takes seconds to import, and only one test needs it."""
    kept = tuple(probe for probe in probes.PROBES if probe.name not in ("backend torch", "Pyro", "JAX"))
    monkeypatch.setattr(doctor, "PROBES", kept)


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.delenv("GSBENCH_DATA", raising=False)
    monkeypatch.setenv("GSBENCH_CACHE", str(tmp_path / "cache"))


def findings(data_dir=None):
    return {finding.name: finding for finding in doctor.examine(data_dir)}


def test_all_that_gsbench_needs_is_found():
    found = findings()
    for name in ("Python", "gsbench", "NumPy", "backend chainer", "SciPy", "pandas", "matplotlib", "other libraries"):
        assert (found[name].mark, found[name].needed) == (OK, True), found[name]
    assert f"{sys.version_info.major}.{sys.version_info.minor}." in found["Python"].found
    assert gsbench.__version__ in found["gsbench"].found
    assert "7.8.1" in found["backend chainer"].found
    assert " threads" in found["NumPy"].found
    assert "GiB free of" in found["memory"].found
    for name in DATASETS:
        assert f"data set {name}" in found


@pytest.mark.usefixtures("wide_terminal")
def test_a_line_each_and_exit_code_0(capsys):
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *lines, empty, last = out.splitlines()
    assert (empty, last) == ("", "gsbench can be used here.")
    assert {line.split()[0] for line in lines} <= {OK, MISSING, PROBLEM}
    assert len(lines) >= len(doctor.PROBES) + len(DATASETS) - 1  # the clock reports something on some machines only


def test_the_findings_as_json(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["usable"] is True
    assert {"name", "mark", "found", "advice", "needed"} == set(found["findings"][0])


def test_every_required_library_is_checked():
    """The dependencies in pyproject.toml, except those that only some Python versions need."""
    content = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    asked = [line for line in content["project"]["dependencies"] if ";" not in line]
    names = {re.match(r"[\w-]+", line)[0].lower().replace("-", "_") for line in asked}
    assert names == {"numpy", "scipy", "pandas", "matplotlib", *probes.OTHERS}


def test_the_advice_names_extras_that_exist():
    content = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    extras = content["project"]["optional-dependencies"]
    assert {source.extra for source in BACKENDS.values()} <= set(extras)
    assert {peer.extra for peer in PEERS.values()} <= set(extras)
    assert {"sweep", "browser", "cuda12"} <= set(extras)


def test_the_readme_has_its_advice_on_chainer():
    """Two commands, because a plain `pip install` of Chainer stops in its build."""
    first, second = BACKENDS["chainer"].how_to_install.split(", then ")
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    assert f"    {first}\n    {second}\n" in readme
    content = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert [second.split()[-1]] == content["project"]["optional-dependencies"]["chainer"]
    constraint = (Path(__file__).parent.parent / "build-constraints.txt").read_text(encoding="utf-8").split()[-1]
    assert f"'{constraint}'" in first


def broken(*, needed):
    def look():
        yield Finding("first", OK, "is told all the same")
        raise RuntimeError("libbroken.so:\nno such file")

    return Probe("broken", look, needed=needed, remedy="mend it")


@pytest.mark.parametrize(("needed", "code"), [(True, 1), (False, 0)])
def test_a_failing_probe_is_a_finding_and_the_others_are_reported(monkeypatch, capsys, needed, code):
    after = Probe("after", lambda: [Finding("after", OK, "fine")])
    monkeypatch.setattr(doctor, "PROBES", (broken(needed=needed), after))
    assert main(["doctor"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "ok       first: is told all the same",
        "problem  broken: RuntimeError: libbroken.so: no such file -> mend it",
        "ok       after: fine",
    ]
    assert lines[-1] == ("gsbench cannot be used here." if needed else "gsbench can be used here.")


@pytest.mark.parametrize(
    ("modules", "names"),
    [
        (["chainer"], {"backend"}),
        (["scipy.stats", "pandas", "matplotlib.ft2font"], {"SciPy", "pandas", "matplotlib"}),
        (["jinja2"], {"other libraries"}),
    ],
)
def test_a_library_that_cannot_be_imported_is_a_problem(modules, names):
    """In a fresh process, because nothing has imported the library there yet."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({modules!r}))\n"
        "from gsbench.backends import BACKENDS; del BACKENDS['torch']\n"
        "from gsbench.cli import doctor, main\n"
        "doctor.PROBES = [p for p in doctor.PROBES if p.name not in ('backend torch', 'Pyro', 'JAX', 'Dask')]\n"
        "sys.exit(main(['doctor', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["usable"] is False
    wrong = {f["name"]: f["advice"] for f in found["findings"] if f["mark"] == PROBLEM and f["needed"]}
    assert wrong.keys() == names
    assert all("pip install" in advice for advice in wrong.values())
    assert "memory" in {finding["name"] for finding in found["findings"]}


def test_an_absent_optional_library_is_missing_and_a_broken_one_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "half_there.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    for module, mark in (("not_there_at_all", MISSING), ("half_there", PROBLEM)):
        (found,) = doctor.guarded(probes.extra("It", module, "it", "peers", "this and that"))
        assert (found.mark, found.needed) == (mark, False)
        assert found.advice == {
            MISSING: "for this and that: pip install 'gsbench[peers]'",
            PROBLEM: "reinstall it, or remove it: pip uninstall it",
        }[mark]


@pytest.mark.parametrize("name", BACKENDS)
def test_each_dtype_of_a_backend_has_its_speed(name):
    if not BACKENDS[name].is_installed:
        pytest.skip(f"{BACKENDS[name].package} is not installed")
    first, *speeds = doctor.guarded(probes.backend_probe(name))
    assert first.mark == OK
    told = next(finding.found for finding in speeds if finding.name == f"backend {name} on cpu")
    told = dict(part.split() for part in told.removeprefix("matrix products, GFLOP/s: ").split(", "))
    assert told.keys() == set(BACKENDS[name].cpu)
    assert all(float(speed.replace(",", "")) > 0 for speed in told.values())


def test_a_dtype_that_is_slower_than_float32_is_told_to_be(monkeypatch):
    speeds = {"float32": 9e10, "float64": 4e10, "bfloat16": 2e10}
    monkeypatch.setattr(probes, "_speed", lambda name, device, dtype: speeds[dtype])
    found = next(iter(probes._speeds("torch")))
    assert "float32 90, float64 40, bfloat16 20" in found.found
    assert found.advice == "slower than float32 here: bfloat16"


def test_a_backend_that_is_not_installed_is_missing_beside_another(monkeypatch):
    source = BACKENDS["torch"]._replace(package="no_such_framework")
    monkeypatch.setitem(BACKENDS, "torch", source)
    (found,) = doctor.guarded(probes.backend_probe("torch"))
    assert (found.mark, found.needed) == (MISSING, False)
    assert found.advice == "for --backend torch: pip install 'gsbench[torch]'"
    with pytest.raises(ValueError, match=r"torch needs .*; allowed here: chainer; .* pip install 'gsbench\[torch\]'$"):
        load_backend("torch")


@pytest.mark.usefixtures("wide_terminal")
def test_without_any_backend_gsbench_cannot_be_used_and_it_says_how_to_get_one(monkeypatch, capsys):
    for source in BACKENDS.values():
        monkeypatch.setitem(BACKENDS, source.name, source._replace(package="no_such_framework"))
    assert main(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    commands = "for torch: pip install 'gsbench[torch]'; or for chainer: pip install 'setuptools<81' wheel, then pip"
    (told,) = [line for line in lines if line.startswith("problem  backend: ")]
    assert told.startswith(f"problem  backend: none is installed -> {commands} install --no-build-isolation chainer==")
    assert lines[-1] == "gsbench cannot be used here."
    with pytest.raises(ValueError, match=f"allowed here: none; to get one, {re.escape(commands)}"):
        load_backend()


def test_gradients_that_are_wrong_are_a_problem(monkeypatch):
    from gsbench.backends.chainer.backend import ChainerBackend

    monkeypatch.setattr(ChainerBackend, "gradient", lambda self, p: p.array)
    found = findings()["backend chainer"]
    assert (found.mark, found.needed) == (PROBLEM, True)
    assert "the gradient of Σp² at [1, -2, 3] is [1.0, -2.0, 3.0]" in found.found


def test_a_card_that_cupy_cannot_use_is_a_problem(monkeypatch):
    from gsbench.backends.chainer import backend

    monkeypatch.setattr(backend, "cuda_problem", lambda: "CuPy finds no CUDA device")
    monkeypatch.setattr(probes, "_cards", lambda: [])
    found = findings()
    assert (found["card"].mark, found["CuPy"].mark) == (MISSING, MISSING)
    assert found["CuPy"].found == "CuPy finds no CUDA device"
    monkeypatch.setattr(probes, "_cards", lambda: ["A card, 80 GiB, driver 1"])
    found = findings()
    assert (found["card"].mark, found["CuPy"].mark) == (OK, PROBLEM)
    assert "pip install 'gsbench[cuda12]'" in found["CuPy"].advice


def test_cards_are_read_from_the_drivers_own_program(monkeypatch):
    def run(command, **options):
        cards = "NVIDIA H100, 81559 MiB, 535.104\nNVIDIA T4, 15360 MiB, 535.104\n"
        return subprocess.CompletedProcess(command, 0, cards)

    monkeypatch.setattr(probes.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(probes.subprocess, "run", run)
    assert probes._cards() == ["NVIDIA H100, 81559 MiB, driver 535.104", "NVIDIA T4, 15360 MiB, driver 535.104"]
    monkeypatch.setattr(probes.shutil, "which", lambda name: None)
    assert probes._cards() == []


def test_little_free_memory_is_a_problem(monkeypatch):
    import psutil

    from gsbench.cli.doctor import examine

    total = psutil.virtual_memory().total
    memory = type("Memory", (), {"available": 2**29, "total": total})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    (found,) = [finding for finding in examine() if finding.name == "memory"]
    assert (found.mark, found.needed) == (PROBLEM, False)
    assert found.found.startswith("0.5 GiB free of")


# Data sets


def test_planned_downloads_are_reported_and_nothing_is_downloaded(monkeypatch):
    monkeypatch.setattr("gsbench.data.mnist.pooch.retrieve", None)  # would fail
    found = findings()
    assert found["data folder"].mark == MISSING
    assert found["data set glyphs"].mark == found["data set synthetic"].mark == OK
    assert found["data set mnist"].mark == MISSING
    assert found["data set mnist"].advice.startswith("downloaded from ossci-datasets.s3.amazonaws.com when")
    assert found["data set omniglot"].mark == MISSING
    assert "GSBENCH_DATA" in found["data set omniglot"].advice


def fill(folder, suffix=".gz"):
    folder.mkdir(parents=True)
    for file in MNIST.files:
        (folder / f"{file.name}{suffix}").touch()


def test_where_data_sets_are(tmp_path):
    data = tmp_path / "data"
    fill(data / "mnist")
    fill(tmp_path / "cache" / "fashion-mnist")
    (data / "omniglot").mkdir()
    (data / "omniglot" / "omniglot28.npz").touch()
    found = findings(str(data))
    assert found["data folder"].found == str(data)
    assert (found["data set mnist"].mark, found["data set mnist"].found) == (OK, str(data / "mnist"))
    kept = f"downloaded before, to {tmp_path / 'cache' / 'fashion-mnist'}"
    assert (found["data set fashion-mnist"].mark, found["data set fashion-mnist"].found) == (OK, kept)
    assert found["data set omniglot"].found == str(data / "omniglot" / "omniglot28.npz")
    (data / "mnist" / f"{MNIST.test_labels.name}.gz").unlink()
    found = findings(str(data))["data set mnist"]
    assert found.mark == MISSING
    assert "there is no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz in" in found.advice


def test_a_missing_data_folder_is_a_problem_only_for_data_sets_that_need_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GSBENCH_DATA", str(tmp_path / "gone"))
    found = findings()
    assert found["data folder"].mark == PROBLEM
    assert "gone' (from $GSBENCH_DATA) is not a folder" in found["data folder"].found
    assert found["data set glyphs"].mark == OK
    assert found["data set mnist"].mark == PROBLEM
    assert main(["doctor"]) == 0


def test_a_cache_that_cannot_be_written_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GSBENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert findings()["cache"].mark == PROBLEM
    monkeypatch.setenv("GSBENCH_CACHE", str(tmp_path / "new" / "cache"))
    assert findings()["cache"].mark == OK
