"""Groups as administrators see and change them, through confluent-kafka's and kafka-python's admin clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from tests.interop.groups import group_of
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = [
    pytest.mark.interop,
    # kafka-python loads its schemas in a way that Python 3.11 calls old.
    pytest.mark.filterwarnings("ignore:.* is deprecated. Use files:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    home = tmp_path_factory.mktemp("groups")
    with BrokerProcess(home, OTTLA_GROUP_MIN_SESSION_TIMEOUT_MS="1000") as process:
        yield process


@pytest.fixture
def admin(broker) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap})


@pytest.fixture
def kafka_python_admin(broker) -> Iterator[object]:
    from kafka import KafkaAdminClient

    client = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    yield client
    client.close()


def commit(bootstrap: str, group: str, *offsets: TopicPartition) -> None:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=list(offsets), asynchronous=False)
    consumer.close()


def committed(admin: AdminClient, group: str) -> dict[tuple[str, int], int]:
    future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group]
    return {(one.topic, one.partition): one.offset for one in future.result(timeout=30).topic_partitions}


def test_a_group_is_listed_and_described_with_its_members(broker, admin, new_topic) -> None:
    topic = new_topic(partitions=2)
    with group_of(broker.bootstrap, "described", topic) as group:
        member = group.join("confluent-kafka", instance="pod-1")
        group.wait_shared([member], 2)
        listing = {one.group_id: one for one in admin.list_consumer_groups().result(timeout=30).valid}
        assert listing["described"].state is ConsumerGroupState.STABLE
        description = admin.describe_consumer_groups(["described"])["described"].result(timeout=30)
        assert (description.state, description.partition_assignor) == (ConsumerGroupState.STABLE, "range")
        assert description.coordinator.port == broker.port
        (described,) = description.members
        assert (described.client_id, described.group_instance_id) == ("rdkafka", "pod-1")
        assert "127.0.0.1" in described.host
        assert {one.partition for one in described.assignment.topic_partitions} == {0, 1}
        empty = admin.list_consumer_groups(states={ConsumerGroupState.EMPTY}).result(timeout=30).valid
        assert "described" not in {one.group_id for one in empty}


def test_offsets_of_an_empty_group_are_listed_altered_and_die_with_the_group(broker, admin, new_topic) -> None:
    topic = new_topic(partitions=3)
    commit(broker.bootstrap, "altered", TopicPartition(topic, 0, 5), TopicPartition(topic, 2, 7))
    assert committed(admin, "altered") == {(topic, 0): 5, (topic, 2): 7}
    change = ConsumerGroupTopicPartitions("altered", [TopicPartition(topic, 0, 1)])
    admin.alter_consumer_group_offsets([change])["altered"].result(timeout=30)
    assert committed(admin, "altered") == {(topic, 0): 1, (topic, 2): 7}
    admin.delete_consumer_groups(["altered"])["altered"].result(timeout=30)
    assert committed(admin, "altered") == {}
    with pytest.raises(KafkaException, match="GROUP_ID_NOT_FOUND"):
        admin.delete_consumer_groups(["altered"])["altered"].result(timeout=30)


def test_a_group_in_use_is_protected(broker, admin, kafka_python_admin, new_topic) -> None:
    from kafka import TopicPartition as KafkaPythonTopicPartition

    topic, other = new_topic(partitions=1), new_topic(partitions=1)
    commit(broker.bootstrap, "in-use", TopicPartition(topic, 0, 5), TopicPartition(other, 0, 6))
    with group_of(broker.bootstrap, "in-use", topic) as group:
        member = group.join("confluent-kafka")
        group.wait_shared([member], 1)
        with pytest.raises(KafkaException, match="NON_EMPTY_GROUP"):
            admin.delete_consumer_groups(["in-use"])["in-use"].result(timeout=30)
        change = ConsumerGroupTopicPartitions("in-use", [TopicPartition(topic, 0, 1)])
        altered = admin.alter_consumer_group_offsets([change])["in-use"].result(timeout=30)
        assert altered.topic_partitions[0].error.code() == KafkaError.UNKNOWN_MEMBER_ID
        partitions = [KafkaPythonTopicPartition(topic, 0), KafkaPythonTopicPartition(other, 0)]
        outcome = kafka_python_admin.delete_group_offsets("in-use", partitions)
        assert [outcome[one].errno for one in partitions] == [86, 0], "GROUP_SUBSCRIBED_TO_TOPIC and success"
        assert committed(admin, "in-use") == {(topic, 0): 5}
        member.leave()
        assert kafka_python_admin.delete_group_offsets("in-use", partitions[:1])[partitions[0]].errno == 0
    assert committed(admin, "in-use") == {}


def test_kafka_python_sees_the_same(broker, admin, kafka_python_admin, new_topic) -> None:
    from kafka import TopicPartition as KafkaPythonTopicPartition

    topic = new_topic(partitions=2)
    commit(broker.bootstrap, "seen", TopicPartition(topic, 1, 9, metadata="note"))
    assert "seen" in {one["group_id"] for one in kafka_python_admin.list_groups()}
    described = kafka_python_admin.describe_groups(["seen"])["seen"]
    assert (described["group_state"], described["members"]) == ("Empty", [])
    offsets = kafka_python_admin.list_group_offsets(["seen"])["seen"]
    # confluent-kafka sends the C string with its terminating zero.
    assert {key: (value.offset, value.metadata.rstrip("\0")) for key, value in offsets.items()} == {
        KafkaPythonTopicPartition(topic, 1): (9, "note")
    }


def test_an_administrator_removes_a_static_member(broker, kafka_python_admin, new_topic) -> None:
    from kafka.admin import MemberToRemove

    topic = new_topic(partitions=1)
    with group_of(broker.bootstrap, "evicted", topic) as group:
        member = group.join("confluent-kafka", instance="pod-7")
        group.wait_shared([member], 1)
        member.kill()
        kafka_python_admin.remove_group_members("evicted", [MemberToRemove(group_instance_id="pod-7")])
        described = kafka_python_admin.describe_groups(["evicted"])["evicted"]
        assert (described["group_state"], described["members"]) == ("Empty", [])


def test_offsets_die_with_their_topic(broker, admin, new_topic) -> None:
    topic, kept = new_topic(), new_topic()
    commit(broker.bootstrap, "orphan", TopicPartition(topic, 0, 5), TopicPartition(kept, 0, 6))
    admin.delete_topics([topic])[topic].result(timeout=30)
    wait_until(lambda: committed(admin, "orphan") == {(kept, 0): 6}, "the deleted topic's offset is gone")


def test_a_commit_fails_only_for_what_does_not_exist(broker, admin, new_topic) -> None:
    topic = new_topic(partitions=1)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "partial", "enable.auto.commit": False})
    try:
        asked = [TopicPartition(topic, 0, 3), TopicPartition(topic, 9, 3)]
        with pytest.raises(KafkaException, match="UNKNOWN_TOPIC_OR_PART"):
            consumer.commit(offsets=asked, asynchronous=False)
    finally:
        consumer.close()
    assert committed(admin, "partial") == {(topic, 0): 3}


def test_an_empty_group_without_offsets_is_forgotten_and_one_with_offsets_is_kept(tmp_path) -> None:
    with BrokerProcess(tmp_path, OTTLA_OFFSETS_RETENTION_CHECK_INTERVAL_MS="200") as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("visits", 1, 1)])["visits"].result(timeout=30)
        commit(broker.bootstrap, "kept", TopicPartition("visits", 0, 1))
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "visitor"})
        consumer.subscribe(["visits"])
        wait_until(lambda: consumer.poll(0.1) is None and consumer.assignment(), "it is a member")
        consumer.close()

        def groups() -> list[str]:
            return [one.group_id for one in admin.list_consumer_groups().result(timeout=30).valid]

        wait_until(lambda: groups() == ["kept"], "the visitor is forgotten")
