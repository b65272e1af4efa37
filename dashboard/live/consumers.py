"""One viewer's WebSocket: subscribe, snapshot, deltas; see docs/live.md for the protocol.

The order that makes it correct: join the channel groups, say what is watched, *then* read the snapshot. Frames that
arrive meanwhile are applied after it, or recognised as covered.

Nothing here grows with a slow viewer: frames only update the view and mark targets as dirty; one task renders the
dirty ones at most every ``SEND_SECONDS`` and only while fewer than ``UNACKED_BATCHES_MAX`` batches are on their way.
Chart points waiting are bounded too; beyond the bound the whole series is sent anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgspec
import redis
from channels.generic.websocket import AsyncWebsocketConsumer
from django.http import QueryDict

from dashboard.live import guard, messages, rendering
from dashboard.live.delta import Gap
from dashboard.live.groups import channel_group
from dashboard.live.reducer import reduce
from dashboard.live.state import PROTOCOL_VERSION, decode_frame
from dashboard.live.store import LiveStore, Point, StoreError, live_store
from dashboard.live.view import LivePage, View
from dashboard.pages.registry import UnknownPage, open_page

SEND_SECONDS = 0.25
UNACKED_BATCHES_MAX = 3
WAITING_POINTS_MAX = 120
RECHECK_SECONDS = 60.0
RENEW_SECONDS = 10.0
INBOUND_PER_SECOND_MAX = 20.0
SOCKETS_PER_USER_MAX = 32
SOCKETS_MAX = 1_000

CLOSE_PROTOCOL = 4400
CLOSE_LOGIN = 4401
CLOSE_TOO_MANY = 4429
CLOSE_TRY_LATER = 1013

logger = logging.getLogger("ottla.live")
seats = guard.Seats(SOCKETS_PER_USER_MAX, SOCKETS_MAX)


class LiveConsumer(AsyncWebsocketConsumer):
    """``/live/``. Created by Channels, one per connection."""

    async def connect(self) -> None:
        self._page: LivePage | None = None
        self._view = View()
        self._dirty: set[str] = set()
        self._points: dict[str, list[Point]] = {}
        self._resend: set[str] = set()
        self._subscription = 0
        self._batch = 0
        self._acked = 0
        self._pulse_due = False
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._seated = False
        self._allowance = guard.Allowance(INBOUND_PER_SECOND_MAX)
        if not guard.is_admitted(self.scope):
            await self.close(CLOSE_LOGIN)
            return
        self._user_id = self.scope["user"].pk
        self._seated = seats.take(self._user_id)
        if not self._seated:
            await self.close(CLOSE_TOO_MANY)
            return
        self._store: LiveStore = live_store()
        await self.accept()
        self._tasks = [
            asyncio.create_task(self._send_forever(), name="live send"),
            asyncio.create_task(self._watch_forever(), name="live watch"),
            asyncio.create_task(self._recheck_forever(), name="live recheck"),
        ]

    async def disconnect(self, code: int) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._leave()
        if self._seated:
            seats.release(self._user_id)

    # What the browser says -------------------------------------------------------------------------

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            if not self._allowance.take():
                raise ValueError("too many messages")
            message = messages.decode_inbound(text_data)
        except (ValueError, msgspec.MsgspecError) as error:
            logger.info("closing a live socket of user %s: %s", self._user_id, error)
            await self.close(CLOSE_PROTOCOL)
            return
        match message:
            case messages.Subscribe():
                await self._subscribe(message)
            case messages.Unsubscribe():
                await self._leave()
            case messages.Resync():
                await self._snapshot()
            case messages.Ack(batch=batch):
                self._acked = max(self._acked, min(batch, self._batch))
                self._wake.set()

    async def _subscribe(self, message: messages.Subscribe) -> None:
        await self._leave()
        self._subscription = message.id
        if message.protocol != PROTOCOL_VERSION:
            await self._say({"type": "reload", "reason": "This page is older than the server."})
            return
        try:
            page = open_page(message.page, message.name, QueryDict(message.query))
        except UnknownPage as error:
            await self._say({"type": "error", "reason": str(error)})
            return
        if not await guard.is_still_allowed(self.scope, self._user_id):
            await self.close(CLOSE_LOGIN)
            return
        self._page = page
        try:
            for scope in page.scopes:
                await self.channel_layer.group_add(channel_group(scope), self.channel_name)
        except (redis.RedisError, OSError) as error:
            logger.warning("cannot subscribe: %s", error)
            await self.close(CLOSE_TRY_LATER)
            return
        await self._renew_watch()
        await self._snapshot()

    async def _leave(self) -> None:
        page, self._page = self._page, None
        self._view = View()
        self._dirty.clear()
        self._points.clear()
        self._resend.clear()
        try:
            for scope in page.scopes if page is not None else ():
                await self.channel_layer.group_discard(channel_group(scope), self.channel_name)
        except (redis.RedisError, OSError) as error:
            logger.debug("cannot leave: %s", error)  # Nothing is delivered either; the layer forgets with the socket.

    # What the collector says -----------------------------------------------------------------------

    async def live_frame(self, event: dict[str, Any]) -> None:
        """A frame of a watched scope: update the view, mark what has to be rendered."""
        page = self._page
        if page is None:
            return
        frame = decode_frame(event["frame"])
        try:
            reduced = reduce(page, self._view, frame)
        except Gap as gap:
            logger.debug("resync: %s", gap)
            await self._resync()
            return
        self._view = reduced.view
        self._dirty |= reduced.targets
        for series, points in frame.points.items():
            self._take_points(page, series, points)
        self._pulse_due = True
        self._wake.set()

    def _take_points(self, page: LivePage, series: str, points: list[Point]) -> None:
        if series not in page.series:
            return
        waiting = self._points.setdefault(series, [])
        waiting.extend(points)
        if len(waiting) > WAITING_POINTS_MAX:
            self._points.pop(series)
            self._resend.add(series)

    async def _resync(self) -> None:
        """Read the store again and render everything: something between was missed."""
        page = self._page
        if page is None:
            return
        try:
            snapshot = await self._store.read(page.scopes)
        except StoreError:
            return  # Nothing new to show; the browser sees the pulse stop, and the next frame asks again.
        self._view = View.of(snapshot)
        page.arrange(self._view)
        self._dirty |= set(page.targets(self._view))
        self._resend |= set(page.series)
        self._pulse_due = True
        self._wake.set()

    # What the browser is told ----------------------------------------------------------------------

    async def _snapshot(self) -> None:
        """Answer a subscribe or resync: everything that is on the page, and its charts."""
        page = self._page
        if page is None:
            return
        try:
            self._view = View.of(await self._store.read(page.scopes))
            series = {name: await self._store.history(name) for name in page.series}
        except StoreError as error:
            await self._say({"type": "error", "reason": str(error)})
            return
        page.arrange(self._view)
        self._dirty.clear()
        self._points.clear()
        self._resend.clear()
        await self._send_batch("snapshot", page, list(page.targets(self._view)), series, {})

    async def _send_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            page = self._page
            if page is None or self._batch - self._acked >= UNACKED_BATCHES_MAX:
                continue
            if self._dirty or self._points or self._resend or self._pulse_due:
                await self._send_changes(page)
                await asyncio.sleep(SEND_SECONDS)

    async def _send_changes(self, page: LivePage) -> None:
        targets, self._dirty = sorted(self._dirty), set()
        points, self._points = self._points, {}
        resend, self._resend = self._resend, set()
        self._pulse_due = False
        try:
            series = {name: await self._store.history(name) for name in resend}
        except StoreError:
            series = {}
        if page is self._page:
            await self._send_batch("delta", page, targets, series, points)

    async def _send_batch(
        self,
        kind: str,
        page: LivePage,
        targets: list[str],
        series: dict[str, list[Point]],
        points: dict[str, list[Point]],
    ) -> None:
        self._batch += 1
        view = self._view
        seq = max((scope.seq for scope in view.scopes.values()), default=0)
        await self._say(
            {
                "type": kind,
                "batch": self._batch,
                "seq": seq,
                "pulse": rendering.pulse_message(view),
                "fragments": [
                    {"seq": seq, "target": target, "html": html}
                    for target, html in rendering.render_targets(page, view, targets)
                ],
                "series": series,
                "points": points,
            }
        )

    async def _say(self, message: dict[str, Any]) -> None:
        message |= {"id": self._subscription, "protocol": PROTOCOL_VERSION}
        await self.send(text_data=msgspec.json.encode(message).decode())

    # Keeping up ------------------------------------------------------------------------------------

    async def _watch_forever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self._renew_watch()

    async def _renew_watch(self) -> None:
        if self._page is None:
            return
        try:
            await self._store.watch(self._page.scopes, time.time())
        except StoreError as error:
            logger.debug("cannot renew the watch: %s", error)

    async def _recheck_forever(self) -> None:
        """A session that ended, or a user who was switched off, loses the socket within a minute."""
        while True:
            await asyncio.sleep(RECHECK_SECONDS)
            if not await guard.is_still_allowed(self.scope, self._user_id):
                await self.close(CLOSE_LOGIN)
                return
