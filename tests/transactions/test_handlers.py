"""The transactional APIs through their handlers and the codec, in every version."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from broker.coordination.partitioner import partition_for
from broker.errors import ErrorCode
from broker.handlers import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    describe_transactions,
    end_txn,
    find_coordinator,
    init_producer_id,
    list_transactions,
)
from broker.protocol import messages as m
from broker.protocol.registry import SERVED
from broker.types import OFFSETS_TOPIC, TopicPartition
from tests.transactions.world import CLICKS, ID, World


def versions(handler: ModuleType) -> range:
    spec = SERVED[handler.API]
    return range(spec.min_version, spec.max_version + 1)


def add_request(producer: tuple[int, int], version: int, *partitions: TopicPartition, verify: bool = False) -> Any:
    request = m.AddPartitionsToTxnRequest
    topics = [
        request.AddPartitionsToTxnTopic(name=topic, partitions=[index for name, index in partitions if name == topic])
        for topic in dict(partitions)
    ]
    if version < 4:
        return request(
            v3_and_below_transactional_id=ID,
            v3_and_below_producer_id=producer[0],
            v3_and_below_producer_epoch=producer[1],
            v3_and_below_topics=topics,
        )
    return request(
        transactions=[
            request.AddPartitionsToTxnTransaction(
                transactional_id=ID,
                producer_id=producer[0],
                producer_epoch=producer[1],
                verify_only=verify,
                topics=topics,
            )
        ]
    )


def add_codes(response: Any, version: int) -> dict[TopicPartition, ErrorCode]:
    if version < 4:
        topics = response.results_by_topic_v3_and_below
    else:
        (result,) = response.results_by_transaction
        assert (response.error_code, result.transactional_id) == (0, ID)
        topics = result.topic_results
    return {
        TopicPartition(topic.name, partition.partition_index): ErrorCode(partition.partition_error_code)
        for topic in topics
        for partition in topic.results_by_partition
    }


async def init(world: World, version: int = 5, **fields: Any) -> Any:
    await world.coordinator.find(ID)
    request = m.InitProducerIdRequest(transactional_id=ID, transaction_timeout=60_000, **fields)
    return await world.ask(init_producer_id, version, request)


@pytest.mark.parametrize("version", versions(init_producer_id))
async def test_a_transactional_id_gets_one_epoch_after_the_other(version: int) -> None:
    async with World() as world:
        answers = [await init(world, version) for _ in range(2)]
        assert [(a.error_code, a.producer_id, a.producer_epoch) for a in answers] == [(0, 1_000, 0), (0, 1_000, 1)]


@pytest.mark.parametrize(
    ("version", "code"),
    [(3, ErrorCode.INVALID_PRODUCER_EPOCH), (4, ErrorCode.PRODUCER_FENCED), (5, ErrorCode.PRODUCER_FENCED)],
)
async def test_a_fenced_producer_that_recovers_is_told_in_the_words_of_its_version(version: int, code: int) -> None:
    async with World() as world:
        await init(world)
        await init(world)
        answer = await init(world, version, producer_id=1_000, producer_epoch=0)
        assert (answer.error_code, answer.producer_id, answer.producer_epoch) == (code, -1, -1)


async def test_half_an_identity_is_refused() -> None:
    async with World() as world:
        assert (await init(world, producer_id=5)).error_code == ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("version", versions(find_coordinator)[1:])
async def test_the_coordinator_of_a_transactional_id_is_found(version: int) -> None:
    async with World() as world:
        request = m.FindCoordinatorRequest(key=ID, coordinator_keys=[ID], key_type=1)
        answer = await world.ask(find_coordinator, version, request)
        found = answer if version < 4 else answer.coordinators[0]
        assert (found.error_code, found.node_id, found.port) == (0, 1, 9092)


@pytest.mark.parametrize("version", versions(add_partitions_to_txn))
async def test_partitions_are_added(version: int) -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        answer = await world.ask(add_partitions_to_txn, version, add_request(producer, version, *CLICKS[:2]))
        assert add_codes(answer, version) == dict.fromkeys(CLICKS[:2], ErrorCode.NONE)
        assert await world.state() == "Ongoing"


@pytest.mark.parametrize("version", versions(add_partitions_to_txn))
async def test_one_partition_that_does_not_exist_keeps_the_others_out(version: int) -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        stranger = TopicPartition("clicks", 9)
        answer = await world.ask(add_partitions_to_txn, version, add_request(producer, version, CLICKS[0], stranger))
        assert add_codes(answer, version) == {
            CLICKS[0]: ErrorCode.OPERATION_NOT_ATTEMPTED,
            stranger: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        }
        assert await world.state() == "Empty"


@pytest.mark.parametrize("version", versions(add_partitions_to_txn))
async def test_an_old_epoch_adds_nothing(version: int) -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        await world.init()
        answer = await world.ask(add_partitions_to_txn, version, add_request(producer, version, CLICKS[0]))
        code = ErrorCode.PRODUCER_FENCED if version >= 2 else ErrorCode.INVALID_PRODUCER_EPOCH
        assert add_codes(answer, version) == {CLICKS[0]: code}


@pytest.mark.parametrize("version", [4, 5])
async def test_verifying_adds_nothing(version: int) -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        request = add_request(producer, version, CLICKS[0], verify=True)
        answer = await world.ask(add_partitions_to_txn, version, request)
        assert add_codes(answer, version) == {CLICKS[0]: ErrorCode.TRANSACTION_ABORTABLE}
        assert await world.state() == "Empty"


class Groups:
    """Where groups live, once somebody has asked."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def find(self, group_id: str) -> int:
        self._world.create(OFFSETS_TOPIC, [1] * 5)
        return 1


@pytest.mark.parametrize("version", versions(add_offsets_to_txn))
async def test_the_partition_of_a_group_joins_the_transaction(version: int) -> None:
    async with World() as world:
        producer = await world.init()
        request = m.AddOffsetsToTxnRequest(
            transactional_id=ID, producer_id=producer[0], producer_epoch=producer[1], group_id="readers"
        )
        answer = await world.ask(add_offsets_to_txn, version, request, groups=Groups(world))
        assert answer.error_code == 0
        described = await world.coordinator.describe(ID)
        assert described is not None
        assert described.partitions == {TopicPartition(OFFSETS_TOPIC, partition_for("readers", 5))}


@pytest.mark.parametrize("version", versions(add_offsets_to_txn))
async def test_the_offsets_of_an_old_epoch_do_not(version: int) -> None:
    async with World() as world:
        producer = await world.init()
        await world.init()
        request = m.AddOffsetsToTxnRequest(
            transactional_id=ID, producer_id=producer[0], producer_epoch=producer[1], group_id="readers"
        )
        answer = await world.ask(add_offsets_to_txn, version, request, groups=Groups(world))
        code = ErrorCode.PRODUCER_FENCED if version >= 2 else ErrorCode.INVALID_PRODUCER_EPOCH
        assert answer.error_code == code
        request.group_id = ""
        nameless = await world.ask(add_offsets_to_txn, version, request, groups=Groups(world))
        assert nameless.error_code == ErrorCode.INVALID_GROUP_ID


@pytest.mark.parametrize("version", versions(end_txn))
async def test_an_end_answers_what_to_go_on_with(version: int) -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        await world.add(producer, version=2 if version >= 5 else 0)
        request = m.EndTxnRequest(
            transactional_id=ID, producer_id=producer[0], producer_epoch=producer[1], committed=True
        )
        answer = await world.ask(end_txn, version, request)
        expected = (0, 1_000, 1) if version >= 5 else (0, -1, -1)  # fields of v5 alone
        assert (answer.error_code, answer.producer_id, answer.producer_epoch) == expected
        await world.wait_state("CompleteCommit")
        again = await world.ask(end_txn, version, request)
        assert (again.error_code, again.producer_id, again.producer_epoch) == expected


@pytest.mark.parametrize("version", versions(end_txn))
async def test_the_end_of_an_old_epoch_is_refused(version: int) -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        old = await world.init()
        await world.add(await world.init())
        request = m.EndTxnRequest(transactional_id=ID, producer_id=old[0], producer_epoch=old[1], committed=True)
        answer = await world.ask(end_txn, version, request)
        code = ErrorCode.PRODUCER_FENCED if version >= 2 else ErrorCode.INVALID_PRODUCER_EPOCH
        assert answer.error_code == code
        assert await world.state() == "Ongoing"


async def test_describing_tells_what_a_transaction_holds() -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init(timeout_ms=7_000)
        await world.add(producer, *CLICKS[:2])
        request = m.DescribeTransactionsRequest(transactional_ids=[ID, "nobody", ""])
        known, unknown, nameless = (await world.ask(describe_transactions, 0, request)).transaction_states
        assert unknown.error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
        assert nameless.error_code == ErrorCode.INVALID_REQUEST
        assert (known.error_code, known.transactional_id, known.transaction_state) == (0, ID, "Ongoing")
        assert (known.producer_id, known.producer_epoch, known.transaction_timeout) == (*producer, 7_000)
        assert known.transaction_start_time == world.clock.wall_ms()
        assert [(topic.topic, topic.partitions) for topic in known.topics] == [("clicks", [0, 1])]


@pytest.mark.parametrize("version", versions(list_transactions))
async def test_listing_tells_state_and_producer_and_which_filters_make_no_sense(version: int) -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        await world.init("idle")
        await world.add(await world.init())
        request = m.ListTransactionsRequest(state_filters=["Ongoing", "Asleep"])
        answer = await world.ask(list_transactions, version, request)
        assert (answer.error_code, answer.unknown_state_filters) == (0, ["Asleep"])
        assert [(t.transactional_id, t.producer_id, t.transaction_state) for t in answer.transaction_states] == [
            (ID, 1_001, "Ongoing")
        ]
        everything = await world.ask(list_transactions, version, m.ListTransactionsRequest())
        assert {entry.transactional_id for entry in everything.transaction_states} == {ID, "idle"}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("pay-.*", {"pay-1", "pay-2"}), ("pay-1", {"pay-1"}), ("pay", set()), (None, {"pay-1", "pay-2", "ship"})],
)
async def test_listing_by_a_pattern_wants_the_whole_id_to_match(pattern: str | None, expected: set[str]) -> None:
    async with World() as world:
        for key in ("pay-1", "pay-2", "ship"):
            await world.init(key)
        request = m.ListTransactionsRequest(transactional_id_pattern=pattern)
        answer = await world.ask(list_transactions, 2, request)
        assert {entry.transactional_id for entry in answer.transaction_states} == expected


@pytest.mark.parametrize("pattern", ["pay-(", "(?=x)", "x" * 5_000], ids=["unclosed", "look-ahead", "too long"])
async def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    async with World() as world:
        answer = await world.ask(list_transactions, 2, m.ListTransactionsRequest(transactional_id_pattern=pattern))
        assert answer.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
