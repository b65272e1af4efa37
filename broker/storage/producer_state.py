"""Producers of one partition, idempotent (KIP-98) and transactional (KIP-890): who wrote last, and what is open.

Owns: per producer id its epoch, its last five batches and the start of its open transaction. ``check`` decides
before a batch is written, ``update`` and ``end_transaction`` record it afterwards; replaying the log through those two
gives the same state, which is how it survives a restart (see ``producer_snapshot.py``).

    incoming, against the producer's entry          answer
    no entry (new here, or long expired)            accept any sequence; under transactions v2 only 0
    same epoch, equals one of the last 5 batches    duplicate: success with the original offsets
    same epoch, first = last + 1 (2^31-1 → 0)       accept
    same epoch, nothing written yet, first = 0      accept (the epoch came with a marker)
    same epoch, anything else                       OUT_OF_ORDER_SEQUENCE_NUMBER
    newer epoch, first = 0                          accept, the old epoch's batches are forgotten
    newer epoch, first ≠ 0                          OUT_OF_ORDER_SEQUENCE_NUMBER
    older epoch                                     INVALID_PRODUCER_EPOCH
    no transaction in it, while one is open         INVALID_TXN_STATE
    the first of a transaction, without permission  INVALID_TXN_STATE (see ``verification.py``)

    marker, against the producer's entry            answer
    same or newer epoch (transactions v1)           accept
    newer epoch (transactions v2)                   accept
    same epoch, nothing open (v2)                   accept: the coordinator repeats itself
    same epoch, a transaction open (v2)             INVALID_PRODUCER_EPOCH: it ended an earlier transaction
    older epoch                                     INVALID_PRODUCER_EPOCH
    older coordinator epoch                         TRANSACTION_COORDINATOR_FENCED
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from broker.errors import ErrorCode, KafkaError
from broker.limits import PRODUCER_BATCHES_CACHED, PRODUCERS_PER_PARTITION_MAX
from broker.protocol.batch import TRANSACTIONAL, BatchHeader
from broker.protocol.markers import EndTransactionMarker
from broker.storage.open_transactions import EndedTransaction, OpenTransactions
from broker.storage.verification import Verification, Verifications
from broker.types import NO_EPOCH, NO_OFFSET, NO_TIMESTAMP, ProducerEpoch, ProducerId, TimestampMs

__all__ = ["EndedTransaction", "ProducerBatch", "ProducerEntry", "ProducerInfo", "ProducerState", "Verification"]

NO_SEQUENCE = -1
SEQUENCE_MASK = 0x7FFFFFFF
TRANSACTIONS_V2 = 2
EVICTED_AT_ONCE = 100
"""Producers dropped together when a partition has too many, so that making room is rare."""


class ProducerBatch(NamedTuple):
    """What is remembered of one written batch. Equality of the sequences makes a duplicate."""

    first_sequence: int
    last_sequence: int
    base_offset: int
    last_offset: int
    timestamp_ms: int
    """The batch's maximum: under LogAppendTime the answer to a duplicate repeats it."""


class ProducerEntry:
    __slots__ = ("batches", "coordinator_epoch", "epoch", "last_seen_ms", "producer_id", "transaction_start")

    def __init__(self, producer_id: int, epoch: int) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.batches: deque[ProducerBatch] = deque(maxlen=PRODUCER_BATCHES_CACHED)
        self.coordinator_epoch = NO_EPOCH
        self.last_seen_ms = NO_TIMESTAMP
        """Broker's clock at the last append, not the record's timestamp: old records must not expire a producer."""
        self.transaction_start = NO_OFFSET

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerInfo:
    """One line of DescribeProducers."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_timestamp_ms: int
    coordinator_epoch: int
    current_txn_start_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerStatistics:
    count: int
    open_transactions: int


class ProducerState:
    __slots__ = ("_entries", "transactions", "verifications")

    def __init__(self) -> None:
        self._entries: dict[int, ProducerEntry] = {}
        self.transactions = OpenTransactions()
        self.verifications = Verifications()

    def __len__(self) -> int:
        return len(self._entries)

    # Deciding --------------------------------------------------------------------------------------

    def check(self, header: BatchHeader) -> ProducerBatch | None:
        """Decide about a client's batch that has a producer id; a batch is returned if this one repeats it."""
        entry = self._entries.get(header[9])
        if entry is None:
            if self.verifications and header[5] & TRANSACTIONAL:
                self._check_first(header, None)
            return None
        epoch, first = header[10], header[11]
        batches = entry.batches
        if epoch == entry.epoch:
            expected = (batches[-1][1] + 1) & SEQUENCE_MASK if batches else 0
            if first != expected:
                last = (first + header[6]) & SEQUENCE_MASK
                for batch in batches:
                    if batch[0] == first and batch[1] == last:
                        return batch
                raise _out_of_order(header, entry)
        elif epoch < entry.epoch:
            raise _old_epoch(entry, epoch)
        elif first != 0:
            raise _out_of_order(header, entry)
        if header[5] & TRANSACTIONAL:
            if self.verifications:
                self._check_first(header, entry)
        elif entry.transaction_start != NO_OFFSET:
            raise _not_in_transaction(entry)
        return None

    def _check_first(self, header: BatchHeader, entry: ProducerEntry | None) -> None:
        """While a verification is under way, nothing may become the first batch that was not meant to be."""
        verification = self.verifications.get(header.producer_id)
        if verification is None:
            return
        known = entry is not None and entry.batches
        if header.base_sequence > verification.lowest_sequence or (
            verification.starts_at_zero and header.base_sequence != 0 and not known
        ):
            raise _out_of_order(header, entry)

    def check_coordinator(self, header: BatchHeader) -> None:
        """What a coordinator's own data must satisfy: sequences are the client's affair, epochs fence everybody."""
        entry = self._entries.get(header.producer_id)
        if entry is None:
            return
        if header.producer_epoch < entry.epoch:
            raise _old_epoch(entry, header.producer_epoch)
        if entry.transaction_start != NO_OFFSET and not header.is_transactional:
            raise _not_in_transaction(entry)

    def check_permission(self, header: BatchHeader, permission: Verification | None) -> None:
        """A transactional batch continues the open transaction of its epoch, or was verified and is so still."""
        if self.has_open_transaction(header.producer_id, header.producer_epoch):
            return
        if permission is None or self.verifications.get(header.producer_id) is not permission:
            raise KafkaError(ErrorCode.INVALID_TXN_STATE, "Record was not part of an ongoing transaction")

    def check_marker(
        self, header: BatchHeader, marker: EndTransactionMarker | None, transaction_version: int = 0
    ) -> None:
        """Decide about the control batch of a coordinator. One for a producer with nothing open here does no harm."""
        if marker is None or header.producer_id < 0 or header.producer_epoch < 0:
            raise KafkaError(ErrorCode.INVALID_RECORD, "A control batch has to end a producer's transaction.")
        entry = self._entries.get(header.producer_id)
        if entry is None:
            return
        epoch = header.producer_epoch
        repeated = epoch == entry.epoch and entry.transaction_start == NO_OFFSET
        if epoch < entry.epoch or (transaction_version >= TRANSACTIONS_V2 and epoch == entry.epoch and not repeated):
            raise _old_epoch(entry, epoch)
        if marker.coordinator_epoch < entry.coordinator_epoch:
            raise KafkaError(
                ErrorCode.TRANSACTION_COORDINATOR_FENCED,
                f"Invalid coordinator epoch for producer {entry.producer_id}: {marker.coordinator_epoch} (zombie), "
                f"{entry.coordinator_epoch} (current)",
            )

    def has_open_transaction(self, producer_id: ProducerId, epoch: ProducerEpoch) -> bool:
        entry = self._entries.get(producer_id)
        return entry is not None and entry.transaction_start != NO_OFFSET and entry.epoch == epoch

    def begin_verification(
        self, header: BatchHeader, now_ms: TimestampMs, *, starts_at_zero: bool
    ) -> Verification | None:
        """What ``check_permission`` will want for this batch once the coordinator agreed; ``None``: nothing."""
        if self.has_open_transaction(header.producer_id, header.producer_epoch):
            return None
        return self.verifications.begin(
            header.producer_id, header.producer_epoch, header.base_sequence, now_ms, starts_at_zero=starts_at_zero
        )

    # Recording -------------------------------------------------------------------------------------

    def update(self, header: BatchHeader, base_offset: int, seen_ms: int) -> None:
        """Data with a producer id is in the log at ``base_offset``: from an append, a leader, or a replay."""
        entry = self._entries.get(header[9])
        if entry is None or entry.epoch != header[10]:
            entry = self._seen(header[9], header[10], seen_ms)
        elif seen_ms > entry.last_seen_ms:
            entry.last_seen_ms = seen_ms
        delta, first = header[6], header[11]
        if first >= 0:  # a coordinator's batches have no sequence
            entry.batches.append(
                ProducerBatch(first, (first + delta) & SEQUENCE_MASK, base_offset, base_offset + delta, header[8])
            )
        if header[5] & TRANSACTIONAL:
            # Compaction empties batches of transactions that ended; their markers may be gone already.
            if entry.transaction_start == NO_OFFSET and header[12]:
                entry.transaction_start = base_offset
                self.transactions.begin(base_offset, entry.producer_id)
            if self.verifications:
                self.verifications.end(entry.producer_id)

    def end_transaction(
        self, header: BatchHeader, marker: EndTransactionMarker | None, offset: int, seen_ms: int
    ) -> EndedTransaction | None:
        """A control batch is in the log at ``offset``; returns the transaction it ended, if one was open."""
        if marker is None:
            return None
        entry = self._seen(header.producer_id, header.producer_epoch, seen_ms)
        entry.coordinator_epoch = marker.coordinator_epoch
        self.verifications.end_by_marker(entry.producer_id, header.producer_epoch)
        start, entry.transaction_start = entry.transaction_start, NO_OFFSET
        if start == NO_OFFSET:
            return None
        return self.transactions.end(start, offset, aborted=not marker.commit)

    def _seen(self, producer_id: int, epoch: int, seen_ms: int) -> ProducerEntry:
        entry = self._entries.get(producer_id)
        if entry is None:
            if len(self._entries) >= PRODUCERS_PER_PARTITION_MAX:
                self._evict()
            entry = self._entries[producer_id] = ProducerEntry(producer_id, epoch)
        elif epoch != entry.epoch:
            entry.epoch = epoch
            entry.batches.clear()
        if seen_ms > entry.last_seen_ms:
            entry.last_seen_ms = seen_ms
        return entry

    def has_met_markers(self) -> bool:
        """Whether a producer that is remembered has ever ended a transaction here."""
        return any(entry.coordinator_epoch > NO_EPOCH for entry in self._entries.values())

    def restore(self, entries: Iterable[ProducerEntry]) -> None:
        """Become what a snapshot held."""
        self._entries = {entry.producer_id: entry for entry in entries}
        self.verifications.clear()
        self.transactions.restore(
            (entry.transaction_start, entry.producer_id)
            for entry in self._entries.values()
            if entry.transaction_start != NO_OFFSET
        )

    def entries(self) -> list[ProducerEntry]:
        return list(self._entries.values())

    def expire(self, now_ms: int, expiration_ms: int) -> int:
        """Forget producers silent for ``expiration_ms``, unless a transaction of theirs is open."""
        limit = now_ms - expiration_ms
        expired = [
            entry.producer_id
            for entry in self._entries.values()
            if entry.last_seen_ms < limit and entry.transaction_start == NO_OFFSET
        ]
        for producer_id in expired:
            del self._entries[producer_id]
        self.verifications.expire(limit)
        return len(expired)

    def clear(self) -> None:
        self.restore(())

    def producers(self) -> list[ProducerInfo]:
        return [
            ProducerInfo(
                producer_id=entry.producer_id,
                producer_epoch=entry.epoch,
                last_sequence=entry.last_sequence,
                last_timestamp_ms=entry.last_seen_ms,
                coordinator_epoch=entry.coordinator_epoch,
                current_txn_start_offset=entry.transaction_start,
            )
            for entry in self._entries.values()
        ]

    def statistics(self) -> ProducerStatistics:
        return ProducerStatistics(
            count=len(self._entries),
            open_transactions=len(self.transactions),
        )

    def _evict(self) -> None:
        """Make room. Who has a transaction open stays, or nobody could end it."""
        idle = [entry for entry in self._entries.values() if entry.transaction_start == NO_OFFSET]
        idle.sort(key=lambda entry: entry.last_seen_ms)
        for entry in idle[:EVICTED_AT_ONCE]:
            del self._entries[entry.producer_id]


def _old_epoch(entry: ProducerEntry, epoch: int) -> KafkaError:
    return KafkaError(
        ErrorCode.INVALID_PRODUCER_EPOCH,
        f"Epoch of producer {entry.producer_id} is {epoch}, the last seen epoch is {entry.epoch}.",
    )


def _out_of_order(header: BatchHeader, entry: ProducerEntry | None) -> KafkaError:
    last, current = (NO_SEQUENCE, NO_EPOCH) if entry is None else (entry.last_sequence, entry.epoch)
    return KafkaError(
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
        f"Out of order sequence number for producer {header.producer_id}: {header.base_sequence} (incoming seq. number), "
        f"{last} (current end sequence number), epoch {header.producer_epoch} (current {current}).",
    )


def _not_in_transaction(entry: ProducerEntry) -> KafkaError:
    return KafkaError(
        ErrorCode.INVALID_TXN_STATE,
        f"Expected transactional write from producer {entry.producer_id}, whose transaction began at offset "
        f"{entry.transaction_start}.",
    )
