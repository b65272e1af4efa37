"""Produce by hand: the request is taken apart without copying a record, the response is a handful of bytes.

The hot path of the broker, hence not the compiled codec: record bytes stay slices of the received frame, and one
topic with one partition (what most producers send) is a few ``struct`` calls each way. Must stay equal to what the
schemas say; the tests hold it against the compiled codec for every version. Serves v3–v13: flexible from v9, topic ids
in v13. Current leaders and node endpoints (tagged fields from v10) are the rare case of a client at the wrong broker.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from broker.limits import REQUEST_PARTITIONS_MAX
from broker.protocol.malformed import MalformedMessage
from broker.protocol.reader import read_varint
from broker.protocol.writer import write_varint

FLEXIBLE_FROM = 9
TOPIC_IDS_FROM = 13

PartitionRecords: TypeAlias = tuple[int, memoryview | None]
TopicRecords: TypeAlias = tuple[str | None, bytes | None, list[PartitionRecords]]
RecordError: TypeAlias = tuple[int, str | None]
PartitionResult: TypeAlias = tuple[int, int, int, int, int, Sequence[RecordError], str | None]
"""(partition, error code, base offset, log append time ms or -1, log start offset, record errors, error message)."""
TopicResults: TypeAlias = tuple[str | None, bytes | None, Sequence[PartitionResult]]
Leaders: TypeAlias = Mapping[tuple[str | bytes | None, int], tuple[int, int]]
"""(topic name or id, partition) to (leader id, leader epoch), v10+, for partitions that are led elsewhere (KIP-951)."""
NodeEndpoint: TypeAlias = tuple[int, str, int, str | None]
"""(broker id, host, port, rack)"""


class ProduceRequest(NamedTuple):
    """``topics`` are (name or None, topic id or None, [(partition, records or None)]); records are slices of the body."""

    transactional_id: str | None
    acks: int
    timeout_ms: int
    topics: list[TopicRecords]


_new_tuple = tuple.__new__
_string_length = struct.Struct(">h").unpack_from
_count = struct.Struct(">i").unpack_from
_acks_timeout_count = struct.Struct(">hii").unpack_from
_acks_timeout_count_flexible = struct.Struct(">hiB").unpack_from
_index_length = struct.Struct(">ii").unpack_from
_index_length_flexible = struct.Struct(">iB").unpack_from


def decode_produce(version: int, body: memoryview) -> ProduceRequest:
    """Raises ``MalformedMessage``. Says nothing about the records themselves."""
    try:
        if version < FLEXIBLE_FROM:
            return _decode_classic(body)
        return _decode_flexible(body, version >= TOPIC_IDS_FROM)
    except (IndexError, struct.error):
        raise MalformedMessage(f"produce request v{version}: cut off") from None
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"produce request v{version}: a name is not UTF-8") from error


# In both readers a slice past the end is merely short, but leaves ``at`` beyond the end, which the next unpack or the
# final comparison refuses. Loops therefore stop at the first missing byte whatever their count claims.


def _decode_classic(body: memoryview) -> ProduceRequest:
    transactional_id: str | None = None
    (length,) = _string_length(body, 0)
    at = 2
    if length >= 0:
        transactional_id = str(body[at : (at := at + length)], "utf-8")
    elif length != -1:
        raise _bad_length("transactional_id", length)
    acks, timeout_ms, topic_count = _acks_timeout_count(body, at)
    at += 10
    left = REQUEST_PARTITIONS_MAX
    if not 0 <= topic_count <= left:
        raise _bad_length("topic_data", topic_count)
    topics: list[TopicRecords] = []
    for _ in range(topic_count):
        (length,) = _string_length(body, at)
        at += 2
        if length < 0:
            raise _bad_length("name", length)
        name = str(body[at : (at := at + length)], "utf-8")
        (partition_count,) = _count(body, at)
        at += 4
        left -= partition_count
        if partition_count < 0 or left < 0:
            raise _bad_length("partition_data", partition_count)
        partitions: list[PartitionRecords] = []
        for _ in range(partition_count):
            index, length = _index_length(body, at)
            at += 8
            if length >= 0:
                partitions.append((index, body[at : (at := at + length)]))
            elif length == -1:
                partitions.append((index, None))
            else:
                raise _bad_length("records", length)
        topics.append((name, None, partitions))
    if at > len(body):
        raise _cut_off(at, len(body))
    return _new_tuple(ProduceRequest, (transactional_id, acks, timeout_ms, topics))


def _decode_flexible(body: memoryview, topic_ids: bool) -> ProduceRequest:
    transactional_id: str | None = None
    length = body[0]
    at = 1
    if length:
        if length > 127:
            length, at = read_varint(body, at, length)
        transactional_id = str(body[at : (at := at + length - 1)], "utf-8")
    acks, timeout_ms, topic_count = _acks_timeout_count_flexible(body, at)
    at += 7
    if topic_count > 127:
        topic_count, at = read_varint(body, at, topic_count)
    left = REQUEST_PARTITIONS_MAX
    if not 1 <= topic_count <= left:
        raise _bad_length("topic_data", topic_count - 1)
    topics: list[TopicRecords] = []
    name: str | None = None
    topic_id: bytes | None = None
    for _ in range(topic_count - 1):
        if topic_ids:
            topic_id = bytes(body[at : (at := at + 16)])
        else:
            length = body[at]
            at += 1
            if length > 127:
                length, at = read_varint(body, at, length)
            if not length:
                raise _bad_length("name", -1)
            name = str(body[at : (at := at + length - 1)], "utf-8")
        partition_count = body[at]
        at += 1
        if partition_count > 127:
            partition_count, at = read_varint(body, at, partition_count)
        left -= partition_count
        if not partition_count or left < 0:
            raise _bad_length("partition_data", partition_count - 1)
        partitions, at = _partitions_flexible(body, at, partition_count - 1)
        topics.append((name, topic_id, partitions))
    at = skip_tags(body, at + 1) if body[at] else at + 1
    if at > len(body):
        raise _cut_off(at, len(body))
    return _new_tuple(ProduceRequest, (transactional_id, acks, timeout_ms, topics))


def _partitions_flexible(body: memoryview, at: int, count: int) -> tuple[list[PartitionRecords], int]:
    """A topic's partitions and the tags behind them."""
    partitions: list[PartitionRecords] = []
    for _ in range(count):
        index, length = _index_length_flexible(body, at)
        at += 5
        if length > 127:
            length, at = read_varint(body, at, length)
        if length:
            partitions.append((index, body[at : (at := at + length - 1)]))
        else:
            partitions.append((index, None))
        at = skip_tags(body, at + 1) if body[at] else at + 1
    return partitions, skip_tags(body, at + 1) if body[at] else at + 1


def skip_tags(body: memoryview | bytes, at: int) -> int:
    """Position behind a tag section whose non-zero count starts at ``at - 1``."""
    count = body[at - 1]
    if count > 127:
        count, at = read_varint(body, at, count)
    for _ in range(count):
        for _ in ("tag", "size"):
            number = body[at]
            at += 1
            if number > 127:
                number, at = read_varint(body, at, number)
        at += number
    return at


def _bad_length(field: str, length: int) -> MalformedMessage:
    return MalformedMessage(f"produce request: {field} has length {length}")


def _cut_off(at: int, end: int) -> MalformedMessage:
    return MalformedMessage(f"produce request: cut off, {at - end} bytes are missing")


# Responses -------------------------------------------------------------------------------------------

_classic_head = struct.Struct(">iiih").pack
_flexible_head = struct.Struct(">iixBB").pack
_ids_head = struct.Struct(">iixB16s").pack
_flexible_tail = struct.Struct(">BihqqqBxxxix").pack
"""Partition count, one partition without errors (compact empty array, null, no tags), no tags, throttle, no tags."""
_tail_v3 = struct.Struct(">iihqqi").pack
_tail_v5 = struct.Struct(">iihqqqi").pack
"""Partition count, one partition, throttle."""


_NO_LEADERS: Leaders = {}


def encode_produce_response(
    version: int,
    correlation_id: int,
    topics: Sequence[TopicResults],
    throttle_ms: int = 0,
    leaders: Leaders = _NO_LEADERS,
    node_endpoints: Sequence[NodeEndpoint] = (),
) -> bytes:
    """The whole frame with length prefix and header. ``topics`` are (name, topic id, [partition result])."""
    if len(topics) == 1 and not leaders:
        name, topic_id, partitions = topics[0]
        if len(partitions) == 1:
            partition, error_code, base_offset, append_time, log_start, record_errors, message = partitions[0]
            if not record_errors and message is None and version >= FLEXIBLE_FROM:
                tail = _flexible_tail(2, partition, error_code, base_offset, append_time, log_start, 1, throttle_ms)
                if version >= TOPIC_IDS_FROM:
                    return _ids_head(22 + len(tail), correlation_id, 2, topic_id) + tail
                encoded = name.encode()  # type: ignore[union-attr]
                size = len(encoded)
                if size < 127:
                    return _flexible_head(7 + size + len(tail), correlation_id, 2, size + 1) + encoded + tail
            elif version < 8:
                encoded = name.encode()  # type: ignore[union-attr]
                if version >= 5:
                    tail = _tail_v5(1, partition, error_code, base_offset, append_time, log_start, throttle_ms)
                else:
                    tail = _tail_v3(1, partition, error_code, base_offset, append_time, throttle_ms)
                return _classic_head(10 + len(encoded) + len(tail), correlation_id, 1, len(encoded)) + encoded + tail
    return _encode_many(version, correlation_id, topics, throttle_ms, leaders, node_endpoints)


_frame_head = struct.Struct(">ii").pack
_int16 = struct.Struct(">h").pack
_int32 = struct.Struct(">i").pack
_partition_v3 = struct.Struct(">ihqq").pack
_partition_v5 = struct.Struct(">ihqqq").pack


_leader_tag = struct.Struct(">BBBiix").pack
"""One tagged field, number 0, of nine bytes: leader id, leader epoch, no tags."""


def _encode_many(
    version: int,
    correlation_id: int,
    topics: Sequence[TopicResults],
    throttle_ms: int,
    leaders: Leaders,
    node_endpoints: Sequence[NodeEndpoint],
) -> bytes:
    flexible = version >= FLEXIBLE_FROM
    out = [b"\x00" if flexible else b"", _array_length(flexible, len(topics))]
    add = out.append
    for name, topic_id, partitions in topics:
        if version >= TOPIC_IDS_FROM:
            assert topic_id is not None
            assert len(topic_id) == 16
            add(topic_id)
        else:
            add(_string(flexible, name))
        add(_array_length(flexible, len(partitions)))
        for partition, error_code, base_offset, append_time, log_start, record_errors, message in partitions:
            if version < 5:
                add(_partition_v3(partition, error_code, base_offset, append_time))
                continue
            add(_partition_v5(partition, error_code, base_offset, append_time, log_start))
            if version < 8:
                continue
            add(_array_length(flexible, len(record_errors)))
            for index, text in record_errors:
                add(_int32(index))
                add(_string(flexible, text))
                if flexible:
                    add(b"\x00")
            add(_string(flexible, message))
            if flexible:
                leader = leaders.get((topic_id if version >= TOPIC_IDS_FROM else name, partition))
                add(b"\x00" if leader is None else _leader_tag(1, 0, 9, *leader))
        if flexible:
            add(b"\x00")
    add(_int32(throttle_ms))
    if flexible:
        add(write_node_endpoints(node_endpoints) if node_endpoints else b"\x00")
    body = b"".join(out)
    return _frame_head(4 + len(body), correlation_id) + body


def _array_length(flexible: bool, length: int) -> bytes:
    return write_varint(length + 1) if flexible else _int32(length)


def _string(flexible: bool, text: str | None) -> bytes:
    if text is None:
        return b"\x00" if flexible else b"\xff\xff"
    encoded = text.encode()
    return (write_varint(len(encoded) + 1) if flexible else _int16(len(encoded))) + encoded


def write_node_endpoints(node_endpoints: Sequence[NodeEndpoint]) -> bytes:
    """The tag section of a response (Produce v10+, Fetch v16+) that says where brokers are: one field, number 0."""
    out = [write_varint(len(node_endpoints) + 1)]
    for node_id, host, port, rack in node_endpoints:
        out += (_int32(node_id), _string(True, host), _int32(port), _string(True, rack), b"\x00")
    field = b"".join(out)
    return b"\x01\x00" + write_varint(len(field)) + field
