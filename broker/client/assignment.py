"""What a consumer group's member owns, from the bytes the group's leader distributed.

The broker treats these bytes as opaque; only groups of protocol type ``consumer`` use this format (the classic
embedded consumer protocol): version, then topics with partition lists, then user data. They come from arbitrary
clients, so everything is bounded by the bytes that are there, and nonsense reads as "no assignment".
"""

from __future__ import annotations

import struct

from broker.types import Buffer, TopicPartition

CONSUMER_PROTOCOL = "consumer"

_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")


def read_assignment(data: Buffer) -> tuple[TopicPartition, ...]:
    """Sorted partitions; empty for an empty, foreign or damaged assignment."""
    try:
        return tuple(sorted(_read(memoryview(data))))
    except (struct.error, ValueError):
        return ()


def _read(view: memoryview) -> list[TopicPartition]:
    found: list[TopicPartition] = []
    if not view:
        return found
    position = _INT16.size
    topic_count, position = _take_count(view, position, 6)
    for _ in range(topic_count):
        (length,) = _INT16.unpack_from(view, position)
        position += _INT16.size
        if length < 0 or position + length > len(view):
            raise ValueError("a topic name runs past the end")
        topic = bytes(view[position : position + length]).decode()
        position += length
        partition_count, position = _take_count(view, position, 4)
        found.extend(
            TopicPartition(topic, partition)
            for (partition,) in _INT32.iter_unpack(view[position : position + 4 * partition_count])
        )
        position += 4 * partition_count
    return found


def _take_count(view: memoryview, position: int, item_bytes_min: int) -> tuple[int, int]:
    (count,) = _INT32.unpack_from(view, position)
    position += _INT32.size
    if count < 0 or count * item_bytes_min > len(view) - position:
        raise ValueError("a count exceeds the bytes that are there")
    return count, position
