"""What is wrong with a cluster, and what nobody could write while one broker is away, in sentences."""

from __future__ import annotations

from dataclasses import replace

from broker.rebalancing.standing import BrokerStanding, ClusterStanding, PartitionStanding, restart_order
from broker.types import TopicPartition


def partition(number: int, **values: object) -> PartitionStanding:
    known: dict[str, object] = {"leader": 1, "replicas": (1, 2, 3), "isr": (1, 2, 3), "min_isr": 2, **values}
    return PartitionStanding(key=TopicPartition("orders", number), **known)  # type: ignore[arg-type]


def cluster(*partitions: PartitionStanding, **brokers: BrokerStanding) -> ClusterStanding:
    given = {one.id: one for one in brokers.values()}
    return ClusterStanding(
        brokers={one: given.get(one, BrokerStanding(id=one, incarnation=f"life-{one}")) for one in (1, 2, 3)},
        partitions={one.key: one for one in partitions},
    )


def test_a_cluster_that_misses_nothing_has_no_troubles() -> None:
    assert cluster(partition(0), partition(1)).troubles() == []


def test_everything_that_is_missing_is_a_sentence() -> None:
    sick = cluster(
        partition(0, leader=-1, isr=()),
        partition(1, isr=(1, 2)),
        partition(2, isr=(1,)),
        partition(3, moving=True),
        one=BrokerStanding(id=1, answers=False),
        two=BrokerStanding(id=2, offline=["orders-1 (a checksum is wrong)", "orders-2 (a checksum is wrong)"]),
        three=BrokerStanding(id=3, settled=False, state="stopping"),
    )
    assert sick.troubles() == [
        "Broker 1 does not answer.",
        "Broker 2 has orders-1 (a checksum is wrong) and 1 more offline.",
        "Broker 3 has only just come back.",
        "Broker 3 is about to stop.",
        "orders-0 has no leader.",
        "orders-1 (broker 3) and 1 more are not in sync.",
        "orders-3 is being moved.",
    ]
    assert sick.missing_count == 3 + 1 + 2


def test_a_broker_that_left_long_ago_is_no_trouble_by_itself() -> None:
    assert cluster(partition(0), three=BrokerStanding(id=3, live=False, answers=False)).troubles() == []


def test_what_a_restart_would_interrupt_depends_on_the_copies_in_sync() -> None:
    whole = cluster(partition(0), partition(1, replicas=(1, 2), isr=(1, 2)), partition(2, replicas=(2,), isr=(2,)))
    assert whole.interrupted_by(3) == []
    assert whole.interrupted_by(1) == ["orders-1 would refuse acks=all while broker 1 is away."]
    assert whole.interrupted_by(2) == [
        "Nobody could use orders-2 while broker 2 is away: it has the only copy.",
        "orders-1 would refuse acks=all while broker 2 is away.",
    ]


def test_more_copies_wanted_than_there_are_is_as_many_as_there_are() -> None:
    assert partition(0, replicas=(1,), min_isr=2).needed == 1


def test_a_broker_is_relieved_of_what_a_willing_one_has_in_sync() -> None:
    whole = cluster(partition(0), partition(1, replicas=(1,), isr=(1,)), partition(2, leader=2))
    assert whole.relievable(1) == 1
    draining = {one: replace(whole.brokers[one], state="draining") for one in (2, 3)}
    assert replace(whole, brokers={1: whole.brokers[1], **draining}).relievable(1) == 0


def test_it_is_owed_what_it_is_the_first_replica_of_and_in_sync_with() -> None:
    whole = cluster(
        partition(0, leader=2),
        partition(1, leader=2, isr=(2, 3)),
        partition(2, replicas=(2, 1)),
        partition(3),
        partition(4, leader=-1),
    )
    assert whole.owed_to(1) == [TopicPartition("orders", 0)]


def test_a_log_has_to_reach_what_was_committed_when_it_was_looked_before() -> None:
    key, other = TopicPartition("orders", 0), TopicPartition("orders", 1)
    short = BrokerStanding(id=3, ends={key: 99, other: 5})
    now = cluster(partition(0, high_watermark=150), partition(1, replicas=(1, 2)), partition(2), three=short)
    before = cluster(partition(0, high_watermark=100), partition(1, replicas=(1, 2), high_watermark=9))
    assert now.not_reached(3, before) == [key]
    reached = replace(now, brokers={**now.brokers, 3: replace(short, ends={key: 100})})
    assert reached.not_reached(3, before) == []


def test_the_controller_is_the_last_so_that_it_changes_once() -> None:
    assert restart_order([3, 1, 2], controller=1) == [2, 3, 1]
    assert restart_order([2, 1], controller=-1) == [1, 2]
