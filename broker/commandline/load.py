"""``manage.py producer_perf``: a measured load.

Owns: the schedule and the measurement. With a target rate every record has the moment it is due, and its latency
counts from there: a broker that stalls is charged for the records that could not be sent meanwhile. Without one, a
batch counts from the moment it was made.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.client.asynchronous import AsyncClient
from broker.client.producer import new_record
from broker.commandline.latency import LatencyHistogram
from broker.commandline.output import column
from broker.commandline.record_text import ReadRecord

RANDOM_PAYLOADS = 64
"""Different values of a topic's worth of records: enough that compression finds nothing across them."""
RECORD_OVERHEAD_BYTES = 10
LATENCY_COLUMNS = tuple(
    column(title, name, right=True, show=lambda value: f"{value:,.2f} ms")
    for title, name in (
        ("Mean", "mean"),
        ("p50", "p50"),
        ("p95", "p95"),
        ("p99", "p99"),
        ("p99.9", "p99_9"),
        ("Max", "max"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    topic: str
    records: int
    payloads: Sequence[bytes]
    """Values, in turn."""
    records_per_second: float | None = None
    """``None``: as fast as it goes."""
    batch_bytes: int = 65_536
    linger_ms: int = 5
    """With a target rate: how long a batch waits for more records."""
    in_flight: int = 5
    acks: int = -1
    compression: str = "none"


@dataclass(slots=True, kw_only=True)
class Measured:
    records: int = 0
    bytes: int = 0
    seconds: float = 0.0
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)

    def row(self) -> dict[str, Any]:
        seconds = self.seconds or float("inf")
        return {
            "records": self.records,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "records_per_second": round(self.records / seconds, 1),
            "mb_per_second": round(self.bytes / seconds / 1e6, 3),
            "latency_ms": self.latency.row(),
        }


def random_payloads(size: int) -> list[bytes]:
    """Of ``size`` bytes each, incompressible."""
    return [os.urandom(size) for _ in range(RANDOM_PAYLOADS)]


def batch_records(load: Load) -> int:
    """Records in a batch: what fits, and with a target rate what is due within ``linger_ms``."""
    mean = sum(map(len, load.payloads)) / len(load.payloads) + RECORD_OVERHEAD_BYTES
    fits = max(1, int(load.batch_bytes / mean))
    if load.records_per_second is None:
        return fits
    return max(1, min(fits, int(load.records_per_second * load.linger_ms / 1000)))


async def produce_load(
    client: AsyncClient,
    load: Load,
    stopping: asyncio.Event,
    advanced: Callable[[int], None] = lambda count: None,
) -> Measured:
    """Until all records are acknowledged or ``stopping``. Raises the first ``KafkaError`` or ``ClientConnectionError``."""
    partitions = len((await client.router.topic(load.topic)).partitions)
    measured = Measured()
    size = batch_records(load)
    taken = 0
    start = time.monotonic()

    def take() -> tuple[int, int]:
        """The next batch: number of its first record, and how many."""
        nonlocal taken
        first, count = taken, min(size, load.records - taken)
        taken += count
        return first, count

    async def work() -> None:
        while not stopping.is_set():
            first, count = take()
            if not count:
                return
            await _until_due(start, first + count, load, stopping)
            if stopping.is_set():
                return
            values = [load.payloads[number % len(load.payloads)] for number in range(first, first + count)]
            made = time.monotonic()
            records = [new_record(None, value) for value in values]
            await client.producer.produce_batch(
                load.topic,
                (first // size) % partitions,
                records,
                compression=load.compression,
                acks=load.acks,
            )
            now = time.monotonic()
            if load.records_per_second is None:
                measured.latency.record(now - made, count)
            else:
                for number in range(first, first + count):
                    measured.latency.record(now - start - number / load.records_per_second)
            measured.records += count
            measured.bytes += sum(map(len, values))
            measured.seconds = now - start
            advanced(count)

    tasks = [asyncio.create_task(work()) for _ in range(load.in_flight)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return measured


async def _until_due(start: float, records: int, load: Load, stopping: asyncio.Event) -> None:
    """A batch leaves when its last record is due."""
    if load.records_per_second is None:
        return
    wait_seconds = start + records / load.records_per_second - time.monotonic()
    if wait_seconds > 0:
        try:
            await asyncio.wait_for(stopping.wait(), wait_seconds)
        except TimeoutError:
            return


class ReadingMeter:
    """Measures a reader by what it tells: throughput from the start to the last record, latency of polls with records,
    and with ``end_to_end`` the age of each record when it arrived."""

    def __init__(self, *, end_to_end: bool = False) -> None:
        self.polls = LatencyHistogram()
        self.ages: LatencyHistogram | None = LatencyHistogram() if end_to_end else None
        self.records = 0
        self.bytes = 0
        self._start = time.monotonic()
        self._first: float | None = None
        self._last = self._start

    def handle(self, record: ReadRecord) -> None:
        self.records += 1
        self.bytes += len(record.key or b"") + len(record.value or b"")
        if self.ages is not None and record.timestamp_ms >= 0:
            self.ages.record(time.time() - record.timestamp_ms / 1000)

    def polled(self, seconds: float, records: int) -> None:
        if not records:
            return
        self._last = time.monotonic()
        if self._first is None:
            self._first = self._last
        self.polls.record(seconds)

    def row(self) -> dict[str, Any]:
        seconds = self._last - self._start
        return {
            "records": self.records,
            "bytes": self.bytes,
            "seconds": round(seconds, 3),
            "first_record_seconds": None if self._first is None else round(self._first - self._start, 3),
            "records_per_second": round(self.records / seconds, 1) if seconds else 0.0,
            "mb_per_second": round(self.bytes / seconds / 1e6, 3) if seconds else 0.0,
            "polls": self.polls.count,
            "poll_ms": self.polls.row(),
            "record_age_ms": None if self.ages is None else self.ages.row(),
        }
