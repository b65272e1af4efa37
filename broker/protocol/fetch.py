"""Fetch by hand: requests without intermediate objects, responses as pieces around the records' own buffers.

The other hot path. Records read from a segment are never joined or copied here: they appear in the answer as the very
buffers storage returned, between small pieces of framing. Must stay equal to what the schemas say; the tests hold it
against the compiled codec for every version. Serves v4–v18: sessions from v7, leader epochs from v9, flexible from
v12, topic ids from v13, replica state as a tagged field from v15, node endpoints as one from v16.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from broker.limits import REQUEST_PARTITIONS_MAX
from broker.protocol.malformed import MalformedMessage
from broker.protocol.produce import NodeEndpoint, skip_tags, write_node_endpoints
from broker.protocol.reader import read_varint
from broker.protocol.writer import write_varint
from broker.types import Buffer

FLEXIBLE_FROM = 12
TOPIC_IDS_FROM = 13
REPLICA_STATE_FROM = 15


class FetchPartition(NamedTuple):
    """Fields absent in a version have Kafka's defaults: epochs and log start -1."""

    partition: int
    current_leader_epoch: int
    fetch_offset: int
    last_fetched_epoch: int
    log_start_offset: int
    max_bytes: int


FetchTopic: TypeAlias = tuple[str | None, bytes | None, list[FetchPartition]]
ForgottenTopic: TypeAlias = tuple[str | None, bytes | None, list[int]]


class FetchRequest(NamedTuple):
    """``topics`` are (name or None, topic id or None, [FetchPartition]); ``forgotten`` alike with partition numbers."""

    replica_id: int
    """-1 for consumers."""
    max_wait_ms: int
    min_bytes: int
    max_bytes: int
    isolation_level: int
    """0 read_uncommitted, 1 read_committed."""
    session_id: int
    session_epoch: int
    topics: list[FetchTopic]
    forgotten: list[ForgottenTopic]
    rack_id: str
    cluster_id: str | None = None
    replica_epoch: int = -1


class FetchPartitionResult(NamedTuple):
    """One partition of an answer. ``records`` are whole batches in pieces; empty means none."""

    partition: int
    error_code: int
    high_watermark: int
    last_stable_offset: int
    log_start_offset: int
    aborted_transactions: Sequence[tuple[int, int]] | None
    """(producer id, first offset) by first offset for read_committed; None for read_uncommitted."""
    records: Sequence[Buffer]
    preferred_read_replica: int = -1
    diverging_epoch: tuple[int, int] | None = None
    """(epoch, end offset), v12+, for a follower or consumer that must truncate (KIP-320)."""
    current_leader: tuple[int, int] | None = None
    """(leader id, leader epoch), v12+, only with NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH."""


TopicResults: TypeAlias = tuple[str | None, bytes | None, Sequence[FetchPartitionResult]]

_new_tuple = tuple.__new__
_count = struct.Struct(">i").unpack_from
_string_length = struct.Struct(">h").unpack_from
_head_v4 = struct.Struct(">iiiibi").unpack_from
_head_v7 = struct.Struct(">iiiibiii").unpack_from
_head_v12 = struct.Struct(">iiiibiiB").unpack_from
_head_v15 = struct.Struct(">iiibiiB").unpack_from
_partition_v4 = struct.Struct(">iqi").unpack_from
_partition_v5 = struct.Struct(">iqqi").unpack_from
_partition_v9 = struct.Struct(">iiqqi").unpack_from
_partition_v12 = struct.Struct(">iiqiqi").unpack_from
_replica_state = struct.Struct(">iq").unpack_from


def decode_fetch(version: int, body: memoryview) -> FetchRequest:
    """Raises ``MalformedMessage``."""
    try:
        # Requests are short: indexing and slicing bytes is twice as fast as a memoryview.
        data = bytes(body)
        return _decode_classic(version, data) if version < FLEXIBLE_FROM else _decode_flexible(version, data)
    except (IndexError, struct.error):
        raise MalformedMessage(f"fetch request v{version}: cut off") from None
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"fetch request v{version}: a name is not UTF-8") from error


# As in produce.py: a slice past the end leaves ``at`` beyond it, which the next unpack or the final comparison refuses.


def _decode_classic(version: int, data: bytes) -> FetchRequest:
    session_id, session_epoch = 0, -1
    if version >= 7:
        replica_id, wait_ms, min_bytes, max_bytes, isolation, session_id, session_epoch, count = _head_v7(data)
        at = 29
    else:
        replica_id, wait_ms, min_bytes, max_bytes, isolation, count = _head_v4(data)
        at = 21
    left = REQUEST_PARTITIONS_MAX
    if not 0 <= count <= left:
        raise _bad_length("topics", count)
    topics: list[FetchTopic] = []
    for _ in range(count):
        (length,) = _string_length(data, at)
        at += 2
        if length < 0:
            raise _bad_length("topic", length)
        name = data[at : (at := at + length)].decode()
        (partition_count,) = _count(data, at)
        at += 4
        left -= partition_count
        if partition_count < 0 or left < 0:
            raise _bad_length("partitions", partition_count)
        partitions, at = _partitions_classic(version, data, at, partition_count)
        topics.append((name, None, partitions))
    forgotten: list[ForgottenTopic] = []
    if version >= 7:
        at = _forgotten_classic(data, at, left, forgotten)
    rack_id = ""
    if version >= 11:
        (length,) = _string_length(data, at)
        at += 2
        if length < 0:
            raise _bad_length("rack_id", length)
        rack_id = data[at : (at := at + length)].decode()
    if at > len(data):
        raise _cut_off(at, len(data))
    head = (replica_id, wait_ms, min_bytes, max_bytes, isolation, session_id, session_epoch)
    return _new_tuple(FetchRequest, (*head, topics, forgotten, rack_id, None, -1))


def _partitions_classic(version: int, data: bytes, at: int, count: int) -> tuple[list[FetchPartition], int]:
    partitions: list[FetchPartition] = []
    for _ in range(count):
        if version >= 9:
            index, epoch, offset, log_start, size = _partition_v9(data, at)
            at += 28
            partitions.append(_new_tuple(FetchPartition, (index, epoch, offset, -1, log_start, size)))
        elif version >= 5:
            index, offset, log_start, size = _partition_v5(data, at)
            at += 24
            partitions.append(_new_tuple(FetchPartition, (index, -1, offset, -1, log_start, size)))
        else:
            index, offset, size = _partition_v4(data, at)
            at += 16
            partitions.append(_new_tuple(FetchPartition, (index, -1, offset, -1, -1, size)))
    return partitions, at


def _forgotten_classic(data: bytes, at: int, left: int, forgotten: list[ForgottenTopic]) -> int:
    (count,) = _count(data, at)
    at += 4
    if not 0 <= count <= left:
        raise _bad_length("forgotten_topics_data", count)
    for _ in range(count):
        (length,) = _string_length(data, at)
        at += 2
        if length < 0:
            raise _bad_length("topic", length)
        name = data[at : (at := at + length)].decode()
        (partition_count,) = _count(data, at)
        at += 4
        left -= partition_count
        if partition_count < 0 or left < 0 or 4 * partition_count > len(data) - at:
            raise _bad_length("partitions", partition_count)
        forgotten.append((name, None, list(struct.unpack_from(f">{partition_count}i", data, at))))
        at += 4 * partition_count
    return at


def _decode_flexible(version: int, data: bytes) -> FetchRequest:
    replica_id, replica_epoch = -1, -1
    cluster_id: str | None = None
    if version >= REPLICA_STATE_FROM:
        wait_ms, min_bytes, max_bytes, isolation, session_id, session_epoch, count = _head_v15(data)
        at = 22
    else:
        replica_id, wait_ms, min_bytes, max_bytes, isolation, session_id, session_epoch, count = _head_v12(data)
        at = 26
    if count > 127:
        count, at = read_varint(data, at, count)
    left = REQUEST_PARTITIONS_MAX
    if not 1 <= count <= left:
        raise _bad_length("topics", count - 1)
    topics: list[FetchTopic] = []
    name: str | None = None
    topic_id: bytes | None = None
    for _ in range(count - 1):
        if version >= TOPIC_IDS_FROM:
            topic_id = data[at : (at := at + 16)]
        else:
            name, at = _string(data, at, "topic")
        partition_count = data[at]
        at += 1
        if partition_count > 127:
            partition_count, at = read_varint(data, at, partition_count)
        left -= partition_count
        if not partition_count or left < 0:
            raise _bad_length("partitions", partition_count - 1)
        partitions, at = _partitions_flexible(data, at, partition_count - 1)
        topics.append((name, topic_id, partitions))
    forgotten: list[ForgottenTopic] = []
    count = data[at]
    at += 1
    if count != 1:
        at = _forgotten_flexible(version, data, at, left, forgotten)
    rack_id, at = _string(data, at, "rack_id")
    if data[at]:
        cluster_id, state, at = _request_tags(version, data, at)
        if state is not None:
            replica_id, replica_epoch = state
    else:
        at += 1
    if at > len(data):
        raise _cut_off(at, len(data))
    head = (replica_id, wait_ms, min_bytes, max_bytes, isolation, session_id, session_epoch)
    return _new_tuple(FetchRequest, (*head, topics, forgotten, rack_id, cluster_id, replica_epoch))


def _partitions_flexible(data: bytes, at: int, count: int) -> tuple[list[FetchPartition], int]:
    """A topic's partitions and the tags behind them."""
    partitions: list[FetchPartition] = []
    for _ in range(count):
        partitions.append(_new_tuple(FetchPartition, _partition_v12(data, at)))
        at += 33
        if data[at - 1]:
            at = skip_tags(data, at)
    return partitions, skip_tags(data, at + 1) if data[at] else at + 1


def _forgotten_flexible(version: int, data: bytes, at: int, left: int, forgotten: list[ForgottenTopic]) -> int:
    """The topics to forget; their count starts at ``at - 1``."""
    count, at = _varint(data, at - 1)
    if not 1 <= count <= left:
        raise _bad_length("forgotten_topics_data", count - 1)
    name: str | None = None
    topic_id: bytes | None = None
    for _ in range(count - 1):
        if version >= TOPIC_IDS_FROM:
            topic_id = data[at : (at := at + 16)]
        else:
            name, at = _string(data, at, "topic")
        partition_count, at = _varint(data, at)
        partition_count -= 1
        left -= partition_count
        if partition_count < 0 or left < 0 or 4 * partition_count > len(data) - at:
            raise _bad_length("partitions", partition_count)
        forgotten.append((name, topic_id, list(struct.unpack_from(f">{partition_count}i", data, at))))
        at += 4 * partition_count
        at = skip_tags(data, at + 1) if data[at] else at + 1
    return at


def _request_tags(version: int, data: bytes, at: int) -> tuple[str | None, tuple[int, int] | None, int]:
    """(cluster id, replica state or None, position behind the tags); unknown tags are skipped."""
    cluster_id: str | None = None
    state: tuple[int, int] | None = None
    count, at = _varint(data, at)
    for _ in range(count):
        tag, at = _varint(data, at)
        size, at = _varint(data, at)
        stop = at + size
        if stop > len(data):
            raise _cut_off(stop, len(data))
        if tag == 0:
            if data[at]:
                cluster_id, at = _string(data, at, "cluster_id")
            else:
                at += 1
        elif tag == 1 and version >= REPLICA_STATE_FROM:
            state = _replica_state(data, at)
            at += 12
            at = skip_tags(data, at + 1) if data[at] else at + 1
        else:
            at = stop
        if at != stop:
            raise MalformedMessage(f"fetch request: tagged field {tag} does not have the {size} bytes it claims")
    return cluster_id, state, at


def _string(data: bytes, at: int, field: str) -> tuple[str, int]:
    length, at = _varint(data, at)
    if not length:
        raise _bad_length(field, -1)
    stop = at + length - 1
    return data[at:stop].decode(), stop


def _varint(data: bytes, at: int) -> tuple[int, int]:
    first = data[at]
    return read_varint(data, at + 1, first) if first > 127 else (first, at + 1)


def _bad_length(field: str, length: int) -> MalformedMessage:
    return MalformedMessage(f"fetch request: {field} has length {length}")


def _cut_off(at: int, end: int) -> MalformedMessage:
    return MalformedMessage(f"fetch request: cut off, {at - end} bytes are missing")


# Responses -------------------------------------------------------------------------------------------

_frame_v4 = struct.Struct(">iii").pack
_frame_v7 = struct.Struct(">iiihi").pack
_frame_v12 = struct.Struct(">iixihi").pack
_int16 = struct.Struct(">h").pack
_int32 = struct.Struct(">i").pack
_result_v4 = struct.Struct(">ihqq").pack
_result_v5 = struct.Struct(">ihqqq").pack
_result_v12 = struct.Struct(">ihqqqBi").pack
_preferred_and_size = struct.Struct(">ii").pack
_aborted = struct.Struct(">qq").pack
_aborted_flexible = struct.Struct(">qqx").pack
_diverging_tag = struct.Struct(">BBiqx").pack
_leader_tag = struct.Struct(">BBiix").pack


def encode_fetch_response(
    version: int,
    correlation_id: int,
    throttle_ms: int,
    error_code: int,
    session_id: int,
    topics: Sequence[TopicResults],
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> list[Buffer]:
    """The whole frame in pieces, with length prefix and header. Buffers of records are passed through as they are.

    Before v7 there is neither a top-level error nor a session; both are left out. ``node_endpoints`` only from v16.
    """
    flexible = version >= FLEXIBLE_FROM
    pieces: list[Buffer] = []
    size = 0
    """Bytes of ``pieces``; ``framing`` has not become a piece yet."""
    framing = bytearray(write_varint(len(topics) + 1) if flexible else _int32(len(topics)))
    for name, topic_id, partitions in topics:
        framing += _topic_head(version, name, topic_id, len(partitions))
        for result in partitions:
            records = result[6]
            records_size = 0
            for piece in records:
                records_size += len(piece)
            if flexible:
                framing += _result_flexible(result, records_size)
            else:
                framing += _result_classic(version, result, records_size)
            if records_size:
                size += len(framing) + records_size
                pieces.append(framing)
                pieces += records
                framing = bytearray()
            if flexible:
                framing += b"\x00" if result[8] is None and result[9] is None else _result_tags(result)
        if flexible:
            framing += b"\x00"
    if flexible:
        framing += write_node_endpoints(node_endpoints) if node_endpoints else b"\x00"
    if framing:
        pieces.append(framing)
        size += len(framing)
    if flexible:
        head = _frame_v12(size + 15, correlation_id, throttle_ms, error_code, session_id)
    elif version >= 7:
        head = _frame_v7(size + 14, correlation_id, throttle_ms, error_code, session_id)
    else:
        head = _frame_v4(size + 8, correlation_id, throttle_ms)
    pieces[0] = head + pieces[0]
    return pieces


def _topic_head(version: int, name: str | None, topic_id: bytes | None, partition_count: int) -> bytes:
    if version >= TOPIC_IDS_FROM:
        assert topic_id is not None
        assert len(topic_id) == 16
        return topic_id + write_varint(partition_count + 1)
    assert name is not None
    encoded = name.encode()
    if version >= FLEXIBLE_FROM:
        return write_varint(len(encoded) + 1) + encoded + write_varint(partition_count + 1)
    return _int16(len(encoded)) + encoded + _int32(partition_count)


def _result_flexible(result: FetchPartitionResult, records_size: int) -> bytes:
    """One partition up to its records."""
    partition, error_code, high_watermark, last_stable, log_start, aborted, _, preferred, _, _ = result
    if not aborted:
        count = 0 if aborted is None else 1
        head = _result_v12(partition, error_code, high_watermark, last_stable, log_start, count, preferred)
        return head + write_varint(records_size + 1)
    pieces = [
        _result_v5(partition, error_code, high_watermark, last_stable, log_start),
        write_varint(len(aborted) + 1),
        *[_aborted_flexible(producer_id, first_offset) for producer_id, first_offset in aborted],
        _int32(preferred),
        write_varint(records_size + 1),
    ]
    return b"".join(pieces)


def _result_classic(version: int, result: FetchPartitionResult, records_size: int) -> bytes:
    """One partition up to its records."""
    partition, error_code, high_watermark, last_stable, log_start, aborted, _, preferred, _, _ = result
    if version >= 5:
        head = _result_v5(partition, error_code, high_watermark, last_stable, log_start)
    else:
        head = _result_v4(partition, error_code, high_watermark, last_stable)
    if aborted is None:
        head += b"\xff\xff\xff\xff"
    else:
        head += _int32(len(aborted))
        head += b"".join([_aborted(producer_id, first_offset) for producer_id, first_offset in aborted])
    return head + (_preferred_and_size(preferred, records_size) if version >= 11 else _int32(records_size))


def _result_tags(result: FetchPartitionResult) -> bytes:
    tags = []
    if result.diverging_epoch is not None:
        tags.append(_diverging_tag(0, 13, *result.diverging_epoch))
    if result.current_leader is not None:
        tags.append(_leader_tag(1, 9, *result.current_leader))
    return write_varint(len(tags)) + b"".join(tags)
