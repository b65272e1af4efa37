"""What compaction costs, without a broker around it: bytes of log a worker cleans in a second, on real files.

One log of 1 KB records in a temporary directory, closed segments of 64 MiB, every key written four times. The whole of
a pass is measured: verifying, the key map, cleaning, fsync, and the swap with the broker's own check of the result.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from broker.clock import SystemClock
from broker.compaction.cleaner import CleanedGroup, PartitionPass
from broker.compaction.plan import plan_partition
from broker.config.broker import BrokerConfig
from broker.config.topic import TopicConfig
from broker.handlers.compaction_inventory import cleaner_settings, describe
from broker.protocol.records import Record, build_batch
from broker.storage.cleaned_segment import check_cleaned
from broker.storage.filesystem import RealFileSystem
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.types import TopicPartition, new_topic_id

RECORD_BYTES = 1_000
BATCH_RECORDS = 16
COPIES = 4
PARTITION = TopicPartition("bench", 0)
CONFIG = TopicConfig(cleanup_policy=frozenset(("compact",)), segment_bytes=64 * 1024 * 1024, file_delete_delay_ms=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    seconds: float
    megabytes: float
    kept_megabytes: float
    records: int


def compact(total_bytes: int, compression: str) -> Cleaned:
    with tempfile.TemporaryDirectory(prefix="ottla-compaction-") as path:
        filesystem = RealFileSystem()
        log_dir = LogDir.open(
            path,
            filesystem=filesystem,
            clock_wall_ms=SystemClock.wall_ms,
            node_id=1,
            cluster_id="bench",
            configs=lambda _: CONFIG,
            known={},
        )
        topic_id = new_topic_id()
        log = log_dir.create_log(PARTITION, topic_id, CONFIG)
        _fill(log, total_bytes, compression)
        began = time.monotonic()
        result = _pass(filesystem, log, topic_id)
        seconds = time.monotonic() - began
        log_dir.close(clean=False)
    return Cleaned(
        seconds=seconds,
        megabytes=result.bytes_before / 1e6,
        kept_megabytes=result.bytes_after / 1e6,
        records=result.counts.records_read,
    )


def _fill(log: Log, total_bytes: int, compression: str) -> None:
    keys = total_bytes // RECORD_BYTES // COPIES
    choose = random.Random(1)
    # Half of a value is noise and half is words, as compressible as data often is.
    values = [os.urandom(RECORD_BYTES // 2) + b"the same words " * (RECORD_BYTES // 30) for _ in range(64)]
    for _ in range(total_bytes // RECORD_BYTES // BATCH_RECORDS):
        now = SystemClock.wall_ms()
        records = [
            Record(timestamp=now, key=b"key %d" % choose.randrange(keys), value=choose.choice(values))
            for _ in range(BATCH_RECORDS)
        ]
        log.append_as_leader(memoryview(build_batch(records, compression=compression)), leader_epoch=0, now_ms=now)
    log._roll(log.log_end_offset)
    ticket = log.flush_ticket()
    assert ticket is not None
    ticket.run()
    log.flushed(ticket)


def _pass(filesystem: RealFileSystem, log: Log, topic_id: bytes) -> Any:
    end = log.log_end_offset
    partition: Any = SimpleNamespace(
        log=log, topic_partition=PARTITION, topic_id=topic_id, high_watermark=end, last_stable_offset=end
    )
    planned = plan_partition(describe(partition), SystemClock.wall_ms(), on_demand=True)
    assert planned is not None
    log.first_dirty_offset = 0

    def swap(group: CleanedGroup) -> None:
        found = check_cleaned(filesystem, log.directory, group.base_offset, group.token, lambda: None)
        log.replace_segments(group.replaced, found, group.token, end)

    tokens = iter(range(1, 1_000_000))
    work = PartitionPass(
        filesystem,
        planned,
        {},
        cleaner_settings(BrokerConfig()),
        now_ms=SystemClock.wall_ms(),
        new_token=lambda: f"{next(tokens):x}",
        moved=lambda count: None,
    )
    return work.run(swap)


def measured(scale: float) -> Iterator[tuple[str, Cleaned]]:
    for compression in ("none", "lz4", "zstd"):
        yield f"compaction of 1 KB records, {compression}", compact(int(256e6 * scale), compression)
