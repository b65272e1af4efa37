"""Admin calls about transactions against a broker that answers what the test says."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from broker.client.asynchronous import AsyncClient
from broker.client.results import TransactionDescription, TransactionListing
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import TopicPartition
from tests.client.fake_broker import FakeBroker


def found_here(broker: FakeBroker) -> Any:
    def answer(version: int, request: Any) -> Any:
        assert request.key_type == 1
        return m.FindCoordinatorResponse(error_code=0, node_id=1, host="127.0.0.1", port=broker.port)

    return answer


def described(version: int, request: Any) -> Any:
    response = m.DescribeTransactionsResponse
    (key,) = request.transactional_ids
    if key == "nobody":
        return response(
            transaction_states=[
                response.TransactionState(error_code=int(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND), transactional_id=key)
            ]
        )
    return response(
        transaction_states=[
            response.TransactionState(
                error_code=0,
                transactional_id=key,
                transaction_state="Ongoing",
                transaction_timeout=7_000,
                transaction_start_time=1_700_000_000_000,
                producer_id=5,
                producer_epoch=2,
                topics=[response.TopicData(topic="orders", partitions=[1, 0])],
            )
        ]
    )


def listed(version: int, request: Any) -> Any:
    response = m.ListTransactionsResponse
    return response(
        error_code=0,
        unknown_state_filters=[name for name in request.state_filters if name == "Asleep"],
        transaction_states=[
            response.TransactionState(transactional_id=key, producer_id=5, transaction_state="Empty")
            for key in ("pay-2", "pay-1", "ship-1")
        ],
    )


async def test_listing_asks_every_broker_and_sorts_by_id() -> None:
    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.answers[ApiKey.LIST_TRANSACTIONS] = listed
        everything = await client.transactions.list_all()
        assert [listing.transactional_id for listing in everything] == ["pay-1", "pay-2", "ship-1"]
        assert everything[0] == TransactionListing(
            transactional_id="pay-1", coordinator=1, producer_id=5, state="Empty"
        )


async def test_a_pattern_holds_also_for_a_broker_that_does_not_know_it() -> None:
    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.ranges[ApiKey.LIST_TRANSACTIONS] = (0, 1)
        broker.answers[ApiKey.LIST_TRANSACTIONS] = listed
        found = await client.transactions.list_all(pattern="pay-.")
        assert [listing.transactional_id for listing in found] == ["pay-1", "pay-2"]


async def test_a_state_that_no_broker_knows_is_an_error_and_not_an_empty_list() -> None:
    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.answers[ApiKey.LIST_TRANSACTIONS] = listed
        with pytest.raises(KafkaError, match="Asleep"):
            await client.transactions.list_all(states=["Asleep"])


async def test_a_description_tells_everything() -> None:
    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.answers |= {ApiKey.FIND_COORDINATOR: found_here(broker), ApiKey.DESCRIBE_TRANSACTIONS: described}
        assert await client.transactions.describe("pay-1") == TransactionDescription(
            transactional_id="pay-1",
            coordinator=1,
            producer_id=5,
            producer_epoch=2,
            state="Ongoing",
            timeout_ms=7_000,
            start_ms=1_700_000_000_000,
            partitions=(TopicPartition("orders", 0), TopicPartition("orders", 1)),
        )


async def test_terminating_asks_until_the_old_transaction_is_gone() -> None:
    codes = deque([ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.NOT_COORDINATOR, ErrorCode.NONE])

    def init(version: int, request: Any) -> Any:
        return m.InitProducerIdResponse(error_code=int(codes.popleft()), producer_id=5, producer_epoch=4)

    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.answers |= {
            ApiKey.FIND_COORDINATOR: found_here(broker),
            ApiKey.DESCRIBE_TRANSACTIONS: described,
            ApiKey.INIT_PRODUCER_ID: init,
        }
        await client.transactions.terminate("pay-1")
        assert not codes


async def test_terminating_an_id_that_nobody_uses_makes_none() -> None:
    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.answers |= {ApiKey.FIND_COORDINATOR: found_here(broker), ApiKey.DESCRIBE_TRANSACTIONS: described}
        with pytest.raises(KafkaError) as refused:
            await client.transactions.terminate("nobody")
        assert refused.value.code is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
        assert broker.count(ApiKey.INIT_PRODUCER_ID) == 0


@pytest.mark.parametrize("code", [ErrorCode.NONE, ErrorCode.TRANSACTION_COORDINATOR_FENCED])
async def test_a_marker_goes_to_the_leader_and_its_refusal_comes_back(code: ErrorCode) -> None:
    seen = []

    def write(version: int, request: Any) -> Any:
        response = m.WriteTxnMarkersResponse
        (marker,) = request.markers
        seen.append((marker.producer_id, marker.producer_epoch, marker.coordinator_epoch, marker.transaction_result))
        result = response.WritableTxnMarkerPartitionResult(partition_index=1, error_code=int(code))
        topic = response.WritableTxnMarkerTopicResult(name="orders", partitions=[result])
        return response(markers=[response.WritableTxnMarkerResult(producer_id=5, topics=[topic])])

    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.answers[ApiKey.WRITE_TXN_MARKERS] = write
        marking = client.transactions.write_marker("orders", 1, 5, 2, 3)
        if code is ErrorCode.NONE:
            await marking
        else:
            with pytest.raises(KafkaError) as refused:
                await marking
            assert refused.value.code is code
        assert seen == [(5, 2, 3, False)]


async def test_many_are_described_by_one_request_to_each_coordinator() -> None:
    asked: list[list[str]] = []

    def describe(version: int, request: Any) -> Any:
        asked.append(request.transactional_ids)
        one_by_one = [m.DescribeTransactionsRequest(transactional_ids=[key]) for key in (*asked[-1][:2], "nobody")]
        states = [described(version, single).transaction_states[0] for single in one_by_one]
        return m.DescribeTransactionsResponse(transaction_states=states)

    async with FakeBroker() as broker, AsyncClient(broker.bootstrap) as client:
        broker.answers |= {ApiKey.LIST_TRANSACTIONS: listed, ApiKey.DESCRIBE_TRANSACTIONS: describe}
        found = await client.transactions.describe_many(await client.transactions.list_all())
        assert asked == [["pay-1", "pay-2", "ship-1"]]
        assert [(name, one.transactional_id, one.producer_epoch) for name, one in found.items()] == [
            ("pay-1", "pay-1", 2),
            ("pay-2", "pay-2", 2),
        ]
