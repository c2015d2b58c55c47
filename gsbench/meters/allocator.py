"""Makes the C library's allocator keep freed memory, as CuPy's memory pool does on a card.

glibc returns an array above 32 MiB to the system as soon as it is freed; arrays of K · B rows are so large from about
K = 170 on. The next step must clear and map the same pages again. At K = 500 this takes a quarter to a third of the
time of `marginalize` and causes most of its noise. The peak memory is the same in both cases.
"""

from __future__ import annotations

import ctypes
import functools
import gc

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_kept = False


@functools.cache
def _libc() -> ctypes.CDLL | None:
    """The C library, or None if it is not glibc."""
    try:
        libc = ctypes.CDLL(None)
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError, TypeError):
        return None


def keep_memory() -> bool:
    """From now on this process keeps the memory of freed arrays for later arrays. Memory kept so far is released.

    Returns whether the process keeps memory: only glibc can.
    """
    global _kept
    libc = _libc()
    if libc is not None and not _kept:
        _kept = bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, -1))
    release_memory()
    return _kept


def freed_memory() -> str:
    """For records: "kept", or "returned" if the C library decides."""
    return "kept" if _kept else "returned"


def release_memory() -> None:
    """Returns unused kept memory to the system, because another process may need it."""
    gc.collect()
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)
