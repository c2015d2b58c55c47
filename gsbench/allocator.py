"""The C library's memory allocator, which keeps what arrays free as CuPy's pool does on a card.

glibc hands arrays beyond 32 MiB, of K · B rows from K of some 170 on, back to the system as soon as they are freed. The
next step has to have the same pages cleared and mapped anew: at K = 500 a quarter to a third of the time of
`marginalize`, and most of its wandering. Its highest memory is the same.
"""

from __future__ import annotations

import ctypes
import functools
import gc

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_kept = False


@functools.cache
def _libc() -> ctypes.CDLL | None:
    """None where the C library is not glibc."""
    try:
        libc = ctypes.CDLL(None)
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError, TypeError):
        return None


def keep_memory() -> bool:
    """From now on this process keeps what its arrays free, for those that follow; what it kept before is released.

    Whether it does: with glibc alone.
    """
    global _kept
    libc = _libc()
    if libc is not None and not _kept:
        _kept = bool(libc.mallopt(_MMAP_MAX, 0) and libc.mallopt(_TRIM_THRESHOLD, -1))
    release_memory()
    return _kept


def freed_memory() -> str:
    """What becomes of it, in a record: "kept", or "returned" as the C library sees fit."""
    return "kept" if _kept else "returned"


def release_memory() -> None:
    """Gives back to the system what is kept and not in use: another process may need it."""
    gc.collect()
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)
