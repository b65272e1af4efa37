"""Pages of records out of partitions: order, exact continuation, bounds. The naive twin is a sorted list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.client.results import DamagedBatch, ListedOffset, Record
from broker.errors import ErrorCode
from dashboard.gateway import GatewayError
from dashboard.messages import reading
from dashboard.messages.predicate import parse
from dashboard.messages.reading import Budget, Reading, Request
from tests.dashboard.messages.records import FakeLog, record


def request(partitions: Sequence[int] = (0,), *, limit: int = 10, goes_back: bool = True, **values: Any) -> Request:
    return Request(topic="orders", partitions=tuple(partitions), limit=limit, goes_back=goes_back, **values)


def places(records: Sequence[Record]) -> list[tuple[int, int]]:
    return [(one.partition, one.offset) for one in records]


def read_all(log: FakeLog, partitions: Sequence[int], *, goes_back: bool, limit: int, text: str = "") -> list[Record]:
    """Page after page until there is nothing further."""
    found: list[Record] = []
    starts = None
    for _ in range(200):
        page = reading.read(
            log, request(partitions, limit=limit, goes_back=goes_back, starts=starts, predicate=parse(text))
        )
        found += page.records
        starts = page.lows if goes_back else page.highs
        if not (page.has_older if goes_back else page.has_newer):
            return found
    raise AssertionError("paging does not end")


def test_the_newest_come_first_across_partitions() -> None:
    log = FakeLog([record(offset, partition=offset % 2, timestamp_ms=offset) for offset in range(40)])
    page = reading.read(log, request((0, 1), limit=4))
    assert places(page.records) == [(1, 39), (0, 38), (1, 37), (0, 36)]
    assert page.lows == {0: 35, 1: 36}, "every offset from there on has been shown or does not exist"
    assert page.has_older
    assert not page.has_newer


def test_from_an_offset_on_they_come_in_order() -> None:
    log = FakeLog([record(offset) for offset in range(100)])
    page = reading.read(log, request(goes_back=False, starts={0: 95}))
    assert places(page.records) == [(0, offset) for offset in range(95, 100)]
    assert (page.lows, page.highs) == ({0: 95}, {0: 100})


def test_an_offset_outside_the_log_is_moved_to_its_edge() -> None:
    log = FakeLog([record(offset) for offset in range(50, 60)])
    log.starts[0] = 50
    assert places(reading.read(log, request(goes_back=False, starts={0: 3}, limit=1)).records) == [(0, 50)]
    assert reading.read(log, request(goes_back=False, starts={0: 999})).records == ()


@given(
    offsets=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400)), unique=True, max_size=120),
    limit=st.integers(1, 30),
    batch=st.integers(1, 50),
    goes_back=st.booleans(),
    text=st.sampled_from(["", "even", "never"]),
)
def test_pages_together_show_everything_once(
    offsets: list[tuple[int, int]], limit: int, batch: int, goes_back: bool, text: str
) -> None:
    records = [
        record(offset, partition=partition, value=b"even" if offset % 2 == 0 else b"odd")
        for partition, offset in sorted(offsets)
    ]
    log = FakeLog(records, ends=dict.fromkeys(range(3), 401))
    log.batch_records = batch
    found = read_all(log, (0, 1, 2), goes_back=goes_back, limit=limit, text=text)
    wanted = [one for one in records if parse(text).matches(one)]
    assert sorted(places(found)) == places(wanted)
    for partition in range(3):
        of_partition = [offset for number, offset in places(found) if number == partition]
        assert of_partition == sorted(of_partition, reverse=goes_back)


def test_a_filter_counts_what_it_looked_at() -> None:
    log = FakeLog([record(offset, value=b"%d" % offset) for offset in range(500)])
    page = reading.read(log, request(goes_back=False, limit=3, predicate=parse("value = 42")))
    assert places(page.records) == [(0, 42)]
    assert page.scanned_records == 500
    assert page.scanned_bytes == sum(one.size_bytes for one in log.partitions[0])


def test_reading_stops_when_the_records_are_spent_and_continues_there() -> None:
    log = FakeLog([record(offset, value=b"x") for offset in range(1_000)])
    wanted = request(goes_back=False, predicate=parse("value = 999"))
    page = reading.read(log, wanted, Budget(records=300))
    assert page.stopped_by.endswith("records")
    assert page.records == ()
    assert page.highs == {0: 300}


def test_reading_stops_when_the_time_is_up() -> None:
    times = iter(range(1_000))
    log = FakeLog([record(offset) for offset in range(1_000)])
    page = reading.read(
        log, request(goes_back=False, predicate=parse("never")), Budget(clock=lambda: float(next(times)), seconds=5)
    )
    assert page.stopped_by == "5 seconds"
    assert 0 < log.fetches < 10


def test_a_few_huge_records_do_not_spend_everything() -> None:
    size = 5 * 1024 * 1024
    log = FakeLog([record(offset, size_bytes=size) for offset in range(200)])
    page = reading.read(log, request(limit=5))
    assert places(page.records) == [(0, offset) for offset in range(199, 194, -1)]
    assert page.scanned_bytes < reading.BYTES_MAX


def test_one_partition_without_matches_does_not_starve_the_others() -> None:
    log = FakeLog(
        [record(offset, partition=0, value=b"dull") for offset in range(5_000)]
        + [record(offset, partition=1, value=b"gold") for offset in range(5)]
    )
    page = reading.read(log, request((0, 1), goes_back=False, predicate=parse("gold")), Budget(records=1_000))
    assert places(page.records) == [(1, offset) for offset in range(5)]


@pytest.mark.parametrize("goes_back", [True, False])
def test_a_damaged_batch_is_reported_once_and_passed_over(goes_back: bool) -> None:
    log = FakeLog([record(offset) for offset in range(40) if not 10 <= offset <= 19])
    log.damaged[0] = [DamagedBatch(base_offset=10, last_offset=19, reason="its checksum is wrong")]
    page: Reading = reading.read(log, request(limit=100, goes_back=goes_back))
    assert len(page.records) == 30
    assert [(one.partition, one.batch.base_offset, one.batch.last_offset) for one in page.damaged] == [(0, 10, 19)]


def test_a_partition_that_cannot_be_read_does_not_hide_the_others() -> None:
    log = FakeLog([record(offset, partition=partition) for partition in (0, 1) for offset in range(3)])
    log.refusing[0] = "There is no leader."
    page = reading.read(log, request((0, 1)))
    assert places(page.records) == [(1, 2), (1, 1), (1, 0)]
    assert [(one.partition, one.reason) for one in page.troubles] == [(0, "There is no leader.")]


class OfflinePartition(FakeLog):
    """Partition 0 is offline: no question that includes it is answered."""

    def list_offsets(self, topic: str, positions: Mapping[int, int]) -> dict[int, ListedOffset]:
        if 0 in positions:
            raise GatewayError("Its disk failed.", code=ErrorCode.KAFKA_STORAGE_ERROR)
        return super().list_offsets(topic, positions)


def test_a_partition_that_is_offline_does_not_hide_the_others() -> None:
    log = OfflinePartition([record(offset, partition=1) for offset in range(3)])
    page = reading.read(log, request((0, 1)))
    assert places(page.records) == [(1, 2), (1, 1), (1, 0)]
    assert [(one.partition, one.reason) for one in page.troubles] == [(0, "Its disk failed.")]
    with pytest.raises(GatewayError, match="Its disk failed"):
        reading.read(log, request((0,)))


def test_a_topic_without_records_is_empty() -> None:
    page = reading.read(FakeLog([]), request((0, 1)))
    assert page.is_empty
    assert not page.has_older
    assert not page.has_newer
