"""Fetch v17 as a follower speaks it, by hand: requests packed from what changed, answers taken apart in place.

The follower's half of ``fetch.py``, and as hot: every record of every replica passes here. Records stay slices of the
received frame, which is shared memory: they are used up before the frame's owner returns. Must stay equal to what the
schemas say; the tests hold both directions against the compiled codec and against ``fetch.py``.

A follower reads what is not committed, so an answer to it names no aborted transactions; they are skipped if it does.
Snapshots and a preferred replica mean nothing here and are skipped, too, as is every tagged field but the diverging epoch.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from broker.protocol.api import ApiKey
from broker.protocol.header import request_header
from broker.protocol.malformed import MalformedMessage
from broker.protocol.produce import skip_tags
from broker.protocol.reader import read_varint
from broker.protocol.writer import write_varint
from broker.types import BrokerId

VERSION = 17
"""Topic ids (v13), replica state with the broker's epoch (v15)."""

_head = struct.Struct(">iiibii").pack
_replica_state = struct.Struct(">BBBiqx").pack
_length = struct.Struct(">i").pack
_correlation = struct.Struct(">i").pack_into
CORRELATION_AT = 4
"""Of the key, the version and then the correlation id, without the length prefix."""

pack_position = struct.Struct(">iiqiqix").pack
"""One partition of a request: index, leader epoch, fetch offset, last fetched epoch, log start, max bytes; no tags."""


class FollowerResult(NamedTuple):
    """One partition of an answer."""

    topic_id: bytes
    partition: int
    error_code: int
    high_watermark: int
    log_start_offset: int
    diverging_epoch: tuple[int, int] | None
    """(epoch, end offset): the largest epoch of the leader that is not above ours, and where it ends there."""
    records: memoryview | None
    """Whole batches; ``None`` without any. Valid as long as the frame is."""


class FollowerAnswer(NamedTuple):
    correlation_id: int
    throttle_ms: int
    error_code: int
    session_id: int
    results: list[FollowerResult]


class FollowerRequests:
    """Makes the requests of one follower to one leader. What stays the same in all of them is encoded once."""

    __slots__ = ("_correlation_id", "_head", "_tail")

    def __init__(self, replica_id: BrokerId, replica_epoch: int, client_id: str) -> None:
        self._correlation_id = 0
        self._head = request_header(ApiKey.FETCH, VERSION, 0, client_id)
        # No rack, then one tagged field: 1, the replica state, of 13 bytes.
        self._tail = b"\x01" + _replica_state(1, 1, 13, replica_id, replica_epoch)

    def frame(
        self,
        *,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        session_id: int,
        session_epoch: int,
        positions: Mapping[bytes, Sequence[bytes]],
        forgotten: Mapping[bytes, Sequence[int]],
    ) -> tuple[int, bytes]:
        """(correlation id, the whole frame). ``positions``: topic id → what ``pack_position`` made of its partitions."""
        self._correlation_id = correlation_id = (self._correlation_id + 1) & 0x7FFFFFFF
        body = bytearray(self._head)
        _correlation(body, CORRELATION_AT, correlation_id)
        body += _head(max_wait_ms, min_bytes, max_bytes, 0, session_id, session_epoch)
        body += write_varint(len(positions) + 1)
        for topic_id, packed in positions.items():
            body += topic_id
            body += write_varint(len(packed) + 1)
            body += b"".join(packed)
            body += b"\x00"
        body += write_varint(len(forgotten) + 1)
        for topic_id, indexes in forgotten.items():
            body += topic_id
            body += write_varint(len(indexes) + 1)
            body += struct.pack(f">{len(indexes)}ix", *indexes)
        body += self._tail
        return correlation_id, _length(len(body)) + body


_answer_head = struct.Struct(">ixihi").unpack_from
_result = struct.Struct(">ihqqqBiB").unpack_from
_result_head = struct.Struct(">ihqqqB").unpack_from
_diverging = struct.Struct(">iq").unpack_from
_RESULT_SIZE = 36
_RESULT_HEAD_SIZE = 31
_ABORTED_SIZE = 17
_new_tuple = tuple.__new__


def decode_follower_answer(frame: memoryview) -> FollowerAnswer:
    """An answer from its correlation id on. Raises ``MalformedMessage``."""
    try:
        return _decode(frame)
    except (IndexError, struct.error):
        raise MalformedMessage("fetch response: cut off") from None


def _decode(frame: memoryview) -> FollowerAnswer:
    if frame[4]:
        raise MalformedMessage("fetch response: tagged fields in the header")
    correlation_id, throttle_ms, error_code, session_id = _answer_head(frame)
    count, at = _varint(frame, 15)
    results: list[FollowerResult] = []
    for _ in range(count - 1):
        topic_id = bytes(frame[at : at + 16])
        partition_count, at = _varint(frame, at + 16)
        for _ in range(partition_count - 1):
            at = _decode_result(frame, at, topic_id, results)
        at = _skip_tags(frame, at)
    at = _skip_tags(frame, at)
    if at != len(frame):
        raise MalformedMessage(f"fetch response: {len(frame)} bytes where {at} were announced")
    return _new_tuple(FollowerAnswer, (correlation_id, throttle_ms, error_code, session_id, results))


def _decode_result(frame: memoryview, at: int, topic_id: bytes, results: list[FollowerResult]) -> int:
    index, error_code, high_watermark, _, log_start, aborted, _, size = _result(frame, at)
    if aborted <= 1:
        at += _RESULT_SIZE
    else:
        aborted, at = _varint(frame, at + _RESULT_HEAD_SIZE - 1)
        at += (aborted - 1) * _ABORTED_SIZE + 4
        size = frame[at]
        at += 1
    if size > 127:
        size, at = read_varint(frame, at, size)
    records: memoryview | None = None
    if size > 1:
        records = frame[at : (at := at + size - 1)]
    diverging: tuple[int, int] | None = None
    if frame[at]:
        diverging, at = _result_tags(frame, at)
    else:
        at += 1
    results.append(
        _new_tuple(FollowerResult, (topic_id, index, error_code, high_watermark, log_start, diverging, records))
    )
    return at


def _result_tags(frame: memoryview, at: int) -> tuple[tuple[int, int] | None, int]:
    diverging: tuple[int, int] | None = None
    count, at = _varint(frame, at)
    for _ in range(count):
        tag, at = _varint(frame, at)
        size, at = _varint(frame, at)
        if tag == 0:
            epoch, end_offset = _diverging(frame, at)
            diverging = (epoch, end_offset) if epoch >= 0 else None
        at += size
    return diverging, at


def _skip_tags(frame: memoryview, at: int) -> int:
    return skip_tags(frame, at + 1) if frame[at] else at + 1


def _varint(frame: memoryview, at: int) -> tuple[int, int]:
    first = frame[at]
    return read_varint(frame, at + 1, first) if first > 127 else (first, at + 1)
