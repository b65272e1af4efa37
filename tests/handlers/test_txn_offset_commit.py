"""TxnOffsetCommit as producers speak it: every version, every code, and what OffsetFetch says meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import offset_fetch, txn_offset_commit
from broker.protocol import messages as m
from broker.protocol.registry import SERVED
from broker.types import OFFSETS_TOPIC, TopicPartition
from tests.groups.coordinator import World

GROUP, TOPIC = "orders", "clicks"
PRODUCER, EPOCH = 77, 4
SPEC = SERVED[int(txn_offset_commit.API)]
VERSIONS = range(SPEC.min_version, SPEC.max_version + 1)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World(partition_count=1) as world:
        await world.groups.find(GROUP)
        world.cluster.create(TOPIC, 2)
        yield world


def request(*items: tuple[str, int, int], **fields: Any) -> Any:
    """``items``: (topic, partition, offset)."""
    r = m.TxnOffsetCommitRequest
    topics: dict[str, list[Any]] = {}
    for topic, index, offset in items:
        partition = r.TxnOffsetCommitRequestPartition(
            partition_index=index, committed_offset=offset, committed_leader_epoch=6, committed_metadata="half"
        )
        topics.setdefault(topic, []).append(partition)
    return r(
        transactional_id="app-1",
        group_id=fields.pop("group_id", GROUP),
        producer_id=PRODUCER,
        producer_epoch=EPOCH,
        topics=[r.TxnOffsetCommitRequestTopic(name=name, partitions=parts) for name, parts in topics.items()],
        **fields,
    )


async def commit(world: World, version: int, *items: tuple[str, int, int], **fields: Any) -> list[int]:
    answer = await world.call(txn_offset_commit, version, request(*items, **fields))
    return [partition.error_code for topic in answer.topics for partition in topic.partitions]


async def end(world: World, *, committed: bool = True) -> None:
    await world.groups.complete_transaction(
        0, producer_id=PRODUCER, producer_epoch=EPOCH, coordinator_epoch=0, commit=committed
    )


async def fetch(world: World, version: int, *, require_stable: bool) -> list[tuple[int, int, int, str]]:
    r = m.OffsetFetchRequest
    if version >= 8:
        topic_id = world.cluster.image.topics_by_name[TOPIC].topic_id
        identity: dict[str, Any] = {"topic_id": topic_id} if version >= 10 else {"name": TOPIC}
        topics = [r.OffsetFetchRequestTopics(**identity, partition_indexes=[0])]
        groups = [r.OffsetFetchRequestGroup(group_id=GROUP, topics=topics)]
        answer = await world.call(offset_fetch, version, r(groups=groups, require_stable=require_stable))
        assert answer.groups[0].error_code == 0
        found = answer.groups[0].topics[0].partitions
    else:
        topics = [r.OffsetFetchRequestTopic(name=TOPIC, partition_indexes=[0])]
        answer = await world.call(
            offset_fetch, version, r(group_id=GROUP, topics=topics, require_stable=require_stable)
        )
        assert answer.error_code == 0
        found = answer.topics[0].partitions
    return [(p.error_code, p.committed_offset, p.committed_leader_epoch, p.metadata) for p in found]


@pytest.mark.parametrize("version", VERSIONS)
async def test_an_offset_is_pending_until_the_marker(world: World, version: int) -> None:
    assert await commit(world, version, (TOPIC, 0, 12)) == [0]
    assert await fetch(world, 9, require_stable=False) == [(0, -1, -1, "")]
    await end(world)
    assert await fetch(world, 9, require_stable=True) == [(0, 12, 6 if version >= 2 else -1, "half")]


@pytest.mark.parametrize("version", [7, 8, 9, 10])
async def test_only_who_asks_for_stable_offsets_is_told_of_pending_ones(world: World, version: int) -> None:
    await commit(world, 3, (TOPIC, 0, 12))
    assert await fetch(world, version, require_stable=False) == [(0, -1, -1, "")]
    assert await fetch(world, version, require_stable=True) == [(ErrorCode.UNSTABLE_OFFSET_COMMIT, -1, -1, "")]
    await end(world, committed=False)
    assert await fetch(world, version, require_stable=True) == [(0, -1, -1, "")]


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_partition_of_the_group_is_verified_and_since_v5_added(world: World, version: int) -> None:
    await commit(world, version, (TOPIC, 0, 12), (TOPIC, 1, 13))
    partition = TopicPartition(OFFSETS_TOPIC, 0)
    assert world.gate.asked == [("app-1", PRODUCER, EPOCH, [partition], version >= 5)]


async def test_what_does_not_exist_fails_alone(world: World) -> None:
    codes = await commit(world, 5, (TOPIC, 0, 12), (TOPIC, 2, 1), ("nowhere", 0, 1))
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert codes == [0, unknown, unknown]


async def test_nobody_is_asked_about_a_request_without_a_known_partition(world: World) -> None:
    assert await commit(world, 5, ("nowhere", 0, 1)) == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    assert world.gate.asked == []


@pytest.mark.parametrize(
    ("version", "answer", "told"),
    [
        (5, ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.CONCURRENT_TRANSACTIONS),
        (4, ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS),
        (1, ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (4, ErrorCode.TRANSACTION_ABORTABLE, ErrorCode.TRANSACTION_ABORTABLE),
        (3, ErrorCode.TRANSACTION_ABORTABLE, ErrorCode.INVALID_TXN_STATE),
        (5, ErrorCode.NETWORK_EXCEPTION, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS),
        (1, ErrorCode.NETWORK_EXCEPTION, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (5, ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE),
        (5, ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.INVALID_PRODUCER_EPOCH),
        (5, ErrorCode.INVALID_PRODUCER_ID_MAPPING, ErrorCode.INVALID_PRODUCER_ID_MAPPING),
    ],
)
async def test_what_the_transactions_coordinator_says_is_told_in_words_of_the_version(
    world: World, version: int, answer: ErrorCode, told: ErrorCode
) -> None:
    world.gate.answer = answer
    assert await commit(world, version, (TOPIC, 0, 12), (TOPIC, 1, 13)) == [told, told]
    assert world.offsets_partition.batches == []


async def test_a_member_that_is_not_one_is_told_so_for_every_partition(world: World) -> None:
    codes = await commit(world, 3, (TOPIC, 0, 1), (TOPIC, 1, 1), member_id="nobody", generation_id=3)
    assert codes == [ErrorCode.ILLEGAL_GENERATION] * 2
    assert await commit(world, 3, (TOPIC, 0, 1), group_id="") == [ErrorCode.INVALID_GROUP_ID]


async def test_too_long_metadata_fails_alone(world: World) -> None:
    message = request((TOPIC, 0, 1), (TOPIC, 1, 2))
    message.topics[0].partitions[0].committed_metadata = "x" * 5_000
    answer = await world.call(txn_offset_commit, 5, message)
    codes = [partition.error_code for partition in answer.topics[0].partitions]
    assert codes == [ErrorCode.OFFSET_METADATA_TOO_LARGE, 0]
