"""Record batches as bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ErrorCode, KafkaError
from broker.protocol import batch
from broker.protocol.records import Record, build_batch
from tests.protocol.outcome import error_code


def a_batch(count: int = 3, **options: object) -> bytearray:
    records = [Record(timestamp=1000 + index, key=b"k", value=b"value") for index in range(count)]
    return build_batch(records, **options)  # type: ignore[arg-type]


def test_the_header_is_read_at_any_position() -> None:
    first = a_batch(base_offset=10, producer_id=7, producer_epoch=2, base_sequence=5, leader_epoch=4)
    buffer = first + a_batch(1, base_offset=13)
    header = batch.read_header(memoryview(buffer))
    assert (header.base_offset, header.last_offset, header.next_offset) == (10, 12, 13)
    assert (header.producer_id, header.producer_epoch, header.base_sequence, header.last_sequence) == (7, 2, 5, 7)
    assert (header.leader_epoch, header.magic, header.record_count, header.size) == (4, 2, 3, len(first))
    assert (header.base_timestamp, header.max_timestamp, header.compression) == (1000, 1002, 0)
    assert not any((header.is_control, header.is_transactional, header.is_log_append_time))
    assert batch.read_header(buffer, len(first)).base_offset == 13


def test_scanning_visits_every_batch() -> None:
    buffer = a_batch(2) + a_batch(5, base_offset=2) + a_batch(1, base_offset=7)
    found = [(at, header.base_offset, header.record_count) for at, header in batch.scan_batches(buffer)]
    assert found == [(0, 0, 2), (len(a_batch(2)), 2, 5), (len(buffer) - len(a_batch(1)), 7, 1)]


@pytest.mark.parametrize("length", [-1, 0, 48, 2**31 - 1, -(2**31)])
def test_impossible_lengths_are_refused(length: int) -> None:
    buffer = a_batch()
    struct.pack_into(">i", buffer, batch.BATCH_LENGTH_AT, length)
    with pytest.raises(KafkaError) as caught:
        batch.read_header(buffer)
    assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


def test_a_batch_cut_anywhere_is_refused() -> None:
    buffer = bytes(a_batch())
    for end in range(len(buffer)):
        with pytest.raises(KafkaError) as caught:
            batch.read_header(buffer[:end])
        assert caught.value.code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize(
    ("magic", "code"),
    [
        (0, ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT),
        (1, ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT),
        (3, ErrorCode.CORRUPT_MESSAGE),
        (255, ErrorCode.CORRUPT_MESSAGE),
    ],
)
def test_other_message_formats_are_told_apart(magic: int, code: ErrorCode) -> None:
    old = bytearray(struct.pack(">qiIbb", 0, 14, 0, 0, 0) + b"\xff" * 8)
    old[batch.MAGIC_AT] = magic
    with pytest.raises(KafkaError) as caught:
        batch.read_header(old)
    assert caught.value.code == code


def test_a_changed_bit_behind_the_checksum_is_noticed() -> None:
    buffer = a_batch()
    assert batch.crc_is_valid(buffer, 0, len(buffer))
    for at in range(batch.CRC_AT, len(buffer)):
        changed = bytearray(buffer)
        changed[at] ^= 1
        assert not batch.crc_is_valid(changed, 0, len(changed))


def test_stamping_keeps_the_checksum_valid() -> None:
    buffer = bytearray(b"before") + a_batch()
    batch.stamp(memoryview(buffer), 6, 2**40, 77)
    header = batch.read_header(buffer, 6)
    assert (header.base_offset, header.leader_epoch) == (2**40, 77)
    assert batch.crc_is_valid(buffer, 6, header.size)


def test_a_stamped_prefix_replaces_the_start_of_a_read_only_batch() -> None:
    original = bytes(a_batch())
    stamped = bytearray(original)
    batch.stamp(stamped, 0, 99, 5)
    prefix = batch.stamped_prefix(original, 0, 99, 5)
    assert prefix + original[len(prefix) :] == stamped


def test_log_append_time_is_written_with_a_new_checksum() -> None:
    buffer = bytearray(b"xx") + a_batch()
    batch.set_log_append_time(buffer, 2, 5555)
    header = batch.read_header(buffer, 2)
    assert header.is_log_append_time
    assert (header.max_timestamp, header.base_timestamp) == (5555, 1000)
    assert batch.crc_is_valid(buffer, 2, header.size)


def test_whole_batches_of_a_read_that_ended_inside_one() -> None:
    first, second = bytes(a_batch(2)), bytes(a_batch(3, base_offset=2))
    both = first + second
    for end in range(len(both) + 1):
        expected = len(both) if end == len(both) else len(first) if end >= len(first) else 0
        assert batch.whole_batches_size(both[:end]) == expected
    assert batch.whole_batches_size(both, len(first)) == len(second)


def test_the_size_of_a_batch_that_is_not_whole() -> None:
    whole = bytes(a_batch())
    assert batch.batch_size(whole[:12]) == len(whole)
    with pytest.raises(KafkaError):
        batch.batch_size(whole[:11])
    with pytest.raises(KafkaError):
        batch.batch_size(whole[:8] + b"\xff\xff\xff\xff")


def test_sequences_wrap_to_zero() -> None:
    header = batch.read_header(a_batch(3, producer_id=1, producer_epoch=0, base_sequence=2**31 - 2))
    assert header.last_sequence == 0
    assert batch.read_header(a_batch()).last_sequence == -1


@given(st.binary(max_size=150))
def test_random_bytes_raise_nothing_but_kafka_errors(data: bytes) -> None:
    for function in (batch.read_header, batch.batch_size, batch.whole_batches_size, scanned):
        code = error_code(lambda function=function: function(data))
        assert code in (ErrorCode.NONE, ErrorCode.CORRUPT_MESSAGE, ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT)


def scanned(data: bytes) -> list[tuple[int, batch.BatchHeader]]:
    return list(batch.scan_batches(data))
