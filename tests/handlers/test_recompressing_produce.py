"""Topics with a ``compression.type`` of their own, against a running broker."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.protocol import batch as batches
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch, iter_records
from tests.support.topics import NOW_MS, batch, create_topic, fetch, produce, produce_request, set_topic_config
from tests.support.wire import Wire

NAMES = batches.COMPRESSION_NAMES
CONFIG_VALUES = {0: "uncompressed", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


def large(compression: str = "none", **fields: Any) -> bytes:
    """A plain one is above what is recompressed without a thread."""
    records = [Record(timestamp=NOW_MS + index, key=b"%d" % index, value=b"v" * 300) for index in range(100)]
    return bytes(build_batch(records, compression=compression, **fields))


def stored(wire: Wire, topic: str, offset: int = 0) -> list[tuple[batches.BatchHeader, list[Record]]]:
    data = memoryview(fetch(wire, topic, offset).records or b"")
    return [(header, list(iter_records(data[at : at + header.size]))) for at, header in batches.scan_batches(data)]


@pytest.mark.parametrize("codec", CONFIG_VALUES)
@pytest.mark.parametrize("source", NAMES)
def test_a_batch_is_stored_with_the_codec_of_its_topic(wire: Wire, codec: int, source: str) -> None:
    topic = create_topic(wire, compression_type=CONFIG_VALUES[codec])
    small = batch(b"a", b"b", compression=source)
    for base_offset, records in ((0, small), (2, large(source))):
        result = produce(wire, topic, records)
        assert (result.error_code, result.base_offset, result.log_append_time) == (0, base_offset, -1)
    found = stored(wire, topic)
    assert [header.compression for header, _ in found] == [codec, codec]
    sent = [*iter_records(small), *iter_records(large(source))]
    assert [record[1:] for _, records in found for record in records] == [record[1:] for record in sent]
    assert [record.offset for _, records in found for record in records] == list(range(102))


def test_producer_keeps_what_the_producer_chose(wire: Wire) -> None:
    topic = create_topic(wire, compression_type="producer")
    for name in NAMES:
        assert produce(wire, topic, large(name)).error_code == 0
    assert [header.compression for header, _ in stored(wire, topic)] == list(range(5))


def test_the_time_of_append_is_stamped_on_the_recompressed_batch(wire: Wire) -> None:
    topic = create_topic(wire, compression_type="zstd", message_timestamp_type="LogAppendTime")
    result = produce(wire, topic, large())
    [(header, records)] = stored(wire, topic)
    assert header.is_log_append_time
    assert {record.timestamp for record in records} == {header.max_timestamp} == {result.log_append_time}


def test_requests_of_one_connection_keep_their_order_whether_they_need_a_thread_or_not(wire: Wire) -> None:
    """An idempotent producer's sequences fail as soon as one batch overtakes another."""
    topic, sequence = create_topic(wire, compression_type="gzip"), 0
    for number in range(30):
        fields = {"producer_id": 77, "producer_epoch": 0, "base_sequence": sequence}
        records = large(**fields) if number % 3 == 0 else batch(b"small", **fields)
        sequence += batches.read_header(records).record_count
        wire.request(ApiKey.PRODUCE, 9, produce_request({(topic, 0): records}), correlation_id=number)
    answers = [wire.answer(ApiKey.PRODUCE, 9) for _ in range(30)]
    assert [correlation_id for correlation_id, _ in answers] == list(range(30))
    results = [answer.responses[0].partition_responses[0] for _, answer in answers]
    assert {result.error_code for result in results} == {0}
    offsets = [result.base_offset for result in results]
    assert offsets == sorted(offsets)
    again = produce(wire, topic, large(producer_id=77, producer_epoch=0, base_sequence=sequence))
    assert (again.error_code, again.base_offset) == (0, sequence)


def test_acks_0_and_1_go_the_same_way(wire: Wire) -> None:
    topic = create_topic(wire, compression_type="lz4")
    wire.request(ApiKey.PRODUCE, 9, produce_request({(topic, 0): large()}, acks=0))
    assert produce(wire, topic, large(), acks=1).base_offset == 100
    assert [header.compression for header, _ in stored(wire, topic)] == [3, 3]


def test_a_bad_partition_does_not_spoil_its_neighbours(wire: Wire) -> None:
    topic = create_topic(wire, partitions=3, compression_type="zstd")
    bomb = bytes(build_batch([Record(timestamp=NOW_MS, value=bytes(70 << 20))], compression="gzip"))
    parts = {(topic, 0): large("gzip"), (topic, 1): bomb, (topic, 2): corrupt(large("gzip"))}
    answer = wire.call(ApiKey.PRODUCE, 9, produce_request(parts))
    codes = [topic.partition_responses[0].error_code for topic in answer.responses]
    assert codes == [0, ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.CORRUPT_MESSAGE]


def corrupt(good: bytes) -> bytes:
    """The checksum is right, what is inside is not."""
    made = bytearray(good)
    made[-200:] = bytes(200)
    struct.pack_into(">I", made, batches.CRC_AT, batches.compute_crc(made, 0, len(made)))
    return bytes(made)


def test_offsets_with_a_gap_inside_a_batch_are_refused(wire: Wire) -> None:
    topic = create_topic(wire, compression_type="gzip")
    gap = build_batch([Record(offset=0, timestamp=NOW_MS, value=b"a"), Record(offset=2, timestamp=NOW_MS, value=b"b")])
    struct.pack_into(">i", gap, batches.LAST_OFFSET_DELTA_AT, 1)
    struct.pack_into(">I", gap, batches.CRC_AT, batches.compute_crc(gap, 0, len(gap)))
    assert produce(wire, topic, bytes(gap)).error_code == ErrorCode.INVALID_RECORD


def test_the_limit_holds_for_the_batch_as_it_came_and_as_it_would_be_stored(wire: Wire) -> None:
    inflated = create_topic(wire, compression_type="uncompressed", max_message_bytes="20000")
    assert produce(wire, inflated, large("zstd")).error_code == ErrorCode.MESSAGE_TOO_LARGE
    deflated = create_topic(wire, compression_type="zstd", max_message_bytes="20000")
    assert produce(wire, deflated, large()).error_code == ErrorCode.MESSAGE_TOO_LARGE


def test_the_codec_follows_a_change_of_the_config(wire: Wire) -> None:
    topic = create_topic(wire)
    produce(wire, topic, large())
    set_topic_config(wire, topic, "compression.type", "zstd")
    produce(wire, topic, large())
    set_topic_config(wire, topic, "compression.type", "producer")
    produce(wire, topic, large())
    assert [header.compression for header, _ in stored(wire, topic)] == [0, 4, 0]
