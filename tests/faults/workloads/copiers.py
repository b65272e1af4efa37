"""Read, copy, commit in transactions: each worker owns some partitions of the source, and whatever fails makes a new life.

A new life fences the one before by the transactional id, and goes on at the offsets that were committed with the last
transaction. A record's copy is a value of its own, different in every attempt, and names what it is a copy of.
"""

from __future__ import annotations

import itertools
import threading
import time
import traceback
from pathlib import Path
from random import Random

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from tests.faults.checker.history import READ_COMMITTED, Sent
from tests.faults.recorder import Recorder
from tests.faults.values import decode_value, encode_value
from tests.faults.workloads.confluent_clients import QUICK, seen_in
from tests.faults.workloads.worker import Client, Options

WAIT_SECONDS = 15.0
TRANSACTION_TIMEOUT_MS = 10_000
HUNG_SECONDS = 60.0
"""Longer than all that a life waits for with a limit. librdkafka 2.16 can wait for ever for offsets to be taken: when a
coordinator's connection comes up just before it begins to watch for that, it sends nothing until that changes again."""
BATCH = 50


class Copier(Client):
    """One life after the other."""

    def __init__(self, options: Options, number: int, workers: int) -> None:
        super().__init__(options, f"copier-{number}", number)
        self.random = Random(f"{options.seed}-{self.name}")
        self.partitions = list(range(number, options.partitions, workers))

    def work(self) -> None:
        for number in itertools.count():
            life = _Life(self, number)
            life.start()
            while life.is_alive() and time.monotonic() - life.moved_at < HUNG_SECONDS:
                life.join(0.2)
            life.abandoned = life.is_alive()
            if life.failure:
                raise RuntimeError(life.failure)
            if life.completed:
                return


class _Life(threading.Thread):
    """With one producer and one consumer, until something fails. Its history has its name: an abandoned one may go on."""

    def __init__(self, copier: Copier, number: int) -> None:
        super().__init__(name=f"{copier.name}-{number}", daemon=True)
        self.abandoned = False
        """Another one has taken over: it begins nothing any more."""
        self.completed = False
        """Everything that the source had at the end was copied."""
        self.failure = ""
        """What was not to be expected, as told."""
        self.moved_at = time.monotonic()
        self.options = copier.options
        self.random = copier.random
        self.recorder = Recorder(Path(copier.options.directory), self.name)
        self._copier = copier
        self._partitions = copier.partitions
        self._positions: dict[int, int] = {}
        self._idle = False

    def run(self) -> None:
        try:
            self._live()
            self.completed = not self.abandoned
        except KafkaException:
            # What the last transaction came to is written down by then, as far as it is known.
            pass
        except BaseException:  # noqa: BLE001 - told by the process, which then fails
            self.failure = traceback.format_exc()
        finally:
            self.recorder.close()

    @property
    def _group(self) -> str:
        return f"{self.options.group}-{self._copier.number}"

    @property
    def _ends(self) -> bool:
        return self.abandoned or (self._copier.stopping.is_set() and self._idle)

    def _live(self) -> None:
        common = {"bootstrap.servers": self.options.bootstrap, **QUICK}
        producer = Producer(
            {
                **common,
                "transactional.id": self._group,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "linger.ms": 0,
            }
        )
        consumer = Consumer(
            {
                **common,
                "group.id": self._group,
                "enable.auto.commit": False,
                "isolation.level": READ_COMMITTED,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
            }
        )
        try:
            producer.init_transactions(WAIT_SECONDS)
            self._assign(consumer)
            while not self._ends:
                self._transaction(producer, consumer)
                self.moved_at = time.monotonic()
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        wanted = [TopicPartition(self.options.topic, index) for index in self._partitions]
        index = self.recorder.invoke("committed", group=self._group)
        found = consumer.committed(wanted, timeout=WAIT_SECONDS)
        if any(one.error is not None for one in found):
            self.recorder.complete(index, "committed", "info", error=str(found))
            raise KafkaException(next(one.error for one in found if one.error is not None))
        offsets = {f"{one.topic}-{one.partition}": max(one.offset, -1) for one in found}
        self.recorder.complete(index, "committed", "ok", group=self._group, offsets=offsets)
        self.recorder.note("assign", invoked_ns=time.monotonic_ns(), offsets=offsets)
        self._positions = {one.partition: max(one.offset, 0) for one in found}
        consumer.assign([TopicPartition(self.options.topic, index, at) for index, at in self._positions.items()])

    def _transaction(self, producer: Producer, consumer: Consumer) -> None:
        # One by one: consume() waits until it has so many or the time is over.
        first = consumer.poll(1.0)
        messages = [first] if first is not None and first.error() is None else []
        if messages:
            messages += [one for one in consumer.consume(BATCH - 1, timeout=0.02) if one.error() is None]
        self._idle = not messages and self._has_everything(consumer)
        if not messages:
            return
        self._positions.update((one.partition(), one.offset() + 1) for one in messages)
        sends = [
            Sent(self._sink_of(one), self._copier.new_value(), source=decode_value(one.value())[0]) for one in messages
        ]
        polls = seen_in(messages)
        offsets = {key: records[-1].offset + 1 for key, records in polls.items()}
        index = self.recorder.invoke("txn", sends=sends, group=self._group, isolation=READ_COMMITTED)
        outcome, delivered = "info", {}
        try:
            outcome = self._attempt(producer, consumer, sends, offsets, delivered)
        finally:
            known = [Sent(s.key, s.value, delivered.get(s.value, -1), source=s.source) for s in sends]
            self.recorder.complete(
                index,
                "txn",
                outcome,
                sends=known,
                polls=polls,
                group=self._group,
                offsets=offsets,
                isolation=READ_COMMITTED,
            )
        if outcome != "ok":
            raise KafkaException("a new life reads again what was not committed")
        self._copier.done += len(sends)

    def _has_everything(self, consumer: Consumer) -> bool:
        """A poll that brings nothing may as well have lost its broker, so the ends are asked for."""
        return all(
            at >= consumer.get_watermark_offsets(TopicPartition(self.options.topic, index), timeout=WAIT_SECONDS)[1]
            for index, at in self._positions.items()
        )

    def _attempt(
        self,
        producer: Producer,
        consumer: Consumer,
        sends: list[Sent],
        offsets: dict[str, int],
        delivered: dict[int, int],
    ) -> str:
        """ok, fail or info; an exception leaves it at info."""
        producer.begin_transaction()
        try:
            for sent in sends:
                topic, _, partition = sent.key.rpartition("-")
                content = encode_value(sent.value, source=sent.source, size=self.options.size)
                producer.produce(
                    topic,
                    content,
                    partition=int(partition),
                    on_delivery=lambda error, message, value=sent.value: (
                        delivered.__setitem__(value, message.offset()) if error is None else None
                    ),
                )
            wanted = [
                TopicPartition(self.options.topic, int(key.rpartition("-")[2]), at) for key, at in offsets.items()
            ]
            producer.send_offsets_to_transaction(wanted, consumer.consumer_group_metadata(), WAIT_SECONDS)
            if self.random.random() < 0.1:
                producer.abort_transaction(WAIT_SECONDS)
                return "fail"
            return self._commit(producer)
        except KafkaException as failure:
            if failure.args[0].txn_requires_abort():
                producer.abort_transaction(WAIT_SECONDS)
                return "fail"
            raise

    def _commit(self, producer: Producer) -> str:
        deadline = time.monotonic() + 3 * WAIT_SECONDS
        while True:
            try:
                producer.commit_transaction(WAIT_SECONDS)
                return "ok"
            except KafkaException as failure:
                if not failure.args[0].retriable() or time.monotonic() > deadline:
                    raise

    def _sink_of(self, message: Message) -> str:
        return f"{self.options.sink}-{self.random.randrange(self.options.partitions)}"
