"""Where a group's offsets go: the decision alone.

Owns: Kafka's reset strategies. Facts about every partition come in, a plan comes out, and nothing is committed here.

    strategy     new offset of a partition                                     without a committed offset
    ToEarliest   where its log starts                                          the same
    ToLatest     where its log ends                                            the same
    ToOffset     the number                                                    the same
    ToTime       first record that is not older; the end if there is none      the same
    ToCurrent    where the group is                                            the end
    ShiftBy      where the group is, plus the number                           refused: there is nothing to shift
    ToListed     what the file says                                            the same

What must stay true: log_start ≤ new ≤ log_end. A number outside is moved to the nearer end and the plan says so,
because a group that starts outside of its log falls back to ``auto.offset.reset``, which nobody asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from broker.types import NO_OFFSET, Offset, TimestampMs, TopicPartition


@dataclass(frozen=True, slots=True)
class ToEarliest:
    pass


@dataclass(frozen=True, slots=True)
class ToLatest:
    pass


@dataclass(frozen=True, slots=True)
class ToCurrent:
    pass


@dataclass(frozen=True, slots=True)
class ToOffset:
    offset: Offset


@dataclass(frozen=True, slots=True)
class ShiftBy:
    records: int
    """Negative: back, to read again."""


@dataclass(frozen=True, slots=True)
class ToTime:
    timestamp_ms: TimestampMs


@dataclass(frozen=True, slots=True)
class ToListed:
    offsets: Mapping[TopicPartition, Offset]


Strategy: TypeAlias = ToEarliest | ToLatest | ToCurrent | ToOffset | ShiftBy | ToTime | ToListed


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionFacts:
    topic_partition: TopicPartition
    log_start: Offset
    log_end: Offset
    committed: Offset | None
    """``None``: the group has committed nothing here."""
    at_time: Offset | None = None
    """For ToTime: the first record that is not older; ``None`` or -1 if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedOffset:
    topic_partition: TopicPartition
    committed: Offset | None
    new: Offset
    log_start: Offset
    log_end: Offset
    note: str = ""
    """Why ``new`` is not what the strategy says."""

    @property
    def change(self) -> int | None:
        """Records read again (negative) or skipped; ``None`` if the group had not begun."""
        return None if self.committed is None else self.new - self.committed


class ResetRefused(ValueError):
    """The strategy says nothing about some partition."""


def plan_reset(strategy: Strategy, partitions: Iterable[PartitionFacts]) -> tuple[PlannedOffset, ...]:
    """The plan for every partition, in order. Raises ``ResetRefused``: then there is a plan for none."""
    facts = sorted(partitions, key=lambda fact: fact.topic_partition)
    if isinstance(strategy, ShiftBy):
        missing = [str(fact.topic_partition) for fact in facts if fact.committed is None]
        if missing:
            raise ResetRefused(f"there is no committed offset to shift for {', '.join(missing)}")
    return tuple(_plan(strategy, fact) for fact in facts)


def _plan(strategy: Strategy, fact: PartitionFacts) -> PlannedOffset:
    wanted, note = _wanted(strategy, fact)
    new = min(max(wanted, fact.log_start), fact.log_end)
    if new != wanted:
        note = f"{wanted} is outside of the log; moved to its {'start' if wanted < new else 'end'}"
    return PlannedOffset(
        topic_partition=fact.topic_partition,
        committed=fact.committed,
        new=new,
        log_start=fact.log_start,
        log_end=fact.log_end,
        note=note,
    )


def _wanted(strategy: Strategy, fact: PartitionFacts) -> tuple[Offset, str]:
    match strategy:
        case ToEarliest():
            return fact.log_start, ""
        case ToLatest():
            return fact.log_end, ""
        case ToOffset(offset):
            return offset, ""
        case ShiftBy(records):
            assert fact.committed is not None
            return fact.committed + records, ""
        case ToCurrent():
            if fact.committed is None:
                return fact.log_end, "nothing committed; the end of the log"
            return fact.committed, ""
        case ToTime():
            if fact.at_time is None or fact.at_time == NO_OFFSET:
                return fact.log_end, "no record is that young; the end of the log"
            return fact.at_time, ""
        case ToListed(offsets):
            return offsets[fact.topic_partition], ""
