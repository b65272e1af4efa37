"""Before and after of a plan, and what its confirmation carries."""

from __future__ import annotations

import pytest

from broker.client.offset_reset import PartitionFacts, ShiftBy, Strategy, ToEarliest, ToLatest, ToOffset, plan_reset
from broker.types import TopicPartition
from dashboard.group_changes.plan_rows import PlanTable, read_carried, table

P0, P1 = TopicPartition("orders", 0), TopicPartition("orders", 1)


def facts(committed: int | None = 30, **values: int) -> list[PartitionFacts]:
    first = PartitionFacts(**{"topic_partition": P0, "log_start": 10, "log_end": 50, "committed": committed, **values})  # type: ignore[arg-type]
    return [first, PartitionFacts(topic_partition=P1, log_start=0, log_end=100, committed=100)]


def planned(strategy: Strategy, committed: int | None = 30, **values: int) -> PlanTable:
    return table(plan_reset(strategy, facts(committed, **values)))


def test_going_back_reads_again_and_going_forward_skips() -> None:
    back = planned(ToEarliest())
    assert [(row.again, row.skipped, row.lag_before, row.lag_after) for row in back.rows] == [
        (20, 0, 20, 40),
        (100, 0, 0, 100),
    ]
    assert (back.again, back.skipped, back.lag_before, back.lag_after, back.changed) == (120, 0, 20, 140, 2)
    forward = planned(ToLatest())
    assert [(row.again, row.skipped, row.unchanged) for row in forward.rows] == [(0, 20, False), (0, 0, True)]


def test_records_that_are_gone_are_neither_read_again_nor_skipped() -> None:
    (row, _) = planned(ToLatest(), committed=2).rows
    assert row.skipped == 40
    assert row.was_outside
    (row, _) = planned(ToEarliest(), committed=80).rows
    assert (row.again, row.was_outside) == (40, True)


def test_a_partition_without_a_commit_begins() -> None:
    (row, _) = planned(ToOffset(20), committed=None).rows
    assert (row.lag_before, row.lag_after, row.again, row.skipped, row.unchanged) == (None, 30, 0, 0, False)


def test_moved_offsets_are_counted() -> None:
    assert planned(ShiftBy(-25)).clamped == 1


def test_what_is_confirmed_is_what_was_shown() -> None:
    carried = read_carried(planned(ToOffset(40)).carried)
    assert carried is not None
    assert carried.new == {P0: 40, P1: 40}
    assert carried.committed == {P0: 30, P1: 100}
    assert not carried.differs_from(plan_reset(ToOffset(40), facts()))


@pytest.mark.parametrize("moved", [{"committed": 31}, {"log_start": 41}, {"log_end": 39}])
def test_a_commit_or_retention_in_between_is_noticed(moved: dict[str, int]) -> None:
    carried = read_carried(planned(ToOffset(40)).carried)
    assert carried is not None
    assert carried.differs_from(plan_reset(ToOffset(40), facts(**moved)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        "[" * 5000,
        '[["orders", 0, 1]]',
        '[["orders", 0, 1, -2]]',
        '[["orders", "0", 1, 2]]',
        "[[0, 0, 1, 2]]",
    ],
)
def test_anything_else_is_no_plan(text: str) -> None:
    assert read_carried(text) is None
