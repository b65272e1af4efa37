"""Topics are created, described, altered and deleted through each client's own admin API."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from tests.interop.clients import WRITERS, Message, administer_with_kafka_python

pytestmark = pytest.mark.interop


def results(futures: dict) -> list:
    return [future.result(timeout=30) for future in futures.values()]


@pytest.fixture
def admin(broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap})


def topic_config(admin: AdminClient, topic: str) -> dict[str, str]:
    (found,) = results(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
    return {name: entry.value for name, entry in found.items()}


def test_a_created_topic_shows_its_partitions_and_configs(admin, topic_name) -> None:
    topic = topic_name()

    results(admin.create_topics([NewTopic(topic, 4, 1, config={"retention.ms": "60000"})]))

    (described,) = results(admin.describe_topics(TopicCollection([topic])))
    assert [len(partition.replicas) for partition in described.partitions] == [1, 1, 1, 1]
    assert all(partition.leader is not None for partition in described.partitions)
    (found,) = results(admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))
    assert found["retention.ms"].value == "60000"
    assert not found["retention.ms"].is_default
    assert found["segment.bytes"].is_default


@pytest.mark.parametrize(
    ("partitions", "replicas", "config", "code"),
    [
        (0, 1, {}, "INVALID_PARTITIONS"),
        (1, 3, {}, "INVALID_REPLICATION_FACTOR"),
        (1, 1, {"retention.ms": "soon"}, "INVALID_CONFIG"),
        (1, 1, {"no.such.config": "1"}, "INVALID_CONFIG"),
    ],
)
def test_a_bad_topic_is_refused_with_kafkas_code(admin, topic_name, partitions, replicas, config, code) -> None:
    with pytest.raises(KafkaException) as refused:
        results(admin.create_topics([NewTopic(topic_name(), partitions, replicas, config=config)]))

    assert refused.value.args[0].name() == code


def test_creating_a_topic_twice_is_refused_and_one_bad_topic_fails_alone(admin, topic_name) -> None:
    first, second = topic_name(), topic_name()
    results(admin.create_topics([NewTopic(first, 1, 1)]))

    futures = admin.create_topics([NewTopic(first, 1, 1), NewTopic(second, 1, 1)])

    with pytest.raises(KafkaException) as refused:
        futures[first].result(timeout=30)
    assert refused.value.args[0].name() == "TOPIC_ALREADY_EXISTS"
    assert futures[second].result(timeout=30) is None


def test_validate_only_creates_nothing(admin, topic_name) -> None:
    topic = topic_name()

    results(admin.create_topics([NewTopic(topic, 1, 1)], validate_only=True))

    assert topic not in admin.list_topics(timeout=10).topics


def test_partitions_can_be_added_but_not_removed(admin, topic_name) -> None:
    topic = topic_name()
    results(admin.create_topics([NewTopic(topic, 2, 1)]))

    results(admin.create_partitions([NewPartitions(topic, 5)]))

    assert len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == 5
    with pytest.raises(KafkaException) as refused:
        results(admin.create_partitions([NewPartitions(topic, 3)]))
    assert refused.value.args[0].name() == "INVALID_PARTITIONS"


def test_incremental_alter_sets_and_deletes_one_config_and_leaves_the_others(admin, topic_name) -> None:
    topic = topic_name()
    results(admin.create_topics([NewTopic(topic, 1, 1, config={"retention.ms": "60000", "max.message.bytes": "2000"})]))
    change = [
        ConfigEntry("retention.ms", "120000", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("max.message.bytes", None, incremental_operation=AlterConfigOpType.DELETE),
    ]

    results(admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=change)]))

    found = topic_config(admin, topic)
    assert found["retention.ms"] == "120000"
    assert found["max.message.bytes"] == "1048588"


def test_a_deleted_topic_is_gone_and_can_be_created_again_empty(broker, admin, topic_name) -> None:
    topic = topic_name()
    results(admin.create_topics([NewTopic(topic, 1, 1)]))
    WRITERS["confluent-kafka"](broker.bootstrap, topic, [Message(key=b"k", value=b"v")], "none")

    results(admin.delete_topics([topic]))

    assert topic not in admin.list_topics(timeout=10).topics
    results(admin.create_topics([NewTopic(topic, 1, 1)]))
    from confluent_kafka import TopicPartition

    (found,) = results(admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()}))
    assert found.offset == 0


def test_deleted_records_move_the_log_start(broker, admin, new_topic) -> None:
    from confluent_kafka import TopicPartition

    topic = new_topic(partitions=1)
    WRITERS["confluent-kafka"](broker.bootstrap, topic, [Message(key=None, value=b"v")] * 10, "none")

    results(admin.delete_records([TopicPartition(topic, 0, 4)]))

    (found,) = results(admin.list_offsets({TopicPartition(topic, 0): OffsetSpec.earliest()}))
    assert found.offset == 4


def test_offsets_are_found_by_timestamp_and_by_largest_timestamp(broker, admin, new_topic) -> None:
    from confluent_kafka import Producer, TopicPartition

    topic = new_topic(partitions=1)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    start = 1_700_000_000_000
    for index in range(10):
        producer.produce(topic, b"v", timestamp=start + index * 1000)
    assert producer.flush(30) == 0

    partition = TopicPartition(topic, 0)
    (by_time,) = results(admin.list_offsets({partition: OffsetSpec.for_timestamp(start + 3500)}))
    (largest,) = results(admin.list_offsets({partition: OffsetSpec.max_timestamp()}))
    (after_all,) = results(admin.list_offsets({partition: OffsetSpec.for_timestamp(start + 99_000)}))

    assert (by_time.offset, by_time.timestamp) == (4, start + 4000)
    assert (largest.offset, largest.timestamp) == (9, start + 9000)
    assert after_all.offset == -1


def test_the_cluster_describes_itself(broker, admin) -> None:
    described = admin.describe_cluster().result(timeout=30)

    assert [node.id for node in described.nodes] == [1]
    assert described.controller.id == 1
    assert described.nodes[0].port == broker.port


def test_kafka_python_administers_topics(broker, topic_name) -> None:
    topic = topic_name()

    after_create, after_delete = administer_with_kafka_python(broker.bootstrap, topic)

    assert topic in after_create
    assert topic not in after_delete


def test_aiokafka_administers_topics(broker, topic_name) -> None:
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.admin import NewTopic as AioNewTopic

    topic = topic_name()

    async def administer() -> tuple[list[str], list[str]]:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([AioNewTopic(topic, 2, 1)])
            after_create = await admin.list_topics()
            await admin.delete_topics([topic])
            return after_create, await admin.list_topics()
        finally:
            await admin.close()

    after_create, after_delete = asyncio.run(administer())

    assert topic in after_create
    assert topic not in after_delete
