"""The records of one batch as slices of its bytes: for compaction, which drops some and copies the others.

Owns: finding where each record begins and ends, its key and whether it has a value, without making a value, a header or
a timestamp of it. A kept record is copied as it is, because its deltas stay true as long as the batch keeps its
base offset and base timestamp; ``rebased`` is for the one case where the base timestamp changes (a delete horizon).

    record    length varint · attributes int8 · timestamp delta varint · offset delta varint ·
              key length varint (-1: null) · key · value length varint (-1: null) · value · headers
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from broker.errors import ErrorCode, KafkaError
from broker.limits import DECOMPRESSED_BYTES_MAX
from broker.protocol import batch
from broker.protocol.batch import BatchHeader
from broker.protocol.compression import compress, decompress
from broker.types import NO_EPOCH, NO_PRODUCER_ID, NO_TIMESTAMP, Buffer


class RawRecord(NamedTuple):
    """One record inside the uncompressed records of its batch: ``data[start:end]``."""

    start: int
    end: int
    timestamp_delta: int
    offset_delta: int
    key: bytes | None
    has_value: bool


def records_of(header: BatchHeader, whole: Buffer) -> bytes:
    """The uncompressed records of the batch ``whole``. Raises ``KafkaError``."""
    records = memoryview(whole)[batch.HEADER_SIZE : header.size]
    if header.compression:
        return decompress(header.compression, records, DECOMPRESSED_BYTES_MAX)
    return bytes(records)


def scan_records(data: bytes, count: int) -> Iterator[RawRecord]:
    """``count`` records that fill ``data`` exactly. Raises ``KafkaError`` CORRUPT_MESSAGE for anything else."""
    at, total = 0, len(data)
    try:
        for _ in range(count):
            start = at
            length, at = read_varint(data, at)
            end = at + length
            timestamp_delta, at = read_varint(data, at + 1)
            offset_delta, at = read_varint(data, at)
            key_length, at = read_varint(data, at)
            key = None
            if key_length >= 0:
                key = data[at : at + key_length]
                at += key_length
            if not start < at < end <= total:
                raise _corrupt(f"a record at byte {start} does not fit its batch")
            value_length, at = read_varint(data, at)
            if at + value_length > end:
                raise _corrupt(f"the value of the record at byte {start} is longer than the record")
            yield RawRecord(start, end, timestamp_delta, offset_delta, key, value_length >= 0)
            at = end
    except IndexError:
        raise _corrupt("its records are cut off") from None
    if at != total:
        raise _corrupt(f"{total - at} bytes follow its {count} records")


def rebased(data: bytes, record: RawRecord, shift_ms: int) -> bytes:
    """The record with ``shift_ms`` added to its timestamp delta: its batch's base timestamp moves the other way."""
    _, attributes_at = read_varint(data, record.start)
    _, behind_timestamp = read_varint(data, attributes_at + 1)
    body = b"".join(
        (
            data[attributes_at : attributes_at + 1],
            write_varint(record.timestamp_delta + shift_ms),
            data[behind_timestamp : record.end],
        )
    )
    return write_varint(len(body)) + body


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint of up to 64 bits and the position behind it. Raises ``IndexError`` at the end of ``data``."""
    byte = data[at]
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at + 1
    value, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at + 1
        shift += 7
        if shift > 63:
            raise _corrupt("a number in it has no end")


def write_varint(value: int) -> bytes:
    number = (value << 1) ^ (value >> 63)
    out = bytearray()
    while number > 0x7F:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def rebuilt_batch(
    header: BatchHeader, records: bytes, *, count: int, max_timestamp: int, delete_horizon_ms: int | None
) -> bytes:
    """The batch of ``header`` with other records: same offsets, producer, epoch and codec, and a new checksum.

    ``delete_horizon_ms`` makes it the base timestamp; the deltas in ``records`` count from it.
    """
    attributes, base_timestamp = header.attributes, header.base_timestamp
    if delete_horizon_ms is not None:
        attributes, base_timestamp = attributes | batch.DELETE_HORIZON, delete_horizon_ms
    if header.compression:
        records = compress(header.compression, records, _LEVELS[header.compression])
    return _packed(header, attributes, base_timestamp, max_timestamp, count, records)


def emptied_batch(header: BatchHeader) -> bytes:
    """The batch of ``header`` without records, as Kafka leaves it: its offsets, producer and last sequence remain."""
    kept = header.attributes & (batch.LOG_APPEND_TIME | batch.TRANSACTIONAL | batch.CONTROL)
    return _packed(header, kept, header.max_timestamp, header.max_timestamp, 0, b"")


def placeholder_batch(header: BatchHeader) -> bytes:
    """Nothing but the offsets of ``header``: no records, no producer, no time. Keeps a log whole at its seams."""
    bare = header._replace(producer_id=NO_PRODUCER_ID, producer_epoch=NO_EPOCH, base_sequence=-1)
    return _packed(bare, header.attributes & batch.LOG_APPEND_TIME, NO_TIMESTAMP, NO_TIMESTAMP, 0, b"")


def _packed(
    header: BatchHeader, attributes: int, base_timestamp: int, max_timestamp: int, count: int, records: bytes
) -> bytes:
    built = bytearray(
        batch.HEADER.pack(
            *header._replace(
                batch_length=batch.BATCH_LENGTH_MIN + len(records),
                crc=0,
                attributes=attributes,
                base_timestamp=base_timestamp,
                max_timestamp=max_timestamp,
                record_count=count,
            )
        )
    )
    built += records
    _CRC.pack_into(built, batch.CRC_AT, batch.compute_crc(built, 0, len(built)))
    return bytes(built)


_CRC = struct.Struct(">I")

_LEVELS = (0, -1, 0, 9, 3)
"""Per codec: Kafka's own defaults."""

assert len(_LEVELS) == len(batch.COMPRESSION_NAMES)


def _corrupt(reason: str) -> KafkaError:
    return KafkaError(ErrorCode.CORRUPT_MESSAGE, f"The record batch is corrupt: {reason}.")
