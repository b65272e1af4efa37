"""Following the end of a topic over a fake client: where it starts, what it passes over, what it reports."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from broker.client.results import FetchedRecords
from broker.errors import ErrorCode, KafkaError
from dashboard.messages.predicate import parse
from dashboard.messages.tail_reader import BEHIND_AFTER, BEHIND_MAX, PARTITIONS_SECONDS, TailReader
from tests.dashboard.fakes import topic
from tests.dashboard.messages.records import FakeLog, record


class FakeClient:
    """The parts of ``AsyncClient`` a tail uses, over a log in memory."""

    def __init__(self, partitions: int = 2) -> None:
        self.log = FakeLog([], ends=dict.fromkeys(range(partitions), 100))
        self.partitions = partitions
        self.errors: dict[int, KafkaError] = {}
        self.router = self.topics = self.reader = self
        self.asked: list[dict[int, int]] = []

    async def topic(self, name: str) -> Any:
        return topic(name, self.partitions)

    async def list_offsets(self, name: str, positions: dict[int, int]) -> Any:
        return self.log.list_offsets(name, positions)

    async def fetch_many(
        self, name: str, offsets: dict[int, int], max_bytes: int, wait_ms: int, **_: Any
    ) -> dict[int, FetchedRecords | KafkaError]:
        self.asked.append(dict(offsets))
        return {
            partition: self.errors.get(partition) or self.log.fetch(name, partition, offset, max_bytes, 500)
            for partition, offset in offsets.items()
        }

    def write(self, partition: int, count: int, value: bytes = b"value") -> None:
        first = self.log.ends[partition]
        added = [record(offset, partition=partition, value=value) for offset in range(first, first + count)]
        self.log.partitions.setdefault(partition, []).extend(added)
        self.log.ends[partition] = first + count


def follow(client: FakeClient, partition: int | None = None, text: str = "", clock: Any = None) -> TailReader:
    now = SimpleNamespace(seconds=0.0) if clock is None else clock
    return TailReader(client, "orders", partition, parse(text), clock=lambda: now.seconds)  # type: ignore[arg-type]


async def test_it_begins_at_the_end_of_every_partition() -> None:
    client = FakeClient()
    reader = follow(client)
    await reader.open()
    assert reader.partition_count == 2
    client.write(0, 2)
    batch = await reader.next()
    assert [(one.partition, one.offset) for one in batch.records] == [(0, 100), (0, 101)]
    assert client.asked == [{0: 100, 1: 100}]
    assert (await reader.next()).records == ()


async def test_one_partition_and_a_filter() -> None:
    client = FakeClient()
    reader = follow(client, 1, "gold")
    await reader.open()
    client.write(0, 1, b"gold")
    client.write(1, 1, b"dull")
    client.write(1, 1, b"gold")
    assert [(one.partition, one.offset) for one in (await reader.next()).records] == [(1, 101)]


async def test_a_topic_faster_than_it_reads_is_skipped_forward_and_counted() -> None:
    client = FakeClient(1)
    client.log.batch_records = 500
    reader = follow(client)
    await reader.open()
    client.write(0, BEHIND_MAX + 1_000)
    batch = await reader.next()
    assert len(batch.records) == 500
    assert batch.skipped == BEHIND_MAX + 1_000 - 500 - BEHIND_AFTER
    assert len((await reader.next()).records) == BEHIND_AFTER


async def test_records_deleted_before_they_were_read_are_counted() -> None:
    client = FakeClient(1)
    reader = follow(client)
    await reader.open()
    client.write(0, 50)
    client.errors[0] = KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    assert (await reader.next()).skipped == 50
    client.errors.clear()
    assert (await reader.next()).records == ()


async def test_one_partition_in_trouble_does_not_silence_the_others() -> None:
    client = FakeClient()
    reader = follow(client)
    await reader.open()
    client.write(1, 1)
    client.errors[0] = KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, "its disk failed")
    batch = await reader.next()
    assert batch.trouble == "Partition 0: its disk failed"
    assert len(batch.records) == 1


async def test_added_partitions_are_followed_from_their_beginning() -> None:
    client = FakeClient(1)
    clock = SimpleNamespace(seconds=0.0)
    reader = follow(client, clock=clock)
    await reader.open()
    client.partitions = 2
    client.log.ends[1] = 0
    client.write(1, 3)
    assert (await reader.next()).records == ()
    clock.seconds = PARTITIONS_SECONDS + 1
    assert [one.offset for one in (await reader.next()).records] == [0, 1, 2]


async def test_a_partition_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KafkaError, match="no partition 7"):
        await follow(FakeClient(), 7).open()
