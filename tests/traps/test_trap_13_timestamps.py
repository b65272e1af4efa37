"""Trap 13: whose clock a timestamp is from is part of the batch and of the answer; searching by time finds the first record at or
after it, inside whatever batch it lies; no such record is an answer and not an error."""

from __future__ import annotations

import time

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.batch import read_header
from broker.protocol.records import Record, build_batch, iter_records
from tests.support.topics import NOW_MS, batch, create_topic, fetch, produce
from tests.support.wire import Wire

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
HOUR_MS = 3_600_000


def offset_at(wire: Wire, topic: str, timestamp: int, *, version: int = 7) -> tuple[int, int]:
    """(offset, timestamp)"""
    r = m.ListOffsetsRequest
    entry = r.ListOffsetsPartition(partition_index=0, timestamp=timestamp)
    request = r(replica_id=-1, topics=[r.ListOffsetsTopic(name=topic, partitions=[entry])])
    result = wire.call(ApiKey.LIST_OFFSETS, version, request).topics[0].partitions[0]
    assert (result.error_code, result.leader_epoch) in ((0, 0), (0, -1))
    return result.offset, result.timestamp


def test_create_time_is_the_producers_and_no_time_is_answered(wire: Wire) -> None:
    topic = create_topic(wire)
    assert produce(wire, topic, batch(b"x")).log_append_time == -1
    (record,) = iter_records(fetch(wire, topic).records)
    assert record.timestamp == NOW_MS


def test_append_time_is_the_brokers_in_the_batch_in_every_record_and_in_the_answer(wire: Wire) -> None:
    topic = create_topic(wire, message_timestamp_type="LogAppendTime")
    before = int(time.time() * 1_000)
    told = produce(wire, topic, batch(b"x", b"y", timestamp=5)).log_append_time
    assert before <= told <= int(time.time() * 1_000)
    records = fetch(wire, topic).records
    assert (read_header(records).is_log_append_time, read_header(records).max_timestamp) == (True, told)
    assert [record.timestamp for record in iter_records(records)] == [told, told]
    assert offset_at(wire, topic, told) == (0, told)


@pytest.mark.parametrize("codec", CODECS)
def test_a_search_by_time_finds_the_first_record_inside_a_batch(wire: Wire, codec: str) -> None:
    topic = create_topic(wire)
    times = ((100, 300, 200), (400, 150), (500,))
    for some in times:
        content = [Record(timestamp=NOW_MS + at, value=b"v" * 50) for at in some]
        produce(wire, topic, bytes(build_batch(content, compression=codec)))
    flat = [at for some in times for at in some]
    for target in range(50, 600, 25):
        expected = next(((offset, NOW_MS + at) for offset, at in enumerate(flat) if at >= target), (-1, -1))
        assert offset_at(wire, topic, NOW_MS + target) == expected


def test_the_largest_timestamp_is_that_of_a_record_and_not_of_its_batch(wire: Wire) -> None:
    topic = create_topic(wire)
    assert offset_at(wire, topic, -3) == (-1, -1)
    content = [Record(timestamp=NOW_MS + at, value=b"v") for at in (1, 9, 4, 9)]
    produce(wire, topic, bytes(build_batch(content, compression="gzip")))
    produce(wire, topic, batch(b"later, but older"))
    assert offset_at(wire, topic, -3) == (1, NOW_MS + 9)


def test_the_largest_timestamp_is_not_that_of_a_deleted_record(wire: Wire) -> None:
    """The batch's header still tells of it when the log was cut in the middle of the batch."""
    topic = create_topic(wire)
    produce(wire, topic, bytes(build_batch([Record(timestamp=NOW_MS + at, value=b"v") for at in (9, 1, 4)])))
    r = m.DeleteRecordsRequest
    part = r.DeleteRecordsPartition(partition_index=0, offset=1)
    request = r(topics=[r.DeleteRecordsTopic(name=topic, partitions=[part])], timeout=10_000)
    assert wire.call(ApiKey.DELETE_RECORDS, 1, request).topics[0].partitions[0].low_watermark == 1
    assert offset_at(wire, topic, -3) == (2, NOW_MS + 4)
    assert offset_at(wire, topic, NOW_MS) == (1, NOW_MS + 1)


def test_the_special_times_have_their_meaning_and_their_first_version(wire: Wire) -> None:
    topic = create_topic(wire)
    produce(wire, topic, batch(b"a", b"b"))
    assert [offset_at(wire, topic, special, version=11) for special in (-1, -2, -4, -5, -6)] == [
        (2, -1),
        (0, -1),
        (0, -1),
        (-1, -1),
        (-1, -1),
    ]
    for special, since in ((-3, 7), (-4, 8), (-5, 9), (-6, 11)):
        r = m.ListOffsetsRequest
        entry = r.ListOffsetsPartition(partition_index=0, timestamp=special)
        request = r(replica_id=-1, topics=[r.ListOffsetsTopic(name=topic, partitions=[entry])])
        result = wire.call(ApiKey.LIST_OFFSETS, since - 1, request).topics[0].partitions[0]
        assert result.error_code == ErrorCode.UNSUPPORTED_VERSION


def test_a_record_too_far_ahead_is_named_and_its_batch_refused(wire: Wire) -> None:
    topic = create_topic(wire)
    ahead = int(time.time() * 1_000) + 2 * HOUR_MS
    content = [Record(timestamp=NOW_MS, value=b"good"), Record(timestamp=ahead, value=b"bad")]
    result = produce(wire, topic, bytes(build_batch(content)))
    assert (result.error_code, [error.batch_index for error in result.record_errors]) == (
        ErrorCode.INVALID_TIMESTAMP,
        [1],
    )
    assert fetch(wire, topic).high_watermark == 0


def test_a_record_too_far_behind_is_refused_where_the_topic_says_so(wire: Wire) -> None:
    topic = create_topic(wire, message_timestamp_before_max_ms=str(HOUR_MS))
    assert produce(wire, topic, batch(b"old")).error_code == ErrorCode.INVALID_TIMESTAMP
    assert produce(wire, topic, batch(b"now", timestamp=int(time.time() * 1_000))).error_code == 0


def test_the_brokers_own_time_is_never_out_of_bounds(wire: Wire) -> None:
    topic = create_topic(wire, message_timestamp_type="LogAppendTime", message_timestamp_before_max_ms="1")
    assert produce(wire, topic, batch(b"old", timestamp=5)).error_code == 0
