"""Topics made while brokers are away, or the moment before all of them are killed, on real broker processes."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from broker.client.blocking import Client
from broker.cluster.decision import NewTopic
from broker.cluster.driver import ClusterDriver
from broker.config.broker import BrokerConfig
from broker.metadata.sqlite import SqliteStore
from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until


def commit_topic(home: Path, name: str, partitions: int) -> None:
    """Create a topic in the metadata store, as a broker does, while nobody is there to make its directories."""

    async def commit() -> None:
        config = BrokerConfig.from_environment({"OTTLA_HOME": str(home)}, node_id=9)
        driver = ClusterDriver(SqliteStore(home / "metadata.sqlite3"), config, incarnation="test")
        await driver.start()
        try:
            (result,) = await driver.create_topics(
                [
                    NewTopic(
                        name=name,
                        partition_count=partitions,
                        replication_factor=3,
                        configs={"min.insync.replicas": "2"},
                    )
                ]
            )
            assert result.error is None
        finally:
            await driver.stop()

    asyncio.run(commit())


def test_a_topic_whose_directories_nobody_made_before_all_were_killed_has_leaders(cluster: ClusterProcess) -> None:
    lost = cluster.create_topic(min_insync_replicas="2")
    with Client(cluster.bootstrap) as client:
        client.produce(lost, None, b"acknowledged", partition=0)
    for broker_id in (1, 2, 3):
        cluster.kill(broker_id)
    commit_topic(cluster.home, "unmade", partitions=3)
    for broker in cluster.brokers.values():
        assert not (broker.data_directory / "unmade-0").exists()
    # Of another topic one broker's directory is taken away: that one is lost, and must not be led by the empty one.
    shutil.rmtree(cluster.brokers[1].data_directory / f"{lost}-0")

    cluster.start_all()

    for partition in range(3):
        cluster.wait_leader("unmade", partition)
        cluster.wait_isr("unmade", partition)
        assert cluster.partition("unmade", partition).leader_epoch > 0
    assert cluster.wait_leader(lost) != 1
    cluster.wait_isr(lost)
    with Client(cluster.bootstrap) as client:
        assert client.produce("unmade", None, b"first", partition=0).offset == 0
        assert [record.value for record in client.fetch_records(lost, 0, 0)] == [b"acknowledged"]


def test_with_one_of_three_away_topics_get_three_replicas_and_it_catches_up(cluster: ClusterProcess) -> None:
    away = next(broker_id for broker_id in (1, 2, 3) if broker_id != cluster.controller())
    cluster.kill(away)
    cluster.wait_gone(away)
    topic = cluster.create_topic(partitions=3, replication_factor=3, min_insync_replicas="2")
    here = {1, 2, 3} - {away}
    for partition in range(3):
        made = cluster.partition(topic, partition)
        assert set(made.replicas) == {1, 2, 3}
        assert set(made.isr) == here
        assert made.leader == made.replicas[0]
    with Client(cluster.bootstrap) as client:
        for partition in range(3):
            client.produce(topic, None, b"x", partition=partition)
    cluster.start(away)
    for partition in range(3):
        cluster.wait_isr(topic, partition)


def test_the_client_goes_on_while_metadata_name_a_dead_controller(cluster: ClusterProcess) -> None:
    with Client(cluster.bootstrap) as client:
        client.metadata()
        dead = cluster.controller()
        cluster.kill(dead)
        for number in range(5):
            client.create_topic(f"made-{number}", partitions=1, replication_factor=2)
        cluster.wait_gone(dead)
        wait_until(
            lambda: {f"made-{number}" for number in range(5)} <= {topic.name for topic in client.metadata().topics},
            "all topics are there",
        )
