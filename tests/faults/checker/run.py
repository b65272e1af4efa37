"""A run as the rules look at it: operations, replicas, and what is known of every partition from all of them.

Owns the indexes that several rules need, each made once and in one pass. Nothing here judges anything; contradictions
that come up while an index is filled are kept for the rules that report them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from tests.faults.checker.dump import Replica, View, view_of
from tests.faults.checker.history import READ_COMMITTED, TOMBSTONE, UNKNOWN, Event, Operation, Seen, pair

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What the run was, and what it promised."""

    compacted: frozenset[str] = frozenset()
    """Topics whose older values may be missing."""
    copies: tuple[tuple[str, str], ...] = ()
    """(source topic, sink topic): every record of the source ends up in the sink exactly once."""
    drained: tuple[tuple[str, str], ...] = ()
    """(group, topic): at the end, the group has been given everything."""
    transaction_timeout_seconds: float = 10.0
    slack_seconds: float = 10.0
    first_success_seconds_max: float = 20.0
    """After a heal, until a write to each partition succeeds again."""
    gap_seconds_max: float | None = None
    """The longest time any partition may be without a successful write while somebody tries."""


@dataclass(slots=True)
class Known:
    """What acknowledged writes, polls and replicas say of one partition."""

    values: dict[int, int] = field(default_factory=dict)
    """offset → value, whoever said it first."""
    offsets: dict[int, int] = field(default_factory=dict)
    """value → offset, whoever said it first."""


@dataclass(slots=True)
class Polled:
    values: set[int] = field(default_factory=set)
    committed_values: set[int] = field(default_factory=set)
    """Of these, what readers of committed data got."""
    highest: int = -1
    lowest: int = 1 << 62


class Run:
    def __init__(
        self,
        events: Iterable[Event],
        replicas: Iterable[Replica] | None = None,
        expectations: Expectations | None = None,
    ) -> None:
        self.dumped = replicas is not None
        self.operations: list[Operation] = pair(events)
        self.replicas: list[Replica] = list(replicas or ())
        self.expectations = expectations or Expectations()
        self._conflicts: list[tuple[str, int, int, int, str]] = []
        self._twice: set[tuple[str, int, int, int]] = set()

    # Who and what ------------------------------------------------------------------------------------

    @cached_property
    def writers(self) -> dict[int, Operation]:
        """value → the operation that sent it."""
        return {sent.value: one for one in self.operations for sent in one.sends if sent.value != TOMBSTONE}

    @cached_property
    def sent_to(self) -> dict[int, str]:
        """value → the partition it was sent to."""
        return {sent.value: sent.key for one in self.operations for sent in one.sends}

    @cached_property
    def known(self) -> dict[str, Known]:
        known: dict[str, Known] = defaultdict(Known)
        for operation in self.operations:
            if operation.outcome == "ok" or operation.f == "txn":
                for sent in operation.sends:
                    if sent.offset >= 0:
                        self._learn(known[sent.key], sent.key, sent.offset, sent.value, operation.process)
            for key, records in operation.polls.items():
                entry = known[key]
                for record in records:
                    self._learn(entry, key, record.offset, record.value, operation.process)
        for replica in self.replicas:
            entry = known[replica.key]
            for batch in replica.batches:
                for record in batch.records:
                    self._learn(entry, replica.key, record.offset, record.value, f"broker {replica.broker}")
        return dict(known)

    def _learn(self, entry: Known, key: str, offset: int, value: int, who: str) -> None:
        before = entry.values.setdefault(offset, value)
        if before != value:
            self._conflicts.append((key, offset, before, value, who))
        if value > TOMBSTONE:
            place = entry.offsets.setdefault(value, offset)
            if place != offset:
                self._twice.add((key, value, place, offset))

    def conflicts(self) -> list[tuple[str, int, int, int, str]]:
        """(partition, offset, one value, another value, who says the other)."""
        return self._conflicts if self.known else []

    def twice(self) -> list[tuple[str, int, int, int]]:
        """(partition, value, one offset, another offset)."""
        return sorted(self._twice) if self.known else []

    def offset_of(self, key: str, value: int) -> int:
        entry = self.known.get(key)
        return UNKNOWN if entry is None else entry.offsets.get(value, UNKNOWN)

    @cached_property
    def polled(self) -> dict[str, Polled]:
        polled: dict[str, Polled] = defaultdict(Polled)
        for operation in self.operations:
            committed = operation.about.isolation == READ_COMMITTED
            for key, records in operation.polls.items():
                if not records:
                    continue
                entry = polled[key]
                values = [record.value for record in records]
                entry.values.update(values)
                if committed:
                    entry.committed_values.update(values)
                entry.highest = max(entry.highest, records[-1].offset)
                entry.lowest = min(entry.lowest, records[0].offset)
        return dict(polled)

    # The end -----------------------------------------------------------------------------------------

    @cached_property
    def log_starts(self) -> dict[str, int]:
        """The highest log start anybody was told of: what lies below may be gone."""
        starts: dict[str, int] = {}
        for replica in self.replicas:
            starts[replica.key] = max(starts.get(replica.key, 0), replica.log_start)
        for operation in self.operations:
            if operation.f == "observe":
                about = operation.about
                starts[about.key] = max(starts.get(about.key, 0), about.log_start)
        return starts

    @cached_property
    def views(self) -> dict[str, View]:
        """Per partition the records of its longest replica; replicas that differ are another rule's business."""
        longest: dict[str, Replica] = {}
        for replica in self.replicas:
            if replica.key not in longest or replica.log_end > longest[replica.key].log_end:
                longest[replica.key] = replica
        return {key: view_of(replica) for key, replica in longest.items()}

    @cached_property
    def visible_values(self) -> set[int]:
        return {record.value for view in self.views.values() for record in view.visible.values()}

    @cached_property
    def aborted_values(self) -> set[int]:
        return {record.value for view in self.views.values() for record in view.aborted.values()}

    # Outcomes ----------------------------------------------------------------------------------------

    def is_committed(self, operation: Operation) -> bool:
        """It was acknowledged, or it left something that only a committed write leaves."""
        if operation.outcome == "ok":
            return True
        if operation.outcome == "fail":
            return False
        for sent in operation.sends:
            if sent.value in self.visible_values:
                return True
            polled = self.polled.get(sent.key)
            if polled is not None:
                seen = polled.committed_values if operation.f == "txn" else polled.values
                if sent.value in seen:
                    return True
        return False

    def is_compacted(self, key: str) -> bool:
        return topic_of(key) in self.expectations.compacted

    def polls(self) -> Iterator[tuple[Operation, str, list[Seen]]]:
        for operation in self.operations:
            for key, records in operation.polls.items():
                if records:
                    yield operation, key, records

    @cached_property
    def end_ns(self) -> int:
        return max((one.completed_ns for one in self.operations), default=0)

    @cached_property
    def begin_ns(self) -> int:
        return self.operations[0].invoked_ns if self.operations else 0


def topic_of(key: str) -> str:
    return key.rpartition("-")[0]
