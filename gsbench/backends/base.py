"""The interface between gsbench and a framework: a `Backend`.

Models, estimators and objectives compute through one `Backend`. Tensors that carry a gradient go through its methods,
`+ - * /`, unary minus and indexing. Constants go through `Backend.xp`, the functions of the array API standard. The
last axis is the event (pixels, latents, classes) unless a docstring says otherwise, and all operands broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol, TypeAlias

import numpy as np

# These names are for the reader: mypy cannot tell them apart, because the frameworks' types have no common base.
Array: TypeAlias = Any  # a constant on the device, of the array API standard
Tensor: TypeAlias = Any  # may carry a gradient; has a shape and a dtype; an Array can replace it
Parameter: TypeAlias = Any  # a Tensor that receives gradients from `Backend.backward`; optimisers change it
Generator: TypeAlias = Any  # a random generator of the device, made by `Backend.generator`
DType: TypeAlias = Any  # a dtype of `Backend.xp`; its `itemsize` is the bytes of one number
Limits: TypeAlias = "tuple[float, float] | None"  # the range to which log σ² is clipped; None: no clipping


BETA2, EPSILON = 0.999, 1e-8  # of Adam
# In float16 the gradients of a mean over a batch would underflow. The loss is multiplied by this; Adam divides by it.
LOSS_SCALE = 1024.0
EPSILON_FORM = "algorithm 1"  # ε is added to √v̂. Older records have "epsilon-hat": there it was added to √v


class MemoryPeak(Protocol):
    """Counts the live bytes of arrays that were allocated between `start` and `stop`, and their peak."""

    meter: str  # its name in records
    @property
    def current_bytes(self) -> int: ...
    @property
    def peak_bytes(self) -> int: ...
    @property
    def reserved_bytes(self) -> int | None:
        """The most bytes that the allocator has held, used or not; None if it is not asked."""
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def reset_peak(self) -> None:
        """Restarts the peak at the current number of live bytes."""


class Optimizer(Protocol):
    """Adam over named parameters: algorithm 1 of Kingma and Ba 2015 (arXiv 1412.6980), with `BETA2` and `EPSILON`."""
    @property
    def settings(self) -> dict[str, Any]:
        """The settings that no recipe changes, for records: β2, ε, and which form of Adam uses this ε."""
    def constrain(
        self, weight_decay: float = 0.0, clip_norm: float | None = None, clip_element: float | None = None
    ) -> None:
        """Adds weight_decay·W to the gradient of each parameter W, then scales all gradients to a norm of at most
        `clip_norm`, then clips their elements to ±`clip_element`.

        May raise ValueError for clipping in a dtype with scaled gradients, if the limits would apply to these.
        """
    def set_learning_rate(self, learning_rate: float) -> None: ...
    def clear_gradients(self) -> None: ...
    def update(self) -> None:
        """Takes one step. A parameter without a gradient stays unchanged."""
    def state(self) -> dict[str, Array]:
        """The moments "m/NAME" and "v/NAME", in arrays that the next update changes, and the number of "updates"."""
    def state_forms(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and dtype of each array of `state` after an update, as `Backend.to_numpy` returns it."""
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Resumes from the `state` of an optimiser of the same parameters."""


class Module(Protocol):
    """A user's module of the framework, made by `Backend.module`. Names are those of the framework."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters that are trained."""
    @property
    def statistics(self) -> dict[str, Array]:
        """Further state, such as running averages."""
    @property
    def has_batch_norm(self) -> bool:
        """Whether rows of a minibatch interact."""
    def set_training(self, training: bool) -> None: ...
    def leaving_statistics(self) -> AbstractContextManager[None]:
        """Context after which the statistics are as before."""
    def counting(self) -> AbstractContextManager[None]:
        """Context with gradients, after which statistics and the framework's own generator are as before."""
    def call(self, method: str, replaced: Mapping[str, Tensor], *args: Any) -> Any:
        """The result of a method. `replaced` has other values for some parameters and statistics."""
    def counted(self, call: Callable[[], Tensor]) -> tuple[int, int]:
        """Numbers that a call keeps for its backward pass, without parameters; and floating-point operations of matrix
        products and convolutions, forward and backward, as the framework counts them.
        """
    def uses(self, value: Tensor) -> frozenset[str]:
        """The names of the parameters on which a value depends."""


class Backend(Protocol):
    """A framework on one device, in one dtype. It is made by `load_backend`.

    name         its name in `BACKENDS`
    device       "cpu" or "cuda:N"
    dtype        the compute dtype, for hidden activations and matrix products
    wide_dtype   at least float32, for noise, log-softmax, sums over pixels and all numbers per example
    chunk_bytes  the limit on the activations of a chunk of work, see `gsbench.backends.chunk_bytes`
    xp           functions on constants, from array_api_compat. Elementwise functions also take `out`, as in NumPy, CuPy
                 and PyTorch, though not in the standard. Functions that create arrays must be given the device
    """

    name: str
    device: str
    dtype: DType
    wide_dtype: DType
    chunk_bytes: int
    xp: ModuleType

    # Arrays and parameters
    def array(self, values: Any, dtype: DType | None = None) -> Array:
        """An array on the device from numbers or an array, whose memory it may share. Its dtype is `dtype`. Without
        `dtype`, the backend takes its compute dtype or its wide dtype.
        """
    def integers(self, values: Any) -> Array:
        """Class numbers on the device."""
    def to_numpy(self, x: Tensor | np.ndarray) -> np.ndarray:
        """The values as a NumPy array, which may share memory with x. Waits for the device."""
    def parameter(self, values: Any) -> Parameter:
        """A parameter with these values. It may share their memory; its dtype may be wider than the compute dtype."""
    def new_parameter(self, shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> Parameter:
        """A parameter of `shape` with the values that `draw()` returns."""
    def gradient(self, parameter: Parameter) -> Array | None:
        """The gradient that backward passes left in `parameter`; None if there is none."""
    def set_values(self, x: Parameter | Array, values: np.ndarray) -> None:
        """Replaces the values of a parameter or array. Its shape and dtype stay."""
    def move_towards(self, average: Parameter | Array, x: Parameter | Array, share: float) -> None:
        """average += share·(x − average), in place; both of one shape and dtype."""

    # Random draws: made on the device, never on the host
    def generator(self, seed: int) -> Generator:
        """A new, independent generator: the same seed gives the same draws on the same kind of device."""
    def normal(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        """Standard normal draws, as constants in the compute dtype or the wide one."""
    def uniform(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        """Uniform draws from [0, 1), in the wide dtype. In float32 on a CPU they are multiples of 2⁻²⁴."""
    def exponential(self, rng: Generator, shape: tuple[int, ...]) -> Array:
        """Standard exponential draws E > 0, in the wide dtype.

        Near 0 the steps between possible draws are below 2⁻⁴⁹, as in float64. With float32's steps of 2⁻²³, a class of
        q = 1e-8 would be drawn 65 times too rarely. A draw of 0 becomes 2⁻⁵⁴, so that log E is finite.
        """

    # Layers. A `precise` one may take the wide dtype in place of the compute dtype.
    def affine(
        self, x: Tensor | None, W: Tensor | None, terms: tuple[Tensor, ...] = (), precise: bool = False
    ) -> Tensor:
        """x Wᵀ + Σ terms; x and W None: Σ terms. x [..., D], W [H, D], terms that broadcast to [..., H] → [..., H]"""
    def perceptron(
        self, x: Tensor | None, W: Tensor | None, terms: tuple[Tensor, ...], layers: list[tuple[Tensor, Tensor]],
        precise: bool = False,
    ) -> Tensor:
        """A multilayer perceptron with rectifiers: its first layer `affine(x, W, terms)`, then the layers (W_i, b_i).

        h_1 = max(0, x Wᵀ + Σ terms), h_i = max(0, h_{i−1} W_iᵀ + b_i); the last layer has no rectifier.
        W_i [H', H], b_i [H'] → [..., n_out]
        """
    def product(self, x: Tensor, W: Tensor) -> Tensor:
        """x W. x [..., K], W [K, H] → [..., H]"""
    def take_rows(self, W: Tensor, index: Array) -> Tensor:
        """Rows of W. W [K, H], index int [...] → [..., H]"""
    def look_up(self, y: Tensor, W: Tensor) -> Tensor:
        """y W for one-hot rows y that carry a gradient: a look-up forward, and a product backward to all K entries.

        y [..., K], W [K, H] → [..., H]
        """
    def batch_norm(
        self, x: Tensor, gamma: Tensor, beta: Tensor, running: tuple[Array, Array], training: bool, moves: bool = True
    ) -> Tensor:
        """γ (x − m)/√(v + 2e-5) + β. x [..., D], all others [D] → [..., D]

        In training, m and v are the mean and variance of the n rows of x, over all axes but the last. If `moves`, the
        update running ← 0.9·running + 0.1·(m, v·n/(n − 1)) is made in place. Out of training, (m, v) is `running`.
        """
    def relu(self, x: Tensor) -> Tensor:
        """max(0, x)"""
    def elu(self, x: Tensor) -> Tensor:
        """x, or exp(x) − 1 where x < 0"""

    # Elementwise functions, sums and shapes
    def exp(self, x: Tensor) -> Tensor: ...
    def log_softmax(self, x: Tensor) -> Tensor:
        """log softmax(x), in the wide dtype. It stays normalised if a large constant is added to x."""
    def softmax(self, x: Tensor) -> Tensor:
        """exp(x_k)/Σ_j exp(x_j), in the wide dtype."""
    def sum(self, x: Tensor, axis: int | tuple[int, ...] | None = None) -> Tensor:
        """Sum over one, several or all axes, accumulated and returned in the wide dtype."""
    def mean(self, x: Tensor, axis: int | None = None) -> Tensor: ...
    def broadcast_to(self, x: Tensor, shape: tuple[int, ...]) -> Tensor: ...
    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor: ...
    def expand(self, x: Tensor, axis: int) -> Tensor:
        """x with a new axis of length 1."""
    def concat(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        """Tensors of one dtype, one after the other along an axis."""
    def swap(self, x: Tensor, axis_a: int, axis_b: int) -> Tensor:
        """x with two axes swapped."""
    def widen(self, x: Tensor) -> Tensor:
        """x in the wide dtype."""
    def narrow(self, x: Tensor) -> Tensor:
        """x in the compute dtype."""
    def stop_gradient(self, x: Tensor) -> Array:
        """The values of x as a constant, in the same memory."""

    # The class
    def select_last(self, x: Tensor, index: Array) -> Tensor:
        """The entry number `index` of the last axis. x [..., B, K], index int [B] → [..., B]"""
    def pick(self, x: Tensor, index: Array) -> Tensor:
        """Entries of the last axis; one may be picked several times. x [..., K], index int [..., S] → [..., S]"""
    def take_groups(self, x: Tensor, index: Array) -> Tensor:
        """Rows of x by their numbers; equal numbers must be adjacent. x [n, ...], index int [R] → [R, ...]"""
    def largest(self, x: Array, m: int) -> Array:
        """The numbers of the m < K largest entries, in any order. x [..., K] → int [..., m], in new memory"""
    def hard_point(self, hard: Array, log_q: Tensor, points: Sequence[Array], weights: tuple[float, ...]) -> Tensor:
        """Forward the constant `hard` [..., K]; backward Σ_m c_m J(p_m) with respect to log q, J(p) = diag(p) − p pᵀ.

        log_q broadcasts to `hard`; points p_m [..., K], `weights` the c_m → [..., K]
        """
    def sparsemax(self, x: Tensor) -> Tensor:
        """The point of the simplex nearest to x, in the wide dtype (Martins & Astudillo 2016, arXiv 1602.02068)."""
    def entropy(self, log_q: Tensor) -> Tensor:
        """H(q) = −Σ_k q_k log q_k, in nats and the wide dtype, for normalised log q. [..., K] → [...]"""
    def point_entropy(self, w: Tensor) -> Tensor:
        """−Σ_k w_k log w_k with 0 log 0 = 0. Its gradient is taken on the support of w. [..., K] → [...]"""

    # Log densities, summed over the last axis, [..., D] → [...], in nats and in the wide dtype. Gaussians are diagonal.
    # A *head* [..., 2D] is a network output that holds the mean μ and log σ² of a Gaussian. `limits` clips every log σ²
    # once, for density and draw alike.
    def bernoulli_log_density(self, x: Array, logits: Tensor) -> Tensor:
        """log Bernoulli(x; σ(l)) = Σ_d [ x_d l_d − log(1 + exp l_d) ], for constant x in [0, 1]."""
    def gaussian_draw(self, head: Tensor, noise: Array, limits: Limits = None) -> tuple[Tensor, Tensor]:
        """z = μ + σ ε, and its log density at itself, log N(z; μ, σ²) = −½ Σ_d [ log 2π + log σ²_d + ε_d² ].

        noise ε [..., D] is a constant. The density's gradient with respect to μ and log σ² is the total one, through
        both the draw and the density. → [..., D], [...]
        """
    def standard_gaussian_log_density(self, z: Tensor) -> Tensor:
        """log N(z; 0, I) = −½ Σ_d [ log 2π + z_d² ]"""
    def gaussian_log_density(self, x: Tensor, head: Tensor, limits: Limits = None) -> Tensor:
        """log N(x; μ, σ²) = −½ Σ_d [ log 2π + log σ²_d + (x_d − μ_d)²/σ²_d ]"""

    # Gradients
    def no_gradient(self) -> AbstractContextManager[None]:
        """Context in which no graph is kept."""
    @property
    def keeps_graph(self) -> bool:
        """Whether gradients can be computed: False within `no_gradient`."""
    def backward(self, loss: Tensor) -> None:
        """Adds the gradients of the scalar `loss` to the parameters' own. They may include a dtype's loss scale."""
    def gradients_by(self, loss: Tensor, variables: list[Tensor]) -> list[Array]:
        """The gradients of the scalar `loss` with respect to variables, also computed ones; zeros if there is none.

        They are in the wide dtype and may be views of one another. The parameters' own gradients do not change. Uses up
        the graph of `loss`.
        """
    def leaf(self, x: Tensor) -> Tensor:
        """A new variable with the values of x. Gradients can be taken with respect to it."""
    def gradients(self, output: Tensor, cotangent: Array, leaves: Mapping[str, Tensor]) -> dict[str, Array]:
        """The gradients of ⟨cotangent, output⟩ with respect to the leaves it depends on. The caller owns the arrays.

        Uses up the graph of `output`.
        """
    def weighted_sum(
        self, w: Tensor, f: Array, inputs: Mapping[str, Tensor], gradients: Mapping[str, Array]
    ) -> Tensor:
        """Σ_k w_k f_k for values f [..., K] whose gradients with respect to `inputs` are known. w [..., K] → [...]

        `gradients` are the gradients of the sum over all entries of the result; they are used up. They are exact for
        every loss that weights the entries alike, such as a mean. Any other loss raises ValueError in its backward
        pass. On a CUDA device, where a check would stall the queue, such a loss makes all gradients NaN instead.
        """
    def adam(self, parameters: Mapping[str, Parameter], learning_rate: float, beta1: float = 0.9) -> Optimizer: ...
    def module(self, make: Callable[[], Any], seed: int) -> Module:
        """A user's module, which `make()` returns, with initial parameters from `seed`. Raises ValueError if this
        backend takes none, or if `make` returns something else.
        """

    # Device
    def set_threads(self, threads: int) -> None:
        """Sets the framework's own number of CPU threads. The caller sets the threads of the BLAS."""
    def synchronize(self) -> None:
        """Waits until the device has finished all its work."""
    def memory_peak(self) -> MemoryPeak:
        """The meter of the bytes of arrays: on the CUDA device, or else on the host."""
    def free_memory_bytes(self) -> int | None:
        """Free bytes of the CUDA device; None on a CPU."""
    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether `error` says that memory ran out, on the host or on the device."""
    def versions(self) -> dict[str, str | None]:
        """Versions of the framework and CUDA and the card's name, for records; None for parts not in use."""
