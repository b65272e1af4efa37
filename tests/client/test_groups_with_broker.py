"""What the client tells about groups, with a real consumer of another library in them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from broker.client.blocking import Client
from broker.errors import ErrorCode, KafkaError
from broker.telemetry.reduce import BrokerState, reduce
from broker.types import TopicPartition
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = pytest.mark.interop


@pytest.fixture
def client(broker_process: BrokerProcess) -> Iterator[Client]:
    with Client(broker_process.bootstrap) as client:
        yield client


@pytest.fixture
def topic(client: Client) -> Iterator[str]:
    """Two partitions; the first has three records, a second apart."""
    name = f"groups-{uuid.uuid4().hex[:8]}"
    client.create_topic(name, 2, 1)
    for second in (1, 2, 3):
        client.produce(name, None, b"v%d" % second, partition=0, timestamp_ms=second * 1_000)
    yield name
    client.delete_topic(name)


@pytest.fixture
def group_id() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def consumer(broker_process: BrokerProcess, topic: str, group_id: str) -> Iterator[Consumer]:
    """Has joined and read, but committed only offset 1 of partition 0."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker_process.bootstrap,
            "group.id": group_id,
            "client.id": "reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    wait_until(lambda: consumer.poll(0.1), "a record arrives")
    consumer.commit(offsets=[KafkaPartition(topic, 0, 1)], asynchronous=False)
    yield consumer
    consumer.close()


def test_a_group_is_listed_described_and_its_offsets_are_read(
    client: Client, consumer: Consumer, topic: str, group_id: str
) -> None:
    (listed,) = [group for group in client.list_groups() if group.group_id == group_id]
    assert (listed.protocol_type, listed.state) == ("consumer", "Stable")
    group = client.describe_group(group_id)
    assert (group.state, group.protocol_type, group.coordinator) == ("Stable", "consumer", 1)
    (member,) = group.members
    assert (member.client_id, member.instance_id) == ("reader", None)
    assert "127.0.0.1" in member.host
    assert member.assignment == (TopicPartition(topic, 0), TopicPartition(topic, 1))
    (offset,) = client.group_offsets(group_id)
    assert (offset.topic, offset.partition, offset.offset) == (topic, 0, 1)


def test_a_group_in_use_is_not_deleted_and_an_empty_one_is(client: Client, consumer: Consumer, group_id: str) -> None:
    with pytest.raises(KafkaError) as failure:
        client.delete_group(group_id)
    assert failure.value.code is ErrorCode.NON_EMPTY_GROUP
    consumer.unsubscribe()
    wait_until(lambda: consumer.poll(0) or client.describe_group(group_id).state == "Empty", "the consumer has left")
    client.delete_group(group_id)
    assert client.group_offsets(group_id) == []


def test_several_groups_are_described_each_with_its_own_outcome(
    client: Client, consumer: Consumer, group_id: str
) -> None:
    found = client.describe_groups([group_id, "nobody"])
    assert found[group_id].state == "Stable"
    assert found["nobody"].state in ("Dead", "")


def test_offsets_of_a_group_are_set_by_nobody_only_while_it_has_no_members(
    client: Client, consumer: Consumer, topic: str, group_id: str
) -> None:
    first = TopicPartition(topic, 0)
    assert client.commit_group_offsets(group_id, {first: 2}) == {first: ErrorCode.UNKNOWN_MEMBER_ID}
    assert client.delete_group_offsets(group_id, [first]) == {first: ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC}
    consumer.unsubscribe()
    wait_until(lambda: consumer.poll(0) or client.describe_group(group_id).state == "Empty", "the consumer has left")
    assert client.commit_group_offsets(group_id, {first: 2}) == {first: ErrorCode.NONE}
    assert [offset.offset for offset in client.group_offsets(group_id)] == [2]
    assert client.delete_group_offsets(group_id, [first]) == {first: ErrorCode.NONE}
    assert client.group_offsets(group_id) == []


def test_offsets_of_a_group_that_does_not_exist_cannot_be_deleted(client: Client, topic: str) -> None:
    with pytest.raises(KafkaError) as failure:
        client.delete_group_offsets("nobody", [TopicPartition(topic, 0)])
    assert failure.value.code is ErrorCode.GROUP_ID_NOT_FOUND


def test_telemetry_tells_the_time_of_the_record_each_group_reads_next(
    broker_process: BrokerProcess, client: Client, consumer: Consumer, topic: str, group_id: str
) -> None:
    address = f"127.0.0.1:{broker_process.internal_port}"
    with Client(address, broker_process.cluster_secret) as internal:
        state = reduce(None, internal.telemetry().samples[0])

        def follow() -> BrokerState:
            nonlocal state
            for sample in internal.telemetry(state.incarnation, state.seq, 2_000).samples:
                state = reduce(state, sample)
            return state

        wait_until(lambda: group_id in follow().groups and state.groups[group_id].offsets, "the commit is told")
        group = state.groups[group_id]
        assert (group.state, group.members[0].client_id) == ("Stable", "reader")
        (offset,) = group.offsets
        assert (offset.committed, offset.record_timestamp_ms) == (1, 2_000)
        consumer.commit(offsets=[KafkaPartition(topic, 0, 3)], asynchronous=False)
        wait_until(lambda: follow().groups[group_id].offsets[0].committed == 3, "the commit is told")
        assert follow().groups[group_id].offsets[0].record_timestamp_ms == -1
        client.produce(topic, None, b"v4", partition=0, timestamp_ms=4_000)
        wait_until(
            lambda: follow().groups[group_id].offsets[0].record_timestamp_ms == 4_000, "the record's time is told"
        )
