"""When the time of a group's next record is looked up, and when it is not."""

from broker.telemetry.group_table import GroupTable
from broker.telemetry.sample import GroupSample, OffsetSample
from broker.types import TopicPartition

ORDERS = TopicPartition("orders", 0)


class FakeRecords:
    def __init__(self, timestamps: dict[int, int], log_start: int | None = 0) -> None:
        self.timestamps = timestamps
        self.start = log_start
        self.asked: list[int] = []

    def log_start(self, topic_partition: TopicPartition) -> int | None:
        return self.start

    def timestamp_at(self, topic_partition: TopicPartition, offset: int) -> int:
        self.asked.append(offset)
        return self.timestamps.get(offset, -1)


def group(committed: int, group_id: str = "readers") -> GroupSample:
    return GroupSample(group_id=group_id, offsets=[OffsetSample(topic="orders", partition=0, committed=committed)])


def times(changed: list[GroupSample]) -> list[int]:
    return [offset.record_timestamp_ms for sample in changed for offset in sample.offsets]


def test_the_time_of_the_next_record_is_looked_up_once() -> None:
    records = FakeRecords({5: 500})
    table = GroupTable(records)
    assert times(table.update([group(5)], [], []).changed) == [500]
    assert table.update([group(5)], [], [ORDERS]).changed == []
    assert records.asked == [5]


def test_a_caught_up_group_learns_the_time_when_a_record_comes() -> None:
    records = FakeRecords({})
    table = GroupTable(records)
    assert times(table.update([group(5)], [], []).changed) == [-1]
    assert table.update([], [], []).changed == []
    records.timestamps[5] = 700
    assert times(table.update([], [], [ORDERS]).changed) == [700]
    assert table.update([], [], [ORDERS]).changed == []


def test_a_group_whose_record_was_deleted_reads_the_first_one_left() -> None:
    records = FakeRecords({5: 500, 8: 800})
    table = GroupTable(records)
    table.update([group(5)], [], [])
    records.start = 8
    assert times(table.update([], [], [ORDERS]).changed) == [800]


def test_a_partition_that_is_not_here_has_no_times() -> None:
    records = FakeRecords({5: 500}, log_start=None)
    table = GroupTable(records)
    assert times(table.update([group(5)], [], []).changed) == [-1]
    records.start = 0
    assert times(table.update([], [], [ORDERS]).changed) == [500]
    records.start = None
    assert times(table.update([], [], [ORDERS]).changed) == [-1]


def test_look_ups_beyond_the_budget_follow_in_later_ticks() -> None:
    records = FakeRecords({5: 500})
    table = GroupTable(records)
    groups = [group(5, f"g{number}") for number in range(5)]
    seen = times(table.update(groups, [], [], lookups_max=2).changed)
    assert sorted(seen) == [-1, -1, -1, 500, 500]
    assert times(table.update([], [], [], lookups_max=2).changed) == [500, 500]
    assert times(table.update([], [], [], lookups_max=2).changed) == [500]
    assert table.update([], [], [], lookups_max=2).changed == []
    assert times(table.samples()) == [500] * 5


def test_a_removed_group_is_told_once_and_forgotten() -> None:
    table = GroupTable(FakeRecords({}))
    table.update([group(5)], [], [])
    assert table.update([], ["readers", "never-seen"], []).removed == ["readers"]
    assert table.update([], [], [ORDERS]).changed == []
    assert table.samples() == []


def test_a_group_without_a_commit_has_no_time() -> None:
    records = FakeRecords({0: 1})
    assert times(GroupTable(records).update([group(-1)], [], []).changed) == [-1]
    assert records.asked == []
