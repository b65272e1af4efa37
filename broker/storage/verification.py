"""Proof that the transaction coordinator knows of a producer's transaction before its first batch is written (KIP-890).

Owns: the verifications under way in one partition, at most one per producer. Whoever wants to append the first batch of
a transaction begins one, asks the coordinator, and appends with what ``begin`` gave. A marker that is written in between
ends the verification, so the stale permission is worth nothing: identity decides, not equality.
"""

from __future__ import annotations

from typing import NamedTuple

from broker.limits import VERIFICATIONS_PER_PARTITION_MAX
from broker.types import ProducerEpoch, ProducerId, TimestampMs


class Proof(NamedTuple):
    """What an append brings that must not do more than its coordinator knows of."""

    permission: Verification | None = None
    """Of data: ``None`` expects to find its transaction open."""
    transaction_version: int = 0
    """Of a marker: from 2 on its epoch is above that of the data it ends."""


class Verification:
    """The permission of one producer, good for the batches up to its first append."""

    __slots__ = ("begun_ms", "epoch", "lowest_sequence", "producer_id", "starts_at_zero")

    def __init__(
        self, producer_id: ProducerId, epoch: ProducerEpoch, sequence: int, now_ms: TimestampMs, *, starts_at_zero: bool
    ) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.lowest_sequence = sequence
        """Of all batches that asked: a later one must not become the first of the transaction by overtaking."""
        self.starts_at_zero = starts_at_zero
        """Transactions v2: a producer this partition does not know begins with sequence 0."""
        self.begun_ms = now_ms


class Verifications:
    __slots__ = ("_by_producer",)

    def __init__(self) -> None:
        self._by_producer: dict[ProducerId, Verification] = {}

    def __len__(self) -> int:
        return len(self._by_producer)

    def get(self, producer_id: ProducerId) -> Verification | None:
        return self._by_producer.get(producer_id)

    def begin(
        self, producer_id: ProducerId, epoch: ProducerEpoch, sequence: int, now_ms: TimestampMs, *, starts_at_zero: bool
    ) -> Verification:
        """The one under way is shared by all batches of its epoch; a newer epoch starts over. An older one gets a
        permission that is worth nothing: a fenced producer must not disturb the one that fenced it."""
        known = self._by_producer.get(producer_id)
        if known is not None and known.epoch == epoch:
            known.lowest_sequence = min(known.lowest_sequence, sequence)
            return known
        begun = Verification(producer_id, epoch, sequence, now_ms, starts_at_zero=starts_at_zero)
        if known is None and len(self._by_producer) >= VERIFICATIONS_PER_PARTITION_MAX:
            self.end(next(iter(self._by_producer)))
        if known is None or known.epoch < epoch:
            self._by_producer[producer_id] = begun
        return begun

    def end(self, producer_id: ProducerId) -> None:
        self._by_producer.pop(producer_id, None)

    def withdraw(self, verification: Verification) -> None:
        """The coordinator knows no producer of this id and epoch. Whoever does have the id must not find its place taken."""
        if self._by_producer.get(verification.producer_id) is verification:
            del self._by_producer[verification.producer_id]

    def end_by_marker(self, producer_id: ProducerId, marker_epoch: ProducerEpoch) -> None:
        """A transaction has ended here. Under version 2 its marker carries the epoch of the *next* transaction: who asks with
        that epoch asks for the next one, and waits for just this marker."""
        known = self._by_producer.get(producer_id)
        if known is not None and not (known.starts_at_zero and known.epoch >= marker_epoch):
            del self._by_producer[producer_id]

    def expire(self, limit_ms: TimestampMs) -> None:
        for producer_id, verification in tuple(self._by_producer.items()):
            if verification.begun_ms < limit_ms:
                del self._by_producer[producer_id]

    def clear(self) -> None:
        self._by_producer.clear()
