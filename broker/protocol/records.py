"""Opening and building record batches: the only place that sees single records.

For what cannot work on whole batches: coordinators' own records, timestamp search inside a batch, compaction, the
dashboard. Never called by produce or fetch. The codec is aiokafka's Cython one, wrapped here because it is an
internal module of that package; it is imported on first use, as it brings 7 MB of client along.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from broker.errors import ErrorCode, KafkaError
from broker.limits import DECOMPRESSED_BYTES_MAX
from broker.protocol import batch
from broker.protocol.compression import decompress
from broker.types import NO_OFFSET, NO_TIMESTAMP, Buffer, TimestampMs

_RECORD_SIZE_MIN = 7
"""Length, attributes, timestamp delta, offset delta, key length, value length, header count: one byte each."""
_BUILDER_SIZE_MAX = 2**31 - 1
_OFFSET_DELTA_MAX = 2**31 - 1
_attributes_and_delta = struct.Struct(">hi")
_crc = struct.Struct(">I")


class Record(NamedTuple):
    """One record. For ``build_batch`` an offset of -1 means one after the record before."""

    offset: int = NO_OFFSET
    timestamp: TimestampMs = NO_TIMESTAMP
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def iter_records(
    buffer: Buffer, *, verify_crc: bool = True, decompressed_bytes_max: int = DECOMPRESSED_BYTES_MAX
) -> Iterator[Record]:
    """The records of one batch, or of several back to back, with their offsets and timestamps.

    Control batches are opened like others: whoever cares looks at the header first. Raises ``KafkaError``:
    CORRUPT_MESSAGE for anything malformed, MESSAGE_TOO_LARGE for a batch that inflates beyond the bound.
    """
    view = memoryview(buffer)
    for at, header in batch.scan_batches(view):
        size = header.size
        if verify_crc and not batch.crc_is_valid(view, at, size):
            raise _corrupt(header, "its checksum is wrong")
        yield from _open(header, view[at : at + size], decompressed_bytes_max)


def _open(header: batch.BatchHeader, whole: memoryview, decompressed_bytes_max: int) -> Iterator[Record]:
    records: Buffer = whole[batch.HEADER_SIZE :]
    if header.compression:
        records = decompress(header.compression, records, decompressed_bytes_max)
    if not 0 <= header.record_count * _RECORD_SIZE_MIN <= len(records):
        raise _corrupt(header, f"it cannot hold {header.record_count} records")
    plain = b"".join((whole[: batch.HEADER_SIZE], records))
    if header.compression:
        # aiokafka is given plain records, so that no bytes are inflated out of our sight.
        plain = _without_compression(plain, header.attributes)
    timestamp = header.max_timestamp if header.is_log_append_time else None
    try:
        for record in _aiokafka().DefaultRecordBatch(plain):
            yield Record(
                record.offset,
                record.timestamp if timestamp is None else timestamp,
                record.key,
                record.value,
                record.headers,
            )
    except (ValueError, IndexError, _aiokafka_error()) as error:
        raise _corrupt(header, f"{error}") from error


def _without_compression(plain: bytes, attributes: int) -> bytes:
    head = bytearray(plain[: batch.HEADER_SIZE])
    struct.pack_into(">h", head, batch.ATTRIBUTES_AT, attributes & ~batch.COMPRESSION_MASK)
    return bytes(head) + plain[batch.HEADER_SIZE :]


def build_batch(
    records: Iterable[Record],
    *,
    base_offset: int = 0,
    compression: str = "none",
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    leader_epoch: int = -1,
    log_append_time_ms: TimestampMs | None = None,
    is_transactional: bool = False,
    is_control: bool = False,
) -> bytearray:
    """One batch of at least one record, ready to be stamped and appended (the result is writable).

    Offsets given in the records must ascend from ``base_offset``; gaps are kept, as compaction leaves them.
    ``log_append_time_ms`` makes it a LogAppendTime batch. A batch that compression would not make smaller stays
    uncompressed.
    """
    if compression not in batch.COMPRESSION_NAMES:
        raise ValueError(f"unknown compression {compression!r}")
    builder = _aiokafka().DefaultRecordBatchBuilder(
        magic=batch.MAGIC,
        compression_type=batch.COMPRESSION_NAMES.index(compression),
        is_transactional=int(is_transactional),
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        batch_size=_BUILDER_SIZE_MAX,
    )
    delta = -1
    count = 0
    for record in records:
        following = delta + 1 if record.offset < 0 else record.offset - base_offset
        if not delta < following <= _OFFSET_DELTA_MAX:
            raise ValueError(f"offset {record.offset} cannot follow {base_offset + delta}")
        delta = following
        builder.append(delta, record.timestamp, record.key, record.value, list(record.headers))
        count += 1
    if not count:
        raise ValueError("a batch needs a record")
    built = bytearray(builder.build())
    batch.stamp(built, 0, base_offset, leader_epoch)
    if is_control:
        attributes, last_delta = _attributes_and_delta.unpack_from(built, batch.ATTRIBUTES_AT)
        _attributes_and_delta.pack_into(built, batch.ATTRIBUTES_AT, attributes | batch.CONTROL, last_delta)
        _crc.pack_into(built, batch.CRC_AT, batch.compute_crc(built, 0, len(built)))
    if log_append_time_ms is not None:
        batch.set_log_append_time(built, 0, log_append_time_ms)
    return built


@functools.cache
def _aiokafka() -> Any:
    from aiokafka.record import default_records

    return default_records


@functools.cache
def _aiokafka_error() -> type[Exception]:
    from aiokafka.errors import CorruptRecordException

    return CorruptRecordException


def _corrupt(header: batch.BatchHeader, reason: str) -> KafkaError:
    return KafkaError(
        ErrorCode.CORRUPT_MESSAGE, f"The record batch at offset {header.base_offset} is corrupt: {reason}."
    )
