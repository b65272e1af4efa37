"""Copiers for transactions under faults: they read, write and commit offsets in one transaction, again and again.

Ours is started anew whenever it fails, as an orchestrator would; a new one fences the old one by its transactional id.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from tests.support.wait import wait_until

WAIT = 10.0
FILL_SECONDS_MAX = 60.0
PARTITIONS = 4
HUNG_SECONDS = 15.0
"""Without a transaction: started anew. librdkafka (2.15) now and then never connects again to a broker that was away,
and then none of its timeouts ends the call that waits for it."""
STANDSTILL_SECONDS = 30.0


@dataclass(slots=True)
class _Life:
    """One start of the processor, on a thread of its own."""

    over: threading.Event = field(default_factory=threading.Event)
    abandoned: bool = False
    failure: Exception | None = None


class Processor:
    """Copies ``source`` to ``sink``, partition by partition, a few records a transaction."""

    def __init__(self, bootstrap: str, key: str, source: str, sink: str, batch: int = 5) -> None:
        self.transactions = self.failures = 0
        self.given_up = False
        """Another one copies in its place: it ends with its next failure, and it will be fenced."""
        self._bootstrap = bootstrap
        self._key = key
        self._source, self._sink, self._batch = source, sink, batch

    def run(self, counts: dict[int, int]) -> None:
        """Until everything is copied, whatever fails meanwhile."""
        while True:
            life = _Life()
            threading.Thread(target=self._live, args=(counts, life), daemon=True).start()
            before = self.transactions
            while not life.over.wait(HUNG_SECONDS):
                if self.transactions == before:
                    life.abandoned = True  # the next one fences it, which also ends its wait
                    break
                before = self.transactions
            if life.over.is_set() and life.failure is None:
                return
            assert life.failure is None or isinstance(life.failure, KafkaException), life.failure
            self.failures += 1
            assert self.failures < 200, "it never gets anywhere"

    def _live(self, counts: dict[int, int], life: _Life) -> None:
        try:
            self._copy(counts, life)
        except Exception as failure:  # noqa: BLE001 - judged by whoever waits for this life
            life.failure = failure
        finally:
            life.over.set()

    def _copy(self, counts: dict[int, int], life: _Life) -> None:
        common = {"bootstrap.servers": self._bootstrap, "reconnect.backoff.max.ms": 200}
        producer = Producer({**common, "transactional.id": self._key, "linger.ms": 0, "transaction.timeout.ms": 10_000})
        consumer = Consumer(
            {
                **common,
                "group.id": self._key,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
            }
        )
        try:
            producer.init_transactions(WAIT)
            known = consumer.committed([TopicPartition(self._source, index) for index in counts], timeout=WAIT)
            positions = {one.partition: max(one.offset, 0) for one in known}
            consumer.assign([TopicPartition(self._source, index, at) for index, at in positions.items()])
            while not life.abandoned and any(positions[index] < counts[index] for index in counts):
                self._transaction(producer, consumer, positions)
        finally:
            consumer.close()

    def _transaction(self, producer: Producer, consumer: Consumer, positions: dict[int, int]) -> None:
        messages = [one for one in consumer.consume(self._batch, timeout=1.0) if one.error() is None]
        if not messages:
            return
        producer.begin_transaction()
        for message in messages:
            producer.produce(self._sink, message.value(), partition=message.partition())
            positions[message.partition()] = message.offset() + 1
        offsets = [TopicPartition(self._source, index, at) for index, at in positions.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), WAIT)
        producer.commit_transaction(WAIT)
        self.transactions += 1


class Copying:
    """A processor that is replaced when it stands still, as an orchestrator with a liveness probe does.

    librdkafka (2.16) can wait for ever in ``send_offsets_to_transaction``: when a coordinator's connection comes up just
    before it begins to watch for that, it sends nothing until the connection changes again.
    """

    def __init__(self, bootstrap: str, key: str, source: str, sink: str, counts: dict[int, int], *, batch: int) -> None:
        self._counts = counts
        self._new_processor = lambda: Processor(bootstrap, key, source, sink, batch)
        self._transactions_before = 0
        self._begin()

    @property
    def transactions(self) -> int:
        return self._transactions_before + self._processor.transactions

    @property
    def done(self) -> bool:
        """Whether everything is copied. Also looks after the processor."""
        if self._processor.transactions > self._seen:
            self._seen, self._seen_at = self._processor.transactions, time.monotonic()
        elif self._thread.is_alive() and time.monotonic() - self._seen_at > STANDSTILL_SECONDS:
            self._processor.given_up = True
            self._transactions_before += self._processor.transactions
            self._begin()
        return not self._thread.is_alive()

    def _begin(self) -> None:
        self._processor = self._new_processor()
        self._seen, self._seen_at = 0, time.monotonic()
        self._thread = threading.Thread(target=self._processor.run, args=(self._counts,), daemon=True)
        self._thread.start()


class Output:
    """Lines of a copier that is a process of its own, as they come."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def join(self) -> None:
        self._thread.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self.lines.append(line.rstrip(os.linesep))


def fill(bootstrap: str, topic: str, records: int, *, first: int = 0) -> dict[int, int]:
    """Records per partition, each with a value of its own: its number, beginning with ``first``."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
    for number in range(first, first + records):
        producer.produce(topic, b"%d" % number, partition=number % PARTITIONS)
    assert producer.flush(FILL_SECONDS_MAX) == 0
    return counts_of(first + records)


def counts_of(records: int) -> dict[int, int]:
    """How many of so many records each partition gets."""
    return dict(Counter(number % PARTITIONS for number in range(records)))


def committed(client: Client, topic: str) -> list[bytes]:
    values: list[bytes] = []
    for index in range(PARTITIONS):
        wait_until(lambda index=index: _is_settled(client, topic, index), f"nothing is open in partition {index}")  # type: ignore[misc]
        end, offset = client.list_offsets(topic, {index: -1})[index].offset, 0
        while offset < end:
            fetched = client.fetch(topic, index, offset, read_committed=True, max_wait_ms=10)
            values += [record.value or b"" for record in fetched.records]
            offset = fetched.next_offset
    return values


def _is_settled(client: Client, topic: str, index: int) -> bool:
    try:
        stable, end = (
            client.list_offsets(topic, {index: -1}, read_committed=stable)[index].offset for stable in (True, False)
        )
    except (KafkaError, ClientConnectionError):
        return False
    return stable == end
