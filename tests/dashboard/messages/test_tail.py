"""The live tail: follows the end, stops while nobody looks, stays bounded, and says what it skipped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client

from broker.client.errors import ClientConnectionError
from broker.errors import ErrorCode, KafkaError
from dashboard.live.routing import websocket_urlpatterns
from dashboard.messages import tail
from dashboard.messages.tail_reader import TailBatch
from tests.dashboard.messages.records import record
from tests.support.wait import eventually

pytestmark = pytest.mark.django_db(transaction=True)
ORIGIN = (b"origin", b"http://testserver")
Step = TailBatch | Exception


class FakeReader:
    """Gives what the test puts into ``steps``; waits while there is nothing."""

    steps: asyncio.Queue[Step]
    started: list[tuple[str, int | None, str]]
    reads = 0

    def __init__(self, client: Any, topic: str, partition: int | None, predicate: Any) -> None:
        type(self).started.append((topic, partition, str(len(predicate.terms))))
        self.partition_count = 3

    async def open(self) -> None:
        return

    async def next(self) -> TailBatch:
        type(self).reads += 1
        step = await type(self).steps.get()
        if isinstance(step, Exception):
            raise step
        return step


class FakeClient:
    closed = 0

    async def close(self) -> None:
        type(self).closed += 1


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> type[FakeReader]:
    FakeReader.steps, FakeReader.started, FakeReader.reads, FakeClient.closed = asyncio.Queue(), [], 0, 0
    monkeypatch.setattr(tail, "TailReader", FakeReader)
    monkeypatch.setattr(tail, "open_async_client", FakeClient)
    for name, seconds in {"SEND_SECONDS": 0.01, "READ_PAUSE_SECONDS": 0.05, "RETRY_SECONDS": 0.01}.items():
        monkeypatch.setattr(tail, name, seconds)
    return FakeReader


def log_in() -> bytes:
    user, _ = get_user_model()._default_manager.get_or_create(username="viewer")
    client = Client()
    client.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}".encode()


def socket(cookie: bytes = b"", *headers: tuple[bytes, bytes]) -> WebsocketCommunicator:
    application = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    return WebsocketCommunicator(application, "/live/tail/", headers=[(b"cookie", cookie), *(headers or (ORIGIN,))])


@pytest.fixture
async def viewer_socket() -> AsyncIterator[WebsocketCommunicator]:
    communicator = socket(await database_sync_to_async(log_in)())
    connected, _ = await communicator.connect()
    assert connected
    yield communicator
    await communicator.disconnect()


async def start(communicator: WebsocketCommunicator, **fields: Any) -> None:
    await communicator.send_json_to({"type": "start", "id": 1, "topic": "orders", **fields})
    assert await communicator.receive_json_from() == {"type": "started", "partitions": 3, "id": 1}


def batch(*offsets: int, skipped: int = 0, trouble: str = "") -> TailBatch:
    return TailBatch(records=tuple(record(offset) for offset in offsets), skipped=skipped, trouble=trouble)


async def test_records_arrive_as_plain_texts(viewer_socket: WebsocketCommunicator, reader: type[FakeReader]) -> None:
    await start(viewer_socket, partition=2, filter="key = a")
    assert reader.started == [("orders", 2, "1")]
    one = record(7, partition=2, key=None, value=b"<b>\xe2\x80\xae")
    await reader.steps.put(TailBatch(records=(one,)))
    message = await viewer_socket.receive_json_from()
    assert (message["type"], message["batch"], message["skipped"]) == ("records", 1, 0)
    (row,) = message["records"]
    assert (row["offset"], row["partition"], row["keyKind"], row["value"]) == (7, 2, "null", "<b>\\u202e")


async def test_nobody_gets_in_without_a_session_or_an_origin() -> None:
    cookie = await database_sync_to_async(log_in)()
    for communicator in (socket(), socket(cookie, (b"x", b"y"))):
        connected, _ = await communicator.connect()
        assert not connected
    assert tail.seats.count == 0


async def test_a_session_that_ended_starts_nothing(
    viewer_socket: WebsocketCommunicator, reader: type[FakeReader]
) -> None:
    from django.contrib.sessions.models import Session

    await database_sync_to_async(Session.objects.all().delete)()
    await viewer_socket.send_json_to({"type": "start", "id": 1, "topic": "orders"})
    assert (await viewer_socket.receive_output())["code"] == tail.CLOSE_LOGIN
    assert reader.started == []


async def test_a_paused_tail_reads_nothing_and_goes_on_where_it_was(
    viewer_socket: WebsocketCommunicator, reader: type[FakeReader]
) -> None:
    await start(viewer_socket)
    await viewer_socket.send_json_to({"type": "pause"})
    await reader.steps.put(batch(1))  # The poll that was under way.
    assert (await viewer_socket.receive_json_from())["records"][0]["offset"] == 1
    await viewer_socket.send_json_to({"type": "ack", "batch": 1})
    await reader.steps.put(batch(2))
    assert await viewer_socket.receive_nothing(0.1)
    assert reader.steps.qsize() == 1
    await viewer_socket.send_json_to({"type": "resume"})
    assert (await viewer_socket.receive_json_from())["records"][0]["offset"] == 2


async def test_what_waits_for_a_slow_browser_is_bounded_and_counted(
    viewer_socket: WebsocketCommunicator, reader: type[FakeReader]
) -> None:
    await start(viewer_socket)
    for first in range(0, 4_000, 400):
        await reader.steps.put(batch(*range(first, first + 400)))
    await eventually(lambda: reader.reads == 11)
    seen, skipped = [], 0
    for number in range(1, 100):
        message = await viewer_socket.receive_json_from()
        assert message["batch"] == number
        seen += [row["offset"] for row in message["records"]]
        skipped += message["skipped"]
        if number == 1:
            assert viewer_socket.output_queue.qsize() == tail.UNACKED_BATCHES_MAX - 1, "no more before one is seen"
        if seen[-1] == 3_999:
            break
        await viewer_socket.send_json_to({"type": "ack", "batch": number})
    assert seen == sorted(seen)
    assert len(seen) + skipped == 4_000
    assert skipped > 2_000


async def test_what_the_reader_passed_over_is_told(
    viewer_socket: WebsocketCommunicator, reader: type[FakeReader]
) -> None:
    await start(viewer_socket)
    await reader.steps.put(batch(skipped=1_800))
    message = await viewer_socket.receive_json_from()
    assert (message["records"], message["skipped"]) == ([], 1_800)


async def test_a_broker_that_is_away_is_told_and_tried_again(
    viewer_socket: WebsocketCommunicator, reader: type[FakeReader]
) -> None:
    await start(viewer_socket)
    await reader.steps.put(ClientConnectionError("connection refused"))
    trouble = await viewer_socket.receive_json_from()
    assert trouble == {"type": "trouble", "text": "The broker cannot be read: connection refused", "id": 1}
    await reader.steps.put(batch(1))
    assert (await viewer_socket.receive_json_from())["text"] == ""
    assert (await viewer_socket.receive_json_from())["type"] == "records"


async def test_a_topic_that_is_not_there_ends_it(
    viewer_socket: WebsocketCommunicator, reader: type[FakeReader]
) -> None:
    await start(viewer_socket)
    await reader.steps.put(KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
    assert (await viewer_socket.receive_json_from())["type"] == "error"


@pytest.mark.parametrize(
    "message",
    [
        "no json",
        '{"type": "start"}',
        '{"type": "start", "id": 1, "topic": 5}',
        '{"type": "start", "id": 1, "topic": "%s"}' % ("x" * 250),
        '{"type": "unknown"}',
        '{"type": "pause", "more": 1}',
        "x" * 5_000,
    ],
)
async def test_what_is_not_the_protocol_closes_the_socket(viewer_socket: WebsocketCommunicator, message: str) -> None:
    await viewer_socket.send_to(text_data=message)
    assert (await viewer_socket.receive_output())["code"] == tail.CLOSE_PROTOCOL


async def test_a_flood_of_messages_closes_the_socket(viewer_socket: WebsocketCommunicator) -> None:
    for _ in range(60):
        await viewer_socket.send_json_to({"type": "pause"})
    assert (await viewer_socket.receive_output())["code"] == tail.CLOSE_PROTOCOL


async def test_a_filter_that_cannot_be_read_is_told(viewer_socket: WebsocketCommunicator) -> None:
    await viewer_socket.send_json_to({"type": "start", "id": 1, "topic": "orders", "filter": "key ="})
    assert (await viewer_socket.receive_json_from())["type"] == "error"


async def test_tails_per_user_are_limited_and_their_seats_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = await database_sync_to_async(log_in)()
    open_sockets = [socket(cookie) for _ in range(tail.TAILS_PER_USER_MAX)]
    for communicator in open_sockets:
        await communicator.connect()
    extra = socket(cookie)
    await extra.connect()
    assert (await extra.receive_output())["code"] == tail.CLOSE_TOO_MANY
    for communicator in open_sockets:
        await communicator.disconnect()
    assert tail.seats.count == 0


async def test_closing_the_page_stops_reading_and_closes_the_connections(reader: type[FakeReader]) -> None:
    communicator = socket(await database_sync_to_async(log_in)())
    await communicator.connect()
    await start(communicator)
    await communicator.disconnect()
    assert FakeClient.closed == 1
    assert tail.seats.count == 0
