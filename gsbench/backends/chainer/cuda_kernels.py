"""The log densities on a CUDA device: one kernel computes value and derivative, for which NumPy makes several passes.

A block of threads computes one row: it strides over the row's entries, writes their derivatives, and adds up the terms
in shared memory. For float16 arrays, the arithmetic, sums and values are in float32. The formulas are the same as in
`densities`, and so are the numbers except for rounding.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from gsbench.backends.base import Array, Limits

# T is the type of the arrays; S is the type of the arithmetic and the sums.
TYPES = {
    "float16": "#include <cuda_fp16.h>\ntypedef __half T; typedef float S;",
    "float32": "typedef float T; typedef float S;",
    "float64": "typedef double T; typedef double S;",
}
MOST_THREADS = 256
MOST_ROWS = 2**31 - 1  # the most blocks that a grid can have along its first axis

SOURCE = r"""
// Row `row` of an operand that broadcasts: `inner` and `outer` as broadcast_run gives them.
__device__ const T* row_of(const T* x, int inner, int outer, int row, int width) {
    return x + (size_t)(row / outer * inner + row % inner) * width;
}

// The sum over the threads of a block, a power of two of them, for thread 0.
__device__ S block_sum(S term) {
    __shared__ S partial[MOST_THREADS];
    partial[threadIdx.x] = term;
    for (unsigned n = blockDim.x / 2; n > 0; n /= 2) {
        __syncthreads();
        if (threadIdx.x < n) partial[threadIdx.x] += partial[threadIdx.x + n];
    }
    return partial[0];
}

// With x' = x - 1/2: the sum of x' l - |l|/2 - log(1 + exp(-|l|)), and x' - tanh(l/2)/2.
extern "C" __global__ void bernoulli(
    const T* x, int inner, int outer, const T* logits, int d, S* value, T* derivative
) {
    const size_t begin = (size_t)blockIdx.x * d;
    x = row_of(x, inner, outer, blockIdx.x, d);
    S sum = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        const S l = logits[begin + i], y = (S)x[i] - (S)0.5, absolute = fabs(l);
        sum += y * l - absolute / 2 - log1p(exp(-absolute));
        derivative[begin + i] = (T)(y - tanh(l / 2) / 2);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) value[blockIdx.x] = sum;
}

__device__ bool within(S x, S low, S high) { return !(x < low || x > high); }
__device__ S clipped(S x, S low, S high) { return x < low ? low : x > high ? high : x; }

// With v = (x - mu)/var: -1/2 the sum of log(2 pi) + log var + (x - mu) v, and v beside ((x - mu) v - 1)/2.
extern "C" __global__ void gaussian(
    const T* x, int x_inner, int x_outer, const T* head, int head_inner, int head_outer, int d, S low, S high,
    S* value, T* derivative
) {
    x = row_of(x, x_inner, x_outer, blockIdx.x, d);
    head = row_of(head, head_inner, head_outer, blockIdx.x, 2 * d);
    derivative += (size_t)blockIdx.x * 2 * d;
    S sum = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        const S raw = head[d + i], log_var = clipped(raw, low, high);
        const S difference = (S)x[i] - (S)head[i], v = exp(-log_var) * difference, square = v * difference;
        sum += log_var + square;
        derivative[i] = (T)v;
        derivative[d + i] = (T)(within(raw, low, high) ? (square - 1) / 2 : (S)0);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) value[blockIdx.x] = -(sum + d * LOG_2PI) / 2;
}

// With s = sigma e: mu + s, s, where log var was within the limits, and -1/2 the sum of log(2 pi) + log var + e e.
extern "C" __global__ void gaussian_draw(
    const T* head, int head_inner, int head_outer, const T* noise, int noise_inner, int noise_outer, int d, S low,
    S high, T* z, T* deviation, bool* inside, S* log_q
) {
    const size_t begin = (size_t)blockIdx.x * d;
    head = row_of(head, head_inner, head_outer, blockIdx.x, 2 * d);
    noise = row_of(noise, noise_inner, noise_outer, blockIdx.x, d);
    S sum = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        const S raw = head[d + i], log_var = clipped(raw, low, high), e = noise[i], s = exp(log_var / 2) * e;
        sum += log_var + e * e;
        z[begin + i] = (T)((S)head[i] + s);
        deviation[begin + i] = (T)s;
        inside[begin + i] = within(raw, low, high);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) log_q[blockIdx.x] = -(sum + d * LOG_2PI) / 2;
}
"""


def source(dtype: npt.DTypeLike) -> str:
    """The CUDA source of the kernels for arrays of `dtype`. Raises ValueError for an unsupported dtype."""
    name = np.dtype(dtype).name
    if name not in TYPES:
        raise ValueError(f"kernels are for {', '.join(TYPES)}; got {name}")
    constants = f"#define MOST_THREADS {MOST_THREADS}\n#define LOG_2PI ((S){math.log(2 * math.pi)!r})"
    return f"{TYPES[name]}\n{constants}\n{SOURCE}"


@functools.cache
def _module(dtype: np.dtype[Any]) -> Any:
    import cupy

    return cupy.RawModule(code=source(dtype))


@functools.cache
def kernel(name: str, dtype: np.dtype[Any]) -> Callable[..., None]:
    """The kernel of that name for arrays of `dtype`, compiled on first use."""
    return _module(dtype).get_function(name)


def launch_size(rows: int, width: int) -> tuple[int, int]:
    """(blocks, threads): one block per row; threads are the least power of two that covers the width, from 32 to 256.

    Raises ValueError for more rows than a grid has blocks.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise ValueError(f"a kernel takes 1 to {MOST_ROWS} rows, got {rows}; take fewer draws, classes or examples")
    return rows, max(32, min(MOST_THREADS, 1 << (width - 1).bit_length()))


def broadcast_run(shape: tuple[int, ...], to: tuple[int, ...]) -> tuple[int, int] | None:
    """(inner, outer) such that row r of `shape` broadcast to `to` is row ⌊r/outer⌋·inner + r mod inner of `shape`.

    `inner` counts the rows of the axes after the run of broadcast axes, and `outer` also the rows of that run. None if
    there are several such runs. `shape` must broadcast to `to`.
    """
    shape = (1,) * (len(to) - len(shape)) + shape
    broadcast = [axis for axis, (n, m) in enumerate(zip(shape, to, strict=True)) if n != m]
    if not broadcast:
        return (math.prod(to),) * 2
    first, last = broadcast[0], broadcast[-1]
    if math.prod(shape[first : last + 1]) > 1:
        return None
    return math.prod(to[last + 1 :]), math.prod(to[first:])


def _operand(xp: ModuleType, x: Array, dtype: np.dtype[Any], to: tuple[int, ...]) -> tuple[Array, np.int32, np.int32]:
    """x in a kernel's form: contiguous, with inner and outer. If these do not exist, x is copied to shape `to`.

    Raises ValueError if x does not broadcast to `to`.
    """
    x = xp.asarray(x, dtype)
    if x.ndim > len(to) or any(n not in (1, m) for n, m in zip(x.shape[::-1], to[::-1], strict=False)):
        raise ValueError(f"an operand of shape {x.shape} does not broadcast to {to}")
    run = broadcast_run(x.shape[:-1], to[:-1]) if x.shape[-1] == to[-1] else None
    if run is None:
        x, run = xp.broadcast_to(x, to), (math.prod(to[:-1]),) * 2
    return xp.ascontiguousarray(x), np.int32(run[0]), np.int32(run[1])


def _launch(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], *arguments: Array | np.generic) -> None:
    """Runs a kernel over the rows of `shape` [..., D], if there are any."""
    if 0 not in shape[:-1]:
        blocks, threads = launch_size(math.prod(shape[:-1]), shape[-1])
        kernel(name, dtype)((blocks,), (threads,), arguments)


def _limits(limits: Limits, dtype: np.dtype[Any], wide: np.dtype[Any]) -> tuple[np.generic, np.generic]:
    """Low and high, rounded to the arrays' dtype as in NumPy's comparisons."""
    low, high = (-math.inf, math.inf) if limits is None else limits
    return wide.type(dtype.type(low)), wide.type(dtype.type(high))


def bernoulli(xp: ModuleType, x: Array, logits: Array) -> tuple[Array, Array]:
    """The Bernoulli log density of x, which broadcasts to the logits [..., D]. → value [...], derivative [..., D]"""
    dtype, shape = logits.dtype, logits.shape
    value = xp.empty(shape[:-1], np.promote_types(dtype, np.float32))
    derivative = xp.empty(shape, dtype)
    logits = xp.ascontiguousarray(logits)
    _launch("bernoulli", dtype, shape, *_operand(xp, x, dtype, shape), logits, np.int32(shape[-1]), value, derivative)
    return value, derivative


def gaussian(xp: ModuleType, x: Array, head: Array, limits: Limits) -> tuple[Array, Array]:
    """The Gaussian log density of x [..., D] for a head [..., 2D]. → value [...], its derivative [..., 2D]

    The derivative is with respect to the head. It is 0 for every log σ² that the limits clipped.
    """
    dtype, d = head.dtype, x.shape[-1]
    wide = np.promote_types(dtype, np.float32)
    rows = np.broadcast_shapes(x.shape[:-1], head.shape[:-1])
    value, derivative = xp.empty(rows, wide), xp.empty((*rows, 2 * d), dtype)
    operands = (*_operand(xp, x, dtype, (*rows, d)), *_operand(xp, head, dtype, (*rows, 2 * d)))
    _launch("gaussian", dtype, (*rows, d), *operands, np.int32(d), *_limits(limits, dtype, wide), value, derivative)
    return value, derivative


def gaussian_draw(xp: ModuleType, head: Array, noise: Array, limits: Limits) -> tuple[Array, Array, Array, Array]:
    """A draw z = μ + σ ε from a head [..., 2D] and noise ε [..., D].

    → z, σ ε, whether log σ² was within the limits (each [..., D]), log q(z) [...]
    """
    dtype, d = head.dtype, noise.shape[-1]
    wide = np.promote_types(dtype, np.float32)
    rows = np.broadcast_shapes(head.shape[:-1], noise.shape[:-1])
    results = (*(xp.empty((*rows, d), kind) for kind in (dtype, dtype, np.bool_)), xp.empty(rows, wide))
    operands = (*_operand(xp, head, dtype, (*rows, 2 * d)), *_operand(xp, noise, dtype, (*rows, d)))
    _launch("gaussian_draw", dtype, (*rows, d), *operands, np.int32(d), *_limits(limits, dtype, wide), *results)
    return results
