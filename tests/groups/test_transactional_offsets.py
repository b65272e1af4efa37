"""Offsets committed in transactions, through the coordinator and its real records: pending, ended, read again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from broker.coordination.transaction import TransactionalProducer
from broker.errors import ErrorCode, KafkaError
from broker.groups.events import (
    CommitOffsets,
    CommitOffsetsInTransaction,
    CommitReply,
    FetchedOffset,
    Join,
    OffsetToCommit,
    Sync,
)
from broker.protocol import batch
from broker.types import OFFSETS_TOPIC, TopicPartition
from tests.groups.coordinator import World
from tests.groups.stage import subscription
from tests.support.wait import eventually

PRODUCER = 900


class Asked:
    """A transaction coordinator that says the same to everybody, and what happens while it is asked."""

    def __init__(self, answer: ErrorCode = ErrorCode.NONE) -> None:
        self.answer = answer
        self.partitions: list[TopicPartition] = []
        self.meanwhile: Any = None

    async def __call__(self, partition: TopicPartition) -> ErrorCode:
        self.partitions.append(partition)
        if self.meanwhile is not None:
            await self.meanwhile()
        return self.answer


class Transactions:
    """One world with one offsets partition, and short words for what a producer does in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked = Asked()

    async def commit(self, offset: int, *, partition: int = 0, producer: int = PRODUCER, epoch: int = 0) -> CommitReply:
        return await self.send(CommitOffsets(group_id="g", offsets=(offset_of(offset, partition),)), producer, epoch)

    async def send(self, commit: CommitOffsets, producer: int = PRODUCER, epoch: int = 0) -> CommitReply:
        event = CommitOffsetsInTransaction(
            producer=TransactionalProducer(producer_id=producer, producer_epoch=epoch), commit=commit
        )
        return await self.world.groups.commit_transactional_offsets(event, self.asked)

    async def plainly(self, offset: int, partition: int = 0) -> CommitReply:
        event = CommitOffsets(group_id="g", offsets=(offset_of(offset, partition),))
        return await self.world.groups.commit_offsets(event)

    async def end(self, *, commit: bool, producer: int = PRODUCER, epoch: int = 0) -> None:
        await self.world.groups.complete_transaction(
            0, producer_id=producer, producer_epoch=epoch, coordinator_epoch=3, commit=commit
        )

    async def offsets(self, *, require_stable: bool = False) -> dict[int, int | ErrorCode]:
        found = await self.world.groups.fetch_offsets("g", [("t", 0), ("t", 1)], require_stable=require_stable)
        return {item.partition: item.error or item.offset for item in found}


def offset_of(offset: int, partition: int = 0) -> OffsetToCommit:
    return OffsetToCommit(topic="t", partition=partition, offset=offset)


@pytest.fixture
async def transactions() -> AsyncIterator[Transactions]:
    async with World(partition_count=1) as world:
        await world.groups.find("g")
        yield Transactions(world)


async def test_an_offset_counts_only_once_its_transaction_is_committed(transactions: Transactions) -> None:
    await transactions.plainly(1)
    assert await transactions.commit(5) == CommitReply(errors=(ErrorCode.NONE,))
    assert await transactions.offsets() == {0: 1, 1: -1}
    assert await transactions.offsets(require_stable=True) == {0: ErrorCode.UNSTABLE_OFFSET_COMMIT, 1: -1}
    await transactions.end(commit=True)
    assert await transactions.offsets(require_stable=True) == {0: 5, 1: -1}


async def test_an_aborted_offset_never_was(transactions: Transactions) -> None:
    await transactions.plainly(1)
    await transactions.commit(5)
    await transactions.commit(6, partition=1)
    await transactions.end(commit=False)
    assert await transactions.offsets(require_stable=True) == {0: 1, 1: -1}


async def test_all_that_is_unstable_is_said_per_partition_also_when_everything_is_asked_for(
    transactions: Transactions,
) -> None:
    await transactions.plainly(1)
    await transactions.plainly(2, partition=1)
    await transactions.commit(5)
    found = await transactions.world.groups.fetch_offsets("g", None, require_stable=True)
    unstable = FetchedOffset(topic="t", partition=0, error=ErrorCode.UNSTABLE_OFFSET_COMMIT)
    assert [unstable, FetchedOffset(topic="t", partition=1, offset=2)] == found


async def test_the_log_holds_transactional_batches_in_order_with_the_others(transactions: Transactions) -> None:
    await transactions.plainly(1)
    await transactions.commit(5, epoch=4)
    await transactions.plainly(2)
    await transactions.end(commit=True, epoch=4)
    headers = [batch.read_header(one) for one in transactions.world.offsets_partition.batches]
    assert [(h.is_transactional, h.is_control, h.producer_id, h.producer_epoch) for h in headers] == [
        (False, False, -1, -1),
        (True, False, PRODUCER, 4),
        (False, False, -1, -1),
        (True, True, PRODUCER, 4),
    ]


async def test_writes_of_one_turn_of_the_loop_stay_in_their_order(transactions: Transactions) -> None:
    """What was gathered before a transactional write must be in the log before it."""
    world = transactions.world
    index = 0
    runtime = world.groups._runtime
    producer = TransactionalProducer(producer_id=PRODUCER, producer_epoch=0)

    def commit(offset: int) -> CommitOffsets:
        return CommitOffsets(group_id="g", offsets=(offset_of(offset),))

    waiting = [
        runtime.execute(index, lambda shard, ticket, now_ms: shard.commit_offsets(commit(1), ticket, now_ms)),
        runtime.execute_in_transaction(
            index,
            producer,
            lambda shard, ticket, now_ms: shard.commit_offsets_in_transaction(
                CommitOffsetsInTransaction(producer=producer, commit=commit(2)), ticket, now_ms
            ),
        ),
        runtime.execute(index, lambda shard, ticket, now_ms: shard.commit_offsets(commit(3), ticket, now_ms)),
    ]
    for one in waiting:
        await one
    transactional = [batch.read_header(one).is_transactional for one in world.offsets_partition.batches]
    assert transactional == [False, True, False]
    await transactions.end(commit=True)
    assert await transactions.offsets() == {0: 3, 1: -1}, "the plain commit came later"
    await world.restart()
    assert await transactions.offsets() == {0: 3, 1: -1}


@pytest.mark.parametrize("commit", [True, False])
async def test_a_transaction_open_over_a_restart_is_ended_afterwards(transactions: Transactions, commit: bool) -> None:
    await transactions.plainly(1)
    await transactions.commit(5)
    await transactions.world.restart()
    assert await transactions.offsets(require_stable=True) == {0: ErrorCode.UNSTABLE_OFFSET_COMMIT, 1: -1}
    await transactions.end(commit=commit)
    await transactions.world.restart()
    assert await transactions.offsets(require_stable=True) == {0: 5 if commit else 1, 1: -1}


async def test_a_reply_waits_until_its_offset_or_marker_is_committed(transactions: Transactions) -> None:

    partition = transactions.world.offsets_partition
    partition.commits = False
    commit = asyncio.ensure_future(transactions.commit(5))
    end = asyncio.ensure_future(transactions.end(commit=True))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not commit.done()
    assert not end.done()
    partition.commit()
    assert await commit == CommitReply(errors=(ErrorCode.NONE,))
    await end


# Verification ----------------------------------------------------------------------------------------


async def test_a_transaction_is_verified_once_for_the_partition_of_the_group(transactions: Transactions) -> None:
    await transactions.commit(5)
    await transactions.commit(6, partition=1)
    assert transactions.asked.partitions == [TopicPartition(OFFSETS_TOPIC, 0)]
    await transactions.end(commit=True)
    await transactions.commit(7)
    assert len(transactions.asked.partitions) == 2, "the next transaction is another one"


async def test_a_newer_epoch_is_verified_again(transactions: Transactions) -> None:
    await transactions.commit(5)
    await transactions.commit(6, epoch=1)
    assert len(transactions.asked.partitions) == 2


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (ErrorCode.INVALID_TXN_STATE, ErrorCode.INVALID_TXN_STATE),
        (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.INVALID_PRODUCER_EPOCH),
        (ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.CONCURRENT_TRANSACTIONS),
        (ErrorCode.NETWORK_EXCEPTION, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS),
        (ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE),
    ],
)
async def test_an_unverified_transaction_writes_nothing(
    transactions: Transactions, answer: ErrorCode, told: ErrorCode
) -> None:
    transactions.asked.answer = answer
    assert await transactions.commit(5) == CommitReply(error=told)
    assert transactions.world.offsets_partition.batches == []


async def test_a_marker_that_comes_while_the_transaction_is_verified_makes_the_answer_worthless(
    transactions: Transactions,
) -> None:
    """Written now, the offset would belong to a transaction that nobody will ever end."""

    async def ends() -> None:
        await transactions.end(commit=False)

    transactions.asked.meanwhile = ends
    assert await transactions.commit(5) == CommitReply(error=ErrorCode.INVALID_TXN_STATE)
    assert await transactions.offsets(require_stable=True) == {0: -1, 1: -1}


async def test_a_shard_that_was_replaced_while_the_transaction_is_verified_asks_for_a_retry(
    transactions: Transactions,
) -> None:
    transactions.asked.meanwhile = transactions.world.restart
    with pytest.raises(KafkaError) as refused:
        await transactions.commit(5)
    assert refused.value.code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)


async def test_a_fenced_producer_is_refused_without_disturbing_anybody(transactions: Transactions) -> None:
    world = transactions.world
    await transactions.commit(5, epoch=2)
    shard = world.groups._runtime.shard(0)
    with pytest.raises(KafkaError) as refused:
        await transactions.commit(6, epoch=1)
    assert refused.value.code is ErrorCode.INVALID_PRODUCER_EPOCH
    with pytest.raises(KafkaError) as refused:
        await transactions.end(commit=False, epoch=1)
    assert refused.value.code is ErrorCode.INVALID_PRODUCER_EPOCH
    assert world.groups._runtime.shard(0) is shard
    await transactions.end(commit=True, epoch=2)
    assert await transactions.offsets() == {0: 5, 1: -1}


async def test_a_failed_disk_throws_the_shard_away(transactions: Transactions) -> None:
    world = transactions.world
    await transactions.commit(5)
    world.offsets_partition.refusal = ErrorCode.KAFKA_STORAGE_ERROR
    with pytest.raises(KafkaError) as refused:
        await transactions.end(commit=True)
    assert refused.value.code is ErrorCode.NOT_COORDINATOR
    with pytest.raises(KafkaError) as refused:
        await transactions.offsets()
    assert refused.value.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS


async def test_a_write_that_fails_halfway_throws_the_shard_away_and_what_was_written_is_read_again() -> None:
    """Two batches, the second one refused: the first is in the log, so it must be in the shard, too."""
    async with World(partition_count=1) as world:
        await world.groups.find("g")
        partition = world.offsets_partition
        partition.log.config.max_message_bytes = 1_000
        written = []
        append = partition.append

        def only_once(records: memoryview, **how: Any) -> Any:
            if written:
                raise KafkaError(ErrorCode.INVALID_PRODUCER_EPOCH)
            written.append(records)
            return append(records, **how)

        partition.append = only_once  # type: ignore[method-assign]
        items = tuple(OffsetToCommit(topic="t", partition=index, offset=5, metadata="m" * 300) for index in (0, 1))
        transactions = Transactions(world)
        with pytest.raises(KafkaError) as refused:
            await transactions.send(CommitOffsets(group_id="g", offsets=items))
        assert refused.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
        await eventually(lambda: not any(seat.loading for seat in world.groups.seats()))
        assert await transactions.offsets(require_stable=True) == {0: ErrorCode.UNSTABLE_OFFSET_COMMIT, 1: -1}


# Membership (KIP-447) --------------------------------------------------------------------------------


async def join(world: World, instance: str | None = None) -> tuple[str, int]:
    event = Join(
        group_id="g",
        member_id="",
        instance_id=instance,
        client_id="app",
        client_host="/10.0.0.1",
        protocol_type="consumer",
        protocols=(("range", subscription("t")),),
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
        generated_id="1",
        requires_member_id=False,
    )
    waiting = asyncio.ensure_future(world.groups.join(event))
    await asyncio.sleep(0)
    world.groups._runtime.run_timers()
    reply = await waiting
    return reply.member_id, reply.generation


@pytest.mark.parametrize(
    ("who", "error"),
    [
        ({}, ErrorCode.NONE),
        ({"member_id": "nobody", "generation": 1}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "app-1", "generation": 0}, ErrorCode.ILLEGAL_GENERATION),
        ({"member_id": "app-1", "generation": 1}, ErrorCode.NONE),
        ({"member_id": "app-1", "generation": 1, "instance_id": "i"}, ErrorCode.UNKNOWN_MEMBER_ID),
        ({"member_id": "app-1"}, ErrorCode.ILLEGAL_GENERATION),
    ],
)
async def test_a_producer_that_names_its_member_is_held_to_it(
    transactions: Transactions, who: dict[str, Any], error: ErrorCode
) -> None:
    """Also while the round waits for the leader's assignment: a transaction cares for nobody's state."""
    assert await join(transactions.world) == ("app-1", 1)
    reply = await transactions.send(CommitOffsets(group_id="g", offsets=(offset_of(5),), **who))
    assert (reply.error or reply.errors[0]) is error


async def test_a_fenced_instance_cannot_commit(transactions: Transactions) -> None:
    member_id, generation = await join(transactions.world, instance="i")
    sync = Sync(group_id="g", generation=generation, member_id=member_id, instance_id="i")
    await transactions.world.groups.sync(sync)
    commit = CommitOffsets(
        group_id="g", offsets=(offset_of(5),), member_id="other", instance_id="i", generation=generation
    )
    assert (await transactions.send(commit)).error is ErrorCode.FENCED_INSTANCE_ID


async def test_a_group_nobody_knows_has_no_generations(transactions: Transactions) -> None:
    commit = CommitOffsets(group_id="g", offsets=(offset_of(5),), member_id="app-1", generation=1)
    assert (await transactions.send(commit)).error is ErrorCode.ILLEGAL_GENERATION
    with pytest.raises(KafkaError) as refused:
        await transactions.send(CommitOffsets(group_id=""))
    assert refused.value.code is ErrorCode.INVALID_GROUP_ID


# The group behind the offsets ------------------------------------------------------------------------


async def group_ids(transactions: Transactions) -> list[str]:
    return [group.group_id for group in await transactions.world.groups.list_groups()]


async def test_a_group_exists_from_its_first_pending_offset_until_the_abort(transactions: Transactions) -> None:
    await transactions.commit(5)
    assert await group_ids(transactions) == ["g"]
    await transactions.end(commit=False)
    assert await group_ids(transactions) == []


async def test_a_deleted_group_takes_its_pending_offsets_along(transactions: Transactions) -> None:
    await transactions.plainly(1)
    await transactions.commit(5)
    await transactions.commit(6, partition=1)
    assert await transactions.world.groups.delete_group("g") is ErrorCode.NONE
    for _ in range(2):
        await transactions.end(commit=True)
        assert await transactions.offsets(require_stable=True) == {0: -1, 1: -1}
        assert await group_ids(transactions) == []
        await transactions.world.restart()


async def test_a_deleted_offset_takes_the_pending_one_along(transactions: Transactions) -> None:
    await transactions.commit(5)
    await transactions.commit(6, partition=1)
    await transactions.world.groups.delete_offsets("g", [("t", 0)])
    await transactions.end(commit=True)
    assert await transactions.offsets() == {0: -1, 1: 6}


async def test_nothing_expires_under_an_open_transaction() -> None:
    async with World(partition_count=1, offsets_retention_minutes=1) as world:
        await world.groups.find("g")
        transactions = Transactions(world)
        await transactions.plainly(1)
        await transactions.plainly(1, partition=1)
        await transactions.commit(5)
        world.clock.advance(60_000)
        await world.groups.expire_offsets()
        assert await transactions.offsets() == {0: 1, 1: -1}
        await transactions.end(commit=False)
        await world.groups.expire_offsets()
        assert await transactions.offsets() == {0: -1, 1: -1}
        assert await group_ids(transactions) == []


async def test_pending_offsets_die_with_their_topic(transactions: Transactions) -> None:
    cluster = transactions.world.cluster
    topic_id = cluster.create("t")
    item = OffsetToCommit(topic="t", partition=0, offset=5, topic_id=topic_id)
    await transactions.send(CommitOffsets(group_id="g", offsets=(item,)))
    cluster.delete("t")
    cluster.create("t")
    await transactions.end(commit=True)
    assert await transactions.offsets() == {0: -1, 1: -1}
