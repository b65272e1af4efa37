"""One connection against a peer that does everything wrong."""

import asyncio
import struct

import pytest

from broker.client.addresses import Address
from broker.client.connection import Connection
from broker.client.errors import (
    AuthenticationFailedError,
    ClientConnectionError,
    ClientTimeoutError,
    PeerProtocolError,
)
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol import private
from broker.protocol.api import ApiKey
from broker.telemetry.sample import TelemetryResponse
from tests.client.fake_broker import FakeBroker, Raw

METADATA = m.MetadataRequest(topics=None)


async def open_to(broker: FakeBroker, **options: object) -> Connection:
    return await Connection.open(Address("127.0.0.1", broker.port), connect_timeout_seconds=2.0, **options)


async def ask(connection: Connection, seconds: float = 2.0) -> object:
    return await connection.call(ApiKey.METADATA, METADATA, timeout_seconds=seconds)


async def test_the_highest_common_version_is_spoken() -> None:
    async with FakeBroker() as broker:
        broker.ranges = {ApiKey.METADATA: (2, 7), ApiKey.FETCH: (0, 99), ApiKey.PRODUCE: (90, 99), 5_000: (0, 0)}
        connection = await open_to(broker)
        try:
            assert connection.versions == {ApiKey.METADATA: 7, ApiKey.FETCH: 12}
            assert await ask(connection) is not None
            assert broker.requests[-1] == (ApiKey.METADATA, 7)
        finally:
            await connection.close()


async def test_an_api_the_broker_does_not_offer_is_refused_without_asking() -> None:
    async with FakeBroker() as broker:
        broker.ranges = {ApiKey.FETCH: (4, 12)}
        connection = await open_to(broker)
        try:
            with pytest.raises(KafkaError) as failure:
                await ask(connection)
            assert failure.value.code is ErrorCode.UNSUPPORTED_VERSION
            assert broker.count(ApiKey.METADATA) == 0
        finally:
            await connection.close()


async def test_an_old_broker_that_refuses_our_api_versions_is_asked_again_in_version_0() -> None:
    async with FakeBroker() as broker:

        def answer(version: int, request: object) -> object:
            if version > 0:
                correlation_id = 1
                body = struct.pack(">hihhh", ErrorCode.UNSUPPORTED_VERSION, 1, ApiKey.API_VERSIONS, 0, 2)
                return Raw(struct.pack(">ii", 4 + len(body), correlation_id) + body)
            return broker._api_versions(version, request)

        broker.answers[ApiKey.API_VERSIONS] = answer
        connection = await open_to(broker)
        await connection.close()
        assert [version for key, version in broker.requests if key == ApiKey.API_VERSIONS] == [3, 0]


async def test_requests_are_pipelined_and_answered_in_order() -> None:
    async with FakeBroker() as broker:
        connection = await open_to(broker)
        try:
            answers = await asyncio.gather(*(ask(connection) for _ in range(50)))
            assert len(answers) == 50
            assert connection.pending_count == 0
            assert broker.connections_total == 1
        finally:
            await connection.close()


async def test_a_silent_broker_is_given_up_at_the_deadline_and_the_connection_is_closed() -> None:
    async with FakeBroker() as broker:
        broker.answers[ApiKey.METADATA] = lambda version, request: None
        connection = await open_to(broker)
        with pytest.raises(ClientTimeoutError, match="did not answer METADATA") as failure:
            await ask(connection, seconds=0.05)
        assert failure.value.maybe_sent
        assert connection.closed
        with pytest.raises(ClientConnectionError, match="closed") as failure:
            await ask(connection)
        assert not failure.value.maybe_sent
        await connection.close()


async def test_a_wrong_correlation_id_ends_the_connection() -> None:
    async with FakeBroker() as broker:
        broker.answers[ApiKey.METADATA] = lambda version, request: Raw(struct.pack(">ii", 4, 777))
        connection = await open_to(broker)
        with pytest.raises(PeerProtocolError, match="answered 777 where 2 was due"):
            await ask(connection)
        assert connection.closed
        await connection.close()


async def test_an_unasked_answer_ends_the_connection() -> None:
    async with FakeBroker() as broker:
        broker.answers[ApiKey.METADATA] = lambda version, request: Raw(struct.pack(">iiii", 4, 2, 4, 3))
        connection = await open_to(broker)
        with pytest.raises(PeerProtocolError):
            await ask(connection)
        assert connection.closed
        await connection.close()


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x00\x00\x00\x7f\xff\xff\xff", b"\xff" * 40])
async def test_an_unreadable_answer_ends_the_connection(body: bytes) -> None:
    async with FakeBroker() as broker:
        frame = (2).to_bytes(4, "big") + body
        broker.answers[ApiKey.METADATA] = lambda version, request: Raw(len(frame).to_bytes(4, "big") + frame)
        connection = await open_to(broker)
        with pytest.raises(PeerProtocolError, match="unreadable METADATA"):
            await ask(connection)
        assert connection.closed
        await connection.close()


@pytest.mark.parametrize("size", [-1, 0, 3, 2**31 - 1])
async def test_an_absurd_frame_length_ends_the_connection_before_memory_is_spent(size: int) -> None:
    async with FakeBroker() as broker:
        broker.answers[ApiKey.METADATA] = lambda version, request: Raw(struct.pack(">i", size))
        connection = await open_to(broker)
        with pytest.raises(PeerProtocolError, match=f"a frame of {size} bytes"):
            await ask(connection)
        await connection.close()


async def test_a_connection_cut_within_a_frame_says_so() -> None:
    async with FakeBroker() as broker:
        broker.answers[ApiKey.METADATA] = lambda version, request: Raw(struct.pack(">ii", 100, 2), close=True)
        connection = await open_to(broker)
        with pytest.raises(PeerProtocolError, match="within a frame") as failure:
            await ask(connection)
        assert failure.value.maybe_sent
        await connection.close()


async def test_a_cancelled_call_does_not_disturb_the_next_one() -> None:
    async with FakeBroker() as broker:
        connection = await open_to(broker)
        try:
            first = asyncio.create_task(ask(connection))
            await asyncio.sleep(0)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await ask(connection) is not None
        finally:
            await connection.close()


async def test_nobody_listening_is_reported_with_the_address() -> None:
    async with FakeBroker() as broker:
        address = Address("127.0.0.1", broker.port)
    with pytest.raises(ClientConnectionError, match=f"cannot connect to {address}") as failure:
        await Connection.open(address)
    assert not failure.value.maybe_sent


async def test_both_sides_prove_the_secret_before_anything_else_is_said() -> None:
    async with FakeBroker(secret=b"common") as broker:
        broker.answers[ApiKey.TELEMETRY] = lambda version, body: TelemetryResponse(error_message="hello")
        connection = await open_to(broker, secret=b"common")
        try:
            answer = await connection.call_private(
                ApiKey.TELEMETRY, private.TelemetryRequest(), TelemetryResponse, timeout_seconds=2
            )
            assert answer.error_message == "hello"
            assert [key for key, _ in broker.requests[:3]] == [ApiKey.AUTHENTICATE] * 2 + [ApiKey.API_VERSIONS]
        finally:
            await connection.close()


async def test_a_broker_that_does_not_know_the_secret_never_sees_our_proof() -> None:
    async with FakeBroker(secret=b"another") as broker:
        with pytest.raises(AuthenticationFailedError, match="does not know the cluster secret"):
            await open_to(broker, secret=b"ours")
        assert broker.count(ApiKey.AUTHENTICATE) == 1


async def test_a_refused_proof_is_an_authentication_failure() -> None:
    async with FakeBroker(secret=b"common") as broker:
        broker.answers[ApiKey.AUTHENTICATE] = lambda version, body: Raw(close=True)
        with pytest.raises(AuthenticationFailedError, match="is this the internal listener"):
            await open_to(broker, secret=b"common")


async def test_an_unreadable_private_answer_ends_the_connection() -> None:
    async with FakeBroker(secret=b"common") as broker:
        broker.answers[ApiKey.TELEMETRY] = lambda version, body: Raw(struct.pack(">ii", 8, 4) + b"\xc1\xc1\xc1\xc1")
        connection = await open_to(broker, secret=b"common")
        with pytest.raises(PeerProtocolError, match="unreadable TelemetryResponse"):
            await connection.call_private(
                ApiKey.TELEMETRY, private.TelemetryRequest(), TelemetryResponse, timeout_seconds=2
            )
        await connection.close()
