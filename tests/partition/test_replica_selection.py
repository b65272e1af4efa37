"""Where the leader sends a consumer that names its rack."""

from __future__ import annotations

from broker.cluster.image import BrokerImage
from broker.partition.replica_selection import preferred_read_replica
from broker.partition.state import PartitionState
from tests.partition.test_state import leader

RACKS = {1: "a", 2: "b", 3: "b", 4: None}


def brokers(*ids: int) -> dict[int, BrokerImage]:
    return {
        i: BrokerImage(
            id=i, host="h", port=1, internal_host="h", internal_port=2, rack=RACKS[i], incarnation="now", epoch=i
        )
        for i in ids
    }


def replicated(*, isr=(1, 2, 3), ends=(10, 10)) -> PartitionState:
    state = leader(isr=isr)
    state.on_append(10)
    for replica, end in zip((2, 3), ends, strict=True):
        state.on_follower_fetch(replica, end, now_ms=1, log_start_offset=2, may_join=False)
    return state


def test_who_is_in_the_leaders_rack_stays_with_it() -> None:
    assert preferred_read_replica(replicated(), brokers(1, 2, 3), "a", 5) == -1


def test_a_rack_without_a_replica_stays_with_the_leader() -> None:
    assert preferred_read_replica(replicated(), brokers(1, 2, 3), "c", 5) == -1


def test_the_follower_in_the_rack_that_has_most_is_preferred_and_the_lower_id_of_equals() -> None:
    assert preferred_read_replica(replicated(ends=(9, 10)), brokers(1, 2, 3), "b", 5) == 3
    assert preferred_read_replica(replicated(), brokers(1, 2, 3), "b", 5) == 2


def test_only_live_and_in_sync_followers_that_have_the_offset_count() -> None:
    assert preferred_read_replica(replicated(), brokers(1, 3), "b", 5) == 3
    assert preferred_read_replica(replicated(isr=(1, 3)), brokers(1, 2, 3), "b", 5) == 3
    assert preferred_read_replica(replicated(ends=(9, 4)), brokers(1, 2, 3), "b", 9) == 2
    assert preferred_read_replica(replicated(ends=(9, 4)), brokers(1, 2, 3), "b", 10) == -1
    assert preferred_read_replica(replicated(), brokers(1, 2, 3), "b", 1) == -1, "it does not have the beginning"


def test_a_follower_sends_nobody_away() -> None:
    state = replicated()
    state.become_follower(leader=2, leader_epoch=1, partition_epoch=1, replicas=(1, 2, 3), isr=frozenset({1, 2}))
    assert preferred_read_replica(state, brokers(1, 2, 3), "b", 5) == -1
