"""The rows of `make bench`: each one a name, a unit and a function from a broker to a figure.

A row returns plain numbers; printing and storing is ``report.py``'s.
"""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import compaction, librdkafka, native, raw
from bench.broker import BrokerUnderTest

SIZES = (100, 1_000, 10_000)
BATCHES = {"16 KB": 16_000, "1 MB": 1_000_000}
MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    name: str
    figures: dict[str, float] = field(default_factory=dict)


def produce_and_fetch(durability: str, scale: float) -> Iterator[Row]:
    """Raw produce for every size, batch and acks, then fetch of what was written."""
    with BrokerUnderTest(OTTLA_ACK_DURABILITY=durability) as broker:
        for size in SIZES:
            for label, batch in BATCHES.items():
                for acks in (1, -1):
                    topic = f"p{size}-{batch}-{acks}"
                    raw.create_topic(broker.port, topic)
                    load = raw.prepare(topic, size, batch, acks)
                    requests = int((300 if batch > 100_000 else 120) * MB * scale) // load.payload_bytes
                    cpu = broker.cpu_seconds()
                    got = raw.produce(broker.port, topic, load, requests=requests)
                    yield Row(
                        name=f"produce {size} B, {label} batches, acks={'all' if acks < 0 else acks}, {durability}",
                        figures=_throughput(got) | _cpu_per_100_mb(broker, cpu, got),
                    )
                    if acks == 1:
                        cpu = broker.cpu_seconds()
                        got = raw.fetch(broker.port, topic, load, batches=requests)
                        yield Row(
                            name=f"fetch {size} B, {label} batches, {durability}",
                            figures=_throughput(got) | _cpu_per_100_mb(broker, cpu, got),
                        )
        yield Row(name=f"memory after load, {durability}", figures={"rss_mb": broker.rss_mb()})


def _cpu_per_100_mb(broker: BrokerUnderTest, cpu_before: float, got: raw.Throughput) -> dict[str, float]:
    return {"cpu_s_100mb": (broker.cpu_seconds() - cpu_before) / got.megabytes * 100}


def client_throughput(durability: str, scale: float) -> Iterator[Row]:
    with BrokerUnderTest(OTTLA_ACK_DURABILITY=durability) as broker:
        for size in SIZES:
            raw.create_topic(broker.port, f"c{size}")
            count = int((300 if size > 100 else 100) * MB * scale) // size
            got = native.produce(
                broker.bootstrap, f"c{size}", count=count, record_bytes=size, batch_size=1_000_000, acks="all"
            )
            yield Row(name=f"librdkafka produce {size} B, acks=all, {durability}", figures=_throughput(got))
            got = native.consume(broker.bootstrap, f"c{size}", count=got.records, record_bytes=size)
            yield Row(name=f"librdkafka consume {size} B, {durability}", figures=_throughput(got))


def latencies(scale: float) -> Iterator[Row]:
    for durability, rate, acks in (
        ("flush", 1_000, "1"),
        ("os", 1_000, "all"),
        ("os", 5_000, "all"),
        ("flush", 1_000, "all"),
        ("flush", 5_000, "all"),
    ):
        with BrokerUnderTest(OTTLA_ACK_DURABILITY=durability) as broker:
            raw.create_topic(broker.port, "latency")
            got = librdkafka.end_to_end(broker.bootstrap, "latency", rate=rate, seconds=8 * scale, acks=acks)
            yield Row(
                name=f"end to end {rate}/s, acks={acks}, {durability}",
                figures={"p50_ms": got.p50_ms, "p99_ms": got.p99_ms, "max_ms": got.max_ms},
            )


def fixed_costs(scale: float) -> Iterator[Row]:
    """Start-up, tiny requests, idle partitions and idle connections."""
    starts = []
    for _ in range(3):
        began = time.monotonic()
        with BrokerUnderTest() as broker:
            raw.create_topic(broker.port, "first")
            raw.produce(broker.port, "first", raw.prepare("first", 100, 100, -1), requests=1)
            starts.append(time.monotonic() - began)
    yield Row(name="start-up to first acknowledged write", figures={"seconds": statistics.median(starts)})
    with BrokerUnderTest() as broker:
        yield Row(name="idle broker", figures={"rss_mb": broker.rss_mb(), "cpu_percent": _idle_cpu(broker, scale)})
        got = raw.tiny_requests(broker.port, count=int(40_000 * scale))
        yield Row(name="tiny requests (ApiVersions)", figures={"requests_s": got.requests_per_second})
        connections = [socket.create_connection(("127.0.0.1", broker.port)) for _ in range(1_000)]
        yield Row(
            name="1,000 idle connections",
            figures={"rss_mb": broker.rss_mb(), "cpu_percent": _idle_cpu(broker, scale)},
        )
        for connection in connections:
            connection.close()
    with BrokerUnderTest() as broker:
        began = time.monotonic()
        raw.create_topic(broker.port, "idle", partitions=1_000)
        created = time.monotonic() - began
        yield Row(
            name="1,000 idle partitions",
            figures={"seconds": created, "rss_mb": broker.rss_mb(), "cpu_percent": _idle_cpu(broker, scale)},
        )


def compactions(scale: float) -> Iterator[Row]:
    """The worker's side of log compaction, and the broker's check of it."""
    for name, got in compaction.measured(scale):
        yield Row(
            name=name,
            figures={
                "mb_s": got.megabytes / got.seconds,
                "records_s": got.records / got.seconds,
                "kept_percent": 100 * got.kept_megabytes / got.megabytes,
            },
        )


SETTLE_SECONDS = 6
"""The first checkpoint, five seconds after the start, is work and not idleness."""


def _idle_cpu(broker: BrokerUnderTest, scale: float) -> float:
    time.sleep(SETTLE_SECONDS)
    cpu, began = broker.cpu_seconds(), time.monotonic()
    time.sleep(max(3, 10 * scale))
    return (broker.cpu_seconds() - cpu) / (time.monotonic() - began) * 100


def _throughput(got: raw.Throughput) -> dict[str, float]:
    figures = {"mb_s": got.mb_per_second, "records_s": got.records_per_second}
    if got.requests:
        figures["requests_s"] = got.requests_per_second
    return figures
