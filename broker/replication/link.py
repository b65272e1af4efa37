"""One connection to one source broker, and the fetch session on it: asks, hands answers to the replicas, asks again.

Owned by ``driver.py``. A task keeps the connection up while there is something to fetch; in between everything happens in
the callback that brought the answer: records are appended and the next request leaves before it returns. What must
stay true:

- at most one request waits at the leader, and one more only to tell it of partitions that were added meanwhile: the
  leader answers the one that waits as soon as it sees the next;
- the next request leaves when everything that this answer brought is as durable as the broker promises; with ``flush``
  that is one shared flush round, with ``os`` at once;
- a source that cannot be reached is tried again after a pause that doubles up to ``BACKOFF_SECONDS_MAX``, and at once when
  its registration changes.

A link of its own carries the partitions that are far behind (``catch_up``). It asks for less at a time and, while there is
fresh data to replicate, rests as long as it has worked, so that nobody who is in sync waits for somebody's history.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from broker import limits
from broker.errors import ErrorCode
from broker.protocol.malformed import MalformedMessage
from broker.protocol.replica_fetch import FollowerRequests, decode_follower_answer
from broker.replication.fetch_session import FollowerSession
from broker.replication.ports import SourceConnection, SourceUnreachable
from broker.replication.replica import Replica
from broker.types import BrokerId

if TYPE_CHECKING:
    from broker.replication.driver import Replication

logger = logging.getLogger(__name__)

BACKOFF_SECONDS_MIN = 0.05
BACKOFF_SECONDS_MAX = 1.0
IN_FLIGHT_MAX = 2
REST_SECONDS_MAX = 0.05
"""What a catch-up link rests at most after one answer."""
CATCH_UP_ANSWER_BYTES_MAX = 4 * limits.MIB


class FetchLink:
    __slots__ = (
        "_backoff_seconds",
        "_changed",
        "_connection",
        "_flushing",
        "_in_flight",
        "_lost",
        "_requests",
        "_resting",
        "_send_is_due",
        "_session",
        "_task",
        "_urgent",
        "_work_before",
        "bytes_total",
        "catch_up",
        "failures_total",
        "fetches_total",
        "hub",
        "replicas",
        "source_id",
    )

    def __init__(self, hub: Replication, source_id: BrokerId, *, catch_up: bool) -> None:
        self.hub = hub
        self.source_id = source_id
        self.catch_up = catch_up
        self.replicas: dict[tuple[bytes, int], Replica] = {}
        self.bytes_total = 0
        self.fetches_total = 0
        self.failures_total = 0
        self._session = FollowerSession()
        self._connection: SourceConnection | None = None
        self._requests: FollowerRequests | None = None
        self._in_flight: deque[tuple[int, float]] = deque()
        """(correlation id, monotonic seconds when it was sent), oldest first."""
        self._flushing: set[Replica] = set()
        """Those whose log is not on disk yet; the next request waits for them."""
        self._urgent = False
        self._send_is_due = False
        self._resting = False
        self._work_before = 0
        self._backoff_seconds = 0.0
        self._changed = asyncio.Event()
        self._lost: asyncio.Future[str] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    # Members ----------------------------------------------------------------------------------------

    def add(self, replica: Replica) -> None:
        replica.owner = self
        self.replicas[replica.key] = replica
        self._session.add(replica)
        if replica.flushing:
            self._flushing.add(replica)
        self._urgent = True
        if self._task is None:
            self._task = self.hub.loop.create_task(self._keep_connected(), name=f"replicate from {self.source_id}")
        self._changed.set()
        self._send_soon()

    def remove(self, replica: Replica) -> None:
        self.replicas.pop(replica.key, None)
        self._session.remove(replica)
        self._flushing.discard(replica)
        self._send_soon()  # it may have been the one whose flush the others waited for

    def source_changed(self) -> None:
        """The source registered anew, or left: do not wait any longer to look for it."""
        self._backoff_seconds = 0.0
        self._changed.set()

    def begin_anew(self) -> None:
        """This broker registered anew: leaders have to hear of every position from the new registration."""
        self.source_changed()
        if self._connection is not None:
            self._connection.close("this broker registered anew")

    async def stop(self) -> None:
        if self._connection is not None:
            self._connection.close("the broker stops following")
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # Connection -------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        while True:
            self._changed.clear()
            address = self.hub.address_of(self.source_id)
            if address is None or not self.replicas:
                await self._changed.wait()
                continue
            try:
                self._lost = self.hub.loop.create_future()
                connection = await self.hub.connect(
                    *address, self, receive_buffer_bytes=self.hub.config.replica_socket_receive_buffer_bytes
                )
            except SourceUnreachable as error:
                self._note_failure(str(error))
            else:
                self._connection = connection
                self._requests = self.hub.requests()
                self._send_soon()
                try:
                    self._note_failure(await self._lost)
                finally:
                    self._connection = None
                    self._in_flight.clear()
                    self._session.forget_session()
            await self._back_off()

    async def _back_off(self) -> None:
        self._backoff_seconds = min(max(2 * self._backoff_seconds, BACKOFF_SECONDS_MIN), BACKOFF_SECONDS_MAX)
        try:
            async with asyncio.timeout(self._backoff_seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _note_failure(self, reason: str) -> None:
        if self.replicas:
            self.failures_total += 1
            logger.warning("replication from broker %d: %s", self.source_id, reason)

    def on_lost(self, reason: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)

    def tick(self, now: float, timeout_seconds: float) -> None:
        """About once a second."""
        if self._connection is None:
            return
        if not self.replicas and not self._in_flight:
            self._connection.close("nothing is left to fetch")
        elif self._in_flight and now - self._in_flight[0][1] > timeout_seconds:
            self._connection.close(f"no answer within {timeout_seconds:g} s")
        else:
            self._connection.trim()

    # Asking -----------------------------------------------------------------------------------------

    def _send_soon(self) -> None:
        """Once for all that changes in this turn of the loop."""
        if not self._send_is_due:
            self._send_is_due = True
            self.hub.loop.call_soon(self._send_due)

    def _send_due(self) -> None:
        self._send_is_due = False
        self._send()

    def _send(self) -> None:
        connection, session, in_flight = self._connection, self._session, self._in_flight
        if connection is None or self._resting or self._flushing:
            return
        if in_flight and not (self._urgent and session.established and len(in_flight) < IN_FLIGHT_MAX):
            return
        if not session.anything_to_fetch:
            return
        self._urgent = False
        config = self.hub.config
        max_bytes = config.replica_fetch_response_max_bytes
        ask = session.ask()
        assert self._requests is not None
        correlation_id, frame = self._requests.frame(
            max_wait_ms=config.replica_fetch_wait_max_ms,
            min_bytes=config.replica_fetch_min_bytes,
            max_bytes=min(max_bytes, CATCH_UP_ANSWER_BYTES_MAX) if self.catch_up else max_bytes,
            session_id=ask[0],
            session_epoch=ask[1],
            positions=ask[2],
            forgotten=ask[3],
        )
        in_flight.append((correlation_id, self.hub.clock.monotonic()))
        connection.send(frame)

    # Answers ----------------------------------------------------------------------------------------

    def on_frame(self, frame: memoryview) -> None:
        try:
            answer = decode_follower_answer(frame)
        except MalformedMessage as error:
            self._close(str(error))
            return
        correlation_id, throttle_ms, error_code, session_id, results = answer
        in_flight = self._in_flight
        if not in_flight or in_flight[0][0] != correlation_id:
            self._close(f"an answer to {correlation_id}, which nobody asked")
            return
        _, sent_at = in_flight.popleft()
        self.fetches_total += 1
        self.bytes_total += len(frame)
        if error_code:
            self._on_refused(error_code)
            return
        if session_id != self._session.session_id or not session_id:
            self._session.on_answer(session_id)
        replicas = self.replicas
        for result in results:
            replica = replicas.get((result[0], result[1]))
            if replica is not None:
                replica.take(result)
        self._backoff_seconds = 0.0
        if throttle_ms or (self.catch_up and results):
            self._rest(throttle_ms / 1_000, sent_at)
        self._send()

    def _close(self, reason: str) -> None:
        assert self._connection is not None
        self._connection.close(reason)

    def _on_refused(self, error_code: int) -> None:
        """The whole request. Without its session it is only asked again; anything else ends the connection."""
        if error_code in _SESSION_ERRORS:
            self._session.reset()
            self._send()
        else:
            self._close(f"refused with {ErrorCode(error_code).name}")

    def _rest(self, seconds: float, sent_at: float) -> None:
        """Leave the others the time that this answer took them, if there is anybody with fresh data."""
        hub = self.hub
        if self.catch_up:
            before, self._work_before = self._work_before, hub.live_bytes_total
            if before != self._work_before:
                seconds = max(seconds, min(REST_SECONDS_MAX, hub.clock.monotonic() - sent_at))
        if seconds > 0:
            self._resting = True
            hub.loop.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._send()

    # What replicas ask of their owner ---------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return int(self.hub.clock.monotonic() * 1_000)

    @property
    def backoff_ms_max(self) -> int:
        return self.hub.config.replica_fetch_backoff_ms

    def on_appended(self, replica: Replica, byte_count: int) -> None:
        if replica.flushing:
            self._flushing.add(replica)
        else:
            self._session.note_changed(replica)
        self.hub.on_appended(replica, byte_count)

    def on_moved(self, replica: Replica) -> None:
        if replica.flushing:
            self._flushing.add(replica)
        self._session.note_changed(replica)
        self._urgent = self._urgent or replica.fetchable
        self._send_soon()

    def on_flushed(self, replica: Replica) -> None:
        self._flushing.discard(replica)
        self._session.note_changed(replica)
        if not self._flushing:
            self._send()

    def ask_range(self, replica: Replica) -> None:
        self.hub.ask_range(replica)

    def delayed(self, replica: Replica) -> None:
        self.hub.wake_at_due(replica)


_SESSION_ERRORS = frozenset(
    int(code)
    for code in (
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
    )
)
