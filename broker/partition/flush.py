"""Group commit: one flush round at a time per log directory, off the event loop.

Owns the flush threads of one log directory. A partition that needs durability asks with ``request``; the round
starts at the end of the loop iteration, so that everything appended in it shares the round, and what is appended
while a round runs shares the next one. One failed fsync is final: the kernel may have dropped the pages, so
nothing that is not yet flushed can be promised any more (see docs/decisions).

The tickets of one round are shared out to a few threads: file systems commit their journal once for fsyncs that
arrive together, so twenty files take little longer than one. Threads hold no broker state. They run tickets (file
handles captured on the loop); the last to finish reports the round back through ``call_soon_threadsafe``.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.storage.flush_ticket import FlushTicket

logger = logging.getLogger(__name__)


class Flushable(Protocol):
    """A partition, as seen by the scheduler."""

    def flush_ticket(self) -> FlushTicket | None:
        """What there is to flush now; ``None`` when everything is on disk."""

    def on_flushed(self, ticket: FlushTicket) -> None:
        """``ticket`` is on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushStatistics:
    rounds_total: int
    tickets_total: int
    failed_reason: str


FLUSH_THREADS_MAX = 8


class _Round:
    """Tickets under way. ``failure`` and ``shares_left`` belong to the threads, under ``lock``."""

    __slots__ = ("failure", "lock", "shares_left", "tickets")

    def __init__(self, tickets: list[tuple[Flushable, FlushTicket]], shares: int) -> None:
        self.tickets = tickets
        self.shares_left = shares
        self.failure = ""
        self.lock = threading.Lock()

    def finish_share(self, failure: str) -> bool:
        """True for the last share of the round."""
        with self.lock:
            self.failure = self.failure or failure
            self.shares_left -= 1
            return not self.shares_left


class FlushScheduler:
    def __init__(self, loop: asyncio.AbstractEventLoop, *, on_failed: Callable[[str], None]) -> None:
        self._loop = loop
        self._on_failed = on_failed
        self._dirty: dict[Flushable, None] = {}
        self._begin_is_due = False
        self._running = False
        self._idle: asyncio.Future[None] | None = None
        self._rounds_total = 0
        self._tickets_total = 0
        self.failed_reason = ""
        self._work: queue.SimpleQueue[tuple[_Round, list[FlushTicket]] | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._grow_to(1)

    def request(self, partition: Flushable) -> None:
        """Make everything appended to ``partition`` so far durable, soon; ``on_flushed`` tells when it is."""
        self._dirty[partition] = None
        if not self._running and not self._begin_is_due:
            self._begin_is_due = True
            self._loop.call_soon(self._begin)

    def forget(self, partition: Flushable) -> None:
        """The partition is gone; a ticket of it that is already running still finishes."""
        self._dirty.pop(partition, None)

    async def wait_idle(self) -> None:
        """Until nothing is dirty and no round runs (or flushing has failed)."""
        while (self._running or self._dirty) and not self.failed_reason:
            if self._idle is None:
                self._idle = self._loop.create_future()
            await self._idle

    def close(self) -> None:
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(timeout=30)

    def statistics(self) -> FlushStatistics:
        return FlushStatistics(
            rounds_total=self._rounds_total, tickets_total=self._tickets_total, failed_reason=self.failed_reason
        )

    def _begin(self) -> None:
        self._begin_is_due = False
        if self._running or self.failed_reason:
            return
        dirty, self._dirty = self._dirty, {}
        tickets = []
        for partition in dirty:
            ticket = partition.flush_ticket()
            if ticket is not None:
                tickets.append((partition, ticket))
        if tickets:
            self._running = True
            self._share_out(tickets)
        else:
            self._report_idle()

    def _share_out(self, tickets: list[tuple[Flushable, FlushTicket]]) -> None:
        shares = min(len(tickets), FLUSH_THREADS_MAX)
        self._grow_to(shares)
        round_ = _Round(tickets, shares)
        for first in range(shares):
            self._work.put((round_, [ticket for _, ticket in tickets[first::shares]]))

    def _grow_to(self, count: int) -> None:
        while len(self._threads) < count:
            thread = threading.Thread(target=self._run, name=f"flush-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _finish(self, round_: _Round) -> None:
        self._running = False
        if round_.failure:
            self._fail(round_.failure)
            return
        self._rounds_total += 1
        self._tickets_total += len(round_.tickets)
        for partition, ticket in round_.tickets:
            partition.on_flushed(ticket)
        if self._dirty:
            self._begin()
        else:
            self._report_idle()

    def _fail(self, reason: str) -> None:
        self.failed_reason = reason
        logger.error("flush failed, the log directory is out of service until a restart: %s", reason)
        self._on_failed(reason)
        self._report_idle()

    def _report_idle(self) -> None:
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _run(self) -> None:
        """A thread: nothing but fdatasync."""
        while (work := self._work.get()) is not None:
            round_, tickets = work
            failure = ""
            try:
                for ticket in tickets:
                    ticket.run()
            except OSError as error:
                failure = str(error) or type(error).__name__
            if not round_.finish_share(failure):
                continue
            try:
                self._loop.call_soon_threadsafe(self._finish, round_)
            except RuntimeError:  # the loop is closed: the process ends and nobody waits for this round
                return
