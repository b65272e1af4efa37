"""Recorders around confluent-kafka (librdkafka): idempotent writer, keyed writer, assigned reader, member of a group."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from tests.faults.checker.history import READ_UNCOMMITTED, TOMBSTONE, Seen, Sent
from tests.faults.checker.outcomes import outcome_of_write
from tests.faults.values import decode_value, encode_value
from tests.faults.workloads.worker import MESSAGE_TIMEOUT_MS, Client, Options

IN_FLIGHT_MAX = 200
QUICK = {
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    # librdkafka 2.16 gives up its brokers when all are down at once, and may wait for the handles of the old ones for ever.
    "metadata.recovery.strategy": "none",
    "log_level": 0,
}


class Writer(Client):
    """Idempotent, acks=all, values spread over all partitions."""

    def __init__(self, options: Options, number: int, name: str = "confluent-writer") -> None:
        super().__init__(options, f"{name}-{options.first_writer + number}", number)
        self.random = Random(f"{options.seed}-{self.name}")
        self._in_flight = 0
        self._unknown = False

    def work(self) -> None:
        while not self.stopping.is_set():
            self._life()

    def _life(self) -> None:
        """With one producer, until the fate of a record is unknown: then its successor has another name."""
        self._unknown, self._in_flight = False, 0
        producer = Producer(
            {
                "bootstrap.servers": self.options.bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "message.timeout.ms": MESSAGE_TIMEOUT_MS,
                "request.timeout.ms": 10_000,
                "compression.type": self.options.compression,
                # Without somebody to tell, a fatal error is raised in the middle of other callbacks.
                "error_cb": self._told,
                **QUICK,
            }
        )
        while not self.stopping.is_set() and not self._unknown:
            pause = 0.05 if self._in_flight >= IN_FLIGHT_MAX else self.wait_turn()
            if pause:
                self._serve(producer.poll, min(pause, 0.1))
            else:
                self._send(producer)
        if self._unknown:
            producer.purge()
        self._serve(producer.flush, MESSAGE_TIMEOUT_MS / 1_000 + 5)
        if self._unknown:
            self.recorder.retire()

    def _told(self, error: KafkaError) -> None:
        self._unknown = self._unknown or error.fatal()

    def _serve(self, call: Callable[[float], object], seconds: float) -> None:
        """Have reports delivered; a fatal error ends this producer's life."""
        try:
            call(seconds)
        except KafkaException:
            self._unknown = True
        except SystemError as failure:
            # So says the interpreter when it was raised between two callbacks.
            if not isinstance(failure.__cause__, KafkaException):
                raise
            self._unknown = True

    def choose(self) -> tuple[int, int, str]:
        """Partition, value and record key of the next record."""
        return self.random.randrange(self.options.partitions), self.new_value(), ""

    def _send(self, producer: Producer) -> None:
        """A producer that has had a fatal error takes nothing more."""
        partition, value, record = self.choose()
        sent = Sent(f"{self.options.topic}-{partition}", value, record=record)
        index = self.recorder.invoke("send", sends=[sent])
        self._in_flight += 1
        try:
            producer.produce(
                self.options.topic,
                None if value == TOMBSTONE else encode_value(value, size=self.options.size),
                record or None,
                partition=partition,
                on_delivery=partial(self._delivered, index, sent),
            )
        except KafkaException as failure:
            self._in_flight -= 1
            self._unknown = True
            self.recorder.complete(index, "send", "info", error=failure.args[0].name())

    def _delivered(self, index: int, sent: Sent, error: KafkaError | None, message: Message) -> None:
        self._in_flight -= 1
        if error is None:
            self.done += 1
            known = Sent(sent.key, sent.value, message.offset(), sent.record)
            self.recorder.complete(index, "send", "ok", sends=[known])
            return
        outcome = outcome_of_write(error.name())
        self._unknown = self._unknown or outcome == "info"
        self.recorder.complete(index, "send", outcome, error=error.name())


class KeyedWriter(Writer):
    """Few keys, overwritten again and again, sometimes deleted."""

    def __init__(self, options: Options, number: int) -> None:
        super().__init__(options, number, "keyed-writer")

    def choose(self) -> tuple[int, int, str]:
        key = self.random.randrange(self.options.keys)
        value = TOMBSTONE if self.random.random() < 0.1 else self.new_value()
        return key % self.options.partitions, value, f"k{key}"


class Reader(Client):
    """Assigned to every partition, from the beginning on."""

    def __init__(self, options: Options, number: int, isolation: str = READ_UNCOMMITTED) -> None:
        super().__init__(options, f"confluent-reader-{options.topic}-{isolation}-{number}", number)
        self._isolation = isolation

    def work(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.options.bootstrap,
                "group.id": "reads-alone",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": self._isolation,
                "fetch.wait.max.ms": 100,
                **QUICK,
            }
        )
        keys = {f"{self.options.topic}-{index}": 0 for index in range(self.options.partitions)}
        self.recorder.note("assign", invoked_ns=time.monotonic_ns(), offsets=keys)
        consumer.assign([TopicPartition(self.options.topic, index, 0) for index in range(self.options.partitions)])
        try:
            while not self.stopping.is_set():
                invoked_ns = time.monotonic_ns()
                polls = seen_in(consumer.consume(500, timeout=0.1))
                if polls:
                    self.recorder.note("poll", invoked_ns=invoked_ns, isolation=self._isolation, polls=polls)
                    self.done += sum(map(len, polls.values()))
        finally:
            consumer.close()


class Member(Client):
    """Of a group; commits what it has read, and leaves and joins again every few seconds."""

    def __init__(self, options: Options, number: int) -> None:
        super().__init__(options, f"confluent-member-{options.group}-{number}", number)
        self.random = Random(f"{options.seed}-{self.name}")

    def work(self) -> None:
        while not self.stopping.is_set():
            self._membership(time.monotonic() + 8 + 20 * self.random.random())
            self.recorder.retire()

    def _membership(self, until: float) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.options.bootstrap,
                "group.id": self.options.group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": self.options.session_ms,
                "heartbeat.interval.ms": 500,
                "partition.assignment.strategy": "range",
                "isolation.level": READ_UNCOMMITTED,
                **QUICK,
            }
        )
        consumer.subscribe([self.options.topic], on_assign=self._assigned)
        try:
            while not self.stopping.is_set() and time.monotonic() < until:
                invoked_ns = time.monotonic_ns()
                polls = seen_in(consumer.consume(200, timeout=0.1))
                if polls:
                    self.recorder.note(
                        "poll", invoked_ns=invoked_ns, isolation=READ_UNCOMMITTED, group=self.options.group, polls=polls
                    )
                    self.done += sum(map(len, polls.values()))
                    self._commit(consumer, {key: records[-1].offset + 1 for key, records in polls.items()})
        finally:
            consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        index = self.recorder.invoke("committed", group=self.options.group)
        try:
            found = consumer.committed(partitions, timeout=10)
        except KafkaException as failure:
            self.recorder.complete(index, "committed", "info", error=str(failure))
        else:
            offsets = {f"{one.topic}-{one.partition}": max(one.offset, -1) for one in found if one.error is None}
            self.recorder.complete(index, "committed", "ok", group=self.options.group, offsets=offsets)
        offsets = {f"{one.topic}-{one.partition}": 0 for one in partitions}
        self.recorder.note("assign", invoked_ns=time.monotonic_ns(), group=self.options.group, offsets=offsets)

    def _commit(self, consumer: Consumer, offsets: dict[str, int]) -> None:
        index = self.recorder.invoke("commit", group=self.options.group, offsets=offsets)
        fields: dict[str, Any] = {"group": self.options.group, "offsets": offsets}
        wanted = [TopicPartition(self.options.topic, int(key.rpartition("-")[2]), at) for key, at in offsets.items()]
        try:
            found = consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as failure:
            # Whether it was refused or only not answered: the next owner may find it or not.
            self.recorder.complete(index, "commit", "info", error=failure.args[0].name(), **fields)
            return
        taken = {f"{one.topic}-{one.partition}": one.offset for one in found if one.error is None}
        self.recorder.complete(index, "commit", "ok", group=self.options.group, offsets=taken)


def seen_in(messages: list[Message]) -> dict[str, list[Seen]]:
    polls: dict[str, list[Seen]] = {}
    for message in messages:
        if message.error() is None:
            key = f"{message.topic()}-{message.partition()}"
            record = (message.key() or b"").decode()
            polls.setdefault(key, []).append(Seen(message.offset(), decode_value(message.value())[0], record))
    return polls
