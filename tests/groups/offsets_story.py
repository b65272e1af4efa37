"""One life of an offsets partition on a recording disk: plain commits, transactions, markers; and what was promised when.

``OffsetsStory`` runs the real runtime, shard and log; ``settle`` flushes as the broker does and notes what clients have been
told by then. ``check_image`` reads an image as a new broker process would.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.coordination.transaction import TransactionalProducer, TransactionMarker
from broker.coordination.transactional import TransactionalRuntime
from broker.errors import ErrorCode
from broker.groups.batches import GroupRecordCodec
from broker.groups.config import GroupConfig
from broker.groups.events import CommitOffsets, CommitOffsetsInTransaction, CommitReply, OffsetToCommit
from broker.groups.records import Record
from broker.groups.shard import GroupShard
from broker.protocol.markers import build_marker
from broker.storage.log import Log
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.types import OFFSETS_TOPIC, Buffer, Offset, TopicPartition
from tests.groups.naive_offsets import Answer, Entry, read
from tests.storage.support import flush, open_log_dir

PARTITION = TopicPartition(OFFSETS_TOPIC, 0)
TOPIC_ID = bytes([7] * 16)
CONFIG = TopicConfig(segment_bytes=700, index_interval_bytes=64, cleanup_policy=frozenset(("compact",)))
GROUPS = GroupConfig()


class DiskLog:
    """The log as the runtime sees it; what is flushed is committed."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.waiting: list[tuple[Offset, asyncio.Future[None]]] = []

    @property
    def start_offset(self) -> Offset:
        return self.log.log_start_offset

    @property
    def end_offset(self) -> Offset:
        return self.log.log_end_offset

    @property
    def batch_bytes_max(self) -> int:
        return 600

    @property
    def refusal(self) -> None:
        return None

    def append(self, batch: bytearray, now_ms: int) -> Offset:
        return self.log.append_as_leader(
            memoryview(batch), leader_epoch=0, now_ms=now_ms, origin="coordinator"
        ).last_offset

    def append_marker(self, marker: TransactionMarker, now_ms: int) -> Offset:
        built = build_marker(
            producer_id=marker.producer_id,
            producer_epoch=marker.producer_epoch,
            coordinator_epoch=marker.coordinator_epoch,
            commit=marker.commit,
            timestamp_ms=now_ms,
        )
        return self.append(built, now_ms)

    def wait_committed(self, offset: Offset) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((offset, future))
        self.release()
        return future

    def read(self, offset: Offset, max_bytes: int) -> Sequence[Buffer]:
        return self.log.read(offset, max_bytes, upto_offset=self.log.log_end_offset)

    def flush(self) -> None:
        flush(self.log)
        self.release()

    def release(self) -> None:
        for offset, future in self.waiting:
            if offset < self.log.flushed_offset and not future.done():
                future.set_result(None)
        self.waiting = [(offset, future) for offset, future in self.waiting if not future.done()]


class OffsetsStory:
    def __init__(self) -> None:
        self.disk = MemoryFileSystem()
        self.clock = ManualClock()
        self.entries: list[tuple[int, Entry]] = []
        """The whole log at the end of the story."""
        self.promises: list[tuple[int, int]] = [(0, 0)]
        """(journal position, entries whose clients have been answered by then)."""

    async def tell(self) -> None:
        log_dir = open_log_dir(self.disk, config=CONFIG, known={PARTITION: TOPIC_ID}, clock=self.clock)
        self.log = DiskLog(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG))
        self.runtime = new_runtime(self.clock)
        self.runtime.lead(0, self.log, epoch=1)
        await self.settle([self.plainly(1)])
        await self.settle([self.in_transaction(11, offset=2)])
        await self.settle([self.plainly(3)])
        await self.settle([self.end(11, commit=True)])
        await self.settle([self.in_transaction(11, offset=4), self.in_transaction(12, offset=5, group="other")])
        await self.settle([self.end(11, commit=False), self.plainly(6), self.end(12, commit=True)])
        log_dir.checkpoint()
        for number in range(7, 13):
            await self.settle([self.in_transaction(13, offset=number, partition=number % 3)])
        await self.settle([self.plainly(13, partition=1), self.end(13, commit=True)])
        await self.settle([self.in_transaction(14, offset=20, partition=2)])
        # Written, and nobody was told: these may be lost, but never halfway.
        waiting = [self.end(14, commit=True), self.in_transaction(11, offset=30), self.plainly(31)]
        await asyncio.sleep(0)
        self.entries = read_log(self.log)
        await self.runtime.close()
        await asyncio.gather(*waiting, return_exceptions=True)

    def plainly(self, offset: int, partition: int = 0) -> asyncio.Future[CommitReply]:
        event = commit_of("g", offset, partition)
        return self.runtime.execute(0, lambda shard, ticket, now_ms: shard.commit_offsets(event, ticket, now_ms))

    def in_transaction(
        self, producer_id: int, *, offset: int, partition: int = 0, group: str = "g"
    ) -> asyncio.Future[CommitReply]:
        producer = TransactionalProducer(producer_id=producer_id, producer_epoch=0)
        event = CommitOffsetsInTransaction(producer=producer, commit=commit_of(group, offset, partition))
        return self.runtime.execute_in_transaction(
            0, producer, lambda shard, ticket, now_ms: shard.commit_offsets_in_transaction(event, ticket, now_ms)
        )

    def end(self, producer_id: int, *, commit: bool) -> asyncio.Future[None]:
        marker = TransactionMarker(producer_id=producer_id, producer_epoch=0, coordinator_epoch=0, commit=commit)
        return self.runtime.complete_transaction(0, marker)

    async def settle(self, waiting: Sequence[asyncio.Future[Any]]) -> None:
        await asyncio.sleep(0)
        self.log.flush()
        for answer in await asyncio.gather(*waiting):
            assert answer is None or answer.errors == (ErrorCode.NONE,)
        self.promises.append((len(self.disk.journal), self.log.end_offset))

    def promised_at(self, position: int) -> int:
        return self.promises[bisect_right([since for since, _ in self.promises], position) - 1][1]


def new_runtime(clock: ManualClock) -> TransactionalRuntime[GroupShard, Record]:
    return TransactionalRuntime(
        name=OFFSETS_TOPIC, clock=clock, new_shard=lambda index: GroupShard(GROUPS), codec=GroupRecordCodec()
    )


def commit_of(group: str, offset: int, partition: int) -> CommitOffsets:
    item = OffsetToCommit(topic="t", partition=partition, offset=offset, metadata="m" * 40)
    return CommitOffsets(group_id=group, offsets=(item,))


def read_log(log: DiskLog) -> list[tuple[int, Entry]]:
    entries: list[tuple[int, Any]] = []
    position = log.start_offset
    while position < log.end_offset:
        for offset, entry in GroupRecordCodec().decode(log.read(position, 1 << 20), position):
            entries.append((offset, entry))
            position = offset + 1
    return entries


async def check_image(story: OffsetsStory, image: MemoryFileSystem, position: int) -> None:
    """What the new process finds is a beginning of the log, as long as was promised; and every transaction can end."""
    log_dir = open_log_dir(image, config=CONFIG, known={PARTITION: TOPIC_ID})
    assert not log_dir.offline, log_dir.offline
    log = DiskLog(log_dir.create_log(PARTITION, TOPIC_ID, CONFIG))
    found = read_log(log)
    assert found == story.entries[: len(found)]
    assert len(found) >= story.promised_at(position), "a commit or marker that was answered is gone"
    runtime = new_runtime(ManualClock())
    runtime.lead(0, log, epoch=2)
    while runtime.is_loading(0):  # noqa: ASYNC110 - loading gives way once in 500 records
        await asyncio.sleep(0)
    shard = runtime.shard(0)
    assert said_by(shard) == read(found)
    for producer_id in (11, 12, 13, 14):
        waiting = runtime.complete_transaction(
            0, TransactionMarker(producer_id=producer_id, producer_epoch=1, coordinator_epoch=1, commit=False)
        )
        log.flush()
        await waiting
    assert said_by(shard).unstable == set(), "no partition is stuck"
    assert log.log.producer_state.statistics().open_transactions == 0
    await runtime.close()


def said_by(shard: GroupShard) -> Answer:
    in_force, unstable = {}, set()
    for group in ("g", "other"):
        for topic, partitions in shard.offsets.of_group(group).items():
            in_force.update({(group, topic, index): value for index, value in partitions.items()})
        for index in range(3):
            if shard.pending.is_unstable(group, "t", index):
                unstable.add((group, "t", index))
    return Answer(in_force=in_force, unstable=unstable)
