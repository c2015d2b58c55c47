"""The README's example is run, and its commands and options are those that exist."""

import re
from pathlib import Path

import numpy as np

from gsbench.backends import load_backend
from gsbench.estimators import parse_estimator
from gsbench.models import ADGM, ModelConfig
from gsbench.objective import unlabelled_bound

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_of_an_estimator_is_unbiased():
    namespace = {"__name__": "readme"}
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL)[1], namespace)
    bk = load_backend("chainer", "cpu", "float64")
    model = ADGM(bk, ModelConfig(n_classes=4, n_pixels=6, units=5, d_a=2, d_z=2), seed=1)
    x = bk.array(np.random.default_rng(0).random((1, 6)) < 0.5)
    noise = model.draw_noise(bk.generator(1), 1)
    f = model.class_bound(x, noise)
    exact, entropy = (bk.to_numpy(v) for v in parse_estimator("marginalize")(f, f.logits_y, None))
    rng = bk.generator(2)
    draws = [namespace["Uniform"]()(f, f.logits_y, rng) for _ in range(600)]
    values = np.array([float(bk.to_numpy(draw.expectation)[0, 0]) for draw in draws])
    assert abs(values.mean() - exact[0, 0]) < 4 * values.std() / np.sqrt(len(values))
    assert bk.to_numpy(draws[0].entropy) == entropy
    assert bk.to_numpy(unlabelled_bound(model, x, namespace["Uniform"](), bk.generator(3))).shape == (1,)


def test_the_commands_name_environments_that_exist():
    tox = (ROOT / "tox.ini").read_text()
    for environment in set(re.findall(r"tox (?:-q )?-e (\w+)", README)):
        assert f"[testenv:{environment}]" in tox, environment


def test_the_gate_runs_the_test_command():
    command = "python3 -m venv .venv && .venv/bin/pip install -q tox && .venv/bin/tox -p 2"
    assert f"    {command}\n" in README
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(command)


def test_the_options_of_the_table_exist():
    options = (ROOT / "bench" / "options.py").read_text()
    named = re.findall(r"^\| `--([\w-]+)", README, re.MULTILINE)
    assert len(named) >= 15
    for option in named:
        assert f'"--{option}"' in options, option


def test_the_figures_and_pages_that_are_linked_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target
