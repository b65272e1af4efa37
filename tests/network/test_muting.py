"""KIP-219: the answer leaves at once, then nothing is read for the time it told; nobody else notices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.handlers.reply import Reply
from broker.network.server import Server
from tests.network.fakes import FETCH, METADATA, PRODUCE, Link, answer, frame, new_server


class ManualTimers:
    """``call_later`` and ``time`` of a loop under the test's control; the rest is the real loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.now = 100.0
        self.timers: list[Timer] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Any, *arguments: Any) -> Timer:
        timer = Timer(self.now + seconds, callback, arguments)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self.timers if timer.at <= self.now and not timer.cancelled]
        self.timers = [timer for timer in self.timers if timer.at > self.now]
        for timer in due:
            timer.callback(*timer.arguments)


class Timer:
    def __init__(self, at: float, callback: Any, arguments: tuple[Any, ...]) -> None:
        self.at, self.callback, self.arguments, self.cancelled = at, callback, arguments, False

    def when(self) -> float:
        return self.at

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
async def server() -> Server:
    return new_server(ManualTimers(asyncio.get_running_loop()))  # type: ignore[arg-type]


def timers(server: Server) -> ManualTimers:
    return server.loop  # type: ignore[return-value]


def throttle(link: Link, correlation_id: int, wait_ms: int, reply: Reply = b"") -> None:
    """The request of this id makes its client wait."""

    def on_handle(current: int) -> Reply:
        if current == correlation_id:
            link.session.connection.mute_ms = wait_ms
            return reply if reply != b"" else answer(current)
        return answer(current)

    link.pipeline.on_handle = on_handle


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_answer_leaves_at_once_and_the_next_request_waits(server: Server) -> None:
    link = Link(server)
    throttle(link, 1, 500)
    link.receive(frame(METADATA, 1) + frame(METADATA, 2))
    assert link.transport.correlation_ids() == [1]
    assert not link.transport.reading
    timers(server).advance(0.499)
    await turn()
    assert link.transport.correlation_ids() == [1]
    timers(server).advance(0.001)
    await turn()
    assert link.transport.correlation_ids() == [1, 2]
    assert link.transport.reading


async def test_an_idle_muted_connection_reads_again_when_the_time_is_over(server: Server) -> None:
    link = Link(server)
    throttle(link, 1, 500)
    link.receive(frame(METADATA, 1))
    assert not link.transport.reading
    timers(server).advance(0.5)
    assert link.transport.reading


async def test_others_are_not_disturbed(server: Server) -> None:
    slow, other = Link(server), Link(server)
    throttle(slow, 1, 60_000)
    slow.receive(frame(METADATA, 1))
    slow.pipeline.on_handle = None
    other.receive(frame(METADATA, 2))
    assert other.transport.correlation_ids() == [2]
    assert other.transport.reading


async def test_a_request_without_an_answer_mutes_as_well(server: Server) -> None:
    link = Link(server)
    throttle(link, 1, 500, None)
    link.receive(frame(PRODUCE, 1))
    assert (link.transport.written, link.transport.reading) == (b"", False)


async def test_a_parked_answer_mutes_when_it_leaves(server: Server) -> None:
    link = Link(server)
    link.receive(frame(FETCH, 1, b"park"))
    assert link.transport.reading
    link.session.connection.mute_ms = 500
    link.pipeline.resolve(1)
    assert link.transport.correlation_ids() == [1]
    assert not link.transport.reading


async def test_a_longer_wait_wins_over_a_shorter_one(server: Server) -> None:
    link = Link(server)
    link.receive(frame(PRODUCE, 1, b"park") + frame(PRODUCE, 2, b"park"))
    for correlation_id, wait_ms in ((1, 2_000), (2, 100)):
        link.session.connection.mute_ms = wait_ms
        link.pipeline.resolve(correlation_id)
    timers(server).advance(0.2)
    assert not link.transport.reading
    timers(server).advance(1.8)
    assert link.transport.reading
    assert link.session.connection.throttled_ms_total == 2_100


async def test_a_muted_connection_is_neither_idle_nor_slow(server: Server) -> None:
    link = Link(server)
    throttle(link, 1, 1_000_000)
    data = frame(METADATA, 2, b"x" * 50_000)
    link.receive(frame(METADATA, 1))
    link.session._consume(memoryview(data[:100]), 0, 100)  # what was in the socket's buffer already
    server.tick += 700
    server._on_tick()
    assert not link.transport.aborted
    timers(server).advance(1_000)
    server._on_tick()
    assert not link.transport.aborted, "the time it could not send is not held against it"
    link.receive(data[100:])
    assert link.transport.correlation_ids() == [1, 2]


async def test_a_connection_that_ends_while_muted_leaves_no_timer(server: Server) -> None:
    link = Link(server)
    throttle(link, 1, 500)
    link.receive(frame(METADATA, 1))
    link.transport.abort()
    assert all(timer.cancelled for timer in timers(server).timers)
