"""The transaction log, crashed at every change of the disk: no decision that was answered is lost, none is found halfway.

The real runtime, shard, codec and log on a recording disk. Between two flushes several ids write into one batch, so an image
may hold some of what was under way, but always a beginning of it, and never less than somebody was told.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.coordination.driver import CoordinatorRuntime
from broker.errors import ErrorCode
from broker.storage.crash_images import TEAR_POINTS, image_after_power_cut, image_after_process_crash, random_image
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.transactions.batches import TransactionRecordCodec
from broker.transactions.events import AddPartitions, CompleteTransaction, EndTransaction, InitProducerId
from broker.transactions.metadata import VERSION_2, Transaction
from broker.transactions.records import TransactionRecord
from broker.transactions.shard import ShardConfig, TransactionShard
from broker.types import TRANSACTIONS_TOPIC, TopicPartition
from tests.groups.offsets_story import DiskLog
from tests.storage.support import open_log_dir
from tests.transactions.stage import CLICKS

PARTITION = TopicPartition(TRANSACTIONS_TOPIC, 0)
TOPIC_ID = bytes([9] * 16)
CONFIG = TopicConfig(segment_bytes=900, index_interval_bytes=64, cleanup_policy=frozenset(("compact",)))
SHARD = ShardConfig(complete_wait_ms=100, id_expiration_ms=60_000, record_bytes_max=500)
KEYS = ("copier", "payer")

Runtime = CoordinatorRuntime[TransactionShard, TransactionRecord]
Known = dict[str, Transaction]


def new_runtime() -> Runtime:
    return CoordinatorRuntime(
        name=TRANSACTIONS_TOPIC,
        clock=ManualClock(),
        new_shard=lambda index: TransactionShard(SHARD),
        codec=TransactionRecordCodec(),
    )


def read_log(log: DiskLog) -> list[TransactionRecord]:
    records: list[TransactionRecord] = []
    position = log.start_offset
    while position < log.end_offset:
        for offset, record in TransactionRecordCodec().decode(log.read(position, 1 << 20), position):
            assert record is not None
            records.append(record)
            position = offset + 1
    return records


def naively(records: Sequence[TransactionRecord]) -> Known:
    """What a log says: the last word about every id."""
    return {record.transactional_id: record.value for record in records if record.value is not None}


class Story:
    def __init__(self) -> None:
        self.disk = MemoryFileSystem()
        self.records: list[TransactionRecord] = []
        self.promises: list[tuple[int, int]] = [(0, 0)]
        """(journal position, records whose clients have been answered by then)."""

    async def tell(self) -> None:
        log_dir = open_log_dir(self.disk, config=CONFIG, known={PARTITION: TOPIC_ID}, clock=ManualClock())
        self.log = DiskLog(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG))
        self.runtime = new_runtime()
        self.runtime.lead(0, self.log, epoch=1)
        await self.settle(*(self.init(key, 100 + number) for number, key in enumerate(KEYS)))
        for epoch in range(6):
            await self.settle(*(self.add(key, 100 + number, epoch) for number, key in enumerate(KEYS)))
            await self.settle(*(self.end(key, 100 + number, epoch) for number, key in enumerate(KEYS)))
            for number, key in enumerate(KEYS):
                self.complete(key, 100 + number, epoch + 1)
            await self.settle()
            if epoch == 2:
                log_dir.checkpoint()
        # Written, and nobody was told: these may be lost, but never halfway.
        waiting = [self.add("copier", 100, 6)]
        await asyncio.sleep(0)
        self.records = read_log(self.log)
        await self.runtime.close()
        await asyncio.gather(*waiting, return_exceptions=True)

    def init(self, key: str, producer_id: int) -> asyncio.Future[Any]:
        event = InitProducerId(transactional_id=key, timeout_ms=60_000, fresh_producer_id=producer_id)
        return self.runtime.execute(0, lambda shard, ticket, now_ms: shard.init_producer_id(event, ticket, now_ms))

    def add(self, key: str, producer_id: int, epoch: int) -> asyncio.Future[Any]:
        event = AddPartitions(
            transactional_id=key,
            producer_id=producer_id,
            producer_epoch=epoch,
            partitions=frozenset(CLICKS),
            client_version=VERSION_2,
        )
        return self.runtime.execute(0, lambda shard, ticket, now_ms: shard.add_partitions(event, ticket, now_ms))

    def end(self, key: str, producer_id: int, epoch: int) -> asyncio.Future[Any]:
        event = EndTransaction(
            transactional_id=key,
            producer_id=producer_id,
            producer_epoch=epoch,
            commit=epoch % 2 == 0,
            client_version=VERSION_2,
        )
        return self.runtime.execute(0, lambda shard, ticket, now_ms: shard.end(event, ticket, now_ms))

    def complete(self, key: str, producer_id: int, epoch: int) -> None:
        event = CompleteTransaction(transactional_id=key, producer_id=producer_id, producer_epoch=epoch)
        self.runtime.propose(0, lambda shard, now_ms: shard.complete(event, now_ms))

    async def settle(self, *waiting: asyncio.Future[Any]) -> None:
        await asyncio.sleep(0)
        self.log.flush()
        for answer in await asyncio.gather(*waiting):
            codes = set(answer.errors.values()) if hasattr(answer, "errors") else {answer.error}
            assert codes == {ErrorCode.NONE}
        self.promises.append((len(self.disk.journal), self.log.end_offset))

    def promised_at(self, position: int) -> int:
        return self.promises[bisect_right([since for since, _ in self.promises], position) - 1][1]


async def check_image(story: Story, image: MemoryFileSystem, position: int) -> None:
    """A new process finds a beginning of the log, as long as was promised, and finishes every decision in it."""
    log_dir = open_log_dir(image, config=CONFIG, known={PARTITION: TOPIC_ID})
    assert not log_dir.offline, log_dir.offline
    log = DiskLog(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG))
    found = read_log(log)
    assert found == story.records[: len(found)]
    assert len(found) >= story.promised_at(position), "something that was answered is gone"
    runtime = new_runtime()
    runtime.lead(0, log, epoch=2)
    while runtime.is_loading(0):  # noqa: ASYNC110 - loading gives way once in 500 records
        await asyncio.sleep(0)
    ((_, shard),) = runtime.serving()
    assert shard.transactions == naively(found)
    decided = {key: one for key, one in shard.transactions.items() if one.state.is_prepared}
    assert shard.prepared == set(decided), "every decision gets its markers"
    for key, one in decided.items():
        event = CompleteTransaction(
            transactional_id=key, producer_id=one.producer_id, producer_epoch=one.producer_epoch
        )
        runtime.propose(0, lambda shard, now_ms, event=event: shard.complete(event, now_ms))  # type: ignore[misc]
    assert not any(one.state.is_prepared for one in shard.transactions.values())
    await runtime.close()


Images = Callable[[Story, int], Iterator[MemoryFileSystem]]


def killed(story: Story, position: int) -> Iterator[MemoryFileSystem]:
    yield image_after_process_crash(story.disk.journal[:position])


def torn(story: Story, position: int) -> Iterator[MemoryFileSystem]:
    yield image_after_process_crash(story.disk.journal[:position], TEAR_POINTS[position % len(TEAR_POINTS)])


def unplugged(story: Story, position: int) -> Iterator[MemoryFileSystem]:
    yield image_after_power_cut(story.disk.journal[:position])


def partly_written(story: Story, position: int) -> Iterator[MemoryFileSystem]:
    yield random_image(story.disk.journal[:position], random.Random(position))


@pytest.mark.parametrize("images", [killed, torn, unplugged, partly_written])
async def test_every_crash_finds_what_was_answered(images: Images) -> None:
    story = Story()
    await story.tell()
    assert len(story.records) == 39
    for position in range(len(story.disk.journal) + 1):
        for image in images(story, position):
            try:
                await check_image(story, image, position)
            except Exception as problem:
                last = story.disk.journal[position - 1] if position else None
                problem.add_note(f"{images.__name__}, after {position} changes, the last: {last}")
                raise
