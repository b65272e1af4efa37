from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.cluster.placement import Place, place_replicas


def broker(broker_id: int, rack: str | None = None) -> Place:
    return Place(id=broker_id, rack=rack)


@given(
    brokers=st.integers(1, 9),
    partitions=st.integers(1, 60),
    factor=st.integers(1, 9),
    seed=st.integers(0, 1000),
    racks=st.integers(0, 4),
)
def test_replicas_are_distinct_and_leaders_even(
    brokers: int, partitions: int, factor: int, seed: int, racks: int
) -> None:
    factor = min(factor, brokers)
    live = [broker(i, rack=f"r{i % racks}" if racks else None) for i in range(1, brokers + 1)]
    placed = place_replicas(live, partition_count=partitions, replication_factor=factor, random=Random(seed))
    assert len(placed) == partitions
    for replicas in placed:
        assert len(replicas) == len(set(replicas)) == factor
    leaders = Counter(replicas[0] for replicas in placed)
    assert max(leaders.values()) - min(leaders.get(b.id, 0) for b in live) <= 1


def test_the_second_replicas_shift_with_every_lap() -> None:
    placed = place_replicas(
        [broker(i) for i in range(1, 4)], partition_count=6, replication_factor=2, random=Random(0), start_index=0
    )
    assert placed == [(1, 2), (2, 3), (3, 1), (1, 3), (2, 1), (3, 2)]


def test_the_start_is_random() -> None:
    live = [broker(i) for i in range(1, 4)]
    starts = {
        place_replicas(live, partition_count=1, replication_factor=1, random=Random(seed))[0][0] for seed in range(30)
    }
    assert starts == {1, 2, 3}


def test_more_partitions_continue_the_round() -> None:
    live = [broker(i) for i in range(1, 4)]
    whole = place_replicas(live, partition_count=7, replication_factor=1, random=Random(0), start_index=1)
    later = place_replicas(
        live, partition_count=3, replication_factor=1, random=Random(0), first_partition=4, start_index=1
    )
    assert later == whole[4:]


@pytest.mark.parametrize("partitions", [1, 12])
def test_no_rack_gets_a_second_replica_before_every_rack_has_one(partitions: int) -> None:
    racks = {1: "a", 2: "a", 3: "a", 4: "b", 5: "b", 6: "c"}
    live = [broker(broker_id, rack=rack) for broker_id, rack in racks.items()]
    for seed in range(20):
        for replicas in place_replicas(live, partition_count=partitions, replication_factor=3, random=Random(seed)):
            assert {racks[broker_id] for broker_id in replicas} == {"a", "b", "c"}


def test_one_broker_without_a_rack_makes_all_racks_unknown() -> None:
    live = [broker(1, rack="a"), broker(2, rack="a"), broker(3)]
    placed = place_replicas(live, partition_count=3, replication_factor=1, random=Random(0), start_index=0)
    assert placed == [(1,), (2,), (3,)]


def test_who_is_away_takes_what_those_here_cannot_and_never_the_first_replica() -> None:
    here, away, leaving = [broker(1), broker(3)], [broker(2), broker(4)], [broker(5)]
    placed = place_replicas(
        here, reserve=[away, leaving], partition_count=4, replication_factor=3, random=Random(0), start_index=0
    )
    assert [set(replicas[:2]) for replicas in placed] == [{1, 3}] * 4
    assert [replicas[0] for replicas in placed] == [1, 3, 1, 3]
    assert [replicas[2] for replicas in placed] == [2, 4, 2, 4]
    five = place_replicas(
        here, reserve=[away, leaving], partition_count=2, replication_factor=5, random=Random(0), start_index=0
    )
    assert [replicas[2:] for replicas in five] == [(2, 4, 5), (4, 2, 5)]


def test_while_enough_are_here_nobody_who_is_away_is_taken() -> None:
    here = [broker(1), broker(2), broker(3)]
    for seed in range(10):
        for replicas in place_replicas(
            here, reserve=[[broker(4)]], partition_count=6, replication_factor=3, random=Random(seed)
        ):
            assert set(replicas) == {1, 2, 3}


def test_of_those_away_other_racks_come_first() -> None:
    here, away = [broker(1, "a")], [broker(2, "a"), broker(3, "b"), broker(4, "c")]
    for replicas in place_replicas(here, reserve=[away], partition_count=6, replication_factor=3, random=Random(0)):
        assert replicas[0] == 1
        assert set(replicas[1:]) == {3, 4}
