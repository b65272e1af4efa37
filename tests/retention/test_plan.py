"""Kafka's retention rules, and a naive twin that reads like the documentation."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.private import PartitionInventory, SegmentInfo
from broker.retention.plan import BY_SIZE, BY_TIME, PlannedDeletion, allowed_log_start, plan, plan_partition

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def segment(base: int, end: int, *, size: int = 100, age_ms: int = 0, active: bool = False) -> SegmentInfo:
    return SegmentInfo(
        base_offset=base,
        end_offset=end,
        size_bytes=size,
        max_timestamp_ms=NOW_MS - age_ms,
        last_modified_ms=NOW_MS - age_ms,
        active=active,
    )


def inventory(
    *segments: SegmentInfo,
    retention_ms: int = -1,
    retention_bytes: int = -1,
    cleanup_policy: str = "delete",
    high_watermark: int | None = None,
    topic: str = "orders",
) -> PartitionInventory:
    end = segments[-1].end_offset if segments else 0
    return PartitionInventory(
        topic=topic,
        partition=0,
        log_start_offset=segments[0].base_offset if segments else 0,
        high_watermark=end if high_watermark is None else high_watermark,
        log_end_offset=end,
        retention_ms=retention_ms,
        retention_bytes=retention_bytes,
        cleanup_policy=cleanup_policy,
        segments=list(segments),
    )


def three(**ages: int) -> tuple[SegmentInfo, ...]:
    return (
        segment(0, 10, age_ms=ages.get("first", 3 * HOUR_MS)),
        segment(10, 20, age_ms=ages.get("second", 2 * HOUR_MS)),
        segment(20, 25, age_ms=ages.get("third", 0), active=True),
    )


def test_segments_older_than_retention_ms_go() -> None:
    assert plan([inventory(*three(), retention_ms=HOUR_MS)], NOW_MS) == [
        PlannedDeletion(
            topic="orders",
            partition=0,
            new_log_start_offset=20,
            reason=BY_TIME,
            segments=2,
            bytes=200,
            oldest_offset=0,
            newest_timestamp_ms=NOW_MS - 2 * HOUR_MS,
        )
    ]


def test_a_segment_exactly_as_old_as_the_limit_stays() -> None:
    assert plan_partition(inventory(*three(), retention_ms=3 * HOUR_MS), NOW_MS) == []


def test_a_young_segment_protects_older_ones_after_it() -> None:
    segments = three(first=0, second=9 * HOUR_MS)
    assert plan_partition(inventory(*segments, retention_ms=HOUR_MS), NOW_MS) == []


def test_the_log_keeps_at_least_retention_bytes() -> None:
    (deletion,) = plan_partition(inventory(*three(), retention_bytes=150), NOW_MS)
    assert (deletion.new_log_start_offset, deletion.reason, deletion.bytes) == (10, BY_SIZE, 100)
    assert plan_partition(inventory(*three(), retention_bytes=201), NOW_MS) == []


def test_time_acts_before_size_and_size_on_what_is_left() -> None:
    first, second, third = three(second=0)
    deletions = plan_partition(inventory(first, second, third, retention_ms=HOUR_MS, retention_bytes=100), NOW_MS)
    assert [(d.reason, d.new_log_start_offset) for d in deletions] == [(BY_TIME, 10), (BY_SIZE, 20)]


def test_minus_one_means_no_limit() -> None:
    assert plan_partition(inventory(*three(third=10**12)), NOW_MS) == []


def test_nothing_at_or_past_the_high_watermark_goes() -> None:
    segments = three(third=5 * HOUR_MS)
    (deletion,) = plan_partition(inventory(*segments, retention_ms=0, high_watermark=19), NOW_MS)
    assert deletion.new_log_start_offset == 10
    assert plan_partition(inventory(*segments, retention_ms=0, high_watermark=0), NOW_MS) == []


def test_a_topic_that_is_only_compacted_is_left_alone() -> None:
    segments = three(third=5 * HOUR_MS)
    assert plan_partition(inventory(*segments, retention_ms=0, cleanup_policy="compact"), NOW_MS) == []
    assert plan_partition(inventory(*segments, retention_ms=0, cleanup_policy="compact,delete"), NOW_MS)


def test_an_expired_active_segment_goes_too_but_an_empty_one_stays() -> None:
    old = [segment(0, 5, age_ms=HOUR_MS, active=True)]
    assert [d.new_log_start_offset for d in plan_partition(inventory(*old, retention_ms=1), NOW_MS)] == [5]
    empty = SegmentInfo(base_offset=5, end_offset=5, size_bytes=0, max_timestamp_ms=-1, last_modified_ms=0, active=True)
    assert plan_partition(inventory(empty, retention_ms=1), NOW_MS) == []


def test_records_without_timestamps_are_judged_by_the_file() -> None:
    untimed = SegmentInfo(
        base_offset=0,
        end_offset=5,
        size_bytes=10,
        max_timestamp_ms=-1,
        last_modified_ms=NOW_MS - HOUR_MS,
        active=False,
    )
    assert plan_partition(inventory(untimed, segment(5, 6, active=True), retention_ms=HOUR_MS - 1), NOW_MS)
    assert not plan_partition(inventory(untimed, segment(5, 6, active=True), retention_ms=HOUR_MS), NOW_MS)


def test_records_from_the_future_stay() -> None:
    assert plan_partition(inventory(segment(0, 5, age_ms=-HOUR_MS), retention_ms=0), NOW_MS) == []


def test_a_plan_is_ordered_by_topic() -> None:
    rows = [inventory(*three(), retention_ms=HOUR_MS, topic=name) for name in ("b", "a")]
    assert [deletion.topic for deletion in plan(rows, NOW_MS)] == ["a", "b"]


def test_the_allowed_log_start_is_where_the_log_starts_when_nothing_may_go() -> None:
    assert allowed_log_start(inventory(segment(7, 9, active=True)), NOW_MS) == 7
    assert allowed_log_start(inventory(*three(), retention_ms=HOUR_MS), NOW_MS) == 20


@st.composite
def inventories(draw: st.DrawFn) -> PartitionInventory:
    count = draw(st.integers(0, 6))
    offset = draw(st.integers(0, 5))
    segments = []
    for index in range(count):
        active = index == count - 1
        records = draw(st.integers(0 if active else 1, 5))
        timed = draw(st.booleans()) and records
        stamp = draw(st.integers(-3, 12))
        segments.append(
            SegmentInfo(
                base_offset=offset,
                end_offset=offset + records,
                size_bytes=draw(st.integers(1, 50)) if records else 0,
                max_timestamp_ms=100 - stamp if timed else -1,
                last_modified_ms=100 - draw(st.integers(-3, 12)),
                active=active,
            )
        )
        offset += records
    start = segments[0].base_offset if segments else offset
    return PartitionInventory(
        topic="t",
        partition=0,
        log_start_offset=start,
        high_watermark=draw(st.integers(start, offset)),
        log_end_offset=offset,
        retention_ms=draw(st.integers(-1, 10)),
        retention_bytes=draw(st.integers(-1, 150)),
        cleanup_policy=draw(st.sampled_from(["delete", "compact", "compact,delete"])),
        segments=segments,
    )


def naive_log_start(inventory: PartitionInventory, now_ms: int) -> int:
    """Take the first segment away for as long as a rule says so: time until it no longer does, then size."""
    segments = list(inventory.segments)
    if "delete" not in inventory.cleanup_policy.split(","):
        return inventory.log_start_offset

    def may_go(first: SegmentInfo) -> bool:
        return first.end_offset <= inventory.high_watermark and not (first.active and first.size_bytes == 0)

    while segments and may_go(segments[0]) and inventory.retention_ms != -1:
        newest = segments[0].max_timestamp_ms if segments[0].max_timestamp_ms != -1 else segments[0].last_modified_ms
        if not now_ms > newest + inventory.retention_ms:
            break
        segments.pop(0)
    while segments and may_go(segments[0]) and inventory.retention_bytes != -1:
        if sum(segment.size_bytes for segment in segments[1:]) < inventory.retention_bytes:
            break
        segments.pop(0)
    gone = len(inventory.segments) - len(segments)
    return inventory.segments[gone - 1].end_offset if gone else inventory.log_start_offset


@given(inventories())
def test_the_plan_agrees_with_its_naive_twin(inventory: PartitionInventory) -> None:
    assert allowed_log_start(inventory, 100) == naive_log_start(inventory, 100)


def carried_out(inventory: PartitionInventory) -> PartitionInventory:
    start = allowed_log_start(inventory, 100)
    left = [segment for segment in inventory.segments if segment.end_offset > start or not segment.size_bytes]
    return msgspec.structs.replace(inventory, log_start_offset=start, segments=left)


@given(inventories(), st.sampled_from(["retention_ms", "retention_bytes"]))
def test_carrying_out_one_rule_leaves_nothing_to_plan(inventory: PartitionInventory, unlimited: str) -> None:
    inventory = msgspec.structs.replace(inventory, **{unlimited: -1})
    assert plan_partition(carried_out(inventory), 100) == []


@given(inventories())
def test_rounds_with_both_rules_come_to_rest(inventory: PartitionInventory) -> None:
    """Size may uncover an expired segment that a younger one protected; the next round takes it, as in Kafka."""
    for _ in range(len(inventory.segments)):
        inventory = carried_out(inventory)
    assert plan_partition(inventory, 100) == []


@given(inventories())
def test_a_plan_accounts_for_every_segment_below_its_offset(inventory: PartitionInventory) -> None:
    deletions = plan_partition(inventory, 100)
    start = allowed_log_start(inventory, 100)
    gone = [segment for segment in inventory.segments if segment.end_offset <= start and deletions]
    if deletions and inventory.segments[-1] in gone and not inventory.segments[-1].size_bytes:
        gone.pop()
    assert sum(deletion.segments for deletion in deletions) == len(gone)
    assert sum(deletion.bytes for deletion in deletions) == sum(segment.size_bytes for segment in gone)
