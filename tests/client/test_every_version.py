"""Each version this client claims to speak, one by one, against a real broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from broker.client.blocking import Client, ResourceType
from broker.client.versions import CLIENT_VERSIONS
from broker.errors import ErrorCode, KafkaError
from broker.protocol.api import ApiKey
from broker.protocol.registry import SERVED
from broker.types import TopicPartition
from tests.support.broker_process import BrokerProcess

MARKED_PRODUCER = 2**40
"""Producers from here on exist only by a marker."""

Check = Callable[[Client, str, int], None]


def produce_and_fetch(client: Client, topic: str, version: int) -> None:
    offset = client.produce(topic, b"k", b"v", {"h": b"1"}, partition=0).offset
    (record,) = client.fetch_records(topic, 0, offset)
    assert (record.key, record.value, record.headers) == (b"k", b"v", (("h", b"1"),))


def metadata(client: Client, topic: str, version: int) -> None:
    found = client.metadata([topic])
    assert [(t.name, len(t.partitions), t.partitions[0].leader) for t in found.topics] == [(topic, 2, 1)]
    assert bool(found.topics[0].topic_id) == (version >= 10)
    assert topic in [t.name for t in client.metadata(None).topics]
    assert client.metadata([]).topics == ()


def cluster(client: Client, topic: str, version: int) -> None:
    assert client.describe_cluster().cluster_id


def list_offsets(client: Client, topic: str, version: int) -> None:
    client.produce(topic, None, b"v", partition=1, timestamp_ms=5_000)
    end = client.list_offsets(topic, {1: -1})[1].offset
    assert client.list_offsets(topic, {1: 4_000})[1].offset < end
    assert client.list_offsets(topic, {1: -2})[1].offset == 0


def topic_life(client: Client, topic: str, version: int) -> None:
    name = f"{topic}-more"
    client.create_topic(name, 1, 1, {"retention.ms": "7"}, validate_only=True)
    client.create_topic(name, 1, 1, {"retention.ms": "7"})
    client.create_partitions(name, 3)
    assert len(client.metadata([name]).topics[0].partitions) == 3
    client.delete_topic(name)
    with pytest.raises(KafkaError) as failure:
        client.delete_topic(name)
    assert failure.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def configs(client: Client, topic: str, version: int) -> None:
    client.alter_topic_configs(topic, {"retention.ms": "9000"})
    entry = next(e for e in client.describe_topic_configs(topic) if e.name == "retention.ms")
    assert (entry.value, entry.is_default, entry.synonyms[0].source) == ("9000", False, "DYNAMIC_TOPIC_CONFIG")
    client.alter_topic_configs(topic, {"retention.ms": None})


def delete_records(client: Client, topic: str, version: int) -> None:
    offset = client.produce(topic, None, b"v", partition=0).offset
    assert client.delete_records(topic, {0: offset})[0].log_start_offset == offset


def groups(client: Client, topic: str, version: int) -> None:
    assert client.group_offsets("nobody") == []
    assert [group.group_id for group in client.list_groups() if group.group_id == "nobody"] == []
    try:
        assert client.describe_group("nobody").state == "Dead"
    except KafkaError as error:
        assert error.code is ErrorCode.GROUP_ID_NOT_FOUND  # noqa: PT017 - from version 6 on it is an error
    with pytest.raises(KafkaError) as failure:
        client.delete_group("nobody")
    assert failure.value.code is ErrorCode.GROUP_ID_NOT_FOUND


def group_offsets(client: Client, topic: str, version: int) -> None:
    group_id, first, second = f"{topic}-offsets", TopicPartition(topic, 0), TopicPartition(topic, 1)
    outcome = client.commit_group_offsets(group_id, {first: 0, second: 0, TopicPartition(topic, 9): 0})
    assert outcome == {
        first: ErrorCode.NONE,
        second: ErrorCode.NONE,
        TopicPartition(topic, 9): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert [(o.topic, o.partition, o.offset) for o in client.group_offsets(group_id)] == [(topic, 0, 0), (topic, 1, 0)]
    assert client.delete_group_offsets(group_id, [first]) == {first: ErrorCode.NONE}
    assert [offset.partition for offset in client.group_offsets(group_id)] == [1]
    client.delete_group(group_id)


def producers(client: Client, topic: str, version: int) -> None:
    assert [producer for producer in client.describe_producers(topic) if producer.producer_id < MARKED_PRODUCER] == []


def config_resources(client: Client, topic: str, version: int) -> None:
    assert topic in client.list_config_resources(ResourceType.TOPIC)
    assert client.list_config_resources(ResourceType.BROKER) == ["1"]


def transactions(client: Client, topic: str, version: int) -> None:
    assert client.list_transactions(["Ongoing"], [2**62]) == []
    with pytest.raises(KafkaError) as unknown:
        client.terminate_transaction(f"{topic}-nobody")
    assert unknown.value.code is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND


def transaction_marker(client: Client, topic: str, version: int) -> None:
    end = client.list_offsets(topic, {0: -1})[0].offset
    client.write_transaction_marker(topic, 0, MARKED_PRODUCER + version, 0, 0)
    assert client.list_offsets(topic, {0: -1})[0].offset == end + 1


def placement(client: Client, topic: str, version: int) -> None:
    """One broker has everything: what can be asked for is to let it be so."""
    first = TopicPartition(topic, 0)
    (elected,) = client.elect_leaders([first]).values()
    assert elected.error is ErrorCode.ELECTION_NOT_NEEDED
    (moved,) = client.reassign({first: [1]}).values()
    assert moved.error is ErrorCode.NONE
    assert client.reassignments() == {}
    (cancelled,) = client.reassign({first: None}).values()
    assert cancelled.error is ErrorCode.NO_REASSIGNMENT_IN_PROGRESS


def log_sizes(client: Client, topic: str, version: int) -> None:
    before = client.log_sizes(1)[TopicPartition(topic, 0)]
    client.produce(topic, None, b"v", partition=0)
    assert client.log_sizes(1)[TopicPartition(topic, 0)] > before


def unregister(client: Client, topic: str, version: int) -> None:
    with pytest.raises(KafkaError) as unknown:
        client.unregister_broker(77)
    assert unknown.value.code is ErrorCode.BROKER_ID_NOT_REGISTERED


CHECKS: dict[int, Check] = {
    ApiKey.ELECT_LEADERS: placement,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: placement,
    ApiKey.LIST_PARTITION_REASSIGNMENTS: placement,
    ApiKey.UNREGISTER_BROKER: unregister,
    ApiKey.DESCRIBE_LOG_DIRS: log_sizes,
    ApiKey.INIT_PRODUCER_ID: transactions,
    ApiKey.LIST_TRANSACTIONS: transactions,
    ApiKey.DESCRIBE_TRANSACTIONS: transactions,
    ApiKey.WRITE_TXN_MARKERS: transaction_marker,
    ApiKey.LIST_CONFIG_RESOURCES: config_resources,
    ApiKey.PRODUCE: produce_and_fetch,
    ApiKey.FETCH: produce_and_fetch,
    ApiKey.METADATA: metadata,
    ApiKey.API_VERSIONS: cluster,
    ApiKey.LIST_OFFSETS: list_offsets,
    ApiKey.CREATE_TOPICS: topic_life,
    ApiKey.CREATE_PARTITIONS: topic_life,
    ApiKey.DELETE_TOPICS: topic_life,
    ApiKey.DESCRIBE_CONFIGS: configs,
    ApiKey.INCREMENTAL_ALTER_CONFIGS: configs,
    ApiKey.DELETE_RECORDS: delete_records,
    ApiKey.FIND_COORDINATOR: groups,
    ApiKey.DESCRIBE_GROUPS: groups,
    ApiKey.CONSUMER_GROUP_DESCRIBE: groups,
    ApiKey.LIST_GROUPS: groups,
    ApiKey.OFFSET_COMMIT: group_offsets,
    ApiKey.OFFSET_DELETE: group_offsets,
    ApiKey.OFFSET_FETCH: groups,
    ApiKey.DELETE_GROUPS: groups,
    ApiKey.DESCRIBE_PRODUCERS: producers,
}
PAIRS = [
    pytest.param(key, version, id=f"{ApiKey(key).name}-{version}")
    for key in CHECKS
    for version in range(CLIENT_VERSIONS[key][0], CLIENT_VERSIONS[key][1] + 1)
    if key in SERVED and SERVED[key].min_version <= version <= SERVED[key].max_version
]


@pytest.fixture(scope="module")
def topic(broker_process: BrokerProcess) -> Iterator[str]:
    name = f"versions-{uuid.uuid4().hex[:8]}"
    with Client(broker_process.bootstrap) as client:
        client.create_topic(name, 2, 1)
        yield name
        client.delete_topic(name)


@pytest.mark.parametrize(("api_key", "version"), PAIRS)
def test_every_version_does_the_same(
    api_key: int, version: int, topic: str, broker_process: BrokerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLIENT_VERSIONS, api_key, (version, version))  # type: ignore[arg-type]
    with Client(broker_process.bootstrap) as client:
        CHECKS[api_key](client, topic, version)


def test_every_api_the_client_uses_is_checked() -> None:
    assert set(CHECKS) == set(CLIENT_VERSIONS)
