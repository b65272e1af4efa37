"""What is inside the bytes that consumers hand each other: topics subscribed to, partitions assigned.

Owns: tolerant, bounded reading of the embedded "consumer" protocol (ConsumerProtocolSubscription and
ConsumerProtocolAssignment). To a classic group these bytes are opaque and echoed untouched; it looks inside
only for offset expiry, OffsetDelete and what the dashboard shows. A group of the new protocol takes part in this one for
members that still speak it: it reads all of a subscription and writes assignments. Every version starts with the
fields of the one before. Bytes that do not parse give ``None``: unknown is said to be unknown.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker.types import Buffer

PROTOCOL_TYPE = "consumer"
VERSION_MAX = 3
_OWNED_SINCE_VERSION = 1
_RACK_SINCE_VERSION = 3

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    version: int
    topics: frozenset[str]
    owned: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """What a cooperative member keeps while it joins; an eager one has given everything up."""
    rack_id: str | None = None


def read_subscription(metadata: Buffer) -> Subscription | None:
    """All of one member's subscription. A version we do not know is read as the newest we do."""
    view = bytes(metadata)
    try:
        version = _INT16.unpack_from(view, 0)[0]
        if version < 0:
            return None
        topics, position = _strings(view, 2)
        _, position = _nullable_bytes(view, position)
        owned: list[tuple[str, tuple[int, ...]]] = []
        rack_id = None
        if version >= _OWNED_SINCE_VERSION:
            owned, position = _topic_partitions(view, position)
        if version >= _RACK_SINCE_VERSION:
            position += 4  # the generation in which it owned them
            if _INT16.unpack_from(view, position)[0] >= 0:
                rack_id, position = _string(view, position)
    except (struct.error, ValueError):
        return None
    return Subscription(version=version, topics=frozenset(topics), owned=tuple(owned), rack_id=rack_id)


def write_assignment(version: int, partitions: Mapping[str, Sequence[int]]) -> bytes:
    """Without user data, which is a client's assignor's."""
    parts = [_INT16.pack(min(version, VERSION_MAX)), _INT32.pack(len(partitions))]
    for topic, indexes in partitions.items():
        name = topic.encode()
        parts += (_INT16.pack(len(name)), name, struct.pack(f">i{len(indexes)}i", len(indexes), *indexes))
    return b"".join((*parts, _INT32.pack(-1)))


def has_user_data(assignment: Buffer) -> bool:
    """Whether a client's own assignor tells its members more than partitions. ``False`` when it cannot be read."""
    view = bytes(assignment)
    try:
        _, position = _topic_partitions(view, 2)
        data, _ = _nullable_bytes(view, position)
    except (struct.error, ValueError):
        return False
    return bool(data)


def assigned_partitions(assignment: Buffer) -> list[tuple[str, int]] | None:
    """(topic, partition) pairs of one member's assignment, in the order written; ``[]`` for no bytes at all."""
    view = bytes(assignment)
    if not view:
        return []
    try:
        if _INT16.unpack_from(view, 0)[0] < 0:
            return None
        topics, _ = _topic_partitions(view, 2)
    except (struct.error, ValueError):
        return None
    return [(topic, index) for topic, partitions in topics for index in partitions]


def _topic_partitions(view: bytes, position: int) -> tuple[list[tuple[str, tuple[int, ...]]], int]:
    count, position = _count(view, position, bytes_each=6)
    topics = []
    for _ in range(count):
        topic, position = _string(view, position)
        partitions, position = _count(view, position, bytes_each=4)
        topics.append((topic, struct.unpack_from(f">{partitions}i", view, position)))
        position += 4 * partitions
    return topics, position


def _nullable_bytes(view: bytes, position: int) -> tuple[bytes | None, int]:
    size = _INT32.unpack_from(view, position)[0]
    start = position + 4
    if size < 0:
        return None, start
    if start + size > len(view):
        raise ValueError("impossible bytes length")
    return view[start : start + size], start + size


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
