"""Fetch in a partition with transactions: where each reader's records end, and which of them were aborted."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from broker.handlers import fetch as handler
from broker.handlers.context import ConnectionInfo, Request
from broker.handlers.reply import Deferred
from broker.partition.fetch_session_cache import FetchSessionCache
from broker.protocol import codec
from broker.protocol.api import ApiKey
from broker.protocol.batch import scan_batches
from broker.protocol.header import skip_response_header
from broker.quotas.driver import Quotas
from tests.partition.stage import Stage, image_of, topic_image
from tests.support.topics import batch, fetch_request
from tests.support.wait import eventually

TOPIC = "orders"
TOPIC_ID = bytes([1]) * 16
READ_UNCOMMITTED, READ_COMMITTED = 0, 1


class Desk:
    def __init__(self) -> None:
        self.stage = Stage(OTTLA_ACK_DURABILITY="os")
        self.stage.show(image_of(topic_image(TOPIC)))
        self.partition = self.stage.partition()
        self.sequences: dict[int, itertools.count[int]] = {}
        self.services: Any = SimpleNamespace(
            partitions=self.stage.manager,
            config=self.stage.config,
            clock=self.stage.clock,
            cluster=self.stage,
            quotas=Quotas(self.stage.clock),
            fetch_sessions=FetchSessionCache(slots=10, new_id=iter(range(1, 100)).__next__),
        )

    def write(self, producer: int = -1) -> None:
        """One batch: of the producer's transaction, or plain."""
        sequence = next(self.sequences.setdefault(producer, itertools.count())) if producer >= 0 else -1
        now_ms = self.stage.clock.wall_ms()
        data = batch(
            b"x",
            timestamp=now_ms,
            producer_id=producer,
            producer_epoch=0,
            base_sequence=sequence,
            is_transactional=producer >= 0,
        )
        self.partition.append(memoryview(data), acks=-1, now_ms=now_ms)

    def end(self, producer: int, *, commit: bool) -> None:
        self.partition.append_transaction_marker(
            producer_id=producer,
            producer_epoch=0,
            coordinator_epoch=0,
            commit=commit,
            now_ms=self.stage.clock.wall_ms(),
        )

    def ask(self, offset: int, *, version: int = 12, isolation_level: int = READ_COMMITTED, **fields: Any) -> Any:
        topic = TOPIC_ID if version >= 13 else TOPIC
        message = fetch_request(topic, offset, isolation_level=isolation_level, **fields)
        body = memoryview(bytearray(codec.encode_request(ApiKey.FETCH, version, message)))
        request = Request(ApiKey.FETCH, version, 1, "me", body, ConnectionInfo(1, "", 0, "client"))
        return handler.handle_raw(request, self.services)

    def fetch(self, offset: int, *, version: int = 12, **fields: Any) -> Any:
        return result(self.ask(offset, version=version, **fields), version)


def result(answer: Any, version: int = 12) -> Any:
    frame = b"".join(answer)[4:]
    _, at = skip_response_header(ApiKey.FETCH, version, frame)
    return codec.decode_response(ApiKey.FETCH, version, frame[at:]).responses[0].partitions[0]


def aborted(found: Any) -> list[tuple[int, int]] | None:
    if found.aborted_transactions is None:
        return None
    return [(one.producer_id, one.first_offset) for one in found.aborted_transactions]


def offsets(found: Any) -> list[int]:
    return [header.base_offset for _, header in scan_batches(found.records or b"")]


@pytest.fixture
async def desk():
    desk = Desk()
    yield desk
    await desk.stage.close()


@pytest.mark.parametrize("version", range(4, 19))
async def test_every_version_tells_the_last_stable_offset_and_what_was_aborted(desk: Desk, version: int) -> None:
    desk.write(7)
    desk.write(8)
    desk.end(8, commit=False)
    desk.end(7, commit=False)
    desk.write(9)
    desk.write()

    committed = desk.fetch(0, version=version)
    uncommitted = desk.fetch(0, version=version, isolation_level=READ_UNCOMMITTED)

    assert (committed.last_stable_offset, committed.high_watermark) == (4, 6)
    assert (offsets(committed), aborted(committed)) == ([0, 1, 2, 3], [(7, 0), (8, 1)])
    assert (offsets(uncommitted), aborted(uncommitted)) == ([0, 1, 2, 3, 4, 5], None)


async def test_without_aborts_the_list_is_empty_and_not_null(desk: Desk) -> None:
    desk.write(7)
    desk.end(7, commit=True)

    assert aborted(desk.fetch(0)) == []
    assert aborted(desk.fetch(2)) == []
    assert aborted(desk.fetch(0, isolation_level=READ_UNCOMMITTED)) is None


async def test_the_last_stable_offset_is_exclusive(desk: Desk) -> None:
    desk.write()
    desk.write(7)

    assert offsets(desk.fetch(0)) == [0]
    assert offsets(desk.fetch(1)) == []
    desk.end(7, commit=True)
    assert offsets(desk.fetch(1)) == [1, 2]


async def test_a_reader_gets_past_markers_to_the_end(desk: Desk) -> None:
    for producer in (7, 8):
        desk.write(producer)
        desk.end(producer, commit=False)

    assert offsets(desk.fetch(3)) == [3]
    assert offsets(desk.fetch(4)) == []
    assert desk.fetch(4).last_stable_offset == 4


async def test_an_offset_between_the_marks_is_no_error(desk: Desk) -> None:
    """A reader may ask there after it changed its isolation level."""
    desk.write(7)
    desk.write()

    found = desk.fetch(2)

    assert (found.error_code, found.records or b"") == (0, b"")


async def test_only_transactions_that_reach_into_the_answer_are_named(desk: Desk) -> None:
    desk.write(7)
    desk.end(7, commit=False)
    desk.write(8)
    desk.end(8, commit=False)
    size = len(b"".join(desk.partition.read(0, 1)))

    assert aborted(desk.fetch(0, max_bytes=size + 1)) == [(7, 0)]
    assert aborted(desk.fetch(2)) == [(8, 2)]


async def test_a_parked_reader_sleeps_over_open_transactions_and_is_woken_by_the_marker(desk: Desk) -> None:
    desk.write(7)
    waiting = desk.ask(0, max_wait=60_000, min_bytes=1)
    impatient = desk.ask(0, max_wait=60_000, min_bytes=1_000, isolation_level=READ_UNCOMMITTED)
    assert isinstance(waiting, Deferred)
    for _ in range(30):
        desk.write(7)
    await eventually(lambda: impatient.done)
    assert not waiting.done

    desk.end(7, commit=True)

    await eventually(lambda: waiting.done)
    assert len(offsets(result(waiting.answer))) == 32


async def test_a_parked_reader_that_wants_more_than_was_set_free_waits_on(desk: Desk) -> None:
    desk.write(7)
    waiting = desk.ask(0, max_wait=60_000, min_bytes=400)
    desk.end(7, commit=True)
    desk.stage.manager.wake_long_polls()
    assert not waiting.done

    for _ in range(6):
        desk.write()

    await eventually(lambda: waiting.done)
    assert len(offsets(result(waiting.answer))) >= 5
