"""Small models and helpers that the tests of the mathematical core share. Plain functions, for `import
core_fixtures`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from oracles import Oracle
from scipy import stats

from gsbench.backends import load_backend
from gsbench.backends.chainer.backend import ChainerBackend
from gsbench.models import MODELS, ModelConfig, Noise
from gsbench.training.objective import loss, unlabelled_bound

SIZES = {"n_pixels": 6, "d_a": 3, "d_z": 4, "units": 5}
BATCH = 4


def backend(dtype: str = "float64", name: str = "chainer") -> Any:
    """A backend on the CPU. Float16 is Chainer's; `load_backend` refuses it on a CPU because it is slow."""
    return ChainerBackend("cpu", dtype) if dtype == "float16" else load_backend(name, "cpu", dtype)


def make_model(
    name: str, n_classes: int, dtype: str = "float64", seed: int = 0, backend_name: str = "chainer", **changes: Any
) -> Any:
    """A small model in which no parameter has a special value: biases and norm gains are random too."""
    model = MODELS[name](backend(dtype, backend_name), ModelConfig(n_classes=n_classes, **{**SIZES, **changes}), seed)
    rng = np.random.default_rng(seed + 1)
    for key, p in model.parameters.items():
        if "/b" in key or "/gamma" in key:
            model.bk.set_values(p, model.bk.to_numpy(p) + 0.3 * rng.standard_normal(p.shape))
    return model


def make_pixels(batch: int = BATCH, seed: int = 5) -> np.ndarray:
    """x float64 [B, 6] in [0, 1]: zeros, ones and values between. Exact in float16, so every dtype sees the same
    values.
    """
    return np.random.default_rng(seed).integers(0, 9, (batch, SIZES["n_pixels"])) / 8


def plain_noise(model: Any, noise: Noise) -> tuple[Any, np.ndarray]:
    """The noise as the oracle takes it: ε_a [N, B, D_a] (M2: a list of None), ε_z [N, B, D_z]."""
    eps_z = model.bk.to_numpy(noise.eps_z)[:, 0].astype(np.float64)
    if noise.eps_a is None:
        return [None] * len(eps_z), eps_z
    return model.bk.to_numpy(noise.eps_a)[:, 0].astype(np.float64), eps_z


def noise_of_seed(model: Any, seed: int, batch: int = BATCH, n_mc: int = 1) -> tuple[Any, np.ndarray, Any]:
    """ε_a and ε_z as the oracle takes them, from the first draws of the seed, and the generator after these draws."""
    rng = model.bk.generator(seed)
    eps_a, eps_z = plain_noise(model, model.draw_noise(rng, batch, n_mc))
    return eps_a, eps_z, rng


def replicated(model: Any, x: np.ndarray, copies: int, seed: int = 3) -> tuple[Any, Any]:
    """f and logits [1, copies, K] of one example x [1, D_x] and one noise, copied: the rows are replicates,
    which differ in the draws of y alone. The logits are a parameter, so that each row has a gradient of
    its own.
    """
    bk = model.bk
    noise = model.draw_noise(bk.generator(seed), 1)
    noise = Noise(
        *[None if eps is None else bk.xp.repeat(eps, copies, axis=2) for eps in (noise.eps_a, noise.eps_z)]
    )
    f = model.class_bound(bk.array(np.repeat(x, copies, axis=0)), noise)
    return f, bk.parameter(bk.to_numpy(f.logits_y))


def z_score(draws: np.ndarray, expected: float) -> float:
    """The distance of the mean of independent draws from the expected value, in standard errors."""
    return float((draws.mean() - expected) / (draws.std(ddof=1) / np.sqrt(len(draws))))


def clear_gradients(model: Any) -> None:
    for p in model.parameters.values():
        p.grad = None


def check_gradients(
    model: Any, bound: Any, oracle: Oracle, value: Callable[[], np.ndarray], rtol: float
) -> None:
    """The gradients of −mean(bound) against central differences of the oracle's −mean(value()), for every
    parameter array: along a random direction, and at its entries of largest and of some other gradient.
    """
    clear_gradients(model)
    model.bk.backward(loss(model, bound))
    rng = np.random.default_rng(11)
    for name, p in model.parameters.items():
        gradient = model.bk.to_numpy(model.bk.gradient(p)).astype(np.float64)
        assert gradient.shape == p.shape, name
        directions = [rng.standard_normal(p.shape)]
        for entry in (np.argmax(abs(gradient)), rng.integers(gradient.size)):
            directions.append(np.eye(1, gradient.size, entry).reshape(p.shape))
        for direction in directions:
            expected = oracle.slope(lambda: -value().mean(), name, direction)
            np.testing.assert_allclose(
                (gradient * direction).sum(),
                expected,
                rtol=rtol,
                atol=rtol * abs(gradient).max() + 1e-9,
                err_msg=name,
            )


def bound_and_gradients(
    model: Any, estimator: Any, n_mc: int = 1, batch: int = BATCH
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The unlabelled bound [N, B], and the gradient of its loss with respect to each parameter, by name."""
    clear_gradients(model)
    bk = model.bk
    bound = unlabelled_bound(model, bk.array(make_pixels(batch)), estimator, bk.generator(1), n_mc)
    bk.backward(loss(model, bound))
    gradients = {key: bk.to_numpy(bk.gradient(p)).astype(np.float64) for key, p in model.parameters.items()}
    return bk.to_numpy(bound), gradients


def check_equal(got: Any, expected: Any, rtol: float = 1e-10) -> None:
    """Two results of `bound_and_gradients`: each number of the bound, and each gradient as a whole."""
    np.testing.assert_allclose(got[0], expected[0], rtol=rtol)
    for key, gradient in expected[1].items():
        assert np.linalg.norm(got[1][key] - gradient) <= rtol * np.linalg.norm(gradient), key


def z_bound(n: int = 1, degrees: float = np.inf) -> float:
    """The |z| that one of `n` scores exceeds in one of 1,000 runs if nothing is wrong. `degrees`: degrees of freedom of
    Student's t, for few draws.
    """
    return float(stats.t.isf(0.0005 / n, degrees))


def z_scores(draws: np.ndarray, expected: Any) -> np.ndarray:
    """`z_score` of each component of draws [R, ...], without components that do not vary: these must be equal."""
    off, spread = draws.mean(axis=0) - expected, draws.std(axis=0, ddof=1)
    still = spread < 1e-12
    np.testing.assert_allclose(off[still], 0, atol=1e-10)
    return off[~still] / spread[~still] * np.sqrt(len(draws))


@dataclasses.dataclass(frozen=True)
class ToyBound:
    """f(y) = Σ [ h + ½ h² + c h³ ], h = y W_y + base: quadratic in y where c = 0, and all that an estimator of E[f] by
    sampling needs of a bound.
    """

    bk: Any
    W_y: Any  # [K, H]
    base: Any  # [N, 1, B, H]
    cubic: float = 0.0

    @property
    def n_classes(self) -> int:
        return self.W_y.shape[0]

    def __call__(self, y: Any) -> Any:
        h = self.base + y.first_layer(self.bk, self.W_y)  # [N, C, B, H]
        return self.bk.sum(h + 0.5 * h * h + self.cubic * h * h * h, axis=-1)

    def plain(self, y: np.ndarray) -> np.ndarray:
        """f at y [..., K] for the first example's base."""
        h = self._hidden(y)
        return (h + 0.5 * h * h + self.cubic * h**3).sum(axis=-1)

    def slope(self, y: np.ndarray) -> np.ndarray:
        """∂f/∂y [K] at y [K], for all classes."""
        h = self._hidden(y)
        return self.bk.to_numpy(self.W_y) @ (1 + h + 3 * self.cubic * h**2)

    @property
    def of_classes(self) -> np.ndarray:
        """f(e_k) [K]"""
        return self.plain(np.eye(self.n_classes))

    def _hidden(self, y: np.ndarray) -> np.ndarray:
        return self.bk.to_numpy(self.base)[0, 0, 0] + y @ self.bk.to_numpy(self.W_y)


def toy_bound(bk: Any, n_classes: int, batch: int, seed: int = 2, width: int = 3, cubic: float = 0.0) -> ToyBound:
    """A ToyBound that is the same for all of `batch` examples."""
    rng = np.random.default_rng(seed)
    base = np.tile(rng.standard_normal(width), (1, 1, batch, 1))
    return ToyBound(bk, bk.array(1.5 * rng.standard_normal((n_classes, width))), bk.array(base), cubic)


def value_and_gradient(estimator: Any, f: Any, logits: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The estimates of E[f], each with its gradient with respect to its own logits. logits [R, K] → [R], [R, K]"""
    variable = f.bk.parameter(logits[None])
    expectation = estimator(f, variable, f.bk.generator(seed)).expectation
    f.bk.backward(f.bk.sum(expectation))
    return f.bk.to_numpy(expectation)[0], f.bk.gradient(variable)[0]


def gumbel_draws(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """The noise g = −log E, E ~ Exp(1), that an estimator makes from the generator's next draws, in float64."""
    return -np.log(rng.standard_exponential(shape))


class HostGenerator:
    """A generator with NumPy's draws on any device of `bk`, so that the noise is the same on every device."""

    def __init__(self, bk: Any, seed: int) -> None:
        self._bk, self._rng = bk, np.random.default_rng(seed)

    def random(self, shape: Any, dtype: Any) -> Any:
        return self._bk.array(self._rng.random(shape, dtype=dtype), dtype)

    def standard_normal(self, shape: Any, dtype: Any) -> Any:
        return self._bk.array(self._rng.standard_normal(shape, dtype=dtype), dtype)

    def standard_exponential(self, shape: Any) -> Any:
        return self._bk.array(self._rng.standard_exponential(shape), np.float64)
