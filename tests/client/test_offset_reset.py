"""The reset plan against a naive second implementation that works one partition and one strategy at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.client.offset_reset import (
    PartitionFacts,
    PlannedOffset,
    ResetRefused,
    ShiftBy,
    Strategy,
    ToCurrent,
    ToEarliest,
    ToLatest,
    ToListed,
    ToOffset,
    ToTime,
    plan_reset,
)
from broker.types import TopicPartition

P0, P1 = TopicPartition("orders", 0), TopicPartition("orders", 1)


def fact(partition: TopicPartition = P0, **fields: int | None) -> PartitionFacts:
    return PartitionFacts(**{"topic_partition": partition, "log_start": 10, "log_end": 50, "committed": 30, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("strategy", "facts", "new", "note"),
    [
        (ToEarliest(), fact(), 10, ""),
        (ToLatest(), fact(), 50, ""),
        (ToCurrent(), fact(), 30, ""),
        (ToCurrent(), fact(committed=None), 50, "nothing committed; the end of the log"),
        (ToCurrent(), fact(committed=5), 10, "5 is outside of the log; moved to its start"),
        (ToOffset(12), fact(), 12, ""),
        (ToOffset(50), fact(), 50, ""),
        (ToOffset(51), fact(), 50, "51 is outside of the log; moved to its end"),
        (ShiftBy(-5), fact(), 25, ""),
        (ShiftBy(-25), fact(), 10, "5 is outside of the log; moved to its start"),
        (ShiftBy(7), fact(), 37, ""),
        (ToTime(1_000), fact(at_time=33), 33, ""),
        (ToTime(1_000), fact(at_time=-1), 50, "no record is that young; the end of the log"),
        (ToTime(1_000), fact(), 50, "no record is that young; the end of the log"),
        (ToListed({P0: 40}), fact(), 40, ""),
    ],
)
def test_each_strategy_says_where(strategy: Strategy, facts: PartitionFacts, new: int, note: str) -> None:
    (planned,) = plan_reset(strategy, [facts])
    assert planned == PlannedOffset(
        topic_partition=P0, committed=facts.committed, new=new, log_start=10, log_end=50, note=note
    )


def test_a_shift_without_a_committed_offset_is_refused_for_all() -> None:
    with pytest.raises(ResetRefused, match="orders-1"):
        plan_reset(ShiftBy(1), [fact(P0), fact(P1, committed=None)])


def test_the_change_is_what_will_be_read_again_or_skipped() -> None:
    assert [one.change for one in plan_reset(ToOffset(20), [fact(P1, committed=None), fact(P0)])] == [-10, None]


offsets = st.integers(0, 100)


@st.composite
def any_fact(draw: st.DrawFn) -> PartitionFacts:
    start = draw(offsets)
    return PartitionFacts(
        topic_partition=TopicPartition(draw(st.sampled_from("abc")), draw(st.integers(0, 5))),
        log_start=start,
        log_end=start + draw(offsets),
        committed=draw(st.none() | st.integers(0, 250)),
        at_time=draw(st.none() | st.just(-1) | st.integers(0, 250)),
    )


def naive(strategy: Strategy, one: PartitionFacts) -> int:
    """The table of the module's docstring, read aloud."""
    inside = list(range(one.log_start, one.log_end + 1))
    if isinstance(strategy, ToEarliest):
        return inside[0]
    if isinstance(strategy, ToLatest):
        return inside[-1]
    wanted: int | None
    if isinstance(strategy, ToOffset):
        wanted = strategy.offset
    elif isinstance(strategy, ToTime):
        wanted = one.at_time if one.at_time != -1 else None
    elif isinstance(strategy, ToListed):
        wanted = strategy.offsets[one.topic_partition]
    else:
        wanted = one.committed
    if wanted is None:
        return inside[-1]
    if isinstance(strategy, ShiftBy):
        wanted += strategy.records
    return min(inside, key=lambda offset: abs(offset - wanted))


@given(
    st.lists(any_fact(), max_size=8, unique_by=lambda one: one.topic_partition),
    st.one_of(
        st.builds(ToEarliest),
        st.builds(ToLatest),
        st.builds(ToCurrent),
        st.builds(ToOffset, st.integers(-5, 250)),
        st.builds(ShiftBy, st.integers(-250, 250)),
        st.builds(ToTime, offsets),
    ),
)
def test_the_plan_is_the_naive_one(facts: list[PartitionFacts], strategy: Strategy) -> None:
    try:
        plan = plan_reset(strategy, facts)
    except ResetRefused:
        assert isinstance(strategy, ShiftBy)
        assert any(one.committed is None for one in facts)
        return
    assert {one.topic_partition: one.new for one in plan} == {
        one.topic_partition: naive(strategy, one) for one in facts
    }
    assert [one.topic_partition for one in plan] == sorted(one.topic_partition for one in facts)
    assert all(one.log_start <= one.new <= one.log_end for one in plan)
    exported = ToListed({one.topic_partition: one.new for one in plan})
    assert [one.new for one in plan_reset(exported, facts)] == [one.new for one in plan]
