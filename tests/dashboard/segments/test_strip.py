"""Where segments lie on the strip."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from broker.protocol.private import PartitionInventory, SegmentInfo
from broker.retention.forecast import forecast
from dashboard.segments.strip import BARS_MAX, HEIGHT, LANES_MAX, Strip, offset_strip, time_strip
from tests.retention.test_plan import HOUR_MS, NOW_MS, inventory, segment, three


def along_offsets(partition: PartitionInventory) -> Strip:
    return offset_strip(partition, forecast(partition, NOW_MS, None), NOW_MS)


def along_time(partition: PartitionInventory) -> Strip:
    return time_strip(partition, forecast(partition, NOW_MS, None), NOW_MS)


def timed(base: int, first_ms: int, last_ms: int, *, active: bool = False) -> SegmentInfo:
    return msgspec.structs.replace(
        segment(base, base + 10, age_ms=NOW_MS - last_ms, active=active), first_timestamp_ms=first_ms
    )


def test_widths_are_offsets_and_heights_are_sizes() -> None:
    strip = along_offsets(inventory(segment(0, 75, size=100), segment(75, 100, size=50, active=True)))
    assert [(bar.x, bar.width) for bar in strip.bars] == [(0, 75), (75, 25)]
    assert [(bar.filled, bar.filled_y) for bar in strip.bars] == [(HEIGHT, 0), (HEIGHT / 2, HEIGHT / 2)]
    assert [bar.active for bar in strip.bars] == [False, True]


def test_a_bar_has_the_colour_of_the_rule_that_deletes_it() -> None:
    assert [bar.css for bar in along_offsets(inventory(*three(), retention_ms=150 * 60_000)).bars] == [
        "due",
        "time",
        "time",
    ]
    assert {bar.css for bar in along_offsets(inventory(*three(), retention_bytes=300)).bars} == {"size"}
    assert {bar.css for bar in along_offsets(inventory(*three(), cleanup_policy="compact")).bars} == {"compact"}
    assert {bar.css for bar in along_offsets(inventory(*three())).bars} == {"kept"}


def test_the_axis_shows_both_ends_and_round_offsets_between() -> None:
    strip = along_offsets(inventory(segment(1_017, 3_500), segment(3_500, 9_021, active=True)))
    assert [tick.value for tick in strip.ticks] == [1_017, 5_000, 9_021]
    assert (strip.ticks[0].anchor, strip.ticks[-1].anchor) == ("start", "end")


def test_marks_are_drawn_only_where_they_say_something() -> None:
    plain = inventory(*three())
    assert along_offsets(plain).marks == []
    marked = msgspec.structs.replace(plain, log_start_offset=5, high_watermark=20, last_stable_offset=15)
    strip = along_offsets(marked)
    assert [(mark.name, mark.x) for mark in strip.marks] == [("start", 20), ("stable", 60), ("hw", 80)]
    assert strip.shade_width == 20


def test_on_the_time_axis_a_segment_reaches_from_its_first_to_its_newest_record() -> None:
    partition = inventory(
        timed(0, NOW_MS - 4 * HOUR_MS, NOW_MS - 3 * HOUR_MS), timed(10, NOW_MS - 3 * HOUR_MS, NOW_MS, active=True)
    )
    strip = along_time(partition)
    assert [(bar.x, bar.width) for bar in strip.bars] == [(0, 25), (25, 75)]
    assert strip.lanes == 1
    assert [tick.value for tick in strip.ticks] == [4 * HOUR_MS, 3 * HOUR_MS, 2 * HOUR_MS, HOUR_MS, 0]


def test_overlapping_segments_lie_in_lanes() -> None:
    spans = [(0, 10), (5, 15), (6, 20), (7, 30)]
    segments = [timed(10 * at, NOW_MS - 100 + a, NOW_MS - 100 + b) for at, (a, b) in enumerate(spans)]
    strip = along_time(inventory(*segments))
    assert strip.lanes == LANES_MAX
    assert len({bar.y for bar in strip.bars}) == LANES_MAX


def test_what_is_older_than_retention_allows_is_shaded() -> None:
    partition = inventory(timed(0, NOW_MS - 4 * HOUR_MS, NOW_MS, active=True), retention_ms=HOUR_MS)
    strip = along_time(partition)
    assert (strip.shade_width, [mark.name for mark in strip.marks]) == (75, ["limit"])


def test_segments_without_timestamps_are_told_and_not_drawn() -> None:
    untimed = msgspec.structs.replace(segment(0, 10), max_timestamp_ms=-1)
    assert along_time(inventory(untimed)) == Strip(untimed=1)


def test_an_empty_partition_has_no_bars() -> None:
    empty = inventory(segment(5, 5, size=0, active=True))
    assert along_offsets(empty) == Strip()
    assert along_time(empty) == Strip()


@given(st.lists(st.integers(1, 1_000), min_size=1, max_size=1_500))
def test_however_many_segments_all_of_them_are_on_the_strip_in_order(sizes: list[int]) -> None:
    segments, at = [], 0
    for size in sizes:
        segments.append(segment(at, at + size, size=size))
        at += size
    strip = along_offsets(inventory(*segments))
    assert len(strip.bars) <= BARS_MAX
    assert [fate.segment for bar in strip.bars for fate in bar.fates] == segments
    assert all(0 <= bar.x <= 100 and bar.x + bar.width <= 101 and bar.filled_y >= 0 for bar in strip.bars)
