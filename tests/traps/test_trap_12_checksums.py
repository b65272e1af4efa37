"""Trap 12: the checksum covers a batch from its attributes on. Offset and leader epoch are stamped outside of it; who touches
attributes or timestamps computes it anew. A wrong one is CORRUPT_MESSAGE, a header that lies about its records
INVALID_RECORD, and clients write no control batches."""

from __future__ import annotations

import struct

import pytest

from broker.errors import ErrorCode
from broker.protocol import batch as batches
from broker.protocol.records import iter_records
from tests.support.topics import batch, create_topic, fetch, produce
from tests.support.wire import Wire


def stored(wire: Wire, topic: str, offset: int = 0) -> bytes:
    return bytes(fetch(wire, topic, offset).records)


def test_stamping_changes_offset_and_epoch_and_not_a_byte_behind_them(wire: Wire) -> None:
    topic, sent = create_topic(wire), batch(b"a", b"b", compression="gzip")
    produce(wire, topic, batch(b"first"))
    produce(wire, topic, sent)
    kept = stored(wire, topic, 1)
    header = batches.read_header(kept)
    assert (header.base_offset, header.leader_epoch) == (1, 0)
    assert kept[batches.MAGIC_AT :] == sent[batches.MAGIC_AT :]


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_batch_rewritten_to_append_time_has_a_new_and_right_checksum(wire: Wire, compression: str) -> None:
    topic = create_topic(wire, message_timestamp_type="LogAppendTime")
    sent = batch(b"a" * 100, compression=compression)
    result = produce(wire, topic, sent)
    kept = stored(wire, topic)
    assert batches.crc_is_valid(kept, 0, len(kept))
    header = batches.read_header(kept)
    assert header.crc != batches.read_header(sent).crc
    assert (header.is_log_append_time, header.max_timestamp) == (True, result.log_append_time)


@pytest.mark.parametrize("at", [batches.ATTRIBUTES_AT, batches.MAX_TIMESTAMP_AT, batches.HEADER_SIZE + 5, -1])
def test_a_flipped_bit_behind_the_checksum_is_corrupt(wire: Wire, at: int) -> None:
    wrong = bytearray(batch(b"a" * 50))
    wrong[at] ^= 1
    assert produce(wire, create_topic(wire), bytes(wrong)).error_code == ErrorCode.CORRUPT_MESSAGE


def changed(data: bytes, at: int, form: str, value: int) -> bytes:
    made = bytearray(data)
    struct.pack_into(form, made, at, value)
    struct.pack_into(">I", made, batches.CRC_AT, batches.compute_crc(made, 0, len(made)))
    return bytes(made)


@pytest.mark.parametrize(("count", "delta"), [(1, 1), (3, 1), (0, 1), (2, 5), (-1, 1)])
def test_a_header_that_lies_about_its_records_is_an_invalid_record(wire: Wire, count: int, delta: int) -> None:
    data = changed(batch(b"a", b"b"), batches.RECORD_COUNT_AT, ">i", count)
    data = changed(data, batches.LAST_OFFSET_DELTA_AT, ">i", delta)
    assert produce(wire, create_topic(wire), data).error_code == ErrorCode.INVALID_RECORD


def test_a_client_cannot_write_a_control_batch(wire: Wire) -> None:
    topic = create_topic(wire)
    assert produce(wire, topic, batch(b"x", is_control=True)).error_code == ErrorCode.INVALID_RECORD
    assert list(iter_records(stored(wire, topic))) == []


def test_a_refused_batch_leaves_no_trace(wire: Wire) -> None:
    topic = create_topic(wire)
    produce(wire, topic, changed(batch(b"a", b"b"), batches.RECORD_COUNT_AT, ">i", 9))
    assert produce(wire, topic, batch(b"good")).base_offset == 0
