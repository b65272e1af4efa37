"""What a move would do, before anything does it."""

from __future__ import annotations

from broker.rebalancing.moves import BrokerFacts, PartitionFacts
from broker.types import TopicPartition
from dashboard.operations.move_plan import plan_exactly, plan_spread

BROKERS = {number: BrokerFacts(id=number) for number in (1, 2, 3, 4)}


def facts(number: int = 0, **values: object) -> PartitionFacts:
    defaults = {"replicas": (1, 2), "isr": (1, 2), "leader": 1, "size_bytes": 1_000, "min_isr": 1}
    return PartitionFacts(topic="orders", partition=number, **{**defaults, **values})  # type: ignore[arg-type]


def chosen(*ids: int) -> list[BrokerFacts]:
    return [BROKERS[one] for one in ids]


def test_a_partition_that_is_where_it_should_be_does_not_move() -> None:
    plan = plan_spread([facts()], chosen(1, 2), None, None)
    assert (plan.changed, plan.unchanged, plan.copied_bytes) == ((), 1, 0)


def test_what_can_stay_stays_and_the_rest_goes_where_there_is_least() -> None:
    plan = plan_spread([facts(0), facts(1), facts(2)], chosen(1, 3, 4), None, None)
    assert [move.after for move in plan.moves] == [(1, 3), (1, 4), (1, 3)]
    assert plan.copied_bytes == 3_000
    assert plan.incoming == {3: 2_000, 4: 1_000}
    assert plan.outgoing == {1: 3_000}


def test_a_preferred_leader_that_goes_is_replaced_by_who_leads_least() -> None:
    plan = plan_spread([facts(0), facts(1)], chosen(2, 3), None, None)
    assert [move.after for move in plan.moves] == [(2, 3), (3, 2)]
    assert plan.leaders_moving == 2


def test_replicas_of_one_partition_go_to_different_racks() -> None:
    racked = [BrokerFacts(id=one, rack=rack) for one, rack in ((1, "a"), (2, "a"), (3, "b"))]
    plan = plan_spread([facts(replicas=(1,), isr=(1,))], racked, 2, None)
    assert plan.moves[0].after == (1, 3)


def test_more_replicas_than_brokers_is_refused_in_words() -> None:
    plan = plan_spread([facts()], chosen(1, 2), 3, None)
    assert plan.refusals == ("3 replicas do not fit on 2 brokers.",)


def test_brokers_that_cannot_take_anything_are_named() -> None:
    brokers = {1: BROKERS[1], 2: BrokerFacts(id=2, online=False), 3: BrokerFacts(id=3, accepts=False)}
    plan = plan_exactly([facts()], brokers, (2, 3, 9, 9), None)
    assert plan.refusals == (
        "Broker 2 does not answer.",
        "Broker 3 takes no new replicas: it is being drained or was taken out.",
        "There is no broker 9.",
        "There is no broker 9.",
        "A broker is named twice.",
    )


def test_without_a_leader_or_on_its_way_already_it_cannot_begin() -> None:
    plan = plan_exactly([facts(0, leader=-1), facts(1, moving=True)], BROKERS, (1, 3), None)
    assert plan.refusals == (
        "orders-0 has no leader: there is nothing to copy from until it has.",
        "orders-1 is being moved already: cancel that first.",
    )


def test_the_time_is_that_of_the_broker_with_most_to_do() -> None:
    plan = plan_exactly([facts(0), facts(1)], BROKERS, (3, 4), 100)
    assert plan.seconds == 40.0, "broker 1 sends both partitions to both new brokers"
    assert plan_exactly([facts(size_bytes=None)], BROKERS, (3, 4), 100).seconds is None
    assert plan_exactly([facts()], BROKERS, (3, 4), None).seconds is None


def test_what_has_no_spare_copy_meanwhile_and_afterwards_is_said() -> None:
    safe = plan_exactly([facts(replicas=(1, 2, 3), isr=(1, 2, 3), min_isr=2)], BROKERS, (2, 3, 4), None)
    assert (safe.without_spare, safe.left_at_limit) == ((), ())
    limit = plan_exactly([facts(replicas=(1, 2, 3), isr=(1, 2), min_isr=2)], BROKERS, (1, 4), None)
    assert (len(limit.without_spare), len(limit.left_at_limit)) == (1, 1)
    single = plan_exactly([facts(replicas=(1,), isr=(1,))], BROKERS, (2,), None)
    assert len(single.without_spare) == 1


def test_a_move_that_stops_writers_until_copies_are_in_sync_is_said() -> None:
    grows = plan_exactly([facts(replicas=(1,), isr=(1,), min_isr=2)], BROKERS, (1, 2, 3), None)
    assert len(grows.refusing_meanwhile) == 1
    moves = plan_exactly([facts(replicas=(1, 2), isr=(1, 2), min_isr=2)], BROKERS, (3, 4), None)
    assert moves.refusing_meanwhile == (), "as many are in sync as before"
    refused_before = plan_exactly([facts(replicas=(1, 2, 3), isr=(1,), min_isr=2)], BROKERS, (1, 2, 4), None)
    assert refused_before.refusing_meanwhile == ()


def test_the_fingerprint_is_of_what_is_shown_and_not_of_sizes() -> None:
    one = plan_exactly([facts()], BROKERS, (3, 4), 100)
    assert one.fingerprint == plan_exactly([facts(size_bytes=9)], BROKERS, (3, 4), 100).fingerprint
    assert one.fingerprint != plan_exactly([facts()], BROKERS, (4, 3), 100).fingerprint
    assert one.fingerprint != plan_exactly([facts()], BROKERS, (3, 4), 200).fingerprint
    assert one.fingerprint != plan_exactly([facts(leader=2)], BROKERS, (3, 4), 100).fingerprint
    assert one.targets == {TopicPartition("orders", 0): (3, 4)}
