"""The v2 record batch as bytes: header access, CRC-32C, stamping. Nothing here looks at a record.

Owns the layout of the 61 bytes in front of a batch's records; ``storage`` and the produce path call it for
every batch, so each function is a struct call or two. Buffers hold batches back to back.

What must stay true: the CRC covers everything from ``attributes`` to the end of the batch. ``base_offset``,
``batch_length``, ``leader_epoch`` and ``magic`` lie outside, so ``stamp`` needs no new CRC, and
``set_log_append_time`` does.

    offset  0 base_offset       8 batch_length   12 leader_epoch  16 magic          17 crc
           21 attributes       23 last_offset_delta               27 base_timestamp 35 max_timestamp
           43 producer_id      51 producer_epoch 53 base_sequence 57 record_count   61 records...
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from crc32c import crc32c

from broker.errors import ErrorCode, KafkaError
from broker.types import Buffer

HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_SIZE = HEADER.size
LENGTH_PREFIX_SIZE = 12
"""Bytes of ``base_offset`` and ``batch_length``, which ``batch_length`` does not count."""
BATCH_LENGTH_MIN = HEADER_SIZE - LENGTH_PREFIX_SIZE
MAGIC = 2

BASE_OFFSET_AT = 0
BATCH_LENGTH_AT = 8
LEADER_EPOCH_AT = 12
MAGIC_AT = 16
CRC_AT = 17
ATTRIBUTES_AT = 21
LAST_OFFSET_DELTA_AT = 23
BASE_TIMESTAMP_AT = 27
MAX_TIMESTAMP_AT = 35
PRODUCER_ID_AT = 43
RECORD_COUNT_AT = 57

COMPRESSION_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40
"""``base_timestamp`` is the delete horizon of tombstones (KIP-534) and record timestamps count from it."""

COMPRESSION_NAMES = ("none", "gzip", "snappy", "lz4", "zstd")
"""Index = codec id in ``attributes``; ids above are unknown."""

_BASE_OFFSET = struct.Struct(">q")
_LENGTH = struct.Struct(">i")
_CRC = struct.Struct(">I")
_ATTRIBUTES = struct.Struct(">h")
_PREFIX = struct.Struct(">qii")
_TIMESTAMP = struct.Struct(">q")

_unpack_header = HEADER.unpack_from
_unpack_length = _LENGTH.unpack_from
_unpack_crc = _CRC.unpack_from
_pack_offset = _BASE_OFFSET.pack_into
_pack_epoch = _LENGTH.pack_into
_new_tuple = tuple.__new__

assert HEADER_SIZE == 61
assert _PREFIX.size == MAGIC_AT


class BatchHeader(NamedTuple):
    """The fields in wire order. ``batch_length`` is Kafka's (without the first 12 bytes); ``size`` is the whole."""

    base_offset: int
    batch_length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        return self.batch_length + LENGTH_PREFIX_SIZE

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def compression(self) -> int:
        """Codec id; a name exists only if it is below ``len(COMPRESSION_NAMES)``."""
        return self.attributes & COMPRESSION_MASK

    @property
    def is_log_append_time(self) -> bool:
        return bool(self.attributes & LOG_APPEND_TIME)

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL)

    @property
    def has_producer_id(self) -> bool:
        return self.producer_id >= 0

    @property
    def last_sequence(self) -> int:
        """Sequence of the last record; wraps from 2^31-1 to 0. -1 without a sequence."""
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) & 0x7FFFFFFF


def read_header(buffer: Buffer, at: int = 0) -> BatchHeader:
    """The header of the batch that starts at ``at``, which must lie whole inside ``buffer``.

    Raises ``KafkaError``: UNSUPPORTED_FOR_MESSAGE_FORMAT for the message formats before Kafka 0.11,
    CORRUPT_MESSAGE for a length that is negative, shorter than a header, or runs past the buffer.
    Does not check the CRC.
    """
    remaining = len(buffer) - at
    if remaining < HEADER_SIZE:
        raise _bad_header(buffer, at)
    header = _new_tuple(BatchHeader, _unpack_header(buffer, at))
    length = header[1]
    if header[3] != MAGIC or length < BATCH_LENGTH_MIN or length > remaining - LENGTH_PREFIX_SIZE:
        raise _bad_header(buffer, at)
    return header


def scan_batches(buffer: Buffer, at: int = 0) -> Iterator[tuple[int, BatchHeader]]:
    """Each batch's position and header from ``at`` to the end; raises like ``read_header`` on the first bad one."""
    end = len(buffer)
    while at < end:
        header = read_header(buffer, at)
        yield at, header
        at += header[1] + LENGTH_PREFIX_SIZE


def batch_size(buffer: Buffer, at: int = 0) -> int:
    """Total size the batch at ``at`` claims, which may run past the buffer.

    Raises ``KafkaError(CORRUPT_MESSAGE)`` if fewer than 12 bytes are there or the length cannot be a batch's.
    """
    if len(buffer) - at < LENGTH_PREFIX_SIZE:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "The record batch is cut off before its length.")
    length: int = _unpack_length(buffer, at + BATCH_LENGTH_AT)[0]
    if length < BATCH_LENGTH_MIN:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"A record batch cannot have length {length}.")
    return length + LENGTH_PREFIX_SIZE


def whole_batches_size(buffer: Buffer, at: int = 0) -> int:
    """Bytes of the complete batches from ``at`` on: what may be served of a read that ended mid-batch.

    0 if not even the first is complete; ``batch_size`` then says how much to read.
    """
    start, end = at, len(buffer)
    while end - at >= LENGTH_PREFIX_SIZE:
        length = _unpack_length(buffer, at + BATCH_LENGTH_AT)[0]
        if length < BATCH_LENGTH_MIN:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"A record batch cannot have length {length}.")
        after = at + length + LENGTH_PREFIX_SIZE
        if after > end:
            break
        at = after
    return at - start


def compute_crc(buffer: Buffer, at: int, size: int) -> int:
    """CRC-32C over the covered part of the batch of ``size`` bytes at ``at``; slices without copying."""
    view = buffer if type(buffer) is memoryview else memoryview(buffer)
    return crc32c(view[at + ATTRIBUTES_AT : at + size])


def crc_is_valid(buffer: Buffer, at: int, size: int) -> bool:
    view = buffer if type(buffer) is memoryview else memoryview(buffer)
    return crc32c(view[at + ATTRIBUTES_AT : at + size]) == _unpack_crc(view, at + CRC_AT)[0]


def stamp(buffer: bytearray | memoryview, at: int, base_offset: int, leader_epoch: int) -> None:
    """Give a batch its place in the log. The CRC stays valid."""
    _pack_offset(buffer, at, base_offset)
    _pack_epoch(buffer, at + LEADER_EPOCH_AT, leader_epoch)


def stamped_prefix(buffer: Buffer, at: int, base_offset: int, leader_epoch: int) -> bytes:
    """The first 16 bytes of the batch with its place in the log, for a buffer that may not be written to."""
    length = _unpack_length(buffer, at + BATCH_LENGTH_AT)[0]
    return _PREFIX.pack(base_offset, length, leader_epoch)


def set_log_append_time(buffer: bytearray | memoryview, at: int, timestamp_ms: int) -> None:
    """Turn a batch into one with LogAppendTime: every record now has ``timestamp_ms``. Writes a new CRC.

    ``base_timestamp`` stays: the deltas inside count from it, and readers ignore both.
    """
    size = batch_size(buffer, at)
    attributes = _ATTRIBUTES.unpack_from(buffer, at + ATTRIBUTES_AT)[0]
    _ATTRIBUTES.pack_into(buffer, at + ATTRIBUTES_AT, attributes | LOG_APPEND_TIME)
    _TIMESTAMP.pack_into(buffer, at + MAX_TIMESTAMP_AT, timestamp_ms)
    _CRC.pack_into(buffer, at + CRC_AT, compute_crc(buffer, at, size))


def _bad_header(buffer: Buffer, at: int) -> KafkaError:
    """Why ``read_header`` refuses; only reached on bad input, so it may look closely."""
    remaining = len(buffer) - at
    if remaining <= MAGIC_AT:
        return KafkaError(ErrorCode.CORRUPT_MESSAGE, "The record batch is cut off inside its header.")
    magic = struct.unpack_from(">b", buffer, at + MAGIC_AT)[0]
    if magic in (0, 1):
        return KafkaError(
            ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT, f"Message format v{magic} is not accepted; v2 is required."
        )
    if magic != MAGIC:
        return KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Unknown message format: magic {magic}.")
    length = _unpack_length(buffer, at + BATCH_LENGTH_AT)[0]
    return KafkaError(
        ErrorCode.CORRUPT_MESSAGE,
        f"The record batch says it has {length} bytes, {remaining - LENGTH_PREFIX_SIZE} are there.",
    )
