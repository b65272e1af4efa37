"""The plan that evens a cluster out: never fewer copies, never two on one broker, racks apart, and then nothing more to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from broker.rebalancing.evening import plan_even
from broker.rebalancing.moves import BrokerFacts, MovePlan, PartitionFacts


def partition(number: int, replicas: tuple[int, ...], size: int = 100, **values: object) -> PartitionFacts:
    rest = {"isr": replicas, "leader": replicas[0], "min_isr": 1, **values}
    return PartitionFacts(topic="t", partition=number, replicas=replicas, size_bytes=size, **rest)  # type: ignore[arg-type]


def carried_out(partitions: list[PartitionFacts], plan: MovePlan) -> list[PartitionFacts]:
    after = {move.key: move.after for move in plan.moves}
    return [
        replace(one, replicas=new, isr=new, leader=new[0]) if (new := after.get((one.topic, one.partition))) else one
        for one in partitions
    ]


def brokers(count: int, racks: int = 0) -> list[BrokerFacts]:
    return [BrokerFacts(id=one, rack=f"r{one % racks}" if racks else "") for one in range(1, count + 1)]


def replica_counts(partitions: list[PartitionFacts]) -> Counter[int]:
    return Counter(broker for one in partitions for broker in one.replicas)


def leader_counts(partitions: list[PartitionFacts]) -> Counter[int]:
    return Counter(one.replicas[0] for one in partitions)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[PartitionFacts], list[BrokerFacts]]:
    count = draw(st.integers(2, 6))
    members = brokers(count, draw(st.sampled_from([0, 2, 3])))
    members = [replace(one, online=draw(st.integers(0, 9)) > 0, accepts=draw(st.integers(0, 9)) > 0) for one in members]
    ids = [one.id for one in members]
    partitions = [
        partition(
            number,
            tuple(draw(st.permutations(ids))[: draw(st.integers(1, min(3, count)))]),
            draw(st.integers(0, 1_000)),
            moving=draw(st.integers(0, 9)) == 0,
        )
        for number in range(draw(st.integers(0, 14)))
    ]
    return partitions, members


def racks_of(members: list[BrokerFacts], replicas: tuple[int, ...]) -> int:
    return len({one.rack for one in members if one.id in replicas})


@given(clusters(), st.booleans())
def test_copies_are_kept_apart_and_a_second_plan_is_empty(
    cluster: tuple[list[PartitionFacts], list[BrokerFacts]], one_leaves: bool
) -> None:
    partitions, members = cluster
    leaving = members[0].id if one_leaves else None
    plan = plan_even(partitions, members, leaving=leaving)
    takes = {one.id for one in members if one.online and one.accepts} - {leaving}
    for move in plan.moves:
        assert move.changes
        assert not move.facts.moving
        assert len(move.after) == len(set(move.after)) == len(move.facts.replicas)
        assert set(move.adding) <= takes
        assert leaving in move.removing or racks_of(members, move.after) >= racks_of(members, move.facts.replicas)
    assert plan_even(carried_out(partitions, plan), members, leaving=leaving).moves == ()


@given(
    st.lists(st.tuples(st.permutations([1, 2, 3]), st.integers(0, 500)), min_size=1, max_size=20),
    st.integers(1, 3),
)
def test_a_broker_that_joins_gets_its_share(placed: list[tuple[list[int], int]], factor: int) -> None:
    before = [partition(number, tuple(ids[:factor]), size) for number, (ids, size) in enumerate(placed)]
    after = carried_out(before, plan_even(before, brokers(4)))
    for counts in (replica_counts(after), leader_counts(after)):
        assert max(counts.values()) - min(counts[one] for one in range(1, 5)) <= 1


@given(st.lists(st.permutations([1, 2, 3, 4]), min_size=1, max_size=20))
def test_what_is_emptied_is_empty_and_nothing_else_is_lost(placed: list[list[int]]) -> None:
    before = [partition(number, tuple(ids[:3])) for number, ids in enumerate(placed)]
    plan = plan_even(before, brokers(4), leaving=4)
    assert plan.refusals == ()
    after = carried_out(before, plan)
    assert replica_counts(after) == {1: len(placed), 2: len(placed), 3: len(placed)}
    assert sum(len(move.adding) for move in plan.moves) == sum(4 in one.replicas for one in before), (
        "and nothing else moves"
    )


def test_a_join_moves_no_more_than_the_newcomers_share() -> None:
    before = [partition(number, ((1, 2), (2, 3), (3, 1))[number % 3]) for number in range(12)]
    plan = plan_even(before, brokers(4), throttle=100)
    assert sum(len(move.adding) for move in plan.moves) == 6
    assert plan.copied_bytes == 600
    assert plan.incoming[4] == 600
    assert plan.seconds == 6.0


def test_bytes_are_evened_by_changing_places() -> None:
    before = [partition(0, (1,), 1_000), partition(1, (1,), 900), partition(2, (2,), 10), partition(3, (2,), 20)]
    after = carried_out(before, plan_even(before, brokers(2)))
    held = Counter[int]()
    for one in after:
        held[one.replicas[0]] += one.size_bytes or 0
    assert sorted(held.values()) == [920, 1_010]


def test_two_replicas_in_one_rack_are_parted_when_there_is_another() -> None:
    members = [BrokerFacts(id=1, rack="a"), BrokerFacts(id=2, rack="a"), BrokerFacts(id=3, rack="b")]
    (move,) = plan_even([partition(0, (1, 2))], members).moves
    assert 3 in move.after


def test_a_replica_without_another_home_is_told() -> None:
    plan = plan_even([partition(0, (1, 2, 3)), partition(1, (1,), leader=-1)], brokers(3), leaving=1)
    assert plan.refusals == (
        "t-0 has nowhere to go: all other brokers have it, or take nothing.",
        "t-1 has no leader: there is nothing to copy from.",
    )
    assert plan.moves == ()


def test_leaders_even_out_over_a_third_broker() -> None:
    """1 leads too much and shares nothing with 3: 2 takes over from it and hands on."""
    before = [
        partition(0, (1, 2)),
        partition(1, (1, 2)),
        partition(2, (2, 3)),
        partition(3, (1, 2)),
        partition(4, (2, 3)),
    ]
    plan = plan_even(before, [*brokers(3)])
    assert max(leader_counts(carried_out(before, plan)).values()) <= 2
