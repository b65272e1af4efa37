"""Three broker processes form one cluster: they know each other, and say the same whoever is asked."""

from __future__ import annotations

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.cluster_process import ClusterProcess
from tests.support.topics import create_topic, delete_topic, set_topic_config
from tests.support.wire import Wire


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
    leaders = [cluster.leader(topic, partition) for partition in range(3)]
    assert set(leaders) == {1, 2, 3}
    paused = next(broker_id for broker_id in (1, 2, 3) if broker_id != cluster.controller())
    cluster.pause(paused)
    cluster.wait_gone(paused)
    cluster.resume(paused)
    assert cluster.wait_leader(topic, leaders.index(paused)) == paused


def test_what_one_of_them_acknowledges_all_of_them_show_at_once(cluster: ClusterProcess) -> None:
    """Whoever is asked to change something, the next question goes to another one."""
    for asked, other, third in ((1, 2, 3), (2, 3, 1), (3, 1, 2)):
        with (
            Wire(cluster.brokers[asked].port) as one,
            Wire(cluster.brokers[other].port) as two,
            Wire(cluster.brokers[third].port) as three,
        ):
            name = create_topic(one, replication_factor=3)
            assert topic_error(two, name) is topic_error(three, name) is ErrorCode.NONE
            set_topic_config(one, name, "retention.ms", "1234567")
            assert retention_ms(two, name) == retention_ms(three, name) == "1234567"
            delete_topic(one, name)
            assert topic_error(two, name) is topic_error(three, name) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def topic_error(wire: Wire, name: str) -> ErrorCode:
    request = m.MetadataRequest
    question = request(topics=[request.MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
    return ErrorCode(wire.call(ApiKey.METADATA, 12, question).topics[0].error_code)


def retention_ms(wire: Wire, name: str) -> str:
    request = m.DescribeConfigsRequest
    resource = request.DescribeConfigsResource(resource_type=2, resource_name=name, configuration_keys=["retention.ms"])
    answer = wire.call(ApiKey.DESCRIBE_CONFIGS, 4, request(resources=[resource]))
    return answer.results[0].configs[0].value
