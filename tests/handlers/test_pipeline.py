"""Admission, dispatch and what happens when a handler fails."""

from __future__ import annotations

import asyncio
import importlib
import struct
import types
from typing import Any

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import ConnectionInfo
from broker.handlers.pipeline import HANDLER_MODULES, Pipeline
from broker.handlers.reply import CloseConnection, Deferred
from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import PRIVATE_API_KEY_MIN, ApiKey
from broker.protocol.header import skip_response_header
from broker.protocol.registry import SERVED
from broker.quotas.driver import Quotas
from tests.handlers.waiting_room import WaitingRoom
from tests.support.wire import request_frame

VERSION = 2


@pytest.fixture
def room() -> WaitingRoom:
    return WaitingRoom()


@pytest.fixture
def pipeline(room: WaitingRoom) -> Pipeline:
    return Pipeline(types.SimpleNamespace(quotas=Quotas(), connections=room))  # type: ignore[arg-type]


@pytest.fixture
def connection() -> ConnectionInfo:
    return ConnectionInfo(1, "127.0.0.1", 4242, "client")


@pytest.fixture
def handle_with(monkeypatch: pytest.MonkeyPatch):
    """Replace the handler of an API by a function of (request, message)."""

    def replace(api_key: ApiKey, function) -> None:
        module = importlib.import_module(f"broker.handlers.{HANDLER_MODULES[api_key]}")
        monkeypatch.setattr(module, "handle", lambda request, message, services: function(request, message))

    return replace


def heartbeat(correlation_id: int = 7, *, member_id: str = "m") -> memoryview:
    message = m.HeartbeatRequest(group_id="g", generation_id=1, member_id=member_id)
    return memoryview(request_frame(ApiKey.HEARTBEAT, VERSION, message, correlation_id=correlation_id)[4:])


def decoded(answer: Any, api_key: ApiKey = ApiKey.HEARTBEAT) -> tuple[int, Any]:
    assert isinstance(answer, bytes)
    (length,) = struct.unpack_from(">i", answer)
    assert length == len(answer) - 4
    correlation_id, at = skip_response_header(api_key, VERSION, answer[4:])
    return correlation_id, codec.decode_response(api_key, VERSION, answer[4 + at :])


@pytest.mark.parametrize("spec", SERVED.values(), ids=lambda spec: spec.name)
def test_every_served_api_has_a_handler(spec) -> None:
    module = importlib.import_module(f"broker.handlers.{HANDLER_MODULES[spec.key]}")
    assert spec.key == module.API
    assert (spec.key >= PRIVATE_API_KEY_MIN) == hasattr(module, "handle_private")
    assert hasattr(module, "handle") or hasattr(module, "handle_raw") or hasattr(module, "handle_private")


def test_an_answer_carries_its_request(pipeline, connection, handle_with) -> None:
    seen = []

    def handle(request, message):
        seen.append((request.client_id, request.api_version, message.group_id))
        return m.HeartbeatResponse(error_code=27)

    handle_with(ApiKey.HEARTBEAT, handle)
    assert decoded(pipeline.handle(heartbeat(), connection)) == (7, m.HeartbeatResponse(error_code=27))
    assert seen == [("hostile", VERSION, "g")]
    assert pipeline.requests_total == 1


def test_an_expected_failure_is_answered_with_its_code(pipeline, connection, handle_with) -> None:
    def handle(request, message):
        raise KafkaError(ErrorCode.NOT_COORDINATOR)

    handle_with(ApiKey.HEARTBEAT, handle)
    assert decoded(pipeline.handle(heartbeat(), connection))[1].error_code == ErrorCode.NOT_COORDINATOR


def test_a_fault_of_ours_is_logged_and_answered(pipeline, connection, handle_with, caplog) -> None:
    def handle(request, message):
        raise ZeroDivisionError("ours")

    handle_with(ApiKey.HEARTBEAT, handle)
    assert decoded(pipeline.handle(heartbeat(), connection))[1].error_code == ErrorCode.UNKNOWN_SERVER_ERROR
    assert "ZeroDivisionError: ours" in caplog.text


def test_a_fault_without_a_place_for_it_ends_the_connection(pipeline, connection, handle_with) -> None:
    def handle(request, message):
        raise ZeroDivisionError

    handle_with(ApiKey.LIST_OFFSETS, handle)
    frame = memoryview(request_frame(ApiKey.LIST_OFFSETS, 1, m.ListOffsetsRequest(replica_id=-1, topics=[]))[4:])
    with pytest.raises(CloseConnection):
        pipeline.handle(frame, connection)


async def test_an_awaiting_handler_answers_later(pipeline, connection, handle_with) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def handle(request, message):
        return m.HeartbeatResponse(error_code=await gate)

    handle_with(ApiKey.HEARTBEAT, handle)
    deferred = pipeline.handle(heartbeat(), connection)
    assert isinstance(deferred, Deferred)
    assert not deferred.done
    gate.set_result(22)
    await asyncio.sleep(0.01)
    assert decoded(deferred.answer)[1].error_code == 22


async def test_an_awaiting_handler_that_fails_is_answered(pipeline, connection, handle_with) -> None:
    async def handle(request, message):
        raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)

    handle_with(ApiKey.HEARTBEAT, handle)
    deferred = pipeline.handle(heartbeat(), connection)
    await asyncio.sleep(0.01)
    assert decoded(deferred.answer)[1].error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS


async def test_large_requests_that_wait_count_until_they_are_answered(pipeline, connection, handle_with, room) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def handle(request, message):
        return m.HeartbeatResponse(error_code=await gate)

    handle_with(ApiKey.HEARTBEAT, handle)
    large = heartbeat(member_id="m" * 30_000)
    pipeline.handle(heartbeat(), connection)
    assert room.held_bytes == 0, "a small one is bounded by the number of connections"
    waiting = pipeline.handle(large, connection)
    assert 30_000 < room.held_bytes < len(large)
    with pytest.raises(CloseConnection):
        pipeline.handle(large, connection)
    pipeline.handle(large, ConnectionInfo(2, "127.0.0.1", 1, "internal", authenticated=True))
    assert room.held_bytes < len(large), "brokers are not held up by clients"
    gate.set_result(22)
    await asyncio.sleep(0.01)
    assert decoded(waiting.answer)[1].error_code == 22
    assert room.held_bytes == 0


async def test_stopping_ends_what_still_awaits(pipeline, connection, handle_with) -> None:
    async def handle(request, message):
        await asyncio.get_running_loop().create_future()

    handle_with(ApiKey.HEARTBEAT, handle)
    deferred = pipeline.handle(heartbeat(), connection)
    await asyncio.sleep(0)
    await pipeline.stop()
    assert deferred.failure is not None


@pytest.mark.parametrize("frame", [b"\0" * 8, b"\0\3\0\1" + b"\0" * 4 + b"\0\x50ab", b"\x7f\xff" + b"\0" * 10])
def test_frames_without_a_proper_header_end_the_connection(pipeline, connection, frame) -> None:
    with pytest.raises(CloseConnection):
        pipeline.handle(memoryview(frame), connection)


def test_what_brokers_ask_each_other_is_not_for_clients(pipeline, connection) -> None:
    request = m.AlterPartitionRequest(broker_id=1, broker_epoch=1, topics=[])
    frame = memoryview(request_frame(ApiKey.ALTER_PARTITION, 3, request)[4:])
    with pytest.raises(CloseConnection, match="not for the client listener"):
        pipeline.handle(frame, connection)
