"""What an operator sees of the connections, counted by the sessions themselves."""

from __future__ import annotations

import asyncio

from broker.network.server import Server
from broker.protocol.private import ConnectionEntry
from tests.network.fakes import FETCH, METADATA, Link, answer, frame, new_server

NOW_MS = 1_700_000_000_000


async def serve(**settings: int) -> Server:
    return new_server(asyncio.get_running_loop(), **settings)


def look(server: Server, after: int = 0, limit: int = 100, listener: str = "") -> tuple[list[ConnectionEntry], int]:
    return server.page(
        after=after,
        limit=limit,
        now_ms=NOW_MS,
        wanted=lambda connection: not listener or connection.listener == listener,
    )


async def test_bytes_and_waiting_requests_are_counted() -> None:
    server = await serve()
    link = Link(server, address="10.0.0.9")
    request, parked = frame(METADATA, 1, b"x" * 50), frame(FETCH, 2, b"park")
    link.receive(request + parked + request)
    (entry,), total = look(server)
    assert total == 1
    assert (entry.connection_id, entry.listener, entry.peer_host, entry.peer_port) == (1, "client", "10.0.0.9", 4242)
    assert (entry.bytes_in, entry.bytes_out) == (2 * len(request) + len(parked), len(answer(1)))
    assert (entry.pending, entry.waiting_bytes) == (1, len(request))
    link.pipeline.resolve(2)
    await asyncio.sleep(0)
    (entry,), _ = look(server)
    assert (entry.bytes_out, entry.pending, entry.waiting_bytes) == (3 * len(answer(1)), 0, 0)


async def test_a_frame_under_way_and_an_answer_not_taken_are_seen() -> None:
    server = await serve()
    link = Link(server)
    link.transport.hold_writes = True
    link.receive(frame(METADATA, 1) + frame(METADATA, 2, b"y" * 5_000)[:100])
    (entry,), _ = look(server)
    assert entry.unsent_bytes == len(answer(1))
    assert entry.waiting_bytes > 0


async def test_age_and_idleness_are_told_in_ticks() -> None:
    server = await serve()
    link = Link(server)
    server.tick += 5
    link.receive(frame(METADATA, 1))
    server.tick += 2
    (entry,), _ = look(server)
    assert (entry.connected_at_ms, entry.idle_ms) == (NOW_MS - 7_000, 2_000)


async def test_pages_come_in_order_of_acceptance_and_leave_out_who_has_gone() -> None:
    server = await serve()
    links = [Link(server) for _ in range(5)]
    links[1].transport.abort()
    assert ([e.connection_id for e in look(server, limit=2)[0]], look(server, limit=2)[1]) == ([1, 3], 4)
    assert [e.connection_id for e in look(server, after=3, limit=2)[0]] == [4, 5]


async def test_a_page_can_be_of_one_listener() -> None:
    server = await serve()
    Link(server)
    Link(server, listener="internal")
    assert [e.connection_id for e in look(server, listener="internal")[0]] == [2]


async def test_a_connection_is_ended_by_its_id_once() -> None:
    server = await serve()
    link = Link(server)
    assert server.disconnect(1)
    assert link.transport.aborted
    assert not server.disconnect(1)
    assert server.statistics().violations_total == 0, "the peer did nothing wrong"
