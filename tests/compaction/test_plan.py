from __future__ import annotations

from typing import Any

import msgspec

from broker.compaction.plan import BY_LAG, BY_RATIO, ON_DEMAND, plan, plan_partition
from broker.protocol.private import CompactionPartition, SegmentInfo

NOW_MS = 1_000_000


def segment(number: int, *, size: int = 100, newest: int = 0, first: int = 1, active: bool = False) -> SegmentInfo:
    """Ten offsets each."""
    return SegmentInfo(
        base_offset=10 * number,
        end_offset=10 * number + 10,
        size_bytes=size,
        max_timestamp_ms=newest,
        last_modified_ms=NOW_MS,
        active=active,
        first_timestamp_ms=first,
    )


def partition(*segments: SegmentInfo, **changes: Any) -> CompactionPartition:
    """Four closed segments and an active one unless said otherwise."""
    found = list(segments) or [segment(number) for number in range(4)] + [segment(4, active=True)]
    base = CompactionPartition(
        topic="orders",
        partition=0,
        topic_id=bytes(16),
        directory="/data/orders-0",
        truncations=0,
        log_start_offset=0,
        first_dirty_offset=0,
        decided_offset=40,
        min_cleanable_dirty_ratio=0.5,
        min_compaction_lag_ms=0,
        max_compaction_lag_ms=2**63 - 1,
        delete_retention_ms=1,
        segment_bytes=1_000,
        segment_index_bytes=1_000,
        index_interval_bytes=100,
        segments=found,
    )
    return msgspec.structs.replace(base, **changes)


def test_a_log_is_due_when_more_of_it_is_dirty_than_its_ratio_allows() -> None:
    planned = plan_partition(partition(first_dirty_offset=10), NOW_MS)
    assert planned is not None
    assert (planned.reason, planned.dirty_bytes, planned.clean_bytes) == (BY_RATIO, 300, 100)
    assert (planned.first_dirty_offset, planned.end_offset) == (10, 40)
    assert plan_partition(partition(first_dirty_offset=20), NOW_MS) is None, "half is not more than half"
    assert plan_partition(partition(first_dirty_offset=40, min_cleanable_dirty_ratio=0.0), NOW_MS) is None


def test_only_whole_segments_below_the_decided_offset_count() -> None:
    planned = plan_partition(partition(decided_offset=29), NOW_MS)
    assert planned is not None
    assert (planned.end_offset, planned.dirty_bytes) == (20, 200)
    assert plan_partition(partition(decided_offset=9), NOW_MS) is None


def test_young_records_are_out_of_reach_and_all_behind_them() -> None:
    segments = [segment(0), segment(1, newest=NOW_MS - 50), segment(2), segment(3, active=True)]
    planned = plan_partition(partition(*segments, decided_offset=30, min_compaction_lag_ms=100), NOW_MS)
    assert planned is not None
    assert planned.end_offset == 10


def test_old_records_make_a_clean_log_due() -> None:
    segments = [segment(0), segment(1), segment(2), segment(3, first=NOW_MS - 500), segment(4, active=True)]
    lagging = {"first_dirty_offset": 30, "max_compaction_lag_ms": 400}
    planned = plan_partition(partition(*segments, **lagging), NOW_MS)
    assert planned is not None
    assert (planned.reason, planned.dirty_bytes) == (BY_LAG, 100)
    assert plan_partition(partition(*segments, **lagging | {"max_compaction_lag_ms": 600}), NOW_MS) is None


def test_asked_for_by_a_person_a_clean_log_is_due_and_an_empty_one_is_not() -> None:
    planned = plan_partition(partition(first_dirty_offset=40), NOW_MS, on_demand=True)
    assert planned is not None
    assert (planned.reason, planned.dirty_bytes, planned.clean_bytes) == (ON_DEMAND, 0, 400)
    assert plan_partition(partition(segment(0, active=True), decided_offset=0), NOW_MS, on_demand=True) is None


def test_a_checkpoint_outside_the_log_means_everything_is_dirty() -> None:
    for first_dirty in (5, 1_000):
        planned = plan_partition(partition(log_start_offset=10, first_dirty_offset=first_dirty), NOW_MS)
        assert planned is not None
        assert planned.first_dirty_offset == 10


def test_the_dirtiest_comes_first_then_by_name() -> None:
    found = plan(
        [
            partition(topic="b", first_dirty_offset=10),
            partition(topic="c"),
            partition(topic="a", first_dirty_offset=10),
            partition(topic="clean", first_dirty_offset=40),
        ],
        NOW_MS,
    )
    assert [planned.partition.topic for planned in found] == ["c", "a", "b"]
