"""How long readers of committed records have been held back, and when that becomes an alert."""

from __future__ import annotations

from dashboard.collector.alerts import HELD_LONG_MS
from dashboard.live.replication_rows import PartitionRow
from dashboard.live.state import AlertRow, TopicRow
from tests.dashboard.samples import START_MS, Bench, partition, sample, topic


def feed(bench: Bench, seq: int, stable: int, *, at_ms: int) -> None:
    bench.feed(
        sample(
            seq,
            full=seq == 1,
            at_ms=at_ms,
            topics=[topic("orders", 2)] if seq == 1 else [],
            partitions=[
                partition("orders", 0, records=100, last_stable_offset=stable),
                *([partition("orders", 1, records=10, last_stable_offset=10)] if seq == 1 else []),
            ],
        )
    )
    bench.step()


def rows(bench: Bench) -> tuple[PartitionRow, TopicRow]:
    return bench.model.partitions["orders"][0], bench.model.topics["orders"]


def alerts(bench: Bench, now_ms: int) -> list[str]:
    bench.now_ms = now_ms
    bench.step()
    found = bench.overview.rows(bench.model, [], now_ms)
    return [row.name for row in found.values() if isinstance(row, AlertRow)]


def test_nobody_is_held_while_all_records_are_stable(bench: Bench) -> None:
    feed(bench, 1, 100, at_ms=START_MS)
    first, all_of_it = rows(bench)
    assert (first.held_records, first.held_since_ms) == (0, -1)
    assert (all_of_it.held, all_of_it.held_records, all_of_it.held_since_ms) == (0, 0, -1)


def test_who_is_held_counts_from_when_the_stable_offset_last_moved(bench: Bench) -> None:
    feed(bench, 1, 40, at_ms=START_MS)
    feed(bench, 2, 40, at_ms=START_MS + 5_000)
    first, all_of_it = rows(bench)
    assert (first.held_records, first.held_since_ms) == (60, START_MS)
    assert (all_of_it.held, all_of_it.held_records, all_of_it.held_since_ms) == (1, 60, START_MS)
    feed(bench, 3, 70, at_ms=START_MS + 6_000)
    assert rows(bench)[0].held_since_ms == START_MS + 6_000


def test_only_a_long_hold_is_an_alert_and_it_ends_with_the_transaction(bench: Bench) -> None:
    feed(bench, 1, 40, at_ms=START_MS)
    assert alerts(bench, START_MS + HELD_LONG_MS - 1) == []
    assert alerts(bench, START_MS + HELD_LONG_MS) == ["topic-held:orders"]
    feed(bench, 2, 100, at_ms=START_MS + HELD_LONG_MS + 1_000)
    assert alerts(bench, START_MS + HELD_LONG_MS + 1_000) == []


def test_a_broker_that_tells_no_stable_offset_holds_nobody(bench: Bench) -> None:
    feed(bench, 1, -1, at_ms=START_MS)
    assert rows(bench)[0].held_since_ms == -1
