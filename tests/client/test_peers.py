"""What brokers ask each other: over the internal listener, bounded, and left alone for a while when unreachable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from broker.client import peers as peers_module
from broker.client.peers import Peers
from broker.clock import ManualClock
from broker.cluster.image import BrokerImage, ClusterImage
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.client.fake_broker import FakeBroker
from tests.support.ports import free_port
from tests.support.wait import eventually

SECRET = b"s3cret"


def peers_of(port: int, clock: ManualClock | None = None, *, secret: bytes = SECRET, timeout_ms: int = 5_000) -> Peers:
    """Broker 1 with a peer, broker 2, on ``port``."""
    other = BrokerImage(
        id=2, host="127.0.0.1", port=1, internal_host="127.0.0.1", internal_port=port, rack=None, incarnation="a"
    )

    async def local(api_key: int, api_version: int, message: Any) -> Any:
        return "answered here", api_key, api_version, message

    return Peers(
        node_id=1,
        image=lambda: ClusterImage(brokers={2: other}),
        secret=secret,
        clock=clock or ManualClock(),
        local=local,
        request_timeout_ms=lambda: timeout_ms,
    )


@asynccontextmanager
async def broker_and_peers(**how: Any) -> AsyncIterator[tuple[FakeBroker, Peers]]:
    async with FakeBroker(secret=SECRET) as broker:
        peers = peers_of(broker.port, **how)
        try:
            yield broker, peers
        finally:
            await peers.close()


def listing(*names: str) -> Callable[[int, Any], Any]:
    response = m.ListTransactionsResponse
    states = [response.TransactionState(transactional_id=name, producer_id=1, transaction_state="x") for name in names]
    return lambda version, request: response(error_code=0, unknown_state_filters=[], transaction_states=states)


async def refusal(awaitable: Any) -> KafkaError:
    with pytest.raises(KafkaError) as refused:
        await awaitable
    return refused.value


async def test_a_request_to_itself_needs_no_socket() -> None:
    answer = await peers_of(1).request(1, ApiKey.END_TXN, 5, "message")
    assert answer == ("answered here", ApiKey.END_TXN, 5, "message")


async def test_a_request_goes_over_the_authenticated_listener_in_the_version_asked_for() -> None:
    async with broker_and_peers() as (broker, peers):
        broker.answers[ApiKey.LIST_TRANSACTIONS] = listing("tx")
        for version in (1, 0):
            answer = await peers.request(2, ApiKey.LIST_TRANSACTIONS, version, m.ListTransactionsRequest())
            assert answer.transaction_states[0].transactional_id == "tx"
        asked = [request for request in broker.requests if request[0] == ApiKey.LIST_TRANSACTIONS]
        assert asked == [(ApiKey.LIST_TRANSACTIONS, 1), (ApiKey.LIST_TRANSACTIONS, 0)]
        assert broker.count(ApiKey.AUTHENTICATE) == 2
        assert broker.connections_total == 1


async def test_a_broker_that_is_not_alive_is_not_tried() -> None:
    error = await refusal(peers_of(1).request(3, ApiKey.LIST_TRANSACTIONS, 0, m.ListTransactionsRequest()))
    assert error.code is ErrorCode.BROKER_NOT_AVAILABLE


async def test_another_secret_is_no_answer() -> None:
    async with broker_and_peers(secret=b"another") as (_, peers):
        error = await refusal(peers.request(2, ApiKey.LIST_TRANSACTIONS, 0, m.ListTransactionsRequest()))
        assert error.code is ErrorCode.NETWORK_EXCEPTION


async def test_a_lost_connection_is_a_retriable_error_and_the_next_request_opens_another() -> None:
    async with broker_and_peers() as (broker, peers):
        broker.answers[ApiKey.LIST_TRANSACTIONS] = lambda version, request: None
        lost = asyncio.ensure_future(peers.request(2, ApiKey.LIST_TRANSACTIONS, 0, m.ListTransactionsRequest()))
        await eventually(lambda: broker.count(ApiKey.LIST_TRANSACTIONS) == 1)
        broker.drop_connections()
        assert (await refusal(lost)).retriable
        broker.answers[ApiKey.LIST_TRANSACTIONS] = listing()
        clock: Any = peers._clock
        clock.advance(1_000)
        await peers.request(2, ApiKey.LIST_TRANSACTIONS, 0, m.ListTransactionsRequest())
        assert broker.connections_total == 2


async def test_an_unreachable_broker_is_left_alone_for_a_while_that_grows_to_a_limit() -> None:
    clock = ManualClock()
    peers = peers_of(free_port(), clock)
    attempts_ms = []
    for now_ms in range(0, 5_000, 25):
        error = await refusal(peers.request(2, ApiKey.LIST_TRANSACTIONS, 0, m.ListTransactionsRequest()))
        if "cannot connect" in error.message:
            attempts_ms.append(now_ms)
        clock.advance(25)
    pauses = [later - earlier for earlier, later in pairwise(attempts_ms)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 75
    assert 950 <= pauses[-1] <= 1_050
    await peers.close()


async def test_one_kind_of_request_does_not_hold_back_another() -> None:
    async with broker_and_peers() as (broker, peers):
        broker.answers[ApiKey.WRITE_TXN_MARKERS] = lambda version, request: None
        broker.answers[ApiKey.LIST_TRANSACTIONS] = listing()
        stuck = [
            asyncio.ensure_future(peers.request(2, ApiKey.WRITE_TXN_MARKERS, 2, m.WriteTxnMarkersRequest()))
            for _ in range(8)
        ]
        await eventually(lambda: broker.count(ApiKey.WRITE_TXN_MARKERS) >= 4)
        async with asyncio.timeout(5):
            await peers.request(2, ApiKey.LIST_TRANSACTIONS, 0, m.ListTransactionsRequest())
        broker.drop_connections()
        lost: list[Any] = await asyncio.gather(*stuck, return_exceptions=True)
        assert {error.code for error in lost} == {ErrorCode.NETWORK_EXCEPTION}


async def test_requests_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers_module, "IN_FLIGHT_MAX", 2)
    async with broker_and_peers() as (broker, peers):
        broker.answers[ApiKey.LIST_TRANSACTIONS] = lambda version, request: None
        stuck = [
            asyncio.ensure_future(peers.request(2, ApiKey.LIST_TRANSACTIONS, 0, m.ListTransactionsRequest()))
            for _ in range(2)
        ]
        await eventually(lambda: peers.statistics().in_flight == 2)
        error = await refusal(peers.request(2, ApiKey.LIST_TRANSACTIONS, 0, m.ListTransactionsRequest()))
        assert (error.code, error.retriable) == (ErrorCode.NETWORK_EXCEPTION, True)
        broker.drop_connections()
        await asyncio.gather(*stuck, return_exceptions=True)
