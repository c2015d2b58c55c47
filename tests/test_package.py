"""Sdist and wheel: what is in them, and that an environment which has gsbench from the wheel measures and reports."""

import email
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from test_smoke import BENCH

import gsbench
from gsbench.runs.grid import tomllib

pytestmark = pytest.mark.newest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HERE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # without the source tree


def run(*command, cwd, **environment):
    command = [str(word) for word in command]
    done = subprocess.run(command, cwd=cwd, env={**HERE, **environment}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    needed = PYPROJECT["build-system"]["requires"]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder / "tools"), *needed]
    done = subprocess.run(install, env=HERE, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        pytest.skip(f"pip cannot install {' '.join(needed)} here: {(done.stderr.splitlines() or ['no message'])[-1]}")
    build = [sys.executable, "-m", "hatchling", "build", "-d", folder]
    run(*build, "-t", "sdist", cwd=ROOT, PYTHONPATH=str(folder / "tools"))
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        packed.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    run(*build, "-t", "wheel", cwd=unpacked, PYTHONPATH=str(folder / "tools"))
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def sources(folder):
    """The files of a folder, without its own name."""
    found = {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file()}
    return {name for name in found if not re.search(r"(^|/)(\.|__pycache__/)", name)}


@pytest.mark.slow
def test_the_wheel_has_the_package_and_the_benchmark_and_nothing_else(dist):
    with zipfile.ZipFile(dist[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    of_benchmark = {f"gsbench/bench/{name}" for name in sources("bench")}
    assert names == {f"gsbench/{name}" for name in sources("gsbench")} | of_benchmark


@pytest.mark.slow
def test_the_sdist_has_what_a_clone_builds_and_tests_with(dist):
    with tarfile.open(dist[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {f"{folder}/{name}" for folder in ("gsbench", "bench", "tests", "docs") for name in sources(folder)} <= names
    assert {"pyproject.toml", "tox.ini", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"} <= names
    assert not [name for name in names if name.startswith((".ci", "reports"))]


@pytest.mark.slow
def test_the_metadata_are_those_an_index_shows(dist):
    with zipfile.ZipFile(dist[1]) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(wheel.read(name))
        assert name.replace("METADATA", "licenses/LICENSE") in wheel.namelist()
    assert (metadata["Name"], metadata["Version"]) == ("gsbench", gsbench.__version__)
    assert metadata["License-Expression"] == "MIT"
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert len(required) == len(PYPROJECT["project"]["dependencies"])
    assert not [line for line in required if line.startswith(("chainer", "torch"))]
    assert {"torch", "chainer", "sweep"} <= set(metadata.get_all("Provides-Extra"))
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload(decode=True).decode()
    assert "# gsbench" in text
    assert len(text) > 0.8 * len((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("http")] == []


@pytest.fixture(scope="module")
def python(dist, tmp_path_factory):
    """The Python of an environment that has the wheel. It sees this environment's libraries after its own."""
    folder = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    python = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--compile"]
    run(*pip, "--no-deps", "--no-index", dist[1], cwd=folder)
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    seen = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (own / "libraries.pth").write_text("\n".join(seen))
    return python


@pytest.mark.slow
def test_the_wheel_measures_and_reports_in_an_empty_folder(python, tmp_path):
    installed = Path(run(python, "-c", "import gsbench; print(gsbench.__file__)", cwd=tmp_path).strip()).parent
    assert installed.is_relative_to(python.parent.parent)
    before = {*installed.rglob("*")}
    out = run(python, "-m", "gsbench", "bench", *BENCH, cwd=tmp_path)
    assert re.search(r"^rootdir: (.*)$", out, re.M)[1] == str(installed)
    assert "4 passed" in out
    (file,) = (tmp_path / ".benchmarks" / "records").glob("*.jsonl")
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert {(record["group"], record["status"]) for record in records} == {("step", "ok"), ("memory", "ok")}
    assert {record["gsbench_version"] for record in records} == {gsbench.__version__}
    assert len([*(tmp_path / ".benchmarks").rglob("0001_*.json")]) == 1
    page = tmp_path / run(python, "-m", "gsbench", "report", cwd=tmp_path).strip()
    assert page.name == "report.html"
    assert "gumbel-softmax" in page.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {".benchmarks", "reports"}
    assert {*installed.rglob("*")} == before  # pip has compiled all modules
    script = shutil.which("gsbench", path=str(python.parent))
    assert run(script, "--version", cwd=tmp_path).strip() == f"gsbench {gsbench.__version__}"


def test_the_citation_has_the_version_and_the_licence():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([\w-]+): (.+)$", citation, re.M))
    assert (fields["cff-version"], fields["type"]) == ("1.2.0", "software")
    assert fields["version"] == gsbench.__version__
    assert fields["license"] == PYPROJECT["project"]["license"]
    assert [f"  - name: {author['name']}" for author in PYPROJECT["project"]["authors"]] == re.findall(
        r"^  - name: .*", citation, re.M
    )
