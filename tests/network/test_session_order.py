"""Whatever is sent, however it is cut and whenever answers become ready: they come in order, each exactly once."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.handlers.reply import Deferred
from tests.network.fakes import METADATA, PRODUCE, Link, answer, frame, new_server

request = st.tuples(
    st.sampled_from([PRODUCE, PRODUCE, METADATA]), st.sampled_from([b"", b"park", b"silent", b"y" * 70_000])
)


@settings(max_examples=120, deadline=None)
@given(requests=st.lists(request, max_size=25), data=st.data())
def test_answers_come_in_order_each_exactly_once(requests, data) -> None:
    asyncio.run(check(requests, data))


async def check(requests, data) -> None:
    link = Link(new_server(asyncio.get_running_loop()))
    parked = link.pipeline.parked
    stream = b"".join(frame(key, number, payload) for number, (key, payload) in enumerate(requests))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12), label="cuts")
    edges = [0, *sorted(cuts), len(stream)]
    unread = [stream[start:end] for start, end in itertools.pairwise(edges) if start < end]
    while True:
        waiting = [number for number, deferred in parked.items() if not deferred.done]
        can_read = bool(unread) and link.transport.reading
        if not waiting and not can_read:
            break
        if can_read and (not waiting or data.draw(st.booleans(), label="read")):
            rest = link.receive(unread.pop(0))
            if rest:
                unread.insert(0, rest)
        else:
            link.pipeline.resolve(data.draw(st.sampled_from(waiting), label="resolve"))
        for _ in range(3):
            await asyncio.sleep(0)
    assert not unread
    assert [number for _, number in link.pipeline.started] == list(range(len(requests)))
    answered = [number for number, (_, payload) in enumerate(requests) if payload != b"silent"]
    assert link.transport.correlation_ids() == answered
    assert link.pipeline.payloads == [payload for _, payload in requests]


class Acknowledgement(Deferred):
    can_wait = True


async def test_an_acknowledgement_leaves_behind_what_the_same_input_causes() -> None:
    seen: list[bytes] = []
    server = new_server(asyncio.get_running_loop())
    producer, follower = Link(server), Link(server)
    parked = Acknowledgement()
    producer.pipeline.on_handle = lambda number: parked
    producer.receive(frame(PRODUCE, 1))

    def commit(number: int) -> bytes:
        parked.resolve(answer(1))
        return answer(number)

    follower.pipeline.on_handle = commit
    server.after_input = lambda: seen.append(bytes(producer.transport.written))
    follower.receive(frame(METADATA, 2))
    assert seen == [b""], "readers are woken before it is written"
    assert producer.transport.written == answer(1)


async def test_an_acknowledgement_without_any_input_leaves_in_the_next_turn_of_the_loop() -> None:
    link = Link(new_server(asyncio.get_running_loop()))
    first, second = Acknowledgement(), Acknowledgement()
    waiting = {1: first, 2: second}
    link.pipeline.on_handle = waiting.__getitem__
    link.receive(frame(PRODUCE, 1) + frame(PRODUCE, 2))
    first.resolve(answer(1))
    second.resolve(answer(2))
    assert link.transport.written == b""
    await asyncio.sleep(0)
    assert link.transport.correlation_ids() == [1, 2]


async def test_an_acknowledgement_of_a_connection_that_drains_is_written_before_it_closes() -> None:
    link = Link(new_server(asyncio.get_running_loop()))
    parked = Acknowledgement()
    link.pipeline.on_handle = lambda number: parked
    link.receive(frame(PRODUCE, 1))
    link.session.drain()
    parked.resolve(answer(1))
    assert link.transport.written == answer(1)
    assert link.transport.closing
