"""A transaction shard on a stage: performs its decisions against a list instead of a partition, with time told to move.

Markers are never sent here: ``complete`` says that they are written.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from broker.coordination.decision import Decision, Ticket, TimerKey
from broker.errors import ErrorCode, KafkaError
from broker.transactions.events import (
    AbortOverdue,
    AddPartitions,
    CompleteTransaction,
    EndTransaction,
    InitProducerId,
    Missing,
    VerifyPartitions,
)
from broker.transactions.metadata import VERSION_2, Transaction
from broker.transactions.records import TransactionRecord, decode_record, encode_record
from broker.transactions.shard import ShardConfig, TransactionShard
from broker.types import TopicPartition

ID = "copier"
START_MS = 1_700_000_000_000
WAITING = "still waiting"
CLICKS = tuple(TopicPartition("clicks", index) for index in range(4))


class Stage:
    def __init__(self, *, complete_wait_ms: int = 100, record_bytes_max: int = 1_000_000) -> None:
        self.config = ShardConfig(
            complete_wait_ms=complete_wait_ms, id_expiration_ms=60_000, record_bytes_max=record_bytes_max
        )
        self.now_ms = START_MS
        self.log: list[TransactionRecord] = []
        self.replies: dict[Ticket, Any] = {}
        self.timers: dict[TimerKey, int] = {}
        self.shard = TransactionShard(self.config)
        self._tickets = count(1)
        self.next_producer_id = 1_000

    # Requests ----------------------------------------------------------------------------------------

    def init(self, producer_id: int = -1, producer_epoch: int = -1, *, timeout_ms: int = 10_000, key: str = ID) -> Any:
        """(id, epoch), an error code, or ``WAITING``."""

        def attempt(ticket: Ticket, fresh: int | None) -> Decision[TransactionRecord]:
            event = InitProducerId(
                transactional_id=key,
                timeout_ms=timeout_ms,
                producer_id=producer_id,
                producer_epoch=producer_epoch,
                fresh_producer_id=fresh,
            )
            return self.shard.init_producer_id(event, ticket, self.now_ms)

        return self.answer(self.with_producer_id(attempt))

    def add(self, producer: tuple[int, int], *partitions: TopicPartition, version: int = VERSION_2) -> Any:
        """The one code all partitions got, or ``WAITING``."""
        event = AddPartitions(
            transactional_id=ID,
            producer_id=producer[0],
            producer_epoch=producer[1],
            partitions=frozenset(partitions or CLICKS[:1]),
            client_version=version,
        )
        return self.answer(self.run(lambda ticket: self.shard.add_partitions(event, ticket, self.now_ms)))

    def verify(self, producer: tuple[int, int], *partitions: TopicPartition) -> dict[TopicPartition, ErrorCode]:
        event = VerifyPartitions(
            transactional_id=ID, producer_id=producer[0], producer_epoch=producer[1], partitions=frozenset(partitions)
        )
        return dict(self.shard.verify_partitions(event).errors)

    def end(self, producer: tuple[int, int], *, commit: bool = True, version: int = VERSION_2) -> Any:
        def attempt(ticket: Ticket, fresh: int | None) -> Decision[TransactionRecord]:
            event = EndTransaction(
                transactional_id=ID,
                producer_id=producer[0],
                producer_epoch=producer[1],
                commit=commit,
                client_version=version,
                fresh_producer_id=fresh,
            )
            return self.shard.end(event, ticket, self.now_ms)

        return self.answer(self.with_producer_id(attempt))

    def commit(self, producer: tuple[int, int], **how: Any) -> Any:
        return self.end(producer, commit=True, **how)

    def abort(self, producer: tuple[int, int], **how: Any) -> Any:
        return self.end(producer, commit=False, **how)

    # What the driver does ------------------------------------------------------------------------------

    def complete(self, key: str = ID) -> None:
        """All markers of the decision are written."""
        transaction = self.shard.transactions[key]
        event = CompleteTransaction(
            transactional_id=key, producer_id=transaction.producer_id, producer_epoch=transaction.producer_epoch
        )
        self._perform(self.shard.complete(event, self.now_ms))

    def abort_overdue(self) -> list[Any]:
        outcomes = []
        for found in self.shard.overdue(self.now_ms):

            def attempt(ticket: Ticket, fresh: int | None, found: AbortOverdue = found) -> Decision[TransactionRecord]:
                event = AbortOverdue(
                    transactional_id=found.transactional_id,
                    producer_id=found.producer_id,
                    producer_epoch=found.producer_epoch,
                    fresh_producer_id=fresh,
                )
                return self.shard.abort_overdue(event, ticket, self.now_ms)

            outcomes.append(self.answer(self.with_producer_id(attempt)))
        return outcomes

    def expire(self) -> int:
        decision = self.shard.expire(self.now_ms, 1_000)
        self._perform(decision)
        return len(decision.records)

    def advance(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        for key in [key for key, due in self.timers.items() if due <= self.now_ms]:
            del self.timers[key]
            self._perform(self.shard.on_timer(key, self.now_ms))

    def reload(self) -> None:
        """Another broker takes over: all that is left is the log, through its bytes."""
        self.shard = TransactionShard(self.config)
        self.timers.clear()
        for record in self.log:
            read = decode_record(*encode_record(record))
            assert read is not None
            self.shard.replay(read)
        self._perform(self.shard.on_loaded(self.now_ms))

    def run(self, operation: Callable[[Ticket], Decision[TransactionRecord]]) -> Ticket:
        ticket = next(self._tickets)
        self._perform(operation(ticket))
        return ticket

    def with_producer_id(self, attempt: Callable[[Ticket, int | None], Decision[TransactionRecord]]) -> Ticket:
        ticket = self.run(lambda ticket: attempt(ticket, None))
        if self.replies.get(ticket) is Missing.PRODUCER_ID:
            fresh, self.next_producer_id = self.next_producer_id, self.next_producer_id + 1
            ticket = self.run(lambda ticket: attempt(ticket, fresh))
        return ticket

    def answer(self, ticket: Ticket) -> Any:
        reply = self.replies.get(ticket, WAITING)
        if reply is WAITING:
            return ticket, WAITING
        return plain(reply)

    def transaction(self, key: str = ID) -> Transaction:
        return self.shard.transactions[key]

    def _perform(self, decision: Decision[TransactionRecord]) -> None:
        for record in decision.records:
            self.shard.replay(record)
            self.log.append(record)
        for ticket, reply in decision.replies:
            assert ticket not in self.replies, "a ticket is answered once"
            self.replies[ticket] = reply
        for key, delay_ms in decision.timers.items():
            self.timers.pop(key, None)
            if delay_ms is not None:
                self.timers[key] = self.now_ms + delay_ms
        while self.shard.completed:
            self._perform(self.shard.wake(next(iter(self.shard.completed)), self.now_ms))


def plain(reply: Any) -> Any:
    """A reply as tests like to compare it."""
    if isinstance(reply, KafkaError):
        return reply.code
    if hasattr(reply, "errors"):
        (code,) = set(reply.errors.values())
        return code
    return (reply.producer_id, reply.producer_epoch) if reply.error is ErrorCode.NONE else reply.error
