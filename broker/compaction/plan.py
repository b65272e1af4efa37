"""Which partitions are due for compaction, how far it may go, and in which order. Pure.

Owns Kafka's rules (``LogCleanerManager``): used by the worker to choose its work and by ``manage.py compact --dry-run``
to show it.

- The *dirty* part of a log begins behind what was compacted last and ends with the last whole segment below the offset the
  broker calls decided (committed, durable, below the last stable offset, in a closed segment), and before the first
  segment with a record younger than ``min.compaction.lag.ms``.
- A partition is due when its dirty share of bytes exceeds ``min.cleanable.dirty.ratio``, or when a dirty segment's first
  record is older than ``max.compaction.lag.ms``.
- The dirtiest comes first.

Asked for by a person, whatever has a closed segment is due: that also removes tombstones whose time is over.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from broker.protocol.private import CompactionPartition

BY_RATIO = "min.cleanable.dirty.ratio"
BY_LAG = "max.compaction.lag.ms"
ON_DEMAND = "asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCompaction:
    partition: CompactionPartition
    reason: str
    first_dirty_offset: int
    end_offset: int
    """Nothing at or above is touched."""
    dirty_bytes: int
    clean_bytes: int

    @property
    def dirty_ratio(self) -> float:
        total = self.dirty_bytes + self.clean_bytes
        return self.dirty_bytes / total if total else 0.0


def plan(partitions: Iterable[CompactionPartition], now_ms: int, *, on_demand: bool = False) -> list[PlannedCompaction]:
    planned = [found for partition in partitions if (found := plan_partition(partition, now_ms, on_demand)) is not None]
    return sorted(planned, key=lambda one: (-one.dirty_ratio, one.partition.topic, one.partition.partition))


def plan_partition(partition: CompactionPartition, now_ms: int, on_demand: bool = False) -> PlannedCompaction | None:
    """``None``: not due."""
    end_offset = end_of_reach(partition, now_ms)
    first_dirty = first_dirty_offset(partition)
    clean = [s for s in partition.segments if s.end_offset <= min(first_dirty, end_offset)]
    dirty = [s for s in partition.segments if s.end_offset > first_dirty and s.base_offset < end_offset]
    planned = PlannedCompaction(
        partition=partition,
        reason=ON_DEMAND,
        first_dirty_offset=min(first_dirty, end_offset),
        end_offset=end_offset,
        dirty_bytes=sum(segment.size_bytes for segment in dirty),
        clean_bytes=sum(segment.size_bytes for segment in clean),
    )
    if on_demand:
        return planned if planned.dirty_bytes or planned.clean_bytes else None
    if not planned.dirty_bytes:
        return None
    oldest = min((s.first_timestamp_ms for s in dirty if s.first_timestamp_ms > 0), default=now_ms)
    if oldest < now_ms - partition.max_compaction_lag_ms:
        return replace(planned, reason=BY_LAG)
    return replace(planned, reason=BY_RATIO) if planned.dirty_ratio > partition.min_cleanable_dirty_ratio else None


def end_of_reach(partition: CompactionPartition, now_ms: int) -> int:
    """Where compaction has to stop now: at the end of the last whole segment it may read."""
    end = partition.log_start_offset
    youngest_allowed = now_ms - partition.min_compaction_lag_ms
    for segment in partition.segments:
        is_young = partition.min_compaction_lag_ms > 0 and segment.max_timestamp_ms > youngest_allowed
        if segment.end_offset > partition.decided_offset or is_young:
            break
        end = segment.end_offset
    return end


def first_dirty_offset(partition: CompactionPartition) -> int:
    """Where it has to begin: the checkpoint, unless the log no longer has that offset."""
    if not partition.log_start_offset <= partition.first_dirty_offset <= _log_end(partition):
        return partition.log_start_offset
    return partition.first_dirty_offset


def _log_end(partition: CompactionPartition) -> int:
    return partition.segments[-1].end_offset if partition.segments else partition.log_start_offset
