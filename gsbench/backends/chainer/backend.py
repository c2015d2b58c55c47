"""Array functions, random draws, optimiser and device of Chainer: NumPy on a CPU, CuPy on a CUDA device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from gsbench.backends import DeviceError, check_device, chunk_bytes
from gsbench.backends.base import (
    LOSS_SCALE,
    Array,
    Backend,
    DType,
    Generator,
    Limits,
    MemoryPeak,
    Module,
    Parameter,
    Tensor,
)
from gsbench.backends.chainer import densities, functions
from gsbench.backends.chainer.adam import Adam
from gsbench.backends.chainer.device_memory import DeviceMemoryPeak
from gsbench.backends.chainer.importing import chainer
from gsbench.backends.host_memory import HostMemoryPeak
from gsbench.backends.noise import LEAST_EXPONENTIAL, fill_exponential

F = chainer.functions


def cuda_problem() -> str | None:
    """Why no CUDA device can be used here, or None if one can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # DeviceError states the problem
            import cupy
    except Exception as error:  # an old CuPy fails on a new NumPy with AttributeError
        # CuPy's message starts with lines of "=" and advice; its cause names the missing part.
        return f"CuPy cannot be imported ({_first_line(error.__cause__ or error)})"
    try:
        # cupy.is_available() raises on CuPy 13 without a driver; cupy.cuda.is_available() does so on some machines.
        if not cupy.cuda.is_available():
            return "CuPy finds no CUDA device"
    except Exception as error:
        return f"CuPy cannot ask for CUDA devices ({_first_line(error)})"
    if not chainer.backends.cuda.available:
        return f"Chainer cannot use this CuPy ({_first_line(chainer.backends.cuda._resolution_error)})"
    return None


def _first_line(error: object) -> str:
    """The first line of an error's message, or the error's type if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _device(name: str) -> Any:
    """The Chainer device for "cpu" or "cuda:N". Raises DeviceError with the reason if it cannot be used."""
    if name == "cpu":
        return chainer.get_device("@numpy")
    check_device(name)
    index = name.removeprefix("cuda:")
    if problem := cuda_problem():
        raise DeviceError("{device}", f" {name!r} cannot be used: {problem}; allowed here: cpu")
    count = chainer.backends.cuda.cupy.cuda.runtime.getDeviceCount()
    if int(index) >= count:
        raise DeviceError("no {device}", f" {name!r}; allowed here: cpu, cuda:0 to cuda:{count - 1}")
    return chainer.get_device(f"@cupy:{index}")


class ChainerBackend(Backend):
    """The backend of Chainer. A `Tensor` is a Chainer variable, an `Array` a NumPy or CuPy array."""

    name = "chainer"

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.device = device
        self._device = _device(device)
        self._device.use()
        # gsbench checks shapes on input. Chainer's checks at each of about 300 nodes would take 3 to 9 % of a step.
        chainer.config.type_check = False
        self._xp = self._device.xp
        self.xp = array_namespace(self._xp.empty(0))
        self.dtype = np.dtype(dtype)
        self.wide_dtype = np.promote_types(self.dtype, np.float32)
        self.chunk_bytes = chunk_bytes(device)
        self.loss_scale = LOSS_SCALE if self.dtype == np.float16 else None

    def array(self, values: Any, dtype: DType | None = None) -> Array:
        return self._xp.asarray(values, dtype=dtype or self.dtype)

    def integers(self, values: Any) -> Array:
        return self._xp.asarray(values, dtype=np.int32)  # Chainer's look-ups need int32

    def to_numpy(self, x: Tensor | np.ndarray) -> np.ndarray:
        return np.asarray(chainer.backends.cuda.to_cpu(self.stop_gradient(x)))

    def parameter(self, values: Any) -> Parameter:
        return chainer.Parameter(self.array(values))

    def new_parameter(self, shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> Parameter:
        return self.parameter(draw())

    def gradient(self, parameter: Parameter) -> Array | None:
        return parameter.grad

    def set_values(self, x: Parameter | Array, values: np.ndarray) -> None:
        self.stop_gradient(x)[...] = self._xp.asarray(values)

    def move_towards(self, average: Parameter | Array, x: Parameter | Array, share: float) -> None:
        average, x = self.stop_gradient(average), self.stop_gradient(x)
        step = x - average
        step *= self.dtype.type(share)
        average += step

    def generator(self, seed: int) -> Generator:
        if self._xp is np:
            return np.random.default_rng(seed)
        return self._xp.random.Generator(self._xp.random.Philox4x3210(seed))

    def normal(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        return rng.standard_normal(shape, dtype=self.wide_dtype).astype(self.dtype, copy=False)

    def uniform(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        return rng.random(shape, dtype=self.wide_dtype)

    def exponential(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        if self._xp is np:
            draws = np.empty(shape, self.wide_dtype)
            fill_exponential(rng, draws)
        else:
            draws = rng.standard_exponential(shape).astype(self.wide_dtype, copy=False)
        return self._xp.maximum(draws, self.wide_dtype.type(LEAST_EXPONENTIAL), out=draws)

    def affine(
        self, x: Tensor | None, W: Tensor | None, terms: tuple[Tensor, ...] = (), precise: bool = False
    ) -> Tensor:
        return functions.Affine(x is not None).apply(terms if x is None else (x, W, *terms))[0]

    def perceptron(
        self, x: Tensor | None, W: Tensor | None, terms: tuple[Tensor, ...], layers: list[tuple[Tensor, Tensor]],
        precise: bool = False,
    ) -> Tensor:
        first = terms if x is None else (x, W, *terms)
        node = functions.Perceptron(x is not None, len(terms))
        return node.apply((*first, *(p for layer in layers for p in layer)))[0]

    def product(self, x: Tensor, W: Tensor) -> Tensor:
        return functions.Product().apply((x, W))[0]

    def take_rows(self, W: Tensor, index: Array) -> Tensor:
        return functions.TakeRows(index).apply((W,))[0]

    def look_up(self, y: Tensor, W: Tensor) -> Tensor:
        return functions.LookUp(self.stop_gradient(y).argmax(axis=-1)).apply((y, W))[0]

    def batch_norm(
        self, x: Tensor, gamma: Tensor, beta: Tensor, running: tuple[Array, Array], training: bool, moves: bool = True
    ) -> Tensor:
        flat = F.reshape(x, (-1, x.shape[-1]))
        if training:
            mean, var = running if moves else (None, None)
            flat = F.batch_normalization(flat, gamma, beta, running_mean=mean, running_var=var)
        else:
            flat = F.fixed_batch_normalization(flat, gamma, beta, *running)
        return F.reshape(flat, x.shape)

    def elu(self, x: Tensor) -> Tensor:
        return functions.Elu().apply((x,))[0] if self._xp is np else F.elu(x)

    def log_softmax(self, x: Tensor) -> Tensor:
        # The largest entry is subtracted first: Chainer's x − logsumexp(x) has an error of 5e-4 in float32 at x = 1e4,
        # so that the probabilities would not sum to 1.
        x = self.widen(x)
        return F.log_softmax(x - self.stop_gradient(x).max(axis=-1, keepdims=True), axis=-1)

    def softmax(self, x: Tensor) -> Tensor:
        return F.softmax(self.widen(x), axis=-1)

    def sum(self, x: Tensor, axis: int | tuple[int, ...] | None = None) -> Tensor:
        return F.sum(self.widen(x), axis=axis)

    relu, exp, mean = staticmethod(F.relu), staticmethod(F.exp), staticmethod(F.mean)
    broadcast_to, reshape = staticmethod(F.broadcast_to), staticmethod(F.reshape)
    expand, swap, concat = staticmethod(F.expand_dims), staticmethod(F.swapaxes), staticmethod(F.concat)

    def widen(self, x: Tensor) -> Tensor:
        return x if x.dtype == self.wide_dtype else F.cast(x, self.wide_dtype)

    def narrow(self, x: Tensor) -> Tensor:
        return x if x.dtype == self.dtype else F.cast(x, self.dtype)

    def stop_gradient(self, x: Tensor) -> Array:
        return x.array if isinstance(x, chainer.Variable) else x

    def select_last(self, x: Tensor, index: Array) -> Tensor:
        flat = F.reshape(x, (-1, x.shape[-1]))
        repeats = flat.shape[0] // index.shape[0]
        return F.reshape(F.select_item(flat, self._xp.tile(index, repeats)), x.shape[:-1])

    def pick(self, x: Tensor, index: Array) -> Tensor:
        return functions.Pick(index).apply((x,))[0]

    def take_groups(self, x: Tensor, index: Array) -> Tensor:
        return functions.TakeGroups(index).apply((x,))[0]

    def largest(self, x: Array, m: int) -> Array:
        return self._xp.argpartition(-x, m - 1, axis=-1)[..., :m].copy()  # a view would keep K integers per row

    def hard_point(self, hard: Array, log_q: Tensor, points: Sequence[Array], weights: tuple[float, ...]) -> Tensor:
        return functions.HardPoint(hard, points, weights).apply((log_q,))[0]

    def sparsemax(self, x: Tensor) -> Tensor:
        return functions.Sparsemax().apply((self.widen(x),))[0]

    def entropy(self, log_q: Tensor) -> Tensor:
        return functions.Entropy().apply((self.widen(log_q),))[0]

    def point_entropy(self, w: Tensor) -> Tensor:
        return functions.PointEntropy().apply((w,))[0]

    def bernoulli_log_density(self, x: Array, logits: Tensor) -> Tensor:
        return densities.BernoulliLogDensity(x).apply((logits,))[0]

    def gaussian_draw(self, head: Tensor, noise: Array, limits: Limits = None) -> tuple[Tensor, Tensor]:
        z, log_q_z = densities.GaussianDraw(noise, limits).apply((head,))
        return z, log_q_z

    def standard_gaussian_log_density(self, z: Tensor) -> Tensor:
        return densities.StandardGaussianLogDensity().apply((z,))[0]

    def gaussian_log_density(self, x: Tensor, head: Tensor, limits: Limits = None) -> Tensor:
        return densities.GaussianLogDensity(limits).apply((x, head))[0]

    def no_gradient(self) -> AbstractContextManager[None]:
        return chainer.no_backprop_mode()

    @property
    def keeps_graph(self) -> bool:
        return bool(chainer.config.enable_backprop)

    def backward(self, loss: Tensor) -> None:
        loss.backward(loss_scale=self.loss_scale)

    def gradients_by(self, loss: Tensor, variables: list[Tensor]) -> list[Array]:
        found = chainer.grad([loss], variables, loss_scale=self.loss_scale)
        arrays = [self._xp.zeros(v.shape) if g is None else g.array for v, g in zip(variables, found, strict=True)]
        wide = [g.astype(self.wide_dtype, copy=False) for g in arrays]
        return wide if self.loss_scale is None else [g / self.wide_dtype.type(self.loss_scale) for g in wide]

    def leaf(self, x: Tensor) -> Tensor:
        return chainer.Variable(self.stop_gradient(x))

    def gradients(self, output: Tensor, cotangent: Array, leaves: Mapping[str, Tensor]) -> dict[str, Array]:
        output.grad = cotangent
        output.backward()
        found: dict[str, Array] = {}
        for name, leaf in leaves.items():
            g = leaf.grad
            if g is not None:
                # Without broadcasting, a node may give the same array, or views of it, to several of its inputs.
                shared = g.base is not None or any(g is other for other in found.values())
                found[name] = g.copy() if shared else g
        return found

    def weighted_sum(
        self, w: Tensor, f: Array, inputs: Mapping[str, Tensor], gradients: Mapping[str, Array]
    ) -> Tensor:
        return functions.WeightedSum(f, [gradients[name] for name in inputs]).apply((w, *inputs.values()))[0]

    def adam(self, parameters: Mapping[str, Parameter], learning_rate: float, beta1: float = 0.9) -> Adam:
        return Adam(parameters, learning_rate, beta1, self.loss_scale)

    def module(self, make: Callable[[], Any], seed: int) -> Module:
        raise ValueError("is a module of PyTorch; it needs backend torch, got chainer")

    def set_threads(self, threads: int) -> None:
        """NumPy's products are the only threaded operations; threadpoolctl sets theirs."""

    def synchronize(self) -> None:
        if self._xp is not np:
            self._xp.cuda.get_current_stream().synchronize()

    def memory_peak(self) -> MemoryPeak:
        return HostMemoryPeak() if self._xp is np else DeviceMemoryPeak()

    def free_memory_bytes(self) -> int | None:
        return None if self._xp is np else int(self._xp.cuda.runtime.memGetInfo()[0])

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError):
            return True
        return self._xp is not np and isinstance(error, self._xp.cuda.memory.OutOfMemoryError)

    def versions(self) -> dict[str, str | None]:
        cupy = cuda = card = None
        if self._xp is not np:
            cupy, runtime = self._xp.__version__, self._xp.cuda.runtime
            cuda = str(runtime.runtimeGetVersion())
            card = runtime.getDeviceProperties(self._device.device.id)["name"].decode()
        return {
            "chainer_version": chainer.__version__, "cupy_version": cupy, "cuda_version": cuda, "machine_gpu": card,
        }  # fmt: skip
