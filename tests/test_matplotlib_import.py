"""matplotlib is imported whatever MPLBACKEND says, and the user's other code gets the backend that it names."""

import os
import subprocess
import sys

import pytest
from plan_fixture import plan_records
from records_fixture import make_record, write_lines

# A notebook's backend, in an environment without matplotlib_inline; an unknown backend.
NOT_INSTALLED = ["module://matplotlib_inline.backend_inline", "no-backend-at-all"]
LOOK = "import os, matplotlib; print(os.environ.get('MPLBACKEND'), dict.__getitem__(matplotlib.rcParams, 'backend'))"
HIDE = "import sys; sys.modules['matplotlib_inline'] = None\n"


def python(code, backend, cwd=None):
    """A fresh process, in which nothing has imported matplotlib yet."""
    environment = {key: value for key, value in os.environ.items() if key != "MPLBACKEND"}
    environment |= {} if backend is None else {"MPLBACKEND": backend}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, timeout=120)


@pytest.mark.parametrize("backend", [None, "", "svg", "TkAgg", "module://some.where"])
def test_the_users_other_code_gets_the_backend_that_it_would_have_had(backend):
    own = python(f"import gsbench.matplotlib_import\n{LOOK}", backend)
    plain = python(LOOK, backend)
    assert (own.returncode, plain.returncode) == (0, 0), own.stderr
    assert own.stdout.split()[0] == (backend or str(backend)) or backend == ""
    # The object that means "none was chosen" differs between processes.
    assert own.stdout.split(" at 0x")[0] == plain.stdout.split(" at 0x")[0]


@pytest.mark.parametrize("backend", NOT_INSTALLED)
def test_a_backend_that_is_not_installed_does_not_change_the_environment(backend):
    done = python(f"{HIDE}import gsbench.matplotlib_import\n{LOOK}\nimport matplotlib.pyplot", backend)
    assert done.stdout.split()[0] == backend, done.stderr
    assert "ModuleNotFoundError" in done.stderr or done.returncode == 0  # older versions notice it late


def test_a_users_own_import_comes_first():
    code = f"import matplotlib; matplotlib.use('pdf')\nimport gsbench.report\n{LOOK}"
    done = python(code, "svg")
    assert done.stdout.split() == ["svg", "pdf"], done.stderr


@pytest.mark.parametrize("backend", NOT_INSTALLED)
def test_all_that_draws_does_so_without_a_backend(tmp_path, backend):
    write_lines(tmp_path / "p.jsonl", plan_records())
    for name in ("a", "b"):
        write_lines(tmp_path / f"{name}.jsonl", [make_record("step", step_seconds=0.1)])
    code = f"""{HIDE}
from gsbench.cli import doctor, main
doctor.PROBES = [probe for probe in doctor.PROBES if probe.name == "matplotlib"]
codes = [main(command.split()) for command in (
    "doctor", "gallery --draws 2 --taus 1", "compare a.jsonl b.jsonl --figure c.svg", "plan p.jsonl --figure p.png",
    "report a.jsonl --name r",
)]
sys.exit(str(codes))
"""
    done = python(code, backend, tmp_path)
    assert done.stderr.splitlines()[-1] == "[0, 0, 0, 0, 0]", done.stderr
    assert "ok       matplotlib: " in done.stdout
    for file in ("gallery/gallery.svg", "c.svg", "p.png", "reports/r/report.html"):
        assert (tmp_path / file).stat().st_size > 1000
