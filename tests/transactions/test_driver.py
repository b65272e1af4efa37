"""The coordinator of a broker: finding it, what is durable before whom, markers to everywhere, loading, time."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from broker.coordination.partitioner import partition_for
from broker.errors import ErrorCode, KafkaError
from broker.protocol.api import ApiKey
from broker.transactions import driver
from broker.transactions.events import InitProducerId, TransactionFilter
from broker.transactions.states import TransactionState
from broker.types import TRANSACTIONS_TOPIC, TopicPartition
from tests.support.wait import eventually
from tests.transactions.world import CLICKS, ID, Mark, World

INDEX = partition_for(ID, 4)
SEAT = TopicPartition(TRANSACTIONS_TOPIC, INDEX)


async def refusal(awaitable: object) -> ErrorCode:
    with pytest.raises(KafkaError) as refused:
        await awaitable  # type: ignore[misc]
    return refused.value.code


# Finding -------------------------------------------------------------------------------------------------


async def test_asking_for_a_coordinator_creates_the_topic_once_however_many_ask() -> None:
    async with World() as world:
        assert set(await asyncio.gather(*(world.coordinator.find(key) for key in "abc"))) == {1}
        assert world.creations == 1


async def test_a_topic_that_cannot_be_created_is_tried_again_by_the_next() -> None:
    async with World() as world:
        world.creation_error = KafkaError(ErrorCode.POLICY_VIOLATION, "no room")
        assert await refusal(world.coordinator.find(ID)) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        world.creation_error = None
        assert await world.coordinator.find(ID) == 1


async def test_a_partition_nobody_leads_has_no_coordinator() -> None:
    async with World() as world:
        world.create(TRANSACTIONS_TOPIC, [-1])
        assert await refusal(world.coordinator.find(ID)) is ErrorCode.COORDINATOR_NOT_AVAILABLE


async def test_the_id_of_another_coordinator_is_refused() -> None:
    async with World(brokers=2) as world:
        assert await refusal(world.coordinator.describe(ID)) is ErrorCode.NOT_COORDINATOR
        world.create(TRANSACTIONS_TOPIC, [2])
        assert await world.coordinator.find(ID) == 2
        assert await refusal(world.coordinator.describe(ID)) is ErrorCode.NOT_COORDINATOR


@pytest.mark.parametrize("key", ["", "ä" * 20_000])
async def test_an_id_that_no_record_can_hold_is_refused(key: str) -> None:
    async with World() as world:
        await world.coordinator.find(ID)
        init = world.coordinator.init_producer_id(InitProducerId(transactional_id=key, timeout_ms=1_000))
        assert await refusal(init) is ErrorCode.INVALID_REQUEST
        assert await refusal(world.coordinator.find(key)) is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("timeout_ms", [0, -1, 5_001])
async def test_a_transaction_may_not_be_asked_to_last_too_long(timeout_ms: int) -> None:
    async with World(transaction_max_timeout_ms=5_000) as world:
        assert await world.init(timeout_ms=5_000) == (1_000, 0)
        assert await refusal(world.init(timeout_ms=timeout_ms)) is ErrorCode.INVALID_TRANSACTION_TIMEOUT


async def test_while_no_producer_id_can_be_had_a_new_id_is_told_why() -> None:
    async with World() as world:
        world.producer_id_error = KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "the store is away")
        assert await refusal(world.init()) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        world.producer_id_error = None
        assert await world.init() == (1_000, 0)


# Durable before anybody hears of it ----------------------------------------------------------------------


async def test_neither_answer_nor_marker_before_the_decision_is_committed() -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        await world.add(producer)
        log = world.logs[INDEX]
        log.commits = False
        ending = asyncio.ensure_future(world.end(producer))
        await asyncio.sleep(0.01)
        assert not ending.done()
        assert world.requests == []
        log.commit()
        assert await ending == (1_000, 1)
        await world.wait_state("CompleteCommit")
        assert world.marks == {partition: [Mark(1_000, 1, True, 0, 2)] for partition in CLICKS}


async def test_a_partition_is_added_durably_before_it_may_be_written_to() -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        world.logs[INDEX].commits = False
        adding = asyncio.ensure_future(world.nodes[1].gate.verify(ID, *producer, CLICKS[:1], add=True))
        verifying = asyncio.ensure_future(world.nodes[1].gate.verify(ID, *producer, CLICKS[:1], add=False))
        await asyncio.sleep(0.01)
        assert not adding.done()
        assert not verifying.done(), "an answer that rests on what could still be lost"
        world.logs[INDEX].commit()
        assert await adding == await verifying == {CLICKS[0]: ErrorCode.NONE}


async def test_after_a_failed_append_clients_are_told_to_ask_again_and_nothing_has_happened() -> None:
    async with World() as world:
        producer = await world.init()
        world.logs[INDEX].refusal = ErrorCode.NOT_ENOUGH_REPLICAS
        assert await refusal(world.add(producer)) is ErrorCode.COORDINATOR_NOT_AVAILABLE
        world.logs[INDEX].refusal = None
        await world.loaded()
        assert await world.state() == "Empty"
        assert await world.add(producer) is ErrorCode.NONE


# Markers -------------------------------------------------------------------------------------------------


async def ended(world: World, *, commit: bool = True, version: int = 2) -> tuple[int, int]:
    """The decision is made; its markers are on their way."""
    producer = await world.init()
    await world.add(producer, version=version)
    return await world.end(producer, commit=commit, version=version)


@pytest.mark.parametrize("commit", [True, False])
async def test_every_broker_gets_one_request_with_all_its_partitions(commit: bool) -> None:
    async with World(brokers=3) as world:
        world.create("clicks", [1, 2, 3, 2])
        await ended(world, commit=commit)
        await world.wait_state("CompleteCommit" if commit else "CompleteAbort")
        assert sorted(world.requests) == [(broker_id, ApiKey.WRITE_TXN_MARKERS) for broker_id in (1, 2, 3)]
        assert {mark.commit for marks in world.marks.values() for mark in marks} == {commit}
        assert set(world.marks) == set(CLICKS)


async def test_the_markers_of_a_classic_transaction_carry_its_own_epoch() -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        await ended(world, version=0)
        await world.wait_state("CompleteCommit")
        assert world.marks[CLICKS[0]] == [Mark(1_000, 0, True, 0, 0)]


async def test_a_partition_without_a_leader_gets_its_marker_when_it_has_one() -> None:
    async with World(brokers=2) as world:
        world.create("clicks", [1, -1, 1, 1])
        await ended(world)
        await eventually(lambda: len(world.marks) == 3)
        assert await world.state() == "PrepareCommit"
        world.move(CLICKS[1], 2)
        await world.wait_state("CompleteCommit")
        assert set(world.marks) == set(CLICKS)


async def test_a_topic_that_is_deleted_needs_no_marker_any_more() -> None:
    async with World() as world:
        world.create("clicks", [-1] * 4)
        await ended(world)
        await asyncio.sleep(0.01)
        assert await world.state() == "PrepareCommit"
        world.delete("clicks")
        await world.wait_state("CompleteCommit")
        assert world.marks == {}


@pytest.mark.parametrize(
    "code",
    [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.UNKNOWN_SERVER_ERROR],
    ids=lambda code: code.name,
)
async def test_a_marker_that_was_refused_is_sent_again_until_it_is_written(code: ErrorCode) -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        world.marker_codes[CLICKS[0]] = deque([code, code])
        await ended(world)
        await world.wait_state("CompleteCommit")
        assert {partition: len(marks) for partition, marks in world.marks.items()} == dict.fromkeys(CLICKS, 1)
        assert len(world.requests) == 3


async def test_a_partition_that_has_seen_a_later_epoch_was_marked_before() -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        world.marker_codes[CLICKS[0]] = deque([ErrorCode.INVALID_PRODUCER_EPOCH])
        await ended(world)
        await world.wait_state("CompleteCommit")
        assert set(world.marks) == set(CLICKS[1:])


async def test_a_broker_that_cannot_be_reached_holds_up_only_its_own_partitions() -> None:
    async with World(brokers=2) as world:
        world.create("clicks", [1, 2, 1, 2])
        world.unreachable.add(2)
        await ended(world)
        await eventually(lambda: len(world.marks) == 2)
        assert await world.state() == "PrepareCommit"
        world.unreachable.clear()
        await world.wait_state("CompleteCommit")
        assert set(world.marks) == set(CLICKS)


async def test_many_transactions_share_the_requests_to_a_broker() -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        keys = [f"{ID}-{number}" for number in range(50)]
        producers = {key: await world.init(key) for key in keys}
        for key in keys:
            await world.add(producers[key], key=key)
        await asyncio.gather(*(world.end(producers[key], key=key) for key in keys))
        for key in keys:
            await world.wait_state("CompleteCommit", key)
        assert len(world.marks[CLICKS[0]]) == 50
        assert len(world.requests) < 25


# Changing hands ------------------------------------------------------------------------------------------


async def test_another_broker_takes_over_and_finishes_what_was_decided() -> None:
    async with World(brokers=2) as world:
        world.create(TRANSACTIONS_TOPIC, [1] * 4)
        world.create("clicks", [1, 1, 2, 2])
        world.unreachable.add(2)
        await ended(world)
        await eventually(lambda: len(world.marks) == 2)
        world.unreachable.clear()
        world.move(SEAT, 2)
        assert await refusal(world.coordinator.describe(ID)) is ErrorCode.NOT_COORDINATOR
        await world.loaded()
        await world.wait_state("CompleteCommit", node=2)
        assert {len(world.marks[partition]) for partition in CLICKS[2:]} == {1}
        assert {mark.coordinator_epoch for mark in world.marks[CLICKS[3]]} == {1}


async def test_while_loading_everybody_is_told_to_wait() -> None:
    async with World() as world:
        producer = await world.init()
        world.move(SEAT, -1)
        world.move(SEAT, 1)
        assert await refusal(world.coordinator.describe(ID)) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        listing = world.coordinator.list_transactions(TransactionFilter())
        assert await refusal(listing) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        codes = await world.nodes[1].gate.verify(ID, *producer, CLICKS[:1], add=True)
        assert codes == {CLICKS[0]: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS}
        await world.loaded()
        assert await world.state() == "Empty"


async def test_what_was_written_by_a_replaced_coordinator_is_not_answered() -> None:
    async with World(brokers=2) as world:
        world.create(TRANSACTIONS_TOPIC, [1] * 4)
        producer = await world.init()
        world.logs[INDEX].commits = False
        adding = asyncio.ensure_future(world.add(producer))
        await asyncio.sleep(0)
        world.move(SEAT, 2)
        assert await refusal(adding) is ErrorCode.NOT_COORDINATOR


# Time ----------------------------------------------------------------------------------------------------


async def test_overdue_transactions_are_aborted_and_their_producers_fenced() -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        producer = await world.init(timeout_ms=1_000)
        await world.add(producer)
        await world.coordinator.abort_overdue()
        assert await world.state() == "Ongoing"
        world.clock.advance(1_001)
        await world.coordinator.abort_overdue()
        await world.wait_state("CompleteAbort")
        assert world.marks[CLICKS[0]] == [Mark(1_000, 1, False, 0, 2)]
        assert await world.add(producer) is ErrorCode.PRODUCER_FENCED


async def test_the_clockwork_runs_by_itself_at_the_configured_interval() -> None:
    async with World(transaction_abort_timed_out_transaction_cleanup_interval_ms=5) as world:
        world.create("clicks", [1] * 4)
        await world.add(await world.init(timeout_ms=1_000))
        world.clock.advance(1_001)
        await world.wait_state("CompleteAbort")


async def test_ids_nobody_uses_are_forgotten_also_by_the_log() -> None:
    async with World(
        transactional_id_expiration_ms=10_000, transaction_remove_expired_transaction_cleanup_interval_ms=5
    ) as world:
        await world.init()
        world.clock.advance(10_000)
        await world.wait_state("unknown")
        await world.crash()
        assert await world.state() == "unknown"
        assert await world.init() == (1_001, 0)


async def test_expiry_takes_as_many_rounds_as_there_are_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "EXPIRED_PER_TURN_MAX", 2)
    async with World(transactional_id_expiration_ms=10_000) as world:
        for number in range(20):
            await world.init(f"id-{number}")
        world.clock.advance(10_000)
        await world.coordinator.expire_ids()
        assert world.coordinator.statistics().ids == 0


async def test_many_overdue_transactions_end_together() -> None:
    async with World() as world:
        world.create("clicks", [1] * 4)
        keys = [f"id-{number}" for number in range(30)]
        for key in keys:
            await world.add(await world.init(key, timeout_ms=1_000), key=key)
        world.clock.advance(1_001)
        await world.coordinator.abort_overdue()
        for key in keys:
            await world.wait_state("CompleteAbort", key)
        assert len(world.requests) < 15


# Looking -------------------------------------------------------------------------------------------------


async def test_listing_filters_by_state_producer_and_age() -> None:
    async with World() as world:
        idle = await world.init("idle")
        busy = await world.init("busy")
        await world.add(busy, key="busy")
        world.clock.advance(5_000)

        async def listed(**wanted: object) -> set[str]:
            found = await world.coordinator.list_transactions(TransactionFilter(**wanted))  # type: ignore[arg-type]
            return {entry.transactional_id for entry in found}

        assert await listed() == {"idle", "busy"}
        assert await listed(states=frozenset({TransactionState.ONGOING})) == {"busy"}
        assert await listed(states=frozenset()) == set()
        assert await listed(producer_ids=frozenset({idle[0]})) == {"idle"}
        assert "busy" in await listed(duration_ms=4_999)
        assert "busy" not in await listed(duration_ms=5_000)


async def test_statistics_count_ids_open_transactions_and_markers_under_way() -> None:
    async with World() as world:
        world.create("clicks", [-1] * 4)
        await world.init("idle")
        await ended(world)
        await eventually(lambda: world.coordinator.statistics().markers.stalled == 4)
        statistics = world.coordinator.statistics()
        assert (statistics.ids, statistics.open) == (2, 1)
        assert statistics.oldest_start_ms == world.clock.wall_ms()
        assert statistics.markers.transactions == 1
