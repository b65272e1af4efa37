"""Every call of the blocking client against a real broker process."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest

from broker.client.blocking import Client
from broker.client.errors import AuthenticationFailedError, ClientConnectionError
from broker.client.partitioner import partition_for_key
from broker.client.producer import new_record
from broker.errors import ErrorCode, KafkaError
from broker.protocol.private import RetentionAction
from broker.retention.plan import plan
from broker.telemetry.reduce import reduce
from broker.types import TopicPartition
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture(scope="module")
def client(broker_process: BrokerProcess) -> Iterator[Client]:
    with Client(broker_process.bootstrap) as client:
        yield client


@pytest.fixture(scope="module")
def internal(broker_process: BrokerProcess) -> Iterator[Client]:
    with Client(f"127.0.0.1:{broker_process.internal_port}", broker_process.cluster_secret) as client:
        yield client


@pytest.fixture
def topic(client: Client) -> Iterator[str]:
    name = f"client-{uuid.uuid4().hex[:8]}"
    client.create_topic(name, 3, 1)
    yield name
    client.delete_topic(name)


def test_the_cluster_is_described(client: Client, broker_process: BrokerProcess) -> None:
    cluster = client.describe_cluster()
    assert cluster.cluster_id
    assert [(broker.id, broker.port) for broker in cluster.brokers] == [(1, broker_process.port)]
    assert cluster.controller_id == 1


def test_a_topic_is_created_described_grown_and_deleted(client: Client) -> None:
    name = f"life-{uuid.uuid4().hex[:8]}"
    created = client.create_topic(name, 2, 1, {"retention.ms": "1000"})
    assert (created.name, created.partition_count, created.replication_factor) == (name, 2, 1)
    (found,) = client.metadata([name]).topics
    assert (found.topic_id, len(found.partitions), found.internal) == (created.topic_id, 2, False)
    assert [(p.leader, p.isr, p.replicas) for p in found.partitions] == [(1, (1,), (1,))] * 2
    client.create_partitions(name, 5)
    assert len(client.metadata([name]).topics[0].partitions) == 5
    client.delete_topic(name)
    assert client.metadata([name]).topics[0].error is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_validating_creates_nothing(client: Client) -> None:
    client.create_topic("only-checked", 1, 1, validate_only=True)
    assert "only-checked" not in [topic.name for topic in client.metadata(None).topics]


@pytest.mark.parametrize(
    ("name", "configs", "code"),
    [
        ("bad name", {}, ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("fine", {"retention.ms": "many"}, ErrorCode.INVALID_CONFIG),
        ("fine", {"no.such.config": "1"}, ErrorCode.INVALID_CONFIG),
    ],
)
def test_a_refused_topic_names_the_reason(client: Client, name: str, configs: dict[str, str], code: ErrorCode) -> None:
    with pytest.raises(KafkaError) as failure:
        client.create_topic(name, 1, 1, configs)
    assert failure.value.code is code
    assert failure.value.message


def test_asking_never_creates_a_topic(client: Client) -> None:
    client.metadata(["never-made"])
    assert "never-made" not in [topic.name for topic in client.metadata(None).topics]


def test_a_second_topic_of_the_same_name_is_refused(client: Client, topic: str) -> None:
    with pytest.raises(KafkaError) as failure:
        client.create_topic(topic, 1, 1)
    assert failure.value.code is ErrorCode.TOPIC_ALREADY_EXISTS


def test_configs_are_described_changed_and_removed(client: Client, topic: str) -> None:
    client.alter_topic_configs(topic, {"retention.ms": "5000", "segment.bytes": "2097152"})
    entries = {entry.name: entry for entry in client.describe_topic_configs(topic)}
    assert len(entries) > 25
    retention = entries["retention.ms"]
    assert (retention.value, retention.source, retention.type) == ("5000", "DYNAMIC_TOPIC_CONFIG", "LONG")
    assert not retention.is_default
    assert retention.documentation
    assert retention.synonyms[0].value == "5000"
    client.alter_topic_configs(topic, {"retention.ms": None})
    entries = {entry.name: entry for entry in client.describe_topic_configs(topic)}
    assert entries["retention.ms"].is_default
    assert entries["segment.bytes"].value == "2097152"


def test_a_refused_config_changes_nothing(client: Client, topic: str) -> None:
    with pytest.raises(KafkaError) as failure:
        client.alter_topic_configs(topic, {"segment.bytes": "2097152", "retention.ms": "soon"})
    assert failure.value.code is ErrorCode.INVALID_CONFIG
    assert "retention.ms" in failure.value.message
    assert all(entry.is_default for entry in client.describe_topic_configs(topic) if entry.name == "segment.bytes")


def test_the_brokers_own_configs_are_described(client: Client) -> None:
    entries = {entry.name: entry for entry in client.describe_broker_configs(1)}
    assert entries["num.partitions"].value == "1"


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_produced_is_read_back(client: Client, topic: str, codec: str) -> None:
    records = [new_record(b"k%d" % i, b"value " * 50, {"n": b"%d" % i}, timestamp_ms=1_000 + i) for i in range(20)]
    assert client.produce_batch(topic, 1, records, compression=codec) == 0
    found = client.fetch(topic, 1, 0)
    assert [(r.offset, r.key, r.value, r.timestamp_ms, r.headers) for r in found.records] == [
        (i, b"k%d" % i, b"value " * 50, 1_000 + i, (("n", b"%d" % i),)) for i in range(20)
    ]
    assert {record.compression for record in found.records} == {codec}
    assert (found.next_offset, found.high_watermark, found.log_start_offset) == (20, 20, 0)


def test_a_record_with_nothing_in_it_is_a_record(client: Client, topic: str) -> None:
    client.produce(topic, None, None, partition=0)
    (record,) = client.fetch_records(topic, 0, 0)
    assert (record.key, record.value, record.headers) == (None, None, ())


def test_keyed_records_go_where_java_would_put_them(client: Client, topic: str) -> None:
    for number in range(12):
        key = b"key-%d" % number
        assert client.produce(topic, key, b"v").partition == partition_for_key(key, 3)


def test_keyless_records_go_round(client: Client, topic: str) -> None:
    assert {client.produce(topic, None, b"v").partition for _ in range(3)} == {0, 1, 2}


def test_offsets_are_listed_by_end_and_by_time(client: Client, topic: str) -> None:
    for second in (10, 20, 30):
        client.produce(topic, None, b"v", partition=0, timestamp_ms=second * 1_000)
    assert client.list_offsets(topic, {0: -1, 1: -1})[0].offset == 3
    assert client.list_offsets(topic, {0: -2})[0].offset == 0
    by_time = client.list_offsets(topic, {0: 15_000})[0]
    assert (by_time.offset, by_time.timestamp_ms) == (1, 20_000)
    assert client.list_offsets(topic, {0: 99_000})[0].offset == -1
    assert client.list_offsets(topic, {0: -3})[0].offset == 2


def test_a_fetch_at_the_end_waits_and_returns_nothing(client: Client, topic: str) -> None:
    began = time.monotonic()
    found = client.fetch(topic, 0, 0, max_wait_ms=200)
    assert found.records == ()
    assert 0.15 < time.monotonic() - began < 5


def test_fetching_beyond_the_end_is_refused(client: Client, topic: str) -> None:
    with pytest.raises(KafkaError) as failure:
        client.fetch(topic, 0, 1_000)
    assert failure.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_producing_without_waiting_for_an_answer(client: Client, topic: str) -> None:
    assert client.produce(topic, None, b"quick", partition=2, acks=0).offset == -1
    wait_until(lambda: client.list_offsets(topic, {2: -1})[2].offset == 1, "the record is there")


def test_an_unknown_topic_is_refused_by_every_call(client: Client) -> None:
    calls = (
        lambda: client.produce("no-such-topic", b"k", b"v"),
        lambda: client.fetch("no-such-topic", 0, 0),
        lambda: client.list_offsets("no-such-topic", {0: -1}),
        lambda: client.describe_topic_configs("no-such-topic"),
        lambda: client.delete_topic("no-such-topic"),
        lambda: client.create_partitions("no-such-topic", 2),
        lambda: client.describe_producers("no-such-topic"),
    )
    for call in calls:
        with pytest.raises(KafkaError) as failure:
            call()
        assert failure.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_records_are_deleted_from_the_front(client: Client, topic: str) -> None:
    for _ in range(4):
        client.produce(topic, None, b"v", partition=0)
    assert client.delete_records(topic, {0: 3})[0].log_start_offset == 3
    assert client.fetch(topic, 0, 3).log_start_offset == 3
    assert client.delete_records(topic, {0: 99})[0].error is ErrorCode.OFFSET_OUT_OF_RANGE


def test_a_group_that_does_not_exist_is_dead_and_has_no_offsets(client: Client) -> None:
    assert client.group_offsets("nobody") == []
    with pytest.raises(KafkaError) as failure:
        client.delete_group("nobody")
    assert failure.value.code is ErrorCode.GROUP_ID_NOT_FOUND


def test_the_internal_listener_admits_nobody_without_the_secret(broker_process: BrokerProcess) -> None:
    address = f"127.0.0.1:{broker_process.internal_port}"
    with Client(address, b"x" * 32) as wrong, pytest.raises(AuthenticationFailedError):
        wrong.describe_cluster()
    with Client(address) as without, pytest.raises(ClientConnectionError):
        without.describe_cluster()
    with (
        Client(broker_process.bootstrap, broker_process.cluster_secret) as outside,
        pytest.raises(AuthenticationFailedError, match="internal listener"),
    ):
        outside.describe_cluster()


def test_the_internal_listener_speaks_kafka_as_well(internal: Client, topic: str) -> None:
    produced = internal.produce(topic, b"k", b"v")
    assert internal.fetch_records(topic, produced.partition, produced.offset)[0].value == b"v"


def test_telemetry_follows_what_happens(internal: Client, client: Client, topic: str) -> None:
    (full,) = internal.telemetry().samples
    state = reduce(None, full)
    client.produce(topic, None, b"hello", partition=0, timestamp_ms=5_000)
    key = TopicPartition(topic, 0)
    deadline = time.monotonic() + 10
    while key not in state.partitions or state.partitions[key].high_watermark < 1:
        assert time.monotonic() < deadline
        for sample in internal.telemetry(state.incarnation, state.seq, 2_000).samples:
            state = reduce(state, sample)
    partition = state.partitions[key]
    assert (partition.log_end_offset, partition.records_in_total, partition.last_record_ms) == (1, 1, 5_000)
    assert partition.isr == [1]
    assert state.topics[topic].partition_count == 3
    (fresh,) = internal.telemetry().samples
    again = reduce(None, fresh)
    assert (again.topics, again.partitions, again.groups) == (state.topics, state.partitions, state.groups)


def test_retention_deletes_what_the_broker_agrees_to(internal: Client, client: Client, topic: str) -> None:
    client.produce(topic, None, b"old", partition=0, timestamp_ms=1_000)
    client.produce(topic, None, b"young", partition=1)
    client.alter_topic_configs(topic, {"retention.ms": "3600000"})
    inventory = internal.segment_inventory([topic])
    deletions = plan(inventory.partitions, inventory.sampled_at_ms)
    assert [(d.partition, d.new_log_start_offset, d.reason) for d in deletions] == [(0, 1, "retention.ms")]
    (outcome,) = internal.apply_retention([deletion.action() for deletion in deletions])
    assert (outcome.deleted_segments, outcome.log_start_offset, outcome.error_message) == (1, 1, "")
    assert client.list_offsets(topic, {0: -2})[0].offset == 1
    assert client.fetch_records(topic, 1, 0)[0].value == b"young"
    client.produce(topic, None, b"new", partition=0)
    assert [(r.offset, r.value) for r in client.fetch_records(topic, 0, 1)] == [(1, b"new")]


def test_a_plan_gone_stale_deletes_nothing(internal: Client, client: Client, topic: str) -> None:
    client.produce(topic, None, b"old", partition=0, timestamp_ms=1_000)
    client.alter_topic_configs(topic, {"retention.ms": "-1"})
    stale = [RetentionAction(topic=topic, partition=0, new_log_start_offset=1, reason="retention.ms")]
    (outcome,) = internal.apply_retention(stale)
    assert outcome.deleted_segments == 0
    assert "out of date" in outcome.error_message
    assert len(client.fetch_records(topic, 0, 0)) == 1


def test_what_is_set_for_all_brokers_is_described_and_removed(client: Client) -> None:
    client.alter_broker_configs(None, {"log.retention.ms": "123456789"})
    found = {entry.name: entry for entry in client.describe_broker_configs(None)}
    assert (found["log.retention.ms"].value, found["log.retention.ms"].source) == (
        "123456789",
        "DYNAMIC_DEFAULT_BROKER_CONFIG",
    )
    client.alter_broker_configs(None, {"log.retention.ms": None})
    assert "log.retention.ms" not in {entry.name for entry in client.describe_broker_configs(None)}
