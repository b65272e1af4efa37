"""Read, process, write: offsets sent to a transaction hold with it or not at all, whatever ends it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.interop

WAIT = 30
_numbers = itertools.count()


@pytest.fixture
def topic(broker_process: BrokerProcess) -> str:
    return create_topic(broker_process)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    small = {
        "OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS": "3",
        "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "3",
    }
    with BrokerProcess(tmp_path, **small) as process:
        yield process


def create_topic(broker: BrokerProcess) -> str:
    name = f"read-process-write-{next(_numbers)}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result(timeout=WAIT)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(10):
        producer.produce(name, b"%d" % number)
    producer.flush(WAIT)
    return name


def consumer_of(broker: BrokerProcess, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )


def transactional(broker: BrokerProcess, transactional_id: str) -> Producer:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": transactional_id})
    producer.init_transactions(WAIT)
    return producer


def read_some(consumer: Consumer, count: int) -> None:
    read = 0
    while read < count:
        messages = consumer.consume(count - read, timeout=WAIT)
        assert messages, "nothing to read"
        read += len(messages)


def offset_of(broker: BrokerProcess, group: str, topic: str) -> tuple[int, int]:
    """(error, offset) for somebody who wants stable offsets."""
    r = m.OffsetFetchRequest
    topics = [r.OffsetFetchRequestTopics(name=topic, partition_indexes=[0])]
    request = r(groups=[r.OffsetFetchRequestGroup(group_id=group, topics=topics)], require_stable=True)
    with Wire(broker.port) as wire:
        (found,) = wire.call(ApiKey.OFFSET_FETCH, 9, request).groups
    if found.error_code:
        return found.error_code, -1
    (partition,) = found.topics[0].partitions
    return partition.error_code, partition.committed_offset


def test_librdkafka_sends_offsets_to_a_transaction(broker_process: BrokerProcess, topic: str) -> None:
    consumer = consumer_of(broker_process, topic)
    consumer.subscribe([topic])
    producer = transactional(broker_process, topic)
    try:
        for ends in (4, 8):
            read_some(consumer, 4)
            producer.begin_transaction()
            producer.produce(topic + "-out", b"processed")
            positions = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), WAIT)
            assert offset_of(broker_process, topic, topic) == (ErrorCode.UNSTABLE_OFFSET_COMMIT, -1)
            producer.commit_transaction(WAIT)
            assert offset_of(broker_process, topic, topic) == (0, ends)
        producer.begin_transaction()
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 1)], consumer.consumer_group_metadata(), WAIT)
        producer.abort_transaction(WAIT)
        assert offset_of(broker_process, topic, topic) == (0, 8)
    finally:
        consumer.close()


def test_kafka_python_sends_offsets_to_a_transaction(broker_process: BrokerProcess, topic: str) -> None:
    import kafka
    from kafka.structs import OffsetAndMetadata

    consumer = kafka.KafkaConsumer(
        topic,
        bootstrap_servers=broker_process.bootstrap,
        group_id=topic,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = kafka.KafkaProducer(bootstrap_servers=broker_process.bootstrap, transactional_id=topic)
    partition = kafka.TopicPartition(topic, 0)
    try:
        producer.init_transactions()
        wait_until(lambda: consumer.poll(500), "records to read", seconds=WAIT)
        for offset, ends in ((10, producer.commit_transaction), (3, producer.abort_transaction)):
            producer.begin_transaction()
            offsets = {partition: OffsetAndMetadata(offset, "half way", -1)}
            producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
            ends()
            assert offset_of(broker_process, topic, topic) == (0, 10)
    finally:
        consumer.close()
        producer.close()


def test_a_consumer_that_has_left_cannot_commit_through_its_producer(broker_process: BrokerProcess, topic: str) -> None:
    """KIP-447: the generation fences a producer whose transactional id nobody else uses."""
    consumer = consumer_of(broker_process, topic)
    consumer.subscribe([topic])
    read_some(consumer, 4)
    metadata = consumer.consumer_group_metadata()
    consumer.close()
    producer = transactional(broker_process, topic)
    producer.begin_transaction()
    with pytest.raises(KafkaException) as refused:
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 4)], metadata, WAIT)
    assert refused.value.args[0].txn_requires_abort()
    producer.abort_transaction(WAIT)
    assert offset_of(broker_process, topic, topic) == (0, -1)


def test_a_fenced_producer_changes_no_offset(broker_process: BrokerProcess, topic: str) -> None:
    consumer = consumer_of(broker_process, topic)
    try:
        metadata = consumer.consumer_group_metadata()
        zombie = transactional(broker_process, topic)
        zombie.begin_transaction()
        zombie.send_offsets_to_transaction([TopicPartition(topic, 0, 4)], metadata, WAIT)
        successor = transactional(broker_process, topic)
        assert offset_of(broker_process, topic, topic) == (0, -1), "taking over has aborted what was open"
        with pytest.raises(KafkaException) as refused:
            zombie.send_offsets_to_transaction([TopicPartition(topic, 0, 5)], metadata, WAIT)
        assert refused.value.args[0].fatal()
        successor.begin_transaction()
        successor.send_offsets_to_transaction([TopicPartition(topic, 0, 6)], metadata, WAIT)
        successor.commit_transaction(WAIT)
        assert offset_of(broker_process, topic, topic) == (0, 6)
    finally:
        consumer.close()


def test_offsets_pending_at_a_crash_are_pending_after_it_and_end_with_the_next_producer(
    own_broker: BrokerProcess,
) -> None:
    topic = create_topic(own_broker)
    consumer = consumer_of(own_broker, topic)
    try:
        metadata: Any = consumer.consumer_group_metadata()
        producer = transactional(own_broker, topic)
        producer.begin_transaction()
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 4)], metadata, WAIT)
        producer.commit_transaction(WAIT)
        producer.begin_transaction()
        producer.send_offsets_to_transaction([TopicPartition(topic, 0, 9)], metadata, WAIT)
        own_broker.kill()
        own_broker.start()
        unstable = ErrorCode.UNSTABLE_OFFSET_COMMIT, -1
        wait_until(lambda: offset_of(own_broker, topic, topic) == unstable, "the group to be loaded")
        transactional(own_broker, topic)
        assert offset_of(own_broker, topic, topic) == (0, 4)
    finally:
        consumer.close()


def test_the_coordinators_of_group_and_transaction_may_be_two_brokers(tmp_path: Path) -> None:
    """Whichever broker coordinates which: verification and markers find their way from one to the other."""
    small = {
        "OTTLA_OFFSETS_TOPIC_NUM_PARTITIONS": "4",
        "OTTLA_TRANSACTION_STATE_LOG_NUM_PARTITIONS": "4",
    }
    first = BrokerProcess(tmp_path, node_id=1, **small)
    second = BrokerProcess(tmp_path, node_id=2, **small)
    second.port, second.internal_port = first.port + 1, first.internal_port + 1
    with first, second:
        admin = AdminClient({"bootstrap.servers": first.bootstrap})
        wait_until(lambda: len(admin.list_topics(timeout=WAIT).brokers) == 2, "both brokers")
        topic = create_topic(first)
        names = [f"{topic}-{number}" for number in range(20)]
        for here, there in ((1, 2), (2, 1)):
            group = next(name for name in names if coordinator_of(first, name, 0) == here)
            transactional_id = next(name for name in names if coordinator_of(first, name, 1) == there)
            consumer = consumer_of(first, group)
            producer = transactional(first, transactional_id)
            producer.begin_transaction()
            producer.produce(topic, b"more")
            metadata = consumer.consumer_group_metadata()
            producer.send_offsets_to_transaction([TopicPartition(topic, 0, 7)], metadata, WAIT)
            producer.commit_transaction(WAIT)
            (found,) = consumer.committed([TopicPartition(topic, 0)], timeout=WAIT)
            assert found.offset == 7
            consumer.close()


def coordinator_of(broker: BrokerProcess, key: str, key_type: int) -> int:
    request = m.FindCoordinatorRequest(key_type=key_type, coordinator_keys=[key])
    with Wire(broker.port) as wire:
        return wait_until(
            lambda: next(
                (
                    found.node_id
                    for found in wire.call(ApiKey.FIND_COORDINATOR, 4, request).coordinators
                    if found.error_code == 0
                ),
                None,
            ),
            f"a coordinator of {key}",
        )
