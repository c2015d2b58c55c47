"""Array functions, random draws, optimiser and device of PyTorch, on a CPU or a CUDA device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from array_api_compat import array_namespace

from gsbench.backends import DeviceError, check_device, chunk_bytes
from gsbench.backends.base import LOSS_SCALE, Array, Backend, DType, Generator, Limits, MemoryPeak, Parameter, Tensor
from gsbench.backends.noise import LEAST_EXPONENTIAL, fill_exponential
from gsbench.backends.torch import densities, functions
from gsbench.backends.torch.adam import Adam
from gsbench.backends.torch.memory import CpuMemoryPeak, CudaMemoryPeak
from gsbench.backends.torch.module import TorchModule

# Float32 products that may round their operands to 10 bits of mantissa (TensorFloat-32) are a dtype of their own.
COMPUTE = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "tf32": torch.float32,
}


def _check_device(name: str) -> None:
    """Raises DeviceError with the reason if the device cannot be used."""
    check_device(name)
    if name == "cpu":
        return
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"it finds no CUDA device (it is built for CUDA {built})" if built else "this PyTorch is a CPU build"
        raise DeviceError("{device}", f" {name!r} cannot be used: {why}; allowed here: cpu")
    count = torch.cuda.device_count()
    if int(name.removeprefix("cuda:")) >= count:
        raise DeviceError("no {device}", f" {name!r}; allowed here: cpu, cuda:0 to cuda:{count - 1}")


class TorchBackend(Backend):
    """The backend of PyTorch. A `Tensor` and an `Array` are both a `torch.Tensor`.

    In bfloat16 and float16, products and hidden activations have the compute dtype. Parameters, noise, constants,
    Adam's moments and all numbers per example have float32.

    On a CPU, noise comes from NumPy's generators: the same seed gives the noise of the Chainer backend.

    The precision of float32 products is a setting of the process. The backend that was made last determines it, so a
    process must not alternate between float32 and tf32.
    """

    name = "torch"

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        _check_device(device)
        self.device = device
        self._device = torch.device(device)
        self.dtype = COMPUTE[dtype]
        self.wide_dtype = functions.wide(self.dtype)
        self.xp = array_namespace(torch.empty(0))
        self.chunk_bytes = chunk_bytes(device)
        self.loss_scale = LOSS_SCALE if self.dtype == torch.float16 else None
        if device != "cpu":
            torch.cuda.set_device(self._device)
        torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")  # for the whole process
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False

    # Arrays and parameters

    def array(self, values: Any, dtype: DType | None = None) -> Array:
        return torch.as_tensor(values, dtype=dtype or self.wide_dtype, device=self._device)

    def integers(self, values: Any) -> Array:
        return torch.as_tensor(values, dtype=torch.int64, device=self._device)

    def to_numpy(self, x: Tensor | np.ndarray) -> np.ndarray:
        if isinstance(x, np.ndarray):
            return x
        x = x.detach().cpu()
        found: np.ndarray = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
        return found

    def parameter(self, values: Any) -> Parameter:
        return self.array(values).detach().requires_grad_()

    def new_parameter(self, shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> Parameter:
        return self.parameter(draw())

    def gradient(self, parameter: Parameter) -> Array | None:
        return parameter.grad

    def set_values(self, x: Parameter | Array, values: np.ndarray) -> None:
        x.detach().copy_(torch.from_numpy(np.asarray(values)))

    def move_towards(self, average: Parameter | Array, x: Parameter | Array, share: float) -> None:
        average.detach().lerp_(x.detach(), share)

    # Random draws

    def generator(self, seed: int) -> Generator:
        if self.device == "cpu":
            return np.random.default_rng(seed)
        return torch.Generator(self._device).manual_seed(seed)

    def _drawn(self, rng: Generator, shape: tuple[int, ...], on_cpu: str, on_device: Callable[..., Array]) -> Array:
        """Draws in the wide dtype, by the generator's method `on_cpu` or by PyTorch's function `on_device`."""
        if self.device != "cpu":
            return on_device(shape, generator=rng, dtype=self.wide_dtype, device=self._device)
        draws = torch.empty(shape, dtype=self.wide_dtype)
        values = draws.numpy()
        getattr(rng, on_cpu)(dtype=values.dtype, out=values)
        return draws

    def normal(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        return self._drawn(rng, shape, "standard_normal", torch.randn)

    def uniform(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        return self._drawn(rng, shape, "random", torch.rand)

    def exponential(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        draws = torch.empty(shape, dtype=self.wide_dtype, device=self._device)
        if self.device == "cpu":
            fill_exponential(rng, draws.numpy())
        else:
            draws.copy_(torch.empty(shape, dtype=torch.float64, device=self._device).exponential_(generator=rng))
        return draws.clamp_(min=LEAST_EXPONENTIAL)

    # Layers

    def affine(
        self, x: Tensor | None, W: Tensor | None, terms: tuple[Tensor, ...] = (), precise: bool = False
    ) -> Tensor:
        return functions.Affine.apply(self.wide_dtype if precise else self.dtype, x, W, *terms)

    def perceptron(
        self, x: Tensor | None, W: Tensor | None, terms: tuple[Tensor, ...], layers: list[tuple[Tensor, Tensor]],
        precise: bool = False,
    ) -> Tensor:
        further = (p for layer in layers for p in layer)
        dtype = self.wide_dtype if precise else self.dtype
        return functions.Perceptron.apply(dtype, len(terms), x, W, *terms, *further)

    def product(self, x: Tensor, W: Tensor) -> Tensor:
        return functions.Product.apply(x, W, self.dtype)

    def take_rows(self, W: Tensor, index: Array) -> Tensor:
        return F.embedding(index, W)

    def look_up(self, y: Tensor, W: Tensor) -> Tensor:
        return functions.LookUp.apply(y, W, self.dtype)

    def batch_norm(
        self, x: Tensor, gamma: Tensor, beta: Tensor, running: tuple[Array, Array], training: bool, moves: bool = True
    ) -> Tensor:
        flat = functions.rows(x)
        one_row = training and len(flat) == 1  # PyTorch divides its variance by n − 1 = 0, and F.batch_norm refuses it
        mean, var = (None, None) if training and (one_row or not moves) else running
        y = torch.batch_norm(flat, gamma, beta, mean, var, training, 0.1, 2e-5, torch.backends.cudnn.enabled)
        if one_row and moves:
            running[0].lerp_(flat.detach()[0].to(running[0].dtype), 0.1)
            running[1].mul_(0.9)
        return y.reshape(x.shape)

    def relu(self, x: Tensor) -> Tensor:
        return F.relu(x)

    def elu(self, x: Tensor) -> Tensor:
        return F.elu(x)

    # Elementwise functions, sums and shapes

    exp = staticmethod(torch.exp)

    def log_softmax(self, x: Tensor) -> Tensor:
        # The largest entry is subtracted first, so that the probabilities sum to 1 whatever all entries share.
        x = self.widen(x)
        return F.log_softmax(x - x.detach().amax(-1, keepdim=True), dim=-1)

    def softmax(self, x: Tensor) -> Tensor:
        return F.softmax(self.widen(x), dim=-1)

    def sum(self, x: Tensor, axis: int | tuple[int, ...] | None = None) -> Tensor:
        return torch.sum(x, dim=axis, dtype=self.wide_dtype)

    def mean(self, x: Tensor, axis: int | None = None) -> Tensor:
        return torch.mean(x, dim=axis)

    broadcast_to, reshape = staticmethod(torch.broadcast_to), staticmethod(torch.reshape)
    expand, swap = staticmethod(torch.unsqueeze), staticmethod(torch.swapaxes)

    def concat(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        return torch.cat(tuple(xs), dim=axis)

    def widen(self, x: Tensor) -> Tensor:
        return x.to(self.wide_dtype)

    def narrow(self, x: Tensor) -> Tensor:
        return x.to(self.dtype)

    def stop_gradient(self, x: Tensor) -> Array:
        return x.detach()

    # The class

    def select_last(self, x: Tensor, index: Array) -> Tensor:
        return x.gather(-1, index[..., None].expand(*x.shape[:-1], 1)).squeeze(-1)

    def pick(self, x: Tensor, index: Array) -> Tensor:
        return x.gather(-1, index)

    def take_groups(self, x: Tensor, index: Array) -> Tensor:
        return F.embedding(index, x.reshape(len(x), -1)).reshape(len(index), *x.shape[1:])

    def largest(self, x: Array, m: int) -> Array:
        return x.topk(m, dim=-1, sorted=False).indices

    def hard_point(self, hard: Array, log_q: Tensor, points: Sequence[Array], weights: tuple[float, ...]) -> Tensor:
        return functions.HardPoint.apply(hard, log_q, weights, *points)

    def sparsemax(self, x: Tensor) -> Tensor:
        return functions.Sparsemax.apply(self.widen(x))

    def entropy(self, log_q: Tensor) -> Tensor:
        return functions.Entropy.apply(self.widen(log_q))

    def point_entropy(self, w: Tensor) -> Tensor:
        return functions.PointEntropy.apply(w)

    # Log densities

    def bernoulli_log_density(self, x: Array, logits: Tensor) -> Tensor:
        return densities.BernoulliLogDensity.apply(x, logits)

    def gaussian_draw(self, head: Tensor, noise: Array, limits: Limits = None) -> tuple[Tensor, Tensor]:
        z, log_q_z = densities.GaussianDraw.apply(head, noise, limits)
        return z, log_q_z

    def standard_gaussian_log_density(self, z: Tensor) -> Tensor:
        return densities.StandardGaussianLogDensity.apply(self.widen(z))

    def gaussian_log_density(self, x: Tensor, head: Tensor, limits: Limits = None) -> Tensor:
        return densities.GaussianLogDensity.apply(x, head, limits)

    # Gradients

    def no_gradient(self) -> AbstractContextManager[None]:
        return torch.no_grad()

    @property
    def keeps_graph(self) -> bool:
        return torch.is_grad_enabled()

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss if self.loss_scale is None else loss * self.loss_scale

    def backward(self, loss: Tensor) -> None:
        self._scaled(loss).backward()

    def gradients_by(self, loss: Tensor, variables: list[Tensor]) -> list[Array]:
        trained = [v for v in variables if v.requires_grad]  # a user's module may have frozen parts
        found = iter(torch.autograd.grad(self._scaled(loss), trained, allow_unused=True) if trained else ())
        gradients = [next(found) if v.requires_grad else None for v in variables]
        arrays = [torch.zeros_like(v) if g is None else g for v, g in zip(variables, gradients, strict=True)]
        wide = [self.widen(g) for g in arrays]
        return wide if self.loss_scale is None else [g / self.loss_scale for g in wide]

    def leaf(self, x: Tensor) -> Tensor:
        return x.detach().requires_grad_()

    def gradients(self, output: Tensor, cotangent: Array, leaves: Mapping[str, Tensor]) -> dict[str, Array]:
        if not output.requires_grad:
            return {}
        found = torch.autograd.grad(output, list(leaves.values()), cotangent, allow_unused=True)
        owned: dict[str, Array] = {}
        taken = {cotangent.untyped_storage().data_ptr()}
        for name, g in zip(leaves, found, strict=True):
            if g is None:
                continue
            # A node may give the same array, or views of it, to several of its inputs.
            memory = g.untyped_storage()
            is_own = memory.data_ptr() not in taken and memory.nbytes() == g.nbytes
            owned[name] = g if is_own else g.clone(memory_format=torch.contiguous_format)
            taken.add(memory.data_ptr())
        return owned

    def weighted_sum(
        self, w: Tensor, f: Array, inputs: Mapping[str, Tensor], gradients: Mapping[str, Array]
    ) -> Tensor:
        return functions.WeightedSum.apply(f, [gradients[name] for name in inputs], w, *inputs.values())

    def adam(self, parameters: Mapping[str, Parameter], learning_rate: float, beta1: float = 0.9) -> Adam:
        return Adam(parameters, learning_rate, beta1, self.loss_scale)

    def module(self, make: Callable[[], Any], seed: int) -> TorchModule:
        return TorchModule(make, seed, self._device, self.dtype, self.wide_dtype)

    # Device

    def set_threads(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def synchronize(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize(self._device)

    def memory_peak(self) -> MemoryPeak:
        return CpuMemoryPeak() if self.device == "cpu" else CudaMemoryPeak(self._device)

    def free_memory_bytes(self) -> int | None:
        if self.device == "cpu":
            return None
        unused = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
        return int(torch.cuda.mem_get_info(self._device)[0]) + unused

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            return True
        # PyTorch's allocator for the CPU raises a plain RuntimeError.
        return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)

    def versions(self) -> dict[str, str | None]:
        on_card = self.device != "cpu"
        return {
            "torch_version": torch.__version__,
            "torch_matmul_precision": torch.get_float32_matmul_precision(),
            "cuda_version": torch.version.cuda if on_card else None,
            "machine_gpu": torch.cuda.get_device_name(self._device) if on_card else None,
        }
