"""A cluster of three brokers that keep their metadata in ZooKeeper."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until
from tests.support.zookeeper import ZookeeperProcess

pytestmark = pytest.mark.timeout(240)


PARTITIONS = (0, 1, 2)


def produce(cluster: ClusterProcess, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "message.timeout.ms": 60_000})
    failed: list[object] = []
    for number, value in enumerate(values):
        producer.produce(
            topic,
            value,
            partition=PARTITIONS[number % 3],
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(90) == 0
    assert failed == []


def consume(cluster: ClusterProcess, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap, "group.id": f"of {topic}", "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[bytes] = []

    def enough() -> bool:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            found.append(message.value())
        return len(found) >= count

    try:
        wait_until(enough, f"{count} records of {topic} are read", seconds=90)
    finally:
        consumer.close()
    return found


def test_a_cluster_lives_on_zookeeper_and_survives_its_controller(tmp_path: Path, zookeeper: ZookeeperProcess) -> None:
    with ClusterProcess(tmp_path, OTTLA_METADATA=zookeeper.url()) as cluster:
        assert not (tmp_path / "metadata.sqlite3").exists()
        topic = cluster.create_topic(partitions=3, min_insync_replicas="2")
        for partition in PARTITIONS:
            cluster.wait_isr(topic, partition)
        first = [b"%d" % number for number in range(300)]
        produce(cluster, topic, first)
        controller = cluster.controller()
        cluster.kill(controller)
        cluster.wait_gone(controller)
        assert cluster.wait_controller(other_than=controller) in {1, 2, 3} - {controller}
        for partition in PARTITIONS:
            cluster.wait_leader(topic, partition, other_than=controller)
        later = [b"%d" % number for number in range(300, 600)]
        produce(cluster, topic, later)
        another = cluster.create_topic(partitions=3, replication_factor=2)
        produce(cluster, another, first)
        cluster.start(controller)
        for partition in PARTITIONS:
            cluster.wait_isr(topic, partition)
        assert sorted(consume(cluster, topic, 600)) == sorted(first + later)
        assert sorted(consume(cluster, another, 300)) == sorted(first)
