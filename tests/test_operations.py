"""The count of matrix products, from shapes, compared with the products that the backend makes."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gsbench.backends
from gsbench.backends import load_backend
from gsbench.backends.chainer import functions
from gsbench.estimators import ESTIMATORS, Estimate, Estimator, parse_estimator
from gsbench.estimators.base import Y_ENTERS
from gsbench.meters.operations import TIMED, MatrixProduct, operations, products
from gsbench.models import MODELS, Draws, ModelConfig
from gsbench.settings.presets import make_config
from gsbench.training.minibatches import Batch
from gsbench.training.objective import loss, unlabelled_bound
from gsbench.training.trainer import Trainer

pytestmark = pytest.mark.newest

# No two are equal, so that no count is right with the wrong one.
SIZES = {"n_pixels": 13, "d_a": 3, "d_z": 5, "units": 11}
BATCH = 4

SPELLED = [
    *ESTIMATORS,
    "gumbel-softmax(draws=3)",
    "straight-through(draws=2)",
    "score-function(draws=3)",
    "sum-and-sample(m=3)",
    "sum-and-relax(m=3)",
]
STREAMED = ["marginalize-streamed(chunk=1)", "marginalize-streamed(chunk=3)"]


@pytest.fixture
def made(monkeypatch):
    """Shapes of the products that the backend makes, one [m, k, n] each, in order."""
    found = []
    true_dot = functions.dot

    def dot(a, b):
        (m, k), (also_k, n) = a.shape, b.shape
        assert k == also_k
        found.append((m, k, n))
        return true_dot(a, b)

    monkeypatch.setattr(functions, "dot", dot)
    return found


class Watched:
    """An unchanged estimator that notes its latest number of calls of f for an example and draw."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self.calls_made = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def __call__(self, f: Any, logits_y: Any, rng: Any) -> Estimate:
        f = dataclasses.replace(f, counted=[])
        estimate = self._estimator(f, logits_y, rng)
        self.calls_made = sum(f.counted) / np.prod(logits_y.shape[:2])
        return estimate


def take(
    model_name: str, config: ModelConfig, estimator: Estimator, n_mc: int, timed: str, batch: int = BATCH
) -> float:
    """Runs the timed work once, forward and backward, on random pixels; returns the number of calls of f."""
    bk = load_backend("chainer", "cpu", "float32")
    model, watched = MODELS[model_name](bk, config), Watched(estimator)
    trainer = Trainer(model, watched, n_mc=n_mc)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (2, batch, config.n_pixels))
    if timed == "step":
        labels = bk.integers(rng.integers(0, config.n_classes, batch))
        trainer.step(Batch(bk.array(x[0]), labels, bk.array(x[1])))
    else:
        trainer.optimizer.clear_gradients()
        bk.backward(loss(model, unlabelled_bound(model, bk.array(x[1]), watched, trainer.rng, n_mc)))
        if timed == "unlabelled-step":
            trainer.optimizer.update()
    return watched.calls_made


def count(
    model: str, config: ModelConfig, batch: int, n_mc: int, estimator: Estimator, timed: str, calls: float
) -> int:
    """Operations from the shapes; for the calls of f that were made, if their number depends on the logits."""
    if not estimator.calls_follow_logits:
        assert calls == estimator.calls(config.n_classes)
        return operations(model, config, batch, n_mc, estimator, timed)
    assert 1 <= calls <= config.n_classes
    return sum(p.operations for p in products(model, config, batch, n_mc, estimator, timed, calls))


def counted(made: list[tuple[int, int, int]]) -> int:
    return sum(2 * m * k * n for m, k, n in made)


@pytest.mark.parametrize("timed", TIMED)
@pytest.mark.parametrize("n_classes", [2, 7])
@pytest.mark.parametrize("n_mc", [1, 3])
@pytest.mark.parametrize("spelled", [*SPELLED, *STREAMED])
@pytest.mark.parametrize("model", MODELS)
def test_the_count_equals_the_products_made(made, model, spelled, n_mc, n_classes, timed):
    config, estimator = ModelConfig(n_classes, **SIZES), parse_estimator(spelled)
    calls = take(model, config, estimator, n_mc, timed)
    assert count(model, config, BATCH, n_mc, estimator, timed, calls) == counted(made)


@pytest.mark.parametrize("class_layers", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("model", MODELS)
def test_the_count_at_every_depth(made, model, layers, class_layers):
    config = ModelConfig(7, layers=layers, class_layers=class_layers, **SIZES)
    for estimator in map(parse_estimator, SPELLED):
        made.clear()
        calls = take(model, config, estimator, 2, "step")
        assert count(model, config, BATCH, 2, estimator, "step", calls) == counted(made), estimator


@pytest.mark.parametrize("preset", ["default", "blog", "small"])
@pytest.mark.parametrize("model", MODELS)
def test_the_count_at_the_sizes_of_the_presets(made, model, preset):
    config = make_config(preset, n_classes=7)
    for estimator in map(parse_estimator, ESTIMATORS):
        if config.norm == "batch" and estimator.name in ("marginalize-streamed", "sparsemax"):
            continue  # its rows may not interact
        made.clear()
        calls = take(model, config, estimator, 1, "step", batch=2)
        assert count(model, config, 2, 1, estimator, "step", calls) == counted(made), estimator


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("model", MODELS)
def test_each_product_has_its_shape(made, model, spelled):
    """Not only the total. A sum in several chunks has the same operations in other shapes."""
    config, estimator = ModelConfig(7, **SIZES), parse_estimator(spelled)
    if "chunk" in estimator.settings:
        estimator = type(estimator)(chunk=7)
    calls = take(model, config, estimator, 3, "step")
    expected = products(model, config, BATCH, 3, estimator, "step", calls if estimator.calls_follow_logits else None)
    assert sorted((p.m, p.k, p.n) for p in expected) == sorted(made)


@dataclasses.dataclass(frozen=True)
class HardDraws(Estimator):
    """f at classes drawn uniformly, two for every draw of a and example, without a gradient of their own."""

    y_enters = "draws"

    def __call__(self, f, logits_y, rng):
        n, batch, n_classes = logits_y.shape
        f_y = f(Draws(rng.integers(n_classes, size=(n, 2, batch))))
        log_q_y = f.bk.log_softmax(logits_y)
        return Estimate(f.bk.mean(f_y, axis=1), f.bk.entropy(log_q_y))

    def calls(self, n_classes):
        return 2


@pytest.mark.parametrize("timed", TIMED)
@pytest.mark.parametrize("model", MODELS)
def test_the_count_of_hard_constant_draws(made, model, timed):
    """Such as a score function's draws: in M2 they differ between draws of z, unlike the classes of a sum."""
    config = ModelConfig(7, **SIZES)
    take(model, config, HardDraws(), 3, timed)
    expected = products(model, config, BATCH, 3, HardDraws(), timed)
    assert sorted((p.m, p.k, p.n) for p in expected) == sorted(made)


def test_the_count_of_the_default_networks_equals_the_one_by_hand():
    """B = 100, N = 1, K = 100: multiply-adds of each network's layers, times 3 for a layer and its two gradients (2
    without the input's), times 2 operations.
    """
    q_a_x = 2 * 784 * 500 + 3 * (500 * 500 + 500 * 200)
    q_y_ax = 2 * 784 * 500 + 3 * (100 * 500 + 500 * 500 + 500 * 100)
    shared = 2 * 784 * 500 + 3 * 100 * 500 + 2 * 784 * 500  # of q_z_axy's first layer and p_a_xyz's
    a_class = 3 * ((500 * 500 + 500 * 200) + (100 * 500 + 500 * 500 + 500 * 784) + (100 * 500 + 500 * 500 + 500 * 200))
    exact = 2 * 100 * (q_a_x + q_y_ax + shared + 100 * a_class)
    config = make_config("default", n_classes=100)

    def by_shapes(spelled, timed="bound"):
        return operations("adgm", config, 100, 1, parse_estimator(spelled), timed)

    assert by_shapes("marginalize") == by_shapes("marginalize-streamed") == exact
    assert 86e9 < exact < 88e9
    labelled = 2 * 100 * (q_a_x + q_y_ax + shared + a_class)
    assert by_shapes("marginalize", "step") == exact + labelled
    assert by_shapes("marginalize", "unlabelled-step") == exact
    y_product = 2 * 100 * (100 * 500)
    assert by_shapes("gumbel-softmax") == labelled + 3 * 3 * y_product
    assert by_shapes("straight-through") == labelled + 3 * y_product
    assert by_shapes("gumbel-rao") == by_shapes("reinmax") == by_shapes("straight-through")  # noise has no products
    for spelled in ("score-function(draws=2)", "sum-and-sample(m=1)"):
        assert by_shapes(spelled) == exact - 2 * 100 * 98 * a_class


def test_classes_at_once_are_the_requested_number():
    config, estimator = make_config("default", n_classes=100), parse_estimator("marginalize")
    largest = max(products("adgm", config, 100, 1, estimator, "bound", calls=10), key=lambda p: p.operations)
    assert largest == MatrixProduct(1000, 500, 784, "right")


def test_every_estimator_says_how_y_enters():
    assert {name: cls.y_enters for name, cls in ESTIMATORS.items() if cls.y_enters not in Y_ENTERS} == {}


def test_an_unknown_timed_work_is_refused():
    with pytest.raises(ValueError, match="unknown timed 'stepp'; known: bound, unlabelled-step, step"):
        operations("adgm", make_config("small", 3), 1, 1, parse_estimator("marginalize"), "stepp")


# The count above sees every product that the backend makes

PRODUCTS = {
    "dot", "matmul", "linear", "tensordot", "einsum", "inner", "vdot", "batch_matmul", "bilinear", "gemm",
    "mm", "bmm", "addmm",
}  # fmt: skip


def product_sites(source: str) -> list[str]:
    """The places where a source multiplies matrices: @, or a call of a function or method that does so."""
    sites = []
    for node in ast.walk(ast.parse(source)):
        at = isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.MatMult)
        call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in PRODUCTS
        sites += [ast.unparse(node)] if at or call else []
    return sites


def test_the_backend_makes_all_its_products_in_one_place():
    folder = Path(gsbench.backends.__file__).parent
    files = sorted(folder.rglob("*.py"))
    found = {p.relative_to(folder).as_posix(): product_sites(p.read_text(encoding="utf-8")) for p in files}
    assert {name: sorted(sites) for name, sites in found.items() if sites} == {
        "chainer/functions.py": ["a.dot(b)"],
        "torch/functions.py": ["torch.addmm(bias, a, b)", "torch.mm(a, b)"],
    }


def test_product_sites_are_found():
    source = "def f(a, b):\n    a @= b\n    dot(a, b)\n    return a @ b + F.matmul(a, b) + a.dot(b).T\n"
    assert sorted(product_sites(source)) == ["F.matmul(a, b)", "a @ b", "a @= b", "a.dot(b)"]
