"""One viewer's live tail: a WebSocket of its own, so that a busy topic never delays the page's live numbers.

Browser: ``start`` (topic, partition, filter), ``pause``, ``resume``, ``ack``. Server: ``started``, ``records`` (each
batch numbered, with how many were skipped), ``trouble`` (cannot read right now, goes on trying), ``error`` (the
request cannot be honoured).

Nothing grows: one read at a time, only while somebody looks (a hidden or paused page reads nothing); at most
``WAITING_MAX`` records wait for the browser, older ones give way and are counted; at most ``UNACKED_BATCHES_MAX``
batches are on their way. Reading is paced, so a fast topic costs a bounded share of the web process.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

import msgspec
from channels.generic.websocket import AsyncWebsocketConsumer

from broker.client.asynchronous import AsyncClient
from broker.client.errors import ClientConnectionError
from broker.client.results import Record
from broker.errors import ErrorCode, KafkaError
from dashboard.gateway import open_async_client
from dashboard.live.guard import Allowance, Seats, is_admitted, is_still_allowed
from dashboard.messages.payload import preview, read_payload, visible
from dashboard.messages.predicate import TEXT_LENGTH_MAX, FilterError, parse
from dashboard.messages.tail_page import TAIL_PROTOCOL
from dashboard.messages.tail_reader import TailReader

WAITING_MAX = 500
BATCH_RECORDS_MAX = 200
UNACKED_BATCHES_MAX = 3
SEND_SECONDS = 0.25
READ_PAUSE_SECONDS = 0.1
"""Between two polls: at most ten a second, however fast the topic is."""
RETRY_SECONDS = 2.0
RECHECK_SECONDS = 60.0
INBOUND_PER_SECOND_MAX = 20.0
INBOUND_BYTES_MAX = 4 * 1024
TAILS_PER_USER_MAX = 6
TAILS_MAX = 64
TOPIC_LENGTH_MAX = 249

CLOSE_PROTOCOL = 4400
CLOSE_LOGIN = 4401
CLOSE_TOO_MANY = 4429

logger = logging.getLogger("ottla.tail")
seats = Seats(TAILS_PER_USER_MAX, TAILS_MAX)


class Start(msgspec.Struct, frozen=True, tag="start", tag_field="type", forbid_unknown_fields=True):
    """Follow a topic from its end; replaces what was followed before. ``id`` comes back in every answer."""

    id: int
    topic: str
    partition: int | None = None
    filter: str = ""
    protocol: int = TAIL_PROTOCOL


class Pause(msgspec.Struct, frozen=True, tag="pause", tag_field="type", forbid_unknown_fields=True):
    """Nobody looks: read nothing until ``resume``, which goes on where this left off."""


class Resume(msgspec.Struct, frozen=True, tag="resume", tag_field="type", forbid_unknown_fields=True):
    """Go on after a pause."""


class Ack(msgspec.Struct, frozen=True, tag="ack", tag_field="type", forbid_unknown_fields=True):
    """Batch ``batch`` is on the screen."""

    batch: int


_decoder: msgspec.json.Decoder[Start | Pause | Resume | Ack] = msgspec.json.Decoder(Start | Pause | Resume | Ack)


class TailConsumer(AsyncWebsocketConsumer):
    """``/live/tail/``. Created by Channels, one per connection."""

    _tasks: list[asyncio.Task[None]]
    _reading: asyncio.Task[None] | None
    _client: AsyncClient | None
    _seated: bool

    async def connect(self) -> None:
        self._waiting: deque[Record] = deque()
        self._skipped = 0
        self._subscription = 0
        self._batch = self._acked = 0
        self._running = asyncio.Event()
        self._wake = asyncio.Event()
        self._allowance = Allowance(INBOUND_PER_SECOND_MAX)
        if not is_admitted(self.scope):
            await self.close(CLOSE_LOGIN)
            return
        self._user_id = self.scope["user"].pk
        if not seats.take(self._user_id):
            # Accepted first: a browser is not told the reason of a refused handshake.
            await self.accept()
            await self.close(CLOSE_TOO_MANY)
            return
        self._seated = True
        await self.accept()
        self._tasks = [
            asyncio.create_task(self._send_forever(), name="tail send"),
            asyncio.create_task(self._recheck_forever(), name="tail recheck"),
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """However the connection ends, also by a bug of ours, nothing of it stays behind."""
        self._tasks, self._reading, self._client, self._seated = [], None, None, False
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._clean_up()

    async def disconnect(self, code: int) -> None:
        await self._clean_up()

    async def _clean_up(self) -> None:
        await self._stop_reading()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        if self._seated:
            self._seated = False
            seats.release(self._user_id)

    # What the browser says -------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            message = self._decode(text_data)
        except (ValueError, msgspec.MsgspecError) as error:
            logger.info("closing a tail of user %s: %s", self._user_id, error)
            await self.close(CLOSE_PROTOCOL)
            return
        match message:
            case Start():
                await self._start(message)
            case Pause():
                self._running.clear()
            case Resume():
                self._running.set()
            case Ack(batch=batch):
                self._acked = max(self._acked, min(batch, self._batch))
                self._wake.set()

    def _decode(self, text: str | None) -> Start | Pause | Resume | Ack:
        if not self._allowance.take():
            raise ValueError("too many messages")
        if text is None or len(text) > INBOUND_BYTES_MAX:
            raise ValueError("no message of this protocol")
        message = _decoder.decode(text)
        if isinstance(message, Start) and (
            len(message.topic) > TOPIC_LENGTH_MAX or len(message.filter) > TEXT_LENGTH_MAX
        ):
            raise ValueError("topic or filter too long")
        return message

    async def _start(self, message: Start) -> None:
        await self._stop_reading()
        self._subscription = message.id
        self._waiting.clear()
        self._skipped = 0
        if message.protocol != TAIL_PROTOCOL:
            await self._say({"type": "error", "reason": "This page is older than the server. Load it again."})
            return
        try:
            predicate = parse(message.filter)
        except FilterError as error:
            await self._say({"type": "error", "reason": str(error)})
            return
        if not await is_still_allowed(self.scope, self._user_id):
            await self.close(CLOSE_LOGIN)
            return
        if self._client is None:
            self._client = open_async_client()
        reader = TailReader(self._client, message.topic, message.partition, predicate)
        self._running.set()
        self._reading = asyncio.create_task(self._read_forever(reader), name="tail read")

    async def _stop_reading(self) -> None:
        task, self._reading = self._reading, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # Reading ---------------------------------------------------------------------------------------

    async def _read_forever(self, reader: TailReader) -> None:
        """Open and follow; what fails is told and tried again, unless there is nothing to follow."""
        opened = False
        trouble = ""
        while True:
            await self._running.wait()
            try:
                if not opened:
                    await reader.open()
                    opened = True
                    await self._say({"type": "started", "partitions": reader.partition_count})
                batch = await reader.next()
            except (KafkaError, ClientConnectionError) as error:
                if isinstance(error, KafkaError) and error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                    await self._say({"type": "error", "reason": f"{error}"})
                    return
                trouble = f"The broker cannot be read: {error}"
                await self._say({"type": "trouble", "text": trouble})
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if batch.trouble != trouble:
                trouble = batch.trouble
                await self._say({"type": "trouble", "text": trouble})
            self._take(batch.records, batch.skipped)
            await asyncio.sleep(RETRY_SECONDS if trouble and not batch.records else READ_PAUSE_SECONDS)

    def _take(self, records: tuple[Record, ...], skipped: int) -> None:
        self._waiting.extend(records)
        self._skipped += skipped
        while len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self._skipped += 1
        if records or skipped:
            self._wake.set()

    # What the browser is told ----------------------------------------------------------------------

    async def _send_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._batch - self._acked >= UNACKED_BATCHES_MAX or not (self._waiting or self._skipped):
                continue
            count = min(BATCH_RECORDS_MAX, len(self._waiting))
            rows = [as_row(self._waiting.popleft()) for _ in range(count)]
            skipped, self._skipped = self._skipped, 0
            self._batch += 1
            await self._say({"type": "records", "batch": self._batch, "records": rows, "skipped": skipped})
            if self._waiting:
                self._wake.set()
            await asyncio.sleep(SEND_SECONDS)

    async def _say(self, message: dict[str, Any]) -> None:
        message["id"] = self._subscription
        await self.send(text_data=msgspec.json.encode(message).decode())

    async def _recheck_forever(self) -> None:
        """A session that ended, or a user who was switched off, loses the tail within a minute."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if not await is_still_allowed(self.scope, self._user_id):
                await self.close(CLOSE_LOGIN)
                return


def as_row(record: Record) -> dict[str, Any]:
    """Plain texts, made visible here; the page puts them into text nodes."""
    return {
        "partition": record.partition,
        "offset": record.offset,
        "time": record.timestamp_ms,
        "key": visible(preview(record.key, 80)),
        "keyKind": read_payload(record.key).kind,
        "value": visible(preview(record.value)),
        "valueKind": read_payload(record.value).kind,
        "size": record.size_bytes,
    }
