"""Trap 8, KIP-227: a session may leave out what did not change, and nothing else. What it does tell is complete: a client
that reads -1 as a high watermark or last stable offset believes it. (More in tests/handlers/test_fetch_sessions.py.)"""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.partition.fetch_session import next_epoch
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.topics import batch, create_topic, produce
from tests.support.wire import Wire


def request(topic: str, positions: dict[int, int], session: tuple[int, int]) -> Any:
    r = m.FetchRequest
    entries = [r.FetchPartition(partition=p, fetch_offset=o, partition_max_bytes=1 << 20) for p, o in positions.items()]
    topics = [r.FetchTopic(topic=topic, partitions=entries)] if entries else []
    return r(
        max_wait=0,
        min_bytes=1,
        max_bytes=1 << 20,
        session_id=session[0],
        session_epoch=session[1],
        isolation_level=1,
        topics=topics,
    )


def parts(answer: Any) -> list[Any]:
    assert answer.error_code == 0
    return [part for topic in answer.responses for part in topic.partitions]


@pytest.mark.parametrize("version", [7, 12])
def test_whatever_is_told_of_a_partition_is_told_in_full(wire: Wire, version: int) -> None:
    topic = create_topic(wire, partitions=2)
    produce(wire, topic, batch(b"a"))
    full = wire.call(ApiKey.FETCH, version, request(topic, {0: 0, 1: 0}, (0, 0)))
    told = [(part.high_watermark, part.last_stable_offset, part.log_start_offset) for part in parts(full)]
    assert told == [(1, 1, 0), (0, 0, 0)], "also an empty partition has a high watermark, and it is 0"
    produce(wire, topic, batch(b"b"), partition=1)
    (part,) = parts(wire.call(ApiKey.FETCH, version, request(topic, {0: 1}, (full.session_id, 1))))
    assert (part.partition_index, part.high_watermark, part.last_stable_offset, part.log_start_offset) == (1, 1, 1, 0)


def test_of_what_it_forgot_a_client_hears_no_more(wire: Wire) -> None:
    topic = create_topic(wire, partitions=2)
    session_id = wire.call(ApiKey.FETCH, 12, request(topic, {0: 0, 1: 0}, (0, 0))).session_id
    forgetting = request(topic, {}, (session_id, 1))
    forgetting.forgotten_topics_data = [m.FetchRequest.ForgottenTopic(topic=topic, partitions=[1])]
    assert parts(wire.call(ApiKey.FETCH, 12, forgetting)) == []
    for partition in (0, 1):
        produce(wire, topic, batch(b"x"), partition=partition)
    told = parts(wire.call(ApiKey.FETCH, 12, request(topic, {}, (session_id, 2))))
    assert [part.partition_index for part in told] == [0]


def test_epochs_count_from_one_and_anything_else_is_refused_with_its_own_code(wire: Wire) -> None:
    topic = create_topic(wire)
    session_id = wire.call(ApiKey.FETCH, 12, request(topic, {0: 0}, (0, 0))).session_id

    def code(session: tuple[int, int]) -> int:
        return wire.call(ApiKey.FETCH, 12, request(topic, {}, session)).error_code

    assert code((session_id, 2)) == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert [code((session_id, epoch)) for epoch in (1, 2, 3)] == [0, 0, 0]
    assert code((session_id, 3)) == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert code((session_id, -1)) == 0, "the client closes its session"
    assert code((session_id, 4)) == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_the_epoch_after_the_largest_is_one() -> None:
    """0 would begin a session anew, and a negative one close it."""
    assert (next_epoch(1), next_epoch(2**31 - 1)) == (2, 1)


def test_a_sessionless_fetch_gets_no_session(wire: Wire) -> None:
    topic = create_topic(wire)
    assert wire.call(ApiKey.FETCH, 12, request(topic, {0: 0}, (0, -1))).session_id == 0
