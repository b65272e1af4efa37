"""The live WebSocket from the outside: who may open it, what it says, and that nothing grows."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from channels.testing import WebsocketCommunicator
from django.contrib.sessions.backends.db import SessionStore
from django.test import Client

from dashboard.live import consumers
from dashboard.live.groups import send_frame
from dashboard.live.state import Frame, Pulse
from dashboard.live.store import MemoryStore
from dashboard.project.asgi import application
from tests.dashboard.samples import START_MS, Bench, group, member, offset, partition, sample, topic

pytestmark = pytest.mark.django_db(transaction=True)
ANSWER_SECONDS = 5.0


class Socket(WebsocketCommunicator):
    """A browser's end."""

    def __init__(self, cookie: str = "", origin: bytes | None = b"http://testserver") -> None:
        headers = [(b"host", b"testserver"), (b"cookie", f"ottla_session={cookie}".encode())]
        if origin is not None:
            headers.append((b"origin", origin))
        super().__init__(application, "/live/", headers)

    async def say(self, **message: Any) -> None:
        await self.send_to(text_data=json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        return json.loads(await self.receive_from(ANSWER_SECONDS))

    async def hear_until(self, wanted: Any) -> dict[str, Any]:
        """The first message that satisfies ``wanted``, acknowledging every batch on the way."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            assert time.monotonic() < deadline, "nothing of the kind came"
            message = await self.hear()
            if "batch" in message:
                await self.say(type="ack", batch=message["batch"])
            if wanted(message):
                return message

    async def closing_code(self) -> int:
        message = await self.receive_output(ANSWER_SECONDS)
        assert message["type"] == "websocket.close", message
        return message["code"]


@pytest.fixture(autouse=True)
def fresh_channel_layer() -> Any:
    """Queues of the in-memory layer belong to the loop of one test."""
    channel_layers.backends.clear()
    yield
    channel_layers.backends.clear()


@pytest.fixture
async def cookie(django_user_model: Any) -> str:
    user = await sync_to_async(django_user_model.objects.create_user)("viewer", password="a long enough password")
    client = Client()
    await sync_to_async(client.force_login)(user)
    return client.cookies["ottla_session"].value


@pytest.fixture
def cluster(bench: Bench) -> Bench:
    bench.feed(
        sample(
            1,
            full=True,
            topics=[topic("orders")],
            partitions=[partition("orders", records=100)],
            groups=[group("billing", members=(member("w", ("orders", 0)),), offsets=(offset("orders", 0, 90),))],
        )
    )
    bench.step()
    return bench


@pytest.fixture
async def socket(cookie: str, cluster: Bench) -> AsyncIterator[Socket]:
    opened = Socket(cookie)
    connected, _ = await opened.connect()
    assert connected
    yield opened
    await opened.disconnect()


async def publish(bench: Bench, store: MemoryStore) -> None:
    for frame in bench.step(set(store.watches)).frames:
        await send_frame(frame)


# Who may open it ---------------------------------------------------------------------------------------


async def test_without_a_session_it_is_refused(live_memory: MemoryStore) -> None:
    connected, _ = await Socket("nonsense").connect()
    assert not connected


@pytest.mark.parametrize("origin", [None, b"http://evil.example", b"null"])
async def test_a_missing_or_foreign_origin_is_refused_even_with_a_session(
    cookie: str, live_memory: MemoryStore, origin: bytes | None
) -> None:
    connected, _ = await Socket(cookie, origin).connect()
    assert not connected


async def test_a_session_that_ended_is_found_out_on_the_next_subscribe(socket: Socket, cookie: str) -> None:
    await sync_to_async(SessionStore(cookie).delete)()
    await socket.say(type="subscribe", id=1, page="overview")
    assert await socket.closing_code() == consumers.CLOSE_LOGIN


async def test_a_session_that_ended_is_found_out_by_itself(
    cookie: str, cluster: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECHECK_SECONDS", 0.01)
    socket = Socket(cookie)
    await socket.connect()
    await sync_to_async(SessionStore(cookie).delete)()
    assert await socket.closing_code() == consumers.CLOSE_LOGIN
    await socket.disconnect()


async def test_a_user_who_was_switched_off_loses_the_socket(socket: Socket, django_user_model: Any) -> None:
    await sync_to_async(django_user_model.objects.update)(is_active=False)
    await socket.say(type="subscribe", id=1, page="overview")
    assert await socket.closing_code() == consumers.CLOSE_LOGIN


async def test_one_user_cannot_open_sockets_without_end(
    socket: Socket, cookie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.seats, "_per_user_max", 1)
    connected, _ = await Socket(cookie).connect()
    assert not connected


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        '{"type":"nonsense"}',
        '{"type":"subscribe","id":1}',
        '{"type":"subscribe","id":1,"page":"topics","more":1}',
        json.dumps({"type": "subscribe", "id": 1, "page": "topic", "name": "x" * 9000}),
    ],
)
async def test_anything_outside_the_protocol_ends_the_connection(socket: Socket, text: str) -> None:
    await socket.send_to(text_data=text)
    assert await socket.closing_code() == consumers.CLOSE_PROTOCOL


async def test_binary_messages_end_the_connection(socket: Socket) -> None:
    await socket.send_to(bytes_data=b"\x00")
    assert await socket.closing_code() == consumers.CLOSE_PROTOCOL


async def test_a_flood_ends_the_connection(socket: Socket) -> None:
    for _ in range(200):
        await socket.say(type="ack", batch=0)
    assert await socket.closing_code() == consumers.CLOSE_PROTOCOL


# What it says ------------------------------------------------------------------------------------------


async def test_a_subscribe_is_answered_with_a_snapshot(socket: Socket, live_memory: MemoryStore) -> None:
    await socket.say(type="subscribe", id=7, page="topics")
    answer = await socket.hear()
    assert (answer["type"], answer["id"], answer["batch"]) == ("snapshot", 7, 1)
    markup = {fragment["target"]: fragment["html"] for fragment in answer["fragments"]}
    assert set(markup) == {"topics-verdict", "topics-body", "topics-foot"}
    assert "orders" in markup["topics-body"]
    assert answer["pulse"]["sampled"] == {"1": START_MS + 1000}
    assert set(live_memory.watches) == {"cluster", "topics"}


async def test_what_changes_is_pushed_as_the_row_that_changed(
    socket: Socket, cluster: Bench, live_memory: MemoryStore
) -> None:
    await socket.say(type="subscribe", id=1, page="topics")
    await socket.hear_until(lambda message: message["type"] == "snapshot")
    cluster.feed(sample(2, partitions=[partition("orders", records=4321)]))
    await publish(cluster, live_memory)
    delta = await socket.hear_until(lambda message: any("topic-" in f["target"] for f in message["fragments"]))
    [row] = [fragment for fragment in delta["fragments"] if fragment["target"].startswith("topic-")]
    assert "4,321" in row["html"]
    assert row["html"].lstrip().startswith("<tr")
    assert row["seq"] == delta["seq"]


async def test_a_detail_page_gets_its_group_and_its_chart(
    socket: Socket, cluster: Bench, live_memory: MemoryStore
) -> None:
    await socket.say(type="subscribe", id=1, page="group", name="billing")
    snapshot = await socket.hear_until(lambda message: message["type"] == "snapshot")
    assert snapshot["series"]["group:billing"][-1][1] == 10
    cluster.feed(
        sample(
            2,
            at_ms=START_MS + 30_000,
            groups=[group("billing", members=(member("w", ("orders", 0)),), offsets=(offset("orders", 0, 95),))],
        )
    )
    await publish(cluster, live_memory)
    delta = await socket.hear_until(lambda message: message.get("points"))
    assert delta["points"] == {"group:billing": [[START_MS + 30_000, 5, None]]}


async def test_a_missed_frame_makes_the_server_read_the_snapshot_again(
    socket: Socket, cluster: Bench, live_memory: MemoryStore
) -> None:
    await socket.say(type="subscribe", id=1, page="topics")
    await socket.hear_until(lambda message: message["type"] == "snapshot")
    cluster.feed(sample(2, partitions=[partition("orders", records=200)]))
    cluster.step({"topics", "cluster"})  # Published to nobody: lost.
    cluster.feed(sample(3, topics=[topic("late")], partitions=[partition("late")]))
    await publish(cluster, live_memory)
    delta = await socket.hear_until(lambda m: any(f["target"] == "topics-body" for f in m["fragments"]))
    [body] = [fragment["html"] for fragment in delta["fragments"] if fragment["target"] == "topics-body"]
    assert "late" in body
    assert "200" in body


async def test_a_browser_that_missed_a_batch_gets_a_snapshot(socket: Socket) -> None:
    await socket.say(type="subscribe", id=1, page="overview")
    await socket.hear()
    await socket.say(type="resync")
    assert (await socket.hear())["type"] == "snapshot"


async def test_a_hidden_tab_is_told_nothing(socket: Socket, cluster: Bench, live_memory: MemoryStore) -> None:
    await socket.say(type="subscribe", id=1, page="topics")
    await socket.hear()
    await socket.say(type="unsubscribe")
    cluster.feed(sample(2, partitions=[partition("orders", records=200)]))
    await publish(cluster, live_memory)
    assert await socket.receive_nothing(timeout=0.4)


async def test_a_browser_that_does_not_acknowledge_is_not_sent_more_and_more(
    socket: Socket, cluster: Bench, live_memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "SEND_SECONDS", 0.0)
    await socket.say(type="subscribe", id=1, page="topics")
    heard = [await socket.hear()]
    for seq in range(2, 30):
        cluster.feed(sample(seq, partitions=[partition("orders", records=100 + seq)]))
        await publish(cluster, live_memory)
        while not await socket.receive_nothing(timeout=0.01, interval=0.002):
            heard.append(await socket.hear())
    assert len(heard) == consumers.UNACKED_BATCHES_MAX
    await socket.say(type="ack", batch=heard[-1]["batch"])
    newest = await socket.hear()
    assert any(">129</data>" in fragment["html"] for fragment in newest["fragments"])


async def test_points_that_pile_up_become_one_resent_series(
    socket: Socket, cluster: Bench, live_memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "WAITING_POINTS_MAX", 3)
    await socket.say(type="subscribe", id=1, page="overview")
    snapshot = await socket.hear_until(lambda message: message["type"] == "snapshot")
    points = [[START_MS + n, 1.0, 1.0, 1.0, 1.0] for n in range(5)]
    seq = snapshot["seq"]
    await send_frame(Frame(scope="cluster", prev=seq, seq=seq, pulse=Pulse(), points={"cluster": points}))
    delta = await socket.hear_until(lambda message: message["series"])
    assert delta["points"] == {}
    assert len(delta["series"]["cluster"]) == 1


async def test_an_unknown_page_is_an_error_in_words(socket: Socket) -> None:
    await socket.say(type="subscribe", id=1, page="nonsense")
    answer = await socket.hear()
    assert (answer["type"], answer["reason"]) == ("error", "There is no live page called 'nonsense'.")


async def test_a_page_of_another_protocol_version_is_told_to_load_again(socket: Socket) -> None:
    await socket.say(type="subscribe", id=1, page="overview", protocol=99)
    assert (await socket.hear())["type"] == "reload"


async def test_closing_leaves_no_task_and_no_count_behind(cookie: str, cluster: Bench) -> None:
    before = len(asyncio.all_tasks())
    socket = Socket(cookie)
    await socket.connect()
    await socket.say(type="subscribe", id=1, page="overview")
    await socket.hear()
    await socket.disconnect()
    assert len(asyncio.all_tasks()) <= before
    assert consumers.seats.count == 0
