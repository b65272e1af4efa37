"""The gate in front of transactional appends, with the coordinator here, elsewhere and nowhere."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.protocol.api import ApiKey
from broker.types import TRANSACTIONS_TOPIC
from tests.transactions.world import CLICKS, ID, World


@pytest.fixture(params=[1, 2], ids=["coordinator here", "coordinator elsewhere"])
def asker(request: pytest.FixtureRequest) -> int:
    return int(request.param)


async def test_it_adds_or_only_looks(asker: int) -> None:
    async with World(brokers=2) as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        gate = world.nodes[asker].gate
        assert await gate.verify(ID, *producer, CLICKS[:1], add=False) == {CLICKS[0]: ErrorCode.TRANSACTION_ABORTABLE}
        assert await gate.verify(ID, *producer, CLICKS[:2], add=True) == dict.fromkeys(CLICKS[:2], ErrorCode.NONE)
        assert await gate.verify(ID, *producer, CLICKS[1:3], add=False) == {
            CLICKS[1]: ErrorCode.NONE,
            CLICKS[2]: ErrorCode.TRANSACTION_ABORTABLE,
        }
        expected = [] if asker == 1 else [(1, ApiKey.ADD_PARTITIONS_TO_TXN)] * 3
        assert world.requests == expected


async def test_an_old_epoch_is_refused_as_partitions_refuse_it(asker: int) -> None:
    async with World(brokers=2) as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        await world.init()
        for add in (True, False):
            codes = await world.nodes[asker].gate.verify(ID, *producer, CLICKS[:1], add=add)
            assert codes == {CLICKS[0]: ErrorCode.INVALID_PRODUCER_EPOCH}
            codes = await world.nodes[asker].gate.verify("nobody", *producer, CLICKS[:1], add=add)
            assert codes == {CLICKS[0]: ErrorCode.INVALID_PRODUCER_ID_MAPPING}


async def test_the_next_transaction_waits_for_the_last_one(asker: int) -> None:
    async with World(brokers=2) as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        await world.add(producer)
        producer = await world.end(producer)
        codes = await world.nodes[asker].gate.verify(ID, *producer, CLICKS[:1], add=True)
        assert codes == {CLICKS[0]: ErrorCode.NONE}
        assert await world.state() == "Ongoing"


async def test_without_a_coordinator_the_caller_can_only_try_again() -> None:
    async with World(brokers=2) as world:
        gate = world.nodes[2].gate
        assert await gate.verify(ID, 1, 0, CLICKS[:1], add=True) == {CLICKS[0]: ErrorCode.COORDINATOR_NOT_AVAILABLE}
        world.create(TRANSACTIONS_TOPIC, [1] * 4)
        world.unreachable.add(1)
        assert await gate.verify(ID, 1, 0, CLICKS[:1], add=True) == {CLICKS[0]: ErrorCode.NETWORK_EXCEPTION}


async def test_verification_can_be_switched_off_but_adding_cannot() -> None:
    async with World(transaction_partition_verification_enable=False) as world:
        world.create("clicks", [1] * 4)
        producer = await world.init()
        gate = world.nodes[1].gate
        assert await gate.verify(ID, *producer, CLICKS[:1], add=False) == {CLICKS[0]: ErrorCode.NONE}
        assert await gate.verify(ID, 7, 7, CLICKS[:1], add=True) == {CLICKS[0]: ErrorCode.INVALID_PRODUCER_ID_MAPPING}
