"""One partition: who is told when, and what readers may see."""

from __future__ import annotations

import asyncio
import errno
import gc
import threading

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.partition.driver import FutureWaiter
from broker.partition.state import ProposeIsr
from tests.partition.stage import NODE, Stage, image_of, partition_image, topic_image
from tests.support.topics import batch
from tests.support.wait import eventually


class Waiter:
    def __init__(self, *, patient: bool = False) -> None:
        self.patient = patient
        self.done = False
        self.told: list[tuple[int, ErrorCode]] = []

    def on_committed(self, slot: int) -> None:
        self.told.append((slot, ErrorCode.NONE))

    def on_commit_failed(self, slot: int, code: ErrorCode) -> None:
        self.told.append((slot, code))


class Poll:
    def __init__(self) -> None:
        self.told: list[int] = []

    def on_data(self, byte_count: int) -> None:
        self.told.append(byte_count)


@pytest.fixture
async def flush_stage():
    stage = Stage(OTTLA_ACK_DURABILITY="flush")
    stage.show(image_of(topic_image("orders")))
    yield stage
    await stage.close()


@pytest.fixture
async def os_stage():
    stage = Stage(OTTLA_ACK_DURABILITY="os")
    stage.show(image_of(topic_image("orders")))
    yield stage
    await stage.close()


async def test_with_os_an_append_is_committed_at_once(os_stage) -> None:
    append = os_stage.append(b"a", b"b")
    assert os_stage.partition().committed_offset == 2
    assert not os_stage.partition().park(append.last_offset, Waiter(), 0)


async def test_with_flush_the_reader_sees_it_at_once_and_the_producer_is_told_after_the_disk(flush_stage) -> None:
    gate = threading.Event()
    hold_datasync(flush_stage, gate)
    append = flush_stage.append(b"a")
    partition = flush_stage.partition()
    waiter = Waiter()
    assert partition.park(append.last_offset, waiter, 5)
    assert partition.high_watermark == 1
    assert partition.read(0, 1_000)
    assert partition.committed_offset == 0
    await asyncio.sleep(0.02)
    assert waiter.told == []
    gate.set()
    await told(waiter)
    assert waiter.told == [(5, ErrorCode.NONE)]
    assert partition.committed_offset == 1


def hold_datasync(stage: Stage, gate: threading.Event) -> None:
    def fault(operation: str, path: str) -> None:
        if operation == "sync":
            assert gate.wait(5)

    stage.filesystem.fault = fault


async def told(waiter: Waiter) -> None:
    await eventually(lambda: waiter.told)


async def test_acks_1_never_causes_a_flush(flush_stage) -> None:
    flush_stage.append(b"a", acks=1)
    await asyncio.sleep(0.02)
    assert flush_stage.partition().log.flushed_offset == 0


async def test_waiters_are_released_in_order_and_only_when_due(flush_stage) -> None:
    partition = flush_stage.partition()
    order: list[int] = []

    class Ordered(Waiter):
        def on_committed(self, slot: int) -> None:
            order.append(slot)
            super().on_committed(slot)

    waiters = [Ordered() for _ in range(5)]
    for number, waiter in enumerate(waiters):
        partition.park(flush_stage.append(b"x").last_offset, waiter, number)
    await told(waiters[-1])
    assert order == [0, 1, 2, 3, 4]


async def test_a_retry_of_an_old_batch_waits_without_disturbing_the_order(flush_stage) -> None:
    partition = flush_stage.partition()
    first = flush_stage.append(b"a").last_offset
    waiters = [Waiter(), Waiter()]
    partition.park(flush_stage.append(b"b").last_offset, waiters[0], 0)
    assert partition.park(first, waiters[1], 0)
    await told(waiters[1])
    assert waiters[0].told == waiters[1].told == [(0, ErrorCode.NONE)]


async def test_a_future_for_code_that_awaits(flush_stage) -> None:
    offset = flush_stage.append(b"a").last_offset
    await asyncio.wait_for(flush_stage.partition().wait_committed(offset), 5)
    assert flush_stage.partition().wait_committed(offset).done()


async def test_a_failed_fsync_fails_what_waits_and_what_comes(flush_stage) -> None:
    def fault(operation: str, path: str) -> None:
        if operation == "sync":
            raise OSError(errno.EIO, "Input/output error")

    flush_stage.filesystem.fault = fault
    waiter = Waiter()
    flush_stage.partition().park(flush_stage.append(b"a").last_offset, waiter, 1)
    await told(waiter)
    assert waiter.told == [(1, ErrorCode.KAFKA_STORAGE_ERROR)]
    flush_stage.filesystem.fault = None
    with pytest.raises(KafkaError) as refusal:
        flush_stage.append(b"b")
    assert refusal.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    assert "Input/output error" in flush_stage.manager.statistics().offline_log_dir_reason
    assert flush_stage.manager.refuse_produce_reason()


async def test_acks_all_is_refused_before_anything_is_written(os_stage) -> None:
    alone = partition_image(replicas=(NODE, NODE + 1), isr=(NODE,), version=1)
    os_stage.show(image_of(topic_image("orders", alone, min_insync_replicas="2")))
    with pytest.raises(KafkaError) as refusal:
        os_stage.append(b"a")
    assert refusal.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
    assert os_stage.partition().log.log_end_offset == 0
    os_stage.append(b"a", acks=1)
    assert os_stage.partition().log.log_end_offset == 1


async def test_an_append_under_an_old_epoch_is_fenced(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", partition_image(epoch=4))))
    partition = os_stage.partition()
    with pytest.raises(KafkaError) as refusal:
        partition.append(memoryview(b""), acks=1, now_ms=0, leader_epoch=3)
    assert refusal.value.code is ErrorCode.FENCED_LEADER_EPOCH


async def test_long_polls_are_told_how_much_came(os_stage) -> None:
    poll = Poll()
    os_stage.partition().add_fetch_waiter(poll, 0)
    append = os_stage.append(b"hello")
    os_stage.partition().remove_fetch_waiter(poll)
    os_stage.append(b"unheard")
    assert poll.told == [append.byte_count]


async def test_reads_end_at_the_high_watermark(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", partition_image(replicas=(1, 2), epoch=1))))
    os_stage.append(b"a")
    partition = os_stage.partition()
    assert (partition.high_watermark, partition.log.log_end_offset) == (0, 1)
    assert list(partition.read(0, 1_000)) == []
    assert list(partition.read(1, 1_000)) == [], "not an error: it will be visible"
    with pytest.raises(KafkaError) as refusal:
        partition.read(2, 1_000)
    assert refusal.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
    partition.perform(partition.state.on_follower_fetch(2, 1, now_ms=1))
    assert partition.high_watermark == 1
    assert partition.read(0, 1_000)


async def test_the_last_stable_offset_waits_until_the_marker_is_replicated(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", partition_image(replicas=(1, 2), epoch=1))))
    partition = os_stage.partition()
    now_ms = os_stage.clock.wall_ms()
    data = batch(b"x", timestamp=now_ms, producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True)
    os_stage.append(b"before")
    partition.append(memoryview(data), acks=-1, now_ms=now_ms)
    partition.append_transaction_marker(
        producer_id=7, producer_epoch=0, coordinator_epoch=0, commit=True, now_ms=now_ms
    )
    os_stage.append(b"after")
    seen = []
    for replicated in range(5):
        partition.perform(partition.state.on_follower_fetch(2, replicated, now_ms=replicated + 1))
        seen.append((partition.high_watermark, partition.last_stable_offset))
    assert seen == [(0, 0), (1, 1), (2, 1), (3, 3), (4, 4)]
    assert [len(partition.read(1, 1_000, isolation_level=level)) for level in (0, 1)] == [1, 1]


async def test_isr_proposals_reach_the_owner(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", partition_image(replicas=(1, 2), isr=(1,), epoch=1))))
    partition = os_stage.partition()
    proposals: list[ProposeIsr] = []
    partition._on_propose_isr = lambda _, proposal: proposals.append(proposal)
    partition.perform(partition.state.on_follower_fetch(2, 0, now_ms=1))
    assert [proposal.isr for proposal in proposals] == [frozenset({1, 2})]


# flush.messages and flush.ms ------------------------------------------------------------------------


async def test_flush_messages_1_has_every_append_wait_for_the_disk(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", flush_messages="1")))
    partition = os_stage.partition()
    for count in (1, 2):
        append = os_stage.append(b"a", acks=1)
        assert partition.flush_is_forced
        assert partition.committed_offset == append.base_offset
        await partition.wait_committed(append.last_offset)
        assert (partition.log.flushed_offset, partition.flush_is_forced) == (count, False)


async def test_flush_messages_counts_records_since_the_last_flush(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", flush_messages="3")))
    partition = os_stage.partition()
    os_stage.append(b"a", b"b")
    assert (partition.flush_is_forced, partition.committed_offset) == (False, 2)
    os_stage.append(b"c", b"d")
    assert (partition.flush_is_forced, partition.committed_offset) == (True, 0)
    await partition.wait_committed(3)
    os_stage.append(b"e", b"f")
    assert (partition.flush_is_forced, partition.committed_offset) == (False, 6)
    os_stage.append(b"g")
    assert partition.flush_is_forced


async def test_flush_messages_flushes_also_when_nobody_waits(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", flush_messages="1")))
    os_stage.append(b"a", acks=0)
    await eventually(lambda: os_stage.partition().log.flushed_offset == 1)


async def test_a_topic_without_flush_messages_is_never_forced(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", flush_messages="1")))
    os_stage.show(image_of(topic_image("orders")))
    os_stage.append(b"a")
    assert not os_stage.partition().flush_is_forced


async def test_flush_ms_flushes_what_lies_there_for_so_long_and_only_in_that_topic(os_stage) -> None:
    os_stage.show(image_of(topic_image("orders", flush_ms="5000"), topic_image("others", number=2)))
    os_stage.clock.advance(10_000)
    os_stage.manager._on_tick()
    os_stage.append(b"a")
    os_stage.append(b"a", topic="others")
    os_stage.clock.advance(4_000)
    os_stage.manager._on_tick()
    await asyncio.sleep(0)
    assert os_stage.partition().log.flushed_offset == 0
    os_stage.clock.advance(1_500)
    os_stage.manager._on_tick()
    await eventually(lambda: os_stage.partition().log.flushed_offset == 1)
    assert os_stage.partition("others").log.flushed_offset == 0


async def test_with_flush_an_acknowledgement_needs_the_own_disk_and_every_in_sync_replica(flush_stage) -> None:
    flush_stage.show(image_of(topic_image("orders", partition_image(epoch=1, replicas=(1, 2), version=1))))
    partition, gate = flush_stage.partition(), threading.Event()
    hold_datasync(flush_stage, gate)
    waiter = Waiter()
    assert partition.park(flush_stage.append(b"a").last_offset, waiter, 0)
    partition.perform(partition.state.on_follower_fetch(2, 1, now_ms=1))
    assert (partition.high_watermark, partition.committed_offset, waiter.told) == (1, 0, [])
    gate.set()
    await told(waiter)
    assert partition.park(flush_stage.append(b"b").last_offset, waiter, 1)
    await eventually(lambda: partition.log.flushed_offset == 2)
    assert (partition.committed_offset, len(waiter.told)) == (1, 1)
    partition.perform(partition.state.on_follower_fetch(2, 2, now_ms=2))
    assert waiter.told == [(0, ErrorCode.NONE), (1, ErrorCode.NONE)]


async def test_a_commit_that_fails_when_nobody_waits_for_it_any_more_is_no_fault() -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: faults.append(context))
    waiter = FutureWaiter(asyncio.get_running_loop().create_future())

    waiter.on_commit_failed(0, ErrorCode.NOT_LEADER_OR_FOLLOWER)
    del waiter
    gc.collect()

    assert faults == []
