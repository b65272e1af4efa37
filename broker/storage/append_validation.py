"""What a batch must satisfy before a byte of it is written.

Owns: the checks on bytes and header, in Kafka's order and words. Pure: producer sequences and the log's own state
are checked by the log. A refused batch costs an exception; an accepted one costs a header unpack and one CRC.
"""

from __future__ import annotations

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import (
    COMPRESSION_MASK,
    COMPRESSION_NAMES,
    CONTROL,
    LENGTH_PREFIX_SIZE,
    LOG_APPEND_TIME,
    TRANSACTIONAL,
    BatchHeader,
    crc_is_valid,
    read_header,
    scan_batches,
)
from broker.types import Buffer

CODECS = len(COMPRESSION_NAMES)


def validate_client_batch(records: Buffer, config: TopicConfig, now_ms: int) -> BatchHeader:
    """The header of the one batch a producer may send per partition and request. Raises ``KafkaError``."""
    try:
        header = read_header(records)
    except KafkaError as error:
        if error.code is ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT:
            raise KafkaError(
                ErrorCode.INVALID_RECORD,
                "Produce requests are only allowed to contain record batches with magic version 2",
            ) from None
        raise
    size = header[1] + LENGTH_PREFIX_SIZE
    if size != len(records):
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            "Produce requests are only allowed to contain exactly one record batch per partition",
        )
    _check_size(size, config)
    if not crc_is_valid(records, 0, size):
        raise _bad_crc(header)
    _check_header(header)
    attributes = header[5]
    if attributes & CONTROL:
        raise KafkaError(ErrorCode.INVALID_RECORD, "Clients are not allowed to write control records")
    if header[9] >= 0:
        if header[11] < 0:
            raise KafkaError(
                ErrorCode.INVALID_RECORD,
                f"Invalid sequence number {header[11]} in record batch with producerId {header[9]}",
            )
    elif attributes & TRANSACTIONAL:
        raise KafkaError(ErrorCode.INVALID_RECORD, "A transactional record batch has no producerId")
    if config.message_timestamp_type == "CreateTime":
        _check_timestamps(header, config, now_ms)
    return header


def validate_coordinator_batches(records: Buffer, config: TopicConfig) -> list[tuple[int, BatchHeader]]:
    """Position and header of each batch a coordinator of this broker wrote; control batches are its business."""
    batches = list(scan_batches(records))
    for position, header in batches:
        if not header.is_control:  # a marker that did not fit would leave the partition stuck
            _check_size(header.size, config)
        if not crc_is_valid(records, position, header.size):
            raise _bad_crc(header)
        _check_header(header)
    return batches


def validate_replicated_batches(records: Buffer, log_end_offset: int) -> tuple[list[tuple[int, BatchHeader]], bool]:
    """What a leader sent, and whether offsets are missing in it: those that compaction took from the leader's log, under
    whatever policy its topic has by now. Offsets are kept, so none may be below our log end."""
    gaps = False
    batches = list(scan_batches(records))
    for position, header in batches:
        if not crc_is_valid(records, position, header[1] + LENGTH_PREFIX_SIZE):
            raise _bad_crc(header)
        base_offset, delta = header[0], header[6]
        if base_offset != log_end_offset:
            gaps = True
        if base_offset < log_end_offset or delta < 0:
            raise KafkaError(
                ErrorCode.CORRUPT_MESSAGE,
                f"Offset {base_offset} of a replicated batch does not follow the log end offset {log_end_offset}.",
            )
        log_end_offset = base_offset + delta + 1
    return batches, gaps


def _check_size(size: int, config: TopicConfig) -> None:
    if size > config.max_message_bytes:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"The record batch size in the append is {size} bytes which exceeds the maximum configured value of "
            f"{config.max_message_bytes}.",
        )
    if size > config.segment_bytes:
        raise KafkaError(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"Message batch size is {size} bytes which exceeds the maximum configured segment size of "
            f"{config.segment_bytes}.",
        )


def _check_header(header: BatchHeader) -> None:
    count, delta = header[12], header[6]
    if count <= 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Invalid reported count for record batch: {count}")
    if delta < 0:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Batch has an invalid offset range: [0, {delta}]")
    if delta != count - 1:
        raise KafkaError(
            ErrorCode.INVALID_RECORD,
            f"Inconsistent batch offset range [0, {delta}] and count of records {count}",
        )
    if header[5] & COMPRESSION_MASK >= CODECS:
        raise KafkaError(ErrorCode.INVALID_RECORD, f"Unknown compression type id: {header[5] & COMPRESSION_MASK}")


def _check_timestamps(header: BatchHeader, config: TopicConfig, now_ms: int) -> None:
    """By the header: the newest record against the bound ahead, the first one against the bound behind."""
    if header[5] & LOG_APPEND_TIME:
        raise KafkaError(
            ErrorCode.INVALID_TIMESTAMP,
            "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime.",
        )
    newest, first = header[8], header[7]
    oldest_allowed = now_ms - config.message_timestamp_before_max_ms
    newest_allowed = now_ms + config.message_timestamp_after_max_ms
    for timestamp in (newest, first):
        if timestamp >= 0 and not oldest_allowed <= timestamp <= newest_allowed:
            raise KafkaError(
                ErrorCode.INVALID_TIMESTAMP,
                f"Timestamp {timestamp} of message with offset 0 is out of range. The timestamp should be within "
                f"[{oldest_allowed}, {newest_allowed}]",
            )


def _bad_crc(header: BatchHeader) -> KafkaError:
    return KafkaError(
        ErrorCode.CORRUPT_MESSAGE,
        f"Record is corrupt (stored crc = {header.crc}) in the batch of {header.record_count} records.",
    )
