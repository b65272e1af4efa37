from __future__ import annotations

import pytest

from broker.cluster import records
from broker.cluster.config_admin import decide_alter_configs
from broker.cluster.config_changes import ConfigChange, ResourceChange
from broker.cluster.decision import NewTopic
from broker.cluster.image import ClusterImage, PartitionImage
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.metadata.store import Transaction
from broker.types import format_topic_id
from tests.cluster.builders import NOW_MS, cluster, committed, outcome, with_topics

CONFIG = BrokerConfig.from_environment({"OTTLA_MIN_INSYNC_REPLICAS": "2"})


def image(**configs: str) -> ClusterImage:
    """Broker 1 leads alone, 2 and 3 are eligible."""
    topic = NewTopic(
        name="a", assignments=((0, (1, 2, 3)),), configs={name.replace("_", "."): v for name, v in configs.items()}
    )
    made = with_topics(cluster(1, 2, 3), topic)
    record = records.PartitionRecord(
        replicas=[1, 2, 3], isr=[1], leader=1, leader_epoch=4, partition_epoch=9, elr=[2, 3]
    )
    key = records.partition_key(format_topic_id(made.topics_by_name["a"].topic_id), 0)
    return committed(made, Transaction(puts={key: records.encode(record)}))


def altered(before: ClusterImage, kind: int, name: str, minimum: str) -> PartitionImage:
    change = ResourceChange(type=kind, name=name, changes=(ConfigChange(name="min.insync.replicas", value=minimum),))
    decision = decide_alter_configs(before, [change], config=CONFIG, now_ms=NOW_MS)
    assert [result.error for result in decision.results] == [None]
    return committed(before, decision.transaction).topics_by_name["a"].partitions[0]


@pytest.mark.parametrize(("kind", "name"), [(2, "a"), (4, "")])
def test_nobody_stays_eligible_by_a_minimum_that_was_lowered(kind: int, name: str) -> None:
    partition = altered(image(), kind, name, "1")
    assert (partition.leader, partition.leader_epoch, partition.isr, partition.elr) == (1, 4, (1,), ())
    assert (partition.partition_epoch, partition.cause) == (10, "config_changed")


def test_who_is_eligible_by_both_minima_stays_so() -> None:
    assert altered(image(min_insync_replicas="3"), 2, "a", "2").elr == (2, 3)


def test_a_topic_with_a_minimum_of_its_own_does_not_follow_the_default() -> None:
    assert altered(image(min_insync_replicas="2"), 4, "", "1").elr == (2, 3)


def test_one_broker_alone_has_no_other_minimum() -> None:
    change = ResourceChange(type=4, name="1", changes=(ConfigChange(name="min.insync.replicas", value="1"),))
    decision = decide_alter_configs(image(), [change], config=CONFIG, now_ms=NOW_MS)
    (error,) = [outcome(result.error) for result in decision.results]
    assert error is not None
    assert error[0] is ErrorCode.INVALID_CONFIG
    assert decision.transaction is None
