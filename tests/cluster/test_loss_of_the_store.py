"""While the metadata store is away, leaders go on and nothing about the cluster is promised; when it is back, all is as before."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.cluster_process import ClusterProcess
from tests.support.topics import batch, produce_request
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.support.zookeeper import ZookeeperProcess

SESSION_SECONDS = 4
AWAY_SECONDS = SESSION_SECONDS + 3
"""Long enough for every session to run out, if the store's absence counted against it."""

Lose = Callable[[], AbstractContextManager[None]]

pytestmark = pytest.mark.timeout(240)


def lives_through(cluster: ClusterProcess, losing: Lose, *, seconds: float = AWAY_SECONDS) -> None:
    topic = cluster.create_topic(partitions=3, replication_factor=1)
    before = {partition: cluster.wait_leader(topic, partition) for partition in range(3)}
    epochs = {partition: cluster.partition(topic, partition).leader_epoch for partition in before}
    controller = cluster.controller()
    with losing():
        began, rounds = time.monotonic(), 0
        asked = False
        while time.monotonic() - began < seconds or not asked:
            for partition, leader in before.items():
                assert produce(cluster, leader, topic, partition) == ErrorCode.NONE
            rounds += 1
            if not asked:
                assert create(cluster, controller, "while-away") == ErrorCode.REQUEST_TIMED_OUT
                asked = True
    wait_until(lambda: create(cluster, controller, "afterwards") == ErrorCode.NONE, "the store is back", seconds=60)
    assert names(cluster, controller) >= {topic, "afterwards"}
    assert "while-away" not in names(cluster, controller)
    assert {partition: cluster.wait_leader(topic, partition) for partition in range(3)} == before
    assert {p: cluster.partition(topic, p).leader_epoch for p in before} == epochs, "nobody lost its session"
    assert cluster.controller() == controller
    for partition, leader in before.items():
        assert end_offset(cluster, leader, topic, partition) == rounds


def test_zookeeper_stops_and_starts_again(tmp_path: Path) -> None:
    with ZookeeperProcess(tmp_path / "zookeeper") as server:

        @contextmanager
        def stopped() -> Iterator[None]:
            server.kill()
            yield
            server.start()
            server.wait_serving()

        with ClusterProcess(tmp_path / "ottla", OTTLA_METADATA=server.url()) as cluster:
            lives_through(cluster, stopped)


def test_another_process_holds_the_file(tmp_path: Path) -> None:
    @contextmanager
    def locked() -> Iterator[None]:
        blocker = sqlite3.connect(tmp_path / "metadata.sqlite3", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        yield
        blocker.execute("ROLLBACK")
        blocker.close()

    with ClusterProcess(tmp_path) as cluster:
        lives_through(cluster, locked)


def test_the_file_is_removed_and_put_back(tmp_path: Path) -> None:
    @contextmanager
    def removed() -> Iterator[None]:
        (tmp_path / "metadata.sqlite3").rename(tmp_path / "aside")
        yield
        (tmp_path / "aside").rename(tmp_path / "metadata.sqlite3")

    with ClusterProcess(tmp_path) as cluster:
        lives_through(cluster, removed, seconds=1)


def produce(cluster: ClusterProcess, broker_id: int, topic: str, partition: int) -> int:
    with Wire(cluster.brokers[broker_id].port, timeout=60) as wire:
        answer = wire.call(ApiKey.PRODUCE, 9, produce_request({(topic, partition): batch(b"x")}))
    return answer.responses[0].partition_responses[0].error_code


def end_offset(cluster: ClusterProcess, broker_id: int, topic: str, partition: int) -> int:
    r = m.ListOffsetsRequest
    wanted = r.ListOffsetsPartition(partition_index=partition, timestamp=-1)
    with Wire(cluster.brokers[broker_id].port, timeout=60) as wire:
        answer = wire.call(
            ApiKey.LIST_OFFSETS,
            7,
            r(topics=[r.ListOffsetsTopic(name=topic, partitions=[wanted])]),
        )
    return answer.topics[0].partitions[0].offset


def create(cluster: ClusterProcess, broker_id: int, name: str) -> int:
    r = m.CreateTopicsRequest
    wanted = r.CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    with Wire(cluster.brokers[broker_id].port, timeout=60) as wire:
        answer = wire.call(ApiKey.CREATE_TOPICS, 5, r(timeout=30_000, topics=[wanted]))
    return answer.topics[0].error_code


def names(cluster: ClusterProcess, broker_id: int) -> set[str]:
    return {topic.name for topic in cluster.metadata(broker_id).topics}
