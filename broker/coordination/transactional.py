"""A coordinator runtime whose log also holds transactions: offsets committed by producers, and their markers.

Owns: writing on behalf of a transactional producer, in order with the coordinator's own records. Before such a write
everything gathered is appended, and the write itself happens at once, so the order of replay is the order of the log.

A producer that has been fenced is refused by the log before anything is replayed: only that request fails. So does one that
comes while too few replicas are in sync. Any other failure throws the shard away, as for every append.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast

from broker.coordination.decision import Decision, Ticket
from broker.coordination.driver import CoordinatorRuntime, Seat
from broker.coordination.ports import CoordinatorLog, RecordCodec
from broker.coordination.replies import told_to_clients
from broker.coordination.transaction import (
    InTransaction,
    TransactionalProducer,
    TransactionalShard,
    TransactionMarker,
)
from broker.errors import ErrorCode, KafkaError
from broker.types import Offset

TS = TypeVar("TS", bound=TransactionalShard)
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)

PRODUCER_REFUSALS = frozenset(
    (
        ErrorCode.INVALID_PRODUCER_EPOCH,
        ErrorCode.PRODUCER_FENCED,
        ErrorCode.TRANSACTION_COORDINATOR_FENCED,
        ErrorCode.INVALID_TXN_STATE,
    )
)
"""What the log says about the producer or the marker, not about itself."""


class TransactionalLog(CoordinatorLog, Protocol):
    def append_marker(self, marker: TransactionMarker, now_ms: int) -> Offset:
        """The marker's offset. Raises ``KafkaError``, also for a producer or coordinator that has been fenced."""


class TransactionalCodec(RecordCodec[R_contra], Protocol[R_contra]):
    """``decode`` yields ``InTransaction`` and ``TransactionMarker`` beside plain records."""

    def encode_in_transaction(
        self, records: Sequence[R_contra], producer: TransactionalProducer, now_ms: int, batch_bytes_max: int
    ) -> Iterator[bytearray]: ...


class TransactionalRuntime(CoordinatorRuntime[TS, R]):
    """``lead`` wants a ``TransactionalLog``."""

    def __init__(self, *, codec: TransactionalCodec[R], **how: Any) -> None:
        super().__init__(codec=codec, **how)
        self._transactional_codec = codec

    def shard(self, index: int) -> TS:
        """The shard that serves now, for reading. Raises as ``execute`` does."""
        return self._serving(index).shard

    def execute_in_transaction(
        self, index: int, producer: TransactionalProducer, operation: Callable[[TS, Ticket, int], Decision[R]]
    ) -> asyncio.Future:
        """Like ``execute``; the records belong to ``producer``'s open transaction."""
        seat = self._settled(index)
        future, ticket = self._open_ticket(seat)

        def event() -> Decision[R]:
            decision = operation(seat.shard, ticket, self._clock.wall_ms())
            if decision.records:
                self._write_in_transaction(seat, producer, decision)
            return Decision(replies=decision.replies, timers=decision.timers)

        self._run(seat, event)
        return future

    def complete_transaction(self, index: int, marker: TransactionMarker) -> asyncio.Future:
        """Write and replay a marker; the future is done when it is committed."""
        seat = self._settled(index)
        future, ticket = self._open_ticket(seat)

        def event() -> Decision[R]:
            try:
                offset = cast(TransactionalLog, seat.log).append_marker(marker, self._clock.wall_ms())
            except KafkaError as error:
                self._failed(seat, (ticket,), error)
                return Decision()
            seat.shard.complete_transaction(marker)
            self._written_upto(seat, offset)
            return Decision(replies=[(ticket, None)])

        self._run(seat, event)
        return future

    def _settled(self, index: int) -> Seat[TS, R]:
        self._append_gathered(self._serving(index))
        # Had that failed, the seat would be loading now.
        return self._serving(index)

    def _write_in_transaction(self, seat: Seat[TS, R], producer: TransactionalProducer, decision: Decision[R]) -> None:
        """Append, then replay. A refusal takes the replies away; they have been given."""
        now_ms = self._clock.wall_ms()
        offset = -1
        batches = self._transactional_codec.encode_in_transaction(
            decision.records, producer, now_ms, seat.log.batch_bytes_max
        )
        try:
            for batch in batches:
                offset = seat.log.append(batch, now_ms)
        except KafkaError as error:
            refused = [ticket for ticket, _ in decision.replies]
            decision.replies.clear()
            decision.timers.clear()
            self._failed(seat, refused, error, nothing_written=offset < 0)
            return
        for record in decision.records:
            seat.shard.replay_in_transaction(record, producer)
        self._written_upto(seat, offset)

    def _failed(
        self, seat: Seat[TS, R], tickets: Iterable[Ticket], error: KafkaError, *, nothing_written: bool = True
    ) -> None:
        if nothing_written and error.code in PRODUCER_REFUSALS | {ErrorCode.NOT_ENOUGH_REPLICAS}:
            told = error if error.code in PRODUCER_REFUSALS else told_to_clients(error)
            for ticket in tickets:
                self._refuse_ticket(seat, ticket, told)
            return
        seat.failed_appends += 1
        self._start_over(seat, told_to_clients(error))

    def _replay(self, shard: TS, entry: Any) -> None:
        if isinstance(entry, InTransaction):
            shard.replay_in_transaction(entry.record, entry.producer)
        elif isinstance(entry, TransactionMarker):
            shard.complete_transaction(entry)
        else:
            shard.replay(entry)
