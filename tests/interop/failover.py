"""A writer and a reader that never stop while brokers come and go: what was acknowledged, and what was read.

Values are ``<partition>:<number>`` with the numbers 0, 1, 2 … in each partition, so what a reader sees says by itself
whether something is lost, doubled or out of order.
"""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from tests.support.in_thread import InThread
from tests.support.wait import wait_until

PACE_SECONDS = 0.005
PATIENCE_SECONDS = 60.0
QUICK = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 500, "retry.backoff.ms": 50, "log_level": 0}


def number_of(value: str) -> int:
    return int(value.partition(":")[2])


class Writer(InThread):
    """An idempotent producer with acks=all, a few hundred records a second spread evenly."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        super().__init__()
        self.acknowledged = [0] * partitions
        self.failures: list[KafkaError] = []
        self._topic = topic
        self._sent = [0] * partitions
        self._producer = Producer(
            {
                **QUICK,
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 2,
                "topic.metadata.refresh.interval.ms": 1_000,
            }
        )

    @property
    def total(self) -> int:
        return sum(self.acknowledged)

    def wait_goes_on(self, more: int = 60) -> None:
        """So many records more are acknowledged, in every partition some."""
        seen = list(self.acknowledged)
        wait_until(
            lambda: (
                self.total >= sum(seen) + more
                and all(now > then for now, then in zip(self.acknowledged, seen, strict=True))
            ),
            f"records are acknowledged in all partitions, more than {seen}",
            seconds=PATIENCE_SECONDS,
        )

    def finish(self) -> None:
        """Nothing more is sent; what was sent is acknowledged."""
        self.end_turns()
        assert self._producer.flush(PATIENCE_SECONDS) == 0, "some records never were acknowledged"
        assert self.acknowledged == self._sent

    def turn(self) -> None:
        for partition in range(len(self._sent)):
            self._producer.produce(
                self._topic,
                b"%d:%d" % (partition, self._sent[partition]),
                partition=partition,
                on_delivery=self._delivered,
            )
            self._sent[partition] += 1
        self._producer.poll(PACE_SECONDS)
        time.sleep(PACE_SECONDS)

    def close(self) -> None:
        self._producer.purge()

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failures.append(error)
        else:
            self.acknowledged[message.partition()] += 1


class Reader(InThread):
    """A consumer that reads every partition from its beginning."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        super().__init__()
        self.values: list[list[int]] = [[] for _ in range(partitions)]
        self._consumer = Consumer(
            {
                **QUICK,
                "bootstrap.servers": bootstrap,
                "group.id": "reader",
                "enable.auto.commit": False,
                "topic.metadata.refresh.interval.ms": 1_000,
            }
        )
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])

    def wait_read(self, counts: list[int]) -> None:
        wait_until(
            lambda: all(len(values) >= count for values, count in zip(self.values, counts, strict=True)),
            f"{counts} records are read",
            seconds=PATIENCE_SECONDS,
        )

    def turn(self) -> None:
        for message in self._consumer.consume(500, timeout=0.1):
            if message.error() is None:
                self.values[message.partition()].append(number_of((message.value() or b"").decode()))

    def close(self) -> None:
        self._consumer.close()
