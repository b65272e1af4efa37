"""Whatever is sent, however it is cut and whenever answers become ready: they come in order, each exactly once."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.network.fakes import METADATA, PRODUCE, Link, frame, new_server

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
