from __future__ import annotations

from dataclasses import replace

from broker.cluster import leader_balance, records
from broker.cluster.image import BrokerState, ClusterImage
from broker.cluster.leader_balance import decide_balance
from broker.config.broker import BrokerConfig
from broker.metadata.store import Transaction, VersionIs
from broker.types import format_topic_id
from tests.cluster.builders import NOW_MS, cluster, committed, partition_keys, placed, with_topics


def led_by(image: ClusterImage, **leaders: int) -> ClusterImage:
    """``p0=2``: partition 0 of topic a is led by broker 2; everybody is in sync."""
    topic = image.topics_by_name["a"]
    puts = {}
    for name, leader in leaders.items():
        index = int(name[1:])
        replicas = list(topic.partitions[index].replicas)
        record = records.PartitionRecord(replicas=replicas, isr=replicas, leader=leader, leader_epoch=3)
        puts[records.partition_key(format_topic_id(topic.topic_id), index)] = records.encode(record)
    return committed(image, Transaction(puts=puts))


def balance(image: ClusterImage, percentage: int = 10) -> Transaction | None:
    config = BrokerConfig(leader_imbalance_per_broker_percentage=percentage)
    return decide_balance(image, config=config, now_ms=NOW_MS)


def three(partitions: int = 3) -> ClusterImage:
    """Each partition prefers another broker."""
    placements = [tuple((index + step) % 3 + 1 for step in range(3)) for index in range(partitions)]
    return with_topics(cluster(1, 2, 3), placed("a", *placements))


def leaders(image: ClusterImage) -> list[int]:
    return [partition.leader for partition in image.topics_by_name["a"].partitions]


def test_there_is_nothing_to_do_while_preferred_leaders_lead() -> None:
    assert balance(three()) is None


def test_leadership_goes_back_to_the_preferred_leader() -> None:
    image = led_by(three(), p0=2, p2=1)
    decision = balance(image)
    assert decision is not None
    assert VersionIs(records.CONTROLLER_EPOCH, image.controller_epoch_version) in decision.preconditions
    after = committed(image, decision)
    assert leaders(after) == [1, 2, 3]
    assert (after.topics_by_name["a"].partitions[0].cause, after.topics_by_name["a"].partitions[0].leader_epoch) == (
        "preferred",
        4,
    )
    assert balance(after) is None


def test_not_to_one_that_is_not_in_sync_away_draining_or_stopping() -> None:
    image = led_by(three(), p0=2)
    key = records.partition_key(format_topic_id(image.topics_by_name["a"].topic_id), 0)
    behind = records.PartitionRecord(replicas=[1, 2, 3], isr=[2, 3], leader=2, leader_epoch=3)
    assert balance(committed(image, Transaction(puts={key: records.encode(behind)}))) is None
    assert balance(replace(image, brokers={i: image.brokers[i] for i in (2, 3)})) is None
    assert balance(replace(image, brokers_state={1: BrokerState(state="draining")})) is None
    assert balance(replace(image, stopping=frozenset({1}))) is None


def test_a_partition_that_nobody_leads_is_not_its_business() -> None:
    image = three()
    key = records.partition_key(format_topic_id(image.topics_by_name["a"].topic_id), 0)
    nobody = records.PartitionRecord(replicas=[1, 2, 3], isr=[], leader=-1, leader_epoch=3, last_known_leader=2)
    assert balance(committed(image, Transaction(puts={key: records.encode(nobody)}))) is None


def test_as_much_imbalance_as_is_tolerated_stays() -> None:
    image = led_by(three(30), p0=2)  # one of the ten that prefer broker 1
    assert balance(image, percentage=10) is None
    assert balance(image, percentage=9) is not None
    assert balance(led_by(image, p3=2), percentage=10) is not None


def test_one_transaction_carries_only_so_many(monkeypatch) -> None:
    monkeypatch.setattr(leader_balance, "ELECTIONS_MAX", 2)
    image = led_by(three(9), p0=2, p3=2, p6=2)
    first = balance(image)
    assert first is not None
    assert len(partition_keys(first)) == 2
    image = committed(image, first)
    second = balance(image)
    assert second is not None
    assert len(partition_keys(second)) == 1
    assert leaders(committed(image, second)) == [1, 2, 3] * 3
