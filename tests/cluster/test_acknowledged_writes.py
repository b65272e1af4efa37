"""Three real brokers: what is acknowledged survives whoever dies, stalls or comes back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from broker.client.blocking import Client
from broker.config.broker_schema import RACK_AWARE_SELECTOR
from broker.errors import ErrorCode
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from tests.support.cluster_process import ClusterProcess
from tests.support.topics import batch, fetch, produce, produce_request
from tests.support.wire import Wire

RECORDS = 3_000
LAG_MS = 1_500


def test_nothing_acknowledged_is_lost_or_doubled_when_leaders_are_killed(tmp_path: Path) -> None:
    with ClusterProcess(tmp_path, OTTLA_ACK_DURABILITY="os") as cluster:
        topic = cluster.create_topic(partitions=3, min_insync_replicas="2")
        acknowledged: list[tuple[int, int, bytes]] = []
        producer = Producer(
            {"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True, "linger.ms": 1, "acks": "all"}
        )

        def on_delivery(error, message) -> None:
            assert error is None, error
            acknowledged.append((message.partition(), message.offset(), message.value()))

        def write(first: int, last: int) -> None:
            for number in range(first, last):
                producer.produce(topic, b"%d" % number, partition=number % 3, on_delivery=on_delivery)
                producer.poll(0.001)

        write(0, RECORDS // 3)
        killed = cluster.wait_leader(topic)
        cluster.kill(killed)
        write(RECORDS // 3, 2 * RECORDS // 3)
        cluster.wait_leader(topic, other_than=killed)
        cluster.start(killed)
        for partition in range(3):
            cluster.wait_isr(topic, partition)
        second = cluster.wait_leader(topic, 1)
        cluster.kill(second)
        write(2 * RECORDS // 3, RECORDS)
        assert producer.flush(60) == 0
        cluster.start(second)
        for partition in range(3):
            cluster.wait_isr(topic, partition)
        assert len(acknowledged) == RECORDS
        assert read_all(cluster, topic) == sorted(acknowledged)


def read_all(cluster: ClusterProcess, topic: str) -> list[tuple[int, int, bytes]]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader", "auto.offset.reset": "earliest"})
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(3)])
    found = []
    deadline = time.monotonic() + 60
    while len(found) < RECORDS and time.monotonic() < deadline:
        for message in consumer.consume(500, 0.5):
            assert message.error() is None, message.error()
            found.append((message.partition(), message.offset(), message.value()))
    assert not consumer.consume(1, 0.5), "more than was acknowledged"
    consumer.close()
    return sorted(found)


def test_a_leader_that_stood_still_acknowledges_nothing_when_it_wakes_up(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(min_insync_replicas="2")
    leader = cluster.wait_leader(topic)
    cluster.wait_isr(topic)
    with Wire(cluster.brokers[leader].port, timeout=60) as wire:
        assert produce(wire, topic, batch(b"before")).error_code == 0
        cluster.pause(leader)
        # It lies in the sleeper's socket until it wakes up, before it can know that its time is over.
        wire.request(ApiKey.PRODUCE, 9, produce_request({(topic, 0): batch(b"zombie")}, timeout_ms=2_000))
        successor = cluster.wait_leader(topic, other_than=leader)
        with Wire(cluster.brokers[successor].port, timeout=60) as other:
            assert produce(other, topic, batch(b"after")).error_code == 0
        cluster.resume(leader)
        _, answer = wire.answer(ApiKey.PRODUCE, 9)
        code = answer.responses[0].partition_responses[0].error_code
        assert code in (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.REQUEST_TIMED_OUT)
    cluster.wait_isr(topic)
    with Wire(cluster.brokers[cluster.wait_leader(topic)].port) as wire:
        found = fetch(wire, topic, 0)
    assert [record.value for record in iter_records(found.records)] == [b"before", b"after"]
    cluster.replicas_agree(topic, high_watermark=2)


@pytest.fixture
def quick_to_drop(tmp_path: Path):
    """Followers leave the in-sync set long before they are given up."""
    with ClusterProcess(
        tmp_path,
        OTTLA_REPLICA_LAG_TIME_MAX_MS=str(LAG_MS),
        OTTLA_BROKER_SESSION_TIMEOUT_MS="40000",
        OTTLA_ACK_DURABILITY="os",
    ) as cluster:
        yield cluster


def test_followers_that_stall_leave_the_in_sync_set_and_producers_are_told(quick_to_drop: ClusterProcess) -> None:
    cluster = quick_to_drop
    controller = cluster.controller()
    topic = cluster.create_topic(partitions=3, min_insync_replicas="2")
    partition = next(index for index in range(3) if cluster.wait_leader(topic, index) == controller)
    cluster.wait_isr(topic, partition)
    first, second = sorted({1, 2, 3} - {controller})
    with Wire(cluster.brokers[controller].port, timeout=60) as wire:
        assert produce(wire, topic, batch(b"a"), partition=partition).error_code == 0
        cluster.pause(first)
        began = time.monotonic()
        assert produce(wire, topic, batch(b"b"), partition=partition, timeout_ms=30_000).error_code == 0
        assert time.monotonic() - began > LAG_MS / 4_000, "it waited for the member that stalled"
        cluster.wait_isr(topic, partition, {controller, second})
        cluster.pause(second)
        told = produce(wire, topic, batch(b"c"), partition=partition, timeout_ms=30_000).error_code
        assert told == ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        told = produce(wire, topic, batch(b"d"), partition=partition).error_code
        assert told == ErrorCode.NOT_ENOUGH_REPLICAS
        assert produce(wire, topic, batch(b"e"), partition=partition, acks=1).error_code == 0
        assert fetch(wire, topic, 2, partition=partition).high_watermark == 2, "two copies, or it is not shown"
        cluster.resume(first)
        cluster.resume(second)
        cluster.wait_isr(topic, partition)
        assert produce(wire, topic, batch(b"f"), partition=partition).error_code == 0
        found = fetch(wire, topic, 0, partition=partition)
        assert [record.value for record in iter_records(found.records)] == [b"a", b"b", b"c", b"e", b"f"]


def test_a_consumer_reads_from_the_replica_in_its_rack(tmp_path: Path) -> None:
    racks = {broker_id: {"OTTLA_BROKER_RACK": f"rack-{broker_id}"} for broker_id in (1, 2, 3)}
    with ClusterProcess(tmp_path, of_broker=racks, OTTLA_REPLICA_SELECTOR_CLASS=RACK_AWARE_SELECTOR) as cluster:
        topic = cluster.create_topic(min_insync_replicas="2")
        leader = cluster.wait_leader(topic)
        cluster.wait_isr(topic)
        near = next(broker_id for broker_id in (1, 2, 3) if broker_id != leader)
        with Wire(cluster.brokers[leader].port, timeout=60) as wire:
            for number in range(20):
                assert produce(wire, topic, batch(b"%d" % number)).error_code == 0
            assert fetch(wire, topic, 0, rack_id=f"rack-{near}").preferred_read_replica == near
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "near", "client.rack": f"rack-{near}"})
        consumer.assign([TopicPartition(topic, 0, 0)])
        values: list[bytes] = []
        deadline = time.monotonic() + 30
        while len(values) < 20 and time.monotonic() < deadline:
            values += [message.value() for message in consumer.consume(20, 0.5)]
        consumer.close()
        assert values == [b"%d" % number for number in range(20)]
        internal = f"127.0.0.1:{cluster.brokers[near].internal_port}"
        with Client(internal, cluster.cluster_secret) as client:
            (sample,) = client.telemetry(broker_id=near).samples
        (told,) = [entry for entry in sample.partitions if entry.topic == topic]
        assert told.bytes_out_total > 0, "nobody read from it"
