"""The timeline's memory: one event for one change of many partitions, bounded, and not lost with the collector."""

from __future__ import annotations

from broker.telemetry.sample import PartitionSample
from dashboard.collector.events import EVENTS_MAX, MERGE_MS, PLACES_MAX
from dashboard.live.replication_rows import EventRow
from dashboard.live.state import EVENTS
from tests.dashboard.samples import START_MS, Bench
from tests.dashboard.three import controlled, placed, replicated, says, start


def events(bench: Bench) -> list[EventRow]:
    rows = bench.store.read([EVENTS]).rows(EVENTS).values()
    return sorted((row for row in rows if isinstance(row, EventRow)), key=lambda row: row.number)


def of_kind(bench: Bench, kind: str) -> list[EventRow]:
    return [event for event in events(bench) if event.kind == kind]


def taken_over(number: int, at_ms: int, *, leader: int = 2, epoch: int = 2) -> PartitionSample:
    return placed(
        number=number,
        leader=leader,
        leader_epoch=epoch,
        partition_epoch=epoch,
        isr=[2, 3],
        cause="leader_failed",
        changed_at_ms=at_ms,
    )


def test_a_partition_that_is_seen_first_is_no_event(bench: Bench) -> None:
    start(bench)
    assert [event.kind for event in events(bench)] == ["controller"]


def test_one_failure_is_one_event_with_the_first_partitions_by_name(bench: Bench) -> None:
    count = PLACES_MAX + 5
    start(bench, *(placed(number=number) for number in range(count)), topics=(replicated(partitions=count),))
    moved = [taken_over(number, START_MS + 1000 + number) for number in range(count)]
    bench.feed(says(2, 2, *moved))
    bench.step()
    [leader], [isr] = of_kind(bench, "leader"), of_kind(bench, "isr")
    assert (leader.before, leader.after, leader.cause, leader.count) == ([1], [2], "leader_failed", count)
    assert len(leader.places) == PLACES_MAX
    assert (isr.lost, isr.gained, isr.count) == ([1], [], count)


def test_the_same_change_much_later_is_another_event(bench: Bench) -> None:
    start(bench, placed(number=0), placed(number=1), topics=(replicated(partitions=2),))
    bench.feed(says(2, 2, taken_over(0, START_MS + 1000)))
    bench.step()
    bench.feed(says(2, 3, taken_over(1, START_MS + 1001 + MERGE_MS)))
    bench.step()
    assert [event.count for event in of_kind(bench, "leader")] == [1, 1]


def test_losing_and_getting_a_leader_are_two_things(bench: Bench) -> None:
    start(bench)
    bench.feed(says(2, 2, taken_over(0, START_MS + 1000, leader=-1)))
    bench.step()
    bench.feed(says(2, 3, taken_over(0, START_MS + 2000, leader=3, epoch=3)))
    bench.step()
    assert [(event.before, event.after) for event in of_kind(bench, "no leader")] == [([1], [])]
    assert [(event.before, event.after) for event in of_kind(bench, "leader")] == [([], [3])]


def test_a_move_tells_where_it_goes_and_when_it_is_done(bench: Bench) -> None:
    start(bench, placed(replicas=[1, 2], isr=[1, 2]))
    begun = placed(partition_epoch=2, replicas=[1, 2, 3], isr=[1, 2], adding=[3], removing=[2], cause="reassigning")
    bench.feed(says(1, 2, begun))
    bench.step()
    done = placed(partition_epoch=4, replicas=[1, 3], isr=[1, 3], cause="reassigned", changed_at_ms=START_MS + 9000)
    bench.feed(says(1, 3, done))
    bench.step()
    assert [(event.before, event.after, event.cause) for event in of_kind(bench, "replicas")] == [
        ([1, 2], [1, 3], "reassigning"),
        ([1, 2, 3], [1, 3], "reassigned"),
    ]


def test_only_so_many_are_remembered(bench: Bench) -> None:
    start(bench)
    for epoch in range(2, EVENTS_MAX + 20):
        leader = 1 + epoch % 2
        at_ms = START_MS + epoch * MERGE_MS * 2
        bench.feed(
            says(2, epoch, placed(leader=leader, leader_epoch=epoch, partition_epoch=epoch, changed_at_ms=at_ms))
        )
        bench.step()
    found = events(bench)
    assert len(found) == EVENTS_MAX
    assert found[-1].places[0].leader_epoch == EVENTS_MAX + 19


def test_a_collector_that_starts_anew_goes_on_where_the_last_one_was(bench: Bench) -> None:
    start(bench)
    bench.feed(says(2, 2, taken_over(0, START_MS + 1000), control=controlled(epoch=2, by=2), controller_id=2))
    bench.step()
    known = events(bench)
    again = Bench(bench.store)
    again.pipeline.begin(last_seq=bench.store.seq, now_ms=START_MS, events=bench.store.read([EVENTS]).rows(EVENTS))
    again.feed(
        says(2, 1, taken_over(0, START_MS + 1000), full=True, topics=[replicated()], control=controlled(epoch=2, by=2))
    )
    again.step()
    assert events(again) == known, "nothing twice, nothing lost"
    again.feed(says(2, 2, taken_over(0, START_MS + 60_000, leader=3, epoch=3)))
    again.step()
    assert events(again)[-1].number == known[-1].number + 1
