"""Idempotent producers of one partition (KIP-98): who wrote last, and with which sequence.

Owns: per producer id its epoch, its last five batches and the start of its open transaction. ``check`` decides
before a batch is written, ``update`` records it afterwards; replaying the log through ``update`` gives the same
state, which is how it survives a restart (see ``producer_snapshot.py``).

    incoming, against the producer's entry          answer
    no entry (new here, or long expired)            accept any sequence
    same epoch, equals one of the last 5 batches    duplicate: success with the original offsets
    same epoch, first = last + 1 (2^31-1 → 0)       accept
    same epoch, anything else                       OUT_OF_ORDER_SEQUENCE_NUMBER
    newer epoch, first = 0                          accept, the old epoch's batches are forgotten
    newer epoch, first ≠ 0                          OUT_OF_ORDER_SEQUENCE_NUMBER
    older epoch                                     INVALID_PRODUCER_EPOCH
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from broker.errors import ErrorCode, KafkaError
from broker.limits import PRODUCER_BATCHES_CACHED, PRODUCERS_PER_PARTITION_MAX
from broker.protocol.batch import BatchHeader
from broker.types import NO_EPOCH, NO_OFFSET, NO_TIMESTAMP

NO_SEQUENCE = -1
SEQUENCE_MASK = 0x7FFFFFFF
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
    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[int, ProducerEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def check(self, header: BatchHeader) -> ProducerBatch | None:
        """Decide about a client's batch that has a producer id; a batch is returned if this one repeats it."""
        entry = self._entries.get(header[9])
        if entry is None:
            return None
        epoch, first = header[10], header[11]
        if epoch == entry.epoch:
            last = (first + header[6]) & SEQUENCE_MASK
            batches = entry.batches
            if not batches or first == (batches[-1][1] + 1) & SEQUENCE_MASK:
                return None
            for batch in batches:
                if batch[0] == first and batch[1] == last:
                    return batch
        elif epoch < entry.epoch:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"Epoch of producer {entry.producer_id} is {epoch}, which is smaller than the last seen epoch "
                f"{entry.epoch}.",
            )
        elif first == 0:
            return None
        raise KafkaError(
            ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
            f"Out of order sequence number for producer {entry.producer_id}: {first} (incoming seq. number), "
            f"{entry.last_sequence} (current end sequence number), epoch {epoch} (current {entry.epoch}).",
        )

    def check_epoch(self, header: BatchHeader) -> None:
        """What a coordinator's own batch must satisfy: sequences are the client's affair, epochs fence everybody."""
        entry = self._entries.get(header.producer_id)
        if entry is not None and header.producer_epoch < entry.epoch:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"Epoch of producer {entry.producer_id} is {header.producer_epoch}, which is smaller than the last "
                f"seen epoch {entry.epoch}.",
            )

    def update(self, header: BatchHeader, base_offset: int, seen_ms: int) -> None:
        """A batch with a producer id is in the log at ``base_offset``: from an append, a leader, or a replay."""
        producer_id, epoch = header[9], header[10]
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
        if header.is_control:
            entry.transaction_start = NO_OFFSET
            return
        delta, first = header[6], header[11]
        entry.batches.append(
            ProducerBatch(first, (first + delta) & SEQUENCE_MASK, base_offset, base_offset + delta, header[8])
        )
        if header.is_transactional and entry.transaction_start == NO_OFFSET:
            entry.transaction_start = base_offset

    def restore(self, entry: ProducerEntry) -> None:
        """Put back what a snapshot held."""
        self._entries[entry.producer_id] = entry

    def entries(self) -> list[ProducerEntry]:
        return list(self._entries.values())

    def first_unstable_offset(self) -> int | None:
        """Start of the oldest open transaction: readers of committed data stop there."""
        starts = [entry.transaction_start for entry in self._entries.values() if entry.transaction_start != NO_OFFSET]
        return min(starts, default=None)

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
        return len(expired)

    def clear(self) -> None:
        self._entries.clear()

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
            open_transactions=sum(entry.transaction_start != NO_OFFSET for entry in self._entries.values()),
        )

    def _evict(self) -> None:
        by_age = sorted(self._entries.values(), key=lambda entry: entry.last_seen_ms)
        for entry in by_age[:EVICTED_AT_ONCE]:
            del self._entries[entry.producer_id]
