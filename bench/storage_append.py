"""What the log itself costs, without network or protocol: `python -m bench.storage_append`.

Appends to and reads from one log in a temporary directory: microseconds per append of a batch of 1 KB records, with
and without the write system call, and GB/s of reads from the page cache.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence

from broker.clock import SystemClock
from broker.config.topic import TopicConfig
from broker.protocol.records import Record, build_batch
from broker.storage.filesystem import RealFileSystem
from broker.storage.log import Log
from broker.storage.log_dir import LogDir
from broker.types import Buffer, TopicPartition, new_topic_id

RECORD_BYTES = 1_000
PARTITION = TopicPartition("bench", 0)


class WithoutWrites(RealFileSystem):
    """Pretends to write: what is left is our own work."""

    @staticmethod
    def writev(fd: int, buffers: Sequence[Buffer]) -> int:
        return sum(map(len, buffers))


def batch_of(size: int) -> memoryview:
    now = SystemClock.wall_ms()
    count = max(1, size // (RECORD_BYTES + 20))
    return memoryview(build_batch([Record(timestamp=now, value=os.urandom(RECORD_BYTES)) for _ in range(count)]))


def microseconds(work: Callable[[], object], times: int) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(times // 5):
            work()
        best = min(best, (time.perf_counter() - began) / (times // 5))
    return best * 1e6


def append_cost(log: Log, size: int, times: int) -> float:
    records, now = batch_of(size), SystemClock.wall_ms()
    return microseconds(lambda: log.append_as_leader(records, leader_epoch=0, now_ms=now), times)


def read_rate(log: Log, max_bytes: int) -> float:
    """GB/s of a sequential reader over the whole log."""
    began, total, offset = time.perf_counter(), 0, 0
    records_per_byte = log.log_end_offset / log.size_bytes
    while offset < log.log_end_offset:
        size = sum(map(len, log.read(offset, max_bytes, upto_offset=log.log_end_offset)))
        total += size
        offset += max(1, int(size * records_per_byte))
    return total / (time.perf_counter() - began) / 1e9


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ottla-storage-") as path:
        log_dir = LogDir.open(
            path,
            filesystem=RealFileSystem(),
            clock_wall_ms=SystemClock.wall_ms,
            node_id=1,
            cluster_id="bench",
            configs=lambda _: TopicConfig(),
            known={},
        )
        log = log_dir.create_log(PARTITION, new_topic_id(), TopicConfig())
        print(f"append  16 KB batch   {append_cost(log, 16_384, 10_000):8.1f} µs")
        print(f"append   1 MB batch   {append_cost(log, 1 << 20, 200):8.1f} µs")
        for max_bytes in (64 << 10, 1 << 20):
            read_rate(log, max_bytes)
            print(f"read {max_bytes >> 10:5} KB pieces  {read_rate(log, max_bytes):8.1f} GB/s")
        log._environment.filesystem = WithoutWrites()
        print(f"append  16 KB batch   {append_cost(log, 16_384, 10_000):8.1f} µs without the write")
        log_dir.close(clean=False)


if __name__ == "__main__":
    main()
