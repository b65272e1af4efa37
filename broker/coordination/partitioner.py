"""Which partition of a coordinator's topic a group or a transactional id lives in.

Owns: Kafka's rule, Java's ``String.hashCode`` made positive, modulo the partition count. It is a disk format: with
another rule, what Kafka's tools wrote (or read) would be looked for in the wrong place.
"""

from __future__ import annotations

import struct
from functools import lru_cache

_INT_MIN = -(2**31)


@lru_cache(maxsize=32_768)
def java_hash(text: str) -> int:
    """``String.hashCode``: over UTF-16 code units, wrapping at 32 bits, signed."""
    raw = text.encode("utf-16-be", "surrogatepass")
    result = 0
    for (unit,) in struct.iter_unpack(">H", raw):
        result = (31 * result + unit) & 0xFFFFFFFF
    return result - 2**32 if result & 0x80000000 else result


def partition_for(key: str, partition_count: int) -> int:
    hashed = java_hash(key)
    return (0 if hashed == _INT_MIN else abs(hashed)) % partition_count
