"""Fetch v4–18: record batches from partitions led here, as they lie in the log.

Versions: v4 isolation level, v5 log start offset, v7 sessions (KIP-227), v9 leader epochs, v10 zstd, v11 rack, v12
flexible and diverging epoch (KIP-595), v13 topic ids, v15 replica state, v16 where the leader is (KIP-951), v17–18 fields
for other brokers.
Replicas: on the internal listener a replica id reads to the log end, and moves high watermark and in-sync set.
Deviations: one answer carries at most 8 MiB (beyond the first batch, which is always whole), and less while slow readers
leave much of it lying in memory. An incremental answer also lists a partition whose last stable offset moved, for
read_committed. A quota cuts a fetch to what is left of it, and makes a client wait for what it has had (Kafka: for what it asks
for, so that a batch larger than the whole window never comes). A fetch as a replica on the client listener answers
TOPIC_AUTHORIZATION_FAILED; an unknown isolation level reads what is not committed, too.

A fetch that finds less than ``min_bytes`` parks itself with the partitions it asks for. The append that makes enough
data visible wakes it; its timer and its wake-ups concern this one object only and die with it. A follower's fetch is
woken by what is appended, committed or not; a high watermark that moved alone is told to it a little later, unless
records come first: so a steady stream costs one answer per append and not two.
"""

from __future__ import annotations

import asyncio

from broker import limits
from broker.errors import ErrorCode
from broker.handlers.context import Request, Services
from broker.handlers.fetch_context import FetchContext, context_of, encode_error, is_replica
from broker.handlers.reply import Deferred, Reply
from broker.handlers.throttling import fetch_bytes_max
from broker.protocol.api import ApiKey
from broker.protocol.fetch import decode_fetch

API = ApiKey.FETCH


class ParkedFetch(Deferred):
    """A long poll. Answered by data, by a change of a partition, or by its own timer; whichever is first."""

    __slots__ = (
        "_context",
        "_missing_bytes",
        "_queued",
        "_request",
        "_services",
        "_size",
        "_tells_soon",
        "_timer",
    )

    def __init__(self, request: Request, context: FetchContext, services: Services, missing_bytes: int) -> None:
        super().__init__()
        self._request = request
        self._context = context
        self._services = services
        self._missing_bytes = missing_bytes
        self._queued = self._tells_soon = False
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def park(self, wait_ms: int, loop: asyncio.AbstractEventLoop) -> None:
        self._context.park(self)
        self._size = self._context.size
        self._services.partitions.parked_fetch_partitions += self._size
        self._timer = loop.call_later(min(wait_ms, limits.FETCH_WAIT_MS_MAX) / 1_000, self.look_again, True)
        if self._context.has_news:
            self.on_high_watermark()

    def on_data(self, byte_count: int) -> None:
        """New data in one of the partitions; ``-1`` when something else changed."""
        self._missing_bytes = self._missing_bytes - byte_count if byte_count >= 0 else 0
        if self._missing_bytes <= 0 and not self._queued:
            self._queued = True
            self._services.partitions.wake_later(self)

    def on_high_watermark(self) -> None:
        """A follower's: what it has is committed now. The next append tells it as well, and mostly comes first."""
        if not self._tells_soon:
            self._tells_soon = True
            self._services.partitions.tell_soon(self, pressing=self._context.begins)

    def tell(self) -> None:
        self.look_again(True)

    def look_again(self, final: bool = False) -> None:
        """Answer if there is enough now; stay parked otherwise, unless this is the last chance."""
        self._queued = False
        if self.done:
            return
        self._context.unpark(self)
        missing_bytes = self._context.collect()
        if missing_bytes > 0 and not final and not self._services.partitions.stopping:
            self._missing_bytes = missing_bytes
            self._context.park(self)
            if self._context.has_news:
                self.on_high_watermark()
            return
        self._stop_timer()
        self.resolve(self._context.answer())

    def hurry(self) -> None:
        self.look_again(True)

    def supersede(self) -> None:
        if not self.done:
            self._stop_timer()
            self._context.unpark(self)
            self.resolve(encode_error(self._request, ErrorCode.INVALID_FETCH_SESSION_EPOCH))

    def abandon(self) -> None:
        super().abandon()
        self._stop_timer()
        self._context.unpark(self)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._services.partitions.parked_fetch_partitions -= self._size


def handle_raw(request: Request, services: Services) -> Reply:
    fetch = decode_fetch(request.api_version, request.body)
    if services.quotas.active:
        fetch = fetch._replace(max_bytes=fetch_bytes_max(request, services, fetch.max_bytes))
    request.drop_body()
    context = context_of(request, fetch, services)
    if isinstance(context, ErrorCode):
        return encode_error(request, context)
    missing_bytes = context.collect()
    crowded = services.partitions.parked_fetch_partitions + context.size > limits.PARKED_FETCH_PARTITIONS_MAX
    if crowded and is_replica(request, fetch):
        crowded = False  # clients fill that limit; a follower sent away would only be back at once
    if missing_bytes <= 0 or fetch.max_wait_ms <= 0 or crowded:
        return context.answer()
    request.pause()
    parked = ParkedFetch(request, context, services, missing_bytes)
    parked.park(fetch.max_wait_ms, asyncio.get_running_loop())
    return parked
