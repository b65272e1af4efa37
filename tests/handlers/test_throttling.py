"""Who is told to wait, and that the wait reaches both the answer and the session."""

from __future__ import annotations

import asyncio
import importlib
import time
import types
from typing import Any

import pytest

from broker.clock import ManualClock
from broker.config.broker import BrokerConfig
from broker.handlers import throttling
from broker.handlers.context import ConnectionInfo, Request, Services
from broker.handlers.pipeline import HANDLER_MODULES, Pipeline
from broker.handlers.reply import Deferred
from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.header import skip_response_header
from broker.quotas.driver import Quotas
from tests.support.wire import request_frame


def services(**configs: str) -> Services:
    quotas = Quotas(ManualClock())
    quotas.configure(BrokerConfig().with_dynamic({name.replace("_", "."): text for name, text in configs.items()}, {}))
    return types.SimpleNamespace(quotas=quotas)  # type: ignore[return-value]


def request(client_id: str | None = "a", listener: str = "client", **fields: Any) -> Request:
    connection = ConnectionInfo(1, "127.0.0.1", 5, listener)
    return Request(0, 9, 1, client_id, memoryview(b""), connection, **fields)


def produce_wait(asked: Request, parts: Services, byte_count: int) -> int:
    asked.body = memoryview(bytes(byte_count))
    throttling.throttle_produce(asked, parts)
    return asked.throttle_ms


def test_without_quotas_nobody_is_asked_or_measured() -> None:
    parts = services()
    assert (parts.quotas.active, parts.quotas.timing) == (False, False)
    assert produce_wait(request(), parts, 10**6) == 0
    assert throttling.fetch_bytes_max(request(), parts, 10**9) == 10**9


def test_a_producer_above_its_rate_waits_and_its_connection_is_muted() -> None:
    parts = services(quota_producer_byte_rate="1000")
    first, second = request(), request()
    assert produce_wait(first, parts, 10_000) == 0
    assert produce_wait(second, parts, 2_000) == 2_000
    assert (first.connection.mute_ms, second.connection.mute_ms) == (0, 2_000)
    assert produce_wait(request("b"), parts, 10_000) == 0, "each client id has its own rate"
    statistics = parts.quotas.statistics()
    assert (statistics.throttled_total, statistics.throttled_ms_total, statistics.clients) == (1, 2_000, 2)


def test_a_consumer_waits_for_what_it_has_had_and_a_fetch_that_waits_is_not_counted() -> None:
    parts = services(quota_consumer_byte_rate="1000")
    assert throttling.fetch_bytes_max(request(), parts, 50_000) == 10_000
    assert throttling.fetch_throttle_ms(request(), parts, 15_000) == 0, "one batch may be larger than all that"
    assert throttling.fetch_bytes_max(request(), parts, 50_000) == 1
    assert throttling.fetch_throttle_ms(request(), parts, 9_000) == 5_000
    assert throttling.fetch_throttle_ms(request(), parts, 9_000) == 5_000


@pytest.mark.parametrize("batch_bytes", [100, 1_500, 9_000, 25_000])
def test_over_a_long_time_a_consumer_gets_its_rate_whatever_the_size_of_its_batches(batch_bytes: int) -> None:
    """Also where one batch is more than it may have in the whole window."""
    clock = ManualClock()
    quotas = Quotas(clock)
    quotas.configure(BrokerConfig().with_dynamic({"quota.consumer.byte.rate": "1000"}, {}))
    parts: Services = types.SimpleNamespace(quotas=quotas)  # type: ignore[assignment]
    began, got = clock.monotonic(), 0
    while clock.monotonic() < began + 600:
        room = throttling.fetch_bytes_max(request(), parts, 10**6)
        found = max(1, room // batch_bytes) * batch_bytes
        wait_ms = throttling.fetch_throttle_ms(request(), parts, found)
        got += 0 if wait_ms else found
        clock.advance(max(1, wait_ms))
    assert 600_000 - batch_bytes <= got <= 600_000 + 10_000 + batch_bytes


def test_brokers_and_collectors_are_never_throttled() -> None:
    parts = services(quota_producer_byte_rate="1", quota_consumer_byte_rate="1", quota_request_percentage="0.001")
    inside = request(listener="internal")
    assert produce_wait(inside, parts, 10**6) == 0
    assert throttling.fetch_throttle_ms(inside, parts, 10**9) == 0
    assert throttling.fetch_bytes_max(inside, parts, 10**9) == 10**9
    assert not throttling.is_timed(inside, parts.quotas)


def test_a_request_that_took_too_long_waits_for_at_most_one_sample() -> None:
    parts = services(quota_request_percentage="1")
    assert throttling.request_throttle_ms(request(busy_ns=50_000_000), parts.quotas) == 0
    slow = request(busy_ns=10_000_000_000)
    assert throttling.request_throttle_ms(slow, parts.quotas) == 1_000
    assert slow.connection.mute_ms == 1_000


async def test_waiting_is_no_work() -> None:
    asked, work = request(), asyncio.Event()

    async def handler() -> str:
        await work.wait()
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.05)
        except TimeoutError:
            return "done"
        raise AssertionError

    async def measured() -> str:
        result: str = await throttling.timed(asked, handler())
        return result

    task = asyncio.ensure_future(measured())
    await asyncio.sleep(0)
    work.set()
    assert await task == "done"
    assert 0 < asked.busy_ns < 40_000_000


async def test_a_measured_handler_can_be_cancelled() -> None:
    task = asyncio.ensure_future(forever())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def forever() -> None:
    await throttling.timed(request(), asyncio.Event().wait())


def work_hard() -> None:
    until = time.perf_counter() + 0.001
    while time.perf_counter() < until:
        pass


@pytest.mark.parametrize("waits", [False, True])
async def test_the_time_of_any_request_is_told_in_its_answer(monkeypatch: pytest.MonkeyPatch, waits: bool) -> None:
    parts = services(quota_request_percentage="0.001")
    module = importlib.import_module(f"broker.handlers.{HANDLER_MODULES[ApiKey.HEARTBEAT]}")

    def at_once(request: Request, message: Any, services: Services) -> Any:
        work_hard()
        return m.HeartbeatResponse()

    async def later(request: Request, message: Any, services: Services) -> Any:
        await asyncio.sleep(0)
        work_hard()
        return m.HeartbeatResponse()

    monkeypatch.setattr(module, "handle", later if waits else at_once)
    pipeline = Pipeline(parts)
    connection = ConnectionInfo(1, "127.0.0.1", 5, "client")
    message = m.HeartbeatRequest(group_id="g", generation_id=1, member_id="m")
    answers = []
    for _ in range(3):
        reply = pipeline.handle(memoryview(request_frame(ApiKey.HEARTBEAT, 2, message)[4:]), connection)
        for _ in range(5):
            await asyncio.sleep(0)
        frame = reply.answer if isinstance(reply, Deferred) else reply
        assert isinstance(frame, bytes)
        _, at = skip_response_header(ApiKey.HEARTBEAT, 2, frame[4:])
        answers.append(codec.decode_response(ApiKey.HEARTBEAT, 2, frame[4 + at :]).throttle_time)
    assert max(answers) == connection.mute_ms > 0
