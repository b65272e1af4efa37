"""What a batch must satisfy before it is written."""

from __future__ import annotations

import struct

import pytest
from crc32c import crc32c

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.protocol.batch import (
    ATTRIBUTES_AT,
    BATCH_LENGTH_AT,
    CONTROL,
    CRC_AT,
    LAST_OFFSET_DELTA_AT,
    LOG_APPEND_TIME,
    MAGIC_AT,
    RECORD_COUNT_AT,
)
from broker.storage.append_validation import validate_client_batch, validate_coordinator_batches
from tests.storage.support import NOW_MS, batch

CONFIG = TopicConfig()


def changed(data: bytearray, at: int, layout: str, value: int, *, new_crc: bool = True) -> bytearray:
    struct.pack_into(layout, data, at, value)
    if new_crc:
        struct.pack_into(">I", data, CRC_AT, crc32c(bytes(data[ATTRIBUTES_AT:])))
    return data


def refusal(data: bytes | bytearray, config: TopicConfig = CONFIG) -> KafkaError:
    with pytest.raises(KafkaError) as refused:
        validate_client_batch(memoryview(data), config, NOW_MS)
    return refused.value


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_good_batch_of_any_codec_passes(compression: str) -> None:
    data = batch(*[b"value" * 50] * 10, compression=compression)

    assert validate_client_batch(memoryview(data), CONFIG, NOW_MS).record_count == 10


def test_every_flipped_bit_behind_the_crc_is_corrupt() -> None:
    good = batch(b"some value", b"another")
    for position in range(CRC_AT, len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x04
        assert refusal(bad).code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("size", [0, 1, 16, 17, 60, 61, 70])
def test_a_batch_that_is_cut_off_is_corrupt(size: int) -> None:
    assert refusal(batch(b"some value")[:size]).code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("length", [-1, 0, 48, 2**31 - 1])
def test_an_absurd_length_is_corrupt(length: int) -> None:
    data = changed(batch(b"x"), BATCH_LENGTH_AT, ">i", length, new_crc=False)

    assert refusal(data).code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize(
    ("magic", "code"),
    [
        (0, ErrorCode.INVALID_RECORD),
        (1, ErrorCode.INVALID_RECORD),
        (3, ErrorCode.CORRUPT_MESSAGE),
        (-1, ErrorCode.CORRUPT_MESSAGE),
    ],
)
def test_other_message_formats_are_refused(magic: int, code: ErrorCode) -> None:
    assert refusal(changed(batch(b"x"), MAGIC_AT, ">b", magic, new_crc=False)).code == code


def test_a_producer_sends_one_batch_per_partition() -> None:
    assert refusal(batch(b"x") + batch(b"y")).code == ErrorCode.INVALID_RECORD


@pytest.mark.parametrize(("count", "delta"), [(0, 0), (-1, 1), (3, 1), (1, 1), (2, -1), (2, 2**31 - 1)])
def test_counts_and_offsets_must_agree(count: int, delta: int) -> None:
    data = changed(batch(b"x", b"y"), RECORD_COUNT_AT, ">i", count)
    data = changed(data, LAST_OFFSET_DELTA_AT, ">i", delta)

    assert refusal(data).code == ErrorCode.INVALID_RECORD


def test_clients_write_no_control_batches_but_coordinators_do() -> None:
    data = batch(b"x", is_control=True)

    assert refusal(data).code == ErrorCode.INVALID_RECORD
    assert len(validate_coordinator_batches(memoryview(data + batch(b"y")), CONFIG)) == 2
    assert data[ATTRIBUTES_AT + 1] & CONTROL


def test_an_unknown_codec_is_refused() -> None:
    error = refusal(changed(batch(b"x"), ATTRIBUTES_AT, ">h", 5))

    assert (error.code, error.message) == (ErrorCode.INVALID_RECORD, "Unknown compression type id: 5")


def test_a_producer_id_needs_a_sequence() -> None:
    assert refusal(batch(b"x", producer_id=1, producer_epoch=0)).code == ErrorCode.INVALID_RECORD


def test_size_is_the_batch_as_it_arrives() -> None:
    data = batch(b"x" * 1_000)

    validate_client_batch(memoryview(data), TopicConfig(max_message_bytes=len(data)), NOW_MS)
    assert refusal(data, TopicConfig(max_message_bytes=len(data) - 1)).code == ErrorCode.MESSAGE_TOO_LARGE
    assert refusal(data, TopicConfig(segment_bytes=len(data) - 1)).code == ErrorCode.RECORD_LIST_TOO_LARGE


@pytest.mark.parametrize(
    ("timestamp", "accepted"),
    [(NOW_MS + 500, True), (NOW_MS + 501, False), (NOW_MS - 900, True), (NOW_MS - 901, False), (-1, True)],
)
def test_timestamps_have_bounds_under_create_time(timestamp: int, accepted: bool) -> None:
    config = TopicConfig(message_timestamp_after_max_ms=500, message_timestamp_before_max_ms=900)
    data = batch(b"x", timestamps=[timestamp])

    if accepted:
        validate_client_batch(memoryview(data), config, NOW_MS)
    else:
        assert refusal(data, config).code == ErrorCode.INVALID_TIMESTAMP


def test_timestamps_do_not_matter_under_log_append_time() -> None:
    config = TopicConfig(message_timestamp_type="LogAppendTime", message_timestamp_after_max_ms=1)

    validate_client_batch(memoryview(batch(b"x", timestamps=[NOW_MS * 2])), config, NOW_MS)


def test_a_client_may_not_claim_log_append_time() -> None:
    data = changed(batch(b"x"), ATTRIBUTES_AT, ">h", LOG_APPEND_TIME)

    assert refusal(data).code == ErrorCode.INVALID_TIMESTAMP


def test_a_coordinators_batches_are_checked_too() -> None:
    good, bad = batch(b"x"), batch(b"y")
    bad[-1] ^= 1

    with pytest.raises(KafkaError) as refused:
        validate_coordinator_batches(memoryview(good + bad), CONFIG)

    assert refused.value.code == ErrorCode.CORRUPT_MESSAGE
