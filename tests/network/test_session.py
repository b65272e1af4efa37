"""A session answers in order, reads no more than it may, and survives whatever arrives."""

from __future__ import annotations

import asyncio
import random
import struct

import pytest

from broker import limits
from broker.handlers.reply import Deferred
from broker.network.frames import FRAME_START_BYTES, FrameMemory
from broker.network.session import PREAUTH_FRAME_BYTES_MAX
from tests.network.fakes import FETCH, METADATA, PRODUCE, Link, answer, frame, new_server


@pytest.fixture
async def link() -> Link:
    return Link(new_server(asyncio.get_running_loop()))


async def turn() -> None:
    """Let callbacks that are due run."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_it_answers_one_request(link) -> None:
    link.receive(frame(METADATA, 7))
    assert link.transport.written == answer(7)


async def test_requests_of_one_read_are_answered_in_order_by_one_write(link) -> None:
    link.receive(b"".join(frame(METADATA, number) for number in range(20)))
    assert link.transport.correlation_ids() == list(range(20))


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 11, 4096])
async def test_frames_arrive_whole_however_they_are_cut(link, step) -> None:
    data = b"".join(frame(METADATA, number, b"x" * number) for number in range(12))
    for at in range(0, len(data), step):
        link.receive(data[at : at + step])
    assert link.transport.correlation_ids() == list(range(12))
    assert link.pipeline.payloads == [b"x" * number for number in range(12)]


async def test_large_frames_arrive_whole_however_they_are_cut(link) -> None:
    dice = random.Random(4)
    payloads = [dice.randbytes(size) for size in (3_000_000, 10, 1_048_600, 70_000, 0, 2_000_000)]
    data = b"".join(frame(METADATA, number, payload) for number, payload in enumerate(payloads))
    at = 0
    while at < len(data):
        step = dice.choice([1, 100, 65_536, 300_000])
        link.receive(data[at : at + step])
        at += step
    assert link.pipeline.payloads == payloads


async def test_pipelined_produce_requests_start_at_once_and_are_answered_in_order(link) -> None:
    link.receive(b"".join(frame(PRODUCE, number, b"park") for number in range(4)))
    assert link.pipeline.started == [(PRODUCE, number) for number in range(4)]
    for number in (2, 1, 3):
        link.pipeline.resolve(number)
        assert link.transport.written == b""
    link.pipeline.resolve(0)
    assert link.transport.correlation_ids() == [0, 1, 2, 3]


async def test_an_answer_that_is_ready_waits_for_those_before_it(link) -> None:
    link.receive(frame(PRODUCE, 0, b"park") + frame(PRODUCE, 1))
    assert link.transport.written == b""
    link.pipeline.resolve(0)
    assert link.transport.correlation_ids() == [0, 1]


async def test_acks_0_has_no_answer_and_holds_nothing_back(link) -> None:
    link.receive(frame(PRODUCE, 0, b"silent") + frame(PRODUCE, 1))
    assert link.transport.correlation_ids() == [1]


async def test_a_produce_that_has_not_appended_yet_is_not_overtaken(link) -> None:
    asking, answered = Deferred(), Deferred()
    asking.exclusive = True
    replies = iter((answered, asking, answer(2), answer(3)))
    link.pipeline.on_handle = lambda correlation_id: next(replies)
    link.receive(b"".join(frame(PRODUCE, number) for number in range(3)))
    assert link.pipeline.started == [(PRODUCE, 0), (PRODUCE, 1)]
    assert not link.transport.reading

    asking.settle_order()
    await turn()

    assert link.pipeline.started == [(PRODUCE, 0), (PRODUCE, 1), (PRODUCE, 2)]
    assert link.transport.reading
    link.receive(frame(PRODUCE, 3))
    assert link.transport.written == b""
    asking.resolve(answer(1))
    answered.resolve(answer(0))
    assert link.transport.correlation_ids() == [0, 1, 2, 3]


async def test_another_request_waits_for_parked_produce(link) -> None:
    link.receive(frame(PRODUCE, 0, b"park") + frame(METADATA, 1) + frame(PRODUCE, 2))
    assert link.pipeline.started == [(PRODUCE, 0)]
    assert not link.transport.reading
    link.pipeline.resolve(0)
    await turn()
    assert link.transport.correlation_ids() == [0, 1, 2]
    assert link.transport.reading


async def test_everything_waits_for_a_long_poll(link) -> None:
    link.receive(frame(FETCH, 0, b"park"))
    assert link.transport.reading, "an idle consumer costs no pause"
    link.receive(frame(PRODUCE, 1))
    assert link.pipeline.started == [(FETCH, 0)]
    link.pipeline.resolve(0)
    await turn()
    assert link.transport.correlation_ids() == [0, 1]
    assert link.transport.reading


class LongPoll(Deferred):
    """Answers at once when it is hurried."""

    def hurry(self) -> None:
        self.resolve(answer(2, b"early"))


def follower_with_a_poll(listener: str) -> Link:
    follower = Link(new_server(asyncio.get_running_loop()), listener)
    follower.receive(frame(METADATA, 1, b"login" if listener == "internal" else b""))
    follower.pipeline.on_handle = lambda number: LongPoll() if number == 2 else answer(number)
    follower.receive(frame(FETCH, 2))
    assert follower.transport.correlation_ids() == [1]
    return follower


async def test_a_follower_that_fetches_again_gets_what_waits_and_then_the_next() -> None:
    follower = follower_with_a_poll("internal")
    follower.receive(frame(FETCH, 3) + frame(FETCH, 4))
    assert follower.transport.correlation_ids() == [1, 2, 3, 4]
    assert follower.transport.reading


@pytest.mark.parametrize(("listener", "api_key"), [("client", FETCH), ("internal", METADATA)])
async def test_nobody_else_hurries_a_long_poll(listener, api_key) -> None:
    follower = follower_with_a_poll(listener)
    follower.receive(frame(api_key, 3))
    assert follower.transport.correlation_ids() == [1]


async def test_a_frame_that_was_cut_while_blocked_is_completed_later(link) -> None:
    tail = frame(METADATA, 2, b"y" * 100_000)
    link.receive(frame(FETCH, 0, b"park") + frame(METADATA, 1) + tail[:50_000])
    link.pipeline.resolve(0)
    await turn()
    assert link.transport.correlation_ids() == [0, 1]
    link.receive(tail[50_000:])
    assert link.transport.correlation_ids() == [0, 1, 2]
    assert link.pipeline.payloads[-1] == b"y" * 100_000


async def test_a_large_frame_behind_a_long_poll_is_kept_whole(link) -> None:
    link.receive(frame(FETCH, 0, b"park"))
    link.receive(frame(PRODUCE, 1, b"z" * 2_000_000))
    assert not link.transport.reading
    link.pipeline.resolve(0)
    await turn()
    assert link.pipeline.payloads[-1] == b"z" * 2_000_000


async def test_produce_requests_in_flight_are_bounded(link) -> None:
    count = limits.PENDING_REQUESTS_MAX + 10
    link.receive(b"".join(frame(PRODUCE, number, b"park") for number in range(count)))
    assert len(link.pipeline.started) == limits.PENDING_REQUESTS_MAX
    assert not link.transport.reading
    for number in range(limits.PENDING_REQUESTS_MAX):
        link.pipeline.resolve(number)
    await turn()
    assert len(link.pipeline.started) == count


async def test_a_peer_that_does_not_read_its_answers_is_not_served(link) -> None:
    link.transport.hold_writes = True
    big = [b"\0" * 300_000]
    link.pipeline.on_handle = lambda correlation_id: big
    link.receive(b"".join(frame(FETCH, number) for number in range(100)))
    assert len(link.pipeline.started) == 1
    assert not link.transport.reading
    assert link.server.statistics().unsent_bytes == 300_000
    link.transport.hold_writes = False
    link.session.resume_writing()
    assert link.server.statistics().unsent_bytes == 0
    await turn()
    assert len(link.pipeline.started) == 100
    assert link.transport.reading


@pytest.mark.parametrize("length", [-1, -(2**31), 0, 7, limits.FRAME_BYTES_MAX + 1, 2**31 - 1])
async def test_an_impossible_length_ends_the_connection(link, length) -> None:
    link.receive(frame(METADATA, 1) + struct.pack(">i", length))
    assert link.transport.correlation_ids() == [1], "what was good is answered"
    assert link.transport.closing
    assert link.server.statistics().violations_total == 1


async def test_a_tls_hello_ends_the_connection(link) -> None:
    link.receive(bytes.fromhex("16030102000100"))
    assert link.transport.closing


async def test_a_claimed_frame_owns_little_until_it_arrives(link) -> None:
    link.receive(struct.pack(">i", limits.FRAME_BYTES_MAX) + b"\0" * 100)
    assert len(link.session.get_buffer(-1)) <= FRAME_START_BYTES
    assert link.server.statistics().incomplete_bytes == FRAME_START_BYTES
    link.transport.abort()
    assert link.server.statistics().incomplete_bytes == 0


async def test_incomplete_frames_of_all_connections_together_are_bounded(link) -> None:
    link.server.memory = link.session._memory = FrameMemory(3 * FRAME_START_BYTES)
    others = [Link(link.server) for _ in range(3)]
    for each in (link, *others):
        each.receive(frame(METADATA, 1, bytes(100_000))[:100])
    assert [each.transport.closing for each in (link, *others)] == [False, False, False, True]


async def test_a_violation_answers_what_came_before_it(link) -> None:
    link.receive(frame(METADATA, 1) + frame(METADATA, 2, b"close") + frame(METADATA, 3))
    assert link.transport.correlation_ids() == [1]
    assert link.transport.closing
    assert link.pipeline.started == [(METADATA, 1), (METADATA, 2)]


async def test_a_lost_connection_abandons_what_it_waited_for(link) -> None:
    link.receive(frame(PRODUCE, 0, b"park"))
    link.transport.abort()
    assert link.pipeline.parked[0].done
    link.pipeline.resolve(0)
    assert link.transport.written == b""
    assert link.server.statistics().connections == 0


async def test_before_the_proof_only_small_frames_are_read() -> None:
    link = Link(new_server(asyncio.get_running_loop()), "internal")
    link.receive(frame(METADATA, 1, b"login"))
    link.receive(frame(METADATA, 2, b"x" * PREAUTH_FRAME_BYTES_MAX))
    assert link.transport.correlation_ids() == [1, 2]

    stranger = Link(link.server, "internal")
    stranger.receive(frame(METADATA, 1, b"x" * PREAUTH_FRAME_BYTES_MAX))
    assert stranger.transport.closing


async def test_draining_answers_what_is_parked_and_starts_nothing(link) -> None:
    link.receive(frame(PRODUCE, 0, b"park"))
    link.session.drain()
    assert not link.transport.closing
    link.receive(frame(PRODUCE, 1))
    link.pipeline.resolve(0)
    assert link.transport.correlation_ids() == [0]
    assert link.transport.closing
