"""What the C library does with large pieces of memory that were given back to it.

Owns the process's two wishes to it. The default gives the end of the heap back to the system as soon as it is free, and an answer
of a few megabytes from several partitions is exactly that: every page of it is taken from the system anew, zeroed and mapped, for
every answer, which costs as much as reading the log does. So freed memory is kept, up to ``KEPT_BYTES``, and ``give_back`` is called
from time to time: then a quiet broker is as small as before.

Only glibc has these calls; with another library nothing happens, and nothing depends on it.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

KEPT_BYTES = 32 * 1024 * 1024
"""The largest value that glibc takes for the second of these; four answers to consumers."""
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Whether the C library listened."""
    mallopt = getattr(_library(), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, KEPT_BYTES)) and bool(mallopt(_MMAP_THRESHOLD, KEPT_BYTES))


def give_back() -> None:
    """Whatever is free and whole pages goes back to the system. A millisecond or two."""
    trim = getattr(_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _library() -> Any:
    return ctypes.CDLL(None)
