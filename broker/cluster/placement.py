"""Which brokers hold the replicas of a new partition.

Owns: the round robin of Kafka's classic assignment. The first replicas go round the brokers from a random start, so that
leaders are even; the others follow at a shift that grows with every lap, so that the partitions one broker leads
do not all have the same follower. With racks known for every broker, neighbours in the order are of different racks and
a second replica in one rack is taken only when every rack has one.

Brokers that are away take what those that are here cannot: replicas beyond their number, never the first of a partition,
so that somebody is there to lead (Kafka places on fenced brokers in the same way).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from broker.types import BrokerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A broker that may hold replicas."""

    id: BrokerId
    rack: str | None = None


def place_replicas(
    brokers: Sequence[Place],
    *,
    reserve: Sequence[Sequence[Place]] = (),
    partition_count: int,
    replication_factor: int,
    random: Random,
    first_partition: int = 0,
    start_index: int | None = None,
) -> list[tuple[BrokerId, ...]]:
    """The replicas of ``partition_count`` partitions, preferred leader first.

    ``reserve`` are those to be taken when ``brokers`` are too few, the better ones first. ``first_partition`` and
    ``start_index`` continue the round of a topic that already has partitions. Needs at least one of ``brokers``, and
    1 ≤ ``replication_factor`` ≤ the number of all.
    """
    here = min(replication_factor, len(brokers))
    assert here >= 1
    placed = _place_evenly(brokers, partition_count, here, random, first_partition, start_index)
    if here == replication_factor:
        return placed
    assert replication_factor <= len(brokers) + sum(map(len, reserve))
    return [
        replicas + _fill_up(brokers, replicas, reserve, replication_factor - here, index)
        for index, replicas in enumerate(placed, start=first_partition)
    ]


def _fill_up(
    brokers: Sequence[Place], replicas: tuple[BrokerId, ...], reserve: Sequence[Sequence[Place]], count: int, turn: int
) -> tuple[BrokerId, ...]:
    """Every partition begins with another one of the reserve; other racks first."""
    used = {broker.rack for broker in brokers if broker.id in replicas}
    chosen: list[BrokerId] = []
    for places in reserve:
        by_id = sorted(places, key=lambda place: place.id)
        first = turn % len(by_id) if by_id else 0
        in_turn = by_id[first:] + by_id[:first]
        while len(chosen) < count and in_turn:
            place = next((one for one in in_turn if one.rack not in used), in_turn[0])
            in_turn.remove(place)
            used.add(place.rack)
            chosen.append(place.id)
    return tuple(chosen)


def _place_evenly(
    brokers: Sequence[Place],
    partition_count: int,
    replication_factor: int,
    random: Random,
    first_partition: int,
    start_index: int | None,
) -> list[tuple[BrokerId, ...]]:
    order = _rack_alternating(brokers)
    rack_count = len({broker.rack for broker in order}) if _racks_known(order) else 1
    start = random.randrange(len(order)) if start_index is None else start_index
    shift = random.randrange(len(order)) if start_index is None else start_index
    placed = []
    for index in range(first_partition, first_partition + partition_count):
        if index > 0 and index % len(order) == 0:
            shift += 1
        placed.append(_replicas_of_one(order, (index + start) % len(order), shift, replication_factor, rack_count))
    return placed


def _replicas_of_one(
    order: Sequence[Place], first: int, shift: int, replication_factor: int, rack_count: int
) -> tuple[BrokerId, ...]:
    chosen = [order[first]]
    others = [order[(first + 1 + (shift + step) % (len(order) - 1)) % len(order)] for step in range(len(order) - 1)]
    if rack_count > 1:
        used = {order[first].rack}
        for broker in others:
            if len(chosen) < replication_factor and broker.rack not in used:
                chosen.append(broker)
                used.add(broker.rack)
    for broker in others:
        if len(chosen) < replication_factor and broker not in chosen:
            chosen.append(broker)
    return tuple(broker.id for broker in chosen)


def _racks_known(brokers: Sequence[Place]) -> bool:
    return all(broker.rack is not None for broker in brokers)


def _rack_alternating(brokers: Sequence[Place]) -> list[Place]:
    """By id; with racks, one of each rack in turn."""
    by_id = sorted(brokers, key=lambda broker: broker.id)
    if not _racks_known(by_id):
        return by_id
    racks: dict[str, deque[Place]] = {}
    for broker in by_id:
        racks.setdefault(broker.rack or "", deque()).append(broker)
    order: list[Place] = []
    while len(order) < len(by_id):
        for _, queue in sorted(racks.items()):
            if queue:
                order.append(queue.popleft())
    return order
