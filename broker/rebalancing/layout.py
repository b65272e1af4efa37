"""Where replicas are while a plan is made, and what each broker has of them. Mutable, used by ``evening`` alone.

What must stay true: a partition never has two replicas on one broker, and as many as it had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from broker.rebalancing.moves import BrokerFacts, PartitionFacts


class Layout:
    """``able`` brokers may be given replicas; those that are not keep what they have."""

    def __init__(
        self, partitions: Iterable[PartitionFacts], brokers: Iterable[BrokerFacts], leaving: int | None
    ) -> None:
        self.partitions = list(partitions)
        known = list(brokers)
        self.able = sorted(one.id for one in known if one.online and one.accepts and one.id != leaving)
        racks = {one.id: one.rack for one in known}
        # Kafka's rule: racks count when every broker has one.
        self._racks = racks if all(racks.values()) else {}
        self.replicas: list[list[int]] = [list(facts.replicas) for facts in self.partitions]
        self.count: Counter[int] = Counter(dict.fromkeys(self.able, 0))
        self.bytes: Counter[int] = Counter(dict.fromkeys(self.able, 0))
        self.kept_by: dict[int, set[int]] = {broker: set() for broker in self.able}
        for index, replicas in enumerate(self.replicas):
            for broker in replicas:
                self._take(index, broker)

    def is_movable(self, index: int) -> bool:
        """What has no leader has nothing to copy from, and what moves already is left to whoever moves it."""
        facts = self.partitions[index]
        return facts.leader >= 0 and not facts.moving

    def size(self, index: int) -> int:
        return self.partitions[index].size_bytes or 0

    def replace(self, index: int, old: int, new: int) -> None:
        replicas = self.replicas[index]
        assert old in replicas
        assert new not in replicas
        replicas[replicas.index(old)] = new
        self.kept_by[old].discard(index)
        self.count[old] -= 1
        self.bytes[old] -= self.size(index)
        self._take(index, new)

    def _take(self, index: int, broker: int) -> None:
        self.kept_by.setdefault(broker, set()).add(index)
        self.count[broker] += 1
        self.bytes[broker] += self.size(index)

    # Racks -----------------------------------------------------------------------------------------

    def spread(self, replicas: Iterable[int]) -> int:
        """How many racks these are in; a broker nobody knows any more counts as one of its own."""
        return len({self._rack(broker) for broker in replicas}) if self._racks else 1

    def spread_after(self, index: int, old: int, new: int) -> int:
        return self.spread(new if broker == old else broker for broker in self.replicas[index])

    def keeps_racks(self, index: int, old: int, new: int) -> bool:
        return not self._racks or self.spread_after(index, old, new) >= self.spread(self.replicas[index])

    def free_for(self, index: int, old: int) -> list[int]:
        """Able brokers that could have this replica instead, the best first: racks, then count, then bytes."""
        others = [broker for broker in self.able if broker not in self.replicas[index]]
        return sorted(
            others,
            key=lambda new: (-self.spread_after(index, old, new), self.count[new], self.bytes[new], new),
        )

    def _rack(self, broker: int) -> str:
        return self._racks.get(broker) or f"broker {broker}"


def after(layout: Layout, index: int) -> tuple[int, ...]:
    replicas: Sequence[int] = layout.replicas[index]
    assert len(set(replicas)) == len(layout.partitions[index].replicas)
    return tuple(replicas)
