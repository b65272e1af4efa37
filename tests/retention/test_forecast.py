"""When each segment will go, held against the plan that will do it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.private import PartitionInventory, SegmentInfo
from broker.retention.forecast import Fate, forecast
from broker.retention.plan import allowed_log_start, plan_partition
from tests.retention.test_plan import HOUR_MS, NOW_MS, inventories, inventory, segment, three


def fates(partition: PartitionInventory, *, rate: float | None = None) -> list[tuple[str, int | None]]:
    return [(fate.rule, fate.at_ms) for fate in forecast(partition, NOW_MS, rate)]


def test_a_segment_goes_by_age_when_its_newest_record_is_old_enough() -> None:
    assert fates(inventory(*three(), retention_ms=5 * HOUR_MS)) == [
        ("retention.ms", NOW_MS + 2 * HOUR_MS),
        ("retention.ms", NOW_MS + 3 * HOUR_MS),
        ("retention.ms", NOW_MS + 5 * HOUR_MS),
    ]


def test_a_segment_behind_a_younger_one_waits_for_it() -> None:
    first, second, _ = forecast(inventory(*three(first=0, second=9 * HOUR_MS), retention_ms=HOUR_MS), NOW_MS, None)
    assert not first.waits_for_earlier
    assert second == Fate(
        segment=second.segment,
        rule="retention.ms",
        at_ms=first.at_ms,
        by_time_ms=NOW_MS - 8 * HOUR_MS,
        missing_bytes=None,
        waits_for_earlier=True,
        held=False,
    )


def test_by_size_it_goes_once_enough_is_written_behind_it() -> None:
    partition = inventory(*three(), retention_bytes=300)
    assert [fate.missing_bytes for fate in forecast(partition, NOW_MS, None)] == [100, 200, 300]
    assert fates(partition) == [("retention.bytes", None)] * 3, "without a rate nobody knows when"
    assert fates(partition, rate=50.0)[0] == ("retention.bytes", NOW_MS + 2_000)


def test_the_rule_that_acts_first_is_named() -> None:
    partition = inventory(*three(), retention_ms=5 * HOUR_MS, retention_bytes=300)
    assert [rule for rule, _ in fates(partition, rate=50.0)] == ["retention.bytes"] * 3
    assert [rule for rule, _ in fates(partition, rate=0.001)] == ["retention.ms"] * 3


def test_what_is_over_the_limits_is_due_now() -> None:
    partition = inventory(*three(), retention_ms=150 * 60_000, retention_bytes=150)
    first, second, third = forecast(partition, NOW_MS, None)
    assert (first.rule, first.is_due(NOW_MS), first.missing_bytes) == ("retention.ms", True, 0)
    assert (second.rule, second.is_due(NOW_MS), second.missing_bytes) == ("retention.ms", False, 50)
    assert not third.is_due(NOW_MS)


def test_without_limits_nothing_is_ever_deleted() -> None:
    assert fates(inventory(*three())) == [("", None)] * 3


def test_a_limit_beyond_every_date_is_none() -> None:
    assert fates(inventory(*three(), retention_ms=2**63 - 1)) == [("", None)] * 3


def test_a_compacted_topic_loses_records_and_no_segments() -> None:
    assert fates(inventory(*three(), retention_ms=1, cleanup_policy="compact")) == [("compaction", None)] * 3
    assert fates(inventory(*three(), retention_ms=1, cleanup_policy="compact,delete"))[0][0] == "retention.ms"


def test_nothing_past_the_high_watermark_is_due() -> None:
    partition = inventory(*three(), retention_ms=0, high_watermark=15)
    assert [fate.is_due(NOW_MS + HOUR_MS) for fate in forecast(partition, NOW_MS, None)] == [True, False, False]


def settled(partition: PartitionInventory, now_ms: int) -> int:
    """Where the log starts after as many rounds of retention as change anything."""
    while plan_partition(partition, now_ms):
        start = allowed_log_start(partition, now_ms)
        left = [one for one in partition.segments if one.end_offset > start or not one.size_bytes]
        partition = msgspec.structs.replace(partition, log_start_offset=start, segments=left)
    return partition.log_start_offset


@given(inventories(), st.integers(0, 30))
def test_at_any_later_time_exactly_what_was_forecast_has_gone(partition: PartitionInventory, later_ms: int) -> None:
    now_ms = 100
    start = settled(partition, now_ms + later_ms)
    for fate in forecast(partition, now_ms, None):
        if fate.segment.size_bytes:
            assert fate.is_due(now_ms + later_ms) == (fate.segment.end_offset <= start)


@given(inventories(), st.data())
def test_so_many_bytes_more_and_size_takes_it_and_not_one_fewer(
    partition: PartitionInventory, data: st.DataObject
) -> None:
    partition = msgspec.structs.replace(
        partition, retention_ms=-1, cleanup_policy="delete", high_watermark=partition.log_end_offset
    )
    kept = [fate for fate in forecast(partition, 100, None) if fate.missing_bytes and fate.segment.size_bytes]
    if not kept:
        return
    fate = data.draw(st.sampled_from(kept))
    assert fate.missing_bytes is not None

    def start_after(size_bytes: int) -> int:
        end = partition.log_end_offset
        written = SegmentInfo(
            base_offset=end,
            end_offset=end + 1,
            size_bytes=size_bytes,
            max_timestamp_ms=100,
            last_modified_ms=100,
            active=True,
        )
        closed = [msgspec.structs.replace(one, active=False) for one in partition.segments if one.size_bytes]
        grown = msgspec.structs.replace(
            partition, segments=[*closed, written], log_end_offset=end + 1, high_watermark=end + 1
        )
        return allowed_log_start(grown, 100)

    assert start_after(fate.missing_bytes) >= fate.segment.end_offset
    assert start_after(fate.missing_bytes - 1) < fate.segment.end_offset or fate.missing_bytes == 1


def test_the_forecast_names_every_segment_once_and_in_order() -> None:
    partition = inventory(segment(0, 4), segment(4, 9, active=True), retention_ms=HOUR_MS)
    assert [fate.segment for fate in forecast(partition, NOW_MS, 10.0)] == partition.segments
