"""The Chainer backend: NumPy on a CPU, CuPy on a CUDA device.

Models, estimators and objectives compute through one `ChainerBackend`. Its functions take and give Chainer variables
(or arrays, which count as constants); `+ - * /` and unary minus work on them with broadcasting.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gsbench.backends import DeviceError, check_device, chunk_bytes
from gsbench.backends.chainer import densities, functions
from gsbench.backends.chainer.adam import Adam
from gsbench.backends.chainer.device_memory import DeviceMemoryPeak
from gsbench.backends.chainer.importing import chainer

F = chainer.functions

# Numbers of noise that are drawn at once in float64: they stay in the cache, and are little beside a step's arrays.
NOISE_BLOCK = 2**15


def cuda_problem() -> str | None:
    """Why no CUDA device can be used here, or None if one can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is wrong is said by DeviceError
            import cupy
    except Exception as error:  # an old CuPy fails on a new NumPy with AttributeError
        # CuPy frames its message with lines of "=" and advice; its cause says what is missing.
        return f"CuPy cannot be imported ({_first_line(error.__cause__ or error)})"
    try:
        # cupy.is_available() raises on CuPy 13 without a driver; this one does too on some machines.
        if not cupy.cuda.is_available():
            return "CuPy finds no CUDA device"
    except Exception as error:
        return f"CuPy cannot ask for CUDA devices ({_first_line(error)})"
    if not chainer.backends.cuda.available:
        return f"Chainer cannot use this CuPy ({_first_line(chainer.backends.cuda._resolution_error)})"
    return None


def _first_line(error: object) -> str:
    """The first line of an error's message, or its type where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _device(name: str) -> Any:
    """The Chainer device for "cpu" or "cuda:N"; raises DeviceError with the reason where it cannot be used."""
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


class ChainerBackend:
    """Array functions, random draws, optimiser and device of Chainer.

    `dtype` is the dtype of parameters, activations and matrix products; `wide_dtype`, float32 at least, is that of
    noise, log-softmax, sums over pixels and everything per example.
    """

    name = "chainer"

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.device = device
        self._device = _device(device)
        self._device.use()
        # Shapes are checked where they come in; checked again at each of some 300 nodes they are 3 to 9 % of a step.
        chainer.config.type_check = False
        self.xp = self._device.xp
        self.dtype = np.dtype(dtype)
        self.wide_dtype = np.promote_types(self.dtype, np.float32)
        self.chunk_bytes = chunk_bytes(device)
        # A float16 gradient of a mean over a batch of bounds would underflow; the optimiser divides it out again.
        self.loss_scale = 1024.0 if self.dtype == np.float16 else None

    # Arrays and parameters

    def array(self, values: Any, dtype: Any = None) -> Any:
        """`values` on the device, in the compute dtype or in `dtype`."""
        return self.xp.asarray(values, dtype=dtype or self.dtype)

    def integers(self, values: Any) -> Any:
        """Class numbers on the device (int32, as Chainer's look-ups want them)."""
        return self.xp.asarray(values, dtype=np.int32)

    def to_numpy(self, x: Any) -> np.ndarray:
        """The values of a variable or device array as a NumPy array."""
        return chainer.backends.cuda.to_cpu(x.array if isinstance(x, chainer.Variable) else x)

    def parameter(self, values: Any) -> Any:
        return chainer.Parameter(self.array(values))

    def new_parameter(self, shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> Any:
        """A parameter of `shape` with the values that `draw()` gives."""
        return self.parameter(draw())

    def gradient(self, parameter: Any) -> Any:
        """The gradient array that the last backward pass left in `parameter`, or None."""
        return parameter.grad

    # Random draws: made on the device, never on the host

    def generator(self, seed: int) -> Any:
        """A random generator of the device. The same seed gives the same draws on the same kind of device."""
        if self.xp is np:
            return np.random.default_rng(seed)
        return self.xp.random.Generator(self.xp.random.Philox4x3210(seed))

    def normal(self, rng: Any, shape: tuple[int, ...]) -> Any:
        """Standard normal draws, in the compute dtype."""
        return rng.standard_normal(shape, dtype=self.wide_dtype).astype(self.dtype, copy=False)

    def uniform(self, rng: Any, shape: tuple[int, ...]) -> Any:
        """Uniform draws from [0, 1), in the wide dtype. Those of float32 are multiples of 2⁻²⁴."""
        return rng.random(shape, dtype=self.wide_dtype)

    def exponential(self, rng: Any, shape: tuple[int, ...]) -> Any:
        """Standard exponential draws E > 0, in the wide dtype.

        They are drawn in float64, whose steps near 0 are less than 2⁻⁴⁹, and then cast. Float32's generators have steps
        of 2⁻²³ there, with which a class of q = 1e-8 would be drawn 65 times too rarely. Where a generator gives 0,
        once in 2⁵² draws, it becomes 2⁻⁵⁴, on every device, so that log E is finite.
        """
        if self.xp is np:
            draws = np.empty(shape, self.wide_dtype)
            flat = draws.reshape(-1)
            for start in range(0, flat.size, NOISE_BLOCK):
                part = flat[start : start + NOISE_BLOCK]
                part[...] = rng.standard_exponential(part.size)
        else:
            draws = rng.standard_exponential(shape).astype(self.wide_dtype, copy=False)
        return self.xp.maximum(draws, self.wide_dtype.type(2.0**-54), out=draws)

    # Functions

    def affine(self, x: Any, W: Any, terms: tuple[Any, ...] = ()) -> Any:
        """x Wᵀ + Σ terms over the last axis; x None: Σ terms.

        x [..., D], W [H, D], terms that broadcast to [..., H] → [..., H]
        """
        return functions.affine(x, W, terms)

    def perceptron(self, x: Any, W: Any, terms: tuple[Any, ...], layers: list[tuple[Any, Any]]) -> Any:
        """A multilayer perceptron with rectifiers: its first layer `affine(x, W, terms)`, then the layers (W_i, b_i).

        W_i [H', H], b_i [H'] → [..., n_out]. The last layer has no rectifier.
        """
        return functions.perceptron(x, W, terms, layers)

    def product(self, x: Any, W: Any) -> Any:
        """x W over the last axis. x [..., K], W [K, H] → [..., H]"""
        return functions.product(x, W)

    def take_rows(self, W: Any, index: Any) -> Any:
        """Rows of W. W [K, H], index int [...] → [..., H]"""
        return functions.take_rows(W, index)

    def look_up(self, y: Any, W: Any) -> Any:
        """y W for one-hot rows y that carry a gradient: a look-up forward, a product back. y [..., K] → [..., H]"""
        return functions.look_up(y, W)

    def batch_norm(
        self, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, training: bool, keeps_statistics: bool = True
    ) -> Any:
        """Batch normalisation over all axes but the last.

        While training it takes the statistics of x, and moves the running `mean` and `var` towards them where
        `keeps_statistics` says so; otherwise it takes `mean` and `var`.
        """
        flat = F.reshape(x, (-1, x.shape[-1]))
        if training:
            running = {"running_mean": mean, "running_var": var} if keeps_statistics else {}
            flat = F.batch_normalization(flat, gamma, beta, **running)
        else:
            flat = F.fixed_batch_normalization(flat, gamma, beta, mean, var)
        return F.reshape(flat, x.shape)

    def relu(self, x: Any) -> Any:
        return F.relu(x)

    def elu(self, x: Any) -> Any:
        return functions.Elu().apply((x,))[0] if self.xp is np else F.elu(x)

    def exp(self, x: Any) -> Any:
        return F.exp(x)

    def log_softmax(self, x: Any) -> Any:
        """Log-softmax over the last axis, in the wide dtype.

        The largest goes off first: Chainer takes x − logsumexp(x), which at 1e4 is off by 5e-4 in float32, so that
        the probabilities would not sum to 1.
        """
        x = self.widen(x)
        return F.log_softmax(x - self.stop_gradient(x).max(axis=-1, keepdims=True), axis=-1)

    def softmax(self, x: Any) -> Any:
        """Softmax over the last axis, in the wide dtype."""
        return F.softmax(self.widen(x), axis=-1)

    def sum(self, x: Any, axis: int | tuple[int, ...] | None = None) -> Any:
        """Sum, accumulated and given in the wide dtype."""
        return F.sum(self.widen(x), axis=axis)

    def mean(self, x: Any, axis: int | None = None) -> Any:
        return F.mean(x, axis=axis)

    def broadcast_to(self, x: Any, shape: tuple[int, ...]) -> Any:
        return F.broadcast_to(x, shape)

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        return F.reshape(x, shape)

    def expand(self, x: Any, axis: int) -> Any:
        """A new axis of length 1."""
        return F.expand_dims(x, axis)

    def swap(self, x: Any, axis_a: int, axis_b: int) -> Any:
        return F.swapaxes(x, axis_a, axis_b)

    def select_last(self, x: Any, index: Any) -> Any:
        """The entry of the last axis that `index` names. x [..., B, K], index int [B] → [..., B]"""
        flat = F.reshape(x, (-1, x.shape[-1]))
        repeats = flat.shape[0] // index.shape[0]
        return F.reshape(F.select_item(flat, self.xp.tile(index, repeats)), x.shape[:-1])

    def widen(self, x: Any) -> Any:
        """x in the wide dtype."""
        return x if x.dtype == self.wide_dtype else F.cast(x, self.wide_dtype)

    def narrow(self, x: Any) -> Any:
        """x in the compute dtype."""
        return x if x.dtype == self.dtype else F.cast(x, self.dtype)

    def stop_gradient(self, x: Any) -> Any:
        """The values of x as a constant."""
        return x.array if isinstance(x, chainer.Variable) else x

    def one_hot(self, index: Any, n_classes: int) -> Any:
        """One-hot rows in the compute dtype, as a constant. index int [...] → [..., K]"""
        return (index[..., None] == self.xp.arange(n_classes)).astype(self.dtype)

    def hard_point(self, hard: Any, log_q: Any, points: Any, weights: tuple[float, ...]) -> Any:
        """Forward the constant `hard` [..., K]; backward Σ_m c_m J(p_m) by log q, J(p) = diag(p) − p pᵀ.

        log_q broadcasts to `hard`; points [M, ..., K] are constants, `weights` the c_m.
        """
        return functions.hard_point(hard, log_q, points, weights)

    def pick(self, x: Any, index: Any) -> Any:
        """Entries of the last axis, by constant numbers. x [..., K], index int [..., S] → [..., S]"""
        return functions.pick(x, index)

    def take_groups(self, x: Any, index: Any) -> Any:
        """Rows of x by numbers of which equal ones stand together. x [n, ...], index int [R] → [R, ...]"""
        return functions.take_groups(x, index)

    def sparsemax(self, x: Any) -> Any:
        """The point of the simplex nearest to x, over the last axis, in the wide dtype."""
        return functions.sparsemax(self.widen(x))

    def entropy(self, log_q: Any) -> Any:
        """−Σ_k q_k log q_k over the last axis, by log q, in the wide dtype."""
        return functions.entropy(self.widen(log_q))

    def point_entropy(self, w: Any) -> Any:
        """−Σ_k w_k log w_k over the last axis, 0 log 0 = 0; its gradient is that on the support of w."""
        return functions.point_entropy(w)

    # Log densities: `gsbench.densities` says what they are

    def bernoulli_log_density(self, x: Any, logits: Any) -> Any:
        return densities.bernoulli_log_density(x, logits)

    def gaussian_draw(self, head: Any, noise: Any, limits: tuple[float, float] | None) -> tuple[Any, Any]:
        return densities.gaussian_draw(head, noise, limits)

    def standard_gaussian_log_density(self, z: Any) -> Any:
        return densities.standard_gaussian_log_density(z)

    def gaussian_log_density(self, x: Any, head: Any, limits: tuple[float, float] | None) -> Any:
        return densities.gaussian_log_density(x, head, limits)

    # Gradients by hand, for what takes them as it goes

    @property
    def keeps_graph(self) -> bool:
        """Whether gradients can be asked for (not within `no_gradient`)."""
        return bool(chainer.config.enable_backprop)

    def leaf(self, x: Any) -> Any:
        """The values of x as a variable of its own, by which a gradient can be taken."""
        return chainer.Variable(self.stop_gradient(x))

    def gradients(self, output: Any, cotangent: Any, leaves: dict[str, Any]) -> dict[str, Any]:
        """Those of ⟨cotangent, output⟩ by the leaves on which output depends, as arrays that are the caller's.

        Uses up the graph of `output`.
        """
        output.grad = cotangent
        output.backward()
        found: dict[str, Any] = {}
        for name, leaf in leaves.items():
            g = leaf.grad
            if g is not None:
                # Where nothing is broadcast, a node may hand one array, or views of it, to several of its inputs.
                shared = g.base is not None or any(g is other for other in found.values())
                found[name] = g.copy() if shared else g
        return found

    def weighted_sum(self, w: Any, f: Any, inputs: dict[str, Any], gradients: dict[str, Any]) -> Any:
        """Σ_k w_k f_k for values f [..., K] whose gradients by `inputs` are known. w [..., K] → [...]

        `gradients` are those of the sum of all entries of the result; they are used up. Raises ValueError in the
        backward pass of a loss that does not weight all entries alike.
        """
        return functions.weighted_sum(w, f, list(inputs.values()), [gradients[name] for name in inputs])

    # Training

    def backward(self, loss: Any) -> None:
        """Adds the gradients of the scalar `loss` to the parameters'."""
        loss.backward(loss_scale=self.loss_scale)

    def gradients_by(self, loss: Any, variables: list[Any]) -> list[Any]:
        """Those of the scalar `loss` by variables, also by such as are computed from others; in the wide dtype, as
        arrays that may be views of one another. The parameters' own gradients stay as they are."""
        found = chainer.grad([loss], variables, loss_scale=self.loss_scale)
        arrays = [self.xp.zeros(v.shape) if g is None else g.array for v, g in zip(variables, found, strict=True)]
        wide = [g.astype(self.wide_dtype, copy=False) for g in arrays]
        return wide if self.loss_scale is None else [g / self.wide_dtype.type(self.loss_scale) for g in wide]

    def adam(self, parameters: dict[str, Any], learning_rate: float, beta1: float = 0.9) -> Adam:
        return Adam(parameters, learning_rate, beta1, self.loss_scale)

    def set_values(self, x: Any, values: np.ndarray) -> None:
        """Puts other values into a parameter or device array, whose shape and dtype stay."""
        array: Any = x.array if isinstance(x, chainer.Variable) else x
        array[...] = self.xp.asarray(values)

    def move_towards(self, average: Any, x: Any, share: float) -> None:
        """average += share·(x − average), in place; both parameters or arrays of the compute dtype, of one shape."""
        average, x = self.stop_gradient(average), self.stop_gradient(x)
        step = x - average
        step *= self.dtype.type(share)
        average += step

    @contextlib.contextmanager
    def no_gradient(self) -> Any:
        """Within it no graph is kept."""
        with chainer.no_backprop_mode():
            yield

    # Device

    def synchronize(self) -> None:
        """Waits until the device has done all that was asked of it."""
        if self.xp is not np:
            self.xp.cuda.get_current_stream().synchronize()

    def device_memory_peak(self) -> DeviceMemoryPeak | None:
        """The meter of the device's memory pool, or None on a CPU."""
        return None if self.xp is np else DeviceMemoryPeak()

    def free_memory_bytes(self) -> int | None:
        """Free bytes of the CUDA device, or None on a CPU."""
        return None if self.xp is np else int(self.xp.cuda.runtime.memGetInfo()[0])

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether `error` says that memory ran out, on the host or on the device."""
        if isinstance(error, MemoryError):
            return True
        return self.xp is not np and isinstance(error, self.xp.cuda.memory.OutOfMemoryError)

    def versions(self) -> dict[str, str | None]:
        """Versions for the record; CuPy's, CUDA's and the card's name are None where the CPU computes."""
        found: dict[str, str | None] = {
            "chainer_version": chainer.__version__,
            "cupy_version": None,
            "cuda_version": None,
            "machine_gpu": None,
        }
        if self.xp is not np:
            runtime = self.xp.cuda.runtime
            found["cupy_version"] = self.xp.__version__
            found["cuda_version"] = str(runtime.runtimeGetVersion())
            found["machine_gpu"] = runtime.getDeviceProperties(self._device.device.id)["name"].decode()
        return found
