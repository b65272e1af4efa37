"""The runtime of coordinators: turns pure shards into a service on top of partitions.

Owns: one *seat* per coordinator partition this broker leads, the parked replies, and the timers of all seats. A seat
is either loading (replaying its log) or serving. What happens to an event on a serving seat:

1. the shard's handler makes a ``Decision``: records, replies, timers;
2. the records are replayed into the shard at once and gathered; everything gathered in one turn of the event loop (or
   within ``linger_ms``) is appended as one batch;
3. replies are parked until everything appended so far is committed. That goes for replies without records too, so
   nobody is told of a state that could still be lost;
4. timers are set; when one fires it is an event like any other.

Nothing is ever rolled back. When an append or its commit fails, or an event breaks an invariant, the shard is thrown
away, everybody who waits is told to ask again, and the seat reloads from its log; again and again only after longer and
longer pauses. When leadership is lost the seat goes.

While too few replicas are in sync nothing can be written. A *reversible* operation, which changes the shard by its records
and by nothing else, is then refused before they are replayed: what it decided is forgotten and the shard stays. Committing
offsets is one, and what a busy coordinator is asked most often.

Callers run on the event loop that owns the runtime; there is no other concurrency.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from typing import Any, Generic, TypeVar

from broker.clock import Clock
from broker.coordination.decision import Decision, Shard, Ticket, TimerKey
from broker.coordination.ports import CoordinatorLog, RecordCodec
from broker.coordination.replies import deliver, refuse, told_to_clients
from broker.coordination.timers import Timers
from broker.errors import ErrorCode, KafkaError
from broker.types import Offset

logger = logging.getLogger(__name__)

S = TypeVar("S", bound=Shard)
R = TypeVar("R")

LOAD_BYTES = 1024 * 1024
LOAD_RECORDS_PER_TURN = 500
"""After so many records a loading seat lets the event loop serve others."""
RELOAD_BACKOFF_MS_MIN = 100
RELOAD_BACKOFF_MS_MAX = 30_000
FAILED_APPEND_PAUSE_MS_MAX = 5_000
"""Before a shard is read again whose appends fail ever since it was read last. Longer than that a client should not wait
when they succeed again."""
STALL_MS = 500
"""Timers that fire later than this fire late because the process did not run: whoever they accuse of silence may have
spoken meanwhile. They are put off once, by as much as they were late, so that what was received is handled first."""
STALL_GRACE_MS_MAX = 5_000


@dataclass(slots=True)
class _Parked:
    """Replies that wait for one append."""

    committed: asyncio.Future[None]
    give_up_at: float
    replies: list[tuple[asyncio.Future, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatStatistics:
    index: int
    epoch: int
    loading: bool
    waiting: int
    uncommitted_appends: int
    records_loaded: int
    records_skipped: int


@dataclass(slots=True, eq=False)
class Seat(Generic[S, R]):
    index: int
    epoch: int
    log: CoordinatorLog
    shard: S
    loading: bool = True
    load_task: asyncio.Task[None] | None = None
    tickets: dict[Ticket, asyncio.Future] = field(default_factory=dict)
    gathered: list[R] = field(default_factory=list)
    gathered_replies: list[tuple[asyncio.Future, object]] = field(default_factory=list)
    parked: deque[_Parked] = field(default_factory=deque)
    gives_up_later: bool = False
    """A check for replies that wait too long is scheduled."""
    backoff_ms: int = RELOAD_BACKOFF_MS_MIN
    failed_appends: int = 0
    """In a row: since an append succeeded."""
    records_loaded: int = 0
    records_skipped: int = 0


class CoordinatorRuntime(Generic[S, R]):
    def __init__(
        self,
        *,
        name: str,
        clock: Clock,
        new_shard: Callable[[int], S],
        codec: RecordCodec[R],
        on_step: Callable[[int, S], None] = lambda index, shard: None,
        on_loaded: Callable[[int, S, int], Decision] = lambda index, shard, now_ms: Decision(),
        on_unloaded: Callable[[int, S], None] = lambda index, shard: None,
        commit_timeout_ms: int = 5_000,
        load_bytes: int = LOAD_BYTES,
        stall_ms: int = STALL_MS,
        linger_ms: int = 0,
    ) -> None:
        self._name = name
        self._clock = clock
        self._new_shard = new_shard
        self._codec = codec
        self._on_step = on_step
        self._on_loaded = on_loaded
        self._on_unloaded = on_unloaded
        self._commit_timeout = commit_timeout_ms / 1000
        self._load_bytes = load_bytes
        self._stall = stall_ms / 1000
        self._linger = max(linger_ms, 0) / 1000
        self._seats: dict[int, Seat[S, R]] = {}
        self._tickets = count(1)
        self._timers: Timers[tuple[int, TimerKey]] = Timers()
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = float("inf")
        self._put_off = False

    # Leadership --------------------------------------------------------------------------------------

    def lead(self, index: int, log: CoordinatorLog, epoch: int) -> None:
        """This broker leads the partition in ``epoch``: load it. An older epoch's seat is given up first."""
        seat = self._seats.get(index)
        if seat is not None:
            if seat.epoch >= epoch:
                return
            self.resign(index)
        seat = Seat(index=index, epoch=epoch, log=log, shard=self._new_shard(index))
        self._seats[index] = seat
        self._start_loading(seat)

    def resign(self, index: int) -> None:
        """Another broker leads now, or the partition is gone."""
        seat = self._seats.pop(index, None)
        if seat is not None:
            self._clear(seat, KafkaError(ErrorCode.NOT_COORDINATOR))
            self._on_unloaded(index, seat.shard)

    async def close(self) -> None:
        """Append what is gathered, then give up every seat."""
        tasks = [seat.load_task for seat in self._seats.values() if seat.load_task is not None]
        for seat in list(self._seats.values()):
            self._append_gathered(seat)
        for index in list(self._seats):
            self.resign(index)
        if self._wake is not None:
            self._wake.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Service -----------------------------------------------------------------------------------------

    def execute(
        self, index: int, operation: Callable[[S, Ticket, int], Decision], *, reversible: bool = False
    ) -> asyncio.Future:
        """Run a handler; the future is its reply, or a ``KafkaError`` that says to ask again (elsewhere).

        ``reversible``: all that it changes in the shard it changes by records that the runtime replays."""
        seat = self._serving(index)
        future, ticket = self._open_ticket(seat)

        def event() -> Decision:
            decision = operation(seat.shard, ticket, self._clock.wall_ms())
            refusal = seat.log.refusal if reversible and decision.records else None
            if refusal is None:
                return decision
            assert not decision.replayed, "what has been replayed cannot be taken back"
            for answered, _ in decision.replies:
                self._refuse_ticket(seat, answered, told_to_clients(refusal))
            return Decision(timers=decision.timers)

        self._run(seat, event)
        return future

    def read(self, index: int, question: Callable[[S], object]) -> asyncio.Future:
        """Ask the shard something; the answer waits behind the last append like any reply."""

        def operation(shard: S, ticket: Ticket, now_ms: int) -> Decision:
            return Decision(replies=[(ticket, question(shard))])

        return self.execute(index, operation)

    def propose(self, index: int, operation: Callable[[S, int], Decision]) -> None:
        """An event nobody waits for. Nothing happens on a seat that does not serve."""
        seat = self._seats.get(index)
        if seat is None or seat.loading:
            return
        shard = seat.shard
        try:
            self._run(seat, lambda: operation(shard, self._clock.wall_ms()))
        except Exception:
            logger.exception("%s partition %d: an event failed, reloading", self._name, index)

    def seats(self) -> list[int]:
        return list(self._seats)

    def serving(self) -> Iterator[tuple[int, S]]:
        """Every loaded shard, for reading only."""
        return iter([(index, seat.shard) for index, seat in self._seats.items() if not seat.loading])

    def is_loading(self, index: int) -> bool:
        seat = self._seats.get(index)
        return seat is not None and seat.loading

    def statistics(self) -> list[SeatStatistics]:
        return [
            SeatStatistics(
                index=seat.index,
                epoch=seat.epoch,
                loading=seat.loading,
                waiting=len(seat.tickets),
                uncommitted_appends=len(seat.parked),
                records_loaded=seat.records_loaded,
                records_skipped=seat.records_skipped,
            )
            for seat in self._seats.values()
        ]

    def _serving(self, index: int) -> Seat[S, R]:
        seat = self._seats.get(index)
        if seat is None:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        if seat.loading:
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return seat

    def _open_ticket(self, seat: Seat[S, R]) -> tuple[asyncio.Future, Ticket]:
        future, ticket = asyncio.get_running_loop().create_future(), next(self._tickets)
        seat.tickets[ticket] = future
        return future, ticket

    # Decisions ---------------------------------------------------------------------------------------

    def _run(self, seat: Seat[S, R], event: Callable[[], Decision]) -> None:
        try:
            self._perform(seat, event())
        except BaseException:
            # A broken invariant. The shard may be half-changed, so it cannot be trusted any more.
            self._start_over(seat, KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE))
            raise

    def _perform(self, seat: Seat[S, R], decision: Decision) -> None:
        for record in islice(decision.records, decision.replayed, None):
            seat.shard.replay(record)
        if decision.records:
            if not seat.gathered:
                loop = asyncio.get_running_loop()
                later = partial(loop.call_later, self._linger) if self._linger else loop.call_soon
                later(self._append_gathered, seat)
            seat.gathered += decision.records
        for ticket, answer in decision.replies:
            self._park(seat, seat.tickets.pop(ticket), answer)
        if decision.timers:
            self._set_timers(seat, decision.timers)
        self._on_step(seat.index, seat.shard)

    def _park(self, seat: Seat[S, R], future: asyncio.Future, answer: object) -> None:
        if seat.gathered:
            seat.gathered_replies.append((future, answer))
        elif seat.parked:
            seat.parked[-1].replies.append((future, answer))
        elif not future.done():
            future.set_result(answer)

    def _append_gathered(self, seat: Seat[S, R]) -> None:
        records, replies = seat.gathered, seat.gathered_replies
        if not records:
            return
        now_ms = self._clock.wall_ms()
        offset = -1
        try:
            for batch in self._codec.encode(records, now_ms, seat.log.batch_bytes_max):
                offset = seat.log.append(batch, now_ms)
            committed = seat.log.wait_committed(offset)
        except KafkaError as error:
            logger.warning("%s partition %d: append failed, reloading: %s", self._name, seat.index, error)
            seat.failed_appends += 1
            self._start_over(seat, told_to_clients(error))
            return
        except Exception:
            # A record that cannot be encoded, or a fault below us: left in place it would block the seat for good.
            logger.exception("%s partition %d: append broke, reloading", self._name, seat.index)
            self._start_over(seat, KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE))
            return
        seat.gathered, seat.gathered_replies, seat.failed_appends = [], [], 0
        if not seat.parked and committed.done() and committed.exception() is None:
            deliver(replies)
            return
        self._wait_for(seat, committed, replies)

    def _written_upto(self, seat: Seat[S, R], offset: Offset) -> None:
        """Something was appended outside a gathered batch: replies of now wait for it."""
        committed = seat.log.wait_committed(offset)
        if seat.parked or not committed.done() or committed.exception() is not None:
            self._wait_for(seat, committed, [])

    def _refuse_ticket(self, seat: Seat[S, R], ticket: Ticket, error: KafkaError) -> None:
        refuse(seat.tickets.pop(ticket), error)

    def _wait_for(
        self, seat: Seat[S, R], committed: asyncio.Future[None], replies: list[tuple[asyncio.Future, object]]
    ) -> None:
        seat.parked.append(_Parked(committed, self._clock.monotonic() + self._commit_timeout, replies))
        committed.add_done_callback(lambda _: self._on_committed(seat))
        if not seat.gives_up_later:
            seat.gives_up_later = True
            asyncio.get_running_loop().call_later(self._commit_timeout, self._give_up_late_replies, seat)

    def _on_committed(self, seat: Seat[S, R]) -> None:
        while seat.parked and seat.parked[0].committed.done():
            parked = seat.parked[0]
            error = None if parked.committed.cancelled() else parked.committed.exception()
            if parked.committed.cancelled() or error is not None:
                kafka_error = error if isinstance(error, KafkaError) else KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
                logger.warning("%s partition %d: commit failed, reloading: %s", self._name, seat.index, kafka_error)
                self._start_over(seat, told_to_clients(kafka_error))
                return
            seat.parked.popleft()
            deliver(parked.replies)

    def _give_up_late_replies(self, seat: Seat[S, R]) -> None:
        """Too few replicas for too long: the record stands and may commit yet, but its client shall ask again."""
        now = self._clock.monotonic()
        for parked in seat.parked:
            if parked.give_up_at <= now and parked.replies:
                replies, parked.replies = parked.replies, []
                for future, _ in replies:
                    refuse(future, KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "not committed in time"))
        seat.gives_up_later = bool(seat.parked)
        if seat.parked:
            asyncio.get_running_loop().call_later(self._commit_timeout / 2, self._give_up_late_replies, seat)

    # Timers ------------------------------------------------------------------------------------------

    def _set_timers(self, seat: Seat[S, R], timers: dict[TimerKey, int | None]) -> None:
        now = self._clock.monotonic()
        for key, delay_ms in timers.items():
            if delay_ms is None:
                self._timers.cancel((seat.index, key))
            else:
                self._timers.set((seat.index, key), now + delay_ms / 1000)
        self._arm()

    def _arm(self) -> None:
        due = self._timers.next_deadline()
        if due is None or (due >= self._wake_at and self._wake is not None):
            return
        if self._wake is not None:
            self._wake.cancel()
        self._wake_at = due
        delay = max(due - self._clock.monotonic(), 0)
        self._wake = asyncio.get_running_loop().call_later(delay, self.run_timers)

    def run_timers(self) -> None:
        """Fire what is due. The runtime calls this itself; tests with a manual clock call it too."""
        now = self._clock.monotonic()
        late = now - self._wake_at
        if self._wake is not None:
            self._wake.cancel()
        self._wake, self._wake_at = None, float("inf")
        if late > self._stall > 0 and not self._put_off:
            self._put_off = True
            moved = self._timers.postpone_due(now, now + min(late, STALL_GRACE_MS_MAX / 1000))
            logger.warning("%s: the process stood still for %.1f s; %d timers put off", self._name, late, moved)
        else:
            self._put_off = False
            for index, key in self._timers.pop_due(now):
                self.propose(index, partial(_fire, key))
        self._arm()

    # Loading -----------------------------------------------------------------------------------------

    def _start_over(self, seat: Seat[S, R], error: KafkaError) -> None:
        """Throw the shard away and load it again, unless the seat itself is gone."""
        if self._seats.get(seat.index) is not seat:
            return
        self._clear(seat, error)
        self._on_unloaded(seat.index, seat.shard)
        seat.shard = self._new_shard(seat.index)
        self._start_loading(seat)

    def _clear(self, seat: Seat[S, R], error: KafkaError) -> None:
        seat.loading = True
        if seat.load_task is not None:
            seat.load_task.cancel()
            seat.load_task = None
        self._timers.discard(lambda key: key[0] == seat.index)
        waiting = list(seat.tickets.values()) + [future for future, _ in seat.gathered_replies]
        waiting += [future for parked in seat.parked for future, _ in parked.replies]
        seat.tickets, seat.gathered, seat.gathered_replies, seat.parked = {}, [], [], deque()
        for future in waiting:
            refuse(future, error)

    def _start_loading(self, seat: Seat[S, R]) -> None:
        if seat.log.end_offset == seat.log.start_offset:
            # A new topic: its first client need not be sent away to come again.
            self._serve(seat)
            return
        seat.loading = True
        seat.load_task = asyncio.get_running_loop().create_task(
            self._load(seat), name=f"load {self._name} {seat.index}"
        )

    async def _load(self, seat: Seat[S, R]) -> None:
        if seat.failed_appends > 1:
            pause_ms = RELOAD_BACKOFF_MS_MIN << min(seat.failed_appends - 2, 10)
            await asyncio.sleep(min(pause_ms, FAILED_APPEND_PAUSE_MS_MAX) / 1000)
        while True:
            try:
                await self._replay_log(seat)
                break
            except Exception as error:
                # Nothing is served meanwhile; a damaged log directory or a bug here must not end the process.
                expected = isinstance(error, KafkaError)
                logger.error(
                    "%s partition %d cannot be loaded: %s", self._name, seat.index, error, exc_info=not expected
                )
            await asyncio.sleep(seat.backoff_ms / 1000)
            seat.backoff_ms = min(seat.backoff_ms * 2, RELOAD_BACKOFF_MS_MAX)
            seat.shard = self._new_shard(seat.index)
        seat.backoff_ms = RELOAD_BACKOFF_MS_MIN
        self._serve(seat)

    def _serve(self, seat: Seat[S, R]) -> None:
        seat.loading = False
        seat.load_task = None
        if seat.log.end_offset > seat.log.start_offset:
            self._wait_for_the_tail(seat)
        self.propose(seat.index, lambda shard, now_ms: shard.on_loaded(now_ms))
        self.propose(seat.index, lambda shard, now_ms: self._on_loaded(seat.index, shard, now_ms))

    async def _replay_log(self, seat: Seat[S, R]) -> None:
        offset = seat.log.start_offset
        seat.records_loaded = seat.records_skipped = 0
        replayed = 0
        while offset < seat.log.end_offset:
            pieces = seat.log.read(offset, self._load_bytes)
            before = offset
            for record_offset, record in self._codec.decode(pieces, offset):
                offset = record_offset + 1
                if record is None:
                    seat.records_skipped += 1
                else:
                    self._replay(seat.shard, record)
                    seat.records_loaded += 1
                replayed += 1
                if replayed % LOAD_RECORDS_PER_TURN == 0:
                    await asyncio.sleep(0)
            if offset == before:
                raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"nothing readable at offset {offset}")

    def _replay(self, shard: S, entry: Any) -> None:
        """Apply what the codec read back."""
        shard.replay(entry)

    def _wait_for_the_tail(self, seat: Seat[S, R]) -> None:
        """What was loaded may not be committed yet: the first replies wait for it as for an append of our own."""
        committed = seat.log.wait_committed(seat.log.end_offset - 1)
        if not committed.done():
            self._wait_for(seat, committed, [])


def _fire(key: TimerKey, shard: Shard, now_ms: int) -> Decision:
    return shard.on_timer(key, now_ms)
