"""Checks what a plug-in has registered against brute force: each estimator, model and data set.

Everything is computed in float64 at small sizes. f of the estimators' checks is that of M2.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gsbench.backends import default_backend, load_backend
from gsbench.backends.base import Backend, Generator, Tensor
from gsbench.data import DATASETS, load_dataset, split
from gsbench.estimators import ESTIMATORS, Estimator
from gsbench.estimators.base import Estimate
from gsbench.estimators.marginalize import Marginalize
from gsbench.estimators.marginalize_streamed import MarginalizeStreamed
from gsbench.estimators.streaming import gathered_rows, streamed_sum
from gsbench.models import MODELS, ClassBound, Labels, Model, ModelConfig, Points
from gsbench.registry import Registry, loaded_plugins
from gsbench.training.objective import loss, unlabelled_bound

K, BATCH, DRAWS, SEED = 5, 6, 2, 1
NETWORKS: dict[str, Any] = {"units": 8, "d_a": 3, "d_z": 3}
PIXELS = 6
REPLICATES, BLOCKS = 4000, 40
Y_SCALE = 3.0  # of W_y, so that f is far from linear in y and a bias shows
WIDEST = 5.5  # standard errors: exceeded once in 10⁷ normal draws
SAME = 1e-8  # relative; of sums in another order
STEP = 1e-5  # of finite differences
SLOPES = 0.01  # relative; a rectifier's kink may lie within a step
WITH_NORM = "batch norm lets the rows of a minibatch interact"
LOGITS = np.array([0.8, -0.4, 0.1, -1.0, 0.5])


class Failed(Exception):
    """A check failed; the message is the end of a sentence about the thing."""


@dataclass(frozen=True)
class Verdict:
    """The result of a check of one thing. `problem` is "" if it passed; `skipped` says why it was not made."""

    kind: str
    name: str
    check: str
    problem: str = ""
    skipped: str = ""


def check_registered() -> Iterator[Verdict]:
    """The verdicts on everything that plug-ins have registered, as they come."""
    for registry, checks in _CHECKS:
        for name in [name for name in registry if name not in registry.own]:
            for check in checks:
                yield _verdict(registry, name, check)


def _verdict(registry: Registry[Any], name: str, check: Callable[[str], str | None]) -> Verdict:
    told = " ".join((check.__doc__ or "").split()).rstrip(".")
    try:
        skipped = check(name)
    except Failed as failed:
        return Verdict(registry.kind, name, told, str(failed))
    except Exception as error:  # a user's code may raise anything
        return Verdict(registry.kind, name, told, f"raises {type(error).__name__}: {error}{_where(error)}")
    return Verdict(registry.kind, name, told, skipped=skipped or "")


def _where(error: Exception) -> str:
    """` (mine.py, line 12)`: the last line of a plug-in's file that ran; "" if there is none."""
    files = {name for name in loaded_plugins() if name.endswith(".py")}
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f" ({Path(lines[-1].filename).name}, line {lines[-1].lineno})" if lines else ""


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise Failed(problem)


def _backend() -> Backend:
    return load_backend(default_backend(), "cpu", "float64")


# Estimators


def _m2() -> Model:
    model = MODELS["m2"](_backend(), ModelConfig(n_classes=K, n_pixels=PIXELS, **NETWORKS), SEED)
    for key, p in model.parameters.items():
        if key.endswith("/W_y"):
            model.bk.set_values(p, Y_SCALE * model.bk.to_numpy(p))
    return model


def _f(model: Model, batch: int, n_mc: int = DRAWS, copies: bool = False) -> ClassBound:
    """f for a minibatch, or for copies of one example with one noise."""
    bk, rng = model.bk, np.random.default_rng(SEED)
    x = rng.integers(2, size=(1 if copies else batch, model.config.n_pixels)).astype(float)
    noise = model.draw_noise(bk.generator(SEED), len(x), n_mc)
    if copies:
        x = np.repeat(x, batch, axis=0)
        noise = dataclasses.replace(noise, eps_z=bk.xp.concat([noise.eps_z] * batch, axis=2))
    return model.class_bound(bk.array(x), noise)


def _with_logits(f: ClassBound, logits: np.ndarray) -> ClassBound:
    return dataclasses.replace(f, logits_y=f.bk.parameter(np.broadcast_to(logits, f.logits_y.shape).copy()))


def _of_classes(f: ClassBound) -> np.ndarray:
    """f(e_k) by a loop over the classes: [N, B, K]"""
    bk, batch = f.bk, f.logits_y.shape[1]
    values = [bk.to_numpy(f(Labels(bk.integers(np.full(batch, k)))))[:, 0] for k in range(f.n_classes)]
    return np.stack(values, axis=-1)


def _logits(f: ClassBound) -> np.ndarray:
    return f.bk.to_numpy(f.logits_y)


def _estimated(estimator: Estimator, f: ClassBound, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The expectation [N, B], the entropy [N, B] and the gradient of their sum with respect to the logits."""
    bk = f.bk
    found = estimator(f, f.logits_y, bk.generator(seed))
    (gradient,) = bk.gradients_by(bk.sum(found.expectation) + 0 * bk.sum(f.logits_y), [f.logits_y])
    return bk.to_numpy(found.expectation), bk.to_numpy(found.entropy), bk.to_numpy(gradient)


def _has_shapes(name: str) -> None:
    """returns two tensors [N, B]"""
    f = _f(_m2(), BATCH)
    found = ESTIMATORS[name]()(f, f.logits_y, f.bk.generator(0))
    _require(isinstance(found, tuple) and len(found) == 2, f"must return an Estimate, got {type(found).__name__}")
    for what, value in zip(("expectation", "entropy"), found, strict=True):
        shape = tuple(value.shape)
        _require(shape == (DRAWS, BATCH), f"must give an {what} of shape [N, B] = {(DRAWS, BATCH)}, got {shape}")


def _is_finite(name: str) -> None:
    """is finite where logits are extreme"""
    extreme = np.random.default_rng(SEED).choice([-1e4, 0.0, 1e4], size=(DRAWS, BATCH, K))
    for array in _estimated(ESTIMATORS[name](), _with_logits(_f(_m2(), BATCH), extreme)):
        _require(bool(np.isfinite(array).all()), "gives infinities or NaN for logits of ±10,000")


def _follows_its_generator(name: str) -> None:
    """takes its draws from the generator that it is given"""
    estimator, f = ESTIMATORS[name](), _with_logits(_f(_m2(), BATCH), LOGITS)
    first, again, other = (_estimated(estimator, f, seed)[0] for seed in (0, 0, 1))
    _require(np.array_equal(first, again), "gives other numbers for the same seed")
    differs = not np.array_equal(first, other)
    if differs and not estimator.draws_y:
        raise Failed("says that it draws no y, but other seeds give other numbers; set draws_y = True")
    _require(
        differs == estimator.draws_y,
        "says that it draws y, but all seeds give the same numbers: it draws from something else than `rng`, or it "
        "draws nothing; then set draws_y = False",
    )


def _counts_its_calls(name: str) -> None:
    """calls f as often as it says"""
    estimator = ESTIMATORS[name]()
    counted: list[int] = []
    f = dataclasses.replace(_with_logits(_f(_m2(), BATCH), LOGITS), counted=counted)
    _estimated(estimator, f)
    calls, most = sum(counted) / (DRAWS * BATCH), estimator.calls(K)
    wrong = calls > most if estimator.calls_follow_logits else calls != most
    _require(not wrong, f"says that it calls f {most} times for an example (calls), but it does {calls:g} times")


def _keeps_examples_apart(name: str) -> None:
    """treats each example by itself"""
    estimator, f = ESTIMATORS[name](), _f(_m2(), BATCH)
    logits = np.random.default_rng(SEED).standard_normal((DRAWS, BATCH, K))
    before = _estimated(estimator, _with_logits(f, logits))[0][:, 0]
    logits[:, 1:] *= -1
    after = _estimated(estimator, _with_logits(f, logits))[0][:, 0]
    _require(np.allclose(before, after, rtol=SAME), "gives an example another value if the logits of others change")


def _has_the_entropy(name: str) -> None:
    """gives the entropy of its distribution of y, and the entropy's gradient"""
    estimator, f = ESTIMATORS[name](), _with_logits(_f(_m2(), BATCH), LOGITS)
    bk = f.bk
    found = estimator(f, f.logits_y, bk.generator(0)).entropy

    def entropy(logits: np.ndarray) -> float:
        w = bk.to_numpy(estimator.distribution(bk, bk.array(logits)))
        return float(-(w[w > 0] * np.log(w[w > 0])).sum())

    exact, given = entropy(LOGITS), bk.to_numpy(found).ravel()
    worst = given[np.argmax(np.abs(given - exact))]
    _require(np.allclose(given, exact, rtol=SAME), f"gives {worst:.4g} nats as the entropy of y, which has {exact:.4g}")
    (gradient,) = bk.gradients_by(bk.sum(found) + 0 * bk.sum(f.logits_y), [f.logits_y])
    steps = STEP * np.eye(K)
    slopes = [(entropy(LOGITS + step) - entropy(LOGITS - step)) / (2 * STEP) for step in steps]
    same = np.allclose(bk.to_numpy(gradient), slopes, rtol=SLOPES, atol=1e-6)
    _require(same, "gives the entropy another gradient with respect to the logits than finite differences: is it cut?")


def _exact(estimator: Estimator, f: ClassBound) -> tuple[float, np.ndarray]:
    """Σ_k w_k f(e_k) of one example, and its gradient with respect to the logits [K], by a loop over the classes."""
    bk, values = f.bk, _of_classes(f)[0, 0]
    logits = bk.parameter(LOGITS[None, None])
    value = bk.sum(estimator.distribution(bk, logits) * bk.array(values))
    (gradient,) = bk.gradients_by(value, [logits])
    return float(bk.to_numpy(value)), bk.to_numpy(gradient)[0, 0]


def _errors(draws: np.ndarray, exact: Any) -> np.ndarray:
    """Distances of means over the first axis from the exact values, in standard errors."""
    spread = draws.std(axis=0, ddof=1) / np.sqrt(len(draws))
    return np.asarray(np.abs(draws.mean(axis=0) - exact) / np.maximum(spread, 1e-12 + SAME * np.abs(exact)))


def _compare(what: str, draws: np.ndarray, exact: Any, estimator: Estimator, declared: str) -> None:
    """Raises Failed if draws [n, …] differ from the exact value in the mean, or at all for one without draws.

    declared   the entry of `biased` that would say so
    """
    if not estimator.draws_y:
        off = float(np.max(np.abs(draws - exact)) / np.max(np.abs(exact)))
        _require(
            off < SAME,
            f"differs from the sum over all classes in its {what}, by {off:.2g} of it. It may be wrong; if the bias is "
            f"meant, declare it: biased = ({declared!r},)",
        )
        return
    mean, worst = draws.mean(axis=0), float(np.max(_errors(draws, exact)))
    if worst >= WIDEST:
        bias = float(np.linalg.norm(mean - exact) / np.linalg.norm(exact))
        raise Failed(
            f"is declared unbiased in its {what}, but the mean over {len(draws):,} draws is off by {bias:.2g} of it, "
            f"{worst:,.0f} standard errors. It may be wrong; if the bias is meant, declare it: biased = ({declared!r},)"
        )


def _copies(name: str) -> tuple[Estimator, ClassBound]:
    return ESTIMATORS[name](), _with_logits(_f(_m2(), REPLICATES, 1, copies=True), LOGITS)


def _has_the_value(name: str) -> str:
    """has the value of the sum over all classes, in the mean if it draws"""
    estimator, f = _copies(name)
    if "value" in estimator.biased:
        return "declared biased"
    _compare("value", _estimated(estimator, f)[0][0], _exact(estimator, f)[0], estimator, "value")
    return ""


def _has_the_gradient(name: str) -> str:
    """has its gradient with respect to the logits, in the mean if it draws"""
    estimator, f = _copies(name)
    gradient = _estimated(estimator, f)[2][0]
    _require(bool(np.abs(gradient).max() > 0), "gives the logits no gradient: it is cut")
    if "gradient" in estimator.biased:
        return "declared biased"
    _compare("gradient with respect to the logits", gradient, _exact(estimator, f)[1], estimator, "gradient")
    return ""


def _has_the_gradient_of_f(name: str) -> str:
    """has its gradient with respect to the parameters of f, in the mean if it draws"""
    estimator, model = ESTIMATORS[name](), _m2()
    bk, rng = model.bk, np.random.default_rng(SEED)
    parameters = model.parameters_of_f
    directions = {key: rng.standard_normal(p.shape) for key, p in parameters.items()}

    def fresh() -> ClassBound:
        """f anew, because a backward pass may use up its graph."""
        return _with_logits(_f(model, REPLICATES // BLOCKS, 1, copies=True), LOGITS)

    def slopes(value: Any) -> np.ndarray:
        found = bk.gradients_by(value, [*parameters.values()])
        return np.array([(bk.to_numpy(g) * d).sum() for g, d in zip(found, directions.values(), strict=True)])

    draw = bk.generator(SEED)
    found = np.array([
        slopes(bk.mean(estimator(f := fresh(), f.logits_y, draw).expectation[0]))
        for _ in range(BLOCKS if estimator.draws_y else 1)
    ])
    cut = [key for key, slope in zip(parameters, np.abs(found).max(axis=0), strict=True) if slope == 0]
    _require(not cut, f"gives {', '.join(cut[:3])} of f no gradient: it is cut")
    if "value" in estimator.biased:
        return "declared biased"
    f = fresh()
    w = bk.stop_gradient(estimator.distribution(bk, bk.array(LOGITS)))
    batch = f.logits_y.shape[1]
    terms = [w[k] * bk.mean(f(Labels(bk.integers(np.full(batch, k))))[0]) for k in range(K)]
    exact = slopes(sum(terms[1:], terms[0]))
    _compare("gradient with respect to the parameters of f", found, exact, estimator, "value")
    return ""


# Models


def _own(name: str, n_mc: int = 1, batch: int = BATCH) -> tuple[Model, ClassBound]:
    made = MODELS[name]
    bk = load_backend(made.backends[0], "cpu", "float64") if made.backends else _backend()
    widths = {DATASETS[each].n_inputs for each in DATASETS if each not in DATASETS.own} | {DATASETS["glyphs"].n_inputs}
    problems = []
    for width in sorted(widths):
        config = ModelConfig(n_classes=K, n_pixels=width, **NETWORKS)
        try:
            model = made(bk, made.adapted(config), SEED)
            return model, _f(model, batch, n_mc)
        except Exception as error:  # a model may take one width of input only
            problems.append(f"with {width} inputs {type(error).__name__}: {error}")
    raise Failed(f"cannot be used: {'; '.join(problems)}")


def _has_values_at_points(name: str) -> None:
    """has the same f at a class as at its corner of the simplex, of shape [N, C, B]"""
    model, f = _own(name, n_mc=DRAWS)
    bk = model.bk
    corners = np.broadcast_to(np.eye(K)[None, :, None], (DRAWS, K, BATCH, K)).copy()
    found = bk.to_numpy(f(Points(bk.array(corners))))
    _require(found.shape == (DRAWS, K, BATCH), f"must give f of shape {(DRAWS, K, BATCH)}, got {found.shape}")
    off = np.abs(np.moveaxis(found, 1, 2) - _of_classes(f)).max() / np.abs(found).max()
    _require(off < SAME, f"has another f at class numbers than at the same corners of the simplex, by {off:.2g} of it")


def _gives_the_same_again(name: str) -> None:
    """gives the same f and logits for the same noise"""
    model, f = _own(name)
    again = _f(model, BATCH, 1)
    first, second = (model.bk.to_numpy(each.logits_y) for each in (f, again))
    same = np.array_equal(first, second) and np.array_equal(_of_classes(f), _of_classes(again))
    _require(same, "draws by itself: all its noise must be what it is given (declare it in noise)")


def _has_slopes(name: str) -> None:
    """has the gradients of finite differences"""
    model, _ = _own(name)
    bk, rng = model.bk, np.random.default_rng(SEED)
    x = bk.array(rng.integers(2, size=(BATCH, model.config.n_pixels)).astype(float))

    def bound() -> Any:
        with model.leaving_statistics():
            return loss(model, unlabelled_bound(model, x, Marginalize(), bk.generator(SEED)))

    keys = [*model.parameters]
    found = bk.gradients_by(bound(), [*model.parameters.values()])
    for key, gradient in zip(keys, map(bk.to_numpy, found), strict=True):
        p = model.parameters[key]
        before, direction = np.array(bk.to_numpy(p)), rng.standard_normal(tuple(p.shape))
        direction /= np.linalg.norm(direction)
        ends = []
        for sign in (1, -1):
            bk.set_values(p, before + sign * STEP * direction)
            ends.append(float(bk.to_numpy(bound())))
        bk.set_values(p, before)
        difference, slope = (ends[0] - ends[1]) / (2 * STEP), float((gradient * direction).sum())
        _require(
            abs(difference - slope) <= SLOPES * max(abs(difference), abs(slope)) + 1e-7 * np.abs(ends[0]),
            f"has another gradient of {key} than finite differences: {slope:.4g} and {difference:.4g} in one "
            "direction; is it cut?",
        )


@dataclass(frozen=True)
class _GatheredSum(MarginalizeStreamed):
    """The exact sum, of rows that are gathered one by one, as `sparsemax` and the estimators with a mass do."""

    def __call__(self, f: ClassBound, logits_y: Tensor, rng: Generator) -> Estimate:
        bk, log_q_y = f.bk, f.bk.log_softmax(logits_y)
        q = bk.exp(log_q_y)
        rows = gathered_rows(f.model, bk.stop_gradient(q) >= 0)  # all
        return Estimate(streamed_sum(f, q, rows), bk.entropy(log_q_y))


def _is_streamed(name: str) -> str:
    """has the same gradients in the streamed sum as in one batch"""
    model, _ = _own(name)
    if model.config.norm == "batch":
        return WITH_NORM
    bk, rng = model.bk, np.random.default_rng(SEED)
    x = bk.array(rng.integers(2, size=(BATCH, model.config.n_pixels)).astype(float))
    both = []
    for estimator in (Marginalize(), MarginalizeStreamed(chunk=2), _GatheredSum()):
        value = loss(model, unlabelled_bound(model, x, estimator, bk.generator(SEED)))
        both.append([bk.to_numpy(g) for g in bk.gradients_by(value, [*model.parameters.values()])])
    for key, one, streamed, gathered in zip(model.parameters, *both, strict=True):
        off = max(np.abs(one - each).max() for each in (streamed, gathered)) / max(np.abs(one).max(), 1e-300)
        _require(off < 1e-6, f"has other gradients of {key} in the streamed sum than in one batch, by {off:.2g}")
    return ""


def _keeps_rows_apart(name: str) -> str:
    """treats each example by itself"""
    model, _ = _own(name)
    if model.config.norm == "batch":
        return WITH_NORM
    rng = np.random.default_rng(SEED)
    x = rng.random((BATCH, model.config.n_pixels))
    noise = model.draw_noise(model.bk.generator(SEED), BATCH, 1)
    changed = np.concatenate([x[:1], 1 - x[1:]])
    f, other = (model.class_bound(model.bk.array(each), noise) for each in (x, changed))
    values, logits = ([each(one)[:, 0] for one in (f, other)] for each in (_of_classes, _logits))
    for what, (before, after) in (("f", values), ("q(y|x)", logits)):
        same = np.allclose(before, after, rtol=SAME)
        _require(same, f"gives an example another {what} if the others of the minibatch change")
    return ""


# Data sets


def _loads(name: str) -> None:
    """loads at two class counts, the same each time"""
    for k in (2, DATASETS[name].default(lambda: None)):
        dataset, again = (load_dataset(name, k) for _ in range(2))
        _require(dataset.n_classes == k, f"has {dataset.n_classes} classes where {k} were wanted")
        _require(dataset.checksum == again.checksum, "has other examples each time that it is loaded")
        numbers = int(np.prod(dataset.images.shape[1:]))
        _require(
            numbers == DATASETS[name].n_inputs,
            f"says that an example has {DATASETS[name].n_inputs} numbers (n_inputs), but it has {numbers}",
        )


def _splits(name: str) -> None:
    """has labelled, unlabelled, validation and test examples"""
    parts = split(load_dataset(name, DATASETS[name].default(lambda: None)), 1, seed=SEED)
    lacking = [part for part in ("labelled", "unlabelled", "validation", "test") if not len(getattr(parts, part))]
    _require(not lacking, f"has no {' and no '.join(lacking)} examples")


_CHECKS: tuple[tuple[Registry[Any], tuple[Callable[[str], str | None], ...]], ...] = (
    (
        ESTIMATORS,
        (
            _has_shapes, _is_finite, _follows_its_generator, _counts_its_calls, _keeps_examples_apart,
            _has_the_entropy, _has_the_value, _has_the_gradient, _has_the_gradient_of_f,
        ),
    ),
    (MODELS, (_has_values_at_points, _gives_the_same_again, _keeps_rows_apart, _has_slopes, _is_streamed)),
    (DATASETS, (_loads, _splits)),
)  # fmt: skip
