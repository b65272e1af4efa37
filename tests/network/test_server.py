"""Limits and deadlines that belong to all connections together."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from broker.network.server import (
    CLOSING_TICKS_MAX,
    INCOMPLETE_FRAME_TICKS_MAX,
    INTERNAL_SEND_BUFFER_BYTES,
    PREAUTH_TICKS_MAX,
    ServerSettings,
)
from tests.network.fakes import FETCH, METADATA, PRODUCE, FakeTransport, Link, frame, new_server


def tick(server, count: int) -> None:
    for _ in range(count):
        server._on_tick()
        server._timer.cancel()


async def test_connections_beyond_the_limit_are_turned_away() -> None:
    server = new_server(asyncio.get_running_loop(), connections_max=2)
    links = [Link(server, address=f"10.0.0.{number}") for number in range(3)]
    assert [link.transport.aborted for link in links] == [False, False, True]
    assert server.statistics().connections == 2


async def test_connections_of_one_address_are_limited_and_counted_down() -> None:
    server = new_server(asyncio.get_running_loop(), connections_per_address_max=1)
    first, second, other = Link(server), Link(server), Link(server, address="10.9.9.9")
    assert [link.transport.aborted for link in (first, second, other)] == [False, True, False]
    first.transport.close()
    assert not Link(server).transport.aborted


async def test_a_limit_that_changes_holds_for_the_next_connection() -> None:
    server = new_server(asyncio.get_running_loop(), connections_max=1)
    first = Link(server)
    server.configure(ServerSettings(connections_max=2))
    second, third = Link(server, address="10.0.0.2"), Link(server, address="10.0.0.3")
    assert [link.transport.aborted for link in (first, second, third)] == [False, False, True]


async def test_one_address_may_have_a_limit_of_its_own_and_limits_change_while_running() -> None:
    server = new_server(asyncio.get_running_loop(), connections_per_address_overrides={"10.0.0.9": 1})
    links = [Link(server, address="10.0.0.9") for _ in range(2)] + [Link(server) for _ in range(2)]
    assert [link.transport.aborted for link in links] == [False, True, False, False]
    server.configure(ServerSettings(connections_max=1))
    assert Link(server).transport.aborted
    assert not links[2].transport.aborted


class Options:
    family = socket.AF_INET

    def __init__(self) -> None:
        self.set: dict[int, int] = {}

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.set[option] = value


@pytest.mark.parametrize(
    ("listener", "configured", "expected"),
    [
        ("client", -1, None),
        ("client", 5_000, 5_000),
        ("internal", -1, INTERNAL_SEND_BUFFER_BYTES),
        ("internal", 5_000, 5_000),
    ],
)
async def test_what_brokers_are_sent_stays_in_the_cache_unless_the_operator_knows_better(
    listener, configured, expected, monkeypatch
) -> None:
    options = Options()
    monkeypatch.setattr(
        FakeTransport, "get_extra_info", lambda _, name, default=None: options if name == "socket" else ("h", 1)
    )
    Link(new_server(asyncio.get_running_loop(), send_buffer_bytes=configured), listener)
    assert options.set.get(socket.SO_SNDBUF) == expected


async def test_an_idle_connection_is_closed_and_an_active_one_is_not() -> None:
    server = new_server(asyncio.get_running_loop(), idle_ms_max=5_000)
    idle, active = Link(server), Link(server)
    for _ in range(8):
        tick(server, 1)
        active.receive(frame(METADATA, 1))
    assert idle.transport.closing
    assert not active.transport.closing


async def test_a_connection_that_waits_for_us_is_not_idle() -> None:
    server = new_server(asyncio.get_running_loop(), idle_ms_max=5_000)
    waiting = Link(server)
    waiting.receive(frame(FETCH, 1, b"park"))
    tick(server, 20)
    assert not waiting.transport.closing


async def test_a_frame_that_does_not_arrive_ends_its_connection() -> None:
    server = new_server(asyncio.get_running_loop())
    slow = Link(server)
    slow.receive(frame(METADATA, 1, b"x" * 1_000)[:500])
    for _ in range(INCOMPLETE_FRAME_TICKS_MAX):
        tick(server, 1)
        slow.receive(b"x")
    assert not slow.transport.closing
    tick(server, 1)
    assert slow.transport.aborted


async def test_half_a_length_prefix_does_not_hold_a_connection_either() -> None:
    server = new_server(asyncio.get_running_loop())
    slow = Link(server)
    slow.receive(struct.pack(">i", 100)[:3])
    tick(server, INCOMPLETE_FRAME_TICKS_MAX + 1)
    assert slow.transport.aborted


async def test_a_stranger_on_the_internal_listener_has_ten_seconds() -> None:
    server = new_server(asyncio.get_running_loop())
    stranger, peer, client = Link(server, "internal"), Link(server, "internal"), Link(server)
    peer.receive(frame(METADATA, 1, b"login"))
    tick(server, PREAUTH_TICKS_MAX + 1)
    assert [link.transport.aborted for link in (stranger, peer, client)] == [True, False, False]


async def test_stopping_answers_parked_requests_and_then_closes() -> None:
    server = new_server(asyncio.get_running_loop())
    quiet, busy = Link(server), Link(server)
    busy.receive(frame(PRODUCE, 5, b"park"))
    stopping = asyncio.create_task(server.stop(deadline_seconds=5))
    await asyncio.sleep(0)
    assert quiet.transport.closing
    assert not busy.transport.closing
    busy.pipeline.resolve(5)
    await stopping
    assert busy.transport.correlation_ids() == [5]


async def test_stopping_does_not_wait_beyond_its_deadline() -> None:
    server = new_server(asyncio.get_running_loop())
    stuck = Link(server)
    stuck.receive(frame(PRODUCE, 5, b"park"))
    await server.stop(deadline_seconds=0.01)
    assert stuck.transport.aborted


async def test_one_bad_connection_does_not_harm_another() -> None:
    server = new_server(asyncio.get_running_loop())
    good, bad = Link(server), Link(server)
    good.receive(frame(METADATA, 1, b"half")[:12])
    bad.receive(b"\xff" * 100)
    good.receive(frame(METADATA, 1, b"half")[12:])
    assert good.transport.correlation_ids() == [1]
    assert bad.transport.closing


async def test_a_closed_peer_that_takes_no_answers_is_dropped_in_time() -> None:
    server = new_server(asyncio.get_running_loop())
    link = Link(server)
    link.transport.lingers = True
    link.receive(b"\xff" * 100)
    tick(server, CLOSING_TICKS_MAX)
    assert server.statistics().connections == 1
    tick(server, 1)
    assert link.transport.aborted
    assert server.statistics().connections == 0
