"""The rows of `make bench-kafka`: what is measured on either broker, and what we aim at.

A row is one function from a running broker to one or more figures. It creates the topics it needs and leaves them: the
series decides when to start afresh. Aims are ratios Ottla / Kafka; a figure where less is better has an aim below 1.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from bench import librdkafka, native, raw
from bench.apache import clients
from broker.protocol import messages
from broker.protocol.api import ApiKey

MB = 1_000_000
SIZES = {100: "100 B", 1_000: "1 KB", 10_000: "10 KB"}
GROUP_PARTITIONS = 8
TRANSACTION_RECORDS = 100
SETTLE_SECONDS = 6.0
IDLE_SECONDS = 10.0
_LIST_OFFSETS_VERSION = 5


class BrokerUnderTest(Protocol):
    name: str
    started_seconds: float

    @property
    def port(self) -> int: ...

    @property
    def bootstrap(self) -> str: ...

    def cpu_seconds(self) -> float: ...

    def rss_mb(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    unit: str
    aim: float
    """Ottla / Kafka: at least this where more is better, at most this where less is."""
    less_is_better: bool = False

    def met(self, ratio: float) -> bool:
        return ratio <= self.aim if self.less_is_better else ratio >= self.aim


Under = TypeVar("Under", bound=BrokerUnderTest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Generic[Under]):
    name: str
    figures: tuple[Figure, ...]
    measure: Callable[[Under, float], tuple[float, ...]]
    """(broker or cluster, scale of the amount of data and the durations) → a value for each figure."""


MB_S_NATIVE = Figure(unit="MB/s", aim=2.0)
MB_S = Figure(unit="MB/s", aim=1.0)
PER_SECOND = Figure(unit="/s", aim=1.0)
P50 = Figure(unit="p50 ms", aim=0.7, less_is_better=True)
P99 = Figure(unit="p99 ms", aim=0.3, less_is_better=True)
RSS = Figure(unit="RSS MB", aim=0.08, less_is_better=True)
CPU = Figure(unit="CPU %", aim=1.0, less_is_better=True)
START = Figure(unit="s", aim=0.5, less_is_better=True)
SECONDS = Figure(unit="s", aim=1.0, less_is_better=True)


def throughput_rows() -> Iterator[Row[BrokerUnderTest]]:
    for size, label in SIZES.items():
        for acks in ("1", "all"):
            for batch, batch_label in ((1_000_000, "1 MB batches"), (16_384, "16 KB batches")):
                yield Row(
                    name=f"librdkafka produce {label}, {batch_label}, acks={acks}",
                    figures=(MB_S_NATIVE,),
                    measure=_native_produce(size, batch, acks),
                )
            yield Row(name=f"Java produce {label}, acks={acks}", figures=(MB_S,), measure=_java_produce(size, acks))
        yield Row(name=f"raw produce {label}, 16 KB batches, acks=1", figures=(MB_S,), measure=_raw_produce(size))
        yield Row(name=f"librdkafka consume {label}", figures=(MB_S,), measure=_native_consume(size))
        yield Row(name=f"Java consume {label}", figures=(MB_S,), measure=_java_consume(size))
    yield Row(name=f"group fetch of {GROUP_PARTITIONS} partitions, 1 KB", figures=(MB_S,), measure=_group_fetch)
    yield Row(name=f"transactions of {TRANSACTION_RECORDS} records, 1 KB", figures=(PER_SECOND,), measure=_transactions)


def latency_rows() -> Iterator[Row[BrokerUnderTest]]:
    for rate, acks in ((1_000, "1"), (1_000, "all"), (5_000, "all")):
        yield Row(name=f"end to end {rate}/s, acks={acks}", figures=(P50, P99), measure=_latency(rate, acks))


def flush_rows() -> Iterator[Row[BrokerUnderTest]]:
    """Against Kafka's flush.messages=1: an acknowledged record is on the disk."""
    for size, label in SIZES.items():
        yield Row(
            name=f"flushed: librdkafka produce {label}, acks=all",
            figures=(MB_S_NATIVE,),
            measure=_native_produce(size, 1_000_000, "all"),
        )
    for rate in (1_000, 5_000):
        yield Row(name=f"flushed: end to end {rate}/s, acks=all", figures=(P50, P99), measure=_latency(rate, "all"))


def fixed_rows() -> Iterator[Row[BrokerUnderTest]]:
    """Each on a broker of its own, started for it."""
    yield Row(name="start-up to the first acknowledged write", figures=(START,), measure=_start_up)
    yield Row(name="idle", figures=(RSS, CPU), measure=_idle)
    yield Row(name="after load", figures=(RSS,), measure=_after_load)
    for count in (1_000, 10_000):
        yield Row(name=f"{count:,} idle partitions", figures=(SECONDS, RSS, CPU), measure=_idle_partitions(count))
    yield Row(name="2,000 idle connections", figures=(RSS, CPU), measure=_idle_connections(2_000))


# Measuring --------------------------------------------------------------------------------------------

Measure = Callable[[BrokerUnderTest, float], tuple[float, ...]]


def _topic(broker: BrokerUnderTest, partitions: int = 1) -> str:
    name = f"bench-{secrets.token_hex(4)}"
    raw.create_topic(broker.port, name, partitions=partitions)
    return name


def _wait_all_led(broker: BrokerUnderTest, topic: str, partitions: int) -> None:
    """Created is what can be used: until every partition tells its end. Kafka answers CreateTopics before that."""
    message = messages.ListOffsetsRequest
    wanted = [message.ListOffsetsPartition(partition_index=index, timestamp=-1) for index in range(partitions)]
    request = message(replica_id=-1, topics=[message.ListOffsetsTopic(name=topic, partitions=wanted)])
    connection = raw.RawConnection(broker.port)
    try:
        while True:
            answer = connection.call(ApiKey.LIST_OFFSETS, _LIST_OFFSETS_VERSION, request)
            if not any(partition.error_code for partition in answer.topics[0].partitions):
                return
            time.sleep(0.02)
    finally:
        connection.close()


def _bytes(size: int) -> int:
    """Enough for a second or two of either broker."""
    return (150 if size == 100 else 400) * MB


def _native_produce(size: int, batch: int, acks: str) -> Measure:
    def measure(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
        count = int(_bytes(size) * scale) // size
        if batch < 100_000 and size < 10_000:
            count //= 2
        got = native.produce(
            broker.bootstrap, _topic(broker), count=count, record_bytes=size, acks=acks, batch_size=batch
        )
        return (got.mb_per_second,)

    return measure


def _java_produce(size: int, acks: str) -> Measure:
    def measure(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
        count = int(_bytes(size) * scale) // size
        return (
            clients.produce(broker.bootstrap, _topic(broker), count=count, record_bytes=size, acks=acks).mb_per_second,
        )

    return measure


def _raw_produce(size: int) -> Measure:
    def measure(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
        topic = _topic(broker)
        load = raw.prepare(topic, size, 16_000, 1)
        requests = max(1, int(_bytes(size) * scale / 2) // load.payload_bytes)
        return (raw.produce(broker.port, topic, load, requests=requests).mb_per_second,)

    return measure


def _filled(broker: BrokerUnderTest, size: int, scale: float, partitions: int = 1) -> tuple[str, int]:
    topic, count = _topic(broker, partitions), int(_bytes(size) * scale) // size
    native.produce(
        broker.bootstrap, topic, count=count, record_bytes=size, partitions=partitions, acks="1", batch_size=1_000_000
    )
    return topic, count


def _native_consume(size: int) -> Measure:
    def measure(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
        topic, count = _filled(broker, size, scale)
        return (native.consume(broker.bootstrap, topic, count=count, record_bytes=size).mb_per_second,)

    return measure


def _java_consume(size: int) -> Measure:
    def measure(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
        topic, count = _filled(broker, size, scale)
        return (clients.consume(broker.bootstrap, topic, count=count, record_bytes=size).mb_per_second,)

    return measure


def _group_fetch(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
    topic, count = _filled(broker, 1_000, scale, GROUP_PARTITIONS)
    got = native.consume_as_group(
        broker.bootstrap, topic, count=count, record_bytes=1_000, partitions=GROUP_PARTITIONS, group=f"group-{topic}"
    )
    return (got.mb_per_second,)


def _transactions(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
    got = librdkafka.transactions(
        broker.bootstrap,
        _topic(broker),
        count=max(20, int(500 * scale)),
        records_each=TRANSACTION_RECORDS,
        record_bytes=1_000,
    )
    return (got.requests_per_second,)


def _latency(rate: int, acks: str) -> Measure:
    def measure(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
        got = librdkafka.end_to_end(broker.bootstrap, _topic(broker), rate=rate, seconds=8 * scale, acks=acks)
        return got.p50_ms, got.p99_ms

    return measure


def _start_up(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
    began = time.monotonic()
    topic = _topic(broker)
    raw.produce(broker.port, topic, raw.prepare(topic, 100, 100, -1), requests=1)
    return (broker.started_seconds + time.monotonic() - began,)


def _idle(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
    return broker.rss_mb(), idle_cpu(broker)


def _after_load(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
    for size in SIZES:
        topic, count = _filled(broker, size, scale)
        native.consume(broker.bootstrap, topic, count=count, record_bytes=size)
    return (broker.rss_mb(),)


def _idle_partitions(count: int) -> Measure:
    def measure(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
        began = time.monotonic()
        topics = [_topic(broker, partitions=1_000) for _ in range(count // 1_000)]
        for topic in topics:
            _wait_all_led(broker, topic, 1_000)
        created = time.monotonic() - began
        return created, broker.rss_mb(), idle_cpu(broker)

    return measure


def _idle_connections(count: int) -> Measure:
    def measure(broker: BrokerUnderTest, scale: float) -> tuple[float, ...]:
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(socket.create_connection(("127.0.0.1", broker.port)))
            return broker.rss_mb(), idle_cpu(broker)

    return measure


def idle_cpu(broker: BrokerUnderTest) -> float:
    """Percent of one core, after what follows a start or a creation is done."""
    time.sleep(SETTLE_SECONDS)
    cpu, began = broker.cpu_seconds(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    return (broker.cpu_seconds() - cpu) / (time.monotonic() - began) * 100
