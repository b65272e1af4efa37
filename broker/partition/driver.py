"""One partition on this broker: performs what ``state.py`` decides on the log, and keeps who waits for it.

Owned by ``manager.py``; used by handlers and coordinators, always on the event loop.

What a reply and a reader may see (docs/decisions/020):
- consumers see records below the high watermark (every in-sync replica has them in its log);
- an acks=all answer additionally waits for the local fdatasync when ``ack.durability`` is ``flush``;
- acks=1 answers after the local append and never causes an fsync;
- but with ``flush.messages`` every so many records force an fsync, and whoever wrote them waits for it, with acks=1 too.

Waiters for commit are kept in offset order, so releasing them costs nothing per waiter that is not due.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from broker.errors import ErrorCode, KafkaError
from broker.partition.fetch_waiters import (
    LOOK_AGAIN,
    READ_COMMITTED,
    FetchWaiter,
    FetchWaiters,
    ReplicaWaiter,
)
from broker.partition.state import ACKS_ALL, Effects, HighWatermarkAdvanced, PartitionState, ProposeIsr
from broker.protocol.markers import build_marker
from broker.storage.verification import Proof
from broker.types import (
    NO_EPOCH,
    NO_OFFSET,
    NO_TIMESTAMP,
    Buffer,
    Offset,
    ProducerEpoch,
    ProducerId,
    TimestampMs,
    TopicId,
    TopicPartition,
)

if TYPE_CHECKING:
    from broker.partition.flush import FlushScheduler
    from broker.protocol.batch import BatchHeader
    from broker.storage.flush_ticket import FlushTicket
    from broker.storage.log import Log, LogAppend
    from broker.storage.log_append import Origin
    from broker.storage.verification import Verification

NEVER = 2**63 - 1
"""The default of ``flush.messages`` and ``flush.ms``: the operating system flushes when it likes."""


class CommitWaiter(Protocol):
    """Something that waits for an append to be committed. ``slot`` is its own note of which append."""

    done: bool
    patient: bool
    """Waits on while too few replicas are in sync, instead of being told NOT_ENOUGH_REPLICAS_AFTER_APPEND."""

    def on_committed(self, slot: int) -> None: ...

    def on_commit_failed(self, slot: int, code: ErrorCode) -> None: ...


class FutureWaiter:
    """A commit waiter for code that awaits (coordinators): what they appended stands, and they have their own deadlines."""

    __slots__ = ("done", "future")

    patient = True

    def __init__(self, future: asyncio.Future[None]) -> None:
        self.future = future
        self.done = False

    def on_committed(self, slot: int) -> None:
        self.done = True
        if not self.future.done():
            self.future.set_result(None)

    def on_commit_failed(self, slot: int, code: ErrorCode) -> None:
        self.done = True
        if not self.future.done():
            self.future.set_exception(KafkaError(code))
            self.future.exception()  # Whoever waits still gets it; if nobody does any more, that is no fault.


class Partition:
    __slots__ = (
        "_commit_waiters",
        "_fetch_waiters",
        "_flush",
        "_flush_due_offset",
        "_flush_messages",
        "_flush_waiters",
        "_forced_offset",
        "_log_start_told",
        "_on_propose_isr",
        "_replica_waiters",
        "bytes_in_total",
        "bytes_out_total",
        "flush_ms",
        "lag",
        "last_append_ms",
        "last_flush_ms",
        "log",
        "on_durable",
        "records_in_total",
        "replica_bytes_out_total",
        "state",
        "topic_id",
        "topic_partition",
        "waits_for_flush",
    )

    def __init__(
        self,
        topic_partition: TopicPartition,
        topic_id: TopicId,
        log: Log,
        state: PartitionState,
        *,
        flush: FlushScheduler,
        waits_for_flush: bool,
        on_propose_isr: Callable[[Partition, ProposeIsr], None],
    ) -> None:
        self.topic_partition = topic_partition
        self.topic_id = topic_id
        self.log = log
        self.state = state
        self.waits_for_flush = waits_for_flush
        self.bytes_in_total = 0
        self.bytes_out_total = 0
        self.records_in_total = 0
        self.replica_bytes_out_total = 0
        """Sent to followers; ``bytes_out_total`` is what consumers got."""
        self.lag = -1
        """Of a follower: committed records that it lacks, as far as its leader has told; -1 before and in other roles."""
        self.last_append_ms: TimestampMs = NO_TIMESTAMP
        self.flush_ms = NEVER
        """``flush.ms``"""
        self.on_durable: Callable[[Offset], None] | None = None
        """Told of every flush, with the offset up to which the log is on disk; whoever follows a leader here."""
        self.last_flush_ms: TimestampMs = 0
        """When the clock last had this partition flushed, on the monotonic clock."""
        self._flush = flush
        self._flush_messages = NEVER
        self._flush_due_offset = NEVER
        """A log end at or above it is flushed at once."""
        self._forced_offset: Offset = 0
        """Nothing is acknowledged until the log is on disk up to here."""
        self._log_start_told: asyncio.Event | None = None
        """While somebody waits for a follower to say where its log starts."""
        self._on_propose_isr = on_propose_isr
        self._commit_waiters: deque[tuple[Offset, CommitWaiter, int]] = deque()
        self._flush_waiters: deque[tuple[Offset, CommitWaiter, int]] = deque()
        """Those that wait for the disk of this broker alone."""
        self._fetch_waiters = FetchWaiters()
        self._replica_waiters: dict[ReplicaWaiter, None] = {}
        """Followers that have all there is. Told of appends, not of what is committed."""

    # Facts ------------------------------------------------------------------------------------------

    @property
    def high_watermark(self) -> Offset:
        return self.state.high_watermark

    @property
    def last_stable_offset(self) -> Offset:
        """The end of what read_committed may see: the high watermark, or where the oldest transaction starts that is
        open or whose marker is not committed yet."""
        high_watermark = self.state.high_watermark
        first = self.log.producer_state.transactions.first_unstable(high_watermark)
        if first is None or first >= high_watermark:
            return high_watermark
        return max(first, self.log.log_start_offset)

    @property
    def leader_epoch(self) -> int:
        return self.state.leader_epoch

    @property
    def last_record_ms(self) -> TimestampMs:
        """Largest record timestamp of the newest segment; -1 when there is none."""
        return self.log.last_record_ms

    @property
    def committed_offset(self) -> Offset:
        """Records below are acknowledged to acks=all producers."""
        high_watermark = self.state.high_watermark
        if self.waits_for_flush or self.flush_is_forced:
            flushed = self.log.flushed_offset
            return flushed if flushed < high_watermark else high_watermark
        return high_watermark

    @property
    def flush_is_forced(self) -> bool:
        """``flush.messages`` has had a flush begun that is not finished: acknowledgements of any kind wait for it."""
        return self._forced_offset > self.log.flushed_offset

    # Writing ----------------------------------------------------------------------------------------

    def configure_flush(self, messages: int, after_ms: int) -> None:
        """``flush.messages`` and ``flush.ms`` of the topic, from now on."""
        if messages != self._flush_messages:
            self._flush_messages = messages
            self._flush_due_offset = min(NEVER, self.log.log_end_offset + messages)
        self.flush_ms = after_ms

    def append(
        self,
        records: memoryview,
        *,
        acks: int,
        now_ms: TimestampMs,
        leader_epoch: int = NO_EPOCH,
        origin: Origin = "client",
        proof: Proof | None = None,
    ) -> LogAppend:
        """Append as leader. Raises ``KafkaError``; on return the records are in the log, not yet committed.

        ``proof``: see ``begin_verification``.
        """
        state = self.state
        if not state.is_leader or acks == ACKS_ALL or leader_epoch >= 0:
            self._refuse(acks, leader_epoch)
        appended = self.log.append_as_leader(
            records, leader_epoch=state.leader_epoch, now_ms=now_ms, origin=origin, proof=proof
        )
        if not appended.duplicate:
            self.bytes_in_total += appended.byte_count
            self.records_in_total += appended.record_count
            self.last_append_ms = now_ms
            if appended.last_offset >= self._flush_due_offset - 1:
                self._force_flush(appended.last_offset + 1)
            if self._replica_waiters:
                self._wake_replicas(appended.byte_count)
            effects = state.on_append(appended.last_offset + 1)
            if effects:
                self._perform(effects, appended.byte_count)
        return appended

    def append_transaction_marker(
        self,
        *,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        coordinator_epoch: int,
        commit: bool,
        now_ms: TimestampMs,
        leader_epoch: int = NO_EPOCH,
        transaction_version: int = 0,
    ) -> LogAppend:
        """End the producer's transaction in this partition; without one the marker is written all the same.

        Raises ``KafkaError``: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, INVALID_PRODUCER_EPOCH (a marker of
        transactions v2 carries an epoch above that of the data), TRANSACTION_COORDINATOR_FENCED.
        """
        marker = build_marker(
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            coordinator_epoch=coordinator_epoch,
            commit=commit,
            timestamp_ms=now_ms,
        )
        return self.append(
            memoryview(marker),
            acks=ACKS_ALL,
            now_ms=now_ms,
            leader_epoch=leader_epoch,
            origin="coordinator",
            proof=Proof(transaction_version=transaction_version),
        )

    def begin_verification(
        self, header: BatchHeader, now_ms: TimestampMs, *, starts_at_zero: bool
    ) -> Verification | None:
        """Before the first batch of a transaction is appended with a ``Proof``, the transaction coordinator has to be
        asked; what this returns is then the batch's permission. ``None``: the transaction is open here already."""
        return self.log.producer_state.begin_verification(header, now_ms, starts_at_zero=starts_at_zero)

    def withdraw_verification(self, permission: Verification) -> None:
        """The coordinator does not know this producer, or not in this epoch."""
        self.log.producer_state.verifications.withdraw(permission)

    def _force_flush(self, log_end_offset: Offset) -> None:
        self._forced_offset = log_end_offset
        self._flush_due_offset = log_end_offset + self._flush_messages
        self._flush.request(self)

    def append_refusal(self, acks: int) -> ErrorCode | None:
        """Why an append would be refused now, whatever is appended."""
        return self.state.append_refusal(acks)

    def _refuse(self, acks: int, leader_epoch: int) -> None:
        code = self.state.append_refusal(acks) or self.state.epoch_refusal(leader_epoch)
        if code is not None:
            raise KafkaError(code)

    def park(self, offset: Offset, waiter: CommitWaiter, slot: int) -> bool:
        """Tell ``waiter`` when the record at ``offset`` is committed. False: it already is, nothing was parked."""
        if self.committed_offset > offset:
            return False
        waiters = self._commit_waiters
        if waiters and offset < waiters[-1][0]:
            # A retry of an older batch: it answers with the newest one, which keeps the queue in offset order.
            offset = waiters[-1][0]
        waiters.append((offset, waiter, slot))
        if (self.waits_for_flush or self.flush_is_forced) and self.log.flushed_offset <= offset:
            self._flush.request(self)
        return True

    def park_until_flushed(self, offset: Offset, waiter: CommitWaiter, slot: int) -> bool:
        """As ``park``, but ``waiter`` is told when the record is on the disk here: ``flush.messages`` with acks=1."""
        if self.log.flushed_offset > offset:
            return False
        waiters = self._flush_waiters
        waiters.append((max(offset, waiters[-1][0]) if waiters else offset, waiter, slot))
        self._flush.request(self)
        return True

    def wait_committed(self, offset: Offset) -> asyncio.Future[None]:
        """Resolves when the record at ``offset`` is committed; ``KafkaError`` when that cannot happen here."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self.park(offset, FutureWaiter(future), 0):
            future.set_result(None)
        return future

    def drop_finished_waiters(self) -> None:
        """Forget waiters that gave up (timed out), so that a stuck partition does not collect them."""
        self._commit_waiters = deque(entry for entry in self._commit_waiters if not entry[1].done)
        self._flush_waiters = deque(entry for entry in self._flush_waiters if not entry[1].done)

    def request_flush(self) -> None:
        """Have what was appended flushed soon although nobody waits for it (``interval``, clean stop)."""
        if self.log.flushed_offset < self.log.log_end_offset:
            self._flush.request(self)

    def flush_ticket(self) -> FlushTicket | None:
        try:
            return self.log.flush_ticket()
        except KafkaError as error:
            self.fail_waiters(error.code)
            return None

    def on_flushed(self, ticket: FlushTicket) -> None:
        self.log.flushed(ticket)
        if self._flush_due_offset < NEVER:
            self._flush_due_offset = max(self._flush_due_offset, self.log.flushed_offset + self._flush_messages)
        if self._flush_waiters:
            _release(self._flush_waiters, self.log.flushed_offset)
        if self._commit_waiters:
            self._release_committed()
        if self.on_durable is not None:
            self.on_durable(self.log.flushed_offset)

    def save_high_watermark(self) -> None:
        """Let the next checkpoint of the log directory have it."""
        self.log.high_watermark = self.state.high_watermark

    # Reading ----------------------------------------------------------------------------------------

    def readable_offset(self, isolation_level: int) -> Offset:
        return self.last_stable_offset if isolation_level == READ_COMMITTED else self.state.high_watermark

    def read(
        self, offset: Offset, max_bytes: int, *, isolation_level: int = 0, at_least_one: bool = True
    ) -> Sequence[Buffer]:
        """Whole batches from the one that contains ``offset``; empty at the end of what may be seen."""
        upto_offset = self.readable_offset(isolation_level)
        if offset > upto_offset or offset < self.log.log_start_offset:
            # Between high watermark and log end is not an error: the record exists and will be visible soon.
            if self.log.log_start_offset <= offset <= self.log.log_end_offset:
                return ()
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        if offset == upto_offset or (max_bytes <= 0 and not at_least_one):
            return ()
        return self.log.read(offset, max_bytes, upto_offset=upto_offset, at_least_one=at_least_one)

    def read_as_replica(self, offset: Offset, max_bytes: int, *, at_least_one: bool) -> Sequence[Buffer]:
        """Whole batches up to the log end, for a copy of the log: also those that compaction has emptied."""
        log = self.log
        end = log.log_end_offset
        if offset == end or (max_bytes <= 0 and not at_least_one):
            return ()
        return log.read(offset, max_bytes, upto_offset=end, at_least_one=at_least_one, empty_alone=True)

    def add_fetch_waiter(self, waiter: FetchWaiter, isolation_level: int) -> None:
        self._fetch_waiters.add(waiter, isolation_level, self.last_stable_offset, self.state.high_watermark)

    def remove_fetch_waiter(self, waiter: FetchWaiter) -> None:
        self._fetch_waiters.remove(waiter)

    def hear_follower(self, effects: Effects) -> None:
        """A follower told of its log's start and end; ``effects``: what that means to ``state``."""
        if effects:
            self._perform(effects, -1)
        if self._log_start_told is not None:
            self._log_start_told.set()
            self._log_start_told = None

    async def wait_log_start_told(self) -> None:
        """Until a follower tells where its log starts."""
        if self._log_start_told is None:
            self._log_start_told = asyncio.Event()
        await self._log_start_told.wait()

    def add_replica_waiter(self, waiter: ReplicaWaiter) -> None:
        self._replica_waiters[waiter] = None

    def remove_replica_waiter(self, waiter: ReplicaWaiter) -> None:
        self._replica_waiters.pop(waiter, None)

    def wake_fetch_waiters(self) -> None:
        """Let every long poll look again: leadership, epoch, log start or existence changed."""
        self._fetch_waiters.wake()
        self._wake_replicas(LOOK_AGAIN)

    def _wake_replicas(self, byte_count: int) -> None:
        for waiter in tuple(self._replica_waiters):
            waiter.on_data(byte_count)

    # Effects ----------------------------------------------------------------------------------------

    def perform(self, effects: Effects) -> None:
        """Carry out effects of an event other than an append (ISR decisions, follower fetches, ticks)."""
        if effects:
            self._perform(effects, -1)

    def _perform(self, effects: Effects, byte_count: int) -> None:
        for effect in effects:
            if isinstance(effect, HighWatermarkAdvanced):
                waiters = self._fetch_waiters
                if waiters:
                    stable = self.last_stable_offset if waiters.any_committed else NO_OFFSET
                    waiters.advanced(byte_count, stable, self.state.high_watermark)
                if self._commit_waiters:
                    self._release_committed()
                if self._replica_waiters:
                    for replica in tuple(self._replica_waiters):
                        replica.on_high_watermark()
            elif isinstance(effect, ProposeIsr):
                self._on_propose_isr(self, effect)
            else:
                self._refuse_impatient()

    def _release_committed(self) -> None:
        _release(self._commit_waiters, self.committed_offset)

    def _refuse_impatient(self) -> None:
        """Too few are in sync for acks=all. What is appended stays, and may be committed when others are back."""
        waiters, self._commit_waiters = self._commit_waiters, deque()
        for offset, waiter, slot in waiters:
            if waiter.patient:
                self._commit_waiters.append((offset, waiter, slot))
            else:
                waiter.on_commit_failed(slot, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)

    def fail_waiters(self, code: ErrorCode) -> None:
        """Nothing appended here will be committed by us any more (deleted, resigned, log directory failed)."""
        waiters = *self._commit_waiters, *self._flush_waiters
        self._commit_waiters, self._flush_waiters = deque(), deque()
        for _, waiter, slot in waiters:
            waiter.on_commit_failed(slot, code)
        self.wake_fetch_waiters()


def _release(waiters: deque[tuple[Offset, CommitWaiter, int]], upto_offset: Offset) -> None:
    while waiters and waiters[0][0] < upto_offset:
        _, waiter, slot = waiters.popleft()
        waiter.on_committed(slot)
