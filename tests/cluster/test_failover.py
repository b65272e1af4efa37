"""Leadership moves between real processes: at once when its holder says that it stops, soon when it just dies."""

from __future__ import annotations

import time

from confluent_kafka import Producer

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.cluster_process import QUICK, ClusterProcess
from tests.support.wait import wait_until

SECONDS_MAX = 60.0


def write(cluster: ClusterProcess, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "message.timeout.ms": 30_000})
    failed: list[str] = []
    producer.produce(
        topic, value, partition=0, on_delivery=lambda error, _: failed.append(str(error)) if error else None
    )
    assert producer.flush(SECONDS_MAX) == 0
    assert not failed


def test_a_leader_that_stops_is_relieved_before_it_is_gone(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=6, min_insync_replicas="2")
    cluster.wait_isr(topic)
    stopping = cluster.leader(topic)
    cluster.brokers[stopping].terminate()
    others = [broker_id for broker_id in (1, 2, 3) if broker_id != stopping]

    def relieved() -> bool:
        partitions = [p for b in others for p in cluster.metadata(b, topic).topics[0].partitions]
        assert all(partition.leader != -1 for partition in partitions), "nobody waits for a leader"
        return all(stopping not in (partition.leader, *partition.isr) for partition in partitions)

    wait_until(relieved, "the others lead everything", seconds=SECONDS_MAX)
    assert cluster.brokers[stopping].wait_stopped()
    write(cluster, topic, b"written by the others")
    cluster.start(stopping)
    cluster.wait_isr(topic)


def test_a_leader_that_dies_is_replaced_within_the_session_and_two_seconds(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=30, min_insync_replicas="2")
    write(cluster, topic, b"before")
    leader = cluster.leader(topic)
    cluster.kill(leader)
    killed = time.monotonic()
    cluster.wait_leader(topic, other_than=leader)
    assert time.monotonic() - killed < int(QUICK["OTTLA_BROKER_SESSION_TIMEOUT_MS"]) / 1_000 + 2
    write(cluster, topic, b"after")
    cluster.start(leader)
    cluster.wait_isr(topic)


def test_a_partition_moves_to_other_brokers_and_says_when_it_has(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(replication_factor=1)
    write(cluster, topic, b"on the way")
    before = cluster.partition(topic)
    target = tuple(broker_id for broker_id in (1, 2, 3) if broker_id not in before.replicas)
    Move = m.AlterPartitionReassignmentsRequest
    partition = Move.ReassignablePartition(partition_index=0, replicas=target)
    request = Move(topics=[Move.ReassignableTopic(name=topic, partitions=[partition])], timeout=10_000)
    with cluster.brokers[before.leader].wire() as wire:
        answer = wire.call(ApiKey.ALTER_PARTITION_REASSIGNMENTS, 1, request)
    assert answer.responses[0].partitions[0].error_code == 0
    wait_until(
        lambda: cluster.partition(topic).replicas == target and set(cluster.partition(topic).isr) == set(target),
        "the partition is where it was sent",
        seconds=SECONDS_MAX,
    )
    write(cluster, topic, b"arrived")
