"""Which brokers hold the replicas of a new partition.

Owns: the round robin of Kafka's classic assignment. The first replicas go round the brokers from a random start, so that
leaders are even; the others follow at a shift that grows with every lap, so that the partitions one broker leads
do not all have the same follower. With racks known for every broker, neighbours in the order are of different racks and
a second replica in one rack is taken only when every rack has one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random

from broker.cluster.image import BrokerImage
from broker.types import BrokerId


def place_replicas(
    brokers: Sequence[BrokerImage],
    *,
    partition_count: int,
    replication_factor: int,
    random: Random,
    first_partition: int = 0,
    start_index: int | None = None,
) -> list[tuple[BrokerId, ...]]:
    """The replicas of ``partition_count`` partitions, preferred leader first.

    ``first_partition`` and ``start_index`` continue the round of a topic that already has partitions.
    Needs 1 ≤ ``replication_factor`` ≤ the number of brokers.
    """
    assert 1 <= replication_factor <= len(brokers)
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
    order: Sequence[BrokerImage], first: int, shift: int, replication_factor: int, rack_count: int
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


def _racks_known(brokers: Sequence[BrokerImage]) -> bool:
    return all(broker.rack is not None for broker in brokers)


def _rack_alternating(brokers: Sequence[BrokerImage]) -> list[BrokerImage]:
    """By id; with racks, one of each rack in turn."""
    by_id = sorted(brokers, key=lambda broker: broker.id)
    if not _racks_known(by_id):
        return by_id
    racks: dict[str, deque[BrokerImage]] = {}
    for broker in by_id:
        racks.setdefault(broker.rack or "", deque()).append(broker)
    order: list[BrokerImage] = []
    while len(order) < len(by_id):
        for _, queue in sorted(racks.items()):
            if queue:
                order.append(queue.popleft())
    return order
