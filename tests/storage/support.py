"""What storage tests share: batches made by the real encoder, and a log dir on a given file system."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

from broker.clock import ManualClock
from broker.config.topic import TopicConfig
from broker.protocol.records import Record, build_batch, iter_records
from broker.storage.filesystem import FileSystem
from broker.storage.log import Log, LogAppend
from broker.storage.log_dir import LogDir
from broker.types import Buffer, TopicId, TopicPartition

NOW_MS = ManualClock().wall_ms()
PATH = "/data"
PARTITION = TopicPartition("orders", 0)
TOPIC_ID: TopicId = bytes(range(16))
CONFIG = TopicConfig(index_interval_bytes=64)
SMALL_SEGMENTS = TopicConfig(segment_bytes=2_000, index_interval_bytes=64)


def batch(*values: bytes, timestamps: Iterable[int] | None = None, **options: object) -> bytearray:
    """One batch of the given values; timestamps default to now."""
    times = list(timestamps) if timestamps is not None else [NOW_MS] * len(values)
    records = [Record(timestamp=time, key=None, value=value) for value, time in zip(values, times, strict=True)]
    return build_batch(records, **options)  # type: ignore[arg-type]


def open_log_dir(
    filesystem: FileSystem,
    *,
    path: str = PATH,
    config: TopicConfig = CONFIG,
    known: Mapping[TopicPartition, TopicId] | None = None,
    clock: ManualClock | None = None,
    node_id: int = 1,
    cluster_id: str = "cluster",
    flushes: bool = False,
) -> LogDir:
    return LogDir.open(
        path,
        filesystem=filesystem,
        clock_wall_ms=(clock or ManualClock()).wall_ms,
        node_id=node_id,
        cluster_id=cluster_id,
        configs=lambda _: config,
        known={PARTITION: TOPIC_ID} if known is None else known,
        flushes=flushes,
    )


def open_log(filesystem: FileSystem, *, config: TopicConfig = CONFIG, clock: ManualClock | None = None) -> Log:
    """The one log of a log dir, created if it is not there yet."""
    return open_log_dir(filesystem, config=config, clock=clock).create_log(PARTITION, TOPIC_ID, config)


def append(log: Log, *values: bytes, leader_epoch: int = 0, now_ms: int = NOW_MS, **options: object) -> LogAppend:
    return log.append_as_leader(
        memoryview(batch(*values, **options)),
        leader_epoch=leader_epoch,
        now_ms=now_ms,
    )


def flush(log: Log) -> None:
    """One round; raises ``KafkaError`` if the disk failed it."""
    ticket = log.flush_ticket()
    if ticket is not None:
        with contextlib.suppress(OSError):
            ticket.run()
        log.flushed(ticket)


def read_all(log: Log, offset: int | None = None, max_bytes: int = 1 << 20) -> list[Record]:
    """Every record from ``offset`` (the log's start) on, by as many reads as it takes."""
    position = log.log_start_offset if offset is None else offset
    records: list[Record] = []
    while buffers := log.read(position, max_bytes, upto_offset=log.log_end_offset):
        found = [record for buffer in buffers for record in iter_records(buffer) if record.offset >= position]
        assert found, "a read that returns bytes returns what was asked for"
        records += found
        position = found[-1].offset + 1
    return records


def values(records: Iterable[Record]) -> list[bytes | None]:
    return [record.value for record in records]


def offsets(records: Iterable[Record]) -> list[int]:
    return [record.offset for record in records]


def size_of(buffers: Iterable[Buffer]) -> int:
    return sum(map(len, buffers))
