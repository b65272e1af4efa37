"""Fetch against a running broker: whole batches, long polls, epochs and errors."""

from __future__ import annotations

import time

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from tests.support.topics import batch, create_topic, delete_topic, fetch, fetch_request, produce, topic_id_of
from tests.support.wire import Wire


def offsets(result) -> list[int]:
    return [record.offset for record in iter_records(result.records or b"")]


@pytest.fixture
def topic(wire) -> str:
    """Three batches: offsets 0–2, 3–4, 5."""
    name = create_topic(wire)
    for records in (batch(b"a", b"b", b"c"), batch(b"d", b"e"), batch(b"f")):
        produce(wire, name, records)
    return name


@pytest.mark.parametrize("version", range(4, 19))
def test_every_version_reads_everything(wire, topic, version) -> None:
    name = topic_id_of(wire, topic) if version >= 13 else topic
    result = fetch(wire, name, version=version)
    assert (result.error_code, result.high_watermark, result.last_stable_offset) == (0, 6, 6)
    assert offsets(result) == [0, 1, 2, 3, 4, 5]


def test_an_offset_inside_a_batch_gets_that_whole_batch(wire, topic) -> None:
    assert offsets(fetch(wire, topic, 4)) == [3, 4, 5]


def test_the_first_batch_is_whole_however_small_the_limit(wire, topic) -> None:
    assert offsets(fetch(wire, topic, max_bytes=1)) == [0, 1, 2]


def test_the_end_is_empty_and_beyond_it_is_out_of_range(wire, topic) -> None:
    assert offsets(fetch(wire, topic, 6)) == []
    assert fetch(wire, topic, 7).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert fetch(wire, topic, -1).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_unknown_topics_partitions_and_ids_are_named_per_partition(wire, topic) -> None:
    assert fetch(wire, "no-such-topic").error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert fetch(wire, topic, partition=9).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert fetch(wire, b"\x09" * 16, version=13).error_code == ErrorCode.UNKNOWN_TOPIC_ID


def test_a_long_poll_returns_with_the_append_that_satisfies_it(wire, broker_process, topic) -> None:
    wire.request(ApiKey.FETCH, 12, fetch_request(topic, 6, max_wait=20_000))
    with Wire(broker_process.port) as producer:
        produce(producer, topic, batch(b"new"))
    began = time.monotonic()
    _, answer = wire.answer(ApiKey.FETCH, 12)
    assert offsets(answer.responses[0].partitions[0]) == [6]
    assert time.monotonic() - began < 5


def test_a_long_poll_waits_for_min_bytes(wire, broker_process, topic) -> None:
    wire.request(ApiKey.FETCH, 12, fetch_request(topic, 6, max_wait=20_000, min_bytes=1_000))
    with Wire(broker_process.port) as producer:
        for _ in range(5):
            produce(producer, topic, batch(b"x" * 250))
    _, answer = wire.answer(ApiKey.FETCH, 12)
    assert len(answer.responses[0].partitions[0].records) >= 1_000


def test_a_long_poll_ends_empty_after_max_wait(wire, topic) -> None:
    began = time.monotonic()
    result = fetch(wire, topic, 6, max_wait=200)
    assert offsets(result) == []
    assert 0.15 < time.monotonic() - began < 5


def test_the_timer_of_an_answered_poll_does_not_answer_the_next(wire, broker_process, topic) -> None:
    with Wire(broker_process.port) as producer:
        for number in range(3):
            wire.request(ApiKey.FETCH, 12, fetch_request(topic, 6 + number, max_wait=400))
            produce(producer, topic, batch(b"%d" % number))
            assert offsets(wire.answer(ApiKey.FETCH, 12)[1].responses[0].partitions[0]) == [6 + number]
    began = time.monotonic()
    assert offsets(fetch(wire, topic, 9, max_wait=600)) == []
    assert time.monotonic() - began > 0.5


def test_deleting_the_topic_ends_its_long_polls(wire, broker_process, topic) -> None:
    wire.request(ApiKey.FETCH, 12, fetch_request(topic, 6, max_wait=60_000))
    with Wire(broker_process.port) as other:
        delete_topic(other, topic)
    _, answer = wire.answer(ApiKey.FETCH, 12)
    assert answer.responses[0].partitions[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_an_error_is_answered_at_once(wire) -> None:
    began = time.monotonic()
    fetch(wire, "no-such-topic", max_wait=20_000)
    assert time.monotonic() - began < 5


def test_leader_epochs_are_compared(wire, topic) -> None:
    epoch = list_epoch(wire, topic)
    assert fetch(wire, topic, current_leader_epoch=epoch).error_code == 0
    assert fetch(wire, topic, current_leader_epoch=epoch + 1).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    if epoch:
        assert fetch(wire, topic, current_leader_epoch=epoch - 1).error_code == ErrorCode.FENCED_LEADER_EPOCH


def test_a_reader_whose_log_left_ours_is_told_where(wire, topic) -> None:
    epoch = list_epoch(wire, topic)
    result = fetch(wire, topic, 6, last_fetched_epoch=epoch)
    assert (result.error_code, result.diverging_epoch.epoch) == (0, -1)
    beyond = fetch(wire, topic, 7, last_fetched_epoch=epoch).diverging_epoch
    assert (beyond.epoch, beyond.end_offset) == (epoch, 6)
    assert fetch(wire, topic, 6, last_fetched_epoch=epoch + 7).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def list_epoch(wire: Wire, topic: str) -> int:
    r = m.ListOffsetsRequest
    entry = r.ListOffsetsPartition(partition_index=0, timestamp=-1)
    request = r(replica_id=-1, topics=[r.ListOffsetsTopic(name=topic, partitions=[entry])])
    return wire.call(ApiKey.LIST_OFFSETS, 7, request).topics[0].partitions[0].leader_epoch


def test_read_committed_gets_an_empty_list_of_aborted_transactions(wire, topic) -> None:
    assert fetch(wire, topic, isolation_level=1).aborted_transactions == []
    assert fetch(wire, topic, isolation_level=0).aborted_transactions is None


def test_nobody_fetches_as_a_replica_on_the_client_listener(wire, topic) -> None:
    result = fetch(wire, topic, version=11, replica_id=2)
    assert result.error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED


def test_a_large_answer_is_bounded_and_continues(wire) -> None:
    topic = create_topic(wire)
    for _ in range(12):
        produce(wire, topic, batch(b"x" * 1_000_000), acks=1)
    position, turns = 0, 0
    while position < 12:
        result = fetch(wire, topic, position, max_bytes=50 << 20)
        assert len(result.records) <= 9 << 20
        position = offsets(result)[-1] + 1
        turns += 1
    assert turns == 2


def test_the_limit_of_the_whole_answer_is_shared_by_partitions(wire) -> None:
    topic = create_topic(wire, partitions=3)
    for partition in range(3):
        produce(wire, topic, batch(b"x" * 1_000), partition=partition)
    r = m.FetchRequest
    entries = [r.FetchPartition(partition=n, fetch_offset=0, partition_max_bytes=1 << 20) for n in range(3)]
    request = r(
        max_wait=0,
        min_bytes=1,
        max_bytes=1_500,
        session_epoch=-1,
        topics=[r.FetchTopic(topic=topic, partitions=entries)],
    )
    partitions = wire.call(ApiKey.FETCH, 12, request).responses[0].partitions
    assert [len(offsets(partition)) for partition in partitions] == [1, 0, 0]
