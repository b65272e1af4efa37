"""What must be true of a consumer group after every step, worked out by looking at everybody and remembering all.

Deliberately naive: no indexes, no epochs of partitions, only lists. It keeps what *clients* believe (what the answers they
received let them use), because that is what has to be exclusive, not what the coordinator thinks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.groups.consumer.group import ConsumerGroup
from tests.groups.consumer.stage import Assigned

Pair = tuple[str, int]


@dataclass
class Client:
    """A process that speaks the protocol faithfully: it uses what it was told it may, and says what it uses."""

    member_id: str
    topics: tuple[str, ...]
    epoch: int = 0
    using: set[Pair] = field(default_factory=set)
    told: set[Pair] = field(default_factory=set)
    instance: str | None = None

    def obey(self, assigned: Assigned | None, epoch: int) -> None:
        """An answer arrived. What it does not hold any more is let go at once, what is new is taken up."""
        self.epoch = epoch
        if assigned is not None:
            self.told = pairs(assigned)
            self.using = set(self.told)

    def start_over(self) -> None:
        self.epoch, self.using, self.told = 0, set(), set()

    def owned(self) -> Assigned:
        found: Assigned = {}
        for topic, partition in sorted(self.using):
            found.setdefault(topic, []).append(partition)
        return found


def pairs(assigned: Assigned) -> set[Pair]:
    return {(topic, partition) for topic, partitions in assigned.items() for partition in partitions if topic != "gone"}


def judge(group: ConsumerGroup) -> None:
    """The invariants written in ``group.py``, and that its indexes say what looking at everybody says."""
    held: dict[tuple[bytes, int], str] = {}
    for member in group.members.values():
        for owned in (member.current.assigned, member.current.revoking):
            for topic_id, partitions in owned.items():
                for partition in partitions:
                    assert (topic_id, partition) not in held, "two members own a partition"
                    held[topic_id, partition] = member.member_id
    for (topic_id, partition), owner in held.items():
        assert group.owner(topic_id, partition) == owner
    assert sum(map(len, group._owners.values())) == len(held)
    assert group.target_epoch <= group.epoch
    for member in group.members.values():
        assert member.epoch <= max(group.target_epoch, 0)
    members = list(group.members.values())
    assert group._reconciled_count == sum(map(group.is_reconciled, members))
    assert group.classic_count == sum(member.is_classic for member in members)
    assert group.names == count(topic for member in members for topic in member.metadata.topics)
    assert group.patterns == count(member.metadata.regex for member in members if member.metadata.regex)
    assert group.instances == {
        member.metadata.instance_id: member.member_id for member in members if member.metadata.instance_id is not None
    }
    assert group.regexes.keys() == group.patterns.keys()


def count(names: object) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:  # type: ignore[attr-defined]
        found[name] = found.get(name, 0) + 1
    return found
