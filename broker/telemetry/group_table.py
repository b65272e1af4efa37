"""The groups this broker coordinates as last sampled, with the time of the record each of them reads next.

The time lag of a group is measured from the timestamp of the record at its committed offset. It is looked up in
the partition's own log once per committed offset. Only two kinds of entry can change without a new commit, and
only they are looked at again when their partition moves: a group that was caught up (the record came into being
since) and one whose record was deleted (the first record still there counts instead).

Look-ups read files, so a tick does at most ``LOOKUPS_PER_TICK_MAX``; the rest follows in the next ticks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from broker.telemetry.sample import GroupSample, OffsetSample
from broker.types import NO_TIMESTAMP, TopicPartition

LOOKUPS_PER_TICK_MAX = 256


class RecordTimes(Protocol):
    """The partitions of this broker, as far as this table needs them."""

    def log_start(self, topic_partition: TopicPartition) -> int | None:
        """None when the partition is not here."""

    def timestamp_at(self, topic_partition: TopicPartition, offset: int) -> int:
        """Timestamp of the first visible record at or after ``offset``; -1 when there is none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChanges:
    changed: list[GroupSample] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    raw: GroupSample
    """As the coordinator tells it, without record timestamps."""
    sample: GroupSample
    found: dict[TopicPartition, tuple[int, int]]
    """Per partition the offset that was looked at and its timestamp."""


class GroupTable:
    def __init__(self, records: RecordTimes) -> None:
        self._records = records
        self._groups: dict[str, _Group] = {}
        self._readers: dict[TopicPartition, set[str]] = {}
        self._late: set[str] = set()
        """Groups whose look-ups did not all fit into their tick."""

    def samples(self) -> list[GroupSample]:
        return [group.sample for group in self._groups.values()]

    def group_ids(self) -> set[str]:
        return set(self._groups)

    def update(
        self,
        changed: Iterable[GroupSample],
        removed: Iterable[str],
        moved: Iterable[TopicPartition],
        *,
        lookups_max: int = LOOKUPS_PER_TICK_MAX,
    ) -> GroupChanges:
        """``changed`` carry no record timestamps; ``moved`` are the partitions that changed, came or went."""
        changes = GroupChanges()
        for group_id in removed:
            if group_id in self._groups:
                self._drop(group_id)
                changes.removed.append(group_id)
        fresh = {group.group_id: group for group in changed}
        moved = set(moved)
        affected = self._late | {reader for key in moved for reader in self._readers.get(key, ())}
        work = {group_id: self._groups[group_id].raw for group_id in affected if group_id in self._groups} | fresh
        self._late = set()
        budget = _Budget(lookups_max)
        for group_id, raw in work.items():
            before = self._groups.get(group_id)
            group = self._resolve(raw, before.found if before else {}, moved, budget)
            self._replace(group_id, before, group)
            if before is None or before.sample != group.sample:
                changes.changed.append(group.sample)
        return changes

    def _resolve(
        self,
        raw: GroupSample,
        known: dict[TopicPartition, tuple[int, int]],
        moved: set[TopicPartition],
        budget: _Budget,
    ) -> _Group:
        found: dict[TopicPartition, tuple[int, int]] = {}
        offsets: list[OffsetSample] = []
        for offset in raw.offsets:
            key = TopicPartition(offset.topic, offset.partition)
            log_start = self._records.log_start(key)
            timestamp_ms = NO_TIMESTAMP
            if log_start is not None and offset.committed >= 0:
                wanted = max(offset.committed, log_start)
                looked_at, timestamp_ms = known.get(key, (-1, NO_TIMESTAMP))
                if looked_at != wanted or (timestamp_ms == NO_TIMESTAMP and key in moved):
                    if budget.take():
                        looked_at, timestamp_ms = wanted, self._records.timestamp_at(key, wanted)
                    else:
                        looked_at, timestamp_ms = -1, NO_TIMESTAMP
                        self._late.add(raw.group_id)
                found[key] = (looked_at, timestamp_ms)
            offsets.append(msgspec.structs.replace(offset, record_timestamp_ms=timestamp_ms))
        return _Group(raw, msgspec.structs.replace(raw, offsets=offsets), found)

    def _replace(self, group_id: str, before: _Group | None, group: _Group) -> None:
        self._groups[group_id] = group
        read_before = _partitions(before.raw) if before else set()
        reads = _partitions(group.raw)
        for key in reads - read_before:
            self._readers.setdefault(key, set()).add(group_id)
        self._unlink(group_id, read_before - reads)

    def _drop(self, group_id: str) -> None:
        self._unlink(group_id, _partitions(self._groups.pop(group_id).raw))
        self._late.discard(group_id)

    def _unlink(self, group_id: str, partitions: Iterable[TopicPartition]) -> None:
        for key in partitions:
            readers = self._readers[key]
            readers.discard(group_id)
            if not readers:
                del self._readers[key]


class _Budget:
    def __init__(self, lookups: int) -> None:
        self._left = lookups

    def take(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _partitions(group: GroupSample) -> set[TopicPartition]:
    return {TopicPartition(offset.topic, offset.partition) for offset in group.offsets}
