"""Followers fetch: to the log end, as proof of what they have, told soon of what is committed."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from broker import limits
from broker.errors import ErrorCode
from broker.handlers import delete_records
from broker.handlers.context import ConnectionInfo, Request
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from tests.handlers.replica_stage import REPLICA_EPOCH, LeaderStage, Pending, broker_image, only
from tests.partition.stage import partition_image, topic_image
from tests.partition.test_driver import Waiter

ORDERS, BILLS = b"\1" * 16, b"\2" * 16


@pytest.fixture
async def stage():
    stage = LeaderStage()
    stage.show_topics(orders())
    yield stage
    await stage.close()


def orders(**partition):
    partition = {"replicas": (1, 2, 3), "epoch": 5, **partition}
    return topic_image("orders", partition_image(**partition))


def offsets(result) -> list[int]:
    return [record.offset for record in iter_records(result.records or b"")]


def at(offset: int, topic_id: bytes = ORDERS, **options):
    return topic_id, offset, {"current_leader_epoch": 5, **options}


def begin_session(stage: LeaderStage, *entries, **fields):
    """A session of a follower that has what there is."""
    answer = stage.fetch(entries, session_epoch=0, max_wait=0, **fields)
    assert answer.session_id > 0
    return answer.session_id


async def test_a_follower_reads_what_is_not_committed_and_its_next_fetch_commits_it(stage) -> None:
    stage.append(b"a", b"b")
    found = only(stage.fetch([at(0)]))
    assert (offsets(found), found.high_watermark) == ([0, 1], 0)
    waiter = Waiter()
    assert stage.partition().park(1, waiter, 0)
    stage.fetch([at(2)], max_wait=0)
    assert waiter.told == []
    found = only(stage.fetch([at(2)], replica=3, max_wait=0))
    assert waiter.told == [(0, ErrorCode.NONE)]
    assert found.high_watermark == 2


async def test_an_append_answers_parked_followers_at_once(stage) -> None:
    session = begin_session(stage, at(0))
    parked = stage.fetch(session_id=session, session_epoch=1)
    assert isinstance(parked, Pending)
    stage.append(b"a")
    stage.manager.wake_long_polls()
    assert parked.answered
    assert offsets(only(await parked.answer())) == [0]


async def test_a_high_watermark_that_moved_alone_is_told_a_little_later(stage) -> None:
    stage.append(b"a")
    first = begin_session(stage, at(1))
    parked = stage.fetch(session_id=first, session_epoch=1, max_wait=60_000)
    begin_session(stage, at(1), replica=3)
    stage.manager.wake_long_polls()
    assert not parked.answered
    found = only(await parked.answer())
    assert (found.high_watermark, offsets(found)) == (1, [])
    parked = stage.fetch(session_id=first, session_epoch=2, max_wait=50)
    assert (await parked.answer()).responses == [], "it was told"


async def test_a_high_watermark_travels_with_records_that_come_first(stage) -> None:
    stage.append(b"a")
    session = begin_session(stage, at(1))
    parked = stage.fetch(session_id=session, session_epoch=1, max_wait=60_000)
    begin_session(stage, at(1), replica=3)
    stage.append(b"b")
    stage.manager.wake_long_polls()
    found = only(await parked.answer())
    assert (found.high_watermark, offsets(found)) == (1, [1])


async def test_a_fetch_that_raised_the_high_watermark_itself_hears_of_it(stage) -> None:
    stage.append(b"a")
    begin_session(stage, at(1), replica=3)
    session = begin_session(stage, at(0))
    parked = stage.fetch([at(1)], session_id=session, session_epoch=1, max_wait=60_000)
    assert only(await parked.answer()).high_watermark == 1


async def test_an_idle_session_costs_nothing_and_hears_nothing(stage) -> None:
    session = begin_session(stage, at(0))
    parked = stage.fetch(session_id=session, session_epoch=1, max_wait=30)
    assert (await parked.answer()).responses == []


async def test_a_follower_may_wait_however_many_clients_do(stage) -> None:
    session = begin_session(stage, at(0))
    stage.manager.parked_fetch_partitions = limits.PARKED_FETCH_PARTITIONS_MAX
    stage.append(b"a")
    stage.fetch(session_id=session, session_epoch=1)
    parked = stage.fetch([at(1)], session_id=session, session_epoch=2, max_wait=30)
    assert isinstance(parked, Pending)
    await parked.answer()


async def test_log_ends_of_a_parked_request_are_believed_once(stage) -> None:
    """What a follower said when it asked says nothing about what was appended while it waited."""
    session = begin_session(stage, at(0))
    parked = stage.fetch(session_id=session, session_epoch=1)
    stage.append(b"a")
    stage.manager.wake_long_polls()
    await parked.answer()
    assert stage.partition().state.followers[2].log_end_offset == 0


async def test_a_follower_that_has_everything_is_proposed_for_the_in_sync_set(stage) -> None:
    stage.show_topics(orders(isr=(1, 2), version=1))
    stage.append(b"a")
    stage.fetch([at(1)], max_wait=0)
    stage.fetch([at(1)], replica=3, max_wait=0)
    assert stage.proposals == [("orders", frozenset({1, 2, 3}))]


@pytest.mark.parametrize("epoch", [REPLICA_EPOCH + 4, -1], ids=["a registration not known here yet", "none"])
async def test_who_is_not_known_to_be_alive_is_not_proposed(stage, epoch) -> None:
    stage.show_topics(orders(isr=(1, 2), version=1))
    assert only(stage.fetch([at(0)], replica=3, replica_epoch=epoch, max_wait=0)).error_code == 0
    assert stage.proposals == []


async def test_who_is_about_to_stop_is_not_proposed(stage) -> None:
    stage.show_topics(orders(isr=(1, 2), version=1), stopping=frozenset({3}))
    assert only(stage.fetch([at(0)], replica=3, max_wait=0)).error_code == 0
    assert stage.proposals == []


async def test_a_former_registration_is_fenced(stage) -> None:
    stage.append(b"a")
    found = only(stage.fetch([at(1)], replica_epoch=REPLICA_EPOCH + 1))
    assert found.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert stage.partition().state.followers[2].log_end_offset == -1


async def test_who_is_no_replica_is_told_that_leader_and_follower_disagree(stage) -> None:
    assert only(stage.fetch([at(0)], replica=9)).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    found = only(stage.fetch([at(0, current_leader_epoch=-1)], replica=9))
    assert found.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


async def test_leader_epochs_are_compared_before_anything_is_believed(stage) -> None:
    stage.append(b"a")
    assert only(stage.fetch([at(1, current_leader_epoch=4)])).error_code == ErrorCode.FENCED_LEADER_EPOCH
    assert only(stage.fetch([at(1, current_leader_epoch=6)])).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    assert stage.partition().state.followers[2].log_end_offset == -1


async def test_a_log_that_left_ours_is_told_where_and_counts_for_nothing(stage) -> None:
    stage.append(b"a", b"b")
    stage.show_topics(orders(epoch=7, version=1))
    stage.append(b"c")
    entry = (ORDERS, 3, {"current_leader_epoch": 7, "last_fetched_epoch": 6})
    found = only(stage.fetch([entry]))
    assert (found.diverging_epoch.epoch, found.diverging_epoch.end_offset) == (5, 2)
    assert (found.error_code, offsets(found)) == (0, [])
    assert stage.partition().state.followers[2].log_end_offset == -1


@pytest.mark.parametrize("offset", [0, 9], ids=["before the start", "behind the end"])
async def test_out_of_range_comes_with_what_the_leader_has(stage, offset) -> None:
    stage.append(b"a", b"b")
    for replica in (2, 3):
        stage.fetch([at(2)], replica=replica, max_wait=0)
    stage.partition().log.advance_log_start(1)
    found = only(stage.fetch([at(offset)]))
    assert (found.error_code, found.log_start_offset, found.high_watermark) == (ErrorCode.OFFSET_OUT_OF_RANGE, 1, 2)
    assert stage.partition().state.followers[2].log_end_offset == 2


async def test_the_first_batch_is_whole_and_the_limits_of_slow_consumers_are_not_a_followers(stage) -> None:
    stage.append(b"x" * 200_000)
    stage.append(b"y" * 200_000)
    stage.manager.limit_answers(1 << 40)
    assert offsets(only(stage.fetch([at(0, partition_max_bytes=1)]))) == [0]
    assert offsets(only(stage.fetch([at(0)]))) == [0, 1]


async def test_everybody_gets_a_turn(stage) -> None:
    bills = topic_image("bills", partition_image(replicas=(1, 2, 3), epoch=5), number=2)
    stage.show_topics(orders(), bills)
    session = begin_session(stage, at(0), at(0, BILLS))
    for topic in ("orders", "bills"):
        stage.append(b"x" * 1_000, topic=topic)
        stage.append(b"x" * 1_000, topic=topic)
    answers = []
    for epoch in (1, 2):
        answer = stage.fetch(session_id=session, session_epoch=epoch, max_bytes=100)
        answers.append([topic.topic_id for topic in answer.responses])
    assert answers == [[ORDERS], [BILLS]]


async def test_a_replica_id_is_believed_on_the_internal_listener_only(stage) -> None:
    stage.append(b"a")
    found = only(stage.fetch([at(1)], listener="client"))
    assert found.error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert stage.partition().state.followers[2].log_end_offset == -1
    session = begin_session(stage, at(1))
    answer = stage.fetch(session_id=session, session_epoch=1, listener="client")
    assert answer.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


async def test_a_leader_that_resigned_says_so_to_those_who_wait(stage) -> None:
    session = begin_session(stage, at(0))
    parked = stage.fetch(session_id=session, session_epoch=1, max_wait=60_000)
    stage.show_topics(orders(leader=3, epoch=6, version=1))
    found = only(await parked.answer())
    assert found.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert (found.current_leader.leader_id, found.current_leader.leader_epoch) == (3, 6)


async def test_bytes_for_followers_are_counted_apart(stage) -> None:
    stage.append(b"a" * 100)
    found = only(stage.fetch([at(0)]))
    partition = stage.partition()
    assert (partition.replica_bytes_out_total, partition.bytes_out_total) == (len(found.records), 0)


async def test_a_broker_that_registered_again_may_join_with_its_new_registration(stage) -> None:
    stage.show_topics(orders(isr=(1, 2), version=1))
    stage.brokers[3] = broker_image(3, epoch=200)
    stage.show_topics(orders(isr=(1, 2), version=1))
    stage.fetch([at(0)], replica=3, replica_epoch=200, max_wait=0)
    assert stage.proposals == [("orders", frozenset({1, 2, 3}))]
    assert stage.partition().state.followers[3].broker_epoch == 200


def throttled_orders(**partition):
    partition = {"replicas": (1, 2, 3), "epoch": 5, **partition}
    return topic_image("orders", partition_image(**partition), leader_replication_throttled_replicas="0:1")


async def test_a_follower_out_of_sync_is_held_to_the_rate_and_one_in_sync_is_not(stage) -> None:
    stage.show_topics(throttled_orders(isr=(1, 2), version=1))
    stage.append(b"x" * 10_000)
    stage.throttle.configure(500)
    assert offsets(only(stage.fetch([at(0)], replica=3))) == [0]
    stage.append(b"y")
    parked = stage.fetch([at(1)], replica=3, max_wait=20)
    assert isinstance(parked, Pending)
    assert offsets(only(await parked.answer())) == []
    assert offsets(only(stage.fetch([at(1)], replica=2))) == [1]
    stage.clock.advance(30_000)
    assert offsets(only(stage.fetch([at(1)], replica=3))) == [1]


async def test_partitions_that_their_topic_does_not_name_are_not_counted(stage) -> None:
    stage.show_topics(orders(isr=(1, 2), version=1))
    stage.throttle.configure(0)
    stage.append(b"a")
    assert offsets(only(stage.fetch([at(0)], replica=3))) == [0]
    assert stage.throttle.bytes_total == 0


async def test_records_are_deleted_when_every_live_follower_begins_behind_them(stage) -> None:
    stage.append(b"a", b"b")
    for replica in (2, 3):
        stage.fetch([at(2, log_start_offset=0)], replica=replica, max_wait=0)
    deleting = asyncio.ensure_future(delete_before(stage, 1, timeout_ms=60_000))
    await asyncio.sleep(0)
    stage.fetch([at(2, log_start_offset=1)], replica=2, max_wait=0)
    del stage.brokers[3]
    stage.show_topics(orders(version=1))
    assert await deleting == (ErrorCode.NONE, 1)
    assert await delete_before(stage, 1, timeout_ms=0) == (ErrorCode.NONE, 1), "never backwards"


async def test_a_follower_that_keeps_deleted_records_too_long_is_told_of(stage) -> None:
    stage.append(b"a", b"b")
    for replica in (2, 3):
        stage.fetch([at(2, log_start_offset=0)], replica=replica, max_wait=0)
    assert await delete_before(stage, 1, timeout_ms=0) == (ErrorCode.REQUEST_TIMED_OUT, -1)
    assert stage.partition().log.log_start_offset == 1
    stage.show_topics(orders(leader=2, epoch=6, version=1))
    assert await delete_before(stage, 1, timeout_ms=0) == (ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)


async def delete_before(stage: LeaderStage, offset: int, *, timeout_ms: int) -> tuple[int, int]:
    r = m.DeleteRecordsRequest
    entry = r.DeleteRecordsPartition(partition_index=0, offset=offset)
    message = r(topics=[r.DeleteRecordsTopic(name="orders", partitions=[entry])], timeout=timeout_ms)
    connection = ConnectionInfo(1, "127.0.0.1", 1, "client")
    request = Request(ApiKey.DELETE_RECORDS, 2, 1, None, memoryview(b""), connection)
    answer = delete_records.handle(request, message, stage.services)
    if inspect.isawaitable(answer):
        answer = await answer
    [topic] = answer.topics
    [result] = topic.partitions
    return result.error_code, result.low_watermark


async def test_a_log_start_that_moved_is_told_a_little_later(stage) -> None:
    stage.append(b"a", b"b")
    for replica in (2, 3):
        stage.fetch([at(2)], replica=replica, max_wait=0)
    session = begin_session(stage, at(2))
    parked = stage.fetch(session_id=session, session_epoch=1, max_wait=60_000)
    stage.partition().log.advance_log_start(2)
    stage.partition().wake_fetch_waiters()
    assert only(await parked.answer()).log_start_offset == 2
