"""The rows of `make bench-kafka` about three brokers each: three replicas, acks=all, a minimum of two in sync."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from bench import failover, librdkafka, native, raw
from bench.apache.rows import CPU, SIZES, BrokerUnderTest, Figure, Row, idle_cpu

MB = 1_000_000
PARTITIONS = 6
REPLICAS = 3
LATENCY_RATE = 500
FAILOVER_PARTITIONS = 300
FAILOVER_RATE = 3_000
IDLE_PARTITIONS = 1_000

P50 = Figure(unit="p50 ms", aim=0.07, less_is_better=True)
P99 = Figure(unit="p99 ms", aim=0.01, less_is_better=True)
RSS = Figure(unit="RSS MB", aim=0.13, less_is_better=True)
SILENT_MEDIAN = Figure(unit="median s", aim=0.5, less_is_better=True)
SILENT_MAX = Figure(unit="max s", aim=0.5, less_is_better=True)
START = Figure(unit="s", aim=0.5, less_is_better=True)
CATCH_UP = Figure(unit="MB/s", aim=1.0)


class ClusterUnderTest(BrokerUnderTest, Protocol):
    def kill(self, broker_id: int) -> None: ...

    def stop(self, broker_id: int) -> None: ...

    def start_again(self, broker_id: int) -> None: ...


Measure = Callable[[ClusterUnderTest, float], tuple[float, ...]]


def warm_rows(durability: str, aim: float) -> Iterator[Row[ClusterUnderTest]]:
    """``durability``: how the rows are called; ``aim``: of the throughput."""
    mb_s = Figure(unit="MB/s", aim=aim)
    for size, label in SIZES.items():
        yield Row(
            name=f"three brokers, {durability}: librdkafka produce {label}", figures=(mb_s,), measure=_produce(size)
        )
    yield Row(name=f"three brokers, {durability}: end to end {LATENCY_RATE}/s", figures=(P50, P99), measure=_latency)


def fixed_rows() -> Iterator[Row[ClusterUnderTest]]:
    """Each on a cluster of its own, started for it."""
    yield Row(name="three brokers: cold start to the first topic", figures=(START,), measure=_start)
    yield Row(name="three brokers: idle", figures=(RSS, CPU), measure=_idle)
    yield Row(
        name=f"three brokers: {IDLE_PARTITIONS:,} partitions each, idle", figures=(RSS, CPU), measure=_idle_partitions
    )
    yield Row(
        name="three brokers: not writable after kill -9 of one", figures=(SILENT_MEDIAN, SILENT_MAX), measure=_killed
    )
    yield Row(name="three brokers: not writable at a clean stop", figures=(SILENT_MEDIAN, SILENT_MAX), measure=_stopped)
    yield Row(name="three brokers: a follower catches up", figures=(CATCH_UP,), measure=_catch_up)


def _topic(cluster: ClusterUnderTest, partitions: int = PARTITIONS) -> str:
    """Usable and in sync when this returns."""
    name = f"bench-{secrets.token_hex(4)}"
    raw.create_topic(cluster.port, name, partitions=partitions, replicas=REPLICAS)
    failover.wait_in_sync(cluster.bootstrap, name, REPLICAS)
    return name


def _bytes(size: int) -> int:
    return (60 if size == 100 else 200) * MB


def _produce(size: int) -> Measure:
    def measure(cluster: ClusterUnderTest, scale: float) -> tuple[float, ...]:
        got = native.produce(
            cluster.bootstrap,
            _topic(cluster),
            count=int(_bytes(size) * scale) // size,
            record_bytes=size,
            partitions=PARTITIONS,
            acks="all",
            batch_size=1_000_000,
        )
        return (got.mb_per_second,)

    return measure


def _latency(cluster: ClusterUnderTest, scale: float) -> tuple[float, ...]:
    got = librdkafka.end_to_end(
        cluster.bootstrap, _topic(cluster), rate=LATENCY_RATE, seconds=10 * scale, acks="all", partitions=PARTITIONS
    )
    return got.p50_ms, got.p99_ms


def _start(cluster: ClusterUnderTest, scale: float) -> tuple[float, ...]:
    began = time.monotonic()
    _topic(cluster)
    return (cluster.started_seconds + time.monotonic() - began,)


def _idle(cluster: ClusterUnderTest, scale: float) -> tuple[float, ...]:
    return cluster.rss_mb(), idle_cpu(cluster)


def _idle_partitions(cluster: ClusterUnderTest, scale: float) -> tuple[float, ...]:
    _topic(cluster, IDLE_PARTITIONS)
    return cluster.rss_mb(), idle_cpu(cluster)


def _killed(cluster: ClusterUnderTest, scale: float) -> tuple[float, ...]:
    return _silence(cluster, lambda: cluster.kill(REPLICAS))


def _stopped(cluster: ClusterUnderTest, scale: float) -> tuple[float, ...]:
    return _silence(cluster, lambda: cluster.stop(REPLICAS))


def _silence(cluster: ClusterUnderTest, go: Callable[[], None]) -> tuple[float, ...]:
    got = failover.silence(
        cluster.bootstrap,
        _topic(cluster, FAILOVER_PARTITIONS),
        partitions=FAILOVER_PARTITIONS,
        rate=FAILOVER_RATE,
        broker_id=REPLICAS,
        go=go,
    )
    return got.median_seconds, got.max_seconds


def _catch_up(cluster: ClusterUnderTest, scale: float) -> tuple[float, ...]:
    """A broker is away while data is written; from its return, when it accepts connections again, until everything has all
    its replicas in sync."""
    topic = _topic(cluster)
    cluster.kill(REPLICAS)
    # Until the others have noticed, nobody leads what it led, and a producer would not even find out where to begin.
    failover.wait_in_sync(cluster.bootstrap, topic, REPLICAS - 1)
    size = 10_000
    count = int(400 * MB * scale) // size
    native.produce(
        cluster.bootstrap,
        topic,
        count=count,
        record_bytes=size,
        partitions=PARTITIONS,
        acks="all",
        batch_size=1_000_000,
    )
    cluster.start_again(REPLICAS)
    return (count * size / MB / failover.wait_in_sync(cluster.bootstrap, topic, REPLICAS),)
