"""Readers of committed data see what was committed, in order, whoever wrote it, whoever reads, whatever dies."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.interop.clients import read_committed_with_kafka_python
from tests.support.broker_process import BrokerProcess
from tests.support.wire import Wire

pytestmark = pytest.mark.interop

WAIT = 30
READ_COMMITTED = 1
_numbers = itertools.count()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path, OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS="2") as process:
        yield process


def create_topic(broker: BrokerProcess, partitions: int = 1) -> str:
    name = f"committed-{next(_numbers)}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(timeout=WAIT)
    return name


def transactional(broker: BrokerProcess, transactional_id: str) -> Producer:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": transactional_id, "linger.ms": 0})
    producer.init_transactions(WAIT)
    return producer


def write(producer: Producer, topic: str, *values: bytes, end: str) -> list[bytes]:
    """One transaction; ``end`` is commit, abort or nothing. What of it is to be read."""
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value)
    producer.flush(WAIT)
    if end == "commit":
        producer.commit_transaction(WAIT)
        return list(values)
    if end == "abort":
        producer.abort_transaction(WAIT)
    return []


def read(broker: BrokerProcess, topic: str, *, isolation: str = "read_committed", upto: bytes) -> list[bytes]:
    """Everything from the beginning up to ``upto``."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader", "isolation.level": isolation})
    try:
        consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
        found: list[bytes] = []
        while upto not in found:
            batch = consumer.consume(100, timeout=0.5)
            found += [message.value() for message in batch if message.error() is None]
        return found
    finally:
        consumer.close()


def last_stable(broker: BrokerProcess, topic: str) -> int:
    with Wire(broker.port) as wire:
        return list_offset(wire, topic, -1)


def list_offset(wire: Wire, topic: str, timestamp: int, *, isolation_level: int = READ_COMMITTED) -> int:
    r = m.ListOffsetsRequest
    entry = r.ListOffsetsPartition(partition_index=0, timestamp=timestamp)
    message = r(
        replica_id=-1,
        isolation_level=isolation_level,
        topics=[r.ListOffsetsTopic(name=topic, partitions=[entry])],
    )
    result = wire.call(ApiKey.LIST_OFFSETS, 7, message).topics[0].partitions[0]
    assert result.error_code == 0
    return result.offset


def interleave(broker: BrokerProcess, topic: str) -> tuple[list[bytes], list[bytes]]:
    """Two producers, some of it aborted, with a last record; what is committed, and what is there at all."""
    one, two = transactional(broker, f"one-{topic}"), transactional(broker, f"two-{topic}")
    plain = Producer({"bootstrap.servers": broker.bootstrap})
    committed, everything = [], []
    for number, end in enumerate(["commit", "abort", "abort", "commit", "abort", "commit"]):
        values = [b"%d-%d" % (number, index) for index in range(3)]
        committed += write(one if number % 2 else two, topic, *values, end=end)
        everything += values
        plain.produce(topic, b"plain-%d" % number)
        plain.flush(WAIT)
        committed.append(b"plain-%d" % number)
        everything.append(b"plain-%d" % number)
    committed += write(one, topic, b"last", end="commit")
    return committed, [*everything, b"last"]


def test_librdkafka_reads_what_is_committed(broker_process: BrokerProcess) -> None:
    topic = create_topic(broker_process)
    committed, everything = interleave(broker_process, topic)

    assert read(broker_process, topic, upto=b"last") == committed
    assert read(broker_process, topic, isolation="read_uncommitted", upto=b"last") == everything


def test_aiokafka_reads_what_is_committed(broker_process: BrokerProcess) -> None:
    topic = create_topic(broker_process)
    committed, _ = interleave(broker_process, topic)

    async def read_all() -> list[bytes]:
        from aiokafka import AIOKafkaConsumer

        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=broker_process.bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            found: list[bytes] = []
            async for record in consumer:
                found.append(record.value)
                if record.value == b"last":
                    return found
            raise AssertionError("the consumer ended")
        finally:
            await consumer.stop()

    assert asyncio.run(asyncio.wait_for(read_all(), WAIT)) == committed


def test_kafka_python_reads_what_is_committed(broker_process: BrokerProcess) -> None:
    topic = create_topic(broker_process)
    committed, _ = interleave(broker_process, topic)

    assert read_committed_with_kafka_python(broker_process.bootstrap, topic, b"last") == committed


def test_an_open_transaction_holds_back_what_comes_after_it(broker_process: BrokerProcess) -> None:
    topic = create_topic(broker_process)
    slow, quick = transactional(broker_process, f"slow-{topic}"), transactional(broker_process, f"quick-{topic}")
    write(slow, topic, b"slow", end="not yet")
    write(quick, topic, b"quick", end="commit")
    assert last_stable(broker_process, topic) == 0
    consumer = Consumer({"bootstrap.servers": broker_process.bootstrap, "group.id": "g", "fetch.wait.max.ms": 20_000})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    assert consumer.consume(1, timeout=0.5) == []

    slow.commit_transaction(WAIT)

    found: list[bytes] = []
    while len(found) < 2:
        found += [message.value() for message in consumer.consume(2, timeout=5)]
    consumer.close()
    assert found == [b"slow", b"quick"]
    assert last_stable(broker_process, topic) == 4


def test_offsets_by_time_end_at_the_last_stable_one(broker_process: BrokerProcess) -> None:
    topic = create_topic(broker_process)
    producer = transactional(broker_process, f"times-{topic}")
    soon = int(time.time() * 1_000) + 1_000_000
    write(producer, topic, b"early", end="commit")
    producer.begin_transaction()
    producer.produce(topic, b"late", timestamp=soon)
    producer.flush(WAIT)

    with Wire(broker_process.port) as wire:
        assert list_offset(wire, topic, 500) == 0
        assert list_offset(wire, topic, soon, isolation_level=0) == 2
        assert list_offset(wire, topic, soon) == -1
        assert (list_offset(wire, topic, -1), list_offset(wire, topic, -1, isolation_level=0)) == (2, 3)
        assert list_offset(wire, topic, -2) == 0
    producer.abort_transaction(WAIT)


def test_neither_kill_9_nor_a_lost_index_shows_what_was_not_committed(own_broker: BrokerProcess) -> None:
    topic = create_topic(own_broker)
    expected: list[bytes] = []
    for life in range(2):
        producer = transactional(own_broker, "survivor")
        expected += write(producer, topic, b"%d-kept" % life, end="commit")
        write(producer, topic, b"%d-aborted" % life, end="abort")
        write(producer, topic, b"%d-open" % life, end="never")
        own_broker.kill()
        own_broker.start()
    producer = transactional(own_broker, "survivor")
    expected += write(producer, topic, b"end", end="commit")

    own_broker.stop()
    (lost,) = own_broker.data_directory.glob(f"{topic}-0/*.txnindex")
    lost.unlink()
    own_broker.start()
    assert read(own_broker, topic, upto=b"end") == expected


def test_an_operator_ends_a_hanging_transaction(broker_process: BrokerProcess) -> None:
    topic = create_topic(broker_process)
    producer = transactional(broker_process, f"hanging-{topic}")
    write(producer, topic, b"hanging", end="never")
    with Wire(broker_process.port) as wire:
        (entry,) = describe_producers(wire, topic)
        assert entry.current_txn_start_offset == 0
        r = m.WriteTxnMarkersRequest
        marker = r.WritableTxnMarker(
            producer_id=entry.producer_id,
            producer_epoch=entry.producer_epoch,
            transaction_result=False,
            topics=[r.WritableTxnMarkerTopic(name=topic, partition_indexes=[0])],
            coordinator_epoch=entry.coordinator_epoch,
        )
        answer = wire.call(ApiKey.WRITE_TXN_MARKERS, 1, r(markers=[marker]))
        assert answer.markers[0].topics[0].partitions[0].error_code == 0
        (entry,) = describe_producers(wire, topic)
        assert entry.current_txn_start_offset == -1
    assert last_stable(broker_process, topic) == 2


def describe_producers(wire: Wire, topic: str) -> list[Any]:
    r = m.DescribeProducersRequest
    answer = wire.call(ApiKey.DESCRIBE_PRODUCERS, 0, r(topics=[r.TopicRequest(name=topic, partition_indexes=[0])]))
    return answer.topics[0].partitions[0].active_producers
