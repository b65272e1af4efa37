"""Transactions of real producers: all of it or none of it, and never by a zombie."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPythonPartition

from broker.client.blocking import Client
from broker.errors import KafkaError
from tests.support.broker_process import BrokerProcess
from tests.support.committed import committed, settled_end
from tests.support.wait import wait_until

pytestmark = pytest.mark.interop

WAIT = 30.0
_numbers = itertools.count()


class Transactional(Protocol):
    """What both libraries offer, by the same names."""

    def begin(self) -> None: ...
    def send(self, topic: str, value: bytes, partition: int = 0) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...


class Librdkafka:
    def __init__(self, bootstrap: str, transactional_id: str, timeout_ms: int = 60_000) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": transactional_id,
                "transaction.timeout.ms": timeout_ms,
                "linger.ms": 0,
            }
        )
        self._producer.init_transactions(WAIT)

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(self, topic: str, value: bytes, partition: int = 0) -> None:
        """Returns when the record is in the partition."""
        self._producer.produce(topic, value, partition=partition)
        assert self._producer.flush(WAIT) == 0

    def commit(self) -> None:
        self._producer.commit_transaction(WAIT)

    def abort(self) -> None:
        self._producer.abort_transaction(WAIT)


class KafkaPython:
    def __init__(self, bootstrap: str, transactional_id: str, timeout_ms: int = 60_000) -> None:
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap, transactional_id=transactional_id, transaction_timeout_ms=timeout_ms
        )
        self._producer.init_transactions()

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(self, topic: str, value: bytes, partition: int = 0) -> None:
        self._producer.send(topic, value, partition=partition).get(timeout=WAIT)

    def commit(self) -> None:
        self._producer.commit_transaction()

    def abort(self) -> None:
        self._producer.abort_transaction()

    def close(self) -> None:
        self._producer.close(timeout=5)


Open = Callable[..., Transactional]


@pytest.fixture(params=[Librdkafka, KafkaPython], ids=["librdkafka", "kafka-python"])
def open_producer(request: pytest.FixtureRequest, broker: BrokerProcess) -> Iterator[Open]:
    opened: list[Any] = []

    def open_one(transactional_id: str, **how: Any) -> Transactional:
        opened.append(request.param(broker.bootstrap, transactional_id, **how))
        return opened[-1]  # type: ignore[no-any-return]

    yield open_one
    for producer in opened:
        if isinstance(producer, KafkaPython):
            producer.close()


@pytest.fixture
def client(broker: BrokerProcess) -> Iterator[Client]:
    with Client(broker.bootstrap) as opened:
        yield opened


@pytest.fixture
def key() -> str:
    return f"tx-{next(_numbers)}"


def test_what_is_committed_is_read_and_what_is_aborted_is_not(
    open_producer: Open, client: Client, new_topic: Callable[..., str], key: str
) -> None:
    topic = new_topic(partitions=2)
    producer = open_producer(key)
    for number, end in enumerate(("commit", "abort", "commit", "abort", "commit")):
        producer.begin()
        for partition in (0, 1):
            producer.send(topic, b"%d" % number, partition)
        getattr(producer, end)()
    assert committed(client, topic) == committed(client, topic, 1) == [b"0", b"2", b"4"]


def test_a_transaction_that_is_open_hides_itself_and_what_comes_after_it(
    open_producer: Open, client: Client, broker: BrokerProcess, new_topic: Callable[..., str], key: str
) -> None:
    topic = new_topic()
    producer = open_producer(key)
    producer.begin()
    producer.send(topic, b"open")
    client.produce(topic, None, b"plain", partition=0)
    assert client.list_offsets(topic, {0: -1}, read_committed=True)[0].offset == 0
    assert client.list_offsets(topic, {0: -1})[0].offset == 2
    producer.commit()
    assert committed(client, topic) == [b"open", b"plain"]


def test_a_second_producer_of_the_same_id_fences_the_first(
    open_producer: Open, client: Client, new_topic: Callable[..., str], key: str
) -> None:
    topic = new_topic()
    zombie = open_producer(key)
    zombie.begin()
    zombie.send(topic, b"zombie")
    alive = open_producer(key)
    alive.begin()
    alive.send(topic, b"alive")
    with pytest.raises(Exception, match=r"(?i)fenced|epoch"):
        zombie.commit()
    alive.commit()
    assert committed(client, topic) == [b"alive"]


def test_two_producers_write_into_the_same_partition_without_seeing_each_other(
    open_producer: Open, client: Client, new_topic: Callable[..., str], key: str
) -> None:
    topic = new_topic()
    one, other = open_producer(f"{key}-1"), open_producer(f"{key}-2")
    for number in range(3):
        one.begin()
        other.begin()
        one.send(topic, b"one %d" % number)
        other.send(topic, b"other %d" % number)
        one.send(topic, b"one %d again" % number)
        other.abort()
        one.commit()
    expected = [b"one 0", b"one 0 again", b"one 1", b"one 1 again", b"one 2", b"one 2 again"]
    assert committed(client, topic) == expected


def test_consumers_of_both_libraries_read_committed_only(
    open_producer: Open, client: Client, broker: BrokerProcess, new_topic: Callable[..., str], key: str
) -> None:
    topic = new_topic()
    producer = open_producer(key)
    for number, end in enumerate(("abort", "commit", "abort", "commit")):
        producer.begin()
        producer.send(topic, b"%d" % number)
        getattr(producer, end)()
    settled_end(client, topic)
    assert _by_librdkafka(broker, topic, "read_committed", 2) == [b"1", b"3"]
    assert _by_librdkafka(broker, topic, "read_uncommitted", 4) == [b"0", b"1", b"2", b"3"]
    assert _by_kafka_python(broker, topic, "read_committed", 2) == [b"1", b"3"]
    assert _by_kafka_python(broker, topic, "read_uncommitted", 4) == [b"0", b"1", b"2", b"3"]


def _by_librdkafka(broker: BrokerProcess, topic: str, isolation: str, count: int) -> list[bytes]:
    from confluent_kafka import TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "unused",
            "isolation.level": isolation,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes] = []
    try:
        while True:
            message = wait_until(lambda: consumer.poll(0.1), f"{count} records and the end")
            if message.error():
                return values
            values.append(message.value())
    finally:
        consumer.close()


def _by_kafka_python(broker: BrokerProcess, topic: str, isolation: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, isolation_level=isolation, group_id=None)
    partition = KafkaPythonPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek(partition, 0)
    values: list[bytes] = []
    end = consumer.end_offsets([partition])[partition]
    try:
        wait_until(
            lambda: (
                values.extend(record.value for record in consumer.poll(timeout_ms=100).get(partition, ()))
                or consumer.position(partition) >= end
            ),
            f"{count} records and the end",
        )
    finally:
        consumer.close()
    return values


def test_a_transaction_that_takes_too_long_is_aborted_by_the_broker(
    tmp_path_factory: pytest.TempPathFactory, key: str
) -> None:
    interval = "OTTLA_TRANSACTION_ABORT_TIMED_OUT_TRANSACTION_CLEANUP_INTERVAL_MS"
    settings = {interval: "100", "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "3"}
    with (
        BrokerProcess(tmp_path_factory.mktemp("slow"), **settings) as broker,
        Client(broker.bootstrap) as client,
    ):
        client.create_topic("slow", 1, 1)
        producer = Librdkafka(broker.bootstrap, key, timeout_ms=1_000)
        producer.begin()
        producer.send("slow", b"too late")
        wait_until(lambda: client.describe_transaction(key).state == "CompleteAbort", "the broker gives up on it")
        assert committed(client, "slow") == []
        with pytest.raises(KafkaException, match=r"(?i)fenced|epoch|timed out"):
            producer.commit()
        again = Librdkafka(broker.bootstrap, key)
        again.begin()
        again.send("slow", b"in time")
        again.commit()
        assert committed(client, "slow") == [b"in time"]


def test_a_transaction_longer_than_the_broker_allows_is_refused_at_once(broker: BrokerProcess, key: str) -> None:
    with pytest.raises(KafkaException, match=r"(?i)timeout"):
        Librdkafka(broker.bootstrap, key, timeout_ms=10**8)


def test_an_unknown_id_is_told_apart_from_an_idle_one(open_producer: Open, client: Client, key: str) -> None:
    open_producer(key)
    assert client.describe_transaction(key).state == "Empty"
    with pytest.raises(KafkaError):
        client.describe_transaction(f"{key}-unknown")
