"""`gsbench check`: plug-ins that are right pass, and each wrong one fails with a sentence that says why."""

import re

import pytest
from test_registry import PLUGIN, registries  # noqa: F401

from gsbench import checks
from gsbench.cli import main
from gsbench.estimators import ESTIMATORS
from gsbench.registry import Registry, load_plugins

RIGHT = PLUGIN
HEAD = """
from dataclasses import dataclass, replace
from gsbench.estimators import ESTIMATORS, Estimate
from gsbench.estimators.marginalize import Marginalize
from gsbench.estimators.score_function import ScoreFunction
from gsbench.estimators.straight_through import StraightThrough
from gsbench.models import Labels

"""
ESTIMATOR = "@ESTIMATORS.register\n@dataclass(frozen=True)\nclass Wrong({base}):\n    name = 'wrong'\n{body}"
CHANGED = """
    def __call__(self, f, logits_y, rng):
        bk = f.bk
        expectation, entropy = super().__call__(f, logits_y, rng)
        return Estimate({expectation}, entropy)
"""
MODEL = """
from gsbench.data import DATASETS
from gsbench.data.own import own_data
from gsbench.models import MODELS
from gsbench.models.own import embed, own_model
from test_own import Mixture, blobs, torch


class Changed(Mixture):
    def bound(self, y, x, noise, context):
        return {bound}


MODELS.register(own_model("mixture", Changed))
DATASETS.register(own_data("blobs", blobs, n_inputs=2))
"""
JOINT = "self.log_joint(x, embed(y, self.mean))"


def checked(tmp_path, capsys, text):
    """The exit code, and the lines of failures and of passed checks."""
    path = tmp_path / "mine.py"
    path.write_text(text)
    code = main(["check", str(path)])
    lines = capsys.readouterr().out.splitlines()
    failed, passed = ([line for line in lines if line.startswith(word)] for word in ("FAILED", "ok"))
    return code, failed, passed


@pytest.mark.slow
def test_an_estimator_a_model_and_a_data_set_that_are_right_pass(tmp_path, capsys, registries):  # noqa: F811
    code, failed, passed = checked(tmp_path, capsys, RIGHT)
    assert (code, failed) == (0, [])
    kinds = {line.split("      ")[1].rsplit(" ", 1)[0].split(" ")[0] for line in passed}
    assert kinds == {"estimator", "model", "data"}
    assert len(passed) == 9 + 5 + 2


@pytest.mark.newest
@pytest.mark.slow
@pytest.mark.parametrize("name", list(ESTIMATORS))
def test_the_packages_estimators_pass(name, monkeypatch):
    only = Registry("estimator", ())
    only[name] = ESTIMATORS[name]
    monkeypatch.setattr(checks, "_CHECKS", ((only, checks._CHECKS[0][1]),))
    found = list(checks.check_registered())
    assert len(found) == 9
    assert [verdict for verdict in found if verdict.problem] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "body", "told"),
    [
        ("StraightThrough", "    biased = ()\n", "is declared unbiased in its gradient with respect to the logits"),
        (
            "Marginalize",
            CHANGED.format(expectation="bk.mean(expectation, axis=0)"),
            "must give an expectation of shape [N, B] = (2, 6), got (6,)",
        ),
        (
            "Marginalize",
            CHANGED.format(expectation="bk.stop_gradient(expectation) + 0 * bk.sum(logits_y, axis=-1)"),
            "gives the logits no gradient: it is cut",
        ),
        (
            "Marginalize",
            CHANGED.format(expectation="bk.sum(bk.softmax(logits_y) * bk.stop_gradient(bk.swap(f(AllClasses()), 1, 2)),"
                           " axis=-1)"),
            "of f no gradient: it is cut",
        ),
        ("Marginalize", CHANGED.format(expectation="1.01 * expectation"), "differs from the sum over all classes"),
        ("Marginalize", CHANGED.format(expectation="expectation + bk.mean(logits_y)"), "gives an example another"),
        ("Marginalize", "    def calls(self, n_classes):\n        return 1\n", "says that it calls f 1 times for an"),
        ("ScoreFunction", "    @property\n    def draws_y(self):\n        return False\n", "other seeds give"),
        (
            "Marginalize",
            "    def __call__(self, f, logits_y, rng):\n        1 / 0\n",
            "raises ZeroDivisionError: division by zero (mine.py, line 14)",
        ),
        (
            "Marginalize",
            CHANGED.format(expectation="expectation").replace(", entropy)\n", ", -entropy)\n"),
            "gives -1.449 nats as the entropy of y, which has 1.449",
        ),
        (
            "Marginalize",
            CHANGED.format(expectation="expectation").replace(", entropy)\n", ", bk.stop_gradient(entropy))\n"),
            "gives the entropy another gradient",
        ),
        (
            "ScoreFunction",
            "    def __call__(self, f, logits_y, rng):\n"
            "        return super().__call__(f, logits_y, f.bk.generator(0))\n",
            "draws from something else than `rng`",
        ),
    ],
)
def test_a_wrong_estimator_fails_with_a_sentence(base, body, told, tmp_path, capsys, registries):  # noqa: F811
    head = HEAD.replace("import Labels", "import AllClasses")
    code, failed, _ = checked(tmp_path, capsys, head + ESTIMATOR.format(base=base, body=body))
    assert code == 1
    assert any(line.startswith("FAILED  estimator wrong") and told in line for line in failed), failed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bound", "told"),
    [
        (JOINT, ""),
        (f"{JOINT}.detach()", "finite differences"),
        (f"{JOINT} + x.sum()", "gives an example another f"),
        (f"{JOINT}\n\n    def encode(self, x, noise):\n        return super().encode(x - x.mean(0), noise)",
         "gives an example another q(y|x)"),
        (f"{JOINT} + torch.rand(len(x), dtype=x.dtype)", "draws by itself"),
        (f"{JOINT} * self.kept.repeat(-(-len(x) // len(self.kept)))[:len(x)]\n\n    def encode(self, x, noise):\n"
         "        self.kept = x.mean(1)\n        return super().encode(x, noise)",
         "in the streamed sum than in one batch"),  # right for whole classes, wrong for gathered rows
        (f"{JOINT} * (1 if y.ndim == 1 else 1.01)", "has another f at class numbers than at the same corners"),
        ("self.mean.sum()", "must return a number for each row"),
    ],
)
def test_a_wrong_model_fails_with_a_sentence(bound, told, tmp_path, capsys, registries):  # noqa: F811
    pytest.importorskip("torch", reason="PyTorch is not installed")
    code, failed, passed = checked(tmp_path, capsys, MODEL.format(bound=bound))
    assert code == (1 if told else 0)
    assert len(passed) == 7 if not told else any(told in line for line in failed), failed


def test_a_plugin_that_registers_nothing_is_exit_code_2(tmp_path, capsys, registries):  # noqa: F811
    path = tmp_path / "nothing.py"
    path.write_text("")
    assert main(["check", str(path)]) == 2
    assert "no estimator, model or data set is registered" in capsys.readouterr().err


@pytest.mark.slow
def test_estimators_are_checked_in_pytorch_alone_too(tmp_path, capsys, monkeypatch, registries):  # noqa: F811
    """Its backward passes use up their graphs. What is declared biased is skipped, not passed."""
    pytest.importorskip("torch", reason="PyTorch is not installed")
    monkeypatch.setattr("gsbench.checks.default_backend", lambda: "torch")
    body = "    biased = ('gradient',)\n"
    code, failed, passed = checked(tmp_path, capsys, HEAD + ESTIMATOR.format(base="StraightThrough", body=body))
    assert (code, failed, len(passed)) == (0, [], 8)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("    name = 'uni(2)'\n", "needs a name of letters, digits, - and _, got 'uni(2)'"),
        ("    sizes: tuple = (1, 2)\n", "needs settings that are int, float, str or bool, got sizes: <class 'tuple'>"),
        ("    size: 'Nowhere' = 1\n", "has an annotation that cannot be read: name 'Nowhere' is not defined"),
        ("    draws_y: bool = False\n", "write draws_y: ClassVar"),
        ("    y_enters = 'drawn'\n", "needs one of classes, draws, hard, soft as y_enters, got 'drawn'"),
    ],
)
def test_what_a_record_or_a_command_line_cannot_spell_is_refused(body, told, tmp_path, registries):  # noqa: F811
    path = tmp_path / "mine.py"
    path.write_text(HEAD + ESTIMATOR.format(base="Marginalize", body=body))
    with pytest.raises(ValueError, match=f"cannot be loaded: .*the estimator .*{re.escape(told)}"):
        load_plugins([str(path)])


@pytest.mark.parametrize("biased", ["'value'", "('values',)", "['value']"])
def test_a_bias_is_declared_as_a_tuple(biased, tmp_path, registries):  # noqa: F811
    path = tmp_path / "mine.py"
    path.write_text(HEAD + ESTIMATOR.format(base="Marginalize", body=f"    biased = {biased}\n"))
    with pytest.raises(ValueError, match=r'the estimator .wrong. needs biased = \("value",\)'):
        load_plugins([str(path)])
