"""Following a leader over a connection in memory: what is copied, what is told, what happens when something fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace

import pytest

from broker.errors import ErrorCode
from broker.partition.flush import FlushScheduler
from broker.replication.follower import Phase
from tests.partition.stage import NODE
from tests.replication.stage import EPOCH, LEADER, Following, broker_image, contents
from tests.storage.support import batch
from tests.support.wait import eventually


@pytest.fixture
async def following():
    stage = Following(OTTLA_ACK_DURABILITY="os", OTTLA_REPLICA_FETCH_BACKOFF_MS="20")
    yield stage
    await stage.close()


async def test_a_follower_copies_what_its_leader_has_and_gets_byte_for_byte(following) -> None:
    [leader] = following.leader_logs
    following.leader.append(leader, b"before")
    following.follow()
    await following.caught_up()
    following.leader.append(leader, b"after", b"that")
    await following.caught_up()
    [partition] = following.partitions
    assert contents(partition.log) == contents(leader)
    assert partition.log.epochs() == leader.epochs()
    assert partition.high_watermark == 3
    assert partition.lag == 0


async def test_the_next_request_says_where_the_log_ends_and_under_which_epoch(following) -> None:
    following.follow()
    following.leader.append(following.leader_logs[0], b"a", b"b")
    await following.caught_up()
    await eventually(lambda: following.leader.requests[-1].topics)
    fetch = following.leader.requests[-1]
    [(_, _, [entry])] = fetch.topics
    assert (entry.fetch_offset, entry.last_fetched_epoch, entry.current_leader_epoch) == (2, EPOCH, EPOCH)
    assert (fetch.replica_id, fetch.replica_epoch) == (NODE, 11)


async def test_quiet_partitions_are_named_once() -> None:
    stage = Following(partitions=50, OTTLA_ACK_DURABILITY="os")
    stage.follow()
    stage.leader.append(stage.leader_logs[7], b"a")
    await stage.caught_up()
    stage.leader.append(stage.leader_logs[7], b"b")
    await stage.caught_up()
    first, *others = stage.leader.requests
    assert len(first.topics[0][2]) == 50
    assert all(len(entries) == 1 for fetch in others for _, _, entries in fetch.topics)
    await stage.close()


async def test_readers_of_a_follower_are_woken_when_its_high_watermark_moves(following) -> None:
    class Poll:
        told = 0

        def on_data(self, byte_count: int) -> None:
            self.told += 1

    poll = Poll()
    [partition], [leader] = following.partitions, following.leader_logs
    following.follow()
    following.leader.append(leader, b"a", committed=False)
    await following.caught_up()
    partition.add_fetch_waiter(poll, 0)
    assert partition.high_watermark == 0
    following.leader.commit(leader)
    following.leader.wake()
    await eventually(lambda: partition.high_watermark == 1)
    assert poll.told == 1


async def test_with_flush_an_offset_is_asked_for_only_when_all_before_it_is_on_disk() -> None:
    stage = Following(OTTLA_ACK_DURABILITY="flush")
    gate, syncing = threading.Event(), threading.Event()

    def fault(operation: str, path: str) -> None:
        if operation == "sync" and path.endswith(".log"):
            syncing.set()
            assert gate.wait(20)

    stage.stage.filesystem.fault = fault
    stage.follow()
    await eventually(lambda: stage.leader.requests)
    stage.leader.append(stage.leader_logs[0], b"a")
    await stage.caught_up()
    await eventually(syncing.is_set)
    told = len(stage.leader.requests)
    await asyncio.sleep(0.02)
    assert len(stage.leader.requests) == told
    gate.set()
    await eventually(lambda: len(stage.leader.requests) > told)
    [(_, _, [entry])] = stage.leader.requests[-1].topics
    assert entry.fetch_offset == 1 == stage.partitions[0].log.flushed_offset
    await stage.close()


async def test_with_flush_all_that_one_answer_brought_shares_a_round(monkeypatch) -> None:
    stage = Following(partitions=20, OTTLA_ACK_DURABILITY="flush")
    for log in stage.leader_logs:
        stage.leader.append(log, b"a")
    scheduler: FlushScheduler = stage.stage.manager._flush
    stage.follow()
    await stage.caught_up()
    await eventually(lambda: all(p.log.flushed_offset == 1 for p in stage.partitions))
    await eventually(lambda: len(stage.leader.requests) == 2)
    assert scheduler.statistics().rounds_total <= 2
    assert [entry.fetch_offset for entry in stage.leader.requests[1].topics[0][2]] == [1] * 20
    await stage.close()


async def test_a_tail_that_the_leader_never_had_is_cut_by_epoch(following, caplog) -> None:
    [partition], [leader] = following.partitions, following.leader_logs
    following.leader.append(leader, b"shared", epoch=1)
    partition.log.append_as_follower(memoryview(contents(leader)))
    partition.log.append_as_follower(memoryview(batch(b"alone", base_offset=1, leader_epoch=1)))
    following.leader.append(leader, b"new", b"newer", epoch=EPOCH)
    with caplog.at_level(logging.ERROR):
        following.follow()
        await following.caught_up()
    assert contents(partition.log) == contents(leader)
    assert partition.log.epochs() == leader.epochs() == [(1, 0), (EPOCH, 1)]
    assert not caplog.records, "nothing that was committed is lost"


async def test_a_cut_below_the_high_watermark_is_told_loudly(following, caplog) -> None:
    [partition], [leader] = following.partitions, following.leader_logs
    following.leader.append(leader, b"shared", epoch=1)
    partition.log.append_as_follower(memoryview(contents(leader)))
    partition.log.append_as_follower(memoryview(batch(b"acknowledged", base_offset=1, leader_epoch=1)))
    partition.state.on_leader_high_watermark(2, 2)
    following.leader.append(leader, b"new", epoch=EPOCH)
    with caplog.at_level(logging.ERROR):
        following.follow()
        await eventually(lambda: contents(partition.log) == contents(leader))
    assert "1 records below our high watermark 2" in caplog.text


async def test_a_log_that_ends_before_its_leader_starts_begins_anew_there(following) -> None:
    [partition], [leader] = following.partitions, following.leader_logs
    following.leader.append(leader, b"a", epoch=1)
    partition.log.append_as_follower(memoryview(contents(leader)))
    for value in (b"b", b"c", b"d"):
        following.leader.append(leader, value)
    leader.advance_log_start(3)
    following.follow()
    await following.caught_up()
    await eventually(lambda: partition.log.log_start_offset == 3)
    assert contents(partition.log) == contents(leader)


async def test_a_start_in_the_middle_of_a_batch_is_taken_with_the_whole_batch(following) -> None:
    [partition], [leader] = following.partitions, following.leader_logs
    following.leader.append(leader, b"a", epoch=1)
    partition.log.append_as_follower(memoryview(contents(leader)))
    following.leader.append(leader, b"b", b"c", b"d")
    leader.advance_log_start(2)
    following.follow()
    await following.caught_up()
    assert (partition.log.log_start_offset, partition.log.log_end_offset) == (2, 4)
    assert contents(partition.log) == contents(leader)


async def test_what_the_leader_deletes_is_deleted_here(following) -> None:
    [partition], [leader] = following.partitions, following.leader_logs
    following.follow()
    for value in (b"a", b"b", b"c"):
        following.leader.append(leader, value)
    await following.caught_up()
    leader.advance_log_start(3)
    following.leader.wake()
    await eventually(lambda: partition.log.log_start_offset == 3)
    assert partition.log.size_bytes == 0
    await eventually(
        lambda: any(e.log_start_offset == 3 for f in following.leader.requests for t in f.topics for e in t[2])
    )


@pytest.mark.parametrize(
    "error",
    [
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.UNKNOWN_TOPIC_ID,
    ],
)
async def test_a_refused_partition_pauses_alone_and_comes_back(error) -> None:
    stage = Following(partitions=2, OTTLA_ACK_DURABILITY="os", OTTLA_REPLICA_FETCH_BACKOFF_MS="20")
    ill = stage.partitions[0].topic_id, 0
    stage.leader.refusal = lambda key: error if key == ill else ErrorCode.NONE
    for log in stage.leader_logs:
        stage.leader.append(log, b"a")
    stage.follow()
    await stage.caught_up(1)
    await eventually(lambda: any(fetch.forgotten for fetch in stage.leader.requests))
    assert stage.partitions[0].log.log_end_offset == 0
    stage.leader.refusal = lambda key: ErrorCode.NONE
    await stage.caught_up(0)
    await stage.close()


async def test_a_new_epoch_ends_a_pause_at_once() -> None:
    stage = Following(OTTLA_ACK_DURABILITY="os", OTTLA_REPLICA_FETCH_BACKOFF_MS="60000")
    stage.leader.refusal = lambda key: ErrorCode.UNKNOWN_LEADER_EPOCH
    stage.leader.append(stage.leader_logs[0], b"a")
    stage.follow()
    replica = next(iter(stage.replication._replicas.values()))
    await eventually(lambda: replica.core.phase is Phase.DELAYED)
    replica.core.delay(2**60)
    stage.leader.refusal = lambda key: ErrorCode.NONE
    stage.follow(epoch=EPOCH + 1)
    await stage.caught_up(seconds=5)
    await stage.close()


@pytest.mark.parametrize(
    "error", [ErrorCode.FETCH_SESSION_ID_NOT_FOUND, ErrorCode.INVALID_FETCH_SESSION_EPOCH, ErrorCode.UNKNOWN_TOPIC_ID]
)
async def test_a_lost_session_is_begun_anew_on_the_same_connection(following, error) -> None:
    [leader] = following.leader_logs
    following.follow()
    following.leader.append(leader, b"a")
    await following.caught_up()
    following.leader.request_error = error
    following.leader.append(leader, b"b")
    following.leader.append(leader, b"c")
    await following.caught_up()
    assert len(following.leader.connections) == 1
    assert sum(fetch.session_epoch == 0 for fetch in following.leader.requests) == 2


async def test_a_leader_without_room_for_a_session_is_asked_in_full(following) -> None:
    following.leader.keeps_sessions = False
    following.follow()
    for value in (b"a", b"b", b"c"):
        following.leader.append(following.leader_logs[0], value)
        await following.caught_up()
    assert all(fetch.session_epoch == 0 for fetch in following.leader.requests)


async def test_a_lost_connection_is_made_again_and_nothing_is_missing(following) -> None:
    [leader] = following.leader_logs
    following.follow()
    following.leader.append(leader, b"a")
    await following.caught_up()
    following.leader.lose_connections()
    following.leader.append(leader, b"b")
    await following.caught_up()
    assert contents(following.partitions[0].log) == contents(leader)


async def test_a_leader_that_comes_back_elsewhere_is_met_at_once(following) -> None:
    following.leader.reachable = False
    following.follow()
    following.leader.append(following.leader_logs[0], b"a")
    link = following.replication._link(LEADER, catch_up=False)
    await eventually(lambda: link.failures_total >= 2)
    link._backoff_seconds = 3_600.0
    following.leader.reachable = True
    brokers = dict(following.image.brokers) | {LEADER: broker_image(LEADER, port=77, incarnation="again")}
    following.show(replace(following.image, brokers=brokers))
    await following.caught_up(seconds=5)


async def test_nobody_is_asked_while_the_leader_is_not_alive(following) -> None:
    brokers = {NODE: broker_image(NODE)}
    alive = following.image
    following.show(replace(alive, brokers=brokers))
    following.follow()
    following.leader.append(following.leader_logs[0], b"a")
    await asyncio.sleep(0.02)
    assert not following.leader.connections
    following.show(alive)
    await following.caught_up()


async def test_after_registering_anew_the_leader_hears_every_position_with_the_new_epoch(following) -> None:
    following.follow()
    following.leader.append(following.leader_logs[0], b"a")
    await following.caught_up()
    brokers = dict(following.image.brokers) | {NODE: broker_image(NODE, incarnation="again", epoch=99)}
    following.show(replace(following.image, brokers=brokers))
    await eventually(lambda: following.leader.requests[-1].replica_epoch == 99)
    fetch = next(fetch for fetch in following.leader.requests if fetch.replica_epoch == 99)
    assert [entry.fetch_offset for entry in fetch.topics[0][2]] == [1]


async def test_a_partition_that_is_added_while_a_poll_waits_is_asked_for_at_once() -> None:
    stage = Following(partitions=2, OTTLA_ACK_DURABILITY="os")
    stage.leader.append(stage.leader_logs[1], b"a")
    stage.follow(0)
    await eventually(lambda: len(stage.leader.requests) == 2 and stage.leader.connections[0].parked)
    stage.follow(1)
    await stage.caught_up(1, seconds=5)
    await stage.close()


async def test_nothing_is_appended_after_following_stopped(following) -> None:
    [partition], [leader] = following.partitions, following.leader_logs
    following.follow()
    await eventually(lambda: following.leader.requests)
    following.leader.append(leader, b"a")
    following.replication.on_stop_following(partition.topic_partition)
    await asyncio.sleep(0.02)
    assert partition.log.log_end_offset == 0
    assert partition.on_durable is None
    assert partition.lag == -1


async def test_nothing_is_followed_after_the_end(following) -> None:
    await following.replication.stop()
    following.follow()
    following.leader.append(following.leader_logs[0], b"a")
    await asyncio.sleep(0.02)
    assert not following.leader.connections


async def test_records_that_are_damaged_are_refused_and_asked_for_again(following, caplog) -> None:
    [partition], [leader] = following.partitions, following.leader_logs
    good = following.leader.result
    damage = [True]

    def result(key, entry):
        found = good(key, entry)
        if found.records and damage:
            damage.clear()
            broken = bytearray(b"".join(bytes(piece) for piece in found.records))
            broken[-1] ^= 1
            return found._replace(records=[broken])
        return found

    following.leader.result = result
    following.leader.append(leader, b"a")
    with caplog.at_level(logging.ERROR):
        following.follow()
        await following.caught_up()
    assert "corrupt" in caplog.text
    assert contents(partition.log) == contents(leader)


async def test_what_is_far_behind_catches_up_on_a_connection_of_its_own_and_comes_back() -> None:
    stage = Following(partitions=2, OTTLA_ACK_DURABILITY="os", OTTLA_REPLICA_FETCH_MAX_BYTES="2000")
    behind, fresh = stage.leader_logs
    for number in range(60):
        stage.leader.append(behind, b"%d" % number * 100)
    catch_up = stage.replication._link(LEADER, catch_up=True)
    seen = []
    stage.leader.append(fresh, b"x")
    stage.follow()
    await eventually(lambda: seen.append(len(catch_up.replicas)) or stage.partitions[0].log.log_end_offset == 60)
    await stage.caught_up()
    assert catch_up.fetches_total > 3
    live = stage.replication._link(LEADER, catch_up=False)
    await eventually(lambda: len(live.replicas) == 2)
    assert not catch_up.replicas
    assert contents(stage.partitions[0].log) == contents(behind)
    await stage.close()


async def test_a_throttled_replica_that_is_behind_waits_and_one_in_sync_does_not() -> None:
    stage = Following(
        partitions=2,
        OTTLA_ACK_DURABILITY="os",
        OTTLA_REPLICA_FETCH_MAX_BYTES="3000",
        OTTLA_FOLLOWER_REPLICATION_THROTTLED_RATE="20000",
    )
    for partition in stage.partitions:
        partition.log.config = replace(partition.log.config, follower_replication_throttled_replicas=(f"0:{NODE}",))
    behind, fresh = stage.leader_logs
    for number in range(60):
        stage.leader.append(behind, b"%d" % number * 500)
    stage.follow()
    await eventually(lambda: stage.replication.statistics().throttled_ms_total > 0)
    stage.leader.append(fresh, b"x")
    await stage.caught_up(1, seconds=5)
    assert stage.partitions[0].log.log_end_offset < 60
    await stage.close()


async def test_statistics_say_where_from_and_how_much(following) -> None:
    following.follow()
    following.leader.append(following.leader_logs[0], b"a")
    await following.caught_up()
    [source] = following.replication.statistics().sources
    assert (source.broker_id, source.connected, source.partitions, source.catching_up) == (LEADER, True, 1, 0)
    assert source.bytes_total > 60
    assert source.fetches_total >= 1
