"""The partition of a keyed record, bit for bit as the Java client computes it.

Kafka's promise "the same key lands in the same partition" holds across clients only when all of them use
murmur2 with this seed and drop the sign bit the same way. Pinned in the tests by values computed with Java's
``Utils.murmur2`` and by librdkafka's ``murmur2`` partitioner.
"""

from __future__ import annotations

from broker.types import Buffer

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_SHIFT = 24
_MASK = 0xFFFFFFFF


def murmur2(data: Buffer) -> int:
    """32-bit murmur2 of ``data`` as an unsigned number."""
    length = len(data)
    value = (_SEED ^ length) & _MASK
    tail_start = length & ~3
    for position in range(0, tail_start, 4):
        block = int.from_bytes(data[position : position + 4], "little")
        block = (block * _MULTIPLIER) & _MASK
        block ^= block >> _SHIFT
        block = (block * _MULTIPLIER) & _MASK
        value = ((value * _MULTIPLIER) & _MASK) ^ block
    if tail_start < length:
        value ^= int.from_bytes(data[tail_start:], "little")
        value = (value * _MULTIPLIER) & _MASK
    value ^= value >> 13
    value = (value * _MULTIPLIER) & _MASK
    return value ^ (value >> 15)


def partition_for_key(key: Buffer, partition_count: int) -> int:
    """Java's ``toPositive(murmur2(key)) % partitions``."""
    assert partition_count > 0
    return (murmur2(key) & 0x7FFFFFFF) % partition_count
