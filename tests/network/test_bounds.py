"""What all connections together may hold, and how fast they may come."""

from __future__ import annotations

import asyncio

import pytest

from broker import limits
from broker.network.server import AcceptPace, Server
from tests.network.fakes import FETCH, METADATA, Link, answer, frame, new_server
from tests.network.test_muting import ManualTimers


async def serve(**settings: int) -> Server:
    return new_server(asyncio.get_running_loop(), **settings)


async def turn() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_who_has_not_read_for_longest_goes_when_too_much_lies_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "UNSENT_BYTES_MAX", 250_000)
    server = await serve()
    links = [Link(server) for _ in range(4)]
    for number, link in enumerate(links):
        link.pipeline.on_handle = lambda correlation_id: [b"x" * 100_000]
        link.transport.hold_writes = number != 3
        link.receive(frame(FETCH, number))
        await turn()
    assert [link.transport.aborted for link in links] == [True, False, False, False]
    assert (server.unsent_bytes, server.statistics().stalled_total) == (200_000, 1)
    links[1].session.resume_writing()
    assert server.unsent_bytes == 100_000


async def test_waiting_input_of_all_connections_is_bounded_and_given_back() -> None:
    server = await serve(frame_bytes_max=1_000, request_bytes_max=2_500)
    links = [Link(server) for _ in range(3)]
    waiting = frame(METADATA, 2, b"y" * 980)
    for number, link in enumerate(links):
        link.receive(frame(FETCH, number, b"park") + waiting)
    assert [link.transport.closing for link in links] == [False, False, True]
    assert server.memory.owned_bytes == 2 * len(waiting)
    links[1].transport.abort()
    links[0].pipeline.resolve(0)
    await turn()
    assert server.memory.owned_bytes == 0
    assert links[0].transport.written == answer(0) + answer(2)


async def test_one_largest_request_always_fits() -> None:
    server = await serve(frame_bytes_max=10_000, request_bytes_max=5)
    link = Link(server)
    data = frame(METADATA, 1, b"z" * 9_000)
    link.receive(data[:5_000])
    link.receive(data[5_000:])
    assert link.transport.correlation_ids() == [1]


def test_a_seconds_worth_of_connections_comes_at_once_and_the_rest_in_turn() -> None:
    pace = AcceptPace(10)
    delays = [pace.delay(100.0) for _ in range(13)]
    assert delays[:10] == [pytest.approx(0, abs=1e-6)] * 10
    assert delays[10:] == [pytest.approx(expected) for expected in (0.1, 0.2, 0.3)]
    assert pace.delay(105.0) == 0


def test_a_turn_that_is_too_far_away_is_no_turn() -> None:
    pace = AcceptPace(1)
    delays = [pace.delay(0.0) for _ in range(40)]
    assert delays[-1] is None
    assert max(delay for delay in delays if delay is not None) <= limits.ACCEPT_DELAY_SECONDS_MAX


async def test_a_connection_above_the_rate_is_read_when_its_turn_comes() -> None:
    timers = ManualTimers(asyncio.get_running_loop())
    server = new_server(timers, creation_rate_max=1)  # type: ignore[arg-type]
    first, second = Link(server), Link(server)
    assert (first.transport.reading, second.transport.reading) == (True, False)
    inside = Link(server, listener="internal")
    assert inside.transport.reading, "brokers and collectors do not wait behind clients"
    timers.advance(1.0)
    assert second.transport.reading


async def test_clients_cannot_take_the_places_of_brokers() -> None:
    server = await serve(connections_max=1)
    links = [Link(server), Link(server), Link(server, listener="internal")]
    assert [link.transport.aborted for link in links] == [False, True, False]
    links[0].transport.abort()
    assert not Link(server).transport.aborted
