"""A reset's plan as a table of before and after, and as what the confirmation carries. Pure.

What is confirmed is what was shown: the form carries every partition with the offset it had and the one it gets. If a
commit or retention has moved a partition since, the plan is shown again and not carried out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.client.offset_reset import PlannedOffset
from broker.types import TopicPartition
from dashboard.group_changes.reset_query import PARTITIONS_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRow:
    planned: PlannedOffset

    @property
    def topic(self) -> str:
        return self.planned.topic_partition.topic

    @property
    def partition(self) -> int:
        return self.planned.topic_partition.partition

    @property
    def lag_before(self) -> int | None:
        committed = self.planned.committed
        return None if committed is None else max(0, self.planned.log_end - committed)

    @property
    def lag_after(self) -> int:
        return max(0, self.planned.log_end - self.planned.new)

    @property
    def again(self) -> int:
        """Records that are read a second time, as far as they are still there."""
        committed = self.planned.committed
        return 0 if committed is None else max(0, min(committed, self.planned.log_end) - self.planned.new)

    @property
    def skipped(self) -> int:
        committed = self.planned.committed
        return 0 if committed is None else max(0, self.planned.new - max(committed, self.planned.log_start))

    @property
    def unchanged(self) -> bool:
        return self.planned.committed == self.planned.new

    @property
    def was_outside(self) -> bool:
        """What is committed lies outside of the log: the group would fall back to ``auto.offset.reset``."""
        committed = self.planned.committed
        return committed is not None and not self.planned.log_start <= committed <= self.planned.log_end


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTable:
    rows: Sequence[PlanRow]

    @property
    def changed(self) -> int:
        return sum(not row.unchanged for row in self.rows)

    @property
    def again(self) -> int:
        return sum(row.again for row in self.rows)

    @property
    def skipped(self) -> int:
        return sum(row.skipped for row in self.rows)

    @property
    def clamped(self) -> int:
        return sum(bool(row.planned.note) for row in self.rows)

    @property
    def lag_before(self) -> int | None:
        known = [row.lag_before for row in self.rows if row.lag_before is not None]
        return sum(known) if known else None

    @property
    def lag_after(self) -> int:
        return sum(row.lag_after for row in self.rows)

    @property
    def carried(self) -> str:
        """For the hidden field of the confirmation."""
        return json.dumps([[row.topic, row.partition, row.planned.committed, row.planned.new] for row in self.rows])


def table(plan: Iterable[PlannedOffset]) -> PlanTable:
    return PlanTable(rows=[PlanRow(planned=planned) for planned in plan])


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What somebody confirmed."""

    new: dict[TopicPartition, int]
    committed: dict[TopicPartition, int | None]

    def differs_from(self, plan: Iterable[PlannedOffset]) -> bool:
        """Whether the partitions have moved since: ``plan`` is what the confirmed offsets would mean now."""
        now = {planned.topic_partition: planned for planned in plan}
        return now.keys() != self.new.keys() or any(
            planned.new != self.new[key] or planned.committed != self.committed[key] for key, planned in now.items()
        )


def read_carried(text: str) -> Carried | None:
    """``None`` when it is not what ``carried`` writes."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(rows, list) or not 0 < len(rows) <= PARTITIONS_MAX:
        return None
    new: dict[TopicPartition, int] = {}
    committed: dict[TopicPartition, int | None] = {}
    for row in rows:
        match row:
            case [str(topic), int(partition), int() | None as before, int(after)] if after >= 0 and partition >= 0:
                key = TopicPartition(topic, partition)
                new[key], committed[key] = after, before
            case _:
                return None
    return Carried(new=new, committed=committed)
