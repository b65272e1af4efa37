"""Consumers read from a replica near them (KIP-392): the leader sends them there, the follower serves them."""

from __future__ import annotations

import pytest

from broker.config.broker_schema import RACK_AWARE_SELECTOR
from broker.errors import ErrorCode
from broker.protocol.batch import stamp
from broker.protocol.markers import build_marker
from broker.protocol.records import iter_records
from tests.handlers.replica_stage import LeaderStage, Pending, broker_image, only
from tests.partition.stage import partition_image, topic_image
from tests.support.topics import batch

ORDERS = b"\1" * 16


@pytest.fixture
async def stage():
    stage = LeaderStage(OTTLA_REPLICA_SELECTOR_CLASS=RACK_AWARE_SELECTOR)
    stage.brokers = {i: broker_image(i, rack=rack) for i, rack in ((1, "a"), (2, "b"), (3, "c"))}
    stage.show_topics(orders(leader=1))
    yield stage
    await stage.close()


def orders(**partition):
    return topic_image("orders", partition_image(**{"replicas": (1, 2, 3), "epoch": 5, **partition}))


def consume(stage: LeaderStage, offset: int, **fields):
    fields.setdefault("max_wait", 0)
    return stage.fetch([(ORDERS, offset, {})], replica=-1, replica_epoch=-1, listener="client", **fields)


def follow(stage: LeaderStage) -> None:
    stage.show_topics(orders(leader=2, epoch=6, version=1))


def replicate(stage: LeaderStage, *values: bytes, high_watermark: int, **fields) -> None:
    """What the replication driver does with a leader's answer."""
    partition = stage.manager.find("orders", 0)
    if values:
        append(partition, bytearray(batch(*values, **fields)))
    partition.perform(partition.state.on_leader_high_watermark(high_watermark, partition.log.log_end_offset))


def append(partition, records: bytearray) -> None:
    stamp(records, 0, partition.log.log_end_offset, 6)
    partition.log.append_as_follower(memoryview(records))


async def test_the_leader_sends_a_consumer_to_the_follower_in_its_rack_without_records(stage) -> None:
    stage.append(b"a")
    for replica in (2, 3):
        stage.fetch([(ORDERS, 1, {"log_start_offset": 0})], replica=replica, max_wait=0)
    found = only(consume(stage, 0, rack_id="b", max_wait=60_000))
    assert (found.preferred_read_replica, found.records, found.high_watermark) == (2, b"", 1)
    assert only(consume(stage, 0, rack_id="a")).preferred_read_replica == -1
    assert only(consume(stage, 0, rack_id="a")).records


async def test_a_consumer_without_a_rack_stays(stage) -> None:
    stage.append(b"a")
    stage.fetch([(ORDERS, 1, {"log_start_offset": 0})], max_wait=0)
    assert only(consume(stage, 0)).preferred_read_replica == -1


async def test_a_follower_serves_what_it_knows_to_be_committed(stage) -> None:
    follow(stage)
    replicate(stage, b"a", b"b", high_watermark=0)
    replicate(stage, b"c", high_watermark=2)
    found = only(consume(stage, 0))
    assert [record.offset for record in iter_records(found.records)] == [0, 1]
    assert (found.error_code, found.high_watermark, found.last_stable_offset) == (0, 2, 2)


async def test_a_follower_that_is_behind_answers_nothing_or_that_it_is_not_there_yet(stage) -> None:
    follow(stage)
    replicate(stage, b"a", b"b", high_watermark=1)
    found = only(consume(stage, 2))
    assert (found.error_code, found.records) == (0, b"")
    assert only(consume(stage, 3)).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    beyond = stage.fetch(
        [(ORDERS, 3, {"last_fetched_epoch": 0})], replica=-1, replica_epoch=-1, listener="client", max_wait=0
    )
    assert only(beyond).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


async def test_a_consumer_at_a_follower_is_woken_when_that_hears_of_the_commit(stage) -> None:
    follow(stage)
    replicate(stage, b"a", high_watermark=0)
    parked = consume(stage, 0, max_wait=60_000)
    assert isinstance(parked, Pending)
    replicate(stage, high_watermark=1)
    stage.manager.wake_long_polls()
    assert only(await parked.answer()).records


async def test_a_consumer_at_a_follower_is_told_when_it_follows_another_or_leads(stage) -> None:
    follow(stage)
    answer = consume(stage, 0, session_epoch=0)
    parked = stage.fetch(
        session_id=answer.session_id,
        session_epoch=1,
        replica=-1,
        replica_epoch=-1,
        listener="client",
        max_wait=60_000,
    )
    stage.show_topics(orders(leader=-1, epoch=7, version=2, isr=(2,)))
    assert only(await parked.answer()).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_epochs_are_compared_at_a_follower_as_well(stage) -> None:
    follow(stage)
    for epoch, code in ((5, ErrorCode.FENCED_LEADER_EPOCH), (7, ErrorCode.UNKNOWN_LEADER_EPOCH), (6, ErrorCode.NONE)):
        answer = stage.fetch(
            [(ORDERS, 0, {"current_leader_epoch": epoch})],
            replica=-1,
            replica_epoch=-1,
            listener="client",
            max_wait=0,
        )
        assert only(answer).error_code == code


async def test_readers_of_committed_records_are_told_at_a_follower_what_was_aborted_and_wait_for_the_rest(
    stage,
) -> None:
    follow(stage)
    partition = stage.manager.find("orders", 0)
    transactional = {"producer_epoch": 0, "base_sequence": 0, "is_transactional": True}
    replicate(stage, b"a", high_watermark=0, producer_id=7, **transactional)
    replicate(stage, b"b", high_watermark=0, producer_id=8, **transactional)
    marker = {"producer_epoch": 0, "coordinator_epoch": 0, "timestamp_ms": stage.clock.wall_ms()}
    append(partition, build_marker(producer_id=7, commit=False, **marker))
    replicate(stage, high_watermark=2)
    assert only(consume(stage, 0, isolation_level=1)).last_stable_offset == 0, "the marker is not committed"
    parked = consume(stage, 0, isolation_level=1, max_wait=60_000)
    replicate(stage, high_watermark=3)
    stage.manager.wake_long_polls()
    found = only(await parked.answer())
    assert (found.last_stable_offset, found.high_watermark) == (1, 3)
    assert [(one.producer_id, one.first_offset) for one in found.aborted_transactions] == [(7, 0)]
    append(partition, build_marker(producer_id=8, commit=True, **marker))
    replicate(stage, high_watermark=4)
    found = only(consume(stage, 0, isolation_level=1))
    assert found.last_stable_offset == 4
    assert [(one.producer_id, one.first_offset) for one in found.aborted_transactions] == [(7, 0)]
