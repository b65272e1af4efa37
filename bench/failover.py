"""How long a partition is not writable when its leader goes: as an ordinary producer sees it.

Records go at a steady rate to all partitions in turn, acks=all. For each partition that the broker led, the figure
is the longest silence between two acknowledgements around the moment it went.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

STEADY_SECONDS = 5.0
AFTERWARDS_SECONDS_MAX = 60.0
CATCH_UP_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Seconds without an acknowledgement, over the partitions that had to move."""

    partitions: int
    median_seconds: float
    max_seconds: float


def silence(
    bootstrap: str, topic: str, *, partitions: int, rate: int, broker_id: int, go: Callable[[], None]
) -> Silence:
    """``go`` ends broker ``broker_id``. Raises ``RuntimeError`` if a partition stays silent."""
    led = set(leaders(bootstrap, topic, broker_id))
    if not led:
        raise RuntimeError(f"broker {broker_id} leads nothing of {topic}")
    acknowledged: list[list[float]] = [[] for _ in range(partitions)]

    def on_delivery(error: Any, message: Message) -> None:
        if error is None:
            partition = message.partition()
            assert partition is not None
            acknowledged[partition].append(time.monotonic())

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "linger.ms": 0,
            "enable.idempotence": True,
            "message.timeout.ms": 120_000,
            "queue.buffering.max.messages": 1_000_000,
            "on_delivery": on_delivery,
            "log_level": 0,
        }
    )
    began = time.monotonic()
    gone_at = 0.0
    index = 0
    while True:
        now = time.monotonic()
        if not gone_at and now - began >= STEADY_SECONDS and all(acknowledged):
            gone_at = now
            go()
        if gone_at and now - gone_at > STEADY_SECONDS and all(acknowledged[p][-1] > now - 1.0 for p in led):
            break
        if gone_at and now - gone_at > AFTERWARDS_SECONDS_MAX:
            raise RuntimeError(f"a partition of {topic} is still not writable after {AFTERWARDS_SECONDS_MAX:.0f} s")
        due = int((now - began) * rate)
        while index < due:
            producer.produce(topic, b"x" * 100, partition=index % partitions)
            index += 1
        producer.poll(0.001)
    producer.flush(60)
    silences = [_longest(acknowledged[partition], gone_at) for partition in sorted(led)]
    return Silence(partitions=len(silences), median_seconds=statistics.median(silences), max_seconds=max(silences))


def leaders(bootstrap: str, topic: str, broker_id: int) -> list[int]:
    """Partitions of ``topic`` that the broker leads now."""
    metadata = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}).list_topics(topic, timeout=10)
    return [index for index, partition in metadata.topics[topic].partitions.items() if partition.leader == broker_id]


def wait_in_sync(bootstrap: str, topic: str, replicas: int) -> float:
    """Seconds until every partition has all its replicas in sync."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    began = time.monotonic()
    while time.monotonic() - began < CATCH_UP_SECONDS_MAX:
        try:
            metadata = admin.list_topics(topic, timeout=5)
        except KafkaException:
            continue
        partitions = metadata.topics[topic].partitions
        if partitions and all(len(partition.isrs) == replicas for partition in partitions.values()):
            return time.monotonic() - began
        time.sleep(0.02)
    raise RuntimeError(f"{topic} is not in sync after {CATCH_UP_SECONDS_MAX:.0f} s")


def _longest(acknowledged: list[float], gone_at: float) -> float:
    """The longest pause that ends after the broker went."""
    return max(
        (after - before for before, after in itertools.pairwise(acknowledged) if after > gone_at),
        default=0.0,
    )
