"""Three broker processes form one cluster: they know each other, and say the same whoever is asked."""

from __future__ import annotations

from tests.support.cluster_process import ClusterProcess
from tests.support.wait import wait_until


def test_they_know_each_other_and_one_is_controller(cluster: ClusterProcess) -> None:
    views = [cluster.metadata(broker_id).cluster for broker_id in (1, 2, 3)]
    assert [broker.id for broker in views[0].brokers] == [1, 2, 3]
    assert [broker.port for broker in views[0].brokers] == [broker.port for broker in cluster.brokers.values()]
    assert views[0] == views[1] == views[2]
    assert cluster.controller() in (1, 2, 3)


def test_a_topic_on_all_of_them_is_the_same_whoever_is_asked(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=6, min_insync_replicas="2")
    views = [cluster.metadata(broker_id, topic).topics for broker_id in (1, 2, 3)]
    assert views[0] == views[1] == views[2]
    (described,) = views[0]
    assert [sorted(partition.replicas) for partition in described.partitions] == [[1, 2, 3]] * 6
    assert {partition.leader for partition in described.partitions} == {1, 2, 3}


def test_another_one_becomes_controller_when_it_is_killed(cluster: ClusterProcess) -> None:
    former = cluster.controller()
    cluster.kill(former)
    assert cluster.wait_controller(other_than=former) in {1, 2, 3} - {former}
    cluster.start(former)
    assert [broker.id for broker in cluster.metadata(former).cluster.brokers] == [1, 2, 3]
    assert cluster.controller() != former


def test_one_that_does_not_answer_is_given_up_and_comes_back(cluster: ClusterProcess) -> None:
    topic = cluster.create_topic(partitions=3, replication_factor=1)
    led = {partition.leader for partition in cluster.metadata(1, topic).topics[0].partitions}
    assert led == {1, 2, 3}
    paused = next(broker_id for broker_id in (1, 2, 3) if broker_id != cluster.controller())
    cluster.pause(paused)
    cluster.wait_gone(paused)
    cluster.resume(paused)
    cluster.wait_brokers()
    wait_until(
        lambda: {partition.leader for partition in cluster.metadata(paused, topic).topics[0].partitions} == {1, 2, 3},
        "the partitions are led by all three again",
    )
