"""What is inside the bytes that consumers hand each other: topics subscribed to, partitions assigned.

Owns: tolerant, bounded reading of the embedded "consumer" protocol (ConsumerProtocolSubscription and
ConsumerProtocolAssignment). The coordinator treats these bytes as opaque and echoes them untouched; it looks inside
only for offset expiry, OffsetDelete and what the dashboard shows. Every version starts with the fields of version 0,
so only those are read and whatever follows is ignored. Bytes that do not parse give ``None``: unknown is said to be
unknown.
"""

from __future__ import annotations

import struct

from broker.types import Buffer

PROTOCOL_TYPE = "consumer"

_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")


def subscribed_topics(metadata: Buffer) -> frozenset[str] | None:
    """The topics of one member's subscription."""
    view = bytes(metadata)
    try:
        if _INT16.unpack_from(view, 0)[0] < 0:
            return None
        topics, _ = _strings(view, 2)
    except (struct.error, ValueError):
        return None
    return frozenset(topics)


def assigned_partitions(assignment: Buffer) -> list[tuple[str, int]] | None:
    """(topic, partition) pairs of one member's assignment, in the order written; ``[]`` for no bytes at all."""
    view = bytes(assignment)
    if not view:
        return []
    try:
        if _INT16.unpack_from(view, 0)[0] < 0:
            return None
        count, position = _count(view, 2, bytes_each=6)
        pairs: list[tuple[str, int]] = []
        for _ in range(count):
            topic, position = _string(view, position)
            partitions, position = _count(view, position, bytes_each=4)
            pairs += [(topic, index) for index in struct.unpack_from(f">{partitions}i", view, position)]
            position += 4 * partitions
    except (struct.error, ValueError):
        return None
    return pairs


def _strings(view: bytes, position: int) -> tuple[list[str], int]:
    count, position = _count(view, position, bytes_each=2)
    strings = []
    for _ in range(count):
        text, position = _string(view, position)
        strings.append(text)
    return strings, position


def _count(view: bytes, position: int, *, bytes_each: int) -> tuple[int, int]:
    """An array's length, refused when the bytes left cannot hold that many."""
    count = _INT32.unpack_from(view, position)[0]
    if not 0 <= count * bytes_each <= len(view) - position - 4:
        raise ValueError("impossible array count")
    return count, position + 4


def _string(view: bytes, position: int) -> tuple[str, int]:
    size = _INT16.unpack_from(view, position)[0]
    start = position + 2
    if size < 0 or start + size > len(view):
        raise ValueError("impossible string length")
    return view[start : start + size].decode(), start + size
