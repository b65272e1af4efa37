"""ListOffsets, OffsetForLeaderEpoch, DeleteRecords and DescribeProducers against a running broker."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from tests.support.topics import NOW_MS, batch, create_topic, fetch, produce

LATEST, EARLIEST, MAX_TIMESTAMP, EARLIEST_LOCAL, LATEST_TIERED = -1, -2, -3, -4, -5


@pytest.fixture
def topic(wire) -> str:
    """Offsets 0–5 with timestamps NOW+0, +1, +2, +100, +101, +50."""
    name = create_topic(wire)
    for records in (
        batch(b"a", b"b", b"c"),
        batch(b"d", b"e", timestamp=NOW_MS + 100),
        batch(b"f", timestamp=NOW_MS + 50),
    ):
        produce(wire, name, records)
    return name


def list_offset(wire, topic, timestamp, *, version=11, partition=0, **fields):
    r = m.ListOffsetsRequest
    request = r(
        replica_id=fields.pop("replica_id", -1),
        isolation_level=fields.pop("isolation_level", 0),
        topics=[
            r.ListOffsetsTopic(
                name=topic,
                partitions=[r.ListOffsetsPartition(partition_index=partition, timestamp=timestamp, **fields)],
            )
        ],
    )
    return wire.call(ApiKey.LIST_OFFSETS, version, request).topics[0].partitions[0]


@pytest.mark.parametrize("version", range(1, 12))
def test_every_version_knows_first_and_last(wire, topic, version) -> None:
    assert list_offset(wire, topic, EARLIEST, version=version).offset == 0
    latest = list_offset(wire, topic, LATEST, version=version)
    assert (latest.error_code, latest.offset, latest.timestamp) == (0, 6, -1)


@pytest.mark.parametrize(
    ("timestamp", "offset", "found"),
    [
        (0, 0, NOW_MS),
        (NOW_MS + 1, 1, NOW_MS + 1),
        (NOW_MS + 3, 3, NOW_MS + 100),
        (NOW_MS + 101, 4, NOW_MS + 101),
        (NOW_MS + 102, -1, -1),
    ],
)
def test_a_time_finds_the_first_record_at_or_after_it(wire, topic, timestamp, offset, found) -> None:
    answer = list_offset(wire, topic, timestamp)
    assert (answer.error_code, answer.offset, answer.timestamp) == (0, offset, found)


def test_the_largest_timestamp_is_found_wherever_it_is(wire, topic) -> None:
    answer = list_offset(wire, topic, MAX_TIMESTAMP)
    assert (answer.offset, answer.timestamp) == (4, NOW_MS + 101)
    empty = list_offset(wire, create_topic(wire), MAX_TIMESTAMP)
    assert (empty.error_code, empty.offset, empty.timestamp) == (0, -1, -1)


def test_the_first_offset_of_an_empty_partition_is_of_the_epoch_that_will_write_there(wire) -> None:
    found = list_offset(wire, create_topic(wire), EARLIEST)
    assert (found.offset, found.timestamp, found.leader_epoch) == (0, -1, 0)


def test_read_committed_ends_at_the_last_stable_offset(wire, topic) -> None:
    assert list_offset(wire, topic, LATEST, isolation_level=1).offset == 6


def test_tiered_specials_are_answered_from_their_version_on(wire, topic) -> None:
    assert list_offset(wire, topic, EARLIEST_LOCAL).offset == 0
    assert list_offset(wire, topic, LATEST_TIERED).offset == -1
    assert list_offset(wire, topic, MAX_TIMESTAMP, version=6).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert list_offset(wire, topic, EARLIEST_LOCAL, version=7).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert list_offset(wire, topic, -42).error_code == ErrorCode.UNSUPPORTED_VERSION


def test_epochs_and_unknown_partitions_are_refused(wire, topic) -> None:
    assert list_offset(wire, topic, LATEST, current_leader_epoch=99).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert list_offset(wire, topic, LATEST, partition=5).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert list_offset(wire, "nope", LATEST).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_a_partition_asked_for_twice_is_invalid(wire, topic) -> None:
    r = m.ListOffsetsRequest
    entries = [r.ListOffsetsPartition(partition_index=0, timestamp=LATEST) for _ in range(2)]
    request = r(replica_id=-1, topics=[r.ListOffsetsTopic(name=topic, partitions=entries)])
    answer = wire.call(ApiKey.LIST_OFFSETS, 7, request)
    assert [entry.error_code for entry in answer.topics[0].partitions] == [ErrorCode.INVALID_REQUEST] * 2


@pytest.mark.parametrize("version", [2, 3, 4])
def test_the_end_of_a_leader_epoch(wire, topic, version) -> None:
    epoch = list_offset(wire, topic, LATEST).leader_epoch
    assert epoch_end(wire, topic, epoch, version=version) == (0, epoch, 6)
    assert epoch_end(wire, topic, epoch + 1, version=version) == (0, -1, -1)
    assert epoch_end(wire, "nope", 0, version=version)[0] == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def epoch_end(wire, topic, epoch, *, version) -> tuple[int, int, int]:
    r = m.OffsetForLeaderEpochRequest
    entry = r.OffsetForLeaderPartition(partition=0, leader_epoch=epoch)
    request = r(topics=[r.OffsetForLeaderTopic(topic=topic, partitions=[entry])])
    found = wire.call(ApiKey.OFFSET_FOR_LEADER_EPOCH, version, request).topics[0].partitions[0]
    return found.error_code, found.leader_epoch, found.end_offset


def delete_before(wire, topic, offset, *, partition=0):
    r = m.DeleteRecordsRequest
    entry = r.DeleteRecordsPartition(partition_index=partition, offset=offset)
    request = r(timeout=5_000, topics=[r.DeleteRecordsTopic(name=topic, partitions=[entry])])
    return wire.call(ApiKey.DELETE_RECORDS, 2, request).topics[0].partitions[0]


def test_deleted_records_are_gone_for_every_reader(wire, topic) -> None:
    answer = delete_before(wire, topic, 4)
    assert (answer.error_code, answer.low_watermark) == (0, 4)
    assert list_offset(wire, topic, EARLIEST).offset == 4
    assert list_offset(wire, topic, 0).offset == 4
    assert fetch(wire, topic, 3).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert [record.offset for record in iter_records(fetch(wire, topic, 4).records)][-1] == 5


def test_deleting_up_to_the_high_watermark_and_beyond(wire, topic) -> None:
    assert delete_before(wire, topic, 7).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert delete_before(wire, topic, -2).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert delete_before(wire, topic, -1).low_watermark == 6
    assert delete_before(wire, topic, 2).low_watermark == 6, "never backwards"
    assert delete_before(wire, topic, 0, partition=3).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_records_of_a_compacted_topic_are_not_deleted(wire) -> None:
    topic = create_topic(wire, cleanup_policy="compact")
    assert delete_before(wire, topic, 0).error_code == ErrorCode.POLICY_VIOLATION


def test_producers_are_described(wire, topic) -> None:
    produce(wire, topic, batch(b"x", b"y", producer_id=900, producer_epoch=3, base_sequence=0))
    r = m.DescribeProducersRequest
    request = r(topics=[r.TopicRequest(name=topic, partition_indexes=[0, 8])])
    known, unknown = wire.call(ApiKey.DESCRIBE_PRODUCERS, 0, request).topics[0].partitions
    (producer,) = known.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (900, 3, 1)
    assert unknown.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
