"""Offsets committed in transactions that are still open.

Owns: producer → (group, topic, partition) → offset, changed only by replay: a transactional commit adds, the producer's
marker takes all of its entries away, a tombstone takes those of its partition. Nothing here is in force; what a commit
marker brings into force is what ``complete`` returns.

Kafka's rule for who wins is the order of the *commits* in the log, not of the markers: an offset committed plainly, or
in a transaction completed earlier, beats every entry that was pending when it was written. Such an entry is *overtaken*:
it still makes its partition unstable until its marker comes, and then comes to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from broker.coordination.transaction import TransactionalProducer
from broker.groups.offsets import Dies
from broker.groups.records import OffsetRecord
from broker.types import ProducerEpoch, ProducerId


class OffsetKey(NamedTuple):
    group_id: str
    topic: str
    partition: int


@dataclass(slots=True)
class _Pending:
    record: OffsetRecord
    position: int
    """Grows with the log."""
    overtaken: bool = False


@dataclass(slots=True)
class _Transaction:
    epoch: ProducerEpoch
    offsets: dict[OffsetKey, _Pending] = field(default_factory=dict)


class PendingOffsets:
    """Invariant: ``_by_group`` holds exactly the entries of ``_by_producer``, and no empty dictionary."""

    def __init__(self) -> None:
        self._by_producer: dict[ProducerId, _Transaction] = {}
        self._by_group: dict[str, dict[tuple[str, int], dict[ProducerId, _Pending]]] = {}
        self._position = 0

    # Replay ------------------------------------------------------------------------------------------

    def add(self, record: OffsetRecord, producer: TransactionalProducer) -> None:
        assert record.value is not None
        self._position += 1
        transaction = self._by_producer.get(producer.producer_id)
        if transaction is None:
            transaction = self._by_producer[producer.producer_id] = _Transaction(producer.producer_epoch)
        transaction.epoch = producer.producer_epoch
        key = OffsetKey(record.group_id, record.topic, record.partition)
        pending = transaction.offsets[key] = _Pending(record, self._position)
        partitions = self._by_group.setdefault(record.group_id, {})
        partitions.setdefault((record.topic, record.partition), {})[producer.producer_id] = pending

    def overtake(self, record: OffsetRecord, position: int | None = None) -> None:
        """An offset came into force: entries older than it (all, unless ``position`` is given) have lost."""
        for pending in self._of_partition(record.group_id, record.topic, record.partition).values():
            if position is None or pending.position < position:
                pending.overtaken = True

    def remove(self, record: OffsetRecord) -> None:
        """A tombstone: whatever was pending for the partition is gone with the offset."""
        key = OffsetKey(record.group_id, record.topic, record.partition)
        for producer_id in list(self._of_partition(*key)):
            del self._by_producer[producer_id].offsets[key]
            self._unlink(key, producer_id)

    def complete(self, producer_id: ProducerId, *, commit: bool) -> tuple[list[OffsetRecord], set[str]]:
        """The marker of a producer: offsets that come into force, and every group that had a part in it."""
        transaction = self._by_producer.pop(producer_id, None)
        if transaction is None:
            return [], set()
        in_force = []
        for key, pending in transaction.offsets.items():
            self._unlink(key, producer_id)
            if commit and not pending.overtaken:
                self.overtake(pending.record, pending.position)
                in_force.append(pending.record)
        return in_force, {key.group_id for key in transaction.offsets}

    def _unlink(self, key: OffsetKey, producer_id: ProducerId) -> None:
        partitions = self._by_group[key.group_id]
        producers = partitions[key.topic, key.partition]
        del producers[producer_id]
        if not producers:
            del partitions[key.topic, key.partition]
        if not partitions:
            del self._by_group[key.group_id]

    # Questions ---------------------------------------------------------------------------------------

    def is_open(self, producer: TransactionalProducer) -> bool:
        """Whether this producer has, in this very epoch, a transaction here that no marker has ended."""
        transaction = self._by_producer.get(producer.producer_id)
        return transaction is not None and transaction.epoch == producer.producer_epoch

    def concerns(self, group_id: str) -> bool:
        """Whether an open transaction holds an offset of this group."""
        return group_id in self._by_group

    def is_unstable(self, group_id: str, topic: str, partition: int) -> bool:
        return bool(self._of_partition(group_id, topic, partition))

    def groups(self) -> Iterator[str]:
        return iter(self._by_group)

    def tombstones(self, group_id: str, dies: Dies) -> list[OffsetRecord]:
        """Records that delete what is pending for a group and ``dies``."""
        return [
            replace(pending.record, value=None)
            for (topic, partition), producers in self._by_group.get(group_id, {}).items()
            for pending in producers.values()
            if pending.record.value is not None and dies(topic, partition, pending.record.value)
        ]

    def _of_partition(self, group_id: str, topic: str, partition: int) -> dict[ProducerId, _Pending]:
        return self._by_group.get(group_id, {}).get((topic, partition), {})
