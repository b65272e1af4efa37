"""Transaction markers: the control batches that end a transaction in a partition.

Owns Kafka's EndTransactionMarker format. A marker is one uncompressed batch with one record and no sequence:

    key    version int16 = 0, type int16 (0 abort, 1 commit; other types are not about transactions)
    value  version int16 = 0, coordinator epoch int32

Written by the partition driver for a transaction coordinator; read wherever a log is replayed: producer state, recovery,
the offsets of groups, compaction. Newer versions only append fields, so a reader takes what it knows.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from broker.protocol import batch
from broker.types import Buffer, ProducerEpoch, ProducerId, TimestampMs

ABORT, COMMIT = 0, 1
MARKER_SIZE = 78
"""Bytes of a whole marker as written here."""

_RECORD = struct.Struct(">bbbbbhhbhib")
"""Length, attributes, timestamp delta, offset delta, key length, key, value length, value, header count."""
_KEY = struct.Struct(">hh")
_VALUE = struct.Struct(">hi")
_CRC = struct.Struct(">I")
_NO_LEADER_EPOCH = -1
_NO_SEQUENCE = -1

assert batch.HEADER_SIZE + _RECORD.size == MARKER_SIZE


class EndTransactionMarker(NamedTuple):
    commit: bool
    coordinator_epoch: int


def build_marker(
    *,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    coordinator_epoch: int,
    commit: bool,
    timestamp_ms: TimestampMs,
) -> bytearray:
    """A marker ready to be stamped and appended."""
    record = _RECORD.pack(32, 0, 0, 0, 8, 0, COMMIT if commit else ABORT, 12, 0, coordinator_epoch, 0)
    built = bytearray(MARKER_SIZE)
    batch.HEADER.pack_into(
        built,
        0,
        0,
        MARKER_SIZE - batch.LENGTH_PREFIX_SIZE,
        _NO_LEADER_EPOCH,
        batch.MAGIC,
        0,
        batch.TRANSACTIONAL | batch.CONTROL,
        0,
        timestamp_ms,
        timestamp_ms,
        producer_id,
        producer_epoch,
        _NO_SEQUENCE,
        1,
    )
    built[batch.HEADER_SIZE :] = record
    _CRC.pack_into(built, batch.CRC_AT, batch.compute_crc(built, 0, MARKER_SIZE))
    return built


def read_marker(buffer: Buffer, at: int = 0) -> EndTransactionMarker | None:
    """What the control batch at ``at`` says; ``None`` if it ends no transaction.

    Compaction leaves a control batch without a record when nothing of its transaction is left, and control batches of
    other types exist. Neither is an error.
    """
    header = batch.read_header(buffer, at)
    if header.record_count < 1 or header.compression:
        return None
    record = bytes(memoryview(buffer)[at + batch.HEADER_SIZE : at + header.size])
    try:
        _, position = _varint(record, 0)
        _, position = _varint(record, position + 1)
        _, position = _varint(record, position)
        key_size, position = _varint(record, position)
        key_end = position + max(key_size, 0)
        value_size, value_at = _varint(record, key_end)
    except IndexError:
        return None
    return parse_marker(record[position:key_end], record[value_at : value_at + max(value_size, 0)])


def parse_marker(key: bytes | None, value: bytes | None) -> EndTransactionMarker | None:
    """The same of a control record that was opened already."""
    if key is None or value is None or len(key) < _KEY.size or len(value) < _VALUE.size:
        return None
    _, kind = _KEY.unpack_from(key)
    _, coordinator_epoch = _VALUE.unpack_from(value)
    if kind not in (ABORT, COMMIT):
        return None
    return EndTransactionMarker(kind == COMMIT, coordinator_epoch)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint and the position behind it."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
